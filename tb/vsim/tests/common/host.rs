//! A host that maps, revokes, splits, stops and serves faults at random, and knows for every page
//! which translations a client may still use.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};

use hmmu_regs::{CtxMode, JobStatus, Pte};
use rand::Rng;
use rand_pcg::Pcg64Mcg;

use crate::bench::{Bench, Cmd, Cycle};
use crate::tables::leaf_pte;
use crate::warps::Outcome;
use crate::xlat::{Access, Ask, Event, VPN_MAX};

/// Large regions that the pages of the test lie in, by the number of their first page.
pub const REGIONS: [u64; 3] = [0, 512 * 700, 1 << 35];
/// Pages used in each region, relative to it.
pub const PAGES: [u64; 4] = [0, 1, 63, 511];
/// Contexts used.
pub const CONTEXTS: [u64; 2] = [3, 9];

/// A leaf that was in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaf {
    pte: Pte,
    large: bool,
}

impl Leaf {
    fn page(&self, vpn: u64) -> u64 {
        if self.large {
            self.pte.ppn() | vpn & 511
        } else {
            self.pte.ppn()
        }
    }

    fn allows(&self, access: Access) -> bool {
        match access {
            Access::Read => self.pte.r() == 1,
            Access::Execute => self.pte.x() == 1,
            Access::Write | Access::Atomic => self.pte.w() == 1,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Job {
    /// Revoked, waits for the acknowledgement of the event of this cycle.
    Revoke {
        ctx: u64,
        lo: u64,
        hi: u64,
        event: Option<u64>,
    },
    Stop {
        ctx: u64,
        event: Option<u64>,
    },
    Other,
}

type Page = (u64, u64);

/// The host.
pub struct Host {
    job: Option<Job>,
    /// Pages of the region that are part of one large leaf at present.
    large: BTreeSet<Page>,
    /// What clients may use: leaves since the last invalidation, the current one last.
    may: BTreeMap<Page, Vec<Leaf>>,
    current: BTreeMap<Page, Leaf>,
    next_ppn: u64,
    /// Pages stored to, or read, through the current leaf.
    stored: BTreeSet<Page>,
    read: BTreeSet<Page>,
    /// Pages that a store was asked for since the last harvest.
    asked_store: BTreeSet<Page>,
    /// Faults reported and not answered.
    open: BTreeSet<Ask>,
    /// Cycle of the last event that answered a wait.
    answered: BTreeMap<Ask, u64>,
    /// Contexts that are off.
    off: BTreeSet<u64>,
    /// Pages that a warp waits to store to.
    pub waiting_stores: BTreeSet<Page>,
    lookups: BTreeMap<(Ask, u64), Vec<Leaf>>,
    /// Commands done.
    pub done: u64,
    /// Revocations the host tries in 1000 turns without a command under way; stops are a tenth of it.
    pub mischief: u32,
    tag: String,
}

impl Host {
    /// A host with empty tables, its contexts set up. `tag` goes into every message.
    pub fn new(bench: &mut Bench, tag: String) -> Self {
        for ctx in CONTEXTS {
            bench.context(ctx);
        }
        Self {
            job: None,
            large: BTreeSet::new(),
            may: BTreeMap::new(),
            current: BTreeMap::new(),
            next_ppn: 0x10_0000,
            stored: BTreeSet::new(),
            read: BTreeSet::new(),
            asked_store: BTreeSet::new(),
            open: BTreeSet::new(),
            answered: BTreeMap::new(),
            off: BTreeSet::new(),
            waiting_stores: BTreeSet::new(),
            lookups: BTreeMap::new(),
            done: 0,
            mischief: 0,
            tag,
        }
    }

    /// A lookup is presented in cycle `now`: remembers what it may find.
    pub fn presented(&mut self, ask: Ask, now: u64) {
        let page = (ask.ctx, ask.vpn);
        if ask.access.stores() {
            self.asked_store.insert(page);
        }
        self.lookups
            .insert((ask, now), self.may.get(&page).cloned().unwrap_or_default());
    }

    /// Checks an outcome.
    pub fn check(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Hit { ask, ppn, looked } => {
                let may = &self.lookups[&(ask, looked)];
                let found = may
                    .iter()
                    .any(|l| l.page(ask.vpn) == ppn && l.allows(ask.access));
                assert!(
                    found,
                    "{}: {ask:?} of cycle {looked} used page {ppn:x}, may use {may:x?}",
                    self.tag
                );
                let page = (ask.ctx, ask.vpn);
                self.read.insert(page);
                if ask.access.stores() {
                    self.stored.insert(page);
                }
            }
            Outcome::Ended { ask, code } => {
                let bad = code == JobStatus::BadAddress as u64;
                assert!(
                    !bad || self.off.contains(&ask.ctx),
                    "{}: {ask:?} ended, context is on",
                    self.tag
                );
            }
        }
    }

    /// Takes the event of a cycle. Lookups of the same cycle must have been presented before.
    pub fn event(&mut self, c: &Cycle) {
        self.lookups
            .retain(|(_, looked), _| *looked + 1 >= c.number);
        match c.event {
            Event::Invalidate { ctx, lo, hi } => {
                self.forget(ctx, lo, hi);
                match &mut self.job {
                    Some(Job::Revoke { event, .. }) => *event = Some(c.number),
                    // The context is set up again.
                    _ => drop(self.off.remove(&ctx)),
                }
            }
            Event::Stop { ctx } => {
                self.forget(ctx, 0, VPN_MAX);
                self.off.insert(ctx);
                if let Some(Job::Stop { event, .. }) = &mut self.job {
                    *event = Some(c.number);
                }
            }
            _ => {}
        }
        if c.event != Event::None {
            self.open
                .retain(|a| !c.event.answers(a) && !c.event.retries(a));
        }
        // Whether a record that comes now was already answered while it was being written.
        for ask in every_ask().filter(|a| c.event.answers(a) || c.event.retries(a)) {
            self.answered.insert(ask, c.number);
        }
    }

    fn forget(&mut self, ctx: u64, lo: u64, hi: u64) {
        for (page, leaves) in self.may.range_mut((ctx, 0)..=(ctx, VPN_MAX)) {
            let current = self.current.get(page);
            leaves.retain(|l| {
                let shift = if l.large { 9 } else { 0 };
                let hit = page.1 >> shift >= lo >> shift && page.1 >> shift <= hi >> shift;
                !hit || current == Some(l)
            });
        }
    }

    /// The host's turn in a cycle: `done` if its command is done.
    pub fn turn(&mut self, bench: &mut Bench, done: bool, rng: &mut Pcg64Mcg) -> Option<u64> {
        let mut acknowledged = None;
        if done {
            self.done += 1;
            match self.job.take().expect("a command was under way") {
                Job::Revoke { ctx, lo, hi, event } => {
                    acknowledged = event;
                    self.harvest(bench, ctx, lo, hi);
                }
                Job::Stop { ctx, event } => {
                    acknowledged = event;
                    self.harvest(bench, ctx, 0, VPN_MAX);
                    let root = bench.tables.root(ctx);
                    bench.command(Cmd::CtxSet {
                        ctx,
                        mode: CtxMode::Translate,
                        root,
                    });
                    self.job = Some(Job::Other);
                    return acknowledged;
                }
                Job::Other => {}
            }
        }
        if self.job.is_some() || bench.offering() {
            return acknowledged;
        }
        let dice = rng.random_range(0..1000);
        if dice < self.mischief {
            self.revoke(bench, rng);
        } else if dice < self.mischief + self.mischief / 10 {
            let ctx = CONTEXTS[rng.random_range(0..2)];
            self.revoke_leaves(bench, ctx, 0, VPN_MAX);
            bench.command(Cmd::Stop { ctx });
            self.job = Some(Job::Stop { ctx, event: None });
        } else if dice > 600
            && let Some(record) = bench.take_record()
        {
            let ask = Ask {
                ctx: record.ctx(),
                vpn: record.addr() >> 12 & VPN_MAX,
                access: Access::of(record.access()),
            };
            self.serve(bench, ask, rng);
        }
        acknowledged
    }

    /// A record has come: each fault once.
    pub fn recorded(&mut self, ask: Ask, stamp: u64) {
        if self.answered.get(&ask).is_none_or(|&at| at < stamp) {
            assert!(
                self.open.insert(ask),
                "{}: {ask:?} was reported twice",
                self.tag
            );
        }
    }

    fn revoke(&mut self, bench: &mut Bench, rng: &mut Pcg64Mcg) {
        let ctx = CONTEXTS[rng.random_range(0..2)];
        let region = REGIONS[rng.random_range(0..3)];
        let a = region + PAGES[rng.random_range(0..4)];
        let (lo, hi) = match rng.random_range(0..4) {
            0 => (a, a),
            1 => (region, a),
            2 => (region, region + 511),
            _ => (0, VPN_MAX),
        };
        self.revoke_leaves(bench, ctx, lo, hi);
        bench.command(Cmd::Invalidate { ctx, lo, hi });
        self.job = Some(Job::Revoke {
            ctx,
            lo,
            hi,
            event: None,
        });
    }

    /// The leaves of the pages in the range: address of the entry, its page, and whether it is large.
    fn leaves(&self, bench: &mut Bench, ctx: u64, lo: u64, hi: u64) -> BTreeMap<u64, (Page, bool)> {
        let mut found = BTreeMap::new();
        for region in REGIONS {
            for page in PAGES {
                let vpn = region + page;
                let large = self.large.contains(&(ctx, region));
                let inside = if large {
                    region + 511 >= lo && region <= hi
                } else {
                    (lo..=hi).contains(&vpn)
                };
                if inside && self.current.contains_key(&(ctx, vpn)) {
                    let at = bench
                        .tables
                        .entry(&mut bench.mem, ctx, vpn, u32::from(large));
                    found.insert(at, ((ctx, vpn), large));
                }
            }
        }
        found
    }

    fn revoke_leaves(&mut self, bench: &mut Bench, ctx: u64, lo: u64, hi: u64) {
        for (at, (page, large)) in self.leaves(bench, ctx, lo, hi) {
            let old = bench.mem.read(at);
            bench.mem.write(at, old | 1 << 60);
            for page in self.pages_of(page, large) {
                self.current.insert(
                    page,
                    Leaf {
                        pte: Pte([old | 1 << 60]),
                        large,
                    },
                );
            }
        }
    }

    fn pages_of(&self, page: Page, large: bool) -> Vec<Page> {
        let region = page.1 & !511;
        if large {
            PAGES.iter().map(|p| (page.0, region + p)).collect()
        } else {
            vec![page]
        }
    }

    /// After the acknowledgement: A and D must be right, and the entries go.
    fn harvest(&mut self, bench: &mut Bench, ctx: u64, lo: u64, hi: u64) {
        for (at, (page, large)) in self.leaves(bench, ctx, lo, hi) {
            let pte = Pte([bench.mem.read(at)]);
            if pte.revoked() == 0 {
                continue; // mapped anew meanwhile
            }
            let pages = self.pages_of(page, large);
            let any = |set: &BTreeSet<Page>| pages.iter().any(|p| set.contains(p));
            assert!(
                pte.d() == 1 || !any(&self.stored),
                "{}: a store to {page:x?} left no D",
                self.tag
            );
            assert!(
                pte.a() == 1 || !any(&self.read),
                "{}: an access to {page:x?} left no A",
                self.tag
            );
            assert!(
                pte.d() == 0 || any(&self.asked_store),
                "{}: D of {page:x?} without a store",
                self.tag
            );
            bench.mem.write(at, 0);
            for page in pages {
                self.current.remove(&page);
                self.stored.remove(&page);
                self.read.remove(&page);
                if !self.waiting_stores.contains(&page) {
                    self.asked_store.remove(&page);
                }
            }
            self.large.remove(&(page.0, page.1 & !511));
        }
    }

    fn serve(&mut self, bench: &mut Bench, ask: Ask, rng: &mut Pcg64Mcg) {
        let page = (ask.ctx, ask.vpn);
        let region = ask.vpn & !511;
        if self.mischief > 0 && rng.random_range(0..10) == 0 {
            bench.command(Cmd::Cancel {
                ask,
                code: 16 + rng.random_range(0..100),
            });
            self.job = Some(Job::Other);
            return;
        }
        let rights = match ask.access {
            Access::Read => "r",
            Access::Write => "rw",
            Access::Atomic => "rwt",
            Access::Execute => "rx",
        };
        if let Some(old) = self.current.get(&page).copied() {
            // More rights: the entry may change under us, as A and D do.
            let at = bench
                .tables
                .entry(&mut bench.mem, page.0, page.1, u32::from(old.large));
            let more = bench.mem.read(at) | leaf_pte(0, rights).0[0];
            bench.mem.write(at, more);
            self.install(
                page,
                Leaf {
                    pte: Pte([more]),
                    large: old.large,
                },
            );
        } else {
            let empty = PAGES
                .iter()
                .all(|p| !self.current.contains_key(&(ask.ctx, region + p)));
            let large = empty && rng.random_bool(0.3);
            self.next_ppn += 512;
            let vram = u64::from(rng.random_bool(0.5)) << 43;
            let pte = leaf_pte(self.next_ppn | vram, rights);
            if large {
                self.large.insert((ask.ctx, region));
            }
            let at = bench
                .tables
                .entry(&mut bench.mem, page.0, page.1, u32::from(large));
            bench.mem.write(at, pte.0[0]);
            self.install(page, Leaf { pte, large });
        }
        let (lo, hi) =
            [(ask.vpn, ask.vpn), (region, region + 511), (0, VPN_MAX)][rng.random_range(0..3)];
        bench.command(Cmd::Replay {
            ctx: ask.ctx,
            lo,
            hi,
        });
        self.job = Some(Job::Other);
    }

    fn install(&mut self, page: Page, leaf: Leaf) {
        for page in self.pages_of(page, leaf.large) {
            self.may.entry(page).or_default().push(leaf);
            self.current.insert(page, leaf);
        }
    }
}

/// Every access that the clients of the test make.
pub fn every_ask() -> impl Iterator<Item = Ask> {
    CONTEXTS.into_iter().flat_map(|ctx| {
        REGIONS.into_iter().flat_map(move |region| {
            PAGES.into_iter().flat_map(move |page| {
                Access::ALL.into_iter().map(move |access| Ask {
                    ctx,
                    vpn: region + page,
                    access,
                })
            })
        })
    })
}
