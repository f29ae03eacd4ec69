//! The control ring: one command at a time, in order.

use crate::addr::{BusAddr, PhysAddr, vpn};
use crate::board::Board;
use crate::copy::CopyEngine;
use crate::cu::Cluster;
use crate::harvest;
use crate::launch::{LaunchUnit, Victim};
use crate::mmu::{Key, Mmu};
use crate::ring::Ring;
use hmmu_regs::{Access, Client, Counter, CtrlEntry, CtrlOp, CtxMode, ErrorCode, Fence, Vector};

/// The last page of the virtual space.
const LAST_PAGE: u64 = (1 << 36) - 1;

#[derive(Clone, Copy)]
enum Phase {
    /// Decided on at this time.
    Begin(u64),
    /// Stop and KillJob: jobs and copies come to their ends.
    Ending,
    /// Save: what has ended is told.
    Saving,
    /// Waits until accesses under way through old translations are over, and at least until this time.
    Draining { since: u64, until: u64 },
    /// Done but for the fence.
    Fence(u64),
}

/// The units that commands reach.
pub(crate) struct Units<'a> {
    pub(crate) mmu: &'a mut Mmu,
    pub(crate) copy: &'a mut CopyEngine,
    pub(crate) launch: &'a mut LaunchUnit,
    pub(crate) cu: &'a mut Cluster,
}

pub(crate) struct ControlUnit {
    pub(crate) ring: Ring,
    run: Option<(CtrlEntry, CtrlOp, Phase)>,
}

impl ControlUnit {
    pub(crate) fn new() -> Self {
        Self {
            ring: Ring::new(Client::Ctrl),
            run: None,
        }
    }

    pub(crate) fn idle(&self) -> bool {
        self.ring.idle()
    }

    pub(crate) fn next(&self, board: &Board) -> u64 {
        match self.run {
            None => self.ring.next(board),
            Some((_, _, Phase::Begin(at) | Phase::Fence(at))) => at,
            Some((_, _, Phase::Draining { until, .. })) => until.max(board.time + 1),
            Some((_, _, Phase::Ending | Phase::Saving)) => board.time + 1,
        }
    }

    pub(crate) fn tick(&mut self, board: &mut Board, units: &mut Units<'_>) {
        let Some((entry, op, phase)) = self.run else {
            self.accept(board);
            return;
        };
        let next = match phase {
            Phase::Begin(at) if at <= board.time => begin(board, units, &entry, op),
            Phase::Ending if ended(units, &entry, op) => {
                if op == CtrlOp::Stop {
                    units.mmu.stop(entry.ctx() as u8);
                    drain(board)
                } else {
                    Phase::Fence(board.after(1))
                }
            }
            Phase::Saving => save(board, units, &entry),
            Phase::Draining { since, until } if until <= board.time && units.copy.drained() => {
                if op == CtrlOp::Invalidate {
                    let took = board.time - since;
                    board.counters.add(Counter::InvalidateCycles, took);
                    board.counters.raise_to(Counter::InvalidateWorst, took);
                }
                Phase::Fence(board.after(1))
            }
            Phase::Fence(at) if at <= board.time => {
                self.finish(board, &entry);
                return;
            }
            waiting => waiting,
        };
        self.run = Some((entry, op, next));
    }

    /// The next command. One that does not exist stops the ring.
    fn accept(&mut self, board: &mut Board) {
        let Some(words) = self.ring.poll(board) else {
            return;
        };
        let entry = CtrlEntry(words);
        let known = CtrlOp::from_raw(entry.op());
        let mode = CtxMode::from_raw(entry.arg1() & 3);
        match known {
            Some(op)
                if (op != CtrlOp::CtxSet || mode.is_some())
                    && (op != CtrlOp::HarvestBits || harvest::is_good(&entry)) =>
            {
                let at = board.after(board.config.latency.command);
                self.run = Some((entry, op, Phase::Begin(at)));
            }
            _ => self.ring.stop(board, ErrorCode::BadEntry),
        }
    }

    fn finish(&mut self, board: &mut Board, entry: &CtrlEntry) {
        if entry.fence_addr() != 0 {
            let fence = Fence::default()
                .with_value(entry.fence_value())
                .with_stamp(board.time);
            board.write_words(
                Client::Ctrl,
                PhysAddr::system(BusAddr(entry.fence_addr() & !15)),
                &fence.0,
            );
        }
        if entry.irq() == 1 {
            board.raise(Vector::Ctrl);
        }
        self.ring.pop();
        self.run = None;
    }
}

/// The pages of a command: none if it is empty, all if it does not fit the virtual space.
fn pages(entry: &CtrlEntry) -> Option<(u64, u64)> {
    let first = entry.addr() & ((1 << 48) - 1);
    match entry.len() {
        0 => None,
        len => match first.checked_add(len - 1) {
            Some(last) if last >> 48 == 0 => Some((first >> 12, last >> 12)),
            _ => Some((0, LAST_PAGE)),
        },
    }
}

/// Starts a command; where it goes from there.
fn begin(board: &mut Board, units: &mut Units<'_>, entry: &CtrlEntry, op: CtrlOp) -> Phase {
    let ctx = entry.ctx() as u8;
    match op {
        CtrlOp::Nop => {}
        CtrlOp::CtxSet => {
            if let Some(mode) = CtxMode::from_raw(entry.arg1() & 3) {
                let log = entry.arg1() >> 2 & 1 != 0;
                units.mmu.set_context(board, ctx, entry.arg0(), mode, log);
                return drain(board);
            }
        }
        CtrlOp::Invalidate => {
            if let Some((lo, hi)) = pages(entry) {
                board.count(Counter::Invalidations);
                units.mmu.invalidate(board, ctx, lo, hi);
                return drain(board);
            }
        }
        CtrlOp::Replay => {
            if let Some((lo, hi)) = pages(entry) {
                board.count(Counter::Replays);
                units.mmu.replay(board, ctx, lo, hi);
            }
        }
        CtrlOp::Cancel => {
            if let Some(access) = Access::from_raw(entry.arg0() & 3) {
                board.count(Counter::Cancels);
                units.mmu.cancel(
                    Key {
                        ctx,
                        vpn: vpn(entry.addr()),
                        access,
                    },
                    entry.arg1() as u8,
                );
            }
        }
        CtrlOp::Stop | CtrlOp::KillJob => return Phase::Ending,
        CtrlOp::HarvestBits => {
            let cycles = harvest::run(board, entry);
            return Phase::Fence(board.after(cycles));
        }
        CtrlOp::Save => return save(board, units, entry),
        // An instruction is all or nothing here: nothing is under way.
        CtrlOp::Suspend | CtrlOp::Resume => {
            let held = op == CtrlOp::Suspend;
            units
                .launch
                .hold(units.cu, entry.arg0() as u32, held, board.time);
        }
    }
    Phase::Fence(board.after(1))
}

/// Saves a job, as soon as that is possible.
fn save(board: &mut Board, units: &mut Units<'_>, entry: &CtrlEntry) -> Phase {
    let (id, area) = (entry.arg0() as u32, PhysAddr(entry.arg1() & !63));
    match units.launch.save(board, units.cu, id, area) {
        Some(beats) => Phase::Fence(board.after(2 * beats)),
        None => Phase::Saving,
    }
}

/// Translations have been dropped: accesses made through them must retire.
fn drain(board: &mut Board) -> Phase {
    let until = board.after(board.config.latency.command);
    Phase::Draining {
        since: board.time,
        until,
    }
}

/// Ends what a Stop or KillJob names; true once it has.
fn ended(units: &mut Units<'_>, entry: &CtrlEntry, op: CtrlOp) -> bool {
    let ctx = entry.ctx() as u8;
    if op == CtrlOp::KillJob {
        return units
            .launch
            .kill(units.cu, Victim::Job(entry.arg0() as u32));
    }
    let jobs = units.launch.kill(units.cu, Victim::Context(ctx));
    let copies = units.copy.kill(ctx);
    jobs && copies
}
