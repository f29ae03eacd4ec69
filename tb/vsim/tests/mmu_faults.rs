//! One small test for each thing that may happen to an access that faults.

#[path = "common/bench.rs"]
mod bench;
#[path = "common/memport.rs"]
mod memport;
#[path = "common/tables.rs"]
mod tables;
#[path = "common/xlat.rs"]
mod xlat;

use bench::{Bench, Cmd, Rsp, ask};
use hmmu_regs::JobStatus;
use memport::Timing;
use tables::leaf_pte;
use xlat::{Access, Size, VPN_MAX};

/// The page of most tests.
const VPN: u64 = 0x0_1234_5678;
const LIMIT: u64 = 500;

fn bench(latency: u64) -> Bench {
    let mut bench = Bench::new(Timing::fixed(latency), 1);
    bench.context(1);
    bench
}

#[test]
fn one_page_costs_one_walk_and_one_record_however_many_wait() {
    let mut bench = bench(30);
    for _ in 0..4 {
        for client in 0..3 {
            bench.lookup(client, ask(1, VPN, Access::Read));
        }
        bench.step();
    }
    bench.idle(400);
    assert_eq!((bench.counts["walks"], bench.counts["walk_reads"]), (1, 1));
    assert_eq!(
        (bench.counts["faults"], bench.counts["walk_merges"]),
        (1, 2)
    );
    bench.map(1, VPN, Size::Small, leaf_pte(0x77, "ra"));
    bench.run_command(Cmd::Replay {
        ctx: 1,
        lo: VPN,
        hi: VPN,
    });
    bench.idle(400);
    assert_eq!((bench.counts["walks"], bench.counts["faults"]), (2, 1));
    for client in 0..3 {
        bench.lookup(client, ask(1, VPN, Access::Read));
    }
    bench.step();
    assert_eq!(bench.step().rsp, [Some(Rsp::Hit(0x77)); 3]);
}

#[test]
fn an_upgrade_from_read_to_write_costs_one_more_record() {
    let mut bench = bench(3);
    assert_eq!(bench.try_access(0, ask(1, VPN, Access::Read), 100), None);
    assert_eq!(bench.try_access(0, ask(1, VPN, Access::Write), 100), None);
    assert_eq!(bench.try_access(2, ask(1, VPN, Access::Write), 100), None);
    assert_eq!(
        (bench.counts["faults"], bench.counts["fault_merges"]),
        (2, 1)
    );
}

#[test]
fn replay_wakes_its_range_only() {
    let mut bench = bench(3);
    for page in 0..3 {
        assert_eq!(
            bench.try_access(0, ask(1, VPN + page, Access::Read), 100),
            None
        );
        bench.map(1, VPN + page, Size::Small, leaf_pte(0x70 + page, "ra"));
    }
    let cycles = bench.run_command(Cmd::Replay {
        ctx: 1,
        lo: VPN + 1,
        hi: VPN + 1,
    });
    assert!(cycles <= 2, "{cycles}");
    bench.idle(100);
    assert_eq!(bench.counts["ad_updates"], 0);
    let walks = bench.counts["walks"];
    assert_eq!(walks, 4, "three that faulted and one again");
    bench.run_command(Cmd::Replay {
        ctx: 2,
        lo: 0,
        hi: VPN_MAX,
    });
    bench.idle(100);
    assert_eq!(bench.counts["walks"], walks, "another context's replay");
    bench.run_command(Cmd::Replay {
        ctx: 1,
        lo: 0,
        hi: VPN_MAX,
    });
    bench.idle(100);
    for page in 0..3 {
        assert_eq!(
            bench.access(0, ask(1, VPN + page, Access::Read), 3),
            Ok(0x70 + page)
        );
    }
}

#[test]
fn cancel_ends_exactly_one_page_and_kind() {
    let mut bench = bench(3);
    let asks = [
        ask(1, VPN, Access::Read),
        ask(1, VPN, Access::Write),
        ask(1, VPN + 1, Access::Read),
    ];
    let mut slots = Vec::new();
    for a in asks {
        bench.lookup(0, a);
        bench.step();
        let Some(Rsp::Miss(slot)) = bench.step().rsp[0] else {
            panic!("{a:?} must miss")
        };
        slots.push(slot);
    }
    bench.idle(100);
    bench.command(Cmd::Cancel {
        ask: asks[1],
        code: 30,
    });
    let mut woken = Vec::new();
    for _ in 0..100 {
        let c = bench.step();
        if c.wake[0] != 0 {
            woken.push((c.wake[0], c.wake_err[0]));
        }
    }
    assert_eq!(woken, [(1 << slots[1], Some(30))]);
    assert_eq!(bench.counts["cancels"], 1);
}

#[test]
fn a_full_ring_holds_records_back_and_nothing_else() {
    let mut bench = bench(3);
    bench.ring_log2 = 1;
    bench.map(1, 5, Size::Small, leaf_pte(0x55, "ra"));
    for page in 0..7 {
        assert_eq!(
            bench.try_access(0, ask(1, VPN + page, Access::Read), 60),
            None
        );
    }
    assert_eq!(bench.records.len(), 2);
    assert_eq!(bench.b.get("fault_full_o"), 1);
    // Translation and invalidation go on.
    assert_eq!(bench.access(2, ask(1, 5, Access::Read), LIMIT), Ok(0x55));
    assert!(
        bench.run_command(Cmd::Invalidate {
            ctx: 1,
            lo: 5,
            hi: 5
        }) <= 8
    );
    // A fault that is replayed before its record was written needs none.
    bench.map(1, VPN + 6, Size::Small, leaf_pte(0x76, "ra"));
    bench.run_command(Cmd::Replay {
        ctx: 1,
        lo: VPN + 6,
        hi: VPN + 6,
    });
    assert_eq!(
        bench.access(0, ask(1, VPN + 6, Access::Read), LIMIT),
        Ok(0x76)
    );
    let mut pages = Vec::new();
    for _ in 0..6 {
        pages.push((bench.next_record(LIMIT).addr() >> 12) - VPN);
    }
    pages.sort_unstable();
    assert_eq!(pages, [0, 1, 2, 3, 4, 5], "each fault once, none lost");
    bench.idle(100);
    assert!(bench.take_record().is_none());
    assert_eq!(bench.b.get("fault_full_o"), 0);
}

#[test]
fn a_context_that_is_off_ends_the_access_without_a_record() {
    let mut bench = bench(3);
    let bad = Err(JobStatus::BadAddress as u64);
    assert_eq!(bench.access(0, ask(7, VPN, Access::Read), LIMIT), bad);
    bench.run_command(Cmd::Stop { ctx: 1 });
    assert_eq!(bench.access(1, ask(1, VPN, Access::Execute), LIMIT), bad);
    bench.idle(100);
    assert_eq!(bench.counts["faults"], 0);
    assert_eq!(bench.port.accepted, 0, "no table is read");
}

#[test]
fn stop_drops_translations_and_waits_of_its_context_only() {
    let mut bench = bench(3);
    bench.context(2);
    bench.map(1, VPN, Size::Small, leaf_pte(0x11, "ra"));
    bench.map(2, VPN, Size::Small, leaf_pte(0x22, "ra"));
    for ctx in [1, 2] {
        bench
            .access(0, ask(ctx, VPN, Access::Read), LIMIT)
            .expect("mapped");
        assert_eq!(
            bench.try_access(0, ask(ctx, VPN + 1, Access::Read), 60),
            None
        );
    }
    bench.command(Cmd::Stop { ctx: 1 });
    let mut woken = 0;
    for _ in 0..200 {
        let c = bench.step();
        woken += c.wake[0].count_ones();
        assert!(c.wake[0] == 0 || c.wake_err[0] == Some(JobStatus::Stopped as u64));
    }
    assert_eq!(woken, 1);
    assert_eq!(bench.access(0, ask(2, VPN, Access::Read), 3), Ok(0x22));
    assert_eq!(
        bench.access(0, ask(1, VPN, Access::Read), LIMIT),
        Err(JobStatus::BadAddress as u64)
    );
}
