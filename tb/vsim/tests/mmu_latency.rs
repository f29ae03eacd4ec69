//! What a translation costs, in cycles, against the memory's latency.

#[path = "common/bench.rs"]
mod bench;
#[path = "common/memport.rs"]
mod memport;
#[path = "common/tables.rs"]
mod tables;
#[path = "common/xlat.rs"]
mod xlat;

use bench::{Bench, Rsp, ask};
use memport::Timing;
use tables::leaf_pte;
use xlat::Access;

const LATENCIES: [u64; 4] = [1, 10, 50, 100];

fn bench(latency: u64) -> Bench {
    let mut bench = Bench::new(Timing::fixed(latency), 1);
    bench.context(1);
    bench
}

/// Cycles from a lookup to the wake of its slot.
fn miss(bench: &mut Bench, client: usize, vpn: u64, access: Access) -> u64 {
    bench.lookup(client, ask(1, vpn, access));
    let start = bench.now();
    bench.step();
    loop {
        let c = bench.step();
        assert!(!matches!(c.rsp[client], Some(Rsp::Hit(_))));
        if c.wake[client] != 0 {
            return c.number - start;
        }
        assert!(c.number < start + 2000, "no wake");
    }
}

#[test]
fn a_cold_walk_keeps_its_promise() {
    for latency in LATENCIES {
        let mut bench = bench(latency);
        bench.map(1, 0x12345, false, leaf_pte(0x70, "rwad"));
        bench.map(1, 0x12346, false, leaf_pte(0x71, "rwad"));
        bench.map(1, 0x99999, true, leaf_pte(0x400, "rwad"));
        bench.map(1, 0x55555, false, leaf_pte(0x72, "rw"));
        let cold = miss(&mut bench, 0, 0x12345, Access::Read);
        let neighbour = miss(&mut bench, 0, 0x12346, Access::Read);
        let large = miss(&mut bench, 0, 0x99999, Access::Read);
        let dirty = miss(&mut bench, 0, 0x55555, Access::Write);
        let l2_small = miss(&mut bench, 1, 0x12345, Access::Read);
        let l2_large = miss(&mut bench, 1, 0x99999, Access::Read);
        println!(
            "memory latency {latency}: cold {cold}, neighbour page {neighbour}, 2 MiB {large}, with A/D update {dirty}, \
             L2 hit {l2_small}, L2 hit 2 MiB {l2_large} cycles from lookup to wake"
        );
        assert!(
            cold <= 4 * latency + 2 * 4 + 8,
            "cold walk at latency {latency}: {cold}"
        );
        assert_eq!(cold, 4 * (latency + 2) + 6);
        assert!(large <= 3 * latency + 2 * 3 + 8 && dirty <= 5 * latency + 2 * 5 + 8);
        assert!(
            l2_small <= 5 && l2_large <= 6,
            "L2 hits: {l2_small}, {l2_large}"
        );
    }
}

#[test]
fn a_stream_of_misses_uses_every_walk_slot() {
    for latency in LATENCIES {
        let mut bench = bench(latency);
        let pages: Vec<u64> = (0..400).map(|i| 512 + 7 * i % 3000).collect();
        for &vpn in &pages {
            bench.map(1, vpn, false, leaf_pte(vpn, "ra"));
        }
        let start = bench.now();
        // Eight warps: each looks up its next page when its last one was woken.
        let mut next = pages.iter();
        let mut waiting = [None; 8];
        let mut asked: Option<usize> = None;
        let mut done = 0;
        while done < pages.len() {
            let idle = waiting.iter().position(Option::is_none);
            let mut now_asked = None;
            if asked.is_none()
                && let (Some(warp), Some(&vpn)) = (idle, next.as_slice().first())
            {
                bench.lookup(0, ask(1, vpn, Access::Read));
                next.next();
                now_asked = Some(warp);
            }
            let c = bench.step();
            if let Some(warp) = asked.take() {
                let Some(Rsp::Miss(slot)) = c.rsp[0] else {
                    panic!("new pages miss: {:?}", c.rsp[0])
                };
                waiting[warp] = Some(slot);
            }
            for slot in &mut waiting {
                if slot.is_some_and(|s| c.wake[0] >> s & 1 == 1) {
                    *slot = None;
                    done += 1;
                }
            }
            asked = now_asked;
        }
        let cycles = bench.now() - start;
        let each = cycles as f64 / pages.len() as f64;
        println!(
            "memory latency {latency}: {each:.1} cycles a miss with 8 warps, {:.2} table reads each",
            bench.counts["walk_reads"] as f64 / pages.len() as f64
        );
        let alone = (4 * (latency + 2) + 8) as f64;
        assert!(
            each <= alone / 7.0 + 4.0,
            "latency {latency}: {each} cycles a miss"
        );
    }
}
