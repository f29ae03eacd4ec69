//! Pages that a thread of the process provides while the device waits for them.

use crate::common::programs::fill;
use crate::common::{Machine, PAGE, Process, Setup, for_seeds, run};
use hmm_core::{Errno, UserFault, UserFaultEvent, Va, sync};
use std::sync::Arc;

fn register(p: &Process, pages: u64) -> (Va, Arc<UserFault>) {
    let buf = p.map(pages);
    let faults = p.mm.userfault(buf, pages * PAGE).expect("userfault");
    (buf, Arc::new(faults))
}

/// The address of the next missing page.
fn missing(faults: &UserFault) -> Va {
    match faults.wait().expect("an event") {
        UserFaultEvent::Missing { va, .. } => va,
        other => panic!("{other:?}"),
    }
}

/// The same, for a thread that itself has to let the device run meanwhile.
fn missing_soon(m: &Machine, faults: &UserFault) -> Va {
    for _ in 0..1000 {
        if let Some(UserFaultEvent::Missing { va, .. }) = faults.try_wait() {
            return va;
        }
        m.pause(1);
    }
    panic!("nobody waits for a page");
}

/// A page as the device's check program expects it: `first` and its complement.
fn page(first: u64) -> Vec<u8> {
    let mut bytes = vec![0; PAGE as usize];
    bytes[..8].copy_from_slice(&first.to_le_bytes());
    bytes[4088..].copy_from_slice(&(!first).to_le_bytes());
    bytes
}

/// Provides `count` pages, then stops.
fn provide(buf: Va, faults: &Arc<UserFault>, count: u64, first: u64) -> sync::JoinHandle<()> {
    let faults = Arc::clone(faults);
    sync::spawn(move || {
        for _ in 0..count {
            let va = missing(&faults);
            let number = (va - buf) / PAGE;
            assert_eq!(faults.copy(va, &page(first + number)), Ok(1));
        }
    })
}

#[test]
fn the_device_waits_for_the_handler() {
    for_seeds(0..8, |m| {
        let p = m.process();
        let (buf, faults) = register(&p, 4);
        let handler = provide(buf, &faults, 4, 70);
        p.check(buf, 4, 70);
        handler.join();
        assert_eq!(m.stat("driver_faults_cancelled"), 0);
        assert!(m.stat("driver_user_faults") >= 4);
        p.cpu_check(buf, 4, 70);
        p.end();
    });
}

#[test]
fn other_faults_are_served_while_one_waits() {
    for_seeds(0..8, |m| {
        let p = m.process();
        let (buf, faults) = register(&p, 2);
        let other = p.map(32);
        p.cpu_fill(other, 32, 10);
        let waits = p.start(&fill(), &[buf.0, 2, 50], 2).expect("launch");
        m.pause(60);
        p.check(other, 32, 10);
        p.fill(other, 32, 90).expect("fill");
        assert!(!waits.done());
        let handler = provide(buf, &faults, 2, 1);
        assert_eq!(waits.wait(), Ok(u64::MAX));
        handler.join();
        p.cpu_check(buf, 2, 50);
        p.end();
    });
}

/// More pages wait than threads are there for.
#[test]
fn many_pages_wait_in_turn() {
    let mut setup = Setup::new(2);
    setup.config.policy = Arc::new(hmmu_driver::MapRemote { around_pages: 1 });
    run(setup, |m| {
        let users: Vec<(Process, Va, Arc<UserFault>)> = (0..6)
            .map(|_| {
                let p = m.process();
                let (buf, faults) = register(&p, 8);
                (p, buf, faults)
            })
            .collect();
        let jobs: Vec<_> = users
            .iter()
            .map(|(p, buf, _)| p.start(&fill(), &[buf.0, 8, 30], 8).expect("launch"))
            .collect();
        m.pause(300);
        let handlers: Vec<_> = users
            .iter()
            .map(|(_, buf, faults)| provide(*buf, faults, 8, 1))
            .collect();
        for job in jobs {
            assert_eq!(job.wait(), Ok(u64::MAX));
        }
        handlers.into_iter().for_each(sync::JoinHandle::join);
        for (p, buf, _) in users {
            p.cpu_check(buf, 8, 30);
            p.end();
        }
    });
}

#[test]
fn a_wait_ends_with_the_registration_the_mapping_or_the_process() {
    for_seeds(0..6, |m| {
        let p = m.process();
        let (a, faults) = register(&p, 1);
        let job = p.start(&fill(), &[a.0, 1, 5], 1).expect("launch");
        assert_eq!(missing_soon(m, &faults), a);
        drop(faults);
        assert_eq!(job.wait(), Ok(u64::MAX), "ordinary memory now");
        let (b, faults) = register(&p, 1);
        let job = p.start(&fill(), &[b.0, 1, 5], 1).expect("launch");
        assert_eq!(missing_soon(m, &faults), b);
        p.mm.munmap(b, PAGE).expect("munmap");
        assert_eq!(job.wait().expect_err("unmapped").errno, Errno::EFAULT);
        let (c, faults2) = register(&p, 1);
        let job = p.start(&fill(), &[c.0, 1, 5], 1).expect("launch");
        assert_eq!(missing_soon(m, &faults2), c);
        p.mm.exit();
        assert_eq!(job.wait().expect_err("gone").errno, Errno::ESRCH);
        drop((faults, faults2));
        p.end();
    });
}

/// The context is closed and its number used again while a page of it is waited for.
#[test]
fn a_closed_context_leaves_its_waits_behind() {
    for_seeds(0..6, |m| {
        let p = m.process();
        let (buf, faults) = register(&p, 2);
        let job = p.start(&fill(), &[buf.0, 1, 5], 1).expect("launch");
        assert_eq!(missing_soon(m, &faults), buf);
        p.context.close().expect("close");
        assert_eq!(job.wait().expect_err("closed").errno, Errno::ESRCH);
        let again = m.attach(Arc::clone(&p.mm));
        assert_eq!(again.context.id(), p.context.id());
        let job = again.start(&fill(), &[buf.0, 1, 7], 1).expect("launch");
        m.pause(50);
        assert!(!job.done());
        faults.zero(buf).expect("zero");
        assert_eq!(job.wait(), Ok(u64::MAX));
        again.cpu_check(buf, 1, 7);
        drop(faults);
        again.end();
    });
}

/// A copy keeps the channel while it waits; the device is not given up for that.
#[test]
fn a_copy_may_wait_longer_than_the_device_may() {
    let mut setup = Setup::new(3);
    setup.config.timeouts.copy = 20_000;
    run(setup, copy_waits);
}

fn copy_waits(m: &Machine) {
    let p = m.process();
    let (src, faults) = register(&p, 2);
    let (dst, moves) = (p.map(2), p.map(4));
    p.cpu_fill(moves, 4, 40);
    let q = p.clone();
    let copies = sync::spawn(move || q.context.copy(dst, src, 2 * PAGE));
    assert_eq!(missing(&faults), src);
    m.pause(5000);
    assert_eq!(m.device.lost(), None);
    assert_eq!(p.to_device(moves, 4), 4);
    let first = faults.copy(src, &page(20));
    assert_eq!(first, Ok(1));
    let handler = provide(src, &faults, 1, 20);
    copies.join().expect("copy");
    handler.join();
    p.cpu_check(dst, 2, 20);
    p.check(moves, 4, 40);
    drop(faults);
    p.end();
}
