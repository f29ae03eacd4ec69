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
use hmmu_vsim::COMPACT;
use memport::Timing;
use tables::leaf_pte;
use xlat::{Access, Size};

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
        let sizes = [0x1_0001_2345, 0x2_0001_2345, 0x3_0001_2345, 0x4_0001_2345];
        for (size, vpn) in Size::ALL.into_iter().zip(sizes) {
            bench.map(1, vpn, size, leaf_pte(1 << 18, "rwad"));
        }
        bench.map(1, 0x1_0001_2346, Size::Small, leaf_pte(0x71, "rwad"));
        bench.map(1, 0x5_5555_5555, Size::Small, leaf_pte(0x72, "rw"));
        // From the lookup to the wake: 4 cycles before the first read, 1 between two, 2 after the last. In the form for
        // FPGAs there are registers on all of these ways.
        let (between, rest, l2_hit) = if COMPACT { (2, 10, 7) } else { (1, 5, 4) };
        let promised = |reads: u64| reads * (latency + between) + rest;
        for (vpn, reads) in sizes.into_iter().zip([4, 4, 3, 2]) {
            let took = miss(&mut bench, 0, vpn, Access::Read);
            assert_eq!(took, promised(reads), "page {vpn:x}");
            assert!(COMPACT || took <= reads * latency + 2 * reads + 4);
        }
        let neighbour = miss(&mut bench, 0, 0x1_0001_2346, Access::Read);
        let dirty = miss(&mut bench, 0, 0x5_5555_5555, Access::Write);
        assert_eq!((neighbour, dirty), (promised(1), promised(5)));
        for vpn in sizes {
            assert_eq!(miss(&mut bench, 1, vpn, Access::Read), l2_hit, "L2 hit");
        }
    }
}
