//! Two devices on one system: each sees what the other has only through system memory.

use crate::common::programs::{count, fill};
use crate::common::{Machine, PAGE, Process, Setup, Unit, for_seeds, run};
use hmm_core::{Errno, sync};
use hmmu_driver::{Device, DeviceConfig, DriverError};
use std::sync::Arc;

/// A second device, with less memory than the first one and another owner.
fn second(m: &Machine) -> Unit {
    let mut setup = Setup::new(m.seed_steps() as u64 + 3);
    setup.config.owner = 2;
    setup.vram_pages = 128;
    m.add(setup)
}

/// A process with both devices open, and what ends them.
fn both(m: &Machine) -> (Process, Process, Unit) {
    let unit = second(m);
    let one = m.process();
    let two = unit.attach(&one.mm);
    (one, two, unit)
}

fn end(one: Process, two: Process, unit: Unit) {
    two.mirrors();
    two.context.close().expect("close");
    one.end();
    unit.finish();
}

#[test]
fn a_page_of_the_other_device_comes_home_on_a_fault() {
    for_seeds(0..6, |m| {
        let (one, two, unit) = both(m);
        let buf = one.map(8);
        one.cpu_fill(buf, 8, 10);
        one.to_device(buf, 8);
        assert_eq!(two.words(buf, 8), ["none"; 8]);
        assert_eq!(one.words(buf, 8), ["rw dev"; 8]);
        two.check(buf, 4, 10);
        one.mirrors();
        two.mirrors();
        // Four were asked for; none of the others was.
        assert_eq!(two.words(buf, 5), ["rw", "rw", "rw", "rw", "none"]);
        assert_eq!(one.words(buf, 5)[3..], ["rw", "rw dev"]);
        two.fill(buf, 8, 90).expect("the second device writes");
        one.check(buf, 8, 90);
        one.cpu_check(buf, 8, 90);
        assert_eq!(m.stat("driver_pages_to_system"), 8);
        end(one, two, unit);
    });
}

#[test]
fn a_migration_does_not_steal() {
    for_seeds(0..3, |m| {
        let (one, two, unit) = both(m);
        let buf = one.map(4);
        one.cpu_fill(buf, 4, 10);
        one.to_device(buf + PAGE, 1);
        let error = two
            .context
            .migrate_to_device(buf, 4 * PAGE)
            .expect_err("one page is the other device's");
        assert_eq!(error.errno(), Errno::ENOENT);
        assert_eq!(two.words(buf, 4), ["rw dev", "none", "rw dev", "rw dev"]);
        assert_eq!(one.words(buf, 4), ["none", "rw dev", "none", "none"]);
        assert_eq!(two.context.migrate_to_system(buf, 4 * PAGE), Ok(3));
        assert_eq!(one.words(buf, 2), ["rw", "rw dev"]);
        one.check(buf, 4, 10);
        end(one, two, unit);
    });
}

/// The kernel's test double_map: a mapping of the first device is renewed after the second one took the pages.
#[test]
fn both_devices_map_one_page_and_lose_it_together() {
    for_seeds(0..4, |m| {
        let (one, two, unit) = both(m);
        let buf = one.map(6);
        one.cpu_fill(buf, 6, 10);
        one.check(buf, 6, 10);
        two.check(buf, 6, 10);
        let rounds = m.device.rounds();
        one.check(buf, 6, 10);
        assert_eq!(m.device.rounds(), rounds, "a warm read");
        two.to_device(buf, 6);
        one.mirrors();
        one.check(buf, 6, 10);
        assert!(m.device.rounds() > rounds, "a new fault");
        assert_eq!(unit.stat("driver_pages_to_system"), 6);
        end(one, two, unit);
    });
}

#[test]
fn both_devices_fault_the_same_foreign_pages_at_once() {
    for_seeds(0..20, |m| {
        let unit = second(m);
        let mut setup = Setup::new(m.seed_steps() as u64 + 9);
        setup.config.owner = 3;
        let third = m.add(setup);
        let one = m.process();
        let (two, three) = (unit.attach(&one.mm), third.attach(&one.mm));
        let (buf, sums) = (one.map(6), one.map(2));
        one.cpu_fill(buf, 6, 10);
        one.to_device(buf, 6);
        one.to_device(sums, 2);
        let jobs: Vec<_> = [&two, &three]
            .map(|p| {
                let p = p.clone();
                sync::spawn(move || {
                    p.check(buf, 6, 10);
                    p.run(&count(), &[sums.0, 2, 4], 2)
                })
            })
            .into_iter()
            .collect();
        for job in jobs {
            assert_eq!(job.join(), Ok(0));
        }
        // Each page is in one place, and no atomic was lost.
        assert_eq!(one.words(buf, 6), ["rw"; 6]);
        assert_eq!((one.cpu_load(sums), one.cpu_load(sums + PAGE)), (8, 8));
        three.mirrors();
        three.context.close().expect("close");
        end(one, two, unit);
        third.finish();
    });
}

#[test]
fn one_device_is_released_while_the_other_works() {
    for_seeds(0..10, |m| {
        let (one, two, unit) = both(m);
        let (mine, other) = (one.map(12), one.map(12));
        one.cpu_fill(mine, 12, 10);
        one.cpu_fill(other, 12, 30);
        one.to_device(mine, 12);
        two.to_device(other, 12);
        let job = two.start(&fill(), &[other.0, 12, 70], 3).expect("launch");
        let across = one.start(&fill(), &[other.0, 3, 70], 1).expect("launch");
        let device = Arc::clone(&m.device);
        let release = sync::spawn(move || device.release());
        assert_eq!(job.wait(), Ok(u64::MAX));
        assert_eq!(across.wait(), Ok(u64::MAX));
        assert_eq!(release.join(), Ok(12));
        assert_eq!(one.words(mine, 1), ["rw"]);
        assert_eq!(two.words(other + 11 * PAGE, 1), ["rw dev"]);
        two.check(other, 12, 70);
        one.check(mine, 12, 10);
        end(one, two, unit);
    });
}

/// Pages in the memory of a device without users come home when the other device wants them.
#[test]
fn pages_of_a_closed_context_come_home_for_the_other_device() {
    for_seeds(0..3, |m| {
        let (one, two, unit) = both(m);
        let buf = one.map(4);
        one.cpu_fill(buf, 4, 10);
        one.to_device(buf, 4);
        one.context.close().expect("close");
        two.fill(buf + PAGE, 1, 77).expect("fill");
        two.check(buf + 2 * PAGE, 2, 12);
        one.cpu_check(buf + PAGE, 1, 77);
        end(one, two, unit);
    });
}

/// Each device has pages that the other one wants.
#[test]
fn two_devices_pull_each_others_pages() {
    for_seeds(0..12, |m| {
        let (one, two, unit) = both(m);
        let (a, b) = (one.map(8), one.map(8));
        one.cpu_fill(a, 8, 10);
        one.cpu_fill(b, 8, 30);
        one.to_device(a, 8);
        two.to_device(b, 8);
        let p = one.clone();
        let first = sync::spawn(move || p.fill(b, 8, 300));
        let q = two.clone();
        let second = sync::spawn(move || q.fill(a, 8, 100));
        assert_eq!(first.join(), Ok(u64::MAX));
        assert_eq!(second.join(), Ok(u64::MAX));
        one.cpu_check(a, 8, 100);
        one.cpu_check(b, 8, 300);
        end(one, two, unit);
    });
}

/// Each would take the other's pages for its own.
#[test]
fn two_devices_of_one_owner_are_refused() {
    run(Setup::new(1), |m| {
        let board = m.bare_board(Setup::new(1));
        let error = Device::probe(board, Arc::clone(&m.sys), DeviceConfig::default()).err();
        assert!(matches!(error, Some(DriverError::Config(_))), "{error:?}");
    });
}
