//! Pages move to device memory and come home.

use crate::common::{PAGE, Setup, for_seeds, run};
use hmm_core::{Advice, Errno, MmapOptions, Prot};
use hmmu_driver::{Atomics, MigrateOnFault};
use std::sync::Arc;

#[test]
fn the_scenario_of_the_manual() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(64);
        p.cpu_fill(buf, 64, 1000);
        p.check(buf, 64, 1000);
        assert_eq!(p.to_device(buf, 64), 64);
        assert_eq!(p.words(buf, 1), ["rw dev"]);
        p.store(buf + 8, 7).expect("store");
        assert_eq!(p.cpu_load(buf + 8), 7);
        assert_eq!(p.words(buf, 2), ["rw", "rw dev"]);
        p.mm.mprotect(buf, PAGE, Prot::READ).expect("mprotect");
        assert_eq!(p.store(buf, 1).expect_err("read-only").errno, Errno::EPERM);
        p.cpu_check(buf, 64, 1000);
        p.end();
    });
}

#[test]
fn pages_survive_the_way_there_and_back() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(100);
        p.cpu_fill(buf, 100, 5);
        let rss = p.mm.rss();
        assert_eq!(p.to_device(buf, 100), 100);
        assert_eq!(m.stat("vram_pages_processes"), 100);
        assert_eq!(p.mm.rss(), rss);
        p.check(buf, 100, 5);
        p.fill(buf, 50, 900).expect("fill");
        assert_eq!(p.context.migrate_to_system(buf, 100 * PAGE), Ok(100));
        assert_eq!(p.context.migrate_to_system(buf, 100 * PAGE), Ok(0));
        assert_eq!(m.stat("vram_pages_processes"), 0);
        p.cpu_check(buf, 50, 900);
        p.cpu_check(buf + 50 * PAGE, 50, 55);
        assert_eq!(p.mm.rss(), rss);
        p.end();
    });
}

#[test]
fn empty_and_zero_pages_are_made_on_the_device() {
    for_seeds(0..3, |m| {
        let p = m.process();
        // Pages of VRAM with old content, which must not be seen again.
        let old = p.map(8);
        p.cpu_fill(old, 8, 77);
        p.to_device(old, 8);
        p.mm.munmap(old, 8 * PAGE).expect("munmap");
        let buf = p.map(8);
        assert_eq!(p.cpu_load(buf), 0);
        assert_eq!(p.to_device(buf, 8), 8);
        assert_eq!(p.words(buf, 2), ["rw dev", "rw dev"]);
        for page in 0..8 {
            assert_eq!(p.load(buf + page * PAGE), Ok(0));
            assert_eq!(p.load(buf + page * PAGE + 4088), Ok(0));
        }
        p.store(buf + 5 * PAGE, 3).expect("store");
        assert_eq!(p.cpu_load(buf + 5 * PAGE), 3);
        assert_eq!(p.cpu_load(buf + 6 * PAGE), 0);
        p.end();
    });
}

#[test]
fn a_pinned_page_stays() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let buf = p.map(4);
        p.cpu_fill(buf, 4, 1);
        let pin = p.mm.pin(buf + PAGE, 1).expect("pin");
        let error = p
            .context
            .migrate_to_device(buf, 4 * PAGE)
            .expect_err("one page is pinned");
        assert_eq!(error.errno(), Errno::ENOENT);
        assert_eq!(p.words(buf, 4), ["rw dev", "rw", "rw dev", "rw dev"]);
        p.check(buf, 4, 1);
        drop(pin);
        assert_eq!(p.to_device(buf, 4), 4);
        p.check(buf, 4, 1);
        p.end();
    });
}

#[test]
fn pinning_a_device_page_brings_it_home() {
    for_seeds(0..2, |m| {
        let p = m.process();
        let buf = p.map(2);
        p.cpu_fill(buf, 2, 1);
        p.to_device(buf, 2);
        let pin = p.mm.pin(buf, 1).expect("pin");
        assert_eq!(p.words(buf, 2), ["rw", "rw dev"]);
        drop(pin);
        p.cpu_check(buf, 2, 1);
        p.end();
    });
}

#[test]
fn wrong_ranges_are_refused() {
    run(Setup::new(1), |m| {
        let p = m.process();
        let buf = p.map(6);
        p.cpu_fill(buf, 6, 0);
        let errno = |start, len| {
            p.context
                .migrate_to_device(start, len)
                .expect_err("a wrong range")
                .errno()
        };
        assert_eq!(errno(buf + 1, PAGE), Errno::EINVAL);
        assert_eq!(errno(buf, 0), Errno::EINVAL);
        assert_eq!(errno(buf, 5), Errno::EINVAL);
        p.mm.munmap(buf + 2 * PAGE, PAGE).expect("munmap");
        assert_eq!(errno(buf, 6 * PAGE), Errno::EINVAL);
        assert_eq!(
            p.context
                .migrate_to_system(buf, 3 * PAGE)
                .expect_err("a hole")
                .errno(),
            Errno::EINVAL
        );
        p.mm.mprotect(buf + 3 * PAGE, PAGE, Prot::NONE)
            .expect("mprotect");
        assert_eq!(errno(buf + 3 * PAGE, PAGE), Errno::EINVAL);
        p.end();
    });
}

#[test]
fn without_room_pages_stay_and_work() {
    let mut setup = Setup::new(2);
    setup.vram_pages = 32;
    run(setup, |m| {
        let p = m.process();
        let buf = p.map(64);
        p.cpu_fill(buf, 64, 10);
        let error = p
            .context
            .migrate_to_device(buf, 64 * PAGE)
            .expect_err("64 pages into 32");
        assert_eq!(error.errno(), Errno::ENOENT);
        assert!(m.stat("vram_pages_processes") > 16);
        p.check(buf, 64, 10);
        p.fill(buf, 64, 20).expect("fill");
        p.cpu_check(buf, 64, 20);
        assert_eq!(m.stat("vram_pages_processes"), 0);
        p.end();
    });
}

#[test]
fn failed_allocations_leave_pages_at_home() {
    run(Setup::new(3), |m| {
        let p = m.process();
        let buf = p.map(4);
        p.cpu_fill(buf, 4, 10);
        m.device.inject_alloc_failures(2);
        let error = p
            .context
            .migrate_to_device(buf, 4 * PAGE)
            .expect_err("two failures");
        assert_eq!(error.errno(), Errno::ENOENT);
        assert_eq!(p.words(buf, 4), ["rw", "rw", "rw dev", "rw dev"]);
        assert_eq!(p.to_device(buf, 4), 4);
        p.check(buf, 4, 10);
        p.cpu_check(buf, 4, 10);
        p.end();
    });
}

#[test]
fn fork_of_device_pages_copies_on_write() {
    for_seeds(0..6, |m| {
        let parent = m.process();
        let buf = parent.map(4);
        parent.cpu_fill(buf, 4, 1);
        parent.to_device(buf, 4);
        let child = m.attach(parent.mm.fork().expect("fork"));
        assert_eq!(parent.words(buf, 1), ["r dev"]);
        child.check(buf, 4, 1);
        child
            .fill(buf, 2, 50)
            .expect("a device write to a shared device page");
        parent
            .fill(buf + PAGE, 2, 60)
            .expect("the same for the parent");
        assert_eq!(parent.cpu_load(buf), 1);
        parent.cpu_check(buf + PAGE, 2, 60);
        child.cpu_check(buf, 2, 50);
        child.cpu_check(buf + 2 * PAGE, 2, 3);
        child.end();
        parent.check(buf + 3 * PAGE, 1, 4);
        parent.end();
    });
}

#[test]
fn a_device_page_made_writable_again_takes_a_device_write() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let buf = p.map(1);
        p.cpu_fill(buf, 1, 1);
        p.to_device(buf, 1);
        p.mm.mprotect(buf, PAGE, Prot::READ).expect("mprotect");
        p.check(buf, 1, 1);
        p.mm.mprotect(buf, PAGE, Prot::READ_WRITE)
            .expect("mprotect");
        p.store(buf, 8).expect("a store to a page held read-only");
        assert_eq!(p.cpu_load(buf), 8);
        p.end();
    });
}

#[test]
fn dropping_and_unmapping_free_device_memory() {
    for_seeds(0..2, |m| {
        let p = m.process();
        let buf = p.map(8);
        p.cpu_fill(buf, 8, 1);
        p.to_device(buf, 8);
        p.mm.madvise(buf, 4 * PAGE, Advice::DontNeed)
            .expect("madvise");
        assert_eq!(m.stat("vram_pages_processes"), 4);
        assert_eq!(p.load(buf), Ok(0));
        p.mm.munmap(buf + 4 * PAGE, 4 * PAGE).expect("munmap");
        assert_eq!(m.stat("vram_pages_processes"), 0);
        p.end();
    });
}

#[test]
fn release_sends_every_page_home() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let buf = p.map(30);
        p.cpu_fill(buf, 30, 1);
        p.to_device(buf, 30);
        p.fill(buf, 10, 300).expect("fill");
        assert_eq!(m.device.release(), Ok(30));
        assert_eq!(m.stat("vram_pages_processes"), 0);
        assert_eq!(p.words(buf, 1), ["rw"]);
        p.check(buf, 10, 300);
        p.cpu_check(buf + 10 * PAGE, 20, 11);
        assert_eq!(p.to_device(buf, 30), 30);
        p.end();
    });
}

#[test]
fn pages_outlive_their_context() {
    for_seeds(0..2, |m| {
        let p = m.process();
        let buf = p.map(4);
        p.cpu_fill(buf, 4, 1);
        p.to_device(buf, 4);
        p.fill(buf, 4, 30).expect("fill");
        p.context.close().expect("close");
        p.context.close().expect("close again");
        assert_eq!(
            p.start(&crate::common::programs::load(), &[buf.0], 1)
                .err()
                .map(|e| e.errno()),
            Some(Errno::EBADF)
        );
        p.cpu_check(buf, 4, 30);
        p.mm.exit();
    });
}

#[test]
fn the_migrating_policy_moves_what_the_device_touches() {
    for seed in 0..4 {
        let mut setup = Setup::new(seed);
        setup.config.policy = Arc::new(MigrateOnFault { block_pages: 8 });
        run(setup, |m| {
            let p = m.process();
            let options = MmapOptions {
                huge: true,
                ..MmapOptions::default()
            };
            let buf =
                p.mm.mmap(32 * PAGE, Prot::READ_WRITE, options)
                    .expect("mmap");
            p.cpu_fill(buf, 32, 1);
            p.check(buf, 32, 1);
            assert_eq!(p.words(buf, 32), vec!["rw dev"; 32]);
            p.fill(buf, 32, 70).expect("fill");
            p.cpu_check(buf, 16, 70);
            assert_eq!(p.words(buf + 15 * PAGE, 2), ["rw", "rw dev"]);
            p.check(buf, 32, 70);
            p.end();
        });
    }
}

/// Threads that fault on pages far apart at the same time have them moved together.
#[test]
fn pages_far_apart_share_descriptors() {
    let mut setup = Setup::new(9);
    setup.config.policy = Arc::new(MigrateOnFault { block_pages: 1 });
    run(setup, |m| {
        let (threads, apart) = (8, 16);
        let p = m.process();
        let buf = p.map(threads * apart);
        p.cpu_fill(buf, threads * apart, 1);
        let program = crate::common::programs::add_far();
        for page in 0..4 {
            p.run(&program, &[(buf + page * PAGE).0], threads as u32)
                .expect("the job");
        }
        let moved = m.stat("driver_pages_to_device");
        assert_eq!(moved, 4 * threads);
        let copies = m.stat("driver_page_copies");
        assert!(copies <= moved / 2, "{copies} descriptors, {moved} pages");
        for at in (0..threads).flat_map(|thread| (0..4).map(move |page| apart * thread + page)) {
            assert_eq!(p.words(buf + at * PAGE, 1), ["rw dev"]);
            assert_eq!(p.cpu_load(buf + at * PAGE), 2 + at);
            assert_eq!(p.cpu_load(buf + at * PAGE + 4088), !(1 + at));
        }
        p.end();
    });
}

#[test]
fn the_migrating_policy_works_in_little_memory() {
    let mut setup = Setup::new(7);
    setup.vram_pages = 16;
    setup.config.policy = Arc::new(MigrateOnFault::default());
    run(setup, |m| {
        let p = m.process();
        let buf = p.map(64);
        p.cpu_fill(buf, 64, 1);
        p.check(buf, 64, 1);
        p.fill(buf, 64, 70).expect("fill");
        p.cpu_check(buf, 64, 70);
        p.end();
    });
}

#[test]
fn atomics_move_the_page_when_the_link_has_none() {
    let mut setup = Setup::new(8);
    setup.config.atomics = Atomics::Migrate;
    run(setup, |m| {
        let p = m.process();
        let buf = p.map(2);
        p.cpu_fill(buf, 2, 1);
        assert_eq!(p.fetch_add(buf, 4), Ok(1));
        assert_eq!(p.words(buf, 2), ["rw dev", "rw"]);
        assert_eq!(p.cpu_load(buf), 5);
        let pin = p.mm.pin(buf, 1).expect("pin");
        let error = p.fetch_add(buf, 4).expect_err("a pinned page cannot move");
        assert_eq!(error.errno, Errno::EOPNOTSUPP);
        drop(pin);
        assert_eq!(p.fetch_add(buf, 4), Ok(5));
        p.end();
    });
}
