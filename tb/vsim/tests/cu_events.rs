//! The compute unit and its translations: faults, cancels, invalidations under running programs.

mod cu_bench;

use cu_bench::mmu::{Event, Page};
use cu_bench::scene::*;
use cu_bench::{Bench, End, Timing};
use hmmu_model::rv64::enc;
use hmmu_regs::WarpState;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

#[test]
fn a_parked_warp_costs_the_others_nothing() {
    // Thread 0 uses what it loads from a page that is not there; the others count.
    let mut code = vec![
        enc::bne(11, 0, 16),
        enc::lui(5, 0x12345),
        enc::ld(10, 5, 0),
        enc::addi(10, 10, 0),
    ];
    code.extend(looped(&[enc::addi(5, 5, 1); 8], 800));
    let mut bench = with_program(Timing::fixed(4), 1, &code);
    bench.queue.extend((0..8).map(thread));
    step_until(&mut bench, 1000, |b| !b.mmu.parked.is_empty());
    step_until(&mut bench, 20_000, |b| b.instructions > 2000);
    let before = bench.instructions;
    for _ in 0..2000 {
        bench.step();
    }
    assert!(
        bench.instructions - before >= 1990,
        "{} instructions in 2000 cycles",
        bench.instructions - before
    );
    assert_eq!(
        bench.warp(0),
        (WarpState::DataMiss as u64, (CODE & 0xffff_ffff_ffff) + 12)
    );
    // The page comes, the driver replays.
    bench.map(1, 0x1234_5000, Page::all(0x300));
    bench.memory.set_value(0x300 << 12, 8, 0xfeed);
    bench
        .mmu
        .events
        .push_back(Event::Retry(1, 0, 0xf_ffff_ffff));
    bench.run(100_000);
    let mut results: Vec<u64> = bench.ends.iter().map(|e| e.result).collect();
    results.sort_unstable();
    assert_eq!(results, [[0xfeed].as_slice(), &[DATA; 7]].concat());
}

#[test]
fn a_cancel_ends_the_thread_with_its_code() {
    let code = [
        enc::lui(5, 0x12345),
        enc::addi(5, 5, 24),
        enc::sd(5, 5, 0),
        enc::ECALL,
    ];
    let mut bench = with_program(Timing::fixed(2), 1, &code);
    bench.queue.extend((0..8).map(thread));
    step_until(&mut bench, 1000, |b| {
        (0..8).all(|w| b.warp(w).0 == WarpState::DataMiss as u64)
    });
    assert_eq!(bench.mmu.parked, [(1, 0x12345, WRITE)]);
    // Another kind of access to the same page, and another context: nothing happens.
    bench.mmu.events.extend([
        Event::Cancel((1, 0x12345, READ), 99),
        Event::Cancel((2, 0x12345, WRITE), 98),
    ]);
    bench.steps(50);
    assert!(bench.ends.is_empty());
    bench
        .mmu
        .events
        .push_back(Event::Cancel((1, 0x12345, WRITE), 77));
    bench.run(200);
    assert_eq!(
        bench.ends,
        [End {
            job: 0,
            result: u64::MAX,
            status: 77,
            info: 0x1234_5018
        }; 8]
    );
}

#[test]
fn a_cancelled_fetch_ends_the_thread_with_its_code() {
    let code = [enc::lui(5, 0x12345), enc::jalr(1, 5, 8)];
    let mut bench = with_program(Timing::fixed(2), 1, &code);
    bench.queue.extend((0..8).map(thread));
    step_until(&mut bench, 1000, |b| {
        b.mmu.parked == [(1, 0x12345, EXECUTE)]
    });
    bench.steps(100);
    bench
        .mmu
        .events
        .push_back(Event::Cancel((1, 0x12345, EXECUTE), 44));
    // One warp owned the miss; the others ask for themselves and are cancelled in their turn.
    step_until(&mut bench, 2000, |b| {
        if b.mmu.parked.contains(&(1, 0x12345, EXECUTE)) && b.mmu.events.is_empty() {
            b.mmu
                .events
                .push_back(Event::Cancel((1, 0x12345, EXECUTE), 44));
        }
        b.pending() == 0
    });
    assert_eq!(
        bench.ends,
        [End {
            job: 0,
            result: u64::MAX,
            status: 44,
            info: 0x1234_5008
        }; 8]
    );
}

/// Where a page of an invalidation test goes while it is away.
const SPARE: u64 = 0x9_0000;

#[test]
fn no_access_uses_a_page_after_its_invalidation() {
    let mut moved = 0;
    for seed in 0..40 {
        let mut bench = Bench::new(
            if seed % 4 == 0 {
                Timing::fixed(seed % 7)
            } else {
                Timing::rough()
            },
            seed,
        );
        let expected = random_programs(&mut bench, 24, 12);
        let goal = bench.expected.take().expect("set");
        let mut rng = Pcg64::seed_from_u64(seed + 1000);
        let pages: Vec<(u64, u64)> = bench.mmu.table.keys().copied().collect();
        let mut spare = SPARE;
        while bench.pending() > 0 {
            assert!(bench.now < 2_000_000, "seed {seed}: {}", bench.states());
            bench.steps(rng.random_range(0..150));
            // The driver's way: revoke, invalidate, wait for the drain, move, map, replay.
            let key = pages[rng.random_range(0..pages.len())];
            let old = bench.mmu.table.remove(&key).expect("mapped");
            bench
                .mmu
                .events
                .push_back(Event::Invalidate(key.0, key.1, key.1));
            step_until(&mut bench, 10, |b| b.mmu.events.is_empty());
            bench.step();
            step_until(&mut bench, 500, Bench::drained);
            assert!(
                !bench.data.touches(old.ppn) && !bench.fetch.touches(old.ppn),
                "seed {seed}: an access outlives the drain"
            );
            let bytes = bench.memory.pages.remove(&old.ppn).expect("memory");
            bench.steps(rng.random_range(0..200));
            spare += 1;
            moved += 1;
            bench.memory.pages.insert(spare, bytes);
            bench.mmu.table.insert(
                key,
                Page {
                    ppn: spare,
                    d: false,
                    ..old
                },
            );
            bench
                .mmu
                .events
                .push_back(Event::Retry(key.0, key.1, key.1));
        }
        assert_eq!(sorted(&bench.ends), sorted(&expected), "seed {seed}");
        // The reference left the data in the first places.
        let mut at_home = bench.memory.clone();
        for (_, page) in bench.mmu.table.iter().filter(|(_, page)| page.ppn > SPARE) {
            at_home.pages.remove(&page.ppn);
        }
        for (ppn, bytes) in &at_home.pages {
            assert!(
                goal.pages.get(ppn) == Some(bytes),
                "seed {seed}: page {ppn:#x}"
            );
        }
        let homes: Vec<&Vec<u8>> = goal.pages.values().collect();
        for bytes in bench.memory.pages.values() {
            assert!(homes.contains(&bytes), "seed {seed}: a moved page differs");
        }
    }
    println!("{moved} pages moved under running programs");
    assert!(moved > 1000, "only {moved} moves");
}

#[test]
fn spurious_events_disturb_nothing() {
    for seed in 0..20 {
        let mut bench = Bench::new(Timing::rough(), seed);
        let expected = random_programs(&mut bench, 16, 15);
        let mut rng = Pcg64::seed_from_u64(seed + 7);
        while bench.pending() > 0 {
            assert!(bench.now < 1_000_000, "seed {seed}: {}", bench.states());
            bench.steps(rng.random_range(1..30));
            let ctx = rng.random_range(0..4);
            let lo = rng.random_range(0..1 << 20);
            bench.mmu.events.push_back(match rng.random_range(0..4) {
                0 => Event::Invalidate(ctx, 0, 0xf_ffff_ffff),
                1 => Event::Invalidate(ctx, lo, lo + (1 << 19)),
                2 => Event::Retry(ctx, 0, 0xf_ffff_ffff),
                _ => Event::Stop(9),
            });
        }
        assert_eq!(sorted(&bench.ends), sorted(&expected), "seed {seed}");
        assert!(
            bench.expected.as_ref() == Some(&bench.memory),
            "seed {seed}: memory differs"
        );
    }
}
