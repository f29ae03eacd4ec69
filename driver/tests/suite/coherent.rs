//! Device memory that the CPU uses in place.

use crate::common::programs::fill;
use crate::common::{Machine, PAGE, Process, Setup, Unit, run};
use hmm_core::{Errno, sync};
use std::sync::atomic::Ordering;

fn setup(seed: u64, owner: u64) -> Setup {
    let mut setup = Setup::new(seed);
    setup.config.coherent = true;
    setup.config.owner = owner;
    setup
}

fn each(seeds: std::ops::Range<u64>, body: impl Fn(&Machine) + Send + Sync + Clone + 'static) {
    for seed in seeds {
        let body = body.clone();
        run(setup(seed, 1), move |m| body(m));
    }
}

#[test]
fn cpu_and_device_share_pages_in_device_memory() {
    each(0..4, |m| {
        let p = m.process();
        let buf = p.map(16);
        p.cpu_fill(buf, 15, 10);
        let rss = p.mm.rss();
        assert_eq!(p.to_device(buf, 16), 16);
        assert_eq!(p.words(buf, 1), ["rw coh"]);
        assert_eq!(p.mm.rss().anon, rss.anon + 1);
        p.cpu_check(buf, 15, 10);
        p.cpu_store(buf + 8, 77);
        assert_eq!(p.load(buf + 8), Ok(77));
        p.fill(buf, 16, 50).expect("fill");
        p.cpu_check(buf, 16, 50);
        assert_eq!(p.fetch_add(buf, 3), Ok(50));
        assert_eq!(p.cpu_load(buf), 53);
        // Nothing has moved, and the CPU never faulted.
        assert_eq!(m.stat("driver_cpu_faults"), 0);
        assert_eq!(m.stat("vram_pages_processes"), 16);
        assert_eq!(p.words(buf, 16), ["rw coh"; 16]);
        assert_eq!(p.context.migrate_to_system(buf, 16 * PAGE), Ok(16));
        assert_eq!(p.context.migrate_to_system(buf, 16 * PAGE), Ok(0));
        assert_eq!(p.words(buf, 1), ["rw"]);
        p.cpu_check(buf + PAGE, 15, 51);
        p.end();
    });
}

#[test]
fn a_fork_shares_coherent_pages_and_copies_on_write() {
    each(0..4, |m| {
        let p = m.process();
        let buf = p.map(4);
        p.cpu_fill(buf, 4, 10);
        p.to_device(buf, 4);
        let child = m.attach(p.mm.fork().expect("fork"));
        p.cpu_fill(buf, 1, 100);
        child.fill(buf + PAGE, 1, 200).expect("fill");
        child.cpu_check(buf, 1, 10);
        p.cpu_check(buf + PAGE, 1, 11);
        child.cpu_check(buf + PAGE, 1, 200);
        p.check(buf + 2 * PAGE, 2, 12);
        child.end();
        assert_eq!(p.store(buf + 3 * PAGE, 9), Ok(0));
        assert_eq!(p.cpu_load(buf + 3 * PAGE), 9);
        p.end();
    });
}

#[test]
fn long_pins_bring_coherent_pages_home_and_short_ones_do_not() {
    each(0..2, |m| {
        let p = m.process();
        let buf = p.map(4);
        p.cpu_fill(buf, 4, 10);
        p.to_device(buf, 4);
        let short = p.mm.get_user_pages(buf, 2).expect("get");
        let long = p.mm.pin(buf + 2 * PAGE, 2).expect("pin");
        assert_eq!(p.words(buf, 4), ["rw coh", "rw coh", "rw", "rw"]);
        p.check(buf, 4, 10);
        // Neither kind of page moves now.
        assert_eq!(p.context.migrate_to_system(buf, 4 * PAGE), Ok(0));
        let error = p.context.migrate_to_device(buf, 4 * PAGE);
        assert_eq!(error.expect_err("pinned").errno(), Errno::ENOENT);
        drop((short, long));
        assert_eq!(p.to_device(buf, 4), 4);
        p.end();
    });
}

#[test]
fn release_empties_coherent_memory() {
    each(0..3, |m| {
        let p = m.process();
        let buf = p.map(20);
        p.cpu_fill(buf, 20, 10);
        p.to_device(buf, 20);
        let job = p.start(&fill(), &[buf.0, 20, 90], 4).expect("launch");
        assert_eq!(m.device.release(), Ok(20));
        assert_eq!(job.wait(), Ok(u64::MAX));
        assert_eq!(m.stat("vram_pages_processes"), 0);
        p.cpu_check(buf, 20, 90);
        p.end();
    });
}

/// The second device with coherent memory of its own.
fn second(m: &Machine, p: &Process) -> (Unit, Process) {
    let unit = m.add(setup(5, 2));
    let two = unit.attach(&p.mm);
    (unit, two)
}

/// The link has no way from device to device.
#[test]
fn a_device_fault_on_the_other_devices_coherent_page_brings_it_home() {
    each(0..4, |m| {
        let one = m.process();
        let (unit, two) = second(m, &one);
        let buf = one.map(6);
        one.cpu_fill(buf, 6, 10);
        one.to_device(buf, 6);
        assert_eq!(two.words(buf, 1), ["rw coh-remote"]);
        let error = two.context.migrate_to_device(buf, PAGE);
        assert_eq!(error.expect_err("not stolen").errno(), Errno::ENOENT);
        two.check(buf, 3, 10);
        assert_eq!(unit.stat("driver_foreign_home"), 3);
        let words = two.words(buf, 4);
        assert_eq!(words, ["rw", "rw", "rw", "rw coh-remote"]);
        assert_eq!(one.words(buf + 3 * PAGE, 1), ["rw coh"]);
        two.fill(buf, 6, 70).expect("fill");
        one.check(buf, 6, 70);
        one.mirrors();
        two.mirrors();
        // A page that somebody holds for a moment: the access waits, and is not refused.
        one.to_device(buf, 1);
        let held = one.mm.get_user_pages(buf, 1).expect("get");
        let job = two.clone();
        let job = sync::spawn(move || job.load(buf));
        m.pause(m.seed_steps());
        drop(held);
        assert_eq!(job.join(), Ok(70));
        two.context.close().expect("close");
        one.end();
        unit.finish();
    });
}

#[test]
fn a_hung_device_gives_bus_errors_and_keeps_the_pages() {
    let result = sync::run(1, || {
        let m = Machine::new(setup(1, 1));
        let p = m.process();
        let buf = p.map(2);
        p.cpu_fill(buf, 2, 6);
        p.to_device(buf, 1);
        m.board.hung.store(true, Ordering::Relaxed);
        let mut word = [0; 8];
        assert_eq!(p.mm.load(buf, &mut word), Err(Errno::SIGBUS));
        assert_eq!(p.mm.store(buf, &word), Err(Errno::SIGBUS));
        p.cpu_check(buf + PAGE, 1, 7);
        m.board.hung.store(false, Ordering::Relaxed);
        p.cpu_check(buf, 2, 6);
        p.mm.exit();
        m.device.shutdown();
    });
    result.expect("the run");
}

/// A message: the CPU stores data in device memory, then a flag in system memory; the device sees both.
#[test]
fn stores_to_coherent_memory_are_seen_before_later_ones() {
    use crate::common::programs::wait_change;
    each(0..6, |m| {
        let p = m.process();
        let (flag, data) = (p.map(1), p.map(1));
        p.cpu_store(data, 1);
        p.to_device(data, 1);
        let job = p.start(&wait_change(), &[flag.0, 0], 1).expect("launch");
        m.pause(20);
        p.cpu_store(data, 55);
        p.cpu_store(flag, 1);
        assert_eq!(job.wait(), Ok(1));
        assert_eq!(p.load(data), Ok(55));
        p.end();
    });
}
