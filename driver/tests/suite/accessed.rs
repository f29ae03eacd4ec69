//! Harvests of what the device has used, by the accessed bits of its tables.

use crate::common::programs::count;
use crate::common::{Machine, PAGE, Process, Setup, run};
use hmm_core::{Errno, HUGE_PAGES, MmapOptions, Prot, Va, sync};
use hmmu_driver::{DriverError, MigrateOnFault, TablePlace};
use std::sync::Arc;

const HUGE: u64 = HUGE_PAGES * PAGE;

fn setup(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    if seed % 2 == 1 {
        setup.config.tables = TablePlace::System;
    }
    setup
}

/// The pages that are told of.
fn harvest(p: &Process, start: Va, pages: u64) -> Vec<u64> {
    let told = p.context.harvest_accessed(start, pages * PAGE);
    let told = told.expect("harvest");
    assert_eq!(told.len() as u64, pages);
    (0..)
        .zip(told)
        .filter(|(_, used)| *used)
        .map(|(page, _)| page)
        .collect()
}

#[test]
fn a_harvest_tells_of_each_used_page_once() {
    for seed in 0..6 {
        run(setup(seed), |m| {
            let p = m.process();
            let buf = p.map(90);
            p.cpu_fill(buf, 90, 1);
            assert_eq!(harvest(&p, buf, 90), []);
            p.check(buf + 3 * PAGE, 20, 4);
            p.fill(buf + 70 * PAGE, 1, 71).expect("fill");
            let used: Vec<u64> = (3..23).chain([70]).collect();
            assert_eq!(harvest(&p, buf, 90), used);
            assert_eq!(harvest(&p, buf, 90), []);
            // The entries are there still, and the next use is told of.
            let faults = m.stat("driver_fault_records");
            p.check(buf + 4 * PAGE, 2, 5);
            assert_eq!(harvest(&p, buf, 90), [4, 5]);
            assert_eq!(m.stat("driver_fault_records"), faults);
            // D is as it was.
            let dirty = p.context.dirty(buf, 90 * PAGE).expect("dirty");
            assert!(dirty[70] && !dirty[4]);
            p.cpu_check(buf, 90, 1);
            p.end();
        });
    }
}

#[test]
fn pages_out_of_the_range_are_told_of_when_they_are_asked_for() {
    for seed in 0..4 {
        run(setup(seed), |m| {
            let p = m.process();
            let buf = p.map(40);
            p.cpu_fill(buf, 40, 1);
            p.check(buf, 40, 1);
            assert_eq!(harvest(&p, buf + 5 * PAGE, 2), [0, 1]);
            // Their neighbours have lost their A bits and are used no more.
            let rest: Vec<u64> = (0..40).filter(|page| !(5..7).contains(page)).collect();
            assert_eq!(harvest(&p, buf, 40), rest);
            // What has gone in between is not told of.
            p.check(buf, 40, 1);
            assert_eq!(harvest(&p, buf + 8 * PAGE, 1), [0]);
            p.mm.munmap(buf + 9 * PAGE, PAGE).expect("munmap");
            assert_eq!(harvest(&p, buf + 9 * PAGE, 2), [1]);
            p.end();
        });
    }
}

#[test]
fn pages_in_device_memory_are_told_of() {
    for seed in 0..4 {
        let mut setup = setup(seed);
        setup.config.policy = Arc::new(MigrateOnFault { block_pages: 4 });
        run(setup, |m| {
            let p = m.process();
            let buf = p.map(16);
            p.cpu_fill(buf, 16, 1);
            p.to_device(buf, 16);
            assert_eq!(harvest(&p, buf, 16), []);
            p.check(buf + 6 * PAGE, 3, 7);
            assert_eq!(harvest(&p, buf, 16), [6, 7, 8]);
            p.cpu_check(buf, 16, 1);
            assert_eq!(harvest(&p, buf, 16), []);
            p.end();
        });
    }
}

fn map_huge(p: &Process) -> Va {
    let options = MmapOptions {
        huge: true,
        ..MmapOptions::default()
    };
    p.mm.mmap(HUGE, Prot::READ_WRITE, options).expect("mmap")
}

fn large(seed: u64) -> Setup {
    let mut setup = setup(seed);
    setup.ram_pages = 6 * HUGE_PAGES;
    setup.vram_pages = 4 * HUGE_PAGES;
    setup
}

#[test]
fn a_large_page_is_told_of_whole() {
    for seed in 0..2 {
        run(large(seed), |m| {
            let p = m.process();
            let buf = map_huge(&p);
            p.cpu_store(buf, 1);
            p.load(buf + 100 * PAGE).expect("load");
            let all: Vec<u64> = (0..HUGE_PAGES).collect();
            assert_eq!(harvest(&p, buf, HUGE_PAGES), all);
            assert_eq!(harvest(&p, buf, HUGE_PAGES), []);
            p.load(buf + 200 * PAGE).expect("load");
            assert_eq!(harvest(&p, buf + 7 * PAGE, 2), [0, 1]);
            p.end();
        });
    }
}

/// Jobs store to their pages in turn while they are harvested: a page that was stored to since one harvest is in the next.
fn storm(m: &Machine, pages: u64) {
    let p = m.process();
    let (buf, other) = (p.map(pages), p.map(8));
    p.cpu_fill(other, 8, 1);
    let look =
        |p: &Process| -> Vec<u64> { (0..pages).map(|i| p.cpu_load(buf + i * PAGE)).collect() };
    let job = p.start(&count(), &[buf.0, pages, 60], 4).expect("launch");
    // Others take pages away meanwhile, of the same table.
    let theirs = p.clone();
    let other = sync::spawn(move || {
        for round in 0..4 {
            theirs.check(other, 8, 1);
            theirs.to_device(other + round * PAGE, 2);
            theirs.cpu_check(other, 8, 1);
        }
    });
    let mut since = look(&p);
    let mut told = 0;
    while !job.done() {
        let now = look(&p);
        let used = harvest(&p, buf, pages);
        for page in 0..pages {
            let i = page as usize;
            assert!(
                now[i] == since[i] || used.contains(&page),
                "page {page} was missed"
            );
        }
        since = look(&p);
        told += used.len() as u64;
    }
    assert_eq!(job.wait(), Ok(0));
    other.join();
    assert!(told >= pages, "{told}");
    assert_eq!(look(&p), vec![60; pages as usize]);
    p.end();
}

#[test]
fn harvests_while_jobs_run_miss_no_use() {
    for seed in 0..30 {
        run(setup(seed), |m| storm(m, 6));
    }
}

/// Tables are taken out for large pages while their entries are being harvested.
#[test]
fn tables_that_go_are_left_alone() {
    for seed in 0..6 {
        run(large(seed), |m| {
            let p = m.process();
            let buf = map_huge(&p);
            let stop = Arc::new(sync::Mutex::new(false));
            let (theirs, stopped) = (p.clone(), Arc::clone(&stop));
            let harvester = sync::spawn(move || {
                while !*stopped.lock() {
                    harvest(&theirs, buf, HUGE_PAGES);
                    sync::yield_now();
                }
            });
            for round in 0..4 {
                p.mm.munmap(buf, HUGE).expect("munmap");
                let options = MmapOptions {
                    huge: round % 2 == 1,
                    at: Some(buf),
                    ..MmapOptions::default()
                };
                p.mm.mmap(HUGE, Prot::READ_WRITE, options).expect("mmap");
                for page in [0, 9, 100, 511] {
                    p.cpu_store(buf + page * PAGE, round + page);
                    assert_eq!(p.load(buf + page * PAGE), Ok(round + page));
                }
            }
            *stop.lock() = true;
            harvester.join();
            p.end();
        });
    }
}

#[test]
fn a_failed_read_of_a_table_loses_nothing() {
    let mut failed = 0;
    for nth in 1..12 {
        let (send, receive) = std::sync::mpsc::channel();
        run(setup(2 * nth + 1), move |m| {
            let p = m.process();
            let buf = p.map(64);
            p.cpu_fill(buf, 64, 1);
            p.check(buf, 64, 1);
            m.ram.fail_read(nth);
            let told = p.context.harvest_accessed(buf, 64 * PAGE);
            let mut used = vec![false; 64];
            if let Ok(told) = &told {
                used.clone_from(told);
            }
            for page in harvest(&p, buf, 64) {
                used[page as usize] = true;
            }
            assert_eq!(used, [true; 64], "read {nth}");
            let errno = told.err().map(|error| error.errno());
            send.send(errno).expect("send");
            p.end();
        });
        match receive.recv().expect("a finished run") {
            None => {}
            Some(errno) => {
                assert_eq!(errno, Errno::EIO);
                failed += 1;
            }
        }
    }
    assert!(failed > 4, "{failed}");
}

#[test]
fn ranges_that_are_none_and_a_closed_context_are_refused() {
    run(setup(1), |m| {
        let p = m.process();
        let buf = p.map(2);
        for (start, len) in [(buf, 0), (buf + 8, PAGE), (buf, 100)] {
            let error = p.context.harvest_accessed(start, len).expect_err("range");
            assert_eq!(error.errno(), Errno::EINVAL);
        }
        p.clone().end();
        let error = p.context.harvest_accessed(buf, PAGE).expect_err("closed");
        assert!(matches!(error, DriverError::Closed), "{error}");
    });
}
