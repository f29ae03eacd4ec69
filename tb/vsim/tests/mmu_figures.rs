//! The figures of the address translation against their targets, with and without its parts.

use hmmu_vsim::mmu_bench::{Limits, MissStream, MmuBenchConfig, MmuFigures, measure};

fn at(figures: &MmuFigures, latency: u64, contexts: u64) -> MissStream {
    *figures
        .streams
        .iter()
        .find(|s| s.latency == latency && s.contexts == contexts)
        .expect("it was measured")
}

#[test]
fn every_figure_meets_its_target() {
    let figures = measure(&MmuBenchConfig::default()).expect("the block is built");
    println!("{figures:#?}");
    assert_eq!(figures.hit_per_cycle, [1.0, 1.0]);
    assert_eq!(figures.hit_latency, 1);
    assert!(figures.hit_per_cycle_under_miss >= 0.98);
    assert_eq!(figures.walks_under_hits, 16, "all walkers are busy");
    for miss in &figures.miss {
        let most = |reads: u64| reads * miss.latency + 2 * reads + 4;
        assert!(miss.cold <= most(4) && miss.miss_64k <= most(4), "{miss:?}");
        assert!(
            miss.miss_2m <= most(3) && miss.miss_1g <= most(2),
            "{miss:?}"
        );
        assert!(
            miss.neighbour <= most(1) && miss.store <= most(5),
            "{miss:?}"
        );
    }
    for contexts in [1, 8] {
        let stream = at(&figures, 100, contexts);
        assert!(stream.cycles <= 15.0 && stream.in_flight >= 8, "{stream:?}");
    }
    assert!(at(&figures, 100, 1).reads < 1.2);
    assert!(figures.invalidate_worst > 0 && figures.invalidate_worst <= figures.invalidate_bound);
    assert!(
        (figures.faults_per_page - 1.0).abs() < 1e-9,
        "{}",
        figures.faults_per_page
    );
    assert!(figures.other_context_throughput >= 0.9);
}

#[test]
fn each_part_buys_something() {
    let with = |limits: Limits| {
        let config = MmuBenchConfig {
            latencies: vec![100],
            requests: 300,
            limits,
        };
        measure(&config).expect("the block is built")
    };
    let all = Limits::default();
    let full = with(all);
    let uncached = with(Limits {
        walk_cache: false,
        ..all
    });
    let stream = at(&uncached, 100, 1);
    assert!(stream.cycles <= 38.4, "{stream:?}");
    assert!((stream.reads - 4.0).abs() < 1e-9, "{stream:?}");
    assert_eq!(uncached.miss[0].neighbour, uncached.miss[0].cold);
    let alone = with(Limits { walkers: 1, ..all });
    assert!(at(&alone, 100, 1).cycles > 100.0, "{:?}", alone.streams);
    assert_eq!(at(&alone, 100, 1).in_flight, 1);
    let no_l2 = with(Limits { l2: false, ..all });
    assert!(no_l2.miss[0].l2_hit > full.miss[0].l2_hit + 100);
    let unmerged = with(Limits {
        merging: false,
        ..all
    });
    assert!((unmerged.faults_per_page - 1.0).abs() < 1e-9);
}

#[test]
fn a_latency_of_nothing_is_refused() {
    let config = MmuBenchConfig {
        latencies: vec![0],
        ..MmuBenchConfig::default()
    };
    assert!(measure(&config).is_err());
}
