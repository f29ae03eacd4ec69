//! What the control ring asks of the MMU. Each takes effect at once; the caller gives it its time.

use super::dirty_log::DirtyLog;
use super::fault::FaultRing;
use super::unit::{Context, Event, Key, Miss, Mmu, State};
use crate::addr::PhysAddr;
use crate::board::Board;
use hmmu_regs::{Counter, CtxMode};

impl Mmu {
    /// Sets a context's root table, its mode, and whether its D bits are logged; nothing cached of it stays.
    pub(crate) fn set_context(
        &mut self,
        board: &mut Board,
        ctx: u8,
        root: u64,
        mode: CtxMode,
        log: bool,
    ) {
        let root = PhysAddr::of_page(root >> 12);
        self.contexts[usize::from(ctx)] = Context { mode, root, log };
        self.invalidate(board, ctx, 0, u64::MAX);
    }

    /// Drops every cached translation that overlaps the pages; walks over them start over. Parked faults stay.
    pub(crate) fn invalidate(&mut self, board: &mut Board, ctx: u8, lo: u64, hi: u64) {
        self.drop_range(ctx, lo, hi);
        self.restart_walks(board, ctx, lo, hi);
    }

    /// Frees the faults of the pages; their waiters, and the walks over the pages, try again.
    pub(crate) fn replay(&mut self, board: &mut Board, ctx: u8, lo: u64, hi: u64) {
        let parked = |miss: &Miss| matches!(miss.state, State::Parked(_));
        self.misses
            .retain(|miss| !(parked(miss) && miss.key.within(ctx, lo, hi)));
        self.restart_walks(board, ctx, lo, hi);
        self.events.push(Event::Retry { ctx, lo, hi });
    }

    /// Ends the waiting accesses of one page and kind, parked or not yet.
    pub(crate) fn cancel(&mut self, key: Key, code: u8) {
        self.misses.retain(|miss| miss.key != key);
        self.events.push(Event::Cancel { key, code });
    }

    /// Forgets a context: translations, walks, faults. Its clients have ended before.
    pub(crate) fn stop(&mut self, ctx: u8) {
        self.drop_range(ctx, 0, u64::MAX);
        self.misses.retain(|miss| miss.key.ctx != ctx);
        self.contexts[usize::from(ctx)].mode = CtxMode::Off;
    }

    /// The fault ring's size register was written: both indices restart, parked faults are reported anew.
    pub(crate) fn resize_fault_ring(&mut self, log2: u64) {
        self.ring.resize(log2);
        for miss in &mut self.misses {
            if let State::Parked(parked) = &mut miss.state {
                parked.fresh = true;
            }
        }
    }

    /// The fault ring's registers.
    pub(crate) fn fault_ring(&mut self) -> &mut FaultRing {
        &mut self.ring
    }

    /// Reads a register of the fault ring: base, size, producer, consumer.
    pub(crate) fn fault_ring_words(&self) -> [u64; 4] {
        let ring = &self.ring;
        [
            ring.base,
            ring.log2,
            u64::from(ring.producer),
            u64::from(ring.consumer),
        ]
    }

    /// The dirty log's size register was written: both indices restart.
    pub(crate) fn resize_dirty_log(&mut self, log2: u64) {
        self.dirty.resize(log2);
    }

    /// The dirty log's registers.
    pub(crate) fn dirty_log(&mut self) -> &mut DirtyLog {
        &mut self.dirty
    }

    /// Reads a register of the dirty log: base, size, producer, consumer.
    pub(crate) fn dirty_log_words(&self) -> [u64; 4] {
        let log = &self.dirty;
        [
            log.base,
            log.log2,
            u64::from(log.producer),
            u64::from(log.consumer),
        ]
    }

    /// Register DIRTY_NEXT.
    pub(crate) fn dirty_log_next(&self) -> u32 {
        self.dirty.next_index()
    }

    /// Records wait inside the device because the dirty log has no room.
    pub(crate) fn dirty_log_full(&self) -> bool {
        self.dirty.full()
    }

    /// Records wait inside the device because the fault ring has no room.
    pub(crate) fn fault_ring_full(&self) -> bool {
        self.ring.full(&self.misses)
    }

    fn drop_range(&mut self, ctx: u8, lo: u64, hi: u64) {
        for l1 in &mut self.l1 {
            l1.drop_range(ctx, lo, hi);
        }
        self.l2.drop_range(ctx, lo, hi);
        self.events.push(Event::Drop { ctx, lo, hi });
    }

    fn restart_walks(&mut self, board: &mut Board, ctx: u8, lo: u64, hi: u64) {
        for miss in &mut self.misses {
            if miss.key.within(ctx, lo, hi) && matches!(miss.state, State::Walking { .. }) {
                miss.state = State::Queued;
                board.count(Counter::WalkRestarts);
            }
        }
    }
}
