//! The host's own requests to the device: splitting, tags, and putting completions together.

use std::collections::VecDeque;

use super::tlp::{Completion, ReadReq, Status, Tlp, WriteReq, byte_enables};
use super::{HostPort, HostRequest, ReadError, Window};

/// Bytes of one host access: a processor's write-combining buffer and its widest load.
const LINE: u64 = 64;
/// Reads in flight.
const TAGS: usize = 32;

/// Bus addresses of the device's windows.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// BAR0.
    pub registers: u64,
    /// BAR2.
    pub vram: u64,
}

impl Windows {
    fn base(self, window: Window) -> u64 {
        match window {
            Window::Registers => self.registers,
            Window::Vram => self.vram,
        }
    }
}

/// A read that the host waits for.
#[derive(Debug)]
struct PendingRead {
    id: u64,
    data: Vec<u8>,
    /// Pieces not yet answered in full.
    open: usize,
    error: Option<ReadError>,
}

/// A piece of a read, in flight under a tag.
#[derive(Debug)]
struct Piece {
    read: u64,
    /// Where its next byte goes in the read's data.
    at: usize,
    /// Address of its next byte.
    addr: u64,
    remaining: usize,
}

/// Host requests on their way.
#[derive(Debug)]
pub struct Requester {
    windows: Windows,
    requester: u16,
    device: u16,
    pieces: Vec<Option<Piece>>,
    reads: Vec<PendingRead>,
    /// Packets that wait for a tag or for the link.
    ready: VecDeque<Waiting>,
}

#[derive(Debug)]
enum Waiting {
    Packet(Tlp),
    Read {
        read: u64,
        at: usize,
        addr: u64,
        len: usize,
    },
}

impl Requester {
    /// A requester with ID `requester` that speaks to function `device`.
    #[must_use]
    pub fn new(windows: Windows, requester: u16, device: u16) -> Self {
        Self {
            windows,
            requester,
            device,
            pieces: (0..TAGS).map(|_| None).collect(),
            reads: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    /// The next packet for the device, if there is one that may go.
    pub fn next(&mut self, host: &mut dyn HostPort) -> Option<Tlp> {
        if self.ready.is_empty() {
            let request = host.next_request()?;
            self.split(host, request);
        }
        match self.ready.front()? {
            Waiting::Packet(_) => match self.ready.pop_front()? {
                Waiting::Packet(tlp) => Some(tlp),
                Waiting::Read { .. } => None,
            },
            &Waiting::Read {
                read,
                at,
                addr,
                len,
            } => {
                let tag = self.pieces.iter().position(Option::is_none)?;
                self.ready.pop_front();
                self.pieces[tag] = Some(Piece {
                    read,
                    at,
                    addr,
                    remaining: len,
                });
                let (addr, dwords, first_be, last_be) = byte_enables(addr, len);
                let requester = self.requester;
                Some(Tlp::Read(ReadReq {
                    requester,
                    tag: tag as u8,
                    addr,
                    dwords,
                    first_be,
                    last_be,
                }))
            }
        }
    }

    /// Is nothing under way?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.reads.is_empty()
    }

    /// Ends all reads with this error, and forgets all else.
    pub fn fail(&mut self, host: &mut dyn HostPort, error: ReadError) {
        self.ready.clear();
        self.pieces.fill_with(|| None);
        for read in std::mem::take(&mut self.reads) {
            host.read_done(read.id, Err(error));
        }
    }

    fn split(&mut self, host: &mut dyn HostPort, request: HostRequest) {
        match request {
            HostRequest::Write {
                window,
                offset,
                data,
            } => {
                let start = self.windows.base(window) + offset;
                for (addr, range) in pieces(start, data.len()) {
                    let part = &data[range];
                    let (base, dwords, first_be, last_be) = byte_enables(addr, part.len());
                    let mut payload = vec![0; usize::from(dwords) * 4];
                    let skip = (addr - base) as usize;
                    payload[skip..skip + part.len()].copy_from_slice(part);
                    self.ready.push_back(Waiting::Packet(Tlp::Write(WriteReq {
                        requester: self.requester,
                        tag: 0,
                        addr: base,
                        first_be,
                        last_be,
                        data: payload,
                        poisoned: false,
                    })));
                }
            }
            HostRequest::Read {
                id,
                window,
                offset,
                len,
            } => {
                if len == 0 {
                    host.read_done(id, Ok(Vec::new()));
                    return;
                }
                let start = self.windows.base(window) + offset;
                let mut open = 0;
                for (addr, range) in pieces(start, len) {
                    open += 1;
                    self.ready.push_back(Waiting::Read {
                        read: id,
                        at: range.start,
                        addr,
                        len: range.len(),
                    });
                }
                self.reads.push(PendingRead {
                    id,
                    data: vec![0; len],
                    open,
                    error: None,
                });
            }
        }
    }

    /// Takes a completion from the device. Returns false for one that nobody waits for.
    pub fn completion(&mut self, cpl: &Completion, host: &mut dyn HostPort) -> bool {
        let Some(piece) = self
            .pieces
            .get_mut(usize::from(cpl.tag))
            .and_then(Option::as_mut)
        else {
            return false;
        };
        if cpl.requester != self.requester {
            return false;
        }
        let Some(read) = self.reads.iter_mut().find(|read| read.id == piece.read) else {
            return false;
        };
        let mut ended = true;
        match cpl.status {
            Status::Success => {
                let skip = (piece.addr & 3) as usize;
                let here = cpl.data.len().saturating_sub(skip).min(piece.remaining);
                let fits = cpl.completer == self.device
                    && usize::from(cpl.byte_count) == piece.remaining
                    && u64::from(cpl.lower_addr) == piece.addr & 0x7f
                    && here > 0;
                if cpl.poisoned {
                    read.error = Some(ReadError::Poisoned);
                } else if !fits {
                    read.error = Some(ReadError::Malformed);
                } else {
                    read.data[piece.at..piece.at + here]
                        .copy_from_slice(&cpl.data[skip..skip + here]);
                    piece.at += here;
                    piece.addr += here as u64;
                    piece.remaining -= here;
                    ended = piece.remaining == 0;
                }
            }
            Status::Unsupported | Status::Retry => read.error = Some(ReadError::Unsupported),
            Status::Abort => read.error = Some(ReadError::Abort),
        }
        if ended {
            read.open -= 1;
            self.pieces[usize::from(cpl.tag)] = None;
            self.finish(host);
        }
        true
    }

    fn finish(&mut self, host: &mut dyn HostPort) {
        while let Some(index) = self.reads.iter().position(|read| read.open == 0) {
            let read = self.reads.remove(index);
            host.read_done(read.id, read.error.map_or(Ok(read.data), Err));
        }
    }
}

/// Runs of at most a line that do not cross one.
fn pieces(start: u64, len: usize) -> Vec<(u64, std::ops::Range<usize>)> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < len {
        let addr = start + at as u64;
        let room = (LINE - addr % LINE) as usize;
        let end = (at + room).min(len);
        all.push((addr, at..end));
        at = end;
    }
    all
}
