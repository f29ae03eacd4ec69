//! Harvests of what the device has written, by its dirty log.

use crate::common::programs::count;
use crate::common::{Machine, PAGE, Process, Setup, run};
use hmm_core::{Errno, HUGE_PAGES, MmapOptions, Pfn, Prot, Va, sync};
use hmmu_driver::{DriverError, MigrateOnFault, TablePlace};
use std::sync::Arc;

fn setup(seed: u64, log2: u32) -> Setup {
    let mut setup = Setup::new(seed);
    setup.config.dirty_log = Some(log2);
    if seed % 2 == 1 {
        setup.config.tables = TablePlace::System;
    }
    setup
}

/// First page, counted from `buf`, and pages of each range.
fn harvest(p: &Process, buf: Va) -> Vec<(u64, u64)> {
    let ranges = p.context.harvest_written().expect("harvest");
    let shape = |start: Va, end: Va| ((start - buf) / PAGE, (end - start) / PAGE);
    ranges.iter().map(|r| shape(r.start, r.end)).collect()
}

/// The page behind an address.
fn pfn(p: &Process, va: Va) -> Pfn {
    p.mm.pte(va).pfn().expect("a page")
}

#[test]
fn a_harvest_tells_of_each_written_page_once() {
    for seed in 0..6 {
        run(setup(seed, 3), |m| {
            let p = m.process();
            let buf = p.map(40);
            p.cpu_fill(buf, 40, 1);
            assert_eq!(harvest(&p, buf), []);
            p.check(buf, 40, 1);
            assert_eq!(harvest(&p, buf), [], "only read");
            p.fill(buf + 3 * PAGE, 20, 50).expect("fill");
            p.fill(buf + 30 * PAGE, 1, 90).expect("fill");
            assert_eq!(harvest(&p, buf), [(3, 20), (30, 1)]);
            assert!(m.sys.is_page_dirty(pfn(&p, buf + 22 * PAGE)));
            assert_eq!(harvest(&p, buf), []);
            // The entries are there still, and the next store is told of.
            let faults = m.stat("driver_fault_records");
            p.fill(buf + 4 * PAGE, 2, 70).expect("fill");
            assert_eq!(harvest(&p, buf), [(4, 2)]);
            assert_eq!(m.stat("driver_fault_records"), faults);
            p.cpu_check(buf + 4 * PAGE, 2, 70);
            p.end();
        });
    }
}

#[test]
fn records_that_wait_for_room_are_waited_for() {
    for seed in 0..8 {
        run(setup(seed, 1), |m| {
            let p = m.process();
            let buf = p.map(16);
            p.cpu_fill(buf, 16, 1);
            p.fill(buf, 16, 50).expect("fill");
            assert_eq!(harvest(&p, buf), [(0, 16)]);
            assert_eq!(harvest(&p, buf), []);
            p.end();
        });
    }
}

#[test]
fn pages_that_went_meanwhile_are_told_of() {
    run(setup(1, 4), |m| {
        let p = m.process();
        let (buf, other) = (p.map(8), p.map(2));
        p.fill(buf, 8, 1).expect("fill");
        p.mm.munmap(buf + 2 * PAGE, PAGE).expect("munmap");
        p.to_device(buf + 4 * PAGE, 2);
        assert_eq!(harvest(&p, buf), [(0, 8)]);
        // In device memory now.
        p.fill(buf + 4 * PAGE, 2, 9).expect("fill");
        assert_eq!(harvest(&p, buf), [(4, 2)]);
        p.cpu_check(buf + 4 * PAGE, 2, 9);
        // A page written before a fork is the child's too, and its next store in the parent is a store.
        let child = m.attach(p.mm.fork().expect("fork"));
        p.fill(other, 2, 5).expect("fill");
        assert_eq!(harvest(&p, other), [(0, 2)]);
        assert_eq!(harvest(&child, other), []);
        child.end();
        p.end();
    });
}

/// Jobs count in pages while they are harvested: what a page holds at the end was there at its last harvest, or it is
/// told of once more.
fn storm(m: &Machine, pages: u64) {
    let p = m.process();
    let buf = p.map(pages);
    let look = move |p: &Process, page: u64| p.cpu_load(buf + page * PAGE);
    let job = p.start(&count(), &[buf.0, pages, 40], 4).expect("launch");
    let theirs = p.clone();
    let harvester = sync::spawn(move || {
        let mut seen = vec![0; pages as usize];
        let mut told = 0;
        while theirs.context.stats().is_ok() && told < 60 * pages {
            for (first, count) in harvest(&theirs, buf) {
                for page in first..first + count {
                    seen[page as usize] = look(&theirs, page);
                }
                told += count;
            }
            if seen.iter().all(|&seen| seen == 40) {
                break;
            }
        }
        (seen, told)
    });
    assert_eq!(job.wait(), Ok(0));
    let (seen, told) = harvester.join();
    assert!(told >= pages, "{told}");
    assert_eq!(seen, vec![40; pages as usize]);
    assert_eq!(harvest(&p, buf), []);
    p.end();
}

#[test]
fn harvests_while_jobs_write_miss_no_store() {
    for seed in 0..40 {
        let mut setup = setup(seed, 1 + seed as u32 % 4);
        if seed % 3 == 2 {
            setup.config.policy = Arc::new(MigrateOnFault { block_pages: 4 });
        }
        run(setup, |m| storm(m, 6));
    }
}

#[test]
fn a_large_page_is_told_of_whole() {
    let mut setup = setup(3, 4);
    setup.ram_pages = 6 * HUGE_PAGES;
    setup.vram_pages = 4 * HUGE_PAGES;
    run(setup, |m| {
        let p = m.process();
        let options = MmapOptions {
            huge: true,
            ..MmapOptions::default()
        };
        let buf =
            p.mm.mmap(HUGE_PAGES * PAGE, Prot::READ_WRITE, options)
                .expect("mmap");
        p.cpu_store(buf, 1);
        p.fill(buf + 100 * PAGE, 1, 5).expect("fill");
        assert_eq!(harvest(&p, buf), [(0, HUGE_PAGES)]);
        p.fill(buf + 200 * PAGE, 1, 5).expect("fill");
        assert_eq!(harvest(&p, buf), [(0, HUGE_PAGES)]);
        assert!(m.sys.is_page_dirty(pfn(&p, buf + 300 * PAGE)));
        p.end();
    });
}

#[test]
fn without_a_log_and_after_the_end_there_is_no_harvest() {
    run(Setup::new(1), |m| {
        let p = m.process();
        let error = p.context.harvest_written().expect_err("no log");
        assert_eq!(error.errno(), Errno::EOPNOTSUPP);
        p.end();
    });
    run(setup(1, 4), |m| {
        let p = m.process();
        p.clone().end();
        let error = p.context.harvest_written().expect_err("closed");
        assert!(matches!(error, DriverError::Closed), "{error}");
    });
}

#[test]
fn a_log_of_no_or_too_many_records_is_refused() {
    for log2 in [0, 16] {
        let result = sync::run(1, move || {
            let m = Machine::new(Setup::new(1));
            let setup = setup(1, log2);
            let hw = m.bare_board(Setup::new(2));
            let mut config = setup.config;
            config.owner = 9;
            let error = hmmu_driver::Device::probe(hw, Arc::clone(&m.sys), config).err();
            assert!(matches!(error, Some(DriverError::Config(_))), "{error:?}");
            m.finish();
        });
        assert_eq!(result, Ok(()));
    }
}
