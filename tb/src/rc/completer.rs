//! The device's reads and AtomicOps of host memory: their latency, and completions split at the RCB.

use rand::Rng;
use rand_pcg::Pcg32;

use super::tlp::{AtomicReq, Completion, ReadReq, Status, Tlp, enabled_span};
use super::{AtomicOp, HostPort, ReadFailure, ReadFault};

/// How large a read's completions are, within Max_Payload_Size. All are legal (specification section 2.3.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// Drawn for each, as root complexes differ.
    #[default]
    Drawn,
    /// As large as can be.
    Largest,
    /// A read completion boundary each, as a root complex with a cache line at a time sends them.
    Smallest,
}

/// Which completion goes first of those that are ready. Those of one read keep their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompletionOrder {
    /// The read that was ready first, all of it: the drawn latencies alone reorder tags.
    #[default]
    Ready,
    /// That of any read: reads overtake each other, and their completions alternate.
    Any,
    /// Reads in the order of arrival.
    Arrival,
}

/// What the completer is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompleterConfig {
    /// Cycles from a request's arrival to its first completion.
    pub latency: u64,
    /// Up to this many cycles more, drawn for each request: tags complete out of order.
    pub jitter: u64,
    /// Read completion boundary, bytes: 64 or 128.
    pub rcb: u64,
    /// Max_Payload_Size, bytes.
    pub mps: u64,
    /// How reads are split.
    pub split: Split,
    /// Which goes first.
    pub order: CompletionOrder,
}

impl Default for CompleterConfig {
    /// No latency, 64 and 256 bytes.
    fn default() -> Self {
        Self {
            latency: 0,
            jitter: 0,
            rcb: 64,
            mps: 256,
            split: Split::default(),
            order: CompletionOrder::default(),
        }
    }
}

#[derive(Debug)]
struct Pending {
    ready_at: u64,
    requester: u16,
    tag: u8,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Bytes still to send, from an address.
    Read {
        addr: u64,
        left: usize,
        dwords_left: usize,
    },
    /// The old value, read when the request arrived.
    Atomic { data: Vec<u8> },
    /// An AtomicOp on memory of this size that failed.
    Failed { size: usize, failure: ReadFailure },
    /// A completion as it is.
    Whole(Completion),
}

/// Requests that wait for their completions.
#[derive(Debug)]
pub struct Completer {
    config: CompleterConfig,
    id: u16,
    pending: Vec<Pending>,
    /// What the next reads meet.
    faults: Vec<ReadFault>,
}

impl Completer {
    /// A completer with this ID.
    #[must_use]
    pub fn new(config: CompleterConfig, id: u16) -> Self {
        Self {
            config,
            id,
            pending: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Lets one read to come fail.
    pub fn fail_read(&mut self, fault: ReadFault) {
        self.faults.push(fault);
    }

    /// Takes a read that arrived at cycle `now`.
    pub fn read(&mut self, now: u64, req: &ReadReq, rng: &mut Pcg32) {
        let (addr, left) = enabled_span(req.addr, req.dwords, req.first_be, req.last_be);
        let what = What::Read {
            addr,
            left,
            dwords_left: usize::from(req.dwords),
        };
        self.add(now, req.requester, req.tag, what, rng);
    }

    /// Takes an AtomicOp that arrived at cycle `now`, and does it.
    pub fn atomic(&mut self, now: u64, req: &AtomicReq, host: &mut dyn HostPort, rng: &mut Pcg32) {
        let size = if req.op == AtomicOp::Cas {
            req.data.len() / 2
        } else {
            req.data.len()
        };
        let mut operands = [0; 2];
        for (operand, raw) in operands.iter_mut().zip(req.data.chunks(size)) {
            let mut full = [0; 8];
            full[..size].copy_from_slice(raw);
            *operand = u64::from_le_bytes(full);
        }
        let what = match host.mem_atomic(req.op, req.addr, size, operands) {
            Ok(old) => What::Atomic {
                data: old.to_le_bytes()[..size].to_vec(),
            },
            Err(failure) => What::Failed { size, failure },
        };
        self.add(now, req.requester, req.tag, what, rng);
    }

    /// Answers a request that arrived at cycle `now` with this completion.
    pub fn answer(&mut self, now: u64, cpl: Completion, rng: &mut Pcg32) {
        self.add(now, cpl.requester, cpl.tag, What::Whole(cpl), rng);
    }

    /// Forgets all requests.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    fn add(&mut self, now: u64, requester: u16, tag: u8, what: What, rng: &mut Pcg32) {
        let jitter = if self.config.jitter == 0 {
            0
        } else {
            rng.random_range(0..=self.config.jitter)
        };
        self.pending.push(Pending {
            ready_at: now + self.config.latency + jitter,
            requester,
            tag,
            what,
        });
    }

    /// Is nothing waiting?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whose completion goes at cycle `now`.
    fn choose(&self, now: u64, rng: &mut Pcg32) -> Option<usize> {
        let ready = |i: &usize| self.pending[*i].ready_at <= now;
        let all = 0..self.pending.len();
        match self.config.order {
            CompletionOrder::Ready => all.filter(ready).min_by_key(|&i| self.pending[i].ready_at),
            CompletionOrder::Arrival => all.take(1).find(ready),
            CompletionOrder::Any => {
                let count = all.clone().filter(ready).count();
                if count == 0 {
                    return None;
                }
                all.filter(ready).nth(rng.random_range(0..count))
            }
        }
    }

    /// The next completion that may go at cycle `now`.
    pub fn next(&mut self, now: u64, host: &mut dyn HostPort, rng: &mut Pcg32) -> Option<Tlp> {
        let index = self.choose(now, rng)?;
        let Self {
            config,
            id,
            pending: all,
            faults,
        } = self;
        let pending = &mut all[index];
        let to = (*id, pending.requester, pending.tag);
        let (cpl, done) = match &mut pending.what {
            What::Whole(cpl) => (Some(cpl.clone()), true),
            What::Atomic { data } => {
                let byte_count = data.len() as u16;
                let data = std::mem::take(data);
                (Some(cpl(to, Status::Success, byte_count, 0, data)), true)
            }
            What::Failed { size, failure } => {
                let data = vec![0; *size];
                (failed(to, *failure, *size as u16, 0, data), true)
            }
            What::Read {
                addr,
                left,
                dwords_left,
            } => {
                let start = *addr & !3;
                let skip = (*addr - start) as usize;
                let bytes = chunk(config, start, *dwords_left * 4, rng);
                let mut data = vec![0; bytes];
                let lower = (*addr & 0x7f) as u8;
                // A read without enabled bytes still brings one DW and a count of one (section 2.2.9).
                let count = (*left).max(1) as u16;
                let mut read = host.mem_read(start, &mut data);
                if let Some(fault) = faults.iter().position(|f| f.strikes(start, bytes)) {
                    read = Err(faults.remove(fault).failure);
                }
                // Poison marks this completion alone; every other failure ends the read.
                let ends = !matches!(read, Ok(()) | Err(ReadFailure::Poisoned));
                *addr = start + bytes as u64;
                *left = left.saturating_sub(bytes - skip);
                *dwords_left -= bytes / 4;
                let done = ends || *dwords_left == 0;
                let cpl = match read {
                    Ok(()) => Some(cpl(to, Status::Success, count, lower, data)),
                    Err(failure) => failed(to, failure, count, lower, data),
                };
                (cpl, done)
            }
        };
        if done {
            all.remove(index);
        }
        cpl.map(Tlp::Completion)
    }
}

/// How a failed request completes, if at all.
fn failed(
    to: (u16, u16, u8),
    failure: ReadFailure,
    byte_count: u16,
    lower: u8,
    data: Vec<u8>,
) -> Option<Completion> {
    match failure {
        ReadFailure::Unsupported => {
            Some(cpl(to, Status::Unsupported, byte_count, lower, Vec::new()))
        }
        ReadFailure::Abort => Some(cpl(to, Status::Abort, byte_count, lower, Vec::new())),
        ReadFailure::Poisoned => Some(Completion {
            poisoned: true,
            ..cpl(to, Status::Success, byte_count, lower, data)
        }),
        ReadFailure::Lost => None,
    }
}

/// Bytes of the next completion of a read: all that is left, or up to a read completion boundary within the
/// largest payload (specification section 2.3.1.1).
fn chunk(config: &CompleterConfig, start: u64, left: usize, rng: &mut Pcg32) -> usize {
    let to_boundary = (config.rcb - start % config.rcb) as usize;
    let mps = config.mps as usize;
    if left <= to_boundary {
        return left;
    }
    let most = (mps - to_boundary.min(mps)) / config.rcb as usize;
    let more = match config.split {
        _ if left <= mps && whole(config.split, rng) => return left,
        Split::Drawn => rng.random_range(0..=most),
        Split::Largest => most,
        Split::Smallest => 0,
    };
    (to_boundary + more * config.rcb as usize).min(left)
}

/// Is a rest that fits one completion sent in one?
fn whole(split: Split, rng: &mut Pcg32) -> bool {
    match split {
        Split::Drawn => rng.random_ratio(1, 2),
        Split::Largest => true,
        Split::Smallest => false,
    }
}

/// A completion from, to and for: completer, requester, tag.
fn cpl(
    to: (u16, u16, u8),
    status: Status,
    byte_count: u16,
    lower_addr: u8,
    data: Vec<u8>,
) -> Completion {
    let (completer, requester, tag) = to;
    Completion {
        completer,
        requester,
        tag,
        status,
        byte_count,
        lower_addr,
        data,
        poisoned: false,
    }
}
