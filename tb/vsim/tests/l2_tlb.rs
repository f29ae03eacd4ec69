//! The L2 TLB alone, against a reference that knows what it may hold and when it must answer.

#[path = "common/soak.rs"]
mod soak;
#[path = "common/xlat.rs"]
mod xlat;

use std::collections::{BTreeMap, VecDeque};

use hmmu_vsim::Block;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xlat::{
    Access, Ask, Event, Size, VPN_MAX, Xlat, put_event, put_miss, put_xlat, take_miss, take_xlat,
};

const SETS: u64 = 256;
const WAYS: u64 = 4;

/// What the block offers in a cycle, before its clock edge.
#[derive(Clone, Copy, Debug)]
struct Cycle {
    accepted: bool,
    hit: Option<Xlat>,
    miss: Option<(Ask, u64)>,
    fill_ready: bool,
    sweeping: bool,
}

/// Inputs of a cycle. Results and fills are taken when the event allows it, as the MMU does: a command's event
/// has the bus first, then a hit, then a fill.
#[derive(Clone, Copy, Debug, Default)]
struct Drive {
    req: Option<Ask>,
    command: Option<Event>,
    hit_ready: bool,
    miss_ready: bool,
    fill: Option<Xlat>,
}

/// One cycle; also returns the event of the cycle.
fn cycle(b: &mut Block, d: &Drive) -> (Cycle, Event) {
    b.set("req_valid_i", u64::from(d.req.is_some()));
    if let Some(ask) = d.req {
        put_miss(b, "req_i", &ask, 2);
    }
    b.set("fill_valid_i", 0);
    b.set("hit_ready_i", 0);
    b.set("miss_ready_i", u64::from(d.miss_ready));
    put_event(b, "event_i", &Event::None);
    b.eval();
    let hit = (b.get("hit_valid_o") == 1).then(|| take_xlat(b, "hit_o"));
    let fill_ready = b.get("fill_ready_o") == 1;
    let mut event = Event::None;
    let mut taken = false;
    if let Some(command) = d.command {
        event = command;
    } else if let Some(xlat) = hit.filter(|_| d.hit_ready) {
        event = Event::Fill(xlat);
        taken = true;
    } else if let Some(xlat) = d.fill.filter(|_| fill_ready && hit.is_none()) {
        event = Event::Fill(xlat);
        b.set("fill_valid_i", 1);
        put_xlat(b, "fill_i", &xlat);
    }
    b.set("hit_ready_i", u64::from(taken));
    put_event(b, "event_i", &event);
    b.eval();
    let miss = (b.get("miss_valid_o") == 1).then(|| take_miss(b, "miss_o"));
    let c = Cycle {
        accepted: d.req.is_some() && b.get("req_ready_o") == 1,
        hit: hit.filter(|_| taken),
        miss: miss.filter(|_| d.miss_ready),
        fill_ready,
        sweeping: b.get("sweep_busy_o") == 1,
    };
    b.clock();
    (c, event)
}

fn block() -> Block {
    let mut b = Block::new("l2_tlb").expect("the block is built");
    b.reset();
    b
}

fn page(ctx: u64, vpn: u64, size: Size) -> Xlat {
    Xlat {
        ctx,
        vpn,
        ppn: (vpn | 1 << 40) & !size.mask(),
        size,
        r: true,
        w: true,
        x: false,
        d: true,
        atomic: true,
    }
}

fn read(ctx: u64, vpn: u64) -> Ask {
    Ask {
        ctx,
        vpn,
        access: Access::Read,
    }
}

fn fill(b: &mut Block, xlat: Xlat) {
    let d = Drive {
        fill: Some(xlat),
        ..Drive::default()
    };
    while cycle(b, &d).1 == Event::None {}
    // It is written in the next cycle: a lookup of that cycle still misses.
    cycle(b, &Drive::default());
}

/// The result of one lookup, and its cycles from acceptance to the result.
fn lookup(b: &mut Block, ask: Ask) -> (Option<Xlat>, u64) {
    let mut d = Drive {
        req: Some(ask),
        hit_ready: true,
        miss_ready: true,
        ..Drive::default()
    };
    while !cycle(b, &d).0.accepted {}
    d.req = None;
    for n in 1..10 {
        let c = cycle(b, &d).0;
        if c.hit.is_some() || c.miss.is_some() {
            return (c.hit, n);
        }
    }
    panic!("no result for {ask:?}");
}

/// Cycles in which the sweep is busy.
fn sweep(b: &mut Block, event: Event) -> u64 {
    cycle(
        b,
        &Drive {
            command: Some(event),
            ..Drive::default()
        },
    );
    let mut busy = 0;
    while cycle(b, &Drive::default()).0.sweeping {
        busy += 1;
    }
    busy
}

#[test]
fn every_size_is_found_in_two_cycles() {
    let mut b = block();
    for (size, vpn) in Size::ALL.into_iter().zip([77, 5 << 4, 5 << 9, 5 << 18]) {
        fill(&mut b, page(1, vpn, size));
        for inside in [vpn, vpn | size.mask()] {
            let found = Xlat {
                vpn: inside,
                ..page(1, vpn, size)
            };
            assert_eq!(lookup(&mut b, read(1, inside)), (Some(found), 2));
        }
        let outside = (vpn | size.mask()) + 1;
        assert_eq!(lookup(&mut b, read(1, outside)), (None, 2), "{size:?}");
        assert_eq!(lookup(&mut b, read(2, vpn)), (None, 2), "{size:?}");
    }
}

#[test]
fn a_lookup_is_taken_every_cycle() {
    let mut b = block();
    let known = |i: u64| !i.is_multiple_of(3);
    for i in (0..64).filter(|&i| known(i)) {
        fill(&mut b, page(1, i, Size::Small));
    }
    let mut results = Vec::new();
    for i in 0..67 {
        let d = Drive {
            req: (i < 64).then(|| read(1, i)),
            hit_ready: true,
            miss_ready: true,
            ..Drive::default()
        };
        let c = cycle(&mut b, &d).0;
        assert_eq!(c.accepted, i < 64, "lookup {i}");
        assert_eq!(c.hit.is_some() || c.miss.is_some(), (2..66).contains(&i));
        results.extend(c.hit.map(|x| x.vpn).or(c.miss.map(|m| m.0.vpn)));
        if let Some(hit) = c.hit {
            assert!(known(hit.vpn));
        }
    }
    assert_eq!(results, (0..64).collect::<Vec<_>>());
}

#[test]
fn it_holds_a_pair_of_pages_in_each_way_of_each_set() {
    for size in [Size::Small, Size::Napot] {
        let mut b = block();
        // The pairs' first pages first: their neighbours must join them.
        let (first, second) = (
            (0..2 * SETS * WAYS).step_by(2),
            (1..2 * SETS * WAYS).step_by(2),
        );
        for i in first.chain(second) {
            fill(&mut b, page(1, i << size.shift(), size));
        }
        for i in 0..2 * SETS * WAYS {
            let vpn = i << size.shift();
            let found = lookup(&mut b, read(1, vpn)).0;
            assert_eq!(found, Some(page(1, vpn, size)), "{size:?} page {i}");
        }
    }
}

#[test]
fn while_it_is_off_everything_misses() {
    let mut b = block();
    fill(&mut b, page(1, 9, Size::Small));
    b.set("off_i", 1);
    assert_eq!(lookup(&mut b, read(1, 9)).0, None);
    fill(&mut b, page(1, 10, Size::Large));
    sweep(
        &mut b,
        Event::Invalidate {
            ctx: 1,
            lo: 9,
            hi: 9,
        },
    );
    b.set("off_i", 0);
    assert_eq!(lookup(&mut b, read(1, 9)).0, None, "swept while it was off");
    fill(&mut b, page(1, 9, Size::Small));
    assert!(lookup(&mut b, read(1, 9)).0.is_some());
}

#[test]
fn a_sweep_takes_as_many_cycles_as_it_must() {
    let edges = [500 + 11, 500 + 12, 16 * 33, 16 * 34];
    for (pages, edge) in [1, 2, 3, 17, 127, 254, 255, 257, 1 << 20]
        .into_iter()
        .flat_map(|pages| edges.map(|edge| (pages, edge)))
    {
        for size in Size::ALL {
            let mut b = block();
            let lo = (100 << 18) + edge;
            let hi = lo + pages - 1;
            let pairs = hi / 2 - lo / 2 + 1;
            let most = pairs.min(SETS / 2) + 1;
            let shift = size.shift();
            // A page before the range, those in it, and one behind it.
            let all = (lo >> shift) - 1..=((hi >> shift) + 1).min((lo >> shift) + 20);
            for i in all.clone() {
                fill(&mut b, page(1, i << shift, size));
            }
            fill(&mut b, page(2, lo, size));
            let busy = sweep(&mut b, Event::Invalidate { ctx: 1, lo, hi });
            assert!(busy <= most, "{pages} pages: busy for {busy} cycles");
            for i in all {
                let found = lookup(&mut b, read(1, i << shift)).0.is_some();
                let inside = i >= lo >> shift && i <= hi >> shift;
                assert_eq!(found, !inside, "{pages} pages: {size:?} page {i:x}");
            }
            assert!(
                lookup(&mut b, read(2, lo)).0.is_some(),
                "another context's page went"
            );
        }
    }
}

#[test]
fn a_page_that_was_filled_twice_is_there_once() {
    let mut b = block();
    let clean = Xlat {
        d: false,
        ..page(1, 9, Size::Small)
    };
    fill(&mut b, clean);
    assert_eq!(
        lookup(
            &mut b,
            Ask {
                access: Access::Write,
                ..read(1, 9)
            }
        )
        .0,
        None
    );
    fill(&mut b, page(1, 9, Size::Small));
    // Fill the other ways: an older copy would show up, or the page would have been pushed out.
    for i in 1..WAYS {
        fill(&mut b, page(1, 9 + i * 2 * SETS, Size::Small));
    }
    assert_eq!(
        lookup(
            &mut b,
            Ask {
                access: Access::Write,
                ..read(1, 9)
            }
        )
        .0,
        Some(page(1, 9, Size::Small))
    );
    for i in 1..WAYS {
        assert!(lookup(&mut b, read(1, 9 + i * 2 * SETS)).0.is_some());
    }
}

#[test]
fn a_new_pair_leaves_nothing_of_the_old_one() {
    let mut b = block();
    for i in 0..=WAYS {
        fill(&mut b, page(1, 8 + i * 2 * SETS, Size::Small));
        fill(&mut b, page(1, 9 + i * 2 * SETS, Size::Small));
    }
    // One pair of the five had to go; only the second page of it comes back.
    let there = |b: &mut Block, vpn| lookup(b, read(1, vpn)).0.is_some();
    let gone: Vec<u64> = (0..=WAYS)
        .map(|i| 8 + i * 2 * SETS)
        .filter(|&vpn| !there(&mut b, vpn))
        .collect();
    let [vpn] = gone[..] else {
        panic!("these are gone: {gone:?}");
    };
    assert!(!there(&mut b, vpn + 1));
    fill(&mut b, page(1, vpn + 1, Size::Small));
    assert!(there(&mut b, vpn + 1));
    assert!(!there(&mut b, vpn), "its neighbour was never filled");
}

#[test]
fn pairs_of_both_sizes_do_not_mix() {
    let mut b = block();
    fill(&mut b, page(1, 0, Size::Small));
    fill(&mut b, page(1, 16, Size::Napot));
    let found = |b: &mut Block, vpn| lookup(b, read(1, vpn)).0.map(|xlat| xlat.size);
    assert_eq!(found(&mut b, 0), Some(Size::Small));
    assert_eq!(found(&mut b, 1), None);
    assert_eq!(found(&mut b, 15), None);
    for vpn in 16..32 {
        assert_eq!(found(&mut b, vpn), Some(Size::Napot), "page {vpn}");
    }
    assert_eq!(found(&mut b, 32), None);
}

const VPNS: [u64; 11] = [
    0,
    1,
    2,
    15,
    16,
    32,
    255,
    511,
    512 * 9 + 5,
    1 << 34,
    (1 << 34) + 511,
];

/// Translations of the pages by version: they change only when an invalidation takes the whole region.
fn current(version: &BTreeMap<(u64, u64), u64>, ctx: u64, vpn: u64) -> Xlat {
    let v = version.get(&(ctx, vpn >> 9)).copied().unwrap_or(0);
    let size = Size::ALL[v as usize % 4];
    // A page's number within its GiB, above which the version, so that no two versions share one.
    let ppn = (v + 1) << 21 | ctx << 18 | vpn & ((1 << 18) - 1) & !size.mask();
    Xlat {
        ctx,
        vpn,
        ppn,
        size,
        r: true,
        w: v % 3 != 0,
        x: v % 5 < 3,
        d: v % 7 < 4,
        atomic: true,
    }
}

fn random_run(seed: u64, cycles: u64) -> [u64; 2] {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut b = block();
    let mut version = BTreeMap::new();
    let mut held: Vec<Xlat> = Vec::new();
    let mut inside: VecDeque<(Ask, u64)> = VecDeque::new();
    let mut walks: Vec<Ask> = Vec::new();
    let mut sweep_since = None;
    let mut stuck = 0;
    let mut counts = [0; 2];
    let ready = rng.random_range(0.2..1.0);
    let mischief = rng.random_range(1..60);
    for t in 0..cycles {
        let tag = format!("seed {seed} cycle {t}");
        let ctx = rng.random_range(1..3);
        let vpn = VPNS[rng.random_range(0..VPNS.len())];
        let mut d = Drive {
            hit_ready: rng.random_bool(ready),
            miss_ready: rng.random_bool(ready),
            ..Drive::default()
        };
        if rng.random_bool(0.7) {
            d.req = Some(Ask {
                ctx,
                vpn,
                access: Access::of(rng.random_range(0..4)),
            });
        }
        if rng.random_bool(0.5) && !walks.is_empty() {
            let ask = walks[0];
            let xlat = current(&version, ask.ctx, ask.vpn);
            let dirtied = Xlat {
                d: xlat.d || ask.access.stores(),
                ..xlat
            };
            if dirtied.answers(&ask) {
                d.fill = Some(dirtied);
            } else {
                walks.remove(0); // it faults
            }
        }
        let sweeping = sweep_since.is_some();
        if rng.random_range(0..1000) < mischief && !sweeping {
            let ask = Ask {
                ctx,
                vpn,
                access: Access::of(rng.random_range(0..4)),
            };
            d.command = Some(match rng.random_range(0..8) {
                0 => Event::Stop { ctx },
                1 => Event::Retry {
                    ctx,
                    lo: vpn,
                    hi: vpn,
                },
                2 => Event::Cancel { ask, code: 20 },
                3 => Event::Invalidate {
                    ctx,
                    lo: vpn,
                    hi: vpn,
                },
                4 => Event::Invalidate {
                    ctx,
                    lo: vpn & !((1 << 18) - 1),
                    hi: [vpn | ((1 << 18) - 1), VPN_MAX][rng.random_range(0..2)],
                },
                5 => Event::Invalidate {
                    ctx,
                    lo: vpn & !511,
                    hi: VPN_MAX,
                },
                _ => Event::Invalidate {
                    ctx,
                    lo: vpn & !511,
                    hi: vpn | 511,
                },
            });
        }
        let (c, event) = cycle(&mut b, &d);

        if let Some(xlat) = c.hit {
            let (ask, _) = inside.pop_front().expect("a result has a request");
            assert!(xlat.answers(&ask), "{tag}: {xlat:x?} for {ask:?}");
            assert!(
                held.iter().any(|h| Xlat {
                    vpn: xlat.vpn,
                    ..*h
                } == xlat
                    && h.covers(ask.ctx, ask.vpn)),
                "{tag}: {ask:?} hit {xlat:x?}, which it may not hold"
            );
            counts[0] += 1;
        }
        if let Some((ask, client)) = c.miss {
            assert_eq!(
                (Some(ask), client),
                (inside.pop_front().map(|i| i.0), 2),
                "{tag}"
            );
            assert!(
                !event.answers(&ask),
                "{tag}: a miss that nobody waits for: {ask:?}"
            );
            counts[1] += 1;
            walks.push(ask);
        }
        inside.retain(|(ask, _)| !event.answers(ask));
        if c.accepted {
            assert!(inside.len() < 2, "{tag}: three lookups at once");
            assert!(!c.sweeping, "{tag}: a lookup during a sweep");
            inside.extend(d.req.map(|ask| (ask, t)));
        }
        // Two cycles after the way was free, there is a result.
        let held_up = !d.hit_ready || !d.miss_ready || event != Event::None;
        let result = c.miss.is_some() || c.hit.is_some();
        stuck = if held_up || result || inside.is_empty() {
            0
        } else {
            stuck + 1
        };
        assert!(stuck <= 2, "{tag}: {inside:?} has no result");
        walks.retain(|ask| !event.answers(ask));
        match event {
            Event::Fill(xlat) => held.push(xlat),
            Event::Invalidate { ctx, lo, hi } => {
                held.retain(|x| !x.overlaps(ctx, lo, hi));
                for region in VPNS.map(|v| v >> 9) {
                    if lo <= region << 9 && hi >= (region << 9 | 511) {
                        version.insert((ctx, region), t + 1);
                    }
                }
                sweep_since = Some(t);
            }
            Event::Stop { ctx } => {
                held.retain(|x| x.ctx != ctx);
                sweep_since = Some(t);
            }
            _ => {}
        }
        if let Some(since) = sweep_since {
            assert!(
                !(c.sweeping && c.fill_ready),
                "{tag}: a fill during a sweep"
            );
            assert!(t - since <= SETS + 4, "{tag}: the sweep does not end");
            if t > since && !c.sweeping {
                sweep_since = None;
            }
        }
    }
    counts
}

#[test]
fn random_lookups_fills_and_sweeps_follow_the_reference() {
    let sum = soak::run(soak::operations(30_000), |seed| random_run(seed, 6000));
    println!("hits, misses: {sum:?}");
    assert!(sum.iter().all(|&n| n > 2000), "too few of a kind: {sum:?}");
}
