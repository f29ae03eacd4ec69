//! The copy channel: one descriptor at a time, a chunk at a time.

use crate::addr::{PAGE_BYTES, PhysAddr};
use crate::board::Board;
use crate::mmu::{Event, Key, Mmu, Outcome};
use crate::post::{End, Post};
use crate::ring::Ring;
use hmmu_regs::{Access, Client, CopyEntry, CopyOp, Counter, ErrorCode, JobStatus, Vector};

/// Most bytes of a chunk; chunks end at multiples of it in the destination.
const CHUNK: u64 = 256;

enum Phase {
    /// Translates both sides of the next chunk.
    Plan,
    /// The read happens at `due`.
    Read {
        src: PhysAddr,
        dst: PhysAddr,
        due: u64,
    },
    /// The write happens at `due`.
    Write {
        dst: PhysAddr,
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
    data: [u8; CHUNK as usize],
    phase: Phase,
    /// What it is parked on, and the address of the access.
    waits: Option<(Key, u64)>,
    /// It ends with this status and info before the next access.
    ending: Option<(u8, u64)>,
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
        let holds = |run: &Run| matches!(run.phase, Phase::Read { .. } | Phase::Write { .. });
        !self.run.as_ref().is_some_and(holds)
    }

    /// Ends the descriptor at work if it uses addresses of `ctx`. To be called every cycle until it returns true:
    /// its completion is written then.
    pub(crate) fn kill(&mut self, ctx: u8) -> bool {
        let Some(run) = self.run.as_mut().filter(|run| run.is_virtual_in(ctx)) else {
            return true;
        };
        if !matches!(run.phase, Phase::Report(_)) {
            run.ending.get_or_insert((JobStatus::Stopped as u8, 0));
            run.waits = None;
        }
        false
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
                Phase::Plan => board.time + 1,
            },
        }
    }

    pub(crate) fn tick(&mut self, board: &mut Board, mmu: &mut Mmu) {
        let Some(run) = &mut self.run else {
            self.run = self.accept(board);
            return;
        };
        if run.waits.is_none() && run.advance(board, mmu) {
            self.run = None;
            self.ring.pop();
        }
    }

    /// The next descriptor. An unknown opcode stops the ring.
    fn accept(&mut self, board: &mut Board) -> Option<Run> {
        let entry = CopyEntry(self.ring.poll(board)?);
        if CopyOp::from_raw(entry.op()).is_none() {
            self.ring.stop(board, ErrorCode::BadEntry);
            return None;
        }
        let data = std::array::from_fn(|byte| entry.src().to_le_bytes()[byte % 8]);
        let mut run = Run {
            entry,
            done: 0,
            chunk: 0,
            data,
            phase: Phase::Plan,
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
    fn fills(&self) -> bool {
        self.entry.op() == CopyOp::Fill as u64
    }

    fn is_virtual_in(&self, ctx: u8) -> bool {
        let src_va = self.entry.src_va() == 1 && !self.fills();
        (src_va || self.entry.dst_va() == 1) && self.entry.ctx() as u8 == ctx
    }

    fn source(&self) -> u64 {
        self.entry.src().wrapping_add(self.done)
    }

    fn destination(&self) -> u64 {
        self.entry.dst().wrapping_add(self.done)
    }

    /// Bytes still to be written.
    fn left(&self) -> u64 {
        if self.entry.op() == CopyOp::Nop as u64 {
            0
        } else {
            self.entry.len() - self.done
        }
    }

    /// Goes on; true when its completion is written.
    fn advance(&mut self, board: &mut Board, mmu: &mut Mmu) -> bool {
        match &mut self.phase {
            Phase::Plan => self.plan(board, mmu),
            Phase::Read { src, dst, due } if *due <= board.time => {
                let (src, dst) = (*src, *dst);
                if board
                    .read(Client::Copy, src, &mut self.data[..self.chunk])
                    .is_err()
                {
                    self.ending
                        .get_or_insert((JobStatus::MemoryError as u8, self.source()));
                    self.phase = Phase::Plan;
                } else {
                    self.phase = Phase::Write {
                        dst,
                        due: board.after(self.chunk as u64 / 16),
                    };
                }
            }
            Phase::Write { dst, due } if *due <= board.time => {
                board.write(Client::Copy, *dst, &self.data[..self.chunk]);
                board.counters.add(Counter::CopyBytes, self.chunk as u64);
                self.done += self.chunk as u64;
                self.phase = Phase::Plan;
            }
            Phase::Report(post) => return post.tick(board),
            _ => {}
        }
        false
    }

    /// Ends, or starts the next chunk if both its sides are translated.
    fn plan(&mut self, board: &mut Board, mmu: &mut Mmu) {
        let all_done = (self.left() == 0).then_some((JobStatus::Ok as u8, 0));
        if let Some((status, info)) = self.ending.or(all_done) {
            let irq = (self.entry.irq() == 1).then_some(Vector::Copy);
            let end = End {
                status,
                info,
                result: self.done,
            };
            let (addr, value) = (self.entry.fence_addr(), self.entry.fence_value());
            self.phase = Phase::Report(Post::new(board, Client::Copy, addr, value, end, irq));
            return;
        }
        let mut chunk = self.left().min(CHUNK - self.destination() % CHUNK);
        let src = if self.fills() {
            None
        } else {
            chunk = chunk.min(PAGE_BYTES - self.source() % PAGE_BYTES);
            let src = self.side(
                board,
                mmu,
                self.source(),
                self.entry.src_va() == 1,
                Access::Read,
            );
            if src.is_none() {
                return;
            }
            src
        };
        let Some(dst) = self.side(
            board,
            mmu,
            self.destination(),
            self.entry.dst_va() == 1,
            Access::Write,
        ) else {
            return;
        };
        self.chunk = chunk as usize;
        self.phase = match src {
            Some(src) => Phase::Read {
                src,
                dst,
                due: board.after(board.latency(src)),
            },
            None => Phase::Write {
                dst,
                due: board.after(chunk / 16),
            },
        };
    }

    /// The physical address of one side, unless it has to wait or cannot be.
    fn side(
        &mut self,
        board: &mut Board,
        mmu: &mut Mmu,
        addr: u64,
        is_va: bool,
        access: Access,
    ) -> Option<PhysAddr> {
        let found = if is_va {
            mmu.translate(board, Client::Copy, self.entry.ctx() as u8, addr, access)
        } else if addr >> 56 == 0 {
            Outcome::Hit(PhysAddr(addr))
        } else {
            Outcome::Error(JobStatus::BadAddress as u8)
        };
        match found {
            Outcome::Hit(at) => return Some(at),
            Outcome::Miss(key) => self.waits = Some((key, addr)),
            Outcome::Error(status) => self.ending = Some((status, addr)),
        }
        None
    }
}
