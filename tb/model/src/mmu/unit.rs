//! Lookups, misses and their walks.

use super::dirty_log::DirtyLog;
use super::fault::FaultRing;
use super::tlb::{Tlb, Xlat};
use super::walk::{self, Step, Walked};
use crate::addr::{PhysAddr, canonical, vpn};
use crate::board::Board;
use crate::config::{L1_ENTRIES, L2_SETS, L2_WAYS};
use hmmu_regs::{Access, CONTEXTS, Client, Counter, CtxMode, FaultReason, JobStatus};

/// What misses are merged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) ctx: u8,
    pub(crate) vpn: u64,
    pub(crate) access: Access,
}

impl Key {
    pub(crate) fn within(&self, ctx: u8, lo: u64, hi: u64) -> bool {
        self.ctx == ctx && (lo..=hi).contains(&self.vpn)
    }
}

/// Answer to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The physical address of the byte asked for.
    Hit(PhysAddr),
    /// Park until an event concerns this key, then look up again.
    Miss(Key),
    /// The access ends with this status.
    Error(u8),
}

/// What parked clients must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A translation came: whoever it satisfies looks up again.
    Fill(Xlat),
    /// Nothing translated for the pages lo..=hi may be kept.
    Drop { ctx: u8, lo: u64, hi: u64 },
    /// Replay: whoever waits for a page in lo..=hi looks up again.
    Retry { ctx: u8, lo: u64, hi: u64 },
    /// Whoever waits for this key ends with the code.
    Cancel { key: Key, code: u8 },
}

impl Event {
    /// What it means to a client that waits for `key`: nothing, look up again, or end.
    pub(crate) fn concerns(&self, key: &Key) -> Option<Result<(), u8>> {
        match self {
            Self::Drop { .. } => None,
            Self::Fill(xlat) => {
                (xlat.covers(key.ctx, key.vpn) && xlat.allows(key.access)).then_some(Ok(()))
            }
            Self::Retry { ctx, lo, hi } => key.within(*ctx, *lo, *hi).then_some(Ok(())),
            Self::Cancel { key: ended, code } => (ended == key).then_some(Err(*code)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for a walk slot.
    Queued,
    /// The step's memory access happens at `at`.
    Walking {
        step: Step,
        at: u64,
    },
    Parked(Parked),
}

/// A fault that waits for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parked {
    pub(super) reason: FaultReason,
    /// When it was found.
    pub(super) stamp: u64,
    /// Its record has not been begun.
    pub(super) fresh: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Miss {
    pub(super) key: Key,
    pub(super) client: Client,
    pub(super) state: State,
}

/// Register XLAT_LIMITS. The model always merges and has no walk cache: of these limits it only keeps the bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits(pub(crate) u64);

impl Limits {
    /// The bits that are there.
    pub(crate) const BITS: u64 = 0x73f;

    /// Walks in flight, of `all` that the device has.
    fn walkers(self, all: usize) -> usize {
        match (self.0 & 0x3f) as usize {
            0 => all,
            few => few.min(all),
        }
    }

    fn l2_off(self) -> bool {
        self.0 >> 9 & 1 != 0
    }
}

#[derive(Clone, Copy)]
pub(super) struct Context {
    pub(super) mode: CtxMode,
    pub(super) root: PhysAddr,
    /// D bits that are set go to the dirty log.
    pub(super) log: bool,
}

pub(crate) struct Mmu {
    pub(super) contexts: [Context; CONTEXTS],
    /// Of CuData, CuFetch and Copy.
    pub(super) l1: [Tlb; 3],
    pub(super) l2: Tlb,
    pub(crate) limits: Limits,
    pub(super) misses: Vec<Miss>,
    pub(super) ring: FaultRing,
    pub(super) dirty: DirtyLog,
    pub(super) events: Vec<Event>,
}

impl Mmu {
    pub(crate) fn new() -> Self {
        Self {
            contexts: [Context {
                mode: CtxMode::Off,
                root: PhysAddr(0),
                log: false,
            }; CONTEXTS],
            l1: std::array::from_fn(|_| Tlb::new(1, L1_ENTRIES)),
            l2: Tlb::new(L2_SETS, L2_WAYS),
            limits: Limits::default(),
            misses: Vec::new(),
            ring: FaultRing::new(),
            dirty: DirtyLog::default(),
            events: Vec::new(),
        }
    }

    /// Translates an address for CuData, CuFetch or Copy.
    pub(crate) fn translate(
        &mut self,
        board: &mut Board,
        client: Client,
        ctx: u8,
        va: u64,
        access: Access,
    ) -> Outcome {
        let context = self.contexts[usize::from(ctx) % CONTEXTS];
        if !canonical(va) || context.mode == CtxMode::Off {
            return Outcome::Error(JobStatus::BadAddress as u8);
        }
        if context.mode == CtxMode::Bypass {
            let low = va & ((1 << 47) - 1);
            let vram = va >> 47 & 1 != 0;
            return Outcome::Hit(PhysAddr(if vram { PhysAddr::VRAM | low } else { low }));
        }
        let (lookups, hits) = if client == Client::CuFetch {
            (Counter::L1FetchLookups, Counter::L1FetchHits)
        } else {
            (Counter::L1Lookups, Counter::L1Hits)
        };
        let page = vpn(va);
        let at = |xlat: &Xlat| Outcome::Hit(PhysAddr::of_page(xlat.page(page)).plus(va & 0xfff));
        let l1 = &mut self.l1[client as usize % 3];
        board.count(lookups);
        if let Some(xlat) = l1.find(ctx, page, access) {
            board.count(hits);
            return at(&xlat);
        }
        if !self.limits.l2_off() {
            board.count(Counter::L2Lookups);
            if let Some(xlat) = self.l2.find(ctx, page, access) {
                board.count(Counter::L2Hits);
                l1.fill(xlat);
                return at(&xlat);
            }
        }
        let key = Key {
            ctx,
            vpn: page,
            access,
        };
        match self.misses.iter().find(|miss| miss.key == key) {
            Some(Miss {
                state: State::Parked(_),
                ..
            }) => board.count(Counter::FaultMerges),
            Some(_) => board.count(Counter::WalkMerges),
            None => self.misses.push(Miss {
                key,
                client,
                state: State::Queued,
            }),
        }
        Outcome::Miss(key)
    }

    /// Moves on every walk whose memory access is due, and the fault ring.
    pub(crate) fn tick(&mut self, board: &mut Board) {
        self.ring.tick(board, &mut self.misses);
        self.dirty.tick(board);
        let mut index = 0;
        while index < self.misses.len() {
            match self.walk(board, self.misses[index]) {
                Some(Ok(next)) => self.misses[index].state = next,
                Some(Err(xlat)) => {
                    // Misses go with it, this one among them: those that are left are looked at again.
                    self.fill(self.misses[index].client, xlat);
                    index = 0;
                    continue;
                }
                None => {}
            }
            index += 1;
        }
    }

    /// What becomes of a miss in this cycle: nothing, another state, or a translation.
    fn walk(&mut self, board: &mut Board, miss: Miss) -> Option<Result<State, Xlat>> {
        let Key { ctx, vpn, access } = miss.key;
        match miss.state {
            State::Queued => self.start(board, miss.key).map(Ok),
            State::Walking { step, at } if at <= board.time => {
                let logged = self.dirty.is_on() && self.contexts[usize::from(ctx)].log;
                let logged = step.sets_dirty(access).filter(|_| logged);
                if logged.is_some() && !self.dirty.has_place() {
                    let at = board.time + 1;
                    return Some(Ok(State::Walking { step, at }));
                }
                let walked = walk::advance(board, step, ctx, vpn, access);
                // An update whose answer was lost may have set D.
                if let Some(order) = logged
                    && !matches!(walked, Walked::Again)
                {
                    self.dirty.note(board, ctx, vpn >> order << order, order);
                }
                Some(match walked {
                    Walked::On(step) => Ok(walking(board, step, vpn)),
                    Walked::Again => {
                        board.count(Counter::WalkRestarts);
                        Ok(State::Queued)
                    }
                    Walked::Fault(reason) => Ok(self.park(board, reason)),
                    Walked::Done(xlat) => Err(xlat),
                })
            }
            _ => None,
        }
    }

    /// An access that may set a D bit which is to be logged.
    fn is_logged_store(&self, key: &Key) -> bool {
        self.dirty.is_on()
            && self.contexts[usize::from(key.ctx)].log
            && matches!(key.access, Access::Write | Access::Atomic)
    }

    /// Gives a queued miss a walk slot, if there is one.
    fn start(&self, board: &mut Board, key: Key) -> Option<State> {
        let walking_now = self
            .misses
            .iter()
            .filter(|miss| matches!(miss.state, State::Walking { .. }))
            .count();
        let slots = self.limits.walkers(board.config.walkers);
        if walking_now >= slots {
            return None;
        }
        // Stores that may wait for the dirty log leave slots to others.
        if self.is_logged_store(&key) {
            let walking = |miss: &&Miss| matches!(miss.state, State::Walking { .. });
            let held = self.misses.iter().filter(walking);
            let held = held.filter(|miss| self.is_logged_store(&miss.key)).count();
            let left = if slots > 8 { 4 } else { 1 };
            if held >= slots.saturating_sub(left).max(1) {
                return None;
            }
        }
        board.count(Counter::Walks);
        let root = self.contexts[usize::from(key.ctx)].root;
        Some(walking(
            board,
            Step::Read {
                level: 3,
                table: root,
            },
            key.vpn,
        ))
    }

    /// Parks a fault. With every fault entry taken the walk starts over instead.
    fn park(&self, board: &Board, reason: FaultReason) -> State {
        let parked = self
            .misses
            .iter()
            .filter(|miss| matches!(miss.state, State::Parked(_)));
        if parked.count() >= board.config.fault_entries {
            return State::Queued;
        }
        State::Parked(Parked {
            reason,
            stamp: board.time,
            fresh: true,
        })
    }

    /// Caches a translation and answers every miss that it satisfies, whatever its state.
    fn fill(&mut self, client: Client, xlat: Xlat) {
        self.l2.fill(xlat);
        self.l1[client as usize % 3].fill(xlat);
        self.misses.retain(|miss| {
            !xlat.covers(miss.key.ctx, miss.key.vpn) || !xlat.allows(miss.key.access)
        });
        self.events.push(Event::Fill(xlat));
    }

    /// When something may next happen here.
    pub(crate) fn next(&self, board: &Board) -> u64 {
        let mut next = self.ring.next(board.time, &self.misses);
        next = next.min(self.dirty.next(board.time));
        for miss in &self.misses {
            next = next.min(match miss.state {
                State::Queued => board.time + 1,
                State::Walking { at, .. } => at,
                State::Parked(_) => u64::MAX,
            });
        }
        next
    }

    /// Events since the last call, in order.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

fn walking(board: &mut Board, step: Step, vpn: u64) -> State {
    let latency = board.latency(walk::target(step, vpn));
    State::Walking {
        step,
        at: board.after(latency),
    }
}
