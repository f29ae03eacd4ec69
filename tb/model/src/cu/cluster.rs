//! All compute units.

use super::unit::{ComputeUnit, Thread, ThreadEnd};
use crate::board::Board;
use crate::config::{UNITS, WARPS};
use crate::mmu::{Event, Mmu};
use crate::rv64::Hart;

pub(crate) struct Cluster {
    units: [ComputeUnit; UNITS],
    /// The unit that takes a thread when all have as many.
    turn: usize,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self {
            units: std::array::from_fn(|_| ComputeUnit::new()),
            turn: 0,
        }
    }

    /// Starts a thread on an idle warp of the unit with the fewest threads; false if there is none.
    pub(crate) fn start(&mut self, board: &mut Board, thread: &Thread) -> bool {
        let unit = self.choose();
        self.units[unit].start(board, thread)
    }

    /// The unit with the fewest threads, in turn.
    fn choose(&mut self) -> usize {
        let order = (0..UNITS).map(|k| (self.turn + k) % UNITS);
        let unit = order.min_by_key(|&unit| self.units[unit].threads());
        let unit = unit.unwrap_or(0);
        self.turn = (unit + 1) % UNITS;
        unit
    }

    /// Puts a saved thread on an idle warp of the unit with the fewest threads; false if there is none.
    pub(crate) fn restore(&mut self, slot: usize, ctx: u8, hart: Hart, ready: u64) -> bool {
        let unit = self.choose();
        self.units[unit].restore(slot, ctx, hart, ready)
    }

    /// Takes the end of a thread of a job slot that has been told to end.
    pub(crate) fn take_end(&mut self, board: &mut Board, slot: usize) -> Option<ThreadEnd> {
        self.units
            .iter_mut()
            .find_map(|unit| unit.take_end(board, slot))
    }

    /// Takes a thread of a job slot out of its warp.
    pub(crate) fn take(&mut self, slot: usize) -> Option<Hart> {
        self.units.iter_mut().find_map(|unit| unit.take(slot))
    }

    pub(crate) fn has_idle_warp(&self) -> bool {
        self.units.iter().any(|unit| unit.threads() < WARPS)
    }

    /// Ends the warps of a job slot at once; how many there were.
    pub(crate) fn kill(&mut self, slot: usize) -> u32 {
        self.units.iter_mut().map(|unit| unit.kill(slot)).sum()
    }

    /// Holds the warps of a job slot, or lets them go on.
    pub(crate) fn hold(&mut self, slot: usize, held: bool, now: u64) {
        for unit in &mut self.units {
            unit.hold(slot, held, now);
        }
    }

    pub(crate) fn on_event(&mut self, event: &Event, now: u64) {
        for unit in &mut self.units {
            unit.on_event(event, now);
        }
    }

    /// When a warp may next have a turn.
    pub(crate) fn next(&self, now: u64) -> u64 {
        let next = self.units.iter().map(|unit| unit.next(now));
        next.min().unwrap_or(u64::MAX)
    }

    pub(crate) fn busy(&self) -> bool {
        self.units.iter().any(|unit| unit.threads() > 0)
    }

    /// Gives one warp of each unit its turn. The ends of threads are returned.
    pub(crate) fn tick(&mut self, board: &mut Board, mmu: &mut Mmu) -> [Option<ThreadEnd>; UNITS] {
        let mut ends = [None; UNITS];
        for (unit, end) in self.units.iter_mut().zip(&mut ends) {
            *end = unit.tick(board, mmu);
        }
        ends
    }

    /// Register WARP_STATE of a warp, counted through all units.
    pub(crate) fn warp_state(&self, number: usize) -> u64 {
        self.units[number / WARPS].warp_state(number % WARPS)
    }
}
