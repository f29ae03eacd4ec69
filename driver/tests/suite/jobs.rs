//! Jobs that fail, are killed, or lose their process.

use crate::common::programs::{self, spin, wait_change};
use crate::common::{Machine, PAGE, Setup, for_seeds, run};
use hmm_core::{Errno, Va};

#[test]
fn a_killed_job_ends() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(1);
        let job = p.start(&spin(), &[], 3).expect("launch");
        m.pause(20);
        assert!(!job.done());
        job.kill().expect("kill");
        assert_eq!(job.wait().expect_err("killed").errno, Errno::EINTR);
        job.kill().expect("kill again");
        assert_eq!(p.store(buf, 1), Ok(0));
        p.end();
    });
}

#[test]
fn a_job_killed_before_it_starts_never_runs() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(1);
        // More than the device has job slots.
        let blockers: Vec<_> = (0..6)
            .map(|_| p.start(&spin(), &[], 1).expect("launch"))
            .collect();
        let late = p.start(&programs::store(), &[buf.0, 5], 1).expect("launch");
        late.kill().expect("kill");
        assert_eq!(late.wait().expect_err("killed").errno, Errno::EINTR);
        for job in &blockers {
            job.kill().expect("kill");
            assert_eq!(job.wait().expect_err("killed").errno, Errno::EINTR);
        }
        assert_eq!(p.cpu_load(buf), 0);
        p.end();
    });
}

#[test]
fn many_jobs_run_in_turn() {
    for_seeds(0..2, |m| {
        let p = m.process();
        let buf = p.map(20);
        let jobs: Vec<_> = (0..20)
            .map(|i| {
                p.start(&programs::store(), &[buf.0 + i * PAGE, i + 1], 1)
                    .expect("launch")
            })
            .collect();
        for job in jobs.iter().rev() {
            assert_eq!(job.wait(), Ok(0));
        }
        for i in 0..20 {
            assert_eq!(p.cpu_load(buf + i * PAGE), i + 1);
        }
        // The same program is uploaded once, and argument blocks are used again.
        let programs = m.stat("vram_pages_programs");
        for _ in 0..5 {
            p.store(buf, 3).expect("store");
        }
        assert_eq!(m.stat("vram_pages_programs"), programs);
        p.end();
    });
}

#[test]
fn wrong_programs_end_with_an_error() {
    for_seeds(0..2, |m| {
        let p = m.process();
        let buf = p.map(1);
        let illegal = hmmu_driver::Program {
            code: vec![0; 8],
            entry: 0,
            ..Default::default()
        };
        let error = p
            .context
            .launch(&illegal, &[], 1)
            .expect("launch")
            .wait()
            .expect_err("illegal");
        assert_eq!(error.errno, Errno::EINVAL);
        assert_eq!(
            p.load(buf + 1).expect_err("misaligned").errno,
            Errno::SIGBUS
        );
        for (code, entry, threads) in [(vec![], 0, 1), (vec![1; 4], 4, 1), (vec![1; 4], 0, 0)] {
            let program = hmmu_driver::Program {
                code,
                entry,
                ..Default::default()
            };
            let error = p
                .context
                .launch(&program, &[], threads)
                .err()
                .expect("unusable");
            assert_eq!(error.errno(), Errno::EINVAL);
        }
        // Code runs in the driver's half only.
        let jump = hmmu_driver::Program {
            code: programs::jump().code(),
            entry: 0,
            ..Default::default()
        };
        p.cpu_store(buf, 0x73);
        let error = p
            .context
            .launch(&jump, &[buf.0], 1)
            .expect("launch")
            .wait()
            .expect_err("no execute");
        assert_eq!(error.errno, Errno::EFAULT);
        p.end();
    });
}

#[test]
fn a_program_may_use_its_stack_and_many_arguments() {
    run(Setup::new(1), |m| {
        let p = m.process();
        let args: Vec<u64> = (0..2000).collect();
        let sum = p.run(&programs::sum_over_stack(), &args, 1);
        assert_eq!(sum, Ok((0..2000).sum()));
        p.end();
    });
}

#[test]
fn jobs_side_by_side_have_stacks_of_their_own() {
    for_seeds(0..2, |m| {
        let p = m.process();
        let keep = |value: u64| {
            p.start(&programs::keep_on_stack(), &[value, 200], 1)
                .expect("launch")
        };
        let jobs: Vec<_> = (1..=4).map(keep).collect();
        for job in &jobs {
            assert_eq!(job.wait(), Ok(0));
        }
        p.end();
    });
}

#[test]
fn a_programs_data_is_fresh_for_every_job_and_shared_by_its_threads() {
    for_seeds(0..2, |m| {
        let p = m.process();
        // Its first page is code, with the address of a word on the second one: threads add 1 to that word.
        let mut code = programs::add_at_word(64).code();
        code.resize(4096 + 16, 0);
        code[64..72].copy_from_slice(&4104_u64.to_le_bytes());
        code[4104..4112].copy_from_slice(&40_u64.to_le_bytes());
        let program = hmmu_driver::Program {
            code,
            entry: 0,
            writable: vec![4096],
            relative: vec![64],
        };
        let start = |threads| p.context.launch(&program, &[], threads).expect("launch");
        // Side by side, each with an image of its own, then again in one of these.
        let jobs: Vec<_> = (0..3).map(|_| start(5)).collect();
        let used = m.stat("vram_pages_programs");
        for job in &jobs {
            assert_eq!(
                job.wait(),
                Ok(40),
                "the first thread finds what the file says"
            );
        }
        for _ in 0..4 {
            assert_eq!(start(5).wait(), Ok(40));
        }
        assert_eq!(m.stat("vram_pages_programs"), used);
        p.end();
    });
}

#[test]
fn munmap_under_a_running_job_ends_it_with_an_error() {
    for_seeds(0..8, |m| {
        let p = m.process();
        let buf = p.map(8);
        p.cpu_fill(buf, 8, 0);
        let job = p.start(&wait_change(), &[buf.0, 0], 1).expect("launch");
        m.pause(10 + m.seed_steps());
        p.mm.munmap(buf, 8 * PAGE).expect("munmap");
        let error = job.wait().expect_err("its memory is gone");
        assert_eq!((error.errno, error.addr), (Errno::EFAULT, buf.0));
        p.end();
    });
}

#[test]
fn exit_under_a_running_job_ends_it_and_frees_everything() {
    for_seeds(0..8, |m| {
        let p = m.process();
        let buf = p.map(16);
        p.cpu_fill(buf, 16, 0);
        p.to_device(buf, 8);
        let job = p.start(&wait_change(), &[buf.0, 0], 2).expect("launch");
        let waiting: Vec<_> = (0..6)
            .map(|_| p.start(&spin(), &[], 1).expect("launch"))
            .collect();
        m.pause(5 + m.seed_steps());
        p.mm.exit();
        assert_eq!(
            job.wait().expect_err("its process is gone").errno,
            Errno::ESRCH
        );
        for job in waiting {
            assert_eq!(
                job.wait().expect_err("its process is gone").errno,
                Errno::ESRCH
            );
        }
        assert_eq!(m.device.vram_in_use(), 0);
        assert_eq!(m.sys.free_pages(), m.free_at_start);
        assert_eq!(
            p.start(&spin(), &[], 1).err().map(|e| e.errno()),
            Some(Errno::EBADF)
        );
        assert_eq!(
            p.context
                .copy(buf, buf + PAGE, 8)
                .expect_err("closed")
                .errno(),
            Errno::EBADF
        );
        p.context.close().expect("close after exit");
    });
}

#[test]
fn close_ends_a_job_that_waits_for_a_page() {
    for_seeds(0..6, |m| {
        let p = m.process();
        let buf = p.map(4);
        let job = p
            .start(&programs::fill(), &[buf.0, 4, 1], 4)
            .expect("launch");
        m.pause(m.seed_steps());
        p.context.close().expect("close");
        match job.wait() {
            Ok(_) => p.cpu_check(buf, 4, 1),
            Err(error) => assert_eq!(error.errno, Errno::ESRCH),
        }
        let again = m.attach(p.mm.clone());
        assert_eq!(again.fill(buf, 4, 9), Ok(u64::MAX));
        again.cpu_check(buf, 4, 9);
        again.end();
    });
}

#[test]
fn another_process_does_not_notice() {
    for_seeds(0..4, |m| {
        let (p, q) = (m.process(), m.process());
        let (a, b) = (p.map(8), q.map(8));
        q.cpu_fill(b, 8, 3);
        let lost = p.start(&spin(), &[a.0], 4).expect("launch");
        let kept = q
            .start(&programs::check(), &[b.0, 8, 3], 4)
            .expect("launch");
        p.mm.exit();
        assert_eq!(kept.wait(), Ok(u64::MAX));
        assert_eq!(
            lost.wait().expect_err("its process is gone").errno,
            Errno::ESRCH
        );
        q.fill(b, 8, 5).expect("fill");
        q.cpu_check(b, 8, 5);
        q.end();
    });
}

#[test]
fn a_job_that_runs_too_long_is_killed() {
    let mut setup = Setup::new(2);
    setup.config.timeouts.job = Some(20_000);
    run(setup, |m| {
        let p = m.process();
        assert_eq!(
            p.run(&spin(), &[], 1).expect_err("too long").errno,
            Errno::ETIMEDOUT
        );
        assert_eq!(p.store(p.map(1), 1), Ok(0));
        p.end();
    });
}

#[test]
fn one_seed_gives_one_run() {
    let figures = |seed| {
        let (send, receive) = std::sync::mpsc::channel();
        run(Setup::new(seed), move |m: &Machine| {
            let p = m.process();
            let buf = p.map(32);
            p.cpu_fill(buf, 32, 1);
            p.to_device(buf, 16);
            p.check(buf, 32, 1);
            p.fill(buf, 32, 2).expect("fill");
            p.cpu_check(buf, 32, 2);
            send.send(m.device.stats().expect("stats")).expect("send");
            p.end();
        });
        receive.recv().expect("figures")
    };
    assert_eq!(figures(11), figures(11));
    assert_ne!(figures(11), figures(12));
}

#[test]
fn closed_and_foreign_ranges_are_refused() {
    run(Setup::new(9), |m| {
        let p = m.process();
        let buf = p.map(1);
        p.context.close().expect("close");
        assert_eq!(
            p.context.snapshot(buf, PAGE).expect_err("closed").errno(),
            Errno::EBADF
        );
        assert_eq!(
            p.context
                .migrate_to_device(buf, PAGE)
                .expect_err("closed")
                .errno(),
            Errno::EBADF
        );
        assert_eq!(
            p.context
                .snapshot(Va(1), PAGE)
                .expect_err("unaligned")
                .errno(),
            Errno::EINVAL
        );
        p.mm.exit();
    });
}
