//! A device that stops answering, or is taken out: every call ends, with an error that names what did not answer.

use crate::common::programs::spin;
use crate::common::{PAGE, Process, Setup};
use hmm_core::{Errno, sync};
use hmmu_driver::DriverError;
use std::sync::atomic::Ordering;

/// Runs a test in which the device hangs; nothing is asked of the machine's state afterwards.
fn hang(seed: u64, body: impl FnOnce(&crate::common::Machine, &Process) + Send + 'static) {
    let result = sync::run(seed, move || {
        let m = crate::common::Machine::new(Setup::new(seed));
        let p = m.process();
        body(&m, &p);
        m.device.shutdown();
    });
    if let Err(text) = result {
        panic!("seed {seed}: {text}");
    }
}

#[test]
fn a_launched_job_ends_with_an_error() {
    hang(1, |m, p| {
        let buf = p.map(1);
        m.board.hung.store(true, Ordering::Relaxed);
        let error = p.load(buf).expect_err("no answer");
        assert!(
            matches!(error.errno, Errno::EIO | Errno::ETIMEDOUT),
            "{error}"
        );
        assert!(m.device.lost().is_some());
    });
}

#[test]
fn an_invalidation_ends_and_the_device_is_given_up() {
    hang(2, |m, p| {
        let buf = p.map(2);
        p.fill(buf, 2, 1).expect("fill");
        let job = p.start(&spin(), &[], 1).expect("launch");
        m.board.hung.store(true, Ordering::Relaxed);
        p.mm.munmap(buf, PAGE).expect("munmap ends");
        let lost = m.device.lost().expect("lost");
        assert!(lost.to_string().contains("the invalidation of"), "{lost}");
        assert_eq!(job.wait().expect_err("lost").errno, Errno::EIO);
        // What the CPU has is the CPU's still, and nothing waits for the device again.
        p.cpu_check(buf + PAGE, 1, 2);
        let before = m.board.clone();
        let start = hmmu_driver::hw::Clock::now(before.as_ref());
        assert!(matches!(
            p.start(&spin(), &[], 1).err(),
            Some(DriverError::Lost(_))
        ));
        assert!(matches!(
            m.device.open(&m.sys.create_mm()).err(),
            Some(DriverError::Lost(_))
        ));
        assert_eq!(
            p.context
                .copy(buf + PAGE, buf + PAGE, 8)
                .expect_err("lost")
                .errno(),
            Errno::EIO
        );
        assert_eq!(hmmu_driver::hw::Clock::now(before.as_ref()), start);
        p.mm.exit();
    });
}

#[test]
fn a_migration_leaves_the_data_where_it_was_and_no_page_behind() {
    hang(3, |m, p| {
        let buf = p.map(4);
        p.cpu_fill(buf, 4, 6);
        // Takes what else the device needs: tables, room for programs.
        p.check(buf, 4, 6);
        let used = m.device.vram_in_use();
        m.board.hung.store(true, Ordering::Relaxed);
        let error = p
            .context
            .migrate_to_device(buf, 4 * PAGE)
            .expect_err("no answer");
        assert!(
            matches!(error.errno(), Errno::ENOENT | Errno::EIO),
            "{error}"
        );
        p.cpu_check(buf, 4, 6);
        assert_eq!(m.stat_or_none("vram_pages_processes"), None);
        assert_eq!(m.device.vram_in_use(), used);
        p.mm.exit();
    });
}

#[test]
fn a_cpu_touch_of_a_page_that_cannot_come_home_is_a_bus_error() {
    hang(4, |m, p| {
        let buf = p.map(1);
        p.cpu_fill(buf, 1, 6);
        p.to_device(buf, 1);
        m.board.hung.store(true, Ordering::Relaxed);
        let mut word = [0; 8];
        assert_eq!(p.mm.load(buf, &mut word), Err(Errno::SIGBUS));
        // The device comes back: nothing was lost, and the window brings the page home.
        m.board.hung.store(false, Ordering::Relaxed);
        p.cpu_check(buf, 1, 6);
        p.mm.exit();
    });
}

#[test]
fn exit_and_close_end() {
    hang(5, |m, p| {
        let buf = p.map(2);
        p.fill(buf, 2, 1).expect("fill");
        let job = p.start(&spin(), &[], 2).expect("launch");
        m.pause(10);
        m.board.hung.store(true, Ordering::Relaxed);
        p.mm.exit();
        let lost = m.device.lost().expect("lost");
        assert!(lost.to_string().contains("the stop of context 0"), "{lost}");
        assert_eq!(job.wait().expect_err("lost").errno, Errno::EIO);
        p.context.close().expect("close");
        assert_eq!(m.sys.free_pages(), m.free_at_start);
    });
}

#[test]
fn pages_of_a_device_that_was_taken_out_are_lost_and_let_go() {
    for coherent in [false, true] {
        let mut setup = Setup::new(6);
        setup.config.coherent = coherent;
        let result = sync::run(6, move || {
            let m = crate::common::Machine::new(setup);
            let (p, other) = (m.process(), m.process());
            let (buf, kept) = (p.map(6), other.map(2));
            p.cpu_fill(buf, 6, 6);
            other.cpu_fill(kept, 2, 90);
            p.to_device(buf, 4);
            let child = p.mm.fork().expect("a child");
            m.board.gone.store(true, Ordering::Relaxed);
            let load = |mm: &std::sync::Arc<hmm_core::Mm>, page| {
                let mut word = [0; 8];
                mm.load(buf + page * PAGE, &mut word)
                    .map(|()| u64::from_le_bytes(word))
            };
            assert_eq!(load(&p.mm, 1), Err(Errno::SIGBUS));
            // Nothing can be saved, and nothing keeps the device in the system.
            assert_eq!(m.device.release(), Ok(0));
            for mm in [&p.mm, &child] {
                for page in 0..4 {
                    assert_eq!(load(mm, page), Err(Errno::SIGBUS), "page {page}");
                }
                assert_eq!(load(mm, 5), Ok(11));
                assert_eq!(mm.rss().anon, 2);
            }
            m.sys.check_invariants().expect("invariants");
            // What it had is memory again once it is mapped anew.
            p.mm.munmap(buf, PAGE).expect("munmap");
            let options = hmm_core::MmapOptions {
                at: Some(buf),
                ..Default::default()
            };
            let prot = hmm_core::Prot::READ_WRITE;
            assert_eq!(p.mm.mmap(PAGE, prot, options), Ok(buf));
            assert_eq!(load(&p.mm, 0), Ok(0));
            other.cpu_check(kept, 2, 90);
            m.device.shutdown();
            assert_eq!(m.device.unplug(), Ok(0));
            for mm in [&p.mm, &child, &other.mm] {
                mm.exit();
            }
            m.sys.check_invariants().expect("invariants");
            assert_eq!(m.sys.free_pages(), m.free_at_start);
        });
        if let Err(text) = result {
            panic!("coherent {coherent}: {text}");
        }
    }
}
