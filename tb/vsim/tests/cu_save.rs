//! The compute unit: threads that are saved and restored in other warps.

mod cu_bench;

use cu_bench::mmu::{Event, Page};
use cu_bench::scene::*;
use cu_bench::state::Saved;
use cu_bench::{Bench, HELD, Thread, Timing, WARPS};
use hmmu_model::rv64::enc;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

const AWAY: u64 = 0x5000_0000;
const ALL: (u64, u64) = (0, 0xf_ffff_ffff);
/// Most cycles until a held job stands still: a division of every warp.
const BOUND: u64 = 1300;

/// Holds a job until it stands still and what has ended is told.
fn still(bench: &mut Bench, job: u64) {
    bench.held |= 1 << job;
    bench.steps(HELD);
    step_until(bench, BOUND, |b| b.b.get("busy_o") >> job & 1 == 0);
}

/// Saves a job of context 1; it is not held any more.
fn save(bench: &mut Bench, job: u64) -> Vec<Saved> {
    still(bench, job);
    let threads = thread(0).threads;
    let saved = bench.save(job, |_| 1, threads);
    bench.held &= !(1 << job);
    saved
}

#[test]
fn random_programs_saved_at_random_moments_end_as_the_interpreter_says() {
    let (mut saves, mut kept, mut slowest) = (0, 0, 0);
    for seed in 0..24 {
        let timing = if seed % 2 == 0 {
            Timing::rough()
        } else {
            Timing::fixed(seed % 5)
        };
        let mut plain = Bench::new(timing, seed);
        plain.reservations = false;
        random_programs(&mut plain, 16, 20);
        plain.run(400_000);
        let mut bench = Bench::new(timing, seed);
        bench.reservations = false;
        let expected = random_programs(&mut bench, 16, 20);
        for (place, t) in bench.queue.iter_mut().enumerate() {
            t.place = place as u64;
        }
        let mut rng = Pcg64::seed_from_u64(seed);
        while !bench.queue.is_empty() {
            bench.step();
        }
        let mut away: Vec<Saved> = Vec::new();
        while bench.pending() > 0 || !away.is_empty() {
            assert!(bench.now < 400_000, "seed {seed}: {}", bench.states());
            let run = rng.random_range(0..[5, 60, 400][(seed % 3) as usize]);
            bench.steps(run);
            let job = rng.random_range(0..4);
            still(&mut bench, job);
            let from = bench.now;
            let saved = bench.save(job, |index| index % 3, 16);
            if !saved.is_empty() {
                slowest = slowest.max((bench.now - from) / saved.len() as u64);
            }
            saves += saved.len();
            kept += saved.iter().map(Saved::accesses).sum::<u64>();
            away.extend(saved);
            bench.held = 0;
            let pause = rng.random_range(0..100);
            bench.steps(pause);
            // Some come back, in any order and so in any warp.
            away.shuffle(&mut rng);
            let stay = rng.random_range(0..=away.len());
            for thread in away.split_off(stay / 2) {
                bench.restore(&thread);
            }
        }
        assert_eq!(sorted(&bench.ends), sorted(&expected), "seed {seed}");
        assert!(
            bench.expected.as_ref() == Some(&bench.memory),
            "seed {seed}: memory differs"
        );
        assert_eq!(
            (bench.instructions, bench.loads, bench.stores),
            (plain.instructions, plain.loads, plain.stores),
            "seed {seed}: an instruction counted twice or not at all"
        );
    }
    println!("{saves} threads saved with {kept} accesses, at most {slowest} cycles a thread");
    assert!(saves > 500 && kept > 50);
}

/// Loads from four pages that are not there, then what follows.
fn four_loads(tail: &[u32]) -> Vec<u32> {
    let mut code = vec![enc::lui(5, (AWAY >> 12) as u32), enc::lui(6, 1)];
    for k in 0..3 {
        code.extend([enc::ld(12 + k, 5, 8), enc::add(5, 5, 6)]);
    }
    code.extend(tail);
    code.extend([
        enc::add(10, 12, 13),
        enc::add(10, 10, 14),
        enc::add(10, 10, 15),
        enc::ECALL,
    ]);
    code
}

#[test]
fn accesses_that_wait_go_along_in_order() {
    // The fourth access: a load, a store, an AMO that waits alone for the others, a byte that is not extended.
    let tails: [(&[u32], u64, u64); 4] = [
        (&[enc::ld(15, 5, 8)], 4, 0x84),
        (&[enc::lbu(15, 5, 8)], 4, 0x84),
        (&[enc::lb(15, 5, 8)], 4, 0xffff_ffff_ffff_ff84),
        (&[enc::addi(15, 0, 5), enc::sd(15, 5, 8)], 4, 5),
    ];
    for (tail, accesses, fourth) in tails {
        for offset in 0..40 {
            let mut bench = with_program(Timing::fixed(2), 1, &four_loads(tail));
            bench.queue.push_back(thread(0));
            bench.steps(60 + offset);
            let mut saved = save(&mut bench, 0);
            assert_eq!(bench.running(0), 0);
            if offset > 30 {
                assert_eq!(saved[0].accesses(), accesses, "{tail:x?}");
            }
            // Another thread takes the warp.
            bench.queue.push_back(Thread {
                job: 1,
                ..thread(1)
            });
            bench.steps(60);
            bench.restore(&saved[0]);
            bench.steps(offset);
            saved = save(&mut bench, 0);
            for k in 0..4 {
                bench.map(1, AWAY + k * 4096, Page::all(0x300 + k));
                bench.memory.set_value((0x300 + k << 12) + 8, 8, k + 0x81);
            }
            bench.restore(&saved[0]);
            bench.mmu.events.push_back(Event::Retry(1, ALL.0, ALL.1));
            bench.run(2000);
            let sum = 0x81 + 0x82 + 0x83u64;
            for end in &bench.ends {
                assert_eq!((end.status, end.result), (OK, sum.wrapping_add(fourth)));
            }
            assert_eq!(bench.ends.len(), 2);
        }
    }
}

#[test]
fn an_atomic_that_waits_is_done_once() {
    let amo = enc::amoadd_d(15, 5, 11);
    for offset in 0..60 {
        let code = [
            enc::lui(5, (AWAY >> 12) as u32),
            enc::addi(10, 0, 0),
            amo,
            enc::add(10, 10, 15),
            enc::ECALL,
        ];
        let mut bench = with_program(Timing::fixed(5), offset, &code);
        bench.queue.extend((1..4).map(|k| Thread {
            place: k,
            ..thread(k)
        }));
        bench.steps(offset);
        if offset % 2 == 0 {
            bench.map(1, AWAY, Page::all(0x300));
        }
        bench.steps(40);
        bench.queue.clear();
        let started = bench.running(0) + bench.ends.len();
        let saved = save(&mut bench, 0);
        bench.map(1, AWAY, Page::all(0x300));
        bench.steps(10);
        saved.iter().rev().for_each(|t| bench.restore(t));
        bench.mmu.events.push_back(Event::Retry(1, ALL.0, ALL.1));
        bench.run(2000);
        assert_eq!(bench.ends.len(), started, "offset {offset}");
        let sum: u64 = (1..=started as u64).sum();
        assert_eq!(bench.memory.value(0x300 << 12, 8), sum, "offset {offset}");
    }
}

#[test]
fn failures_that_wait_for_older_loads_go_along() {
    // Of four loads one is cancelled; it is told when the older ones are in. The rest is void.
    for cancelled in 0..4 {
        let mut bench = with_program(Timing::fixed(2), 1, &four_loads(&[enc::ld(15, 5, 8)]));
        bench.queue.push_back(thread(0));
        step_until(&mut bench, 500, |b| b.mmu.parked.len() == 4);
        let page = (AWAY >> 12) + cancelled;
        bench
            .mmu
            .events
            .push_back(Event::Cancel((1, page, READ), 70));
        bench.step();
        bench.steps(5);
        let saved = save(&mut bench, 0);
        if cancelled == 0 {
            assert!(saved.is_empty(), "the oldest one's failure is told");
        } else {
            assert_eq!(saved[0].words[0] >> 44 & 15, 1 << cancelled);
            bench.restore(&saved[0]);
            bench.steps(100);
            assert!(bench.ends.is_empty());
            for k in (0..4).filter(|k| *k != cancelled) {
                bench.map(1, AWAY + k * 4096, Page::all(0x300 + k));
            }
            bench.mmu.events.push_back(Event::Retry(1, ALL.0, ALL.1));
            bench.run(500);
        }
        let end = bench.ends[0];
        assert_eq!((end.status, end.info), (70, AWAY + 4096 * cancelled + 8));
    }
}

#[test]
fn an_end_that_waits_for_a_load_goes_along() {
    // The fetch after a load that waits fails.
    let code = [
        enc::lui(5, (AWAY >> 12) as u32),
        enc::ld(12, 5, 8),
        enc::lui(6, 0x55555),
        enc::jalr(0, 6, 16),
    ];
    for offset in 0..20 {
        let mut bench = with_program(Timing::fixed(2), 1, &code);
        bench.queue.push_back(thread(0));
        step_until(&mut bench, 500, |b| b.mmu.parked.len() == 2);
        let fetch = Event::Cancel((1, 0x55555, EXECUTE), 71);
        bench.mmu.events.push_back(fetch);
        bench.steps(offset);
        let saved = save(&mut bench, 0);
        if offset > 5 {
            assert_eq!(saved[0].words[0] >> 40 & 1, 1);
            assert_eq!(saved[0].words[0] >> 48 & 0xff, 71);
        }
        bench.restore(&saved[0]);
        bench.steps(100);
        assert!(bench.ends.is_empty(), "offset {offset}");
        if saved[0].words[0] >> 40 & 1 == 0 {
            bench.mmu.events.push_back(fetch);
        }
        bench.map(1, AWAY, Page::all(0x300));
        bench.mmu.events.push_back(Event::Retry(1, ALL.0, ALL.1));
        bench.run(500);
        let end = bench.ends[0];
        assert_eq!((end.status, end.info), (71, 0x5555_5010), "offset {offset}");
    }
}

#[test]
fn a_thread_past_the_end_of_the_lower_half_stays_there() {
    // The last instruction of the lower half is a load that waits; the next one has no address.
    let last = 0x7fff_ffff_f000;
    let mut bench = with_program(Timing::fixed(2), 1, &[enc::ECALL]);
    bench.map(1, last, Page::all(0x180));
    let code = [enc::lui(5, (AWAY >> 12) as u32), enc::ld(12, 5, 8)];
    bench.load_program(1, last + 4096 - 8, &code);
    bench.queue.push_back(Thread {
        entry: last + 4096 - 8,
        ..thread(0)
    });
    step_until(&mut bench, 500, |b| !b.mmu.parked.is_empty());
    bench.steps(50);
    let saved = save(&mut bench, 0);
    assert_eq!(saved[0].words[1], 0x8000_0000_0000);
    bench.restore(&saved[0]);
    bench.map(1, AWAY, Page::all(0x300));
    bench.mmu.events.push_back(Event::Retry(1, ALL.0, ALL.1));
    bench.run(500);
    let end = bench.ends[0];
    let bad = hmmu_regs::JobStatus::BadAddress as u8;
    assert_eq!((end.status, end.info), (bad, 0x8000_0000_0000));
}

#[test]
fn a_kill_or_hold_in_the_middle_of_a_restore_waits_for_its_end() {
    for kill in [false, true] {
        for offset in 0..60 {
            let mut bench = with_program(Timing::fixed(2), 1, &four_loads(&[enc::ld(15, 5, 8)]));
            bench.queue.push_back(thread(0));
            step_until(&mut bench, 500, |b| b.mmu.parked.len() == 4);
            let saved = save(&mut bench, 0);
            // The level rises somewhere in the restore.
            bench.rises = Some((bench.now + offset, kill));
            bench.restore(&saved[0]);
            bench.steps(60);
            if kill {
                assert_eq!(bench.ends.len(), 1, "offset {offset}");
                bench.kill = 0;
                continue;
            }
            assert_eq!(bench.b.get("busy_o"), 0, "offset {offset}");
            let again = save(&mut bench, 0);
            assert_eq!(again, saved, "offset {offset}");
        }
    }
}

#[test]
fn a_busy_barrel_lets_a_save_and_a_restore_through() {
    // Other warps issue in every cycle.
    let code = looped(
        &[enc::add(5, 5, 6), enc::ld(7, 10, 0), enc::mul(5, 5, 6)],
        2000,
    );
    let mut bench = with_program(Timing::fixed(1), 1, &code);
    bench.queue.extend((0..u64::from(WARPS)).map(|k| Thread {
        job: u64::from(k > 1),
        place: k,
        ..thread(k)
    }));
    bench.steps(2000);
    for _ in 0..20 {
        let before = bench.instructions;
        let from = bench.now;
        let saved = save(&mut bench, 0);
        assert_eq!(saved.len(), 2);
        saved.iter().for_each(|t| bench.restore(t));
        let took = bench.now - from;
        let share = 100 * (bench.instructions - before) / took;
        assert!(
            took < 2 * 2 * 20 * 12 && share > 70,
            "{took} cycles, {share} %"
        );
        bench.steps(100);
    }
}
