//! The walker alone, against the reference walk, with tables that change under it.

#[path = "common/memport.rs"]
mod memport;
#[path = "common/soak.rs"]
mod soak;
#[path = "common/tables.rs"]
mod tables;
#[path = "common/xlat.rs"]
mod xlat;

use std::collections::{BTreeMap, BTreeSet};

use hmmu_regs::{CtxMode, FaultReason, JobStatus, Pte};
use hmmu_vsim::{Block, COMPACT};
use memport::{MemPort, Timing};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tables::{Memory, Tables, Walked, leaf_pte, napot};
use xlat::{Access, Ask, Event, Size, VPN_MAX, put_event, put_miss, take_event, take_miss};

/// Bits of `ctx_cfg_t`.
const CFG_BITS: u32 = 47;
const TRANSLATED: [u64; 2] = [1, 14];
const OFF: u64 = 2;
const BYPASS: u64 = 3;
const REGIONS: [u64; 3] = [0, 512 * 777, 1 << 35];
const PAGES: [u64; 4] = [0, 1, 511, 512];

/// What a cycle brought.
struct Cycle {
    accepted: bool,
    merged: bool,
    event: Event,
    fault: Option<(Ask, FaultReason)>,
    quiet: bool,
}

struct Walker {
    b: Block,
    mem: Memory,
    tables: Tables,
    port: MemPort,
    rng: Pcg64Mcg,
    now: u64,
}

impl Walker {
    fn new(timing: Timing, seed: u64) -> Self {
        let mut b = Block::new("walker").expect("the block is built");
        let mut tables = Tables::new();
        for ctx in TRANSLATED {
            let root = tables.root(ctx);
            b.set_bits("ctx_cfg_i", CFG_BITS * ctx as u32, 44, root);
            b.set_bits(
                "ctx_cfg_i",
                CFG_BITS * ctx as u32 + 44,
                2,
                CtxMode::Translate as u64,
            );
        }
        b.set_bits(
            "ctx_cfg_i",
            CFG_BITS * BYPASS as u32 + 44,
            2,
            CtxMode::Bypass as u64,
        );
        b.reset();
        Self {
            b,
            mem: Memory::default(),
            tables,
            port: MemPort::new(timing),
            rng: Pcg64Mcg::seed_from_u64(seed),
            now: 0,
        }
    }

    /// One cycle. A command's event has the bus before the walker's own.
    fn cycle(
        &mut self,
        req: Option<Ask>,
        command: Option<Event>,
        ev_ready: bool,
        fault_ready: bool,
    ) -> Cycle {
        let b = &mut self.b;
        self.port.drive(b, &mut self.mem, &mut self.rng);
        b.set("req_valid_i", u64::from(req.is_some()));
        if let Some(ask) = req {
            put_miss(b, "req_i", &ask, 1);
        }
        b.set("fault_ready_i", u64::from(fault_ready));
        b.set("ev_ready_i", 0);
        put_event(b, "event_i", &Event::None);
        b.eval();
        let mut event = Event::None;
        if let Some(command) = command {
            event = command;
        } else if b.get("ev_valid_o") == 1 && ev_ready {
            event = take_event(b, "ev_o");
            b.set("ev_ready_i", 1);
        }
        // The L2 drops a request that the event answers.
        let req = req.filter(|ask| !event.answers(ask));
        b.set("req_valid_i", u64::from(req.is_some()));
        put_event(b, "event_i", &event);
        b.eval();
        let fault = (b.get("fault_valid_o") == 1 && fault_ready).then(|| {
            let reason = b.get("fault_reason_o");
            let reason = FaultReason::from_raw(reason).expect("a reason");
            (take_miss(b, "fault_o").0, reason)
        });
        let accepted = req.is_some() && b.get("req_ready_o") == 1;
        let c = Cycle {
            accepted,
            merged: b.get("cnt_merge_o") == 1,
            event,
            fault,
            quiet: b.get("quiet_o") == 1,
        };
        self.port.sample(b, &mut self.rng);
        b.clock();
        self.now += 1;
        c
    }

    fn quiet_cycle(&mut self) -> Cycle {
        self.cycle(None, None, true, true)
    }

    /// The end of one walk, and the cycles from its request.
    fn walk(&mut self, ask: Ask) -> (Cycle, u64) {
        let start = self.now;
        let mut c = self.cycle(Some(ask), None, true, true);
        assert!(c.accepted);
        while c.event == Event::None && c.fault.is_none() {
            assert!(self.now < start + 2000, "no end of {ask:?}");
            c = self.quiet_cycle();
        }
        (c, self.now - 1 - start)
    }
}

fn ask(ctx: u64, vpn: u64, access: Access) -> Ask {
    Ask { ctx, vpn, access }
}

/// Cycles of a walk of so many memory operations.
fn walk_of(operations: u64, latency: u64) -> u64 {
    let own = if COMPACT { 2 } else { 1 };
    operations * (latency + own) + own
}

#[test]
fn a_walk_takes_what_its_reads_take() {
    for latency in [1, 10, 50, 100] {
        let mut w = Walker::new(Timing::fixed(latency), 1);
        // Without the walk cache, for these walks have tables in common.
        w.b.set("limits_i", 1 << 6);
        w.tables
            .map(&mut w.mem, 1, 0x12345, Size::Small, leaf_pte(7, "rwad"));
        w.tables.map(
            &mut w.mem,
            1,
            0x54321,
            Size::Large,
            leaf_pte(1 << 10, "rwad"),
        );
        w.tables
            .map(&mut w.mem, 1, 0x77777, Size::Small, leaf_pte(8, "rw"));
        let small = w.walk(ask(1, 0x12345, Access::Read)).1;
        let large = w.walk(ask(1, 0x54321, Access::Read)).1;
        let dirty = w.walk(ask(1, 0x77777, Access::Write)).1;
        println!(
            "walk, memory latency {latency}: 4 KiB {small}, 2 MiB {large}, 4 KiB with A/D update {dirty} cycles"
        );
        assert_eq!(
            (small, large, dirty),
            (
                walk_of(4, latency),
                walk_of(3, latency),
                walk_of(5, latency)
            )
        );
    }
}

#[test]
fn a_warm_walk_cache_leaves_one_read() {
    let latency = 20;
    let mut w = Walker::new(Timing::fixed(latency), 1);
    for vpn in [0x12345, 0x12346, 0x12745, 0x52345] {
        w.tables
            .map(&mut w.mem, 1, vpn, Size::Small, leaf_pte(vpn, "rwad"));
    }
    // The page beside it, one in the next table, one in the next table above that.
    for (vpn, reads) in [(0x12345, 4), (0x12346, 1), (0x12745, 2), (0x52345, 3)] {
        let before = w.port.accepted;
        let took = w.walk(ask(1, vpn, Access::Read)).1;
        assert_eq!(w.port.accepted - before, reads, "page {vpn:x}");
        assert_eq!(took, walk_of(reads, latency));
    }
    w.b.set("limits_i", 1 << 6);
    let before = w.port.accepted;
    w.walk(ask(1, 0x12346, Access::Read));
    assert_eq!(w.port.accepted - before, 4, "the walk cache is off");
    w.b.set("limits_i", 0);
    // An invalidation of another page of the table takes the pointer away, but not those above it.
    let beside = Event::Invalidate {
        ctx: 1,
        lo: 0x123ff,
        hi: 0x123ff,
    };
    for (event, reads) in [
        (beside, 4),
        (
            Event::Invalidate {
                ctx: 1,
                lo: 0x12800,
                hi: 0x12800,
            },
            1,
        ),
        (
            Event::Invalidate {
                ctx: 2,
                lo: 0,
                hi: VPN_MAX,
            },
            1,
        ),
        (Event::Stop { ctx: 1 }, 4),
    ] {
        w.walk(ask(1, 0x12346, Access::Read));
        w.cycle(None, Some(event), true, true);
        let before = w.port.accepted;
        w.walk(ask(1, 0x12345, Access::Read));
        assert_eq!(w.port.accepted - before, reads, "{event:?}");
    }
}

#[test]
fn a_pointer_read_before_an_invalidation_is_not_kept() {
    let latency = 6;
    let walked = ask(1, 0x12345, Access::Read);
    // A page under the same pointer of this level, but no lower one.
    for (level, page) in [(1, 0x12346), (2, 0x13000), (3, 1 << 18 | 5)] {
        for offset in 0..5 * latency {
            let mut w = Walker::new(Timing::fixed(latency), 1);
            w.tables
                .map(&mut w.mem, 1, page, Size::Small, leaf_pte(7, "ra"));
            let reader = ask(1, page, Access::Read);
            let Event::Fill(old) = w.walk(reader).0.event else {
                panic!("it is mapped")
            };
            assert_eq!(old.ppn, 7);
            // A walk of another page, which is not mapped, passes the pointer.
            assert!(w.cycle(Some(walked), None, true, true).accepted);
            for _ in 0..offset {
                w.quiet_cycle();
            }
            // The table under it moves; only the page that was mapped there is invalidated.
            let at = w.tables.existing(&w.mem, 1, page, level);
            let moved = Pte([0]).with_v(1).with_ppn(w.tables.page());
            w.mem.write(at, moved.0[0]);
            w.tables
                .map(&mut w.mem, 1, page, Size::Small, leaf_pte(9, "ra"));
            let event = Event::Invalidate {
                ctx: 1,
                lo: page,
                hi: page,
            };
            w.cycle(None, Some(event), true, true);
            for _ in 0..8 * latency {
                w.quiet_cycle();
            }
            let Event::Fill(new) = w.walk(reader).0.event else {
                panic!("it is mapped")
            };
            assert_eq!(new.ppn, 9, "level {level} offset {offset}");
        }
    }
}

#[test]
fn walks_share_the_latency_and_leave_slots_to_other_contexts() {
    let latency = 100;
    let mut w = Walker::new(Timing::fixed(latency), 1);
    w.b.set("limits_i", 1 << 6);
    for ctx in TRANSLATED {
        for i in 0..20 {
            w.tables.map(
                &mut w.mem,
                ctx,
                i << 18,
                Size::Small,
                leaf_pte(100 + i, "ra"),
            );
        }
    }
    for i in 0..20 {
        assert!(
            w.cycle(Some(ask(1, i << 18, Access::Read)), None, true, true)
                .accepted,
            "what finds no slot waits"
        );
    }
    assert!(
        w.cycle(Some(ask(1, 3 << 18, Access::Read)), None, true, true)
            .merged
    );
    assert!(
        w.cycle(Some(ask(1, 19 << 18, Access::Read)), None, true, true)
            .merged,
        "also with one that waits"
    );
    // The other context finds two slots.
    for i in 0..2 {
        let other = ask(14, i << 18, Access::Read);
        assert!(w.cycle(Some(other), None, true, true).accepted);
    }
    let mut fills = Vec::new();
    while fills.len() < 22 {
        let c = w.quiet_cycle();
        if let Event::Fill(x) = c.event {
            fills.push((x.ctx, w.now));
        }
    }
    let last_other = fills.iter().filter(|f| f.0 == 14).map(|f| f.1).max();
    println!("walks at memory latency {latency}: {fills:?}");
    assert!(
        last_other.expect("two of them") <= 4 * (latency + 1) + 40,
        "the other context's walks waited"
    );
    let first = 4 * (latency + 1) + 60;
    assert_eq!(fills.iter().filter(|f| f.1 <= first).count(), 16);
    assert!(w.now <= 2 * first, "{} cycles", w.now);
}

#[test]
fn contexts_that_wait_take_turns() {
    let mut w = Walker::new(Timing::fixed(20), 1);
    // One slot, so that the order shows.
    w.b.set("limits_i", 1 << 6 | 1);
    for ctx in TRANSLATED {
        for i in 0..30 {
            w.tables.map(
                &mut w.mem,
                ctx,
                i << 18,
                Size::Small,
                leaf_pte(100 + i, "ra"),
            );
        }
    }
    for i in 0..30 {
        assert!(
            w.cycle(Some(ask(1, i << 18, Access::Read)), None, true, true)
                .accepted
        );
    }
    for i in 0..3 {
        assert!(
            w.cycle(Some(ask(14, i << 18, Access::Read)), None, true, true)
                .accepted
        );
    }
    let mut order = Vec::new();
    while order.len() < 12 {
        if let Event::Fill(x) = w.quiet_cycle().event {
            order.push(x.ctx);
        }
    }
    let turns = order.iter().position(|&c| c == 14).expect("its turn");
    assert!(turns <= 2, "{order:?}");
    assert_eq!(order.iter().filter(|&&c| c == 14).count(), 3, "{order:?}");
}

#[test]
fn contexts_that_have_no_tables() {
    let mut w = Walker::new(Timing::fixed(3), 1);
    let off = ask(OFF, 5, Access::Atomic);
    assert_eq!(
        w.walk(off).0.event,
        Event::Cancel {
            ask: off,
            code: JobStatus::BadAddress as u64
        }
    );
    let Event::Fill(x) = w
        .walk(ask(BYPASS, 1 << 35 | 0x4321, Access::Execute))
        .0
        .event
    else {
        panic!("a fill")
    };
    assert!(x.size == Size::Huge && Access::ALL.iter().all(|&a| x.allows(a)));
    assert_eq!(x.page(1 << 35 | 0x4321), 1 << 43 | 0x4321);
    assert_eq!(w.port.accepted, 0);
}

/// What the tables may answer: results since the last event that makes walks start again, the current one last.
type May = BTreeMap<Ask, Vec<Walked>>;

fn every_ask() -> Vec<Ask> {
    let mut all = Vec::new();
    for ctx in TRANSLATED {
        for region in REGIONS {
            for page in PAGES {
                all.extend(Access::ALL.map(|access| ask(ctx, region + page, access)));
            }
        }
    }
    all
}

/// Two results are the same but for A and D, which the walker sets itself.
fn same(a: &Walked, b: &Walked) -> bool {
    match (a, b) {
        (Walked::Fill(x, ..), Walked::Fill(y, ..)) => xlat::Xlat { d: y.d, ..*x } == *y,
        (x, y) => x == y,
    }
}

fn random_leaf(rng: &mut Pcg64Mcg, next: &mut u64) -> Pte {
    let rights =
        ["", "r", "rw", "rx", "rwx", "x", "w", "rwt", "rwadt", "rad"][rng.random_range(0..10)];
    *next += 1 << 18;
    let vram = u64::from(rng.random_bool(0.5)) << 43;
    let mut pte = leaf_pte(*next | vram, rights);
    match rng.random_range(0..14) {
        0 => pte = Pte([pte.0[0] | 1 << rng.random_range(54..64)]),
        1 => pte = pte.with_u(0),
        2 => pte = pte.with_v(0),
        3 => pte = pte.with_ppn(pte.ppn() | 1 << rng.random_range(0..18)),
        4..7 => pte = napot(pte),
        _ => {}
    }
    pte
}

/// The host changes one entry, anywhere in the tables. Returns the pages whose walks it concerns, and pages the
/// invalidation of which is enough: for a larger leaf any of its own.
fn change(
    w: &mut Walker,
    rng: &mut Pcg64Mcg,
    next: &mut u64,
    ctx: u64,
    vpn: u64,
) -> ((u64, u64), (u64, u64)) {
    let level = [0, 0, 0, 1, 2, 2, 3][rng.random_range(0..7)];
    // Leaves come and go in entries up to level 2; pointers are also taken away and put back.
    let at = match level {
        0 | 1 => w.tables.entry(&mut w.mem, ctx, vpn, level),
        _ => w.tables.existing(&w.mem, ctx, vpn, level),
    };
    let old = Pte([w.mem.read(at)]);
    let new = match (level, rng.random_range(0..4)) {
        (0 | 1, 0..3) | (2, 0) => random_leaf(rng, next).0[0],
        (0 | 1, _) => old.0[0] ^ 1 << 60,
        _ => old.0[0] ^ 1,
    };
    w.mem.write(at, new);
    let mask = (1 << (9 * level)) - 1;
    let all = (vpn & !mask, vpn | mask);
    let is_leaf = old.r() | old.x() != 0;
    let enough = match rng.random_range(0..4) {
        0 if is_leaf => (all.0, all.0),
        1 if is_leaf => (all.1, all.1),
        2 => (0, VPN_MAX),
        _ => all,
    };
    (all, enough)
}

fn refresh(w: &Walker, may: &mut May) {
    for (ask, list) in may {
        let found = w.tables.walk(&w.mem, ask);
        if list.last().is_none_or(|last| !same(last, &found)) {
            list.push(found);
        }
    }
}

/// The results from before the event are void for what it makes start again: of an invalidation the pages that
/// the change before it concerned, and its own.
fn restart(may: &mut May, event: &Event, changed: (u64, u64)) {
    for (ask, list) in may {
        let caught = match *event {
            Event::Invalidate { ctx, lo, hi } => {
                let inside = |(lo, hi): (u64, u64)| (lo..=hi).contains(&ask.vpn);
                ctx == ask.ctx && (inside((lo, hi)) || inside(changed))
            }
            _ => event.retries(ask),
        };
        if caught {
            list.drain(..list.len() - 1);
        }
    }
}

fn random_run(seed: u64, timing: Timing, cycles: u64) -> [u64; 3] {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut w = Walker::new(timing, !seed);
    let asks = every_ask();
    let mut may: May = asks.iter().map(|&a| (a, Vec::new())).collect();
    let mut next = 0x10_0000;
    let mut leaf_entries: BTreeMap<u64, BTreeSet<(u64, u64)>> = BTreeMap::new();
    for a in &asks {
        let at = w.tables.entry(&mut w.mem, a.ctx, a.vpn, 0);
        leaf_entries.entry(a.ctx).or_default().insert((at, a.vpn));
    }
    for _ in 0..200 {
        let a = asks[rng.random_range(0..asks.len())];
        w.tables.map(
            &mut w.mem,
            a.ctx,
            a.vpn,
            [Size::Small, Size::Napot, Size::Large, Size::Huge]
                [rng.random_range(0..12usize).saturating_sub(8)],
            random_leaf(&mut rng, &mut next),
        );
    }
    refresh(&w, &mut may);
    let mut pending: BTreeSet<Ask> = BTreeSet::new();
    let mut req = None;
    let mut command = None;
    let mut changed = (0, 0);
    let mut caught: Option<(u64, u64, u64, u64)> = None;
    let mut counts = [0; 3];
    let (ready, mischief) = (rng.random_range(0.2..1.0), rng.random_range(1..40));
    for t in 0..cycles + 8000 {
        let tag = format!("seed {seed} cycle {t}");
        let calm = t >= cycles;
        if calm && pending.is_empty() && req.is_none() {
            break;
        }
        if !calm && req.is_none() && rng.random_bool(0.3) {
            req = Some(asks[rng.random_range(0..asks.len())]);
        }
        let victim = asks[rng.random_range(0..asks.len())];
        if command.is_none() && !calm && rng.random_range(0..1000) < mischief {
            let (ctx, vpn) = (victim.ctx, victim.vpn);
            let (lo, hi) =
                [(vpn, vpn), (vpn & !511, vpn | 511), (0, VPN_MAX)][rng.random_range(0..3)];
            command = Some(match rng.random_range(0..10) {
                0 => Event::Stop { ctx },
                1 => Event::Cancel {
                    ask: victim,
                    code: 44,
                },
                2 => match w.tables.walk(&w.mem, &victim) {
                    Walked::Fill(x, false, _) => Event::Fill(x),
                    _ => Event::None,
                },
                3 | 4 => Event::Retry { ctx, lo, hi },
                _ => {
                    let (all, (lo, hi)) = change(&mut w, &mut rng, &mut next, ctx, vpn);
                    changed = all;
                    refresh(&w, &mut may);
                    Event::Invalidate { ctx, lo, hi }
                }
            });
        }
        let now = command.filter(|_| rng.random_bool(0.1) || calm);
        if now.is_some() {
            command = None;
        }
        let c = w.cycle(req, now, rng.random_bool(ready), rng.random_bool(ready));

        if let Some((ask, reason)) = c.fault {
            assert!(
                pending.remove(&ask),
                "{tag}: a fault of {ask:?}, which does not wait"
            );
            assert!(
                !c.event.answers(&ask) && !c.event.retries(&ask),
                "{tag}: a fault against the event"
            );
            let found = Walked::Fault(reason);
            assert!(
                may[&ask].iter().any(|m| same(m, &found)),
                "{tag}: {ask:?} {found:?}, may {:?}",
                may[&ask]
            );
            counts[1] += 1;
        }
        if let (Event::Fill(x), None) = (c.event, now) {
            let all: Vec<Ask> = pending.iter().copied().filter(|a| x.answers(a)).collect();
            let owner = all.iter().find(|a| a.vpn == x.vpn);
            let owner = owner.unwrap_or_else(|| panic!("{tag}: nobody waits for {x:x?}"));
            let found = Walked::Fill(x, false, false);
            assert!(
                may[owner].iter().any(|m| same(m, &found)),
                "{tag}: {owner:?} {found:?}, may {:?}",
                may[owner]
            );
            counts[0] += 1;
        }
        assert!(
            !matches!((c.event, now), (Event::Cancel { .. }, None)),
            "{tag}: the contexts are on"
        );
        pending.retain(|a| !c.event.answers(a));
        if req.is_some_and(|a| c.event.answers(&a)) {
            req = None;
        }
        if c.accepted {
            let ask = req.take().expect("a request");
            // A request that joins a walk whose fault is taken in this cycle is parked with it.
            let parked = c.fault.is_some_and(|f| f.0 == ask);
            assert_eq!(c.merged, parked || !pending.insert(ask), "{tag}: {ask:?}");
            counts[2] += u64::from(c.merged);
        }
        restart(&mut may, &c.event, changed);
        if let Some((since, ctx, lo, hi)) = caught.take_if(|_| c.quiet) {
            // Of the operations in flight at the event, those on entries of its pages have returned.
            let leaves: Vec<u64> = leaf_entries[&ctx]
                .iter()
                .filter(|(_, vpn)| (lo..=hi).contains(vpn))
                .map(|(at, _)| *at)
                .collect();
            let stale: Vec<u64> = w
                .port
                .in_flight_before(since)
                .into_iter()
                .filter(|a| leaves.contains(a))
                .collect();
            assert!(
                stale.is_empty(),
                "{tag}: {stale:x?} in flight since before cycle {since}"
            );
        }
        match c.event {
            Event::Invalidate { ctx, lo, hi } => caught = Some((w.now - 1, ctx, lo, hi)),
            Event::Stop { ctx } => caught = Some((w.now - 1, ctx, 0, VPN_MAX)),
            _ => {}
        }
    }
    assert!(pending.is_empty(), "seed {seed}: {pending:?} never ended");
    // Every swap set A, kept the rest, and D only with it.
    for (at, old, new) in &w.port.swapped {
        let (old, new) = (Pte([*old]), Pte([*new]));
        assert_eq!(
            old.with_a(1).with_d(new.d()),
            new,
            "seed {seed}: entry {at:x}"
        );
        assert!(
            new.d() >= old.d() && old.v() == 1 && old.revoked() == 0,
            "seed {seed}: entry {at:x}"
        );
    }
    counts
}

#[test]
fn random_walks_follow_the_reference() {
    let timings = [
        Timing::fixed(1),
        Timing {
            latency: (1, 20),
            ready: 0.5,
        },
        Timing {
            latency: (10, 100),
            ready: 0.8,
        },
    ];
    let sum = soak::run(soak::operations(20_000), |seed| {
        random_run(seed, timings[seed as usize % 3], 6000)
    });
    println!("fills, faults, merges: {sum:?}");
    assert!(sum.iter().all(|&n| n > 500), "too few of a kind: {sum:?}");
}
