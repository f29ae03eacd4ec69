//! Two host threads, the fault worker and running jobs at once, under many schedules.

use crate::common::programs::{count, fill};
use crate::common::{PAGE, Process, Setup, run, run_switching};
use hmm_core::{Advice, Errno, Va, sync};
use hmmu_driver::MigrateOnFault;
use std::sync::Arc;

const PAGES: u64 = 12;

/// Reads pages with the CPU: each word is what was there before, or what the device writes.
fn reader(p: &Process, buf: Va, allowed: impl Fn(u64, u64) -> bool) {
    for round in 0..3 {
        for i in 0..PAGES {
            let page = (i * 5 + round) % PAGES;
            let seen = p.cpu_load(buf + page * PAGE);
            assert!(allowed(page, seen), "CPU read {seen:#x} in page {page}");
        }
    }
}

/// Moves pages to and fro.
fn mover(p: &Process, buf: Va) {
    for i in 0..3 {
        let at = buf + (i * 3) * PAGE;
        let moved = p.context.migrate_to_device(at, 3 * PAGE);
        assert!(
            matches!(&moved, Ok(3)) || moved.as_ref().is_err_and(|e| e.errno() == Errno::ENOENT),
            "{moved:?}"
        );
        p.context
            .migrate_to_system(at + PAGE, PAGE)
            .expect("to system");
    }
}

fn together(setup: Setup) {
    run(setup, |m| {
        let p = m.process();
        let (buf, sums) = (p.map(PAGES), p.map(4));
        p.cpu_fill(buf, PAGES, 100);
        let writes = p.start(&fill(), &[buf.0, PAGES, 500], 3).expect("launch");
        let counts = p.start(&count(), &[sums.0, 4, 6], 4).expect("launch");
        let (a, b) = (p.clone(), p.clone());
        let reads = sync::spawn(move || {
            reader(&a, buf, |page, seen| {
                seen == 100 + page || seen == 500 + page
            })
        });
        let moves = sync::spawn(move || mover(&b, buf));
        // The CPU counts too: an atomic that is lost or done twice shows in the sum.
        for page in 0..4 {
            let _ = p.cpu_load(sums + page * PAGE + 8);
        }
        assert_eq!(writes.wait(), Ok(u64::MAX));
        assert_eq!(counts.wait(), Ok(0));
        reads.join();
        moves.join();
        p.cpu_check(buf, PAGES, 500);
        for page in 0..4 {
            assert_eq!(
                p.cpu_load(sums + page * PAGE),
                6,
                "the count in page {page}"
            );
        }
        p.end();
    });
}

#[test]
fn two_threads_a_worker_and_two_jobs_under_100_seeds() {
    for seed in 0..100 {
        let mut setup = Setup::new(seed);
        if seed % 2 == 1 {
            setup.config.policy = Arc::new(MigrateOnFault { block_pages: 4 });
        }
        // Little room now and then.
        setup.vram_pages = if seed % 5 == 4 { 24 } else { 128 };
        together(setup);
    }
}

#[test]
fn unmapping_and_dropping_race_with_jobs() {
    for seed in 0..30 {
        let mut setup = Setup::new(seed);
        if seed % 2 == 1 {
            setup.config.policy = Arc::new(MigrateOnFault { block_pages: 4 });
        }
        run(setup, |m| {
            let p = m.process();
            let (buf, gone) = (p.map(PAGES), p.map(4));
            p.cpu_fill(buf, PAGES, 100);
            p.cpu_fill(gone, 4, 1);
            let kept = p.start(&fill(), &[buf.0, PAGES, 500], 4).expect("launch");
            let lost = p.start(&fill(), &[gone.0, 4, 9], 2).expect("launch");
            let (a, b) = (p.clone(), p.clone());
            let drops = sync::spawn(move || {
                for page in 0..PAGES / 2 {
                    a.mm.madvise(buf + page * PAGE, PAGE, Advice::DontNeed)
                        .expect("madvise");
                }
            });
            let unmaps = sync::spawn(move || b.mm.munmap(gone, 4 * PAGE).expect("munmap"));
            assert_eq!(kept.wait(), Ok(u64::MAX));
            if let Err(error) = lost.wait() {
                assert_eq!(error.errno, Errno::EFAULT);
            }
            drops.join();
            unmaps.join();
            for page in 0..PAGES {
                let seen = p.cpu_load(buf + page * PAGE);
                assert!(
                    seen == 500 + page || seen == 0 && page < PAGES / 2,
                    "page {page} holds {seen}"
                );
            }
            p.end();
        });
    }
}

/// A page next to one that fails is looked up by itself.
#[test]
fn a_page_by_itself_is_not_mapped_again_after_its_end() {
    for seed in 0..1000 {
        run_switching(Setup::new(seed), 2, move |m| {
            let p = m.process();
            let gone = p.map(2);
            p.mm.munmap(gone + PAGE, PAGE).expect("munmap");
            let job = p.start(&fill(), &[gone.0, 2, 9], 2).expect("launch");
            let (theirs, device) = (p.clone(), Arc::clone(&m.device));
            let unmaps = sync::spawn(move || {
                // Until the faults are being served.
                while device.rounds() == 0 {
                    sync::yield_now();
                }
                for _ in 0..seed % 8 {
                    sync::yield_now();
                }
                theirs.mm.munmap(gone, PAGE).expect("munmap");
            });
            assert_eq!(job.wait().expect_err("unmapped").errno, Errno::EFAULT);
            unmaps.join();
            p.end();
        });
    }
}

#[test]
fn fork_races_with_a_writing_job() {
    for seed in 0..30 {
        run(Setup::new(seed), |m| {
            let p = m.process();
            let buf = p.map(PAGES);
            p.cpu_fill(buf, PAGES, 100);
            p.to_device(buf, PAGES / 2);
            let job = p.start(&fill(), &[buf.0, PAGES, 500], 4).expect("launch");
            let parent = p.clone();
            let forks = sync::spawn(move || parent.mm.fork().expect("fork"));
            assert_eq!(job.wait(), Ok(u64::MAX));
            let child = m.attach(forks.join());
            p.cpu_check(buf, PAGES, 500);
            // The child has each word as it was at some moment of the fork, and keeps it.
            let seen: Vec<u64> = (0..PAGES)
                .map(|page| child.cpu_load(buf + page * PAGE))
                .collect();
            for (page, word) in (0..).zip(&seen) {
                assert!(
                    *word == 100 + page || *word == 500 + page,
                    "page {page} holds {word}"
                );
            }
            p.fill(buf, PAGES, 900).expect("fill");
            let after: Vec<u64> = (0..PAGES)
                .map(|page| child.cpu_load(buf + page * PAGE))
                .collect();
            assert_eq!(seen, after);
            child.end();
            p.end();
        });
    }
}

#[test]
fn exit_races_with_copies_and_faults() {
    for seed in 0..30 {
        run(Setup::new(seed), move |m| {
            let p = m.process();
            let (a, b) = (p.map(PAGES), p.map(PAGES));
            p.cpu_fill(a, PAGES, 1);
            p.to_device(a, PAGES);
            let job = p.start(&fill(), &[b.0, PAGES, 500], 4).expect("launch");
            let copier = p.clone();
            let copies = sync::spawn(move || copier.context.copy(b, a, PAGES * PAGE));
            m.pause((seed % 40) as usize);
            p.mm.exit();
            if let Err(error) = copies.join() {
                assert!(
                    matches!(error.errno(), Errno::ESRCH | Errno::EBADF | Errno::EFAULT),
                    "{error}"
                );
            }
            if let Err(error) = job.wait() {
                assert!(
                    matches!(error.errno, Errno::ESRCH | Errno::EFAULT),
                    "{error}"
                );
            }
            p.context.close().expect("close");
        });
    }
}
