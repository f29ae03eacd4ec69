//! What the control ring asks of the MMU. Each takes effect at once; the caller gives it its time.

use super::unit::{Context, Event, Key, Mmu, State};
use crate::addr::PhysAddr;
use crate::board::Board;
use hmmu_regs::{Counter, CtxMode};

impl Mmu {
    /// Sets a context's root table and mode.
    pub(crate) fn set_context(&mut self, ctx: u8, root: u64, mode: CtxMode) {
        let root = PhysAddr::of_page(root >> 12);
        self.contexts[usize::from(ctx)] = Context { mode, root };
    }

    /// Drops every cached translation that overlaps the pages; walks over them start over. Parked faults stay.
    pub(crate) fn invalidate(&mut self, board: &mut Board, ctx: u8, lo: u64, hi: u64) {
        self.drop_range(ctx, lo, hi);
        self.restart_walks(board, ctx, lo, hi);
    }

    /// Frees the faults of the pages; their waiters, and the walks over the pages, try again.
    pub(crate) fn replay(&mut self, board: &mut Board, ctx: u8, lo: u64, hi: u64) {
        self.free_faults(|key| key.within(ctx, lo, hi));
        self.restart_walks(board, ctx, lo, hi);
        self.events.push(Event::Retry { ctx, lo, hi });
    }

    /// Ends the parked accesses of one page and kind. Without such a fault nothing happens.
    pub(crate) fn cancel(&mut self, key: Key, code: u8) {
        if self.free_faults(|parked| *parked == key) {
            self.events.push(Event::Cancel { key, code });
        }
    }

    /// Forgets a context: translations, walks, faults. Its clients have ended before.
    pub(crate) fn stop(&mut self, ctx: u8) {
        self.drop_range(ctx, 0, u64::MAX);
        self.free_faults(|key| key.ctx == ctx);
        self.misses.retain(|miss| miss.key.ctx != ctx);
        self.contexts[usize::from(ctx)].mode = CtxMode::Off;
    }

    fn drop_range(&mut self, ctx: u8, lo: u64, hi: u64) {
        for l1 in &mut self.l1 {
            l1.drop_range(ctx, lo, hi);
        }
        self.l2.drop_range(ctx, lo, hi);
    }

    fn restart_walks(&mut self, board: &mut Board, ctx: u8, lo: u64, hi: u64) {
        for miss in &mut self.misses {
            if miss.key.within(ctx, lo, hi) && matches!(miss.state, State::Walking { .. }) {
                miss.state = State::Queued;
                board.count(Counter::WalkRestarts);
            }
        }
    }

    /// Frees the parked faults that `which` picks, and withdraws those of their records not yet begun.
    fn free_faults(&mut self, which: impl Fn(&Key) -> bool) -> bool {
        let before = self.misses.len();
        let ring = &mut self.ring;
        self.misses.retain(|miss| match miss.state {
            State::Fault { id } if which(&miss.key) => {
                ring.retire(id);
                false
            }
            _ => true,
        });
        self.misses.len() != before
    }
}
