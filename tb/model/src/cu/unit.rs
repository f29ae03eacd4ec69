//! The warps and their turns.

use super::bus::WarpBus;
use super::icache::ICache;
use crate::board::Board;
use crate::config::WARPS;
use crate::mmu::{Event, Key, Mmu};
use crate::rv64::{Hart, Step};
use hmmu_regs::{Access, Counter, JobStatus, WarpState};

/// A thread as the launch unit hands it over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Thread {
    /// Job slot.
    pub(crate) slot: usize,
    pub(crate) ctx: u8,
    pub(crate) entry: u64,
    pub(crate) arg: u64,
    pub(crate) index: u32,
    pub(crate) threads: u32,
    pub(crate) stack_base: u64,
    pub(crate) stack_size: u64,
    /// Whose stack it has.
    pub(crate) place: u32,
}

/// How a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadEnd {
    pub(crate) slot: usize,
    pub(crate) place: u32,
    pub(crate) result: u64,
    /// Enum `JobStatus` or the code of a Cancel.
    pub(crate) status: u8,
    pub(crate) info: u64,
}

struct Warp {
    hart: Hart,
    slot: usize,
    ctx: u8,
    state: WarpState,
    /// Its next turn is not before this time.
    ready: u64,
    /// What it is parked on, and the address of the access.
    waits: Option<(Key, u64)>,
    /// It ends at its next turn, with this status and info.
    ending: Option<(u8, u64)>,
    /// Its job is suspended: it has no turns.
    held: bool,
}

impl Warp {
    fn runnable(&self, now: u64) -> bool {
        self.waiting_for_turn() && self.ready <= now
    }

    fn waiting_for_turn(&self) -> bool {
        self.state != WarpState::Idle && self.waits.is_none() && !self.held
    }

    /// Its thread has ended.
    fn end(&mut self, board: &mut Board, status: u8, info: u64) -> ThreadEnd {
        self.state = WarpState::Idle;
        board.count(Counter::Threads);
        ThreadEnd {
            slot: self.slot,
            place: self.hart.place,
            result: self.hart.x[10],
            status,
            info,
        }
    }

    /// Executes one instruction. Status and info, if the thread ended.
    fn step(&mut self, board: &mut Board, mmu: &mut Mmu, icache: &mut ICache) -> Option<(u8, u64)> {
        let pc = self.hart.pc;
        let mut bus = WarpBus {
            board: &mut *board,
            mmu,
            icache,
            ctx: self.ctx,
            missed: None,
            cycles: 0,
        };
        let step = self.hart.step(&mut bus);
        let (missed, cycles) = (bus.missed, bus.cycles);
        match step {
            Step::Retired => {
                board.count(Counter::Instructions);
                self.state = WarpState::Fetch;
                self.ready = board.after(board.config.latency.instruction.max(cycles));
                None
            }
            Step::Parked => {
                let fetch = missed.is_some_and(|(key, _)| key.access == Access::Execute);
                self.state = if fetch {
                    WarpState::FetchMiss
                } else {
                    WarpState::DataMiss
                };
                self.waits = missed;
                None
            }
            Step::Ecall => Some((JobStatus::Ok as u8, 0)),
            Step::Ebreak => Some((JobStatus::Breakpoint as u8, pc)),
            Step::Illegal => Some((JobStatus::Illegal as u8, pc)),
            Step::Misaligned(addr) => Some((JobStatus::Misaligned as u8, addr)),
            Step::Error { code, addr } => Some((code, addr)),
        }
    }
}

pub(crate) struct ComputeUnit {
    icache: ICache,
    warps: [Warp; WARPS],
    /// The warp whose turn comes first.
    turn: usize,
}

impl ComputeUnit {
    pub(crate) fn new() -> Self {
        let idle = |_| Warp {
            hart: Hart::default(),
            slot: 0,
            ctx: 0,
            state: WarpState::Idle,
            ready: 0,
            waits: None,
            ending: None,
            held: false,
        };
        Self {
            icache: ICache::new(),
            warps: std::array::from_fn(idle),
            turn: 0,
        }
    }

    /// Starts a thread on an idle warp; false if there is none.
    pub(crate) fn start(&mut self, board: &mut Board, thread: &Thread) -> bool {
        let Some(number) = self
            .warps
            .iter()
            .position(|warp| warp.state == WarpState::Idle)
        else {
            return false;
        };
        let mut hart = Hart::new(thread.entry);
        (hart.thread, hart.threads, hart.place) = (thread.index, thread.threads, thread.place);
        let stacks = u64::from(thread.place) + 1;
        hart.x[2] = thread
            .stack_base
            .wrapping_add(stacks.wrapping_mul(thread.stack_size));
        hart.x[10] = thread.arg;
        hart.x[11] = u64::from(thread.index);
        hart.x[12] = u64::from(thread.threads);
        let ready = board.after(1);
        self.warps[number] = Warp {
            hart,
            slot: thread.slot,
            ctx: thread.ctx,
            state: WarpState::Fetch,
            ready,
            waits: None,
            ending: None,
            held: false,
        };
        true
    }

    /// Puts a saved thread on an idle warp; false if there is none.
    pub(crate) fn restore(&mut self, slot: usize, ctx: u8, hart: Hart, ready: u64) -> bool {
        let Some(warp) = self
            .warps
            .iter_mut()
            .find(|warp| warp.state == WarpState::Idle)
        else {
            return false;
        };
        *warp = Warp {
            hart,
            slot,
            ctx,
            state: WarpState::Fetch,
            ready,
            waits: None,
            ending: None,
            held: false,
        };
        true
    }

    /// Takes the end of a warp of a job slot that has been told to end, without its turn.
    pub(crate) fn take_end(&mut self, board: &mut Board, slot: usize) -> Option<ThreadEnd> {
        let warp = self
            .warps
            .iter_mut()
            .find(|warp| warp.slot == slot && warp.ending.is_some())?;
        let (status, info) = warp.ending.take()?;
        Some(warp.end(board, status, info))
    }

    /// Takes a thread of a job slot out of its warp.
    pub(crate) fn take(&mut self, slot: usize) -> Option<Hart> {
        let warp = self
            .warps
            .iter_mut()
            .find(|warp| warp.slot == slot && warp.state != WarpState::Idle)?;
        warp.state = WarpState::Idle;
        warp.waits = None;
        warp.held = false;
        Some(warp.hart.clone())
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        let busy = self
            .warps
            .iter()
            .filter(|warp| warp.state != WarpState::Idle);
        busy.count()
    }

    /// Ends the warps of a job slot at once; how many there were. None has an access under way: an instruction
    /// of this model is all or nothing.
    pub(crate) fn kill(&mut self, slot: usize) -> u32 {
        let mut ended = 0;
        for warp in &mut self.warps {
            if warp.state != WarpState::Idle && warp.slot == slot {
                warp.state = WarpState::Idle;
                warp.waits = None;
                ended += 1;
            }
        }
        ended
    }

    /// Holds the warps of a job slot before their next instruction, or lets them go on. One that waits tries its
    /// access anew then.
    pub(crate) fn hold(&mut self, slot: usize, held: bool, now: u64) {
        for warp in &mut self.warps {
            // One that is about to end issues nothing more.
            if warp.state == WarpState::Idle || warp.slot != slot || warp.ending.is_some() {
                continue;
            }
            if held {
                warp.waits = None;
                warp.state = WarpState::Held;
            } else if warp.held {
                warp.state = WarpState::Fetch;
                warp.ready = warp.ready.max(now);
            }
            warp.held = held;
        }
    }

    pub(crate) fn on_event(&mut self, event: &Event, now: u64) {
        if let Event::Drop { ctx, lo, hi } = event {
            self.icache.drop_range(*ctx, *lo, *hi);
        }
        for warp in &mut self.warps {
            let Some((key, addr)) = warp.waits else {
                continue;
            };
            if let Some(woken) = event.concerns(&key) {
                warp.waits = None;
                warp.ready = now;
                warp.ending = woken.err().map(|code| (code, addr));
            }
        }
    }

    /// When a warp may next have a turn.
    pub(crate) fn next(&self, now: u64) -> u64 {
        let turns = self.warps.iter().filter(|warp| warp.waiting_for_turn());
        turns
            .map(|warp| warp.ready.max(now + 1))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Gives one warp its turn: one instruction. The end of a thread is returned.
    pub(crate) fn tick(&mut self, board: &mut Board, mmu: &mut Mmu) -> Option<ThreadEnd> {
        let number = (0..WARPS)
            .map(|k| (self.turn + k) % WARPS)
            .find(|&n| self.warps[n].runnable(board.time))?;
        self.turn = (number + 1) % WARPS;
        let warp = &mut self.warps[number];
        let (status, info) = match warp.ending.take() {
            Some(end) => end,
            None => warp.step(board, mmu, &mut self.icache)?,
        };
        Some(warp.end(board, status, info))
    }

    /// Register WARP_STATE of a warp.
    pub(crate) fn warp_state(&self, number: usize) -> u64 {
        let warp = &self.warps[number];
        (warp.hart.pc & 0xffff_ffff_ffff)
            | (warp.state as u64) << 48
            | u64::from(warp.ctx) << 52
            | (warp.slot as u64) << 56
    }
}
