//! The fault unit alone: each parked fault gives one record, whatever the ring and the port do.

#[path = "common/soak.rs"]
mod soak;
#[path = "common/xlat.rs"]
mod xlat;

use std::collections::BTreeMap;

use hmmu_regs::FaultRecord;
use hmmu_vsim::Block;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xlat::{Access, Ask, Event, Size, Xlat, put, put_event, put_miss, take};

const BASE: u64 = 0x00ab_cde0_0040;
const ENTRIES: usize = 64;

struct Unit {
    b: Block,
    log2: u32,
    cons: u32,
    reset: bool,
    now: u64,
    memory: BTreeMap<u64, u64>,
    /// The write of words 2 and 3 that waits for its partner.
    high: Option<u64>,
    /// Records written: record and the cycle of the interrupt.
    records: Vec<FaultRecord>,
    prod: u32,
    id: u64,
}

/// A report.
type Report = (Ask, u64, u64);

impl Unit {
    fn new(log2: u32) -> Self {
        let mut b = Block::new("fault_unit").expect("the block is built");
        b.reset();
        Self {
            b,
            log2,
            cons: 0,
            reset: false,
            now: 0,
            memory: BTreeMap::new(),
            high: None,
            records: Vec::new(),
            prod: 0,
            id: 0,
        }
    }

    /// One cycle. Returns whether the report was taken and whether it was merged.
    fn cycle(&mut self, report: Option<Report>, event: &Event, ready: bool) -> (bool, bool) {
        let b = &mut self.b;
        b.set("rpt_valid_i", u64::from(report.is_some()));
        if let Some((ask, client, reason)) = report {
            put_miss(b, "rpt_i", &ask, client);
            b.set("rpt_reason_i", reason);
        }
        put_event(b, "event_i", event);
        let ring = [
            (64, BASE),
            (4, self.log2.into()),
            (1, self.reset.into()),
            (32, self.cons.into()),
        ];
        put(b, "ring_i", &ring);
        b.set("mem_req_ready_i", u64::from(ready));
        b.set("time_i", self.now);
        b.eval();
        let taken = report.is_some() && b.get("rpt_ready_o") == 1;
        let merged = b.get("cnt_merge_o") == 1;
        if ready && b.get("mem_req_valid_o") == 1 {
            let [op, _, addr, strb, high, low, _] = take(b, "mem_req_o", [2, 1, 56, 16, 64, 64, 8]);
            assert_eq!((op, strb), (1, 0xffff));
            self.memory.insert(addr, low);
            self.memory.insert(addr + 8, high);
            if let Some(first) = self.high.take() {
                assert_eq!(
                    addr + 16,
                    first,
                    "words 0 and 1 follow words 2 and 3 of the same record"
                );
            } else {
                assert_eq!(addr % 32, 16, "words 2 and 3 come first");
                self.high = Some(addr);
            }
        }
        if b.get("irq_o") == 1 && !self.reset {
            assert!(
                self.high.is_none(),
                "the interrupt came before the whole record"
            );
            let slot = u64::from(self.prod) % (1 << self.log2);
            let record =
                FaultRecord([0, 1, 2, 3].map(|w| self.memory[&(BASE + slot * 32 + w * 8)]));
            assert_eq!(record.phase(), u64::from(!(self.prod >> self.log2) & 1));
            assert_eq!((record.id(), record.version()), (self.id, 1));
            self.id += 1;
            self.prod += 1;
            assert!(
                self.prod - self.cons <= 1 << self.log2,
                "the ring has overflowed"
            );
            self.records.push(record);
        }
        if !self.reset {
            assert_eq!(b.get("prod_o"), u64::from(self.prod));
        }
        b.clock();
        if self.reset {
            self.prod = 0;
            self.cons = 0;
            self.reset = false;
        }
        self.now += 1;
        (taken, merged)
    }
}

fn ask(vpn: u64) -> Ask {
    Ask {
        ctx: 1,
        vpn,
        access: Access::Read,
    }
}

#[test]
fn a_record_says_what_was_parked() {
    let mut unit = Unit::new(3);
    let high = Ask {
        ctx: 5,
        vpn: 0x8_1234_5678,
        access: Access::Execute,
    };
    unit.idle(7);
    assert_eq!(
        unit.cycle(Some((high, 1, 2)), &Event::None, true),
        (true, false)
    );
    assert_eq!(
        unit.cycle(Some((high, 0, 2)), &Event::None, true),
        (true, true),
        "merged"
    );
    unit.idle(20);
    assert_eq!(unit.records.len(), 1);
    let record = unit.records[0];
    assert_eq!(record.addr(), 0xffff_8123_4567_8000, "sign-extended");
    assert_eq!(
        (
            record.ctx(),
            record.access(),
            record.reason(),
            record.client()
        ),
        (5, 3, 2, 1)
    );
    assert_eq!(record.stamp(), 7);
}

impl Unit {
    fn idle(&mut self, cycles: u64) {
        for _ in 0..cycles {
            self.cycle(None, &Event::None, true);
        }
    }
}

#[test]
fn records_wait_for_room_and_none_is_lost() {
    let mut unit = Unit::new(1);
    for vpn in 0..ENTRIES as u64 {
        assert!(unit.cycle(Some((ask(vpn), 0, 1)), &Event::None, true).0);
    }
    unit.idle(100);
    assert_eq!(unit.records.len(), 2);
    assert_eq!(unit.b.get("full_o"), 1);
    while unit.records.len() < ENTRIES {
        let before = unit.records.len();
        unit.cons += 1;
        unit.idle(20);
        assert_eq!(unit.records.len(), before + 1);
    }
    let mut pages: Vec<u64> = unit.records.iter().map(|r| r.addr() >> 12).collect();
    pages.sort_unstable();
    assert_eq!(pages, (0..ENTRIES as u64).collect::<Vec<_>>());
    assert_eq!(unit.b.get("full_o"), 0);
}

#[test]
fn room_that_comes_in_the_cycle_of_a_fault_is_seen() {
    // From well before the report to well after the record of it could be written.
    for offset in 0..16 {
        for room in 1..=2 {
            let mut unit = Unit::new(1);
            for vpn in 0..2 {
                unit.cycle(Some((ask(vpn), 0, 1)), &Event::None, true);
            }
            unit.idle(20);
            assert_eq!((unit.records.len(), unit.b.get("full_o")), (2, 0));
            for cycle in 0..24 {
                if cycle == offset {
                    unit.cons += room;
                }
                let report = (cycle == 8).then_some((ask(7), 0, 1));
                let (taken, _) = unit.cycle(report, &Event::None, true);
                assert_eq!(taken, report.is_some());
                let full = cycle >= 8 && cycle < offset;
                let now = unit.b.get("full_o") == 1;
                // The record leaves the unit in the cycle in which it finds room.
                assert!(
                    !now || full,
                    "offset {offset} cycle {cycle}: no room is told, but there is"
                );
                assert!(
                    now || !full,
                    "offset {offset} cycle {cycle}: a record waits untold"
                );
            }
            assert_eq!(unit.records.len(), 3, "offset {offset}");
            assert_eq!(unit.b.get("full_o"), 0);
        }
    }
}

#[test]
fn a_new_ring_gets_all_parked_faults_anew() {
    let mut unit = Unit::new(2);
    for vpn in 0..3 {
        unit.cycle(Some((ask(vpn), 0, 1)), &Event::None, true);
    }
    unit.idle(50);
    assert_eq!(unit.records.len(), 3);
    unit.records.clear();
    unit.reset = true;
    unit.idle(50);
    let mut pages: Vec<u64> = unit.records.iter().map(|r| r.addr() >> 12).collect();
    pages.sort_unstable();
    assert_eq!(pages, [0, 1, 2]);
}

#[test]
fn no_ring_holds_everything_back() {
    let mut unit = Unit::new(0);
    unit.cycle(Some((ask(1), 0, 1)), &Event::None, true);
    unit.idle(50);
    assert!(unit.high.is_none() && unit.records.is_empty());
}

/// A parked fault in the reference.
struct Parked {
    since: u64,
    client: u64,
    reason: u64,
    recorded: bool,
}

fn random_run(seed: u64, cycles: u64) -> [u64; 3] {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut unit = Unit::new(rng.random_range(1..5));
    let mut parked: BTreeMap<Ask, Parked> = BTreeMap::new();
    // Freed while their record may have been on its way out: park time and details.
    let mut leaving: Vec<(Ask, u64)> = Vec::new();
    let mut seen = 0;
    let mut counts = [0; 3];
    let (ready, consume, events) = (
        rng.random_range(0.1..1.0),
        rng.random_range(0.005..0.3),
        rng.random_range(1..40),
    );
    for t in 0..cycles + 3000 {
        let tag = format!("seed {seed} cycle {t}");
        let calm = t >= cycles;
        let random_ask = |rng: &mut Pcg64Mcg| Ask {
            ctx: rng.random_range(1..3),
            vpn: rng.random_range(510..514),
            access: Access::of(rng.random_range(0..4)),
        };
        let victim = random_ask(&mut rng);
        let event = match rng.random_range(0..1000) {
            n if n >= events || calm => Event::None,
            n => match n % 5 {
                0 => Event::Retry {
                    ctx: victim.ctx,
                    lo: victim.vpn.min(512),
                    hi: victim.vpn,
                },
                1 => Event::Cancel {
                    ask: victim,
                    code: 20,
                },
                2 if n > 20 => Event::Stop { ctx: victim.ctx },
                3 => Event::Invalidate {
                    ctx: victim.ctx,
                    lo: 0,
                    hi: 1 << 30,
                },
                _ => Event::Fill(Xlat {
                    ctx: victim.ctx,
                    vpn: victim.vpn,
                    size: Size::ALL[n as usize % 4],
                    r: true,
                    w: victim.access.stores(),
                    x: victim.access == Access::Execute,
                    d: true,
                    atomic: victim.access == Access::Atomic,
                    ppn: 0,
                }),
            },
        };
        // The walker holds a report back in the cycle of an event that answers it.
        let report = (!calm && rng.random_bool(0.2))
            .then(|| {
                (
                    random_ask(&mut rng),
                    rng.random_range(0..3),
                    rng.random_range(1..5),
                )
            })
            .filter(|r| !event.answers(&r.0) && !event.retries(&r.0));
        if unit.prod != unit.cons && (rng.random_bool(consume) || calm) {
            unit.cons += 1;
        }
        let (taken, merged) = unit.cycle(report, &event, rng.random_bool(ready));
        for record in &unit.records[seen..] {
            let ask = Ask {
                ctx: record.ctx(),
                vpn: record.addr() >> 12,
                access: Access::of(record.access()),
            };
            let found = parked.get_mut(&ask).filter(|p| p.since == record.stamp());
            if let Some(p) = found {
                assert!(!p.recorded, "{tag}: {ask:?} was recorded twice");
                assert_eq!(
                    (p.client, p.reason),
                    (record.client(), record.reason()),
                    "{tag}"
                );
                p.recorded = true;
            } else {
                let at = leaving.iter().position(|l| *l == (ask, record.stamp()));
                leaving.remove(at.unwrap_or_else(|| panic!("{tag}: {ask:?} is not parked")));
            }
            counts[0] += 1;
        }
        seen = unit.records.len();
        parked.retain(|ask, p| {
            let freed = event.answers(ask) || event.retries(ask);
            if freed && !p.recorded {
                leaving.push((*ask, p.since));
            }
            counts[2] += u64::from(freed);
            !freed
        });
        if let Some((ask, client, reason)) = report {
            assert!(taken, "{tag}: there is room for every report");
            assert_eq!(merged, parked.contains_key(&ask), "{tag}: {ask:?}");
            counts[1] += u64::from(merged);
            parked.entry(ask).or_insert(Parked {
                since: t,
                client,
                reason,
                recorded: false,
            });
        }
    }
    for (ask, p) in &parked {
        assert!(p.recorded, "seed {seed}: the record of {ask:?} never came");
    }
    counts
}

#[test]
fn random_faults_follow_the_reference() {
    let sum = soak::run(soak::operations(10_000), |seed| random_run(seed, 5000));
    println!("records, merges, freed: {sum:?}");
    assert!(sum.iter().all(|&n| n > 500), "too few of a kind: {sum:?}");
}
