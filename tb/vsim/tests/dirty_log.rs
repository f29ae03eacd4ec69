//! The dirty log alone: what was set is written once, in order, whatever the ring and the port do.

#[path = "common/xlat.rs"]
mod xlat;

use std::collections::VecDeque;

use hmmu_regs::DirtyRecord;
use hmmu_vsim::Block;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xlat::{put, take};

/// log2 of the pages of 4 KiB of a page, by `page_size_e`.
const ORDERS: [u64; 4] = [0, 4, 9, 18];
const BASE: u64 = 0x00ab_cde0_0040;
const DEPTH: u64 = 16;

/// What a record must say: context, page, log2 of pages, time.
type Fact = (u64, u64, u64, u64);

/// What the walker does in a cycle.
#[derive(Clone, Copy, Default)]
struct Walker {
    take: bool,
    give: bool,
    /// Context, page, whether the entry maps 2 MiB.
    log: Option<(u64, u64, usize)>,
}

struct Log {
    b: Block,
    log2: u32,
    prod: u32,
    cons: u32,
    reset: bool,
    now: u64,
    expected: VecDeque<Fact>,
    /// Written, but the index has not moved yet.
    written: Option<DirtyRecord>,
    records: u64,
    interrupts: u64,
}

impl Log {
    fn new(log2: u32) -> Self {
        let mut b = Block::new("dirty_log").expect("the block is built");
        b.reset();
        Self {
            b,
            log2,
            prod: 0,
            cons: 0,
            reset: false,
            now: 0x7_ffff_fff0,
            expected: VecDeque::new(),
            written: None,
            records: 0,
            interrupts: 0,
        }
    }

    fn has_credit(&mut self) -> bool {
        self.b.eval();
        self.b.get("credit_o") == 1
    }

    fn unread(&self) -> u32 {
        self.prod - self.cons
    }

    /// One cycle.
    fn cycle(&mut self, walker: Walker, ready: bool) {
        let b = &mut self.b;
        b.set("take_i", u64::from(walker.take));
        b.set("give_i", u64::from(walker.give));
        b.set("log_i", u64::from(walker.log.is_some()));
        let (ctx, vpn, size) = walker.log.unwrap_or_default();
        b.set("log_ctx_i", ctx);
        b.set("log_vpn_i", vpn);
        b.set("log_size_i", size as u64);
        if walker.log.is_some() {
            let order = ORDERS[size];
            self.expected
                .push_back((ctx, vpn, order, self.now & 0xffff_ffff));
        }
        let ring = [
            (64, BASE),
            (4, self.log2.into()),
            (1, self.reset.into()),
            (32, self.cons.into()),
        ];
        put(b, "ring_i", &ring);
        b.set("mem_req_ready_i", u64::from(ready));
        b.set("time_i", self.now & 0xffff_ffff);
        b.eval();
        // The index moves, and the interrupt comes, in the cycle after the write.
        if let Some(record) = self.written.take()
            && !self.reset
        {
            let (ctx, vpn, order, stamp) = self.expected.pop_front().expect("a record too many");
            let addr = ((vpn << 28) as i64 >> 16) as u64;
            assert_eq!(
                (record.ctx(), record.addr(), record.order(), record.stamp()),
                (ctx, addr, order, stamp)
            );
            assert_eq!(record.phase(), u64::from(!(self.prod >> self.log2) & 1));
            assert_eq!(record.version(), 1);
            self.prod += 1;
            self.records += 1;
            assert!(
                self.prod - self.cons <= 1 << self.log2,
                "the log has overflowed"
            );
        }
        let b = &mut self.b;
        if !self.reset {
            assert_eq!(b.get("prod_o"), u64::from(self.prod));
            if self.log2 != 0 {
                let waiting = self.expected.len() - usize::from(walker.log.is_some());
                assert_eq!(b.get("next_o"), u64::from(self.prod) + waiting as u64);
            }
        }
        self.interrupts += b.get("irq_o");
        if ready && b.get("mem_req_valid_o") == 1 {
            let [op, _, addr, strb, high, low, _] = take(b, "mem_req_o", [2, 1, 56, 16, 64, 64, 8]);
            assert_eq!((op, strb), (1, 0xffff));
            assert_eq!(addr, BASE + u64::from(self.prod % (1 << self.log2)) * 16);
            self.written = Some(DirtyRecord([low, high]));
        }
        b.clock();
        if self.reset {
            self.prod = 0;
            self.cons = 0;
            self.reset = false;
        }
        self.now += 1;
    }

    fn idle(&mut self, cycles: u32) {
        for _ in 0..cycles {
            self.cycle(Walker::default(), true);
        }
    }
}

fn taking() -> Walker {
    Walker {
        take: true,
        ..Walker::default()
    }
}

fn logging(ctx: u64, vpn: u64, size: usize) -> Walker {
    Walker {
        log: Some((ctx, vpn, size)),
        ..Walker::default()
    }
}

#[test]
fn a_record_says_what_was_set() {
    let mut log = Log::new(2);
    log.cycle(taking(), true);
    log.cycle(taking(), true);
    log.cycle(logging(5, 0x8_1234_5678, 0), true);
    log.cycle(logging(2, 0x1_2345_6600, 2), true);
    log.idle(8);
    assert_eq!((log.records, log.expected.len()), (2, 0));
    // The second record made half of the log unread.
    assert_eq!(log.interrupts, 1);
}

#[test]
fn credits_are_what_the_log_can_hold() {
    let mut log = Log::new(1);
    for n in 0..DEPTH {
        assert!(log.has_credit(), "{n}");
        log.cycle(taking(), true);
    }
    assert!(!log.has_credit());
    log.cycle(
        Walker {
            give: true,
            ..Walker::default()
        },
        true,
    );
    assert!(log.has_credit());
    log.cycle(taking(), true);
    for n in 0..DEPTH {
        log.cycle(logging(1, n, 0), true);
    }
    log.idle(20);
    // Two records are in the ring; those that wait keep their credits.
    assert_eq!((log.records, log.b.get("full_o")), (2, 1));
    for _ in 0..2 {
        assert!(log.has_credit());
        log.cycle(taking(), true);
    }
    assert!(!log.has_credit());
    while log.records < DEPTH {
        log.cons = log.prod;
        log.idle(8);
    }
    assert_eq!(log.b.get("full_o"), 0);
}

#[test]
fn a_log_that_is_off_keeps_nothing() {
    let mut log = Log::new(0);
    for n in 0..3 * DEPTH {
        assert!(log.has_credit());
        log.cycle(taking(), true);
        log.cycle(logging(1, n, 0), true);
        log.expected.clear();
        log.idle(1);
    }
    assert_eq!(log.records, 0);
    // What waited when the log was set up is written.
    log.log2 = 2;
    log.reset = true;
    log.cycle(taking(), true);
    log.cycle(logging(3, 77, 0), true);
    log.idle(6);
    assert_eq!(log.records, 1);
}

#[test]
fn random_updates_are_written_once_and_in_order() {
    for seed in 0..8 {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut log = Log::new(rng.random_range(1..5));
        let slow = rng.random_range(0.05..1.0);
        let mut taken = 0u32;
        for _ in 0..6000 {
            let take = log.has_credit() && rng.random_bool(0.5);
            let mut walker = Walker {
                take,
                ..Walker::default()
            };
            if taken > 0 && rng.random_bool(0.4) {
                taken -= 1;
                if rng.random_bool(0.25) {
                    walker.give = true;
                } else {
                    let size = rng.random_range(0..ORDERS.len());
                    let vpn = rng.random_range(0..1u64 << 36) >> ORDERS[size] << ORDERS[size];
                    walker.log = Some((rng.random_range(0..16), vpn, size));
                }
            }
            taken += u32::from(take);
            // A reset only between records: what is cut off on the way is the host's own loss.
            if rng.random_bool(0.002) && log.expected.is_empty() && log.written.is_none() {
                log.reset = true;
            }
            log.cycle(walker, rng.random_bool(slow));
            if rng.random_bool(0.1) {
                log.cons += rng.random_range(0..=log.unread());
            }
        }
        for _ in 0..200 {
            log.cons = log.prod;
            log.idle(1);
        }
        assert!(log.records > 500, "seed {seed}: {}", log.records);
        assert!(log.expected.is_empty(), "seed {seed}");
    }
}
