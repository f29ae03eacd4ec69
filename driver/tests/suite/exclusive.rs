//! Device-exclusive pages, and atomics on system memory.

use crate::common::programs::count;
use crate::common::{Machine, PAGE, Process, Setup, for_seeds, run};
use hmm_core::{Errno, MmapOptions, Prot, Va, sync};
use hmmu_driver::Atomics;

fn exclusive(p: &Process, va: Va, pages: u64) -> usize {
    p.context.exclusive(va, pages * PAGE).expect("exclusive")
}

fn is_exclusive(p: &Process, va: Va) -> bool {
    p.context.is_exclusive(va).expect("is_exclusive")
}

/// Tests under a setting in which atomics need exclusive access.
fn each(seeds: std::ops::Range<u64>, body: impl Fn(&Machine) + Send + Sync + Clone + 'static) {
    for seed in seeds {
        let mut setup = Setup::new(seed);
        setup.config.atomics = Atomics::Exclusive;
        let body = body.clone();
        run(setup, move |m| body(m));
    }
}

/// The kernel's test of the same name: the CPU's accesses revoke.
#[test]
fn the_cpu_takes_an_exclusive_page_back() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(32);
        p.cpu_fill(buf, 32, 10);
        assert_eq!(exclusive(&p, buf, 32), 32);
        p.mirrors();
        assert_eq!(p.words(buf, 2), ["none", "none"]);
        assert!(is_exclusive(&p, buf + 31 * PAGE + 8));
        let rounds = m.device.rounds();
        p.check(buf, 32, 10);
        p.fill(buf, 32, 50).expect("fill");
        assert_eq!(m.device.rounds(), rounds, "the pages are mapped");
        for page in 0..32 {
            let at = buf + page * PAGE;
            let old = p.cpu_load(at);
            assert_eq!(old, 50 + page);
            p.cpu_store(at, old + 1);
            assert!(!is_exclusive(&p, at));
            assert_eq!(p.cpu_load(at), 51 + page);
        }
        p.mirrors();
        end_exclusive(m, &p, buf);
        p.end();
    });
}

/// The device sees what the CPU wrote after it lost the pages.
fn end_exclusive(m: &Machine, p: &Process, buf: Va) {
    let before = m.stat("driver_exclusive");
    assert_eq!(p.fetch_add(buf, 1), Ok(51));
    assert_eq!(p.cpu_load(buf), 52);
    // This link does atomics on pages that are not exclusive.
    assert_eq!(m.stat("driver_exclusive"), before);
}

#[test]
fn exclusive_then_read_only_refuses_the_device() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let buf = p.map(2);
        p.cpu_fill(buf, 2, 10);
        assert_eq!(exclusive(&p, buf, 2), 2);
        p.mm.mprotect(buf, PAGE, Prot::READ).expect("mprotect");
        assert_eq!(p.store(buf, 1).expect_err("a store").errno, Errno::EPERM);
        let error = p.fetch_add(buf, 1).expect_err("an atomic");
        assert_eq!(error.errno, Errno::EPERM);
        let error = p.context.exclusive(buf, 2 * PAGE).expect_err("read-only");
        assert_eq!(error.errno(), Errno::EFAULT);
        assert!(is_exclusive(&p, buf + PAGE) && !is_exclusive(&p, buf));
        p.check(buf, 2, 10);
        p.cpu_check(buf, 2, 10);
        p.end();
    });
}

#[test]
fn a_fork_ends_exclusive_access_for_both() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(4);
        p.cpu_fill(buf, 4, 10);
        assert_eq!(exclusive(&p, buf, 4), 4);
        let child = m.attach(p.mm.fork().expect("fork"));
        assert!(!is_exclusive(&p, buf));
        p.mirrors();
        for (i, side) in [(0, &p), (1, &child)] {
            side.cpu_check(buf, 4, 10);
            side.cpu_fill(buf, 4, 100 + 100 * i);
        }
        assert_eq!(exclusive(&child, buf, 4), 4);
        assert_eq!(child.fetch_add(buf, 5), Ok(200));
        p.cpu_check(buf, 4, 100);
        child.end();
        p.end();
    });
}

#[test]
fn exclusive_access_brings_pages_home_and_breaks_sharing() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let buf = p.map(4);
        p.cpu_fill(buf, 3, 10);
        p.to_device(buf, 2);
        let child = p.mm.fork().expect("fork");
        assert_eq!(exclusive(&p, buf, 4), 4);
        assert_eq!(m.stat("vram_pages_processes"), 0);
        p.fill(buf, 4, 60).expect("fill");
        let mut word = [0; 8];
        child.load(buf, &mut word).expect("load");
        assert_eq!(u64::from_le_bytes(word), 10);
        child.exit();
        p.cpu_check(buf, 4, 60);
        p.end();
    });
}

#[test]
fn what_cannot_be_exclusive_says_so() {
    run(Setup::new(1), |m| {
        let p = m.process();
        let buf = p.map(2);
        let shared = MmapOptions {
            share: true,
            ..MmapOptions::default()
        };
        let shared = p.mm.mmap(PAGE, Prot::READ_WRITE, shared).expect("mmap");
        let errno = |va, len| {
            let error = p.context.exclusive(va, len).expect_err("not exclusive");
            error.errno()
        };
        assert_eq!(errno(shared, PAGE), Errno::EOPNOTSUPP);
        assert_eq!(errno(buf + 8, PAGE), Errno::EINVAL);
        assert_eq!(errno(buf, 0), Errno::EINVAL);
        assert_eq!(errno(Va(0x1000), PAGE), Errno::EFAULT);
        p.end();
    });
}

#[test]
fn atomics_make_a_system_page_exclusive_when_they_must() {
    each(0..6, |m| {
        let p = m.process();
        let (buf, sums) = (p.map(3), p.map(3));
        p.cpu_fill(buf, 2, 10);
        assert_eq!(p.fetch_add(buf, 4), Ok(10));
        assert!(is_exclusive(&p, buf) && !is_exclusive(&p, buf + PAGE));
        p.mirrors();
        // In place, without another fault.
        let rounds = m.device.rounds();
        assert_eq!(p.fetch_add(buf, 4), Ok(14));
        assert_eq!(m.device.rounds(), rounds);
        assert_eq!(p.cpu_load(buf), 18);
        assert!(!is_exclusive(&p, buf));
        // A page that was never touched, and one in device memory, which stays there.
        assert_eq!(p.fetch_add(buf + 2 * PAGE, 1), Ok(0));
        p.to_device(buf + PAGE, 1);
        assert_eq!(p.fetch_add(buf + PAGE, 1), Ok(11));
        assert_eq!(p.words(buf + PAGE, 1), ["rw dev"]);
        p.run(&count(), &[sums.0, 3, 10], 3).expect("count");
        for page in 0..3 {
            assert_eq!(p.cpu_load(sums + page * PAGE), 10);
        }
        p.end();
    });
}

#[test]
fn shared_memory_takes_no_atomics_that_need_exclusive_access() {
    each(0..2, |m| {
        let p = m.process();
        let share = MmapOptions {
            share: true,
            ..MmapOptions::default()
        };
        let buf = p.mm.mmap(PAGE, Prot::READ_WRITE, share).expect("mmap");
        let error = p.fetch_add(buf, 1).expect_err("shared");
        assert_eq!(error.errno, Errno::EOPNOTSUPP);
        p.store(buf, 3).expect("stores work");
        assert_eq!(p.cpu_load(buf), 3);
        p.end();
    });
}

/// No count is lost between the device's atomics and the CPU's, which take turns on the page.
#[test]
fn cpu_and_device_count_on_one_page() {
    each(0..20, |m| {
        let p = m.process();
        let buf = p.map(1);
        let job = p.start(&count(), &[buf.0, 1, 20], 1).expect("launch");
        let q = p.clone();
        let reads = sync::spawn(move || {
            let mut last = 0;
            for i in 0..12 {
                let now = q.cpu_load(buf);
                assert!(now >= last, "{now} after {last}");
                last = now;
                q.cpu_store(buf + 64, i);
            }
        });
        assert_eq!(job.wait(), Ok(0));
        reads.join();
        assert_eq!((p.cpu_load(buf), p.cpu_load(buf + 64)), (20, 11));
        p.end();
    });
}

/// Unmapping and dropping race with the conversion: nothing stays mapped that is gone.
#[test]
fn exclusive_access_races_with_the_end_of_a_mapping() {
    for_seeds(0..30, |m| {
        let p = m.process();
        let buf = p.map(8);
        p.cpu_fill(buf, 8, 10);
        let q = p.clone();
        let converts = sync::spawn(move || q.context.exclusive(buf, 8 * PAGE));
        let r = p.clone();
        let drops = sync::spawn(move || {
            r.mm.madvise(buf, 4 * PAGE, hmm_core::Advice::DontNeed)
                .expect("madvise");
            r.mirrors();
            r.mm.munmap(buf + 6 * PAGE, 2 * PAGE).expect("munmap");
            r.mirrors();
        });
        if let Err(error) = converts.join() {
            assert_eq!(error.errno(), Errno::EFAULT, "{error}");
        }
        drops.join();
        p.mirrors();
        assert_eq!(p.cpu_load(buf + 5 * PAGE), 15);
        p.end();
    });
}
