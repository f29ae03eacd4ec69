//! A copy descriptor at work.

use crate::addr::PhysAddr;
use crate::board::Board;
use crate::copy::CHUNK;
use crate::copy_walk::Walk;
use crate::mmu::{Key, Mmu, Outcome};
use crate::post::{End, Post};
use hmmu_regs::{Access, Client, CopyEntry, CopyOp, Counter, JobStatus, Vector};

/// Cycles from an answer that does not do to the next look at a semaphore.
const POLL_GAP: u64 = 64;
/// Bytes of a segment of a list.
const SEGMENT: u64 = 32;

/// What comes next.
pub(crate) enum Phase {
    /// Translates both sides of the next chunk.
    Plan,
    /// The next segment of the list is read at this time.
    Segment(u64),
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
    /// The semaphore is looked at again at this time.
    Gap(u64),
    Report(Post),
}

/// A descriptor at work.
pub(crate) struct Run {
    entry: CopyEntry,
    pub(crate) op: CopyOp,
    walk: Walk,
    /// Segments of the list behind this one, and where they are.
    segments: u64,
    segment_at: u64,
    /// Bytes written.
    done: u64,
    /// Bytes of the chunk under way.
    chunk: usize,
    data: [u8; CHUNK as usize],
    pub(crate) phase: Phase,
    /// What it is parked on, and the address of the access.
    pub(crate) waits: Option<(Key, u64)>,
    /// It ends with this status and info before the next access.
    pub(crate) ending: Option<(u8, u64)>,
}

impl Run {
    /// Takes a descriptor up, unless its opcode is unknown.
    pub(crate) fn new(board: &mut Board, entry: CopyEntry) -> Option<Self> {
        let op = CopyOp::from_raw(entry.op())?;
        let mut run = Self {
            entry,
            op,
            walk: Walk::default(),
            segments: 0,
            segment_at: entry.src(),
            done: 0,
            chunk: 0,
            data: [0; CHUNK as usize],
            phase: Phase::Plan,
            waits: None,
            ending: None,
        };
        let own = [entry.0[1], entry.0[2], entry.0[3], entry.0[4]];
        match op {
            CopyOp::Nop => {}
            CopyOp::Copy => run.load(own, false),
            CopyOp::Fill => run.load(own, true),
            CopyOp::Signal => run.load([entry.src(), entry.dst(), 8, 0], true),
            CopyOp::Wait => {
                run.load([entry.src(), 0, 8, 0], false);
                if entry.src() & 7 != 0 {
                    run.ending = Some((JobStatus::Misaligned as u8, entry.src()));
                }
            }
            CopyOp::List => {
                run.segments = entry.len() & 0xffff_ffff;
                run.next_segment(board);
            }
        }
        Some(run)
    }

    /// Takes a segment up.
    fn load(&mut self, words: [u64; 4], fill: bool) {
        let src_va = self.has_source() && self.entry.src_va() == 1;
        self.walk = Walk::new(words, fill, src_va, self.entry.dst_va() == 1);
        if fill {
            self.data = std::array::from_fn(|byte| words[0].to_le_bytes()[byte % 8]);
            if self.walk.misaligned() {
                self.ending = Some((JobStatus::Misaligned as u8, words[1]));
            }
        }
    }

    /// The list's next segment is on its way, if there is one.
    fn next_segment(&mut self, board: &mut Board) {
        if self.segments > 0 {
            let at = PhysAddr(self.segment_at & (1 << 56) - 1);
            self.phase = Phase::Segment(board.after(board.latency(at)));
        }
    }

    fn read_segment(&mut self, board: &mut Board) {
        let at = PhysAddr(self.segment_at & (1 << 56) - 32);
        let mut bytes = [0; SEGMENT as usize];
        self.phase = Phase::Plan;
        if board.read(Client::Copy, at, &mut bytes).is_err() {
            self.ending = Some((JobStatus::MemoryError as u8, self.entry.src()));
            return;
        }
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            let mut raw = [0; 8];
            raw.copy_from_slice(chunk);
            *word = u64::from_le_bytes(raw);
        }
        self.segments -= 1;
        self.segment_at = self.segment_at.wrapping_add(SEGMENT);
        self.load(words, words[2] >> 63 == 1);
    }

    /// An operation that reads at a source address.
    fn has_source(&self) -> bool {
        matches!(self.op, CopyOp::Copy | CopyOp::List | CopyOp::Wait)
    }

    /// It uses addresses of a context.
    pub(crate) fn is_virtual_in(&self, ctx: u8) -> bool {
        let src_va = self.has_source() && self.entry.src_va() == 1;
        let has_dst = !matches!(self.op, CopyOp::Nop | CopyOp::Wait);
        let dst_va = has_dst && self.entry.dst_va() == 1;
        (src_va || dst_va) && self.entry.ctx() as u8 == ctx
    }

    /// Goes on; the end, when its completion is written.
    pub(crate) fn advance(&mut self, board: &mut Board, mmu: &mut Mmu) -> Option<End> {
        match &mut self.phase {
            Phase::Plan => self.plan(board, mmu),
            Phase::Segment(at) if *at <= board.time => self.read_segment(board),
            Phase::Gap(at) if *at <= board.time => self.phase = Phase::Plan,
            Phase::Read { src, dst, due } if *due <= board.time => {
                let (src, dst) = (*src, *dst);
                if board
                    .read(Client::Copy, src, &mut self.data[..self.chunk])
                    .is_err()
                {
                    self.ending
                        .get_or_insert((JobStatus::MemoryError as u8, src.0));
                    self.phase = Phase::Plan;
                } else if self.op == CopyOp::Wait {
                    self.look(board);
                } else {
                    let due = board.after(self.chunk as u64 / 16);
                    self.phase = Phase::Write { dst, due };
                }
            }
            Phase::Write { dst, due } if *due <= board.time => {
                board.write(Client::Copy, *dst, &self.data[..self.chunk]);
                board.counters.add(Counter::CopyBytes, self.chunk as u64);
                self.done += self.chunk as u64;
                self.walk.step(self.chunk as u64);
                self.phase = Phase::Plan;
            }
            Phase::Report(post) => return post.tick(board).then(|| post.end()),
            _ => {}
        }
        None
    }

    /// The word of a semaphore has come.
    fn look(&mut self, board: &mut Board) {
        let mut raw = [0; 8];
        raw.copy_from_slice(&self.data[..8]);
        let (is, wanted) = (u64::from_le_bytes(raw), self.entry.dst());
        if is == wanted || (self.entry.equal() == 0 && is > wanted) {
            self.walk = Walk::default();
            self.phase = Phase::Plan;
        } else {
            self.phase = Phase::Gap(board.after(POLL_GAP));
        }
    }

    /// Ends, or starts the next chunk if both its sides are translated.
    fn plan(&mut self, board: &mut Board, mmu: &mut Mmu) {
        while self.ending.is_none() && self.walk.next_row() {}
        if self.ending.is_none() && self.walk.left() == 0 && self.segments > 0 {
            self.next_segment(board);
            return;
        }
        let all_done = (self.walk.left() == 0).then_some((JobStatus::Ok as u8, 0));
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
        if let Some(at) = self.walk.bad() {
            self.ending = Some((JobStatus::BadAddress as u8, at));
            return;
        }
        let (chunk, from, to) = (
            self.walk.chunk(),
            self.walk.source(),
            self.walk.destination(),
        );
        let src = match from {
            None => None,
            Some(from) => {
                let va = self.entry.src_va() == 1;
                let src = self.side(board, mmu, from, va, Access::Read);
                if src.is_none() {
                    return;
                }
                src
            }
        };
        let dst = if self.op == CopyOp::Wait {
            PhysAddr(0)
        } else {
            let va = self.entry.dst_va() == 1;
            let Some(dst) = self.side(board, mmu, to, va, Access::Write) else {
                return;
            };
            dst
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
        if !is_va {
            return Some(PhysAddr(addr));
        }
        match mmu.translate(board, Client::Copy, self.entry.ctx() as u8, addr, access) {
            Outcome::Hit(at) => return Some(at),
            Outcome::Miss(key) => self.waits = Some((key, addr)),
            Outcome::Error(status) => self.ending = Some((status, addr)),
        }
        None
    }
}
