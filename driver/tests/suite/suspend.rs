//! Jobs that are suspended and resumed.

use crate::common::programs::{self, count, spin};
use crate::common::{Machine, PAGE, Process, Setup, for_seeds, run};
use hmm_core::{Errno, Va, sync};
use hmmu_driver::Job;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A job that counts in the first words of `pages` pages, `rounds` times. It leaves half of the warps to others.
fn counting(p: &Process, buf: Va, pages: u64, rounds: u64) -> Job {
    p.start(&count(), &[buf.0, pages, rounds], 4)
        .expect("launch")
}

fn words(p: &Process, buf: Va, pages: u64) -> Vec<u64> {
    (0..pages).map(|i| p.cpu_load(buf + i * PAGE)).collect()
}

fn until_counts(m: &Machine, p: &Process, buf: Va, from: u64) {
    for _ in 0..20_000 {
        if p.cpu_load(buf) != from {
            return;
        }
        m.pause(1);
    }
    panic!("the job does not count");
}

#[test]
fn a_suspended_job_stands_still_while_its_pages_move() {
    for_seeds(0..6, |m| {
        let p = m.process();
        let buf = p.map(8);
        let job = counting(&p, buf, 8, 500);
        until_counts(m, &p, buf, 0);
        for round in 0..4 {
            m.pause(m.seed_steps());
            match job.suspend() {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!((error.errno(), job.done()), (Errno::ESRCH, true));
                    break;
                }
            }
            let still = words(&p, buf, 8);
            if round % 2 == 0 {
                // The fault worker may be at work on a page that the job waits for.
                let moved = p.context.migrate_to_device(buf, 8 * PAGE);
                assert!(moved.is_ok() || moved.is_err_and(|e| e.errno() == Errno::ENOENT));
            }
            m.pause(100);
            assert_eq!(p.load(buf + PAGE), Ok(still[1]), "others run");
            assert_eq!(words(&p, buf, 8), still);
            assert!(!job.done());
            job.resume().expect("resume");
        }
        assert_eq!(job.wait(), Ok(0));
        assert_eq!(words(&p, buf, 8), [500; 8]);
        p.end();
    });
}

#[test]
fn it_may_be_asked_for_at_once() {
    for_seeds(0..20, |m| {
        let p = m.process();
        let buf = p.map(4);
        // The device may not have taken the job from its ring yet.
        let job = counting(&p, buf, 4, 50);
        job.suspend().expect("suspend");
        job.suspend().expect("suspend again");
        let still = words(&p, buf, 4);
        m.pause(200);
        assert_eq!(words(&p, buf, 4), still);
        job.resume().expect("resume");
        job.resume().expect("resume again");
        assert_eq!(job.wait(), Ok(0));
        assert_eq!(words(&p, buf, 4), [50; 4]);
        for ended in [job.suspend(), job.resume()] {
            assert_eq!(ended.expect_err("it has ended").errno(), Errno::ESRCH);
        }
        p.end();
    });
}

#[test]
fn a_job_that_waits_for_a_slot_is_not_started() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(2);
        let blockers: Vec<Job> = (0..4)
            .map(|_| p.start(&spin(), &[], 1).expect("launch"))
            .collect();
        let store = |at, value| {
            p.start(&programs::store(), &[buf.0 + at, value], 1)
                .expect("launch")
        };
        let (held, late) = (store(0, 7), store(8, 8));
        held.suspend().expect("suspend");
        blockers[0].kill().expect("kill");
        assert_eq!(late.wait(), Ok(0), "it overtakes the held one");
        m.pause(200);
        assert_eq!((p.cpu_load(buf), held.done()), (0, false));
        held.resume().expect("resume");
        assert_eq!(held.wait(), Ok(0));
        assert_eq!(p.cpu_load(buf), 7);
        for job in &blockers {
            job.kill().expect("kill");
        }
        p.end();
    });
}

#[test]
fn a_held_job_dies_with_its_process() {
    for_seeds(0..6, |m| {
        let how = m.seed_steps() / 7 % 3;
        let p = m.process();
        let buf = p.map(4);
        let job = counting(&p, buf, 4, 1_000_000_000);
        m.pause(m.seed_steps());
        job.suspend().expect("suspend");
        match how {
            0 => p.mm.exit(),
            1 => p.context.close().expect("close"),
            _ => job.kill().expect("kill"),
        }
        let errno = if how == 2 { Errno::EINTR } else { Errno::ESRCH };
        assert_eq!(job.wait().expect_err("it was ended").errno, errno);
        assert_eq!(job.resume().expect_err("ended").errno(), Errno::ESRCH);
        let q = m.process();
        let other = q.map(1);
        assert_eq!(q.store(other, 3), Ok(0), "its slot is free");
        q.end();
        if how == 2 {
            p.end();
        }
    });
}

#[test]
fn time_in_which_it_is_held_does_not_count() {
    let mut setup = Setup::new(3);
    setup.config.timeouts.job = Some(100_000);
    run(setup, |m| {
        let p = m.process();
        let buf = p.map(1);
        let job = counting(&p, buf, 1, 20);
        job.suspend().expect("suspend");
        m.pause(10_000);
        job.resume().expect("resume");
        assert_eq!(job.wait(), Ok(0));
        let job = p.start(&spin(), &[], 1).expect("launch");
        assert_eq!(job.wait().expect_err("too long").errno, Errno::ETIMEDOUT);
        p.end();
    });
}

#[test]
fn of_several_callers_the_last_one_is_heard() {
    for_seeds(0..30, |m| {
        let p = m.process();
        let buf = p.map(2);
        let job = Arc::new(counting(&p, buf, 2, 60));
        let callers: Vec<_> = [true, false, true]
            .into_iter()
            .map(|on| {
                let job = Arc::clone(&job);
                sync::spawn(move || {
                    let told = if on { job.suspend() } else { job.resume() };
                    if let Err(error) = told {
                        assert_eq!(error.errno(), Errno::ESRCH);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join();
        }
        if job.resume().is_ok() {
            m.pause(1);
        }
        assert_eq!(job.wait(), Ok(0), "it was left held");
        assert_eq!(words(&p, buf, 2), [60; 2]);
        p.end();
    });
}

#[test]
fn a_device_that_hangs_ends_the_call() {
    let result = sync::run(1, || {
        let m = Machine::new(Setup::new(1));
        let p = m.process();
        let job = p.start(&spin(), &[], 1).expect("launch");
        m.board.hung.store(true, Ordering::Relaxed);
        let error = job.suspend().expect_err("no answer");
        assert_eq!(error.errno(), Errno::EIO);
        assert!(m.device.lost().is_some());
        assert_eq!(job.resume().expect_err("lost").errno(), Errno::EIO);
        m.device.shutdown();
    });
    assert_eq!(result.err(), None);
}
