//! More jobs than the device can run at once: they take turns.

use crate::common::programs::{self, count, spin, wait_change};
use crate::common::{Machine, PAGE, Setup, for_seeds, run};
use hmm_core::{Errno, sync};
use std::sync::Arc;

/// A machine whose jobs run for `slice` cycles when others wait.
fn sliced(seed: u64, slice: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.config.slice = Some(slice);
    setup
}

/// Runs a test with many seeds, and slices of many lengths.
fn for_slices(seeds: std::ops::Range<u64>, body: impl Fn(&Machine) + Send + Sync + Copy + 'static) {
    for seed in seeds {
        run(sliced(seed, 500 + 397 * seed), body);
    }
}

#[test]
fn a_job_behind_endless_ones_runs() {
    for_slices(0..6, |m| {
        let p = m.process();
        let buf = p.map(1);
        // More than the device has job slots; the first one takes all warps.
        let endless: Vec<_> = (0..6)
            .map(|i| p.start(&spin(), &[], if i == 0 { 64 } else { 1 }))
            .map(|job| job.expect("launch"))
            .collect();
        let late = p.start(&programs::store(), &[buf.0, 5], 1).expect("launch");
        assert_eq!(late.wait(), Ok(0));
        assert_eq!(p.cpu_load(buf), 5);
        assert!(m.stat("driver_job_saves") > 0);
        for job in &endless {
            assert!(!job.done());
            job.kill().expect("kill");
            assert_eq!(job.wait().expect_err("killed").errno, Errno::EINTR);
        }
        p.end();
    });
}

#[test]
fn jobs_that_take_turns_lose_nothing() {
    for_slices(0..12, |m| {
        let p = m.process();
        let buf = p.map(10 * 4);
        let job = |i: u64| {
            let at = buf + i * 4 * PAGE;
            // Some have more threads than the device has warps.
            p.start(
                &count(),
                &[at.0, 4, 40],
                if i.is_multiple_of(3) { 70 } else { 4 },
            )
            .expect("launch")
        };
        let jobs: Vec<_> = (0..10).map(job).collect();
        for job in &jobs {
            assert_eq!(job.wait(), Ok(0));
        }
        for i in 0..40 {
            assert_eq!(p.cpu_load(buf + i * PAGE), 40, "page {i}");
        }
        p.end();
        assert_eq!(m.stat("vram_pages_programs"), 0);
    });
}

#[test]
fn a_job_that_waits_for_a_fault_lets_others_run() {
    for_slices(0..6, |m| {
        let p = m.process();
        let buf = p.map(8);
        let waits: Vec<_> = (0..6)
            .map(|i| p.start(&wait_change(), &[(buf + i * PAGE).0, 0], 1))
            .map(|job| job.expect("launch"))
            .collect();
        assert_eq!(p.store(buf + 6 * PAGE, 3), Ok(0));
        // The last ones first: they have been saved by then, or were never started.
        for (i, job) in (0..6).rev().zip(waits.iter().rev()) {
            p.cpu_store(buf + i * PAGE, 10 + i);
            assert_eq!(job.wait(), Ok(10 + i));
        }
        p.end();
    });
}

#[test]
fn a_suspended_job_makes_room_at_once() {
    run(sliced(3, 1_000_000), |m| {
        let p = m.process();
        let buf = p.map(1);
        // It takes all warps.
        let held = p.start(&wait_change(), &[buf.0, 0], 64).expect("launch");
        m.pause(3000);
        held.suspend().expect("suspend");
        assert_eq!(p.store(buf + 8, 7), Ok(0));
        assert_eq!(m.stat("driver_job_saves"), 1);
        p.cpu_store(buf, 5);
        m.pause(500);
        assert!(!held.done());
        held.suspend().expect("it is suspended");
        held.resume().expect("resume");
        assert_eq!(held.wait(), Ok(5));
        p.end();
    });
}

#[test]
fn jobs_are_suspended_killed_and_closed_in_the_middle_of_a_slice() {
    for_slices(0..40, |m| {
        let p = m.process();
        let buf = p.map(8);
        let jobs: Vec<_> = (0..8)
            .map(|i| p.start(&count(), &[(buf + i * PAGE).0, 1, 100_000], 8))
            .map(|job| Arc::new(job.expect("launch")))
            .collect();
        m.pause(50 + m.seed_steps());
        let victims: Vec<_> = jobs
            .iter()
            .enumerate()
            .map(|(i, job)| {
                let job = Arc::clone(job);
                sync::spawn(move || match i % 4 {
                    0 => job.kill().expect("kill"),
                    1 => {
                        job.suspend().expect("suspend");
                        job.resume().expect("resume");
                    }
                    2 => job.suspend().expect("suspend"),
                    _ => assert!(!job.done()),
                })
            })
            .collect();
        for victim in victims {
            victim.join();
        }
        for (i, job) in jobs.iter().enumerate() {
            assert_eq!(job.done(), i % 4 == 0, "job {i}");
        }
        m.pause(m.seed_steps());
        p.context.close().expect("close");
        for (i, job) in jobs.iter().enumerate() {
            let errno = job.wait().expect_err("ended").errno;
            let want = if i % 4 == 0 {
                Errno::EINTR
            } else {
                Errno::ESRCH
            };
            assert_eq!(errno, want, "job {i}");
        }
        p.end();
    });
}

#[test]
fn without_slices_jobs_run_to_their_ends() {
    let mut setup = Setup::new(1);
    setup.config.slice = None;
    run(setup, |m| {
        let p = m.process();
        let buf = p.map(1);
        let endless: Vec<_> = (0..4)
            .map(|_| p.start(&spin(), &[], 1).expect("launch"))
            .collect();
        let late = p.start(&programs::store(), &[buf.0, 5], 1).expect("launch");
        m.pause(3000);
        assert!(!late.done());
        assert_eq!(m.stat("driver_job_saves"), 0);
        endless[2].kill().expect("kill");
        assert_eq!(late.wait(), Ok(0));
        p.end();
    });
    let mut setup = Setup::new(1);
    setup.config.slice = Some(0);
    for_seeds(0..1, move |m| {
        let mut setup = setup.clone();
        setup.config.owner = 9;
        let board = m.bare_board(setup.clone());
        let refused = hmmu_driver::Device::probe(board, Arc::clone(&m.sys), setup.config);
        let error = refused.err().expect("refused");
        assert!(error.to_string().contains("slice"), "{error}");
    });
}
