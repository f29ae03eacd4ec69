//! `launch_unit` with a model of the compute unit: dealing, results, completions, kills, bad entries.

mod launch_bench;
mod queue;

use hmmu_regs::{ErrorCode, JobStatus};
use hmmu_vsim::COMPACT;
use launch_bench::{Bench, RING, RING_LOG2, WARPS, entry, fine, mixed};
use queue::chance;
use queue::layout::ring_cfg;
use rand::Rng;

#[test]
fn random_jobs_complete_with_the_minimum_and_the_first_error() {
    for seed in 0..30 {
        let mut bench = Bench::new(seed, if seed % 3 == 0 { fine } else { mixed });
        let mut id = 1;
        while id < 40 {
            if bench.prod - bench.b.get("cons_o") < 1 << RING_LOG2 && chance(&mut bench.rng, 5) {
                let threads = bench.rng.random_range(1..30);
                bench.launch(id, id % 16, threads);
                id += 1;
            }
            bench.step();
        }
        bench.run_until(100_000, "the last completion", Bench::all_done);
        (0..20).for_each(|_| bench.step());
        assert_eq!(bench.b.get("idle_o"), 1, "seed {seed}");
        assert_eq!(
            (bench.finished, bench.b.get("cons_o")),
            (39, 39),
            "seed {seed}"
        );
        for (id, job) in &bench.jobs {
            assert_eq!(
                (job.dealt, job.ended),
                (job.threads, job.threads),
                "seed {seed}: job {id}"
            );
            assert_eq!(job.irqs, id & 1, "seed {seed}: interrupts of job {id}");
        }
        assert!(bench.errors.is_empty(), "seed {seed}: {:?}", bench.errors);
        // One for each warp, and one for the thread at the port.
        let highest = bench.highest as usize;
        assert!(highest <= WARPS, "seed {seed}: place {highest}");
    }
}

#[test]
fn four_jobs_take_turns() {
    let mut bench = Bench::new(2, fine);
    bench.eager = 0;
    (1..=4).for_each(|id| bench.launch(id, id, 200));
    bench.run_until(1000, "the fourth job", |b| b.cycle > 200);
    (bench.eager, bench.slowest) = (100, 8);
    bench.run_until(10_000, "the last completion", Bench::all_done);
    // The first thread waited at the port; from then on each job has every fourth.
    for turn in bench.order[4..700].windows(4) {
        let mut jobs = turn.to_vec();
        jobs.sort_unstable();
        assert_eq!(jobs, [1, 2, 3, 4]);
    }
}

#[test]
fn a_kill_ends_the_jobs_it_names() {
    for seed in 0..60 {
        let mut bench = Bench::new(seed, fine);
        (1..=6).for_each(|id| bench.launch(id, id % 3, 400));
        // By then jobs 1 to 4 are in the slots; 5 and 6 wait in the ring.
        let at = bench.rng.random_range(400..1500);
        bench.run_until(at + 1, "the moment", |b| b.cycle >= at);
        let by_ctx = seed % 2 == 0;
        let victim = if by_ctx { 1 } else { 2 };
        // A warp that never ends by itself must not delay the kill.
        bench.slowest = 1_000_000;
        for (id, job) in &mut bench.jobs {
            if *id <= 4
                && if by_ctx {
                    job.ctx == victim
                } else {
                    *id == victim
                }
            {
                job.status = if by_ctx {
                    JobStatus::Stopped as u64
                } else {
                    JobStatus::Killed as u64
                };
            }
        }
        bench.kill = Some((by_ctx, victim));
        bench.run_until(300, "the end of the kill", |b| b.kill.is_none());
        for (id, job) in &bench.jobs {
            let named = if by_ctx {
                job.ctx == victim && *id <= 4
            } else {
                *id == victim
            };
            assert!(
                !named || job.completed,
                "seed {seed}: job {id} is not reported: {job:?}"
            );
        }
        // A kill that finds nothing is done at once, in the form for FPGAs a cycle later.
        bench.kill = Some((false, 99));
        (0..if COMPACT { 2 } else { 1 }).for_each(|_| bench.step());
        assert!(bench.kill.is_none(), "seed {seed}");
        bench.slowest = 20;
        bench.running.iter_mut().for_each(|t| t.due = 0);
        bench.run_until(200_000, "the last completion", Bench::all_done);
    }
}

#[test]
fn a_kill_withdraws_a_thread_that_waits_for_a_warp() {
    let mut bench = Bench::new(0, fine);
    bench.slowest = 1_000_000;
    bench.eager = 100;
    bench.launch(1, 1, 8);
    bench.run_until(200, "eight threads", |b| b.running.len() == WARPS);
    bench.launch(2, 2, 100);
    bench.run_until(200, "a thread of job 2", |b| b.cycle > 150);
    bench.jobs.get_mut(&2).expect("launched").status = JobStatus::Killed as u64;
    bench.kill = Some((false, 2));
    bench.run_until(30, "the end of the kill", |b| b.kill.is_none());
    assert_eq!((bench.jobs[&2].dealt, bench.jobs[&2].completed), (0, true));
    bench.running.iter_mut().for_each(|t| t.due = 0);
    bench.run_until(200, "job 1", Bench::all_done);
}

#[test]
fn held_jobs_deal_no_threads_and_lose_none() {
    for seed in 0..40 {
        let mut bench = Bench::new(seed, fine);
        bench.eager = [20, 100][(seed % 2) as usize];
        (1..=4).for_each(|id| bench.launch(id, id, 60));
        bench.run_until(2000, "the first threads", |b| b.cycle > 200);
        let mut changes = 0;
        while !bench.all_done() {
            assert!(bench.cycle < 60_000, "seed {seed}: {:?}", bench.jobs);
            if bench.hold.is_none() && chance(&mut bench.rng, 8) && changes < 60 {
                let id = bench.rng.random_range(1..=5);
                let on =
                    !bench.held.contains(&id) && !bench.jobs.get(&id).is_some_and(|j| j.completed);
                bench.hold = Some((id, on));
                changes += 1;
            }
            if changes == 60 && bench.hold.is_none() {
                let held = bench.held.first().copied();
                bench.hold = held.map(|id| (id, false));
            }
            bench.step();
            let states: Vec<u64> = (0..4)
                .map(|slot| bench.b.get_bits("job_state_o", 64 * slot, 64))
                .collect();
            for state in states.iter().filter(|s| *s >> 32 & 1 == 1) {
                let id = state & 0xffff_ffff;
                assert!((1..=4).contains(&id));
                if bench.hold.is_none() && !bench.jobs[&id].completed {
                    assert_eq!(*state >> 33 & 1 == 1, bench.held.contains(&id), "job {id}");
                }
            }
        }
        for (id, job) in &bench.jobs {
            assert_eq!((job.dealt, job.ended), (60, 60), "seed {seed}: job {id}");
        }
    }
}

#[test]
fn a_kill_ends_a_held_job() {
    for by_ctx in [false, true] {
        let mut bench = Bench::new(3, fine);
        bench.launch(1, 1, 100);
        bench.run_until(300, "threads", |b| b.jobs[&1].dealt > 3);
        bench.slowest = 1_000_000;
        bench.hold = Some((1, true));
        bench.run_until(100, "the hold", |b| b.hold.is_none());
        bench.jobs.get_mut(&1).expect("launched").status = if by_ctx {
            JobStatus::Stopped as u64
        } else {
            JobStatus::Killed as u64
        };
        bench.kill = Some((by_ctx, 1));
        bench.run_until(300, "the end of the kill", |b| b.kill.is_none());
        assert!(bench.jobs[&1].completed);
        // The slot's next job is not held.
        bench.slowest = 20;
        bench.launch(2, 1, 10);
        bench.run_until(3000, "the next job", Bench::all_done);
    }
}

#[test]
fn a_bad_entry_stops_the_ring_until_it_is_reset() {
    for bad in [entry(7, 1, 5).with_version(2), entry(7, 1, 0)] {
        let mut bench = Bench::new(1, fine);
        bench.launch(1, 1, 20);
        bench.submit(bad);
        bench.launch(3, 1, 20);
        bench.run_until(2000, "the error", |b| !b.errors.is_empty());
        assert_eq!(bench.errors, [ErrorCode::BadEntry as u64]);
        assert_eq!(bench.b.get("err_addr_o"), RING + 64);
        bench.run_until(5000, "the job before it", |b| b.jobs[&1].completed);
        (0..500).for_each(|_| bench.step());
        assert_eq!(
            (
                bench.b.get("stopped_o"),
                bench.b.get("cons_o"),
                bench.jobs[&3].dealt
            ),
            (1, 1, 0)
        );
        // Restart with a new ring.
        bench.prod = 0;
        ring_cfg::INDEX.set(&mut bench.b, "ring_i", 0);
        ring_cfg::RESET.set(&mut bench.b, "ring_i", 1);
        bench.step();
        ring_cfg::RESET.set(&mut bench.b, "ring_i", 0);
        bench.launch(3, 1, 20);
        bench.run_until(5000, "the job after the reset", Bench::all_done);
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_an_error() {
    let mut bench = Bench::new(0, fine);
    bench.port.errors = 100;
    bench.launch(1, 1, 4);
    bench.run_until(200, "the error", |b| !b.errors.is_empty());
    assert_eq!(bench.errors, [ErrorCode::RingFetch as u64]);
    assert_eq!((bench.b.get("stopped_o"), bench.jobs[&1].dealt), (1, 0));
}
