//! The copy channel: one descriptor at a time, a chunk at a time.

use crate::addr::{PAGE_BYTES, PhysAddr};
use crate::board::Board;
use crate::mmu::{Event, Key, Mmu, Outcome};
use crate::post::{End, Post};
use crate::ring::Ring;
use hmmu_regs::{Access, Client, CopyEntry, CopyOp, Counter, ErrorCode, JobStatus, Vector};

/// Most bytes of a chunk.
const CHUNK: usize = 256;

enum Phase {
    /// Translates the source of a chunk.
    Source,
    /// The read happens at `due`.
    Read {
        at: PhysAddr,
        due: u64,
    },
    /// Translates the destination.
    Dest,
    /// The write happens at `due`.
    Write {
        at: PhysAddr,
        due: u64,
    },
    Report(Post),
}

/// A descriptor at work.
struct Run {
    entry: CopyEntry,
    /// Bytes written.
    done: u64,
    /// Bytes of the chunk under way.
    chunk: usize,
    data: [u8; CHUNK],
    phase: Phase,
    waits: Option<(Key, u64)>,
    /// It ends with this when the access under way is over.
    ending: Option<(u8, u64)>,
}

impl Run {
    fn virtual_in(&self, ctx: u8) -> bool {
        self.entry.src_va() | self.entry.dst_va() == 1 && self.entry.ctx() as u8 == ctx
    }

    /// An access is under way whose translation was made before.
    fn holds_translation(&self) -> bool {
        matches!(self.phase, Phase::Read { .. } | Phase::Write { .. })
    }

    fn fills(&self) -> bool {
        self.entry.op() == CopyOp::Fill as u64
    }

    /// Bytes of the next chunk: neither side crosses a page.
    fn next_chunk(&self) -> usize {
        let to_edge = |addr: u64| PAGE_BYTES - addr.wrapping_add(self.done) % PAGE_BYTES;
        let source = if self.fills() {
            PAGE_BYTES
        } else {
            to_edge(self.entry.src())
        };
        let left = self.entry.len() - self.done;
        left.min(source)
            .min(to_edge(self.entry.dst()))
            .min(CHUNK as u64) as usize
    }
}

pub(crate) struct CopyEngine {
    pub(crate) ring: Ring,
    run: Option<Run>,
}

impl CopyEngine {
    pub(crate) fn new() -> Self {
        Self {
            ring: Ring::new(Client::Copy),
            run: None,
        }
    }

    pub(crate) fn idle(&self) -> bool {
        self.ring.idle() && self.run.is_none()
    }

    /// No access made through a translation is under way.
    pub(crate) fn drained(&self) -> bool {
        !self.run.as_ref().is_some_and(Run::holds_translation)
    }

    /// Ends the descriptor at work if it uses addresses of `ctx`; true once none does.
    pub(crate) fn kill(&mut self, ctx: u8) -> bool {
        match &mut self.run {
            Some(run) if run.virtual_in(ctx) && !matches!(run.phase, Phase::Report(_)) => {
                if run.ending.is_none() {
                    run.ending = Some((JobStatus::Stopped as u8, 0));
                }
                run.waits = None;
                false
            }
            _ => true,
        }
    }

    pub(crate) fn on_event(&mut self, event: &Event) {
        if let Some(run) = &mut self.run
            && let Some((key, addr)) = run.waits
            && let Some(woken) = event.concerns(&key)
        {
            run.waits = None;
            run.ending = woken.err().map(|code| (code, addr));
        }
    }

    pub(crate) fn next(&self, board: &Board) -> u64 {
        match &self.run {
            None => self.ring.next(board),
            Some(run) if run.waits.is_some() => u64::MAX,
            Some(run) => match &run.phase {
                Phase::Read { due, .. } | Phase::Write { due, .. } => *due,
                Phase::Report(post) => post.next(),
                Phase::Source | Phase::Dest => board.time + 1,
            },
        }
    }

    pub(crate) fn tick(&mut self, board: &mut Board, mmu: &mut Mmu) {
        let Some(run) = &mut self.run else {
            self.run = self.accept(board);
            return;
        };
        if let Phase::Report(post) = &mut run.phase {
            if post.tick(board) {
                self.run = None;
                self.ring.pop();
            }
            return;
        }
        if run.waits.is_some() {
            return;
        }
        if !run.holds_translation() {
            let all_done = run.done == run.entry.len() || run.entry.op() == CopyOp::Nop as u64;
            let end = run.ending.or(all_done.then_some((JobStatus::Ok as u8, 0)));
            if let Some((status, info)) = end {
                run.report(board, status, info);
                return;
            }
        }
        run.advance(board, mmu);
    }

    /// The next descriptor. An unknown opcode stops the ring.
    fn accept(&mut self, board: &mut Board) -> Option<Run> {
        let entry = CopyEntry(self.ring.poll(board)?);
        if CopyOp::from_raw(entry.op()).is_none() {
            self.ring.stop(board, ErrorCode::BadEntry);
            return None;
        }
        let mut run = Run {
            entry,
            done: 0,
            chunk: 0,
            data: [0; CHUNK],
            phase: Phase::Source,
            waits: None,
            ending: None,
        };
        if run.fills() && (entry.dst() | entry.len()) & 7 != 0 {
            run.ending = Some((JobStatus::Misaligned as u8, entry.dst()));
        }
        Some(run)
    }
}

impl Run {
    fn report(&mut self, board: &mut Board, status: u8, info: u64) {
        let irq = (self.entry.irq() == 1).then_some(Vector::Copy);
        let end = End {
            status,
            info,
            result: self.done,
        };
        let (addr, value) = (self.entry.fence_addr(), self.entry.fence_value());
        self.phase = Phase::Report(Post::new(board, Client::Copy, addr, value, end, irq));
    }

    /// The physical address of one side of the chunk, unless it has to wait or cannot be.
    fn side(&mut self, board: &mut Board, mmu: &mut Mmu, access: Access) -> Option<PhysAddr> {
        let (base, is_va) = match access {
            Access::Write => (self.entry.dst(), self.entry.dst_va()),
            _ => (self.entry.src(), self.entry.src_va()),
        };
        let addr = base.wrapping_add(self.done);
        if is_va == 0 {
            return Some(PhysAddr(addr & ((1 << 56) - 1)));
        }
        match mmu.translate(board, Client::Copy, self.entry.ctx() as u8, addr, access) {
            Outcome::Hit(at) => return Some(at),
            Outcome::Miss(key) => self.waits = Some((key, addr)),
            Outcome::Error(status) => self.ending = Some((status, addr)),
        }
        None
    }

    fn advance(&mut self, board: &mut Board, mmu: &mut Mmu) {
        match self.phase {
            Phase::Source => {
                self.chunk = self.next_chunk();
                if self.fills() {
                    for (byte, pattern) in self
                        .data
                        .iter_mut()
                        .zip(self.entry.src().to_le_bytes().iter().cycle())
                    {
                        *byte = *pattern;
                    }
                    self.phase = Phase::Dest;
                } else if let Some(at) = self.side(board, mmu, Access::Read) {
                    let due = board.after(board.latency(at));
                    self.phase = Phase::Read { at, due };
                }
            }
            Phase::Read { at, due } if due <= board.time => {
                self.phase = Phase::Dest;
                if board
                    .read(Client::Copy, at, &mut self.data[..self.chunk])
                    .is_err()
                {
                    self.fail(self.entry.src());
                }
            }
            Phase::Dest => {
                if let Some(at) = self.side(board, mmu, Access::Write) {
                    let due = board.after(self.chunk as u64 / 16);
                    self.phase = Phase::Write { at, due };
                }
            }
            Phase::Write { at, due } if due <= board.time => {
                board.write(Client::Copy, at, &self.data[..self.chunk]);
                board.counters.add(Counter::CopyBytes, self.chunk as u64);
                self.done += self.chunk as u64;
                self.phase = Phase::Source;
            }
            _ => {}
        }
    }

    fn fail(&mut self, base: u64) {
        let addr = base.wrapping_add(self.done);
        self.ending = Some((JobStatus::MemoryError as u8, addr));
    }
}
