//! The L1 TLB alone, against a reference that knows what it may hold and which slots wait.

#[path = "common/soak.rs"]
mod soak;
#[path = "common/xlat.rs"]
mod xlat;

use hmmu_vsim::Block;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xlat::{Access, Ask, Event, Size, VPN_MAX, Xlat, put_event, take_miss};

const SLOTS: usize = 8;
/// The client number of the build under test (data).
const CLIENT: u64 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rsp {
    Hit(u64),
    Miss(usize),
    Full,
}

/// What a cycle brought, before its clock edge.
struct Cycle {
    rsp: Option<Rsp>,
    wake: u64,
    error: Option<u64>,
    miss: Option<(Ask, u64)>,
}

/// Makes one cycle with these inputs.
fn cycle(b: &mut Block, lookup: Option<Ask>, ready: bool, event: &Event) -> Cycle {
    b.set("lkp_valid_i", u64::from(lookup.is_some()));
    if let Some(ask) = lookup {
        b.set("lkp_ctx_i", ask.ctx);
        b.set("lkp_vpn_i", ask.vpn);
        b.set("lkp_access_i", ask.access as u64);
    }
    b.set("miss_ready_i", u64::from(ready));
    put_event(b, "event_i", event);
    b.eval();
    let status = b.get("rsp_status_o");
    let rsp = (b.get("rsp_valid_o") == 1).then(|| match status {
        0 => Rsp::Hit(b.get("rsp_ppn_o")),
        1 => Rsp::Miss(b.get("rsp_slot_o") as usize),
        2 => Rsp::Full,
        other => panic!("status {other}"),
    });
    let error = (b.get("wake_err_o") == 1).then(|| b.get("wake_code_o"));
    let miss = (b.get("miss_valid_o") == 1).then(|| take_miss(b, "miss_o"));
    let c = Cycle {
        rsp,
        wake: b.get("wake_o"),
        error,
        miss,
    };
    b.clock();
    c
}

fn block() -> Block {
    let mut b = Block::new("l1_tlb").expect("the block is built");
    b.reset();
    b
}

fn fill(vpn: u64, ppn: u64) -> Event {
    Event::Fill(Xlat {
        ctx: 1,
        vpn,
        ppn,
        size: Size::Small,
        r: true,
        w: true,
        x: true,
        d: true,
        atomic: true,
    })
}

fn read(vpn: u64) -> Ask {
    Ask {
        ctx: 1,
        vpn,
        access: Access::Read,
    }
}

#[test]
fn hits_come_every_cycle_one_cycle_later_while_misses_wait() {
    let mut b = block();
    for vpn in 0..16 {
        cycle(&mut b, Some(read(vpn)), true, &Event::None);
        cycle(&mut b, None, true, &fill(vpn, 100 + vpn));
    }
    for vpn in 100..104 {
        cycle(&mut b, Some(read(vpn)), true, &Event::None);
    }
    cycle(&mut b, None, true, &Event::None);
    let count = 1000;
    let mut last = None;
    for i in 0..count {
        let vpn = i * 7 % 16;
        let c = cycle(&mut b, Some(read(vpn)), true, &Event::None);
        assert_eq!(c.rsp, last, "lookup {i}");
        last = Some(Rsp::Hit(100 + vpn));
    }
    println!("L1 TLB: {count} hits in {count} cycles, latency 1 cycle, 4 misses waiting");
}

/// The tables as the MMU sees them: pages change at invalidations only.
struct World {
    version: [[u64; REGIONS.len()]; 2],
}

/// Regions of 1 GiB, by their first page; each has pages of one size at a time.
const REGIONS: [u64; 3] = [0, 1 << 18, 7 << 18];
const PAGES: [u64; 9] = [0, 1, 2, 15, 16, 510, 511, 512, (1 << 18) - 1];

impl World {
    /// The translation of a page, made from its region's version: size, rights and page follow from it.
    fn xlat(&self, ctx: u64, vpn: u64) -> Xlat {
        let region = REGIONS.iter().position(|r| r >> 18 == vpn >> 18);
        let region = region.expect("a page of the test");
        let v = self.version[ctx as usize][region];
        let bits = (v + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let size = Size::ALL[bits as usize & 3];
        let base = (v * 4 + region as u64 + 1) << 19 | ctx << 18;
        let flag = |i: u64| bits >> i & 1 == 1;
        Xlat {
            ctx,
            vpn,
            ppn: base | vpn & ((1 << 18) - 1) & !size.mask(),
            size,
            r: true,
            w: flag(4),
            x: flag(5),
            d: flag(6),
            atomic: flag(7),
        }
    }
}

fn random_page(rng: &mut Pcg64Mcg) -> u64 {
    REGIONS[rng.random_range(0..REGIONS.len())] | PAGES[rng.random_range(0..PAGES.len())]
}

/// A lookup: its page, what it may use, whether it must hit, the slots and the event of that cycle.
type LastLookup = (Ask, Vec<u64>, bool, [Option<Slot>; SLOTS], Event);

#[derive(Clone, Copy, Debug)]
struct Slot {
    ask: Ask,
    sent: bool,
}

struct Reference {
    slots: [Option<Slot>; SLOTS],
    /// Fills since their last invalidation: whatever hits must be one of them.
    held: Vec<Xlat>,
    /// The last fill that answered a slot: must be there.
    newest: Option<Xlat>,
}

fn random_event(rng: &mut Pcg64Mcg, world: &mut World, reference: &Reference) -> Event {
    let ctx = rng.random_range(0..2);
    let vpn = random_page(rng);
    let waiting: Vec<Ask> = reference
        .slots
        .iter()
        .flatten()
        .filter(|s| s.sent)
        .map(|s| s.ask)
        .collect();
    match rng.random_range(0..100) {
        0..30 if !waiting.is_empty() => {
            let ask = waiting[rng.random_range(0..waiting.len())];
            let xlat = world.xlat(ask.ctx, ask.vpn);
            if xlat.allows(ask.access) {
                Event::Fill(xlat)
            } else {
                Event::Cancel {
                    ask,
                    code: rng.random_range(1..256),
                }
            }
        }
        30..40 => Event::Fill(world.xlat(ctx, vpn)),
        40..50 => {
            let gib = (1 << 18) - 1;
            let hi = [vpn, vpn | 511, vpn | gib, VPN_MAX][rng.random_range(0..4)];
            let lo = [vpn, vpn & !511, vpn & !gib, 0][rng.random_range(0..4)];
            Event::Invalidate { ctx, lo, hi }
        }
        50..55 => Event::Retry {
            ctx,
            lo: vpn & !511,
            hi: vpn,
        },
        55..58 => Event::Cancel {
            ask: Ask {
                ctx,
                vpn,
                access: Access::of(rng.random_range(0..4)),
            },
            code: 40,
        },
        58..60 => Event::Stop { ctx },
        _ => Event::None,
    }
}

fn random_run(seed: u64, cycles: u64) -> [u64; 3] {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut b = block();
    let mut world = World {
        version: [[0; REGIONS.len()]; 2],
    };
    let mut reference = Reference {
        slots: [None; SLOTS],
        held: Vec::new(),
        newest: None,
    };
    let mut expected_wake = (0, None);
    let mut last: Option<LastLookup> = None;
    let mut held_miss: Option<Ask> = None;
    let mut counts = [0; 3];
    let (busy, ready) = (rng.random_range(0.2..1.0), rng.random_range(0.1..1.0));
    for t in 0..cycles {
        let tag = format!("seed {seed} cycle {t}");
        let event = random_event(&mut rng, &mut world, &reference);
        let lookup = rng.random_bool(busy).then(|| Ask {
            ctx: rng.random_range(0..2),
            vpn: random_page(&mut rng),
            access: Access::of(rng.random_range(0..4)),
        });
        let taken = rng.random_bool(ready);
        let c = cycle(&mut b, lookup, taken, &event);

        // The response to the last lookup.
        let mut stillborn = None;
        assert_eq!(c.rsp.is_some(), last.is_some(), "{tag}");
        if let (Some(rsp), Some((ask, may, must, slots, at_event))) = (c.rsp, last.take()) {
            match rsp {
                Rsp::Hit(ppn) => {
                    assert!(
                        may.contains(&ppn),
                        "{tag}: {ask:?} hit {ppn:x}, may use {may:x?}"
                    );
                    counts[0] += 1;
                }
                Rsp::Miss(slot) => {
                    assert!(!must, "{tag}: {ask:?} was just filled");
                    counts[1] += 1;
                    let same = slots.iter().position(|s| s.is_some_and(|s| s.ask == ask));
                    match same {
                        Some(same) => assert_eq!(slot, same, "{tag}: {ask:?} must share its slot"),
                        None => {
                            assert!(slots[slot].is_none(), "{tag}: slot {slot} is taken");
                            if at_event == (Event::Stop { ctx: ask.ctx }) {
                                stillborn = Some(slot);
                            } else {
                                reference.slots[slot] = Some(Slot { ask, sent: false });
                            }
                        }
                    }
                }
                Rsp::Full => {
                    assert!(slots.iter().all(Option::is_some), "{tag}: a slot was free");
                    assert!(
                        slots.iter().flatten().all(|s| s.ask != ask),
                        "{tag}: a slot waits for it"
                    );
                    counts[2] += 1;
                }
            }
        }
        // The wakes of the last event.
        let mut wake = expected_wake;
        if let Some(slot) = stillborn {
            wake.0 |= 1 << slot;
        }
        assert_eq!(c.wake, wake.0, "{tag}: wakes");
        if wake.0 != 0 {
            assert_eq!(c.error, wake.1, "{tag}: wake error");
        }
        // The request.
        // Of several that wait the one that is shown may be withdrawn: then none is, for this cycle.
        let waiting: Vec<&Slot> = reference
            .slots
            .iter()
            .flatten()
            .filter(|s| !s.sent)
            .collect();
        let answered = waiting.iter().filter(|s| event.answers(&s.ask)).count();
        let shown = c.miss.is_some();
        assert!(
            if answered == 0 {
                shown != waiting.is_empty()
            } else {
                !shown || answered < waiting.len()
            },
            "{tag}: {:?}",
            reference.slots
        );
        if let Some((ask, client)) = c.miss {
            assert_eq!(client, CLIENT);
            let slot = reference
                .slots
                .iter_mut()
                .flatten()
                .find(|s| s.ask == ask)
                .expect("a slot waits for it");
            assert!(
                !slot.sent && !event.answers(&ask),
                "{tag}: {ask:?} asked twice or for nobody"
            );
            if let Some(held) = held_miss.take() {
                assert!(
                    held == ask || event.answers(&held),
                    "{tag}: {held:?} was replaced while it waited"
                );
            }
            slot.sent = taken;
            held_miss = (!taken).then_some(ask);
        } else {
            held_miss = None;
        }
        // The lookup of this cycle sees the state before the event.
        last = lookup.map(|ask| {
            let fits = |x: &&Xlat| x.answers(&ask);
            let may = reference
                .held
                .iter()
                .filter(fits)
                .map(|x| x.page(ask.vpn))
                .collect();
            let must = reference.newest.iter().any(|x| x.answers(&ask));
            (ask, may, must, reference.slots, event)
        });
        // The event.
        expected_wake = (0, None);
        let mut answered = false;
        for (i, slot) in reference.slots.iter_mut().enumerate() {
            if slot.is_some_and(|s| event.answers(&s.ask)) {
                *slot = None;
                expected_wake.0 |= 1 << i;
                answered = true;
            } else if let Some(s) = slot
                && event.retries(&s.ask)
                && !(taken && c.miss.is_some_and(|m| m.0 == s.ask))
            {
                s.sent = false;
            }
        }
        match event {
            Event::Fill(xlat) => {
                reference.held.push(xlat);
                if answered {
                    reference.newest = Some(xlat);
                }
            }
            Event::Invalidate { ctx, lo, hi } => {
                reference.held.retain(|x| !x.overlaps(ctx, lo, hi));
                reference.newest = reference.newest.filter(|x| !x.overlaps(ctx, lo, hi));
                for (region, first) in REGIONS.into_iter().enumerate() {
                    // Only what lies whole in the range may change its pages.
                    if lo <= first && hi >= (first | (1 << 18) - 1) {
                        world.version[ctx as usize][region] = t + 1;
                    }
                }
            }
            Event::Stop { ctx } => {
                expected_wake.1 = Some(1);
                reference.held.retain(|x| x.ctx != ctx);
                reference.newest = reference.newest.filter(|x| x.ctx != ctx);
            }
            Event::Cancel { code, .. } => expected_wake.1 = Some(code),
            _ => {}
        }
    }
    counts
}

#[test]
fn random_lookups_and_events_follow_the_reference() {
    let sum = soak::run(soak::operations(40_000), |seed| random_run(seed, 4000));
    println!("hits, misses, full: {sum:?}");
    assert!(sum.iter().all(|&n| n > 500), "too few of a kind: {sum:?}");
}
