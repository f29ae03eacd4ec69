//! The compute unit: jobs that are held and go on.

mod cu_bench;

use cu_bench::mmu::{Event, Page};
use cu_bench::scene::*;
use cu_bench::{Bench, HELD, Thread, Timing, WARPS};
use hmmu_model::rv64::enc;
use hmmu_regs::WarpState;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Most cycles until a held job stands still: eight divisions, or the slowest memory of the benches.
const BOUND: u64 = 700;

/// Waits until the jobs of the mask stand still; the cycles that took.
fn still(bench: &mut Bench, mask: u64) -> u64 {
    bench.held = mask;
    bench.steps(HELD);
    step_until(bench, BOUND, |b| b.b.get("busy_o") & mask == 0)
}

#[test]
fn random_programs_held_at_random_moments_end_as_the_interpreter_says() {
    let mut worst = 0;
    for seed in 0..24 {
        let timing = if seed % 2 == 0 {
            Timing::rough()
        } else {
            Timing::fixed(seed % 5)
        };
        let mut plain = Bench::new(timing, seed);
        random_programs(&mut plain, 16, 20);
        plain.run(400_000);
        let mut bench = Bench::new(timing, seed);
        let expected = random_programs(&mut bench, 16, 20);
        let mut rng = Pcg64::seed_from_u64(seed);
        while bench.pending() > 0 {
            assert!(bench.now < 400_000, "seed {seed}: {}", bench.states());
            let run = rng.random_range(0..[5, 60, 400][(seed % 3) as usize]);
            bench.steps(run);
            let mask = rng.random_range(1..16);
            worst = worst.max(still(&mut bench, mask));
            // Threads of held jobs are not offered to a real unit.
            let waiting = std::mem::take(&mut bench.queue);
            let (back, on): (Vec<Thread>, Vec<Thread>) =
                waiting.into_iter().partition(|t| mask >> t.job & 1 == 1);
            bench.queue.extend(on);
            let before = (bench.instructions, bench.loads, bench.stores);
            for _ in 0..rng.random_range(0..50) {
                bench.step();
                assert_eq!(bench.b.get("busy_o") & mask, 0, "seed {seed}");
            }
            if mask == 15 {
                let now = (bench.instructions, bench.loads, bench.stores);
                assert_eq!(now, before, "seed {seed}");
            }
            bench.queue.extend(back);
            bench.held = 0;
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
    println!("longest hold: {worst} cycles");
}

#[test]
fn an_atomic_that_others_keep_beating_is_given_up_and_done_once() {
    for offset in 0..120 {
        let code = looped(&[enc::amoadd_d(0, 10, 9)], 3);
        let mut bench = with_program(Timing::fixed(9), offset, &code);
        bench.queue.push_back(thread(0));
        bench.steps(40 + offset);
        // Somebody else changes the word in every cycle: no swap can succeed.
        bench.held = 1;
        let mut waited = 0;
        while bench.b.get("busy_o") & 1 == 1 || waited < HELD {
            let value = bench.memory.value(0x200 << 12, 8);
            bench.memory.set_value(0x200 << 12, 8, value + (1 << 32));
            bench.step();
            waited += 1;
            assert!(waited < 100, "offset {offset}: {}", bench.states());
        }
        bench.steps(20);
        bench.held = 0;
        bench.run(2000);
        let sum = bench.memory.value(0x200 << 12, 8) & 0xffff_ffff;
        assert_eq!(
            (sum, bench.ends[0].status),
            (3 + 2 + 1, OK),
            "offset {offset}"
        );
    }
}

#[test]
fn parked_warps_are_held_at_once_and_wait_for_the_same_answer_later() {
    // Odd threads park in a load, even ones in a fetch.
    let code = [
        enc::andi(5, 11, 1),
        enc::lui(6, 0x55555),
        enc::beq(5, 0, 12),
        enc::ld(7, 6, 0),
        enc::ECALL,
        enc::jalr(0, 6, 0),
    ];
    for answer_first in [false, true] {
        let mut bench = with_program(Timing::fixed(2), 1, &code);
        bench.queue.extend((0..u64::from(WARPS)).map(|k| Thread {
            job: 2,
            ..thread(k)
        }));
        step_until(&mut bench, 1000, |b| b.mmu.parked.len() == 2);
        bench.steps(300);
        let took = still(&mut bench, 1 << 2);
        assert!(took <= 2, "{took} cycles");
        bench.step();
        for warp in 0..WARPS {
            assert_eq!(bench.warp(warp).0, WarpState::Held as u64);
        }
        let misses = bench.mmu.misses;
        bench.map(1, 0x5555_5000, Page::all(0x300));
        bench.load_program(1, 0x5555_5000, &[enc::ECALL]);
        let retry = Event::Retry(1, 0, 0xf_ffff_ffff);
        if answer_first {
            bench.mmu.events.push_back(retry);
            bench.steps(200);
            assert!(bench.ends.is_empty() && bench.b.get("busy_o") == 0);
            bench.held = 0;
        } else {
            bench.held = 0;
            bench.steps(200);
            assert!(bench.ends.is_empty());
            assert_eq!(bench.mmu.misses, misses, "they joined the waiting misses");
            bench.mmu.events.push_back(retry);
        }
        bench.run(2000);
        assert_eq!(bench.ends.len(), WARPS as usize);
        assert!(
            bench.ends.iter().all(|e| e.status == OK),
            "{:x?}",
            bench.ends
        );
    }
}

#[test]
fn a_kill_ends_held_warps_and_the_slot_is_free() {
    let code = looped(&[enc::ld(5, 10, 0), enc::sd(5, 10, 8)], 1000);
    for offset in 0..60 {
        let mut bench = with_program(Timing::fixed(5), offset, &code);
        bench.queue.extend((0..8).map(|k| Thread {
            job: k % 2,
            ..thread(k)
        }));
        bench.steps(100 + offset);
        bench.queue.clear();
        still(&mut bench, 1);
        bench.kill = 1;
        step_until(&mut bench, 60, |b| b.running(0) == 0);
        assert!(bench.running(1) > 0, "the other job runs");
        (bench.kill, bench.held) = (0, 0);
        bench.ends.clear();
        bench.kill = 2;
        bench.run(200);
        assert!(bench.ends.iter().all(|e| e.job == 1), "offset {offset}");
    }
}
