//! Pages of 2 MiB: mapped by one entry, moved by one descriptor, split when a part changes.

use crate::common::programs::fill;
use crate::common::{Machine, PAGE, Process, Setup, run};
use hmm_core::{Advice, Errno, HUGE_PAGES, MmapOptions, Prot, Va, sync};
use hmmu_driver::MigrateOnFault;
use std::sync::Arc;

const HUGE: u64 = HUGE_PAGES * PAGE;

fn setup(seed: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.ram_pages = 6 * HUGE_PAGES;
    setup.vram_pages = 4 * HUGE_PAGES;
    setup.config.timeouts.copy = 8_000_000;
    setup
}

fn each(seeds: std::ops::Range<u64>, body: impl Fn(&Machine) + Send + Sync + Clone + 'static) {
    for seed in seeds {
        let body = body.clone();
        run(setup(seed), move |m| body(m));
    }
}

/// `count` times 2 MiB that are to be huge pages.
fn map_huge(p: &Process, count: u64) -> Va {
    let options = MmapOptions {
        huge: true,
        ..MmapOptions::default()
    };
    p.mm.mmap(count * HUGE, Prot::READ_WRITE, options)
        .expect("mmap")
}

/// The states of a few pages all over 2 MiB.
fn words(p: &Process, buf: Va) -> Vec<String> {
    [0, 1, 100, 511]
        .map(|page| p.words(buf + page * PAGE, 1).remove(0))
        .to_vec()
}

/// One word in every so many pages is enough to know a page.
const SOME: [u64; 6] = [0, 1, 63, 256, 300, 511];

fn put(p: &Process, buf: Va, first: u64) {
    for page in SOME {
        p.cpu_store(buf + page * PAGE + 16, first + page);
    }
}

fn see(p: &Process, buf: Va, first: u64) {
    for page in SOME {
        assert_eq!(p.cpu_load(buf + page * PAGE + 16), first + page);
    }
}

fn device_sees(p: &Process, buf: Va, first: u64) {
    for page in SOME {
        assert_eq!(p.load(buf + page * PAGE + 16), Ok(first + page));
    }
    p.mirrors();
}

#[test]
fn a_huge_page_is_mapped_by_one_entry() {
    each(0..3, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        put(&p, buf, 10);
        device_sees(&p, buf, 10);
        assert_eq!(words(&p, buf), ["rw pmd"; 4]);
        assert_eq!(m.stat("driver_large_mapped"), 1);
        assert_eq!(m.device.rounds(), 1, "one fault for all of it");
        p.store(buf + 511 * PAGE + 16, 7).expect("store");
        assert_eq!(p.cpu_load(buf + 511 * PAGE + 16), 7);
        assert_eq!(p.fetch_add(buf + 256 * PAGE + 16, 1), Ok(266));
        let dirty = p.context.dirty(buf + 5 * PAGE, 2 * PAGE).expect("dirty");
        assert_eq!(dirty, [true; 2], "one bit for all");
        p.end();
    });
}

#[test]
fn the_huge_zero_page_reads_as_zero_and_is_never_written() {
    each(0..2, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        assert_eq!(p.load(buf + 77 * PAGE), Ok(0));
        assert_eq!(words(&p, buf), ["r zero pmd"; 4]);
        p.store(buf + 5 * PAGE, 9).expect("store");
        assert_eq!(p.cpu_load(buf + 5 * PAGE), 9);
        assert_eq!(p.load(buf + 6 * PAGE), Ok(0));
        let q = m.process();
        let other = map_huge(&q, 1);
        assert_eq!(q.load(other + 5 * PAGE), Ok(0));
        q.end();
        p.end();
    });
}

#[test]
fn a_part_that_changes_splits_the_mapping() {
    each(0..4, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        put(&p, buf, 10);
        device_sees(&p, buf, 10);
        let at = |page: u64| buf + page * PAGE;
        p.store(at(63) + 24, 1).expect("store");
        let dirty = m.stat("driver_pages_dirty");
        p.mm.mprotect(at(256), PAGE, Prot::READ).expect("mprotect");
        p.mirrors();
        assert_eq!(m.stat("driver_pages_dirty") - dirty, 512);
        let error = p.store(at(256), 1).expect_err("read-only");
        assert_eq!(error.errno, Errno::EPERM);
        p.store(at(255), 1).expect("a neighbour");
        p.store(at(257), 1).expect("a neighbour");
        device_sees(&p, buf, 10);
        p.mm.munmap(at(100), PAGE).expect("munmap");
        p.mirrors();
        let error = p.load(at(100)).expect_err("unmapped");
        assert_eq!(error.errno, Errno::EFAULT);
        p.mm.madvise(at(300), PAGE, Advice::DontNeed)
            .expect("madvise");
        assert_eq!(p.load(at(300) + 16), Ok(0));
        assert_eq!(p.load(at(301) + 16), Ok(0));
        assert_eq!(p.load(at(511) + 16), Ok(521));
        p.end();
    });
}

/// An emptied table of small pages makes room for a large one, and the other way round, again and again.
#[test]
fn sizes_take_turns_at_one_place() {
    each(0..4, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        let place = |huge| MmapOptions {
            at: Some(buf),
            huge,
            ..MmapOptions::default()
        };
        for round in 0..3 {
            p.mm.mmap(HUGE, Prot::READ_WRITE, place(false))
                .expect("mmap");
            p.mm.madvise(buf, HUGE, Advice::NoHugePage)
                .expect("madvise");
            put(&p, buf, 100 * round);
            device_sees(&p, buf, 100 * round);
            p.mm.mmap(HUGE, Prot::READ_WRITE, place(true))
                .expect("mmap");
            put(&p, buf, 7 * round);
            device_sees(&p, buf, 7 * round);
            assert_eq!(m.stat("driver_large_mapped"), round + 1);
        }
        assert_eq!(m.stat("vram_pages_tables"), 6, "emptied tables are free");
        p.end();
    });
}

/// A large read-only entry of which one page becomes writable goes before the small ones come.
#[test]
fn one_page_of_a_large_read_only_entry_becomes_writable() {
    each(0..4, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        put(&p, buf, 10);
        let child = p.mm.fork().expect("fork");
        device_sees(&p, buf, 10);
        assert_eq!(words(&p, buf)[0], "r pmd");
        // A copy for the parent: of this page, or of all.
        p.store(buf + 63 * PAGE + 16, 5).expect("store");
        p.mirrors();
        assert_eq!(p.cpu_load(buf + 63 * PAGE + 16), 5);
        let mut word = [0; 8];
        child.load(buf + 63 * PAGE + 16, &mut word).expect("load");
        assert_eq!(u64::from_le_bytes(word), 73);
        child.exit();
        assert_eq!(p.load(buf + 511 * PAGE + 16), Ok(521));
        p.fill(buf + 256 * PAGE, 4, 90).expect("fill");
        p.cpu_check(buf + 256 * PAGE, 4, 90);
        p.end();
    });
}

#[test]
fn a_huge_page_moves_at_once_and_comes_home_at_once() {
    each(0..3, |m| {
        let p = m.process();
        let buf = map_huge(&p, 2);
        put(&p, buf, 10);
        put(&p, buf + HUGE, 5000);
        let rss = p.mm.rss();
        assert_eq!(p.to_device(buf, 2 * HUGE_PAGES), 1024);
        assert_eq!(words(&p, buf), ["rw dev pmd"; 4]);
        assert_eq!(m.stat("vram_pages_processes"), 1024);
        assert_eq!(m.stat("driver_large_mapped"), 2);
        assert_eq!(p.mm.rss(), rss);
        device_sees(&p, buf, 10);
        device_sees(&p, buf + HUGE, 5000);
        p.store(buf + 99 * PAGE, 4).expect("store");
        // The CPU's touch of one page brings all 512, as one.
        let faults = m.stat("driver_cpu_faults");
        assert_eq!(p.cpu_load(buf + 99 * PAGE), 4);
        see(&p, buf, 10);
        assert_eq!(m.stat("driver_cpu_faults") - faults, 1);
        assert_eq!(words(&p, buf), ["rw pmd"; 4]);
        assert_eq!(words(&p, buf + HUGE), ["rw dev pmd"; 4]);
        let range = 2 * HUGE;
        assert_eq!(p.context.migrate_to_system(buf, range), Ok(512));
        assert_eq!(words(&p, buf + HUGE), ["rw pmd"; 4]);
        see(&p, buf + HUGE, 5000);
        p.end();
    });
}

#[test]
fn empty_and_zero_huge_pages_are_made_on_the_device() {
    each(0..2, |m| {
        let p = m.process();
        let old = map_huge(&p, 1);
        put(&p, old, 10);
        p.to_device(old, HUGE_PAGES);
        p.mm.munmap(old, HUGE).expect("munmap");
        let buf = map_huge(&p, 2);
        assert_eq!(p.cpu_load(buf + HUGE), 0);
        assert_eq!(p.to_device(buf, 2 * HUGE_PAGES), 1024);
        assert_eq!(words(&p, buf), ["rw dev pmd"; 4]);
        assert_eq!(words(&p, buf + HUGE), ["rw dev pmd"; 4]);
        for page in SOME {
            assert_eq!(p.load(buf + page * PAGE + 16), Ok(0));
            assert_eq!(p.cpu_load(buf + HUGE + page * PAGE + 16), 0);
        }
        p.end();
    });
}

/// A failed large allocation counts once, and single pages take its place.
#[test]
fn without_a_large_page_single_pages_go() {
    each(0..2, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        put(&p, buf, 10);
        m.device.inject_alloc_failures(1);
        assert_eq!(p.to_device(buf, HUGE_PAGES), 512);
        assert_eq!(words(&p, buf), ["rw dev"; 4]);
        device_sees(&p, buf, 10);
        assert_eq!(p.cpu_load(buf + 63 * PAGE + 16), 73);
        assert_eq!(m.stat("vram_pages_processes"), 511);
        see(&p, buf, 10);
        p.end();
    });
}

/// No run of 2 MiB is free, neither there nor at home.
#[test]
fn fragmented_memory_takes_single_pages() {
    let mut setup = setup(3);
    setup.vram_pages = HUGE_PAGES + 200;
    run(setup, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        put(&p, buf, 10);
        // Tables and programs lie in the first 2 MiB; the rest is less than that.
        assert_eq!(p.to_device(buf, HUGE_PAGES), 512);
        assert_eq!(words(&p, buf), ["rw dev"; 4]);
        see(&p, buf, 10);
        p.end();
    });
}

/// System memory is full: a touch of a device page says so, and the data stays.
#[test]
fn no_memory_to_come_home_to_loses_nothing() {
    for large in [false, true] {
        let mut setup = setup(4);
        setup.ram_pages = 3 * HUGE_PAGES;
        run(setup, move |m| {
            let p = m.process();
            let buf = map_huge(&p, 1);
            if !large {
                p.mm.madvise(buf, HUGE, Advice::NoHugePage)
                    .expect("madvise");
            }
            put(&p, buf, 10);
            let _ = p.context.migrate_to_device(buf, HUGE);
            assert!(m.stat("vram_pages_processes") > 0);
            let taken: Vec<_> = std::iter::from_fn(|| m.sys.alloc_page()).collect();
            let mut word = [0; 8];
            let touch = p.mm.load(buf + 16, &mut word);
            assert_eq!(touch, Err(Errno::ENOMEM));
            assert_eq!(p.context.migrate_to_system(buf, HUGE), Ok(0));
            let error = m.device.release().expect_err("no memory");
            assert_eq!(error.errno(), Errno::ENOMEM);
            device_sees(&p, buf, 10);
            // One page is enough for the CPU to get on.
            let mut taken = taken.into_iter();
            m.sys.put_page(taken.next().expect("a page"));
            assert_eq!(p.cpu_load(buf + 16), 10);
            taken.for_each(|pfn| m.sys.put_page(pfn));
            see(&p, buf, 10);
            p.end();
        });
    }
}

#[test]
fn parts_of_a_large_device_page_split() {
    each(0..3, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        put(&p, buf, 10);
        p.to_device(buf, HUGE_PAGES);
        let at = |page: u64| buf + page * PAGE;
        p.mm.munmap(at(128), 128 * PAGE).expect("munmap");
        p.mirrors();
        assert_eq!(m.stat("vram_pages_processes"), 384);
        assert_eq!(p.load(at(256) + 16), Ok(266));
        p.mm.mprotect(at(300), PAGE, Prot::READ).expect("mprotect");
        assert_eq!(
            p.store(at(300), 1).expect_err("read-only").errno,
            Errno::EPERM
        );
        p.mm.mprotect(at(300), PAGE, Prot::READ_WRITE)
            .expect("mprotect");
        p.store(at(300) + 16, 310).expect("writable again");
        assert_eq!(p.cpu_load(at(63) + 16), 73);
        let error = p.load(at(130)).expect_err("unmapped");
        assert_eq!(error.errno, Errno::EFAULT);
        see_rest(&p, buf);
        p.end();
    });
}

fn see_rest(p: &Process, buf: Va) {
    for page in [0, 1, 63, 256, 300, 511] {
        assert_eq!(p.cpu_load(buf + page * PAGE + 16), 10 + page);
    }
}

#[test]
fn fork_and_release_of_large_device_pages() {
    each(0..3, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        put(&p, buf, 10);
        p.to_device(buf, HUGE_PAGES);
        let child = m.attach(p.mm.fork().expect("fork"));
        assert_eq!(words(&p, buf)[0], "r dev pmd");
        device_sees(&child, buf, 10);
        child.store(buf + 63 * PAGE + 16, 1).expect("store");
        assert_eq!(p.load(buf + 63 * PAGE + 16), Ok(73));
        assert_eq!(child.cpu_load(buf + 63 * PAGE + 16), 1);
        child.end();
        p.to_device(buf, HUGE_PAGES);
        let before = m.stat("vram_pages_processes");
        assert_eq!(m.device.release().map(|n| n as u64), Ok(before));
        see(&p, buf, 10);
        p.end();
    });
}

#[test]
fn the_policy_can_move_2_mib_on_a_fault() {
    for coherent in [false, true] {
        let mut setup = setup(5);
        setup.config.coherent = coherent;
        setup.config.policy = Arc::new(MigrateOnFault { block_pages: 512 });
        run(setup, move |m| {
            let p = m.process();
            let buf = map_huge(&p, 1);
            put(&p, buf, 10);
            device_sees(&p, buf, 10);
            let place = if coherent { "rw coh pmd" } else { "rw dev pmd" };
            assert_eq!(words(&p, buf), [place; 4]);
            see(&p, buf, 10);
            p.end();
        });
    }
}

#[test]
fn large_pages_can_be_switched_off() {
    let mut setup = setup(6);
    setup.config.large_pages = false;
    run(setup, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        put(&p, buf, 10);
        device_sees(&p, buf, 10);
        p.to_device(buf, HUGE_PAGES);
        assert_eq!(words(&p, buf), ["rw dev"; 4]);
        device_sees(&p, buf, 10);
        assert_eq!(m.stat("driver_large_mapped"), 0);
        see(&p, buf, 10);
        p.end();
    });
}

/// Parts change, pages move and the CPU writes while jobs run over the large pages.
#[test]
fn splits_race_with_jobs_and_migrations() {
    each(0..12, |m| {
        let p = m.process();
        let buf = map_huge(&p, 1);
        put(&p, buf, 10);
        let at = |page: u64| buf + page * PAGE;
        let (low, high) = (at(240), at(500));
        let jobs = [low, high].map(|va| {
            let args = [va.0, 12, 700];
            p.start(&fill(), &args, 3).expect("launch")
        });
        let (a, b) = (p.clone(), p.clone());
        let moves = sync::spawn(move || {
            let _ = a.context.migrate_to_device(buf, HUGE);
            a.mirrors();
            let _ = a.context.migrate_to_system(buf, HUGE);
            let _ = a.context.migrate_to_device(buf, HUGE);
        });
        let changes = sync::spawn(move || {
            b.mm.madvise(buf + 20 * PAGE, 4 * PAGE, Advice::DontNeed)
                .expect("madvise");
            b.mirrors();
            b.mm.mprotect(buf + 30 * PAGE, PAGE, Prot::READ)
                .expect("mprotect");
            b.mirrors();
            let _ = b.cpu_load(buf + 250 * PAGE + 8);
            b.mirrors();
        });
        for job in jobs {
            assert_eq!(job.wait(), Ok(u64::MAX));
        }
        moves.join();
        changes.join();
        p.mirrors();
        p.cpu_check(low, 12, 700);
        p.cpu_check(high, 12, 700);
        assert_eq!(p.cpu_load(at(63) + 16), 73);
        p.end();
    });
}
