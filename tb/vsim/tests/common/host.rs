//! A host that maps, revokes, splits, stops and serves faults at random, and knows for every page
//! which translations a client may still use.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};

use hmmu_regs::{CtxMode, JobStatus, Pte};
use rand::Rng;
use rand_pcg::Pcg64Mcg;

use crate::bench::{Bench, Cmd, Cycle};
use crate::tables::{leaf_pte, napot};
use crate::warps::Outcome;
use crate::xlat::{Access, Ask, Event, Size, VPN_MAX};

/// Regions of 1 GiB that the pages of the test lie in, by the number of their first page.
pub const REGIONS: [u64; 3] = [0, 7 << 18, 1 << 35];
/// Pages used in each region, relative to it.
pub const PAGES: [u64; 6] = [0, 1, 15, 63, 511, 512];
/// Contexts used.
pub const CONTEXTS: [u64; 2] = [3, 9];

/// A leaf that was in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaf {
    pte: Pte,
    size: Size,
}

impl Leaf {
    fn page(&self, vpn: u64) -> u64 {
        self.pte.ppn() | vpn & self.size.mask()
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
    /// A leaf has taken the place of an empty table, which the walk cache may hold; then the replay of these pages.
    Retire {
        ctx: u64,
        lo: u64,
        hi: u64,
    },
    Other,
}

type Page = (u64, u64);

/// The host.
pub struct Host {
    job: Option<Job>,
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
                    Some(Job::Retire { .. }) => {}
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
                let mask = l.size.mask();
                let hit = page.1 | mask >= lo && page.1 & !mask <= hi;
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
                Job::Retire { ctx, lo, hi } => {
                    bench.command(Cmd::Replay { ctx, lo, hi });
                    self.job = Some(Job::Other);
                    return None;
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
        let a = region + PAGES[rng.random_range(0..PAGES.len())];
        let (lo, hi) = match rng.random_range(0..6) {
            0 => (a, a),
            1 => (region, a),
            2 => (a & !15, a | 15),
            3 => (a & !511, a | 511),
            4 => (region, region | Size::Huge.mask()),
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

    /// The leaves that overlap the range: first page and size.
    fn leaves(&self, ctx: u64, lo: u64, hi: u64) -> BTreeSet<(u64, Size)> {
        self.current
            .range((ctx, 0)..=(ctx, VPN_MAX))
            .map(|(page, leaf)| (page.1 & !leaf.size.mask(), leaf.size))
            .filter(|(first, size)| first | size.mask() >= lo && *first <= hi)
            .collect()
    }

    fn revoke_leaves(&mut self, bench: &mut Bench, ctx: u64, lo: u64, hi: u64) {
        for (first, size) in self.leaves(ctx, lo, hi) {
            for at in entries(bench, ctx, first, size) {
                let old = bench.mem.read(at);
                bench.mem.write(at, old | 1 << 60);
            }
            for page in pages_of((ctx, first), size) {
                if let Some(leaf) = self.current.get_mut(&page) {
                    leaf.pte = leaf.pte.with_revoked(1 << 6);
                }
            }
        }
    }

    /// After the acknowledgement: A and D must be right, and the entries go.
    fn harvest(&mut self, bench: &mut Bench, ctx: u64, lo: u64, hi: u64) {
        for (first, size) in self.leaves(ctx, lo, hi) {
            let places = entries(bench, ctx, first, size);
            let word = |at: &u64| Pte([bench.mem.read(*at)]);
            if places.iter().any(|at| word(at).revoked() == 0) {
                continue; // mapped anew meanwhile
            }
            // The bits of a 64 KiB page are those of its 16 entries together.
            let a = places.iter().any(|at| word(at).a() == 1);
            let d = places.iter().any(|at| word(at).d() == 1);
            let page = (ctx, first);
            let pages = pages_of(page, size);
            let any = |set: &BTreeSet<Page>| pages.iter().any(|p| set.contains(p));
            assert!(
                d || !any(&self.stored),
                "{}: a store to {page:x?} {size:?} left no D",
                self.tag
            );
            assert!(
                a || !any(&self.read),
                "{}: an access to {page:x?} {size:?} left no A",
                self.tag
            );
            assert!(
                !d || any(&self.asked_store),
                "{}: D of {page:x?} without a store",
                self.tag
            );
            for at in places {
                bench.mem.write(at, 0);
            }
            for page in pages {
                self.current.remove(&page);
                self.stored.remove(&page);
                self.read.remove(&page);
                if !self.waiting_stores.contains(&page) {
                    self.asked_store.remove(&page);
                }
            }
        }
    }

    fn serve(&mut self, bench: &mut Bench, ask: Ask, rng: &mut Pcg64Mcg) {
        let page = (ask.ctx, ask.vpn);
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
        let mut retires = false;
        if let Some(old) = self.current.get(&page).copied() {
            // More rights: the entry may change under us, as A and D do.
            let more = leaf_pte(0, rights).0[0];
            for at in entries(bench, page.0, page.1, old.size) {
                let now = bench.mem.read(at);
                bench.mem.write(at, now | more);
            }
            let pte = Pte([old.pte.0[0] | more]);
            self.install(page, Leaf { pte, ..old });
        } else {
            let size = self.size_for(page, rng);
            self.next_ppn += Size::Huge.mask() + 1;
            let vram = u64::from(rng.random_bool(0.5)) << 43;
            let pte = leaf_pte(self.next_ppn | vram, rights);
            let entry = if size == Size::Napot { napot(pte) } else { pte };
            for at in entries(bench, page.0, page.1, size) {
                retires |= Pte([bench.mem.read(at)]).v() == 1;
                bench.mem.write(at, entry.0[0]);
            }
            self.install(page, Leaf { pte, size });
        }
        let (lo, hi) = [
            (ask.vpn, ask.vpn),
            (ask.vpn & !511, ask.vpn | 511),
            (0, VPN_MAX),
        ][rng.random_range(0..3)];
        let ctx = ask.ctx;
        if retires {
            // Of a large leaf any page will do; under a huge one there were more tables.
            let mask = self.current[&page].size.mask();
            bench.command(Cmd::Invalidate {
                ctx,
                lo: ask.vpn & !mask,
                hi: ask.vpn | mask,
            });
            self.job = Some(Job::Retire { ctx, lo, hi });
        } else {
            bench.command(Cmd::Replay { ctx, lo, hi });
            self.job = Some(Job::Other);
        }
    }

    /// A size for a leaf over a page, under which nothing else is mapped.
    fn size_for(&self, page: Page, rng: &mut Pcg64Mcg) -> Size {
        let free = |size: &Size| {
            let (first, last) = (page.1 & !size.mask(), page.1 | size.mask());
            self.current
                .range((page.0, first)..=(page.0, last))
                .next()
                .is_none()
        };
        let fit: Vec<Size> = Size::ALL.into_iter().filter(free).collect();
        fit[rng.random_range(0..fit.len())]
    }

    fn install(&mut self, page: Page, leaf: Leaf) {
        for page in pages_of(page, leaf.size) {
            self.may.entry(page).or_default().push(leaf);
            self.current.insert(page, leaf);
        }
    }
}

/// Addresses of the entries of a leaf: 16 for 64 KiB, else one.
fn entries(bench: &mut Bench, ctx: u64, vpn: u64, size: Size) -> Vec<u64> {
    let at = bench.tables.entry(&mut bench.mem, ctx, vpn, size.level());
    if size == Size::Napot {
        (0..16).map(|i| (at & !127) + 8 * i).collect()
    } else {
        vec![at]
    }
}

/// The pages of the test in the leaf of this size over a page.
fn pages_of(page: Page, size: Size) -> Vec<Page> {
    let (first, last) = (page.1 & !size.mask(), page.1 | size.mask());
    REGIONS
        .iter()
        .flat_map(|region| PAGES.iter().map(move |p| region + p))
        .filter(|vpn| (first..=last).contains(vpn))
        .map(|vpn| (page.0, vpn))
        .collect()
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
