//! Invalidations: at every cycle of a walk, and at random among busy clients. No stale translation
//! after the event, acknowledgement within the bound of `rtl/mmu.sv`, A and D exact at the harvest.

#[path = "common/bench.rs"]
mod bench;
#[path = "common/host.rs"]
mod host;
#[path = "common/memport.rs"]
mod memport;
#[path = "common/soak.rs"]
mod soak;
#[path = "common/tables.rs"]
mod tables;
#[path = "common/warps.rs"]
mod warps;
#[path = "common/xlat.rs"]
mod xlat;

use std::collections::BTreeSet;

use bench::{Bench, Cmd, ask};
use hmmu_regs::Pte;
use host::{CONTEXTS, Host, PAGES, REGIONS, every_ask};
use memport::Timing;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tables::leaf_pte;
use warps::{State, Warps};
use xlat::{Access, Ask, Event, Size, VPN_MAX};

const VPN: u64 = 0x1_2345_6789;
/// Sets of the L2.
const SETS: u64 = 256;

/// The bound of `rtl/mmu.sv` for an invalidation of `pages` pages.
fn bound(pages: u64, walker_operation: u64, drain: u64) -> u64 {
    let sweep = pages.min(SETS / 2) + 3;
    sweep.max(walker_operation + 2).max(drain + 1)
}

/// Ends the wait in one cycle when the translation goes at `offset` cycles after the lookup.
fn invalidate_at(
    latency: u64,
    offset: u64,
    access: Access,
    rights: &str,
    size: Size,
    range: (u64, u64),
) {
    let tag = format!("latency {latency} offset {offset} {access:?} {rights} {size:?} {range:x?}");
    let mut bench = Bench::new(Timing::fixed(latency), offset);
    bench.context(1);
    let (old, new) = (1 << 43 | 1 << 18, 2 << 18);
    bench.map(1, VPN, size, leaf_pte(old, rights));
    let entry = bench.tables.entry(&mut bench.mem, 1, VPN, size.level());
    let want = ask(1, VPN, access);
    bench.lookup(0, want);
    bench.idle(offset);
    let revoked = bench.mem.read(entry) | 1 << 60;
    bench.mem.write(entry, revoked);
    bench.command(Cmd::Invalidate {
        ctx: 1,
        lo: range.0,
        hi: range.1,
    });
    let start = bench.now();
    let mut event = None;
    loop {
        let c = bench.step();
        match c.event {
            Event::Invalidate { .. } => event = Some(c.number),
            Event::Fill(x) => assert!(event.is_none(), "{tag}: {x:x?} filled after the event"),
            _ => {}
        }
        if c.cmd_done {
            break;
        }
    }
    let took = bench.now() - 1 - start;
    let limit = bound(range.1 - range.0 + 1, latency, 0);
    assert!(
        took <= limit,
        "{tag}: acknowledged after {took} cycles, bound {limit}"
    );
    // Harvest: nothing may touch the entry from here on.
    let harvest = bench.mem.read(entry);
    assert!(
        access.stores() || Pte([harvest]).d() == Pte([revoked]).d(),
        "{tag}: a read set D"
    );
    for _ in 0..6 * (latency + 4) {
        let c = bench.step();
        assert!(
            !matches!(c.event, Event::Fill(_)),
            "{tag}: filled after the acknowledgement"
        );
    }
    assert_eq!(
        bench.mem.read(entry),
        harvest,
        "{tag}: the entry changed after the acknowledgement"
    );
    assert_eq!(
        bench.try_access(2, want, 12 * (latency + 4)),
        None,
        "{tag}: the page is gone"
    );
    bench.map(1, VPN, size, leaf_pte(new, rights));
    bench.run_command(Cmd::Replay {
        ctx: 1,
        lo: VPN,
        hi: VPN,
    });
    let page = new | VPN & size.mask();
    for client in [0, 2] {
        assert_eq!(
            bench.access(client, want, 12 * (latency + 4)),
            Ok(page),
            "{tag}"
        );
    }
}

#[test]
fn an_invalidation_at_every_cycle_of_a_walk_leaves_nothing_stale() {
    for latency in [1, 4, 13] {
        // Walks with and without an A/D update, of a small page; and until after their end.
        for (access, rights) in [
            (Access::Read, "ra"),
            (Access::Read, "rw"),
            (Access::Write, "rw"),
        ] {
            for offset in 0..=5 * (latency + 2) + 12 {
                invalidate_at(latency, offset, access, rights, Size::Small, (VPN, VPN));
            }
        }
    }
}

#[test]
fn a_walk_of_a_larger_page_is_caught_by_a_range_that_only_touches_it() {
    let latency = 4;
    for size in [Size::Napot, Size::Large, Size::Huge] {
        let (first, last) = (VPN & !size.mask(), VPN | size.mask());
        for offset in 0..=4 * (latency + 2) + 12 {
            let before = (first - 100, first);
            invalidate_at(latency, offset, Access::Write, "rw", size, before);
            invalidate_at(latency, offset, Access::Read, "ra", size, (last, last));
        }
    }
    for offset in 0..=4 * (latency + 2) + 12 {
        let all = (0, VPN_MAX);
        invalidate_at(latency, offset, Access::Read, "ra", Size::Small, all);
    }
}

#[test]
fn a_replay_at_every_cycle_of_a_walk_loses_no_wait() {
    let latency = 4;
    for offset in 0..=5 * (latency + 2) + 20 {
        let mut bench = Bench::new(Timing::fixed(latency), offset);
        bench.context(1);
        let want = ask(1, VPN, Access::Write);
        bench.map(1, VPN, Size::Small, leaf_pte(0x400, "ra"));
        bench.lookup(0, want);
        bench.idle(offset);
        bench.map(1, VPN, Size::Small, leaf_pte(0x400, "rwa"));
        bench.run_command(Cmd::Replay {
            ctx: 1,
            lo: VPN,
            hi: VPN,
        });
        let mut filled = false;
        for _ in 0..8 * (latency + 2) {
            filled |= matches!(bench.step().event, Event::Fill(x) if x.answers(&want));
        }
        assert!(
            filled || bench.access(0, want, 3) == Ok(0x400),
            "offset {offset}: still waits"
        );
        let before = bench.counts["faults"];
        bench.idle(100);
        assert!(
            before <= 1 && bench.counts["faults"] == before,
            "offset {offset}: a stale fault came after the replay"
        );
    }
}

#[test]
fn the_acknowledgement_waits_for_every_client() {
    for client in 0..3 {
        let mut bench = Bench::new(Timing::fixed(3), 1);
        bench.context(1);
        bench.command(Cmd::Invalidate {
            ctx: 1,
            lo: 0,
            hi: 0,
        });
        while !matches!(bench.step().event, Event::Invalidate { .. }) {}
        bench.drain_done[client] = false;
        for _ in 0..200 {
            assert!(!bench.step().cmd_done);
        }
        bench.drain_done[client] = true;
        assert!(bench.step().cmd_done, "and no longer");
    }
}

/// Warps, faults, revocations, stops: all at random. Returns invalidations done and hits checked.
fn storm(seed: u64, timing: Timing, mischief: u32, cycles: u64) -> [u64; 2] {
    let tag = format!("seed {seed} {timing:?}");
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut bench = Bench::new(timing, seed ^ 0x5555);
    bench.ring_log2 = rng.random_range(1..=4);
    bench.fault_ready = if rng.random_bool(0.5) { 1.0 } else { 0.2 };
    // The limits change no result.
    if seed % 3 == 2 {
        bench.limits = (
            rng.random_range(0..20),
            rng.random_bool(0.5),
            rng.random_bool(0.5),
            rng.random_bool(0.5),
        );
    }
    let mut host = Host::new(&mut bench, tag.clone());
    let mut warps = Warps::new(rng.random_range(0..40));
    let asks: Vec<Ask> = every_ask().collect();
    let mut seen = 0;
    let mut hits = 0;
    let end = bench.now() + cycles;
    while bench.now() < end + 20_000 {
        // The last part is calm: everything that waits must come to its end.
        let calm = bench.now() >= end;
        host.mischief = if calm { 0 } else { mischief };
        for warp in &mut warps.warps {
            if matches!(warp.state, State::Idle { until } if until <= bench.now() && !calm) {
                warp.ask = asks[rng.random_range(0..asks.len())];
                warp.state = State::Look;
            }
        }
        if calm
            && warps
                .warps
                .iter()
                .all(|w| matches!(w.state, State::Idle { .. }))
        {
            break;
        }
        let now = bench.now();
        for ask in warps.present(&mut bench, &mut rng) {
            host.presented(ask, now);
        }
        let c = bench.step();
        for outcome in warps.take(&mut bench, &c, &mut rng) {
            hits += u64::from(matches!(outcome, warps::Outcome::Hit { .. }));
            host.check(outcome);
        }
        host.event(&c);
        while seen < bench.produced {
            let at = bench.records.len() - (bench.produced - seen) as usize;
            let record = bench.records[at];
            let (vpn, access) = (record.addr() >> 12 & VPN_MAX, Access::of(record.access()));
            host.recorded(
                Ask {
                    ctx: record.ctx(),
                    vpn,
                    access,
                },
                record.stamp(),
            );
            seen += 1;
        }
        host.waiting_stores = warps
            .warps
            .iter()
            .filter(|w| w.ask.access.stores() && !matches!(w.state, State::Idle { .. }))
            .map(|w| (w.ask.ctx, w.ask.vpn))
            .collect::<BTreeSet<_>>();
        if let Some(event) = host.turn(&mut bench, c.cmd_done, &mut rng) {
            assert!(
                !warps.any_under_way(event),
                "{tag}: acknowledged while an access is under way"
            );
        }
    }
    for warp in &warps.warps {
        assert!(
            matches!(warp.state, State::Idle { .. }),
            "{tag}: {warp:?} never ended"
        );
    }
    let limit = bound(SETS, bench.port.longest, warps.longest_drain);
    for &took in &bench.inv_cycles {
        assert!(
            took <= limit,
            "{tag}: acknowledged after {took} cycles, bound {limit}"
        );
    }
    [bench.inv_cycles.len() as u64, hits]
}

#[test]
fn random_invalidations_among_busy_clients_are_exact() {
    let timings = [
        Timing::fixed(1),
        Timing {
            latency: (1, 6),
            ready: 0.5,
        },
        Timing {
            latency: (1, 60),
            ready: 0.9,
        },
        Timing {
            latency: (30, 120),
            ready: 0.3,
        },
    ];
    let [invalidations, hits] = soak::run(soak::operations(20_000), |seed| {
        storm(
            seed,
            timings[seed as usize % timings.len()],
            [5, 20, 100][seed as usize % 3],
            8000,
        )
    });
    println!("{invalidations} invalidations, {hits} hits checked");
    assert!(
        invalidations > 300 && hits > 10_000,
        "the storm was too mild: {invalidations}, {hits}"
    );
    assert_eq!(
        CONTEXTS.len() * REGIONS.len() * PAGES.len() * 4,
        every_ask().count()
    );
}
