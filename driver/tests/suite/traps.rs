//! Traps: each of these fails when one rule of the driver is dropped.

use crate::common::programs::{fill, store};
use crate::common::{Machine, PAGE, Process, Setup, for_seeds, run};
use hmm_core::{Errno, MmapOptions, Prot, Va, sync};

/// Maps pages at a place that all processes of a test share.
fn map_at(p: &Process, at: Va, pages: u64) -> Va {
    let options = MmapOptions {
        at: Some(at),
        ..MmapOptions::default()
    };
    p.mm.mmap(pages * PAGE, Prot::READ_WRITE, options)
        .expect("mmap")
}

const HERE: Va = Va(0x7000_0000_0000);

/// The fault of a translated copy may need a migration, which needs the copy channel.
#[test]
fn a_copy_that_waits_for_a_migration_gets_it() {
    for channels in [1, 3] {
        for seed in 0..10 {
            let mut setup = Setup::new(seed);
            setup.config.copy_channels = channels;
            run(setup, move |m| copy_over_shared_pages(m, channels == 1));
        }
    }
}

fn copy_over_shared_pages(m: &Machine, by_cpu: bool) {
    let p = m.process();
    let (src, dst) = (p.map(6), p.map(6));
    p.cpu_fill(src, 6, 40);
    p.cpu_fill(dst, 6, 1);
    p.to_device(dst, 6);
    // Shared with the child, so that a write has to bring the page home and copy it.
    let child = p.mm.fork().expect("fork");
    p.context.copy(dst, src, 6 * PAGE).expect("copy");
    // A channel of its own leaves the other ones to the migration.
    assert_eq!(m.stat("driver_pages_by_cpu") > 0, by_cpu);
    p.cpu_check(dst, 6, 40);
    let mut word = [0; 8];
    child.load(dst, &mut word).expect("load");
    assert_eq!(u64::from_le_bytes(word), 1);
    child.exit();
    p.end();
}

/// As above, when it is the CPU that touches a page while a copy waits.
#[test]
fn cpu_touches_and_copies_do_not_wait_for_each_other() {
    for_seeds(0..20, |m| {
        let p = m.process();
        let (src, dst, other) = (p.map(8), p.map(8), p.map(8));
        p.cpu_fill(src, 8, 40);
        p.cpu_fill(other, 8, 70);
        p.to_device(src, 8);
        p.to_device(other, 8);
        let copier = p.clone();
        let copies = sync::spawn(move || copier.context.copy(dst, src, 8 * PAGE));
        p.cpu_check(other, 8, 70);
        p.cpu_check(src, 8, 40);
        copies.join().expect("copy");
        p.cpu_check(dst, 8, 40);
        p.end();
    });
}

/// An entry that is there already is not written again: that would lose the device's D bit.
#[test]
fn serving_a_neighbour_keeps_a_dirty_bit() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = map_at(&p, HERE, 16);
        p.cpu_store(buf, 1);
        p.store(buf, 2).expect("store");
        for page in 1..4 {
            assert_eq!(p.load(buf + page * PAGE), Ok(0));
        }
        let before = m.stat("driver_pages_dirty");
        p.mm.munmap(buf, 16 * PAGE).expect("munmap");
        assert_eq!(m.stat("driver_pages_dirty") - before, 1);
        p.end();
    });
}

/// Exit returns only when the device has stopped, even if somebody else is closing the context at the time.
#[test]
fn exit_waits_for_a_close_under_way() {
    for_seeds(0..40, |m| {
        let p = m.process();
        let buf = p.map(4);
        let job = p.start(&fill(), &[buf.0, 4, 1], 4).expect("launch");
        let closer = p.clone();
        let closes = sync::spawn(move || closer.context.close());
        m.pause(m.seed_steps() % 5);
        p.mm.exit();
        assert_eq!(
            m.device.vram_in_use(),
            0,
            "the context is still there after exit"
        );
        closes.join().expect("close");
        if let Err(error) = job.wait() {
            assert!(
                matches!(error.errno, Errno::ESRCH | Errno::EFAULT),
                "{error}"
            );
        }
    });
}

/// A job of a context that has ended never runs in the one that gets its number next.
#[test]
fn a_late_job_does_not_run_in_the_next_context() {
    for_seeds(0..40, |m| {
        let p = m.process();
        map_at(&p, HERE, 1);
        let jobs: Vec<_> = (0..6)
            .map(|_| p.start(&store(), &[HERE.0, 7], 1).expect("launch"))
            .collect();
        p.mm.exit();
        let q = m.process();
        assert_eq!(q.context.id(), p.context.id());
        let buf = map_at(&q, HERE, 2);
        q.store(buf + PAGE, 1)
            .expect("the same program at the same address");
        m.pause(50);
        assert_eq!(q.cpu_load(buf), 0);
        for job in jobs {
            match job.wait() {
                Ok(_) => {}
                Err(error) => assert!(
                    matches!(error.errno, Errno::ESRCH | Errno::EFAULT),
                    "{error}"
                ),
            }
        }
        q.end();
    });
}

/// The same for a copy that waits behind another one.
#[test]
fn a_late_copy_does_not_run_in_the_next_context() {
    for_seeds(0..40, |m| {
        let (other, p) = (m.process(), m.process());
        let far = other.map(32);
        other.cpu_fill(far, 16, 3);
        map_at(&p, HERE, 4);
        p.cpu_fill(HERE, 2, 50);
        let (a, b) = (other.clone(), p.clone());
        let long = sync::spawn(move || a.context.copy(far + 16 * PAGE, far, 16 * PAGE));
        let late = sync::spawn(move || b.context.copy(HERE + 2 * PAGE, HERE, 2 * PAGE));
        m.pause(m.seed_steps() % 12);
        p.mm.exit();
        let q = m.process();
        map_at(&q, HERE, 4);
        q.cpu_fill(HERE, 4, 90);
        long.join().expect("copy");
        if let Err(error) = late.join() {
            assert!(
                matches!(error.errno(), Errno::ESRCH | Errno::EBADF | Errno::EFAULT),
                "{error}"
            );
        }
        q.cpu_check(HERE, 4, 90);
        other.cpu_check(far + 16 * PAGE, 16, 3);
        other.end();
        q.end();
    });
}

/// A page that is shared no more becomes writable in place: the device's entry is widened, without an invalidation.
#[test]
fn an_entry_is_widened_when_sharing_ends() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(2);
        p.cpu_fill(buf, 2, 1);
        p.mm.fork().expect("fork").exit();
        p.check(buf, 2, 1);
        let before = m.stat("driver_invalidations");
        p.fill(buf, 2, 9).expect("fill");
        assert_eq!(m.stat("driver_invalidations"), before);
        p.cpu_check(buf, 2, 9);
        let dirty = m.stat("driver_pages_dirty");
        p.mm.munmap(buf, 2 * PAGE).expect("munmap");
        assert_eq!(m.stat("driver_pages_dirty") - dirty, 2);
        p.end();
    });
}
