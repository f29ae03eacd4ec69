//! `launch_unit`: jobs that are saved and restored, with a model of the compute units.

mod launch_bench;
mod queue;

use hmmu_regs::{ErrorCode, JobStatus, LaunchEntry};
use launch_bench::save::{AREA, AREAS, HEADER, RECORD};
use launch_bench::{Bench, WARPS, fine, mixed};
use queue::chance;
use rand::Rng;

fn area(id: u64) -> u64 {
    AREAS + AREA * id
}

#[test]
fn random_jobs_that_are_saved_and_restored_complete_as_ever() {
    let (mut saves, mut restores, mut copied) = (0, 0, 0);
    for seed in 0..24 {
        let mut bench = Bench::new(seed, if seed % 3 == 0 { fine } else { mixed });
        bench.units.eager = [100, 30][(seed / 2 % 2) as usize];
        bench.slowest = [300, 1500][(seed / 4 % 2) as usize];
        let mut id = 1;
        // Jobs in an area, and which of its two: a job may be saved again before all of it has come back.
        let mut away: Vec<(u64, u64)> = Vec::new();
        let mut which = [0; 40];
        while id < 16 || !away.is_empty() || !bench.all_done() {
            assert!(bench.cycle < 300_000, "seed {seed}: {:?}", bench.jobs);
            // Not while an area is still to be read.
            let taken = bench.prod == bench.b.get("cons_o");
            if id < 16 && taken && chance(&mut bench.rng, 3) {
                let threads = bench.rng.random_range(1..30);
                bench.launch(id, id % 16, threads);
                id += 1;
            }
            // In the end they are left alone.
            let taken = bench.prod == bench.b.get("cons_o");
            if taken && bench.cycle < 15_000 && chance(&mut bench.rng, 3) {
                let job = bench.rng.random_range(1..id + 2);
                // Half the time to the area that it came from.
                let same = which.get(job as usize).copied().unwrap_or_default();
                let turn = (same + u64::from(chance(&mut bench.rng, 50))) % 2;
                let before = bench.units.saves;
                if !away.iter().any(|(j, _)| *j == job) && bench.save(job, area(2 * job + turn)) {
                    which[job as usize] = turn;
                    away.push((job, area(2 * job + turn)));
                    let records = bench.header(area(2 * job + turn)).records();
                    copied += records - (bench.units.saves - before);
                }
            }
            if !away.is_empty() && taken && chance(&mut bench.rng, 2) {
                let k = bench.rng.random_range(0..away.len());
                let (_, area) = away.swap_remove(k);
                bench.restore(area);
            }
            bench.step();
        }
        for (id, job) in &bench.jobs {
            assert_eq!(
                (job.dealt, job.ended),
                (job.threads, job.threads),
                "seed {seed}: job {id}"
            );
        }
        assert!(bench.errors.is_empty(), "seed {seed}: {:?}", bench.errors);
        let highest = bench.highest as usize;
        assert!(highest <= 2 * WARPS, "seed {seed}: place {highest}");
        saves += bench.units.saves;
        restores += bench.units.restores;
    }
    println!("{saves} threads saved, {copied} records copied, {restores} threads restored");
    assert!(restores > 300 && copied > 50);
}

/// A job with a thread on each warp, in its area.
fn away(bench: &mut Bench) {
    bench.slowest = 1_000_000;
    bench.launch(1, 3, 100);
    bench.run_until(2000, "threads", |b| b.running.len() == WARPS);
    assert!(bench.save(1, area(1)));
    let head = bench.header(area(1));
    assert_eq!((head.records(), head.next()), (WARPS as u64, WARPS as u64));
    let entry = LaunchEntry::from_bytes(&bench.memory.read(area(1), 64).try_into().expect("64"));
    assert_eq!(entry, launch_bench::entry(1, 3, 100));
    assert_eq!((bench.b.get("idle_o"), bench.running.len()), (1, 0));
}

#[test]
fn a_kill_comes_at_any_moment_of_a_restore() {
    for offset in 0..250 {
        for by_ctx in [false, true] {
            let mut bench = Bench::new(4 + offset % 2, fine);
            away(&mut bench);
            bench.restore(area(1));
            (0..offset).for_each(|_| bench.step());
            let victim = if by_ctx { 3 } else { 1 };
            let status = if by_ctx {
                JobStatus::Stopped
            } else {
                JobStatus::Killed
            };
            let job = bench.jobs.get_mut(&1).expect("launched");
            (job.status, job.lost) = (status as u64, true);
            bench.kill = Some((by_ctx, victim));
            bench.run_until(1500, "the end of the kill", |b| b.kill.is_none());
            if !bench.jobs[&1].completed {
                // It was still in the ring.
                assert!(offset < 150, "offset {offset}");
                bench.run_until(300, "the job", |b| !b.running.is_empty());
                bench.kill = Some((by_ctx, victim));
                bench.run_until(1500, "the end of the kill", |b| b.kill.is_none());
            }
            assert!(bench.jobs[&1].completed, "offset {offset}");
            bench.slowest = 20;
            bench.launch(2, 1, 10);
            bench.run_until(3000, "the next job", Bench::all_done);
        }
    }
}

#[test]
fn a_hold_comes_at_any_moment_of_a_restore() {
    for offset in (0..250).step_by(3) {
        let mut bench = Bench::new(4 + offset % 2, fine);
        away(&mut bench);
        bench.restore(area(1));
        (0..offset).for_each(|_| bench.step());
        bench.hold = Some((1, true));
        bench.run_until(500, "the end of the hold", |b| b.hold.is_none());
        // Other jobs go on in the warps that are left, if it holds some.
        bench.slowest = 20;
        if bench.b.get("held_mask_o") != 0 && bench.running.len() < WARPS {
            bench.launch(2, 1, 10);
            bench.run_until(3000, "the next job", |b| b.jobs[&2].completed);
        }
        bench.held.clear();
        bench
            .running
            .iter_mut()
            .for_each(|t| t.due = bench.cycle + 10);
        bench.hold = Some((1, false));
        bench.run_until(20_000, "the last completion", Bench::all_done);
        assert_eq!((bench.jobs[&1].dealt, bench.jobs[&1].ended), (100, 100));
    }
}

#[test]
fn a_save_waits_for_no_warp_that_a_saved_thread_waits_for() {
    let mut bench = Bench::new(5, fine);
    away(&mut bench);
    bench.launch(2, 1, 100);
    bench.run_until(2000, "threads", |b| b.running.len() == WARPS);
    bench.restore(area(1));
    (0..300).for_each(|_| bench.step());
    // A record is at the port. Both the other job and this one can be saved.
    assert!(bench.save(1, area(1)));
    assert_eq!(bench.header(area(1)).records(), WARPS as u64);
    bench.restore(area(1));
    (0..300).for_each(|_| bench.step());
    assert!(bench.save(2, area(2)));
    bench.slowest = 20;
    bench.restore(area(2));
    bench.run_until(50_000, "the last completion", Bench::all_done);
}

#[test]
fn what_cannot_be_an_area_stops_the_ring() {
    let wrong: [(u64, u64); 5] = [
        (0, 1),
        (0, 0xff << 32),
        (8, 1),
        (8, 0x7f << 16),
        (8, 0xff << 56),
    ];
    for (word, bits) in wrong {
        let mut bench = Bench::new(1, fine);
        away(&mut bench);
        let at = area(1) + 8 * word;
        let before = u64::from_le_bytes(bench.memory.read(at, 8).try_into().expect("8 bytes"));
        let changed = if bits == 0xff << 32 {
            before & 0xffff_ffff
        } else {
            before ^ bits
        };
        bench.memory.write_u64(at, changed);
        bench.restore(area(1));
        bench.run_until(500, "the error", |b| !b.errors.is_empty());
        assert_eq!(bench.errors, [ErrorCode::BadEntry as u64], "word {word}");
        assert_eq!((bench.b.get("stopped_o"), bench.b.get("cons_o")), (1, 1));
    }
    let mut bench = Bench::new(1, fine);
    away(&mut bench);
    bench.restore(area(1));
    // The entry, then nothing any more.
    bench.run_until(200, "the header", |b| b.port.tags().any(|tag| tag >= 128));
    bench.port.errors = 100;
    bench.run_until(500, "the error", |b| !b.errors.is_empty());
    assert_eq!(bench.errors, [ErrorCode::RingFetch as u64]);
    assert_eq!((bench.b.get("stopped_o"), bench.b.get("cons_o")), (1, 1));
}

#[test]
fn threads_that_cannot_come_back_are_failures() {
    for unread in [false, true] {
        let mut bench = Bench::new(1, fine);
        away(&mut bench);
        // The third one's place does not exist.
        let at = area(1) + HEADER + 2 * RECORD;
        let word = u64::from_le_bytes(bench.memory.read(at, 8).try_into().expect("8 bytes"));
        if !unread {
            bench.memory.write_u64(at, word | 0xff << 32);
        }
        bench.restore(area(1));
        bench.slowest = 20;
        bench.run_until(1000, "two threads", |b| b.units.restores == 2);
        if unread {
            bench.port.errors = 100;
            bench.run_until(200, "a failed read", |b| b.port.failed > 0);
            bench.port.errors = 0;
        }
        let job = bench.jobs.get_mut(&1).expect("launched");
        let status = if unread {
            JobStatus::MemoryError
        } else {
            JobStatus::BadEntry
        };
        (job.status, job.info, job.lost) = (status as u64, at, true);
        bench.run_until(20_000, "the completion", Bench::all_done);
        assert_eq!((bench.jobs[&1].dealt, bench.jobs[&1].ended), (100, 99));
    }
}

#[test]
fn a_job_that_is_not_here_is_not_saved() {
    let mut bench = Bench::new(1, fine);
    bench.launch(1, 1, 4);
    assert!(!bench.save(7, area(7)));
    bench.run_until(1000, "the job", Bench::all_done);
    (0..20).for_each(|_| bench.step());
    assert!(!bench.save(1, area(1)));
}
