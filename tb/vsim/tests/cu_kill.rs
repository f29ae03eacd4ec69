//! The compute unit: kills and stops.

mod cu_bench;

use cu_bench::mmu::{Event, Page};
use cu_bench::scene::*;
use cu_bench::{Bench, Thread, Timing};
use hmmu_model::rv64::enc;
use hmmu_regs::JobStatus;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// A short program with every kind of wait: fetch, load, store, multiply, AMO, LR/SC.
fn kinds() -> Vec<u32> {
    vec![
        enc::ld(5, 10, 0),
        enc::addi(5, 5, 1),
        enc::sd(5, 10, 0),
        enc::mul(6, 5, 5),
        enc::amoadd_w(7, 10, 9),
        enc::addi(28, 10, 64),
        enc::lr_d(29, 28, 0),
        enc::sc_d(30, 28, 9),
        enc::ECALL,
    ]
}

/// Kills one of two jobs of four threads after `offset` cycles; all others end well. Were the jobs over by then?
fn kill_at(offset: u64, code: &[u32]) -> bool {
    let killed = JobStatus::Killed as u8;
    let timing = Timing {
        walk: (20, 20),
        ..Timing::fixed(6)
    };
    let mut bench = with_program(timing, offset, code);
    bench.map(2, CODE, Page::all(0x100));
    bench.map(2, DATA, Page::all(0x201));
    // Job 1 in context 1, job 3 in context 2.
    bench.queue.extend((0..8).map(|k| Thread {
        job: 1 + 2 * (k % 2),
        ctx: 1 + k % 2,
        ..thread(k)
    }));
    step_until(&mut bench, offset + 100, |b| b.now == offset);
    let over = bench.pending() == 0;
    bench.queue.retain(|t| t.job == 3);
    bench.kill = 1 << 1;
    // The divider may have to finish one division per warp.
    step_until(&mut bench, 700, |b| b.running(1) == 0);
    bench.kill = 0;
    let ended = std::mem::take(&mut bench.ends);
    assert!(
        ended
            .iter()
            .filter(|e| e.job == 1)
            .all(|e| e.status == killed || e.status == OK),
        "offset {offset}: {ended:x?}"
    );
    // The slot is used again: late answers to the killed warps must do no harm.
    let others = ended.iter().filter(|e| e.job == 3).count();
    bench.queue.extend((0..8).map(|k| Thread {
        job: 1,
        ..thread(k)
    }));
    bench.run(20_000);
    assert!(
        bench
            .ends
            .iter()
            .all(|e| e.status == OK && e.result == DATA),
        "offset {offset}: {:x?}",
        bench.ends
    );
    assert_eq!(bench.ends.len() + others, 12, "offset {offset}");
    over
}

#[test]
fn a_kill_at_every_cycle_ends_the_job_and_only_it() {
    let over = (0..2000).position(|offset| kill_at(offset, &kinds()));
    println!("the jobs were over after {over:?} cycles");
    assert!(over.is_some_and(|cycles| cycles > 150), "{over:?}");
}

#[test]
fn a_kill_waits_for_the_divider() {
    let code = looped(&[enc::div(6, 5, 9), enc::remw(6, 10, 9)], 2);
    let over = (0..200)
        .map(|k| kill_at(13 * k, &code))
        .filter(|over| *over)
        .count();
    assert!(
        (1..150).contains(&over),
        "{over} of 200 kills came after the end"
    );
}

#[test]
fn parked_warps_end_when_killed_or_stopped() {
    // Odd threads park in a load, even ones in a fetch.
    let code = [
        enc::andi(5, 11, 1),
        enc::lui(6, 0x55555),
        enc::beq(5, 0, 12),
        enc::ld(7, 6, 0),
        enc::ECALL,
        enc::jalr(0, 6, 0),
    ];
    for stop in [false, true] {
        let mut bench = with_program(Timing::fixed(2), 1, &code);
        bench.queue.extend((0..8).map(|k| Thread {
            job: 2,
            ..thread(k)
        }));
        step_until(&mut bench, 1000, |b| b.mmu.parked.len() == 2);
        bench.steps(50);
        assert!(bench.ends.is_empty());
        let status = if stop {
            bench.mmu.events.push_back(Event::Stop(1));
            JobStatus::Stopped
        } else {
            bench.kill = 1 << 2;
            JobStatus::Killed
        };
        bench.run(60);
        assert!(
            bench
                .ends
                .iter()
                .all(|e| e.status == status as u8 && e.job == 2),
            "{:x?}",
            bench.ends
        );
        // Late answers to faults of killed threads find nobody; the warps work again.
        bench.kill = 0;
        bench.ends.clear();
        bench.map(1, 0x5555_5000, Page::all(0x300));
        bench.load_program(1, 0x5555_5000, &[enc::ECALL]);
        bench.queue.extend((0..8).map(|k| Thread {
            job: 1,
            ..thread(k)
        }));
        bench.steps(30);
        bench
            .mmu
            .events
            .push_back(Event::Retry(1, 0, 0xf_ffff_ffff));
        bench.run(2000);
        assert_eq!(bench.ends.len(), 8);
        assert!(
            bench.ends.iter().all(|e| e.status == OK),
            "{:x?}",
            bench.ends
        );
    }
}

#[test]
fn a_stop_at_random_moments_ends_one_context() {
    for seed in 0..60 {
        let mut bench = Bench::new(Timing::rough(), seed);
        let expected = random_programs(&mut bench, 12, 8);
        let mut rng = Pcg64::seed_from_u64(seed);
        let at = rng.random_range(0..3000);
        let contexts: Vec<u64> = bench.queue.iter().map(|t| t.index % 3).collect();
        step_until(&mut bench, 5000, |b| b.now == at);
        let late: Vec<Thread> = bench.queue.iter().copied().filter(|t| t.ctx == 1).collect();
        bench.queue.retain(|t| t.ctx != 1);
        bench.mmu.events.push_back(Event::Stop(1));
        step_until(&mut bench, 10, |b| b.mmu.events.is_empty());
        bench.step();
        step_until(&mut bench, 500, Bench::drained);
        bench.run(200_000);
        assert_eq!(bench.ends.len() + late.len(), contexts.len(), "seed {seed}");
        for e in &bench.ends {
            let known = sorted(&expected).contains(&(e.job, e.result, e.status, e.info));
            assert!(
                known || e.status == JobStatus::Stopped as u8,
                "seed {seed}: {e:x?}"
            );
        }
        let stopped = bench.ends.iter().filter(|e| e.status != OK).count();
        assert!(
            stopped <= 4,
            "seed {seed}: {stopped} threads of one context"
        );
    }
}
