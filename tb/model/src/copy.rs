//! The copy channels: each does one descriptor at a time, a chunk at a time.

use crate::board::Board;
use crate::config::COPY_CHANNELS;
use crate::copy_run::{Phase, Run};
use crate::mmu::{Event, Mmu};
use crate::registers::{ring_register, write_ring};
use crate::ring::Ring;
use hmmu_regs::{Client, CopyEntry, CopyOp, ErrorCode, JobStatus, reg};

/// Most bytes of a chunk; chunks end at multiples of it in the destination.
pub(crate) const CHUNK: u64 = 256;
/// First error since it was cleared.
#[derive(Clone, Copy)]
struct Record {
    status: u8,
    index: u32,
    addr: u64,
}

/// A channel: its registers and what it works on.
pub(crate) struct Channel {
    ring: Ring,
    run: Option<Run>,
    suspend: bool,
    halt: bool,
    priority: u64,
    record: Option<Record>,
}

pub(crate) struct CopyEngine {
    pub(crate) channels: Vec<Channel>,
}

impl CopyEngine {
    pub(crate) fn new() -> Self {
        let channel = |_| Channel {
            ring: Ring::new(Client::Copy),
            run: None,
            suspend: false,
            halt: false,
            priority: 0,
            record: None,
        };
        Self {
            channels: (0..COPY_CHANNELS).map(channel).collect(),
        }
    }

    pub(crate) fn idle(&self) -> bool {
        self.channels.iter().all(Channel::idle)
    }

    /// One of them has stopped.
    pub(crate) fn stopped(&self) -> bool {
        self.channels.iter().any(|channel| channel.ring.stopped)
    }

    /// No access made through a translation is under way.
    pub(crate) fn drained(&self) -> bool {
        self.channels.iter().all(Channel::quiet)
    }

    /// Ends the descriptors at work that use addresses of `ctx`. To be called every cycle until it returns true:
    /// their completions are written then.
    pub(crate) fn kill(&mut self, ctx: u8) -> bool {
        let mut gone = true;
        for channel in &mut self.channels {
            gone &= channel.kill(ctx);
        }
        gone
    }

    pub(crate) fn on_event(&mut self, event: &Event) {
        for run in self
            .channels
            .iter_mut()
            .flat_map(|channel| &mut channel.run)
        {
            if let Some((key, addr)) = run.waits
                && let Some(woken) = event.concerns(&key)
            {
                run.waits = None;
                run.ending = woken.err().map(|code| (code, addr));
            }
        }
    }

    pub(crate) fn next(&self, board: &Board) -> u64 {
        let times = self.channels.iter().map(|channel| channel.next(board));
        times.min().unwrap_or(u64::MAX)
    }

    /// Channels of a higher priority go first; it shows only in who reads a byte before another writes it.
    pub(crate) fn tick(&mut self, board: &mut Board, mmu: &mut Mmu) {
        for priority in (0..4).rev() {
            for channel in &mut self.channels {
                if channel.priority == priority {
                    channel.tick(board, mmu);
                }
            }
        }
    }
}

impl Channel {
    fn idle(&self) -> bool {
        self.ring.idle() && self.run.is_none()
    }

    /// No chunk is under way.
    fn quiet(&self) -> bool {
        let holds = |run: &Run| matches!(run.phase, Phase::Read { .. } | Phase::Write { .. });
        !self.run.as_ref().is_some_and(holds)
    }

    /// The value of a register, by its place among the channel's.
    pub(crate) fn register(&self, word: u64) -> u64 {
        let run = self.run.as_ref();
        let polls = |run: &Run| run.op == CopyOp::Wait && matches!(run.phase, Phase::Gap(_));
        match reg::COPY_BASE + word {
            reg::COPY_CONTROL => {
                u64::from(self.suspend) | u64::from(self.halt) << 2 | self.priority << 4
            }
            reg::COPY_STATUS => {
                let bits = [
                    (0, self.idle()),
                    (1, self.ring.stopped),
                    (2, self.quiet()),
                    (3, run.is_some_and(|run| run.waits.is_some())),
                    (4, run.is_some_and(polls)),
                    (8, true),
                ];
                bits.iter()
                    .fold(0, |all, &(bit, set)| all | u64::from(set) << bit)
            }
            reg::COPY_ERROR => self.record.map_or(0, |record| {
                u64::from(record.index) << 32 | 1 << 8 | u64::from(record.status)
            }),
            reg::COPY_ERROR_ADDR => self.record.map_or(0, |record| record.addr),
            _ => ring_register(&self.ring, word),
        }
    }

    /// Writes a register. `value` has the old bytes where `strobe` is off.
    pub(crate) fn set_register(&mut self, word: u64, value: u64, strobe: u8) {
        match reg::COPY_BASE + word {
            reg::COPY_CONTROL if strobe & 1 != 0 => {
                self.suspend = value & 1 != 0;
                self.halt = value & 4 != 0;
                self.priority = value >> 4 & 3;
                if value & 2 != 0 {
                    self.end(JobStatus::Killed);
                }
            }
            reg::COPY_ERROR if strobe != 0 => self.record = None,
            _ => {
                if reg::COPY_BASE + word == reg::COPY_SIZE && strobe & 1 != 0 {
                    self.record = None;
                }
                write_ring(&mut self.ring, word, value, strobe);
            }
        }
    }

    /// Ends the descriptor at work, unless it has come to its end.
    fn end(&mut self, status: JobStatus) {
        if let Some(run) = &mut self.run
            && !matches!(run.phase, Phase::Report(_))
        {
            run.ending.get_or_insert((status as u8, 0));
            run.waits = None;
            if matches!(run.phase, Phase::Gap(_) | Phase::Segment(_)) {
                run.phase = Phase::Plan;
            }
        }
    }

    fn kill(&mut self, ctx: u8) -> bool {
        if !self.run.as_ref().is_some_and(|run| run.is_virtual_in(ctx)) {
            return true;
        }
        self.end(JobStatus::Stopped);
        false
    }

    fn next(&self, board: &Board) -> u64 {
        match &self.run {
            None => self.ring.next(board),
            Some(run) if run.waits.is_some() => u64::MAX,
            Some(run) => match &run.phase {
                Phase::Read { due, .. } | Phase::Write { due, .. } => *due,
                Phase::Segment(at) | Phase::Gap(at) => *at,
                Phase::Report(post) => post.next(),
                Phase::Plan if self.suspend && run.ending.is_none() => u64::MAX,
                Phase::Plan => board.time + 1,
            },
        }
    }

    fn tick(&mut self, board: &mut Board, mmu: &mut Mmu) {
        let Some(run) = &mut self.run else {
            self.run = self.accept(board);
            return;
        };
        let held = self.suspend && run.ending.is_none() && matches!(run.phase, Phase::Plan);
        if run.waits.is_some() || held {
            return;
        }
        if let Some(end) = run.advance(board, mmu) {
            self.run = None;
            let index = self.ring.consumer;
            self.ring.pop();
            let fine = [JobStatus::Ok, JobStatus::Stopped, JobStatus::Killed];
            if !fine.iter().any(|status| *status as u8 == end.status) {
                self.note(end.status, index, end.info);
                if self.halt {
                    self.ring.halt();
                }
            }
        }
    }

    fn note(&mut self, status: u8, index: u32, addr: u64) {
        let addr = addr & (1 << 56) - 1;
        self.record.get_or_insert(Record {
            status,
            index,
            addr,
        });
    }

    /// The next descriptor. An unknown opcode stops the ring.
    fn accept(&mut self, board: &mut Board) -> Option<Run> {
        let entry = self.ring.poll(board).map(CopyEntry);
        let run = entry.and_then(|entry| {
            let run = Run::new(board, entry);
            if run.is_none() {
                self.ring.stop(board, ErrorCode::BadEntry);
            }
            run
        });
        if let Some((code, addr)) = self.ring.take_fault() {
            let status = match code {
                ErrorCode::BadEntry => JobStatus::BadEntry,
                _ => JobStatus::MemoryError,
            };
            self.note(status as u8, self.ring.consumer, addr);
        }
        run
    }
}
