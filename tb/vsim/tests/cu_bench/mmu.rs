//! A reference MMU: answers misses from a flat table, after random delays, and speaks the event bus.

use std::collections::{BTreeMap, VecDeque};

use hmmu_regs::Access;
use hmmu_vsim::Block;
use rand::Rng;
use rand_pcg::Pcg64;

use super::layout::{Field, event, miss};

/// A page's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub ppn: u64,
    pub r: bool,
    pub w: bool,
    pub x: bool,
    pub d: bool,
    pub atomic: bool,
}

impl Page {
    /// Everything allowed; D not set yet.
    pub fn all(ppn: u64) -> Self {
        Self {
            ppn,
            r: true,
            w: true,
            x: true,
            d: false,
            atomic: true,
        }
    }

    /// May this access ever go ahead?
    pub fn permits(&self, access: u64) -> bool {
        match access {
            a if a == Access::Read as u64 => self.r,
            a if a == Access::Write as u64 => self.r && self.w,
            a if a == Access::Atomic as u64 => self.r && self.w && self.atomic,
            _ => self.x,
        }
    }
}

/// Context, page and access kind of a miss.
pub type Key = (u64, u64, u64);

/// Events that a test sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Pages `lo..=hi` of a context.
    Invalidate(u64, u64, u64),
    /// The same, for a replay.
    Retry(u64, u64, u64),
    /// A parked miss ends with a code.
    Cancel(Key, u8),
    /// A context.
    Stop(u64),
}

/// The reference MMU.
pub struct RefMmu {
    pub table: BTreeMap<(u64, u64), Page>,
    /// Events to send, before anything else.
    pub events: VecDeque<Event>,
    /// Misses that no entry answers.
    pub parked: Vec<Key>,
    walks: Vec<(u64, Key)>,
    /// Delay of an answer in cycles, smallest and largest.
    pub delay: (u64, u64),
    /// Chance in 256 that a miss port is busy in a cycle.
    pub busy: u32,
    ready: [bool; 2],
    /// Misses taken.
    pub misses: u64,
}

/// Ready, valid and payload of each miss port.
const PORTS: [[&str; 3]; 2] = [
    ["miss_data_ready_i", "miss_data_valid_o", "miss_data_o"],
    ["miss_fetch_ready_i", "miss_fetch_valid_o", "miss_fetch_o"],
];

impl RefMmu {
    pub fn new(delay: (u64, u64), busy: u32) -> Self {
        Self {
            table: BTreeMap::new(),
            events: VecDeque::new(),
            parked: Vec::new(),
            walks: Vec::new(),
            delay,
            busy,
            ready: [false; 2],
            misses: 0,
        }
    }

    /// Before the clock: sets the event of this cycle, which is returned if it is a test's.
    pub fn drive(&mut self, b: &mut Block, now: u64, rng: &mut Pcg64) -> Option<Event> {
        for ([port, ..], ready) in PORTS.iter().zip(&mut self.ready) {
            *ready = rng.random_range(0..256) >= self.busy;
            b.set(port, u64::from(*ready));
        }
        let mut put = |f: Field, v: u64| b.set_bits("event_i", f.0, f.1, v);
        put(event::EV, 0);
        if let Some(sent) = self.events.pop_front() {
            let (ev, ctx, lo, hi) = match sent {
                Event::Invalidate(ctx, lo, hi) => (2, ctx, lo, hi),
                Event::Retry(ctx, lo, hi) => (3, ctx, lo, hi),
                Event::Cancel((ctx, vpn, access), code) => {
                    put(event::ACCESS, access);
                    put(event::CODE, u64::from(code));
                    (4, ctx, vpn, vpn)
                }
                Event::Stop(ctx) => (5, ctx, 0, 0),
            };
            put(event::EV, ev);
            put(event::CTX, ctx);
            put(event::LO, lo);
            put(event::HI, hi);
            self.parked.retain(|key| match sent {
                Event::Retry(ctx, lo, hi) => key.0 != ctx || key.1 < lo || key.1 > hi,
                Event::Cancel(one, _) => *key != one,
                Event::Stop(ctx) => key.0 != ctx,
                Event::Invalidate(..) => true,
            });
            if let Event::Stop(ctx) = sent {
                self.walks.retain(|(_, key)| key.0 != ctx);
            }
            return Some(sent);
        }
        let index = self.walks.iter().position(|(due, _)| *due <= now)?;
        let (_, key) = self.walks.swap_remove(index);
        let (ctx, vpn, access) = key;
        match self.table.get_mut(&(ctx, vpn)) {
            Some(page) if page.permits(access) => {
                if access == Access::Write as u64 || access == Access::Atomic as u64 {
                    page.d = true;
                }
                put(event::EV, 1);
                put(event::CTX, ctx);
                put(event::X_CTX, ctx);
                put(event::X_VPN, vpn);
                put(event::X_PPN, page.ppn);
                put((5, 1), 0);
                put(event::X_R, u64::from(page.r));
                put(event::X_W, u64::from(page.w));
                put(event::X_X, u64::from(page.x));
                put(event::X_D, u64::from(page.d));
                put(event::X_ATOMIC, u64::from(page.atomic));
            }
            _ if !self.parked.contains(&key) => self.parked.push(key),
            _ => {}
        }
        None
    }

    /// After evaluation: takes the misses of this cycle.
    pub fn accept(&mut self, b: &mut Block, now: u64, rng: &mut Pcg64) {
        for ([_, valid, name], &ready) in PORTS.iter().zip(&self.ready) {
            if !ready || b.get(valid) == 0 {
                continue;
            }
            let mut get = |f: Field| b.get_bits(name, f.0, f.1);
            let key = (get(miss::CTX), get(miss::VPN), get(miss::ACCESS));
            let fetch = key.2 == Access::Execute as u64;
            assert_eq!(
                get(miss::CLIENT),
                u64::from(fetch),
                "client of {key:?} at {name}"
            );
            self.misses += 1;
            self.walks
                .push((now + rng.random_range(self.delay.0..=self.delay.1), key));
        }
    }
}
