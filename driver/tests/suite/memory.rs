//! The device reads and writes a process's memory where it is.

use crate::common::{Machine, PAGE, Setup, for_seeds, run};
use hmm_core::{Advice, Errno, MmapOptions, Prot, Va};
use hmmu_driver::{TablePlace, hw::HwError};
use std::sync::Arc;

#[test]
fn device_reads_what_the_cpu_wrote() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(40);
        p.cpu_fill(buf, 40, 1000);
        p.check(buf, 40, 1000);
        assert!(m.device.rounds() >= 1);
        assert_eq!(m.stat("driver_pages_to_device"), 0);
        p.end();
    });
}

#[test]
fn cpu_reads_what_the_device_wrote() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(40);
        p.fill(buf, 40, 7).expect("fill");
        p.cpu_check(buf, 40, 7);
        p.end();
    });
}

#[test]
fn untouched_memory_reads_as_zero_and_then_takes_a_write() {
    for_seeds(0..2, |m| {
        let p = m.process();
        let buf = p.map(1);
        assert_eq!(p.load(buf), Ok(0));
        assert_eq!(p.words(buf, 1), ["r zero"]);
        assert_eq!(p.store(buf, 5), Ok(0));
        assert_eq!(p.cpu_load(buf), 5);
        assert_eq!(p.words(buf, 1), ["rw"]);
        p.end();
    });
}

#[test]
fn near_faults_are_served_together() {
    run(Setup::new(1), |m| {
        let p = m.process();
        let buf = p.mm.mmap(
            64 * PAGE,
            Prot::READ_WRITE,
            MmapOptions {
                huge: true,
                ..MmapOptions::default()
            },
        );
        let buf = buf.expect("mmap");
        p.cpu_fill(buf, 64, 0);
        p.check(buf, 64, 0);
        let faults = m.stat("faults");
        assert!(faults < 64 / 4, "{faults} faults for 64 present pages");
        p.end();
    });
}

#[test]
fn read_only_memory_refuses_writes_and_keeps_its_bytes() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(2);
        p.cpu_fill(buf, 2, 9);
        p.store(buf, 9).expect("writable yet");
        p.mm.mprotect(buf, PAGE, Prot::READ).expect("mprotect");
        let error = p.store(buf, 1).expect_err("a store to read-only memory");
        assert_eq!((error.errno, error.addr), (Errno::EPERM, buf.0));
        let error = p
            .fetch_add(buf, 1)
            .expect_err("an atomic on read-only memory");
        assert_eq!(error.errno, Errno::EPERM);
        p.check(buf, 2, 9);
        p.cpu_check(buf, 2, 9);
        p.mm.mprotect(buf, PAGE, Prot::READ_WRITE)
            .expect("mprotect");
        p.store(buf, 3).expect("writable again");
        assert_eq!(p.cpu_load(buf), 3);
        p.end();
    });
}

#[test]
fn holes_and_unreadable_memory_fault() {
    for_seeds(0..2, |m| {
        let p = m.process();
        let buf = p.map(3);
        p.cpu_fill(buf, 3, 0);
        p.mm.munmap(buf + PAGE, PAGE).expect("munmap");
        p.mm.mprotect(buf + 2 * PAGE, PAGE, Prot::NONE)
            .expect("mprotect");
        for page in 1..3 {
            let error = p.load(buf + page * PAGE).expect_err("a load of nothing");
            assert_eq!(
                (error.errno, error.addr),
                (Errno::EFAULT, buf.0 + page * PAGE)
            );
        }
        let error = p.load(Va(0x10)).expect_err("a load near zero");
        assert_eq!(error.errno, Errno::EFAULT);
        let error = p.load(Va(1 << 60)).expect_err("a load of no address");
        assert_eq!(error.errno, Errno::EFAULT);
        let error = p
            .load(Va(0xffff_8000_4000_0000))
            .expect_err("a load of the driver's half");
        assert_eq!(error.errno, Errno::EFAULT);
        assert_eq!(p.words(buf, 3), ["rw", "error", "error"]);
        assert_eq!(p.load(buf), Ok(0));
        p.end();
    });
}

#[test]
fn one_wrong_page_does_not_fail_its_neighbours() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(6);
        p.cpu_fill(buf, 6, 0);
        p.mm.mprotect(buf + 2 * PAGE, PAGE, Prot::READ)
            .expect("mprotect");
        let bad = p
            .start(&crate::common::programs::fill(), &[buf.0, 6, 50], 6)
            .expect("launch");
        let good = p
            .start(
                &crate::common::programs::check(),
                &[buf.0 + 2 * PAGE, 1, 2],
                1,
            )
            .expect("launch");
        assert_eq!(
            bad.wait().expect_err("one page is read-only").errno,
            Errno::EPERM
        );
        assert_eq!(good.wait(), Ok(u64::MAX));
        p.end();
    });
}

#[test]
fn fork_keeps_parent_and_child_apart() {
    for_seeds(0..6, |m| {
        let parent = m.process();
        let buf = parent.map(4);
        parent.cpu_fill(buf, 4, 1);
        parent.store(buf, 1).expect("the device maps it writable");
        let child = m.attach(parent.mm.fork().expect("fork"));
        child.fill(buf, 2, 100).expect("the child's device writes");
        parent
            .fill(buf + 2 * PAGE, 2, 200)
            .expect("the parent's device writes");
        child.cpu_check(buf, 2, 100);
        child.cpu_check(buf + 2 * PAGE, 2, 3);
        parent.cpu_check(buf, 2, 1);
        parent.check(buf, 2, 1);
        parent.cpu_check(buf + 2 * PAGE, 2, 200);
        child.end();
        parent.end();
    });
}

#[test]
fn shared_memory_stays_shared_over_fork() {
    for_seeds(0..3, |m| {
        let parent = m.process();
        let options = MmapOptions {
            share: true,
            ..MmapOptions::default()
        };
        let buf = parent
            .mm
            .mmap(2 * PAGE, Prot::READ_WRITE, options)
            .expect("mmap");
        parent.cpu_fill(buf, 2, 1);
        let child = m.attach(parent.mm.fork().expect("fork"));
        child.fill(buf, 2, 40).expect("fill");
        parent.check(buf, 2, 40);
        parent.cpu_check(buf, 2, 40);
        let error = child
            .context
            .migrate_to_device(buf, PAGE)
            .expect_err("shared memory does not migrate");
        assert_eq!(error.errno(), Errno::ENOENT);
        child.end();
        parent.end();
    });
}

#[test]
fn dropped_memory_reads_as_zero() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let buf = p.map(2);
        p.fill(buf, 2, 5).expect("fill");
        p.mm.madvise(buf, 2 * PAGE, Advice::DontNeed)
            .expect("madvise");
        assert_eq!(p.load(buf), Ok(0));
        assert_eq!(p.cpu_load(buf + PAGE), 0);
        p.end();
    });
}

#[test]
fn two_processes_with_equal_addresses_see_their_own_data() {
    for_seeds(0..4, |m| {
        let at = MmapOptions {
            at: Some(Va(0x7000_0000_0000)),
            ..MmapOptions::default()
        };
        let both: Vec<_> = (0..2u64)
            .map(|i| {
                let p = m.process();
                let buf = p.mm.mmap(8 * PAGE, Prot::READ_WRITE, at).expect("mmap");
                p.cpu_fill(buf, 8, 1000 * i);
                (p, buf)
            })
            .collect();
        assert_ne!(both[0].0.context.id(), both[1].0.context.id());
        let jobs: Vec<_> = (0..2u64)
            .map(|i| {
                let (p, buf) = &both[i as usize];
                p.start(&crate::common::programs::check(), &[buf.0, 8, 1000 * i], 4)
                    .expect("launch")
            })
            .collect();
        for job in jobs {
            assert_eq!(job.wait(), Ok(u64::MAX));
        }
        for (i, (p, buf)) in both.into_iter().enumerate() {
            p.fill(buf, 8, 77 + i as u64).expect("fill");
            p.cpu_check(buf, 8, 77 + i as u64);
            p.end();
        }
    });
}

#[test]
fn atomics_work_on_system_memory_over_the_link() {
    for_seeds(0..3, |m| {
        let p = m.process();
        let buf = p.map(3);
        assert_eq!(p.fetch_add(buf, 4), Ok(0));
        assert_eq!(p.fetch_add(buf, 1), Ok(4));
        p.run(&crate::common::programs::count(), &[buf.0, 3, 10], 3)
            .expect("count");
        assert_eq!((p.cpu_load(buf), p.cpu_load(buf + 2 * PAGE)), (15, 10));
        p.end();
    });
}

/// Counters of dirty pages before and after the entries of a range are taken away.
fn dirty_after_unmap(m: &Machine, p: &crate::common::Process, buf: Va, pages: u64) -> (u64, u64) {
    let before = (
        m.stat("driver_pages_dirty"),
        m.stat("driver_pages_accessed"),
    );
    p.mm.munmap(buf, pages * PAGE).expect("munmap");
    let after = (
        m.stat("driver_pages_dirty"),
        m.stat("driver_pages_accessed"),
    );
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn dirty_bits_are_harvested_exactly() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(12);
        p.cpu_fill(buf, 12, 0);
        // Pages 0..5 are read, of these 0 and 3 written, and page 7 too; the others are only mapped.
        p.check(buf, 5, 0);
        for page in [0, 3, 7] {
            p.store(buf + page * PAGE + 8, 1).expect("store");
        }
        assert_eq!(dirty_after_unmap(m, &p, buf, 12), (3, 6));
        p.end();
    });
}

#[test]
fn a_refused_store_leaves_the_page_clean() {
    for_seeds(0..2, |m| {
        let p = m.process();
        let buf = p.map(1);
        p.cpu_store(buf, 1);
        p.mm.mprotect(buf, PAGE, Prot::READ).expect("mprotect");
        p.store(buf, 2).expect_err("read-only");
        assert_eq!(p.load(buf), Ok(1));
        assert_eq!(dirty_after_unmap(m, &p, buf, 1), (0, 1));
        p.end();
    });
}

#[test]
fn copies_by_virtual_address_fault_and_resume() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let (src, dst) = (p.map(40), p.map(40));
        p.cpu_fill(src, 40, 3);
        p.context.copy(dst, src, 40 * PAGE).expect("copy");
        p.cpu_check(dst, 40, 3);
        p.to_device(src, 20);
        p.cpu_fill(dst, 40, 0);
        p.context
            .copy(dst + 3, src + 5, PAGE)
            .expect("unaligned copy");
        assert_eq!(p.cpu_load(dst + 3 + 4083), !3);
        p.cpu_check(src, 40, 3);
        let error = p
            .context
            .copy(Va(0x1000), src, 8)
            .expect_err("a copy to nothing");
        assert_eq!(error.errno(), Errno::EFAULT);
        p.mm.mprotect(dst, PAGE, Prot::READ).expect("mprotect");
        let error = p
            .context
            .copy(dst, src, 8)
            .expect_err("a copy to read-only memory");
        assert_eq!(error.errno(), Errno::EPERM);
        let error = p
            .context
            .copy(dst, Va(u64::MAX - 4), 8)
            .expect_err("a copy from beyond");
        assert_eq!(error.errno(), Errno::EFAULT);
        p.context.copy(dst, src, 0).expect("nothing to copy");
        p.end();
    });
}

#[test]
fn tables_in_system_memory_work_as_well() {
    let mut setup = Setup::new(3);
    setup.config.tables = TablePlace::System;
    run(setup, |m| {
        let p = m.process();
        let buf = p.map(20);
        p.cpu_fill(buf, 20, 4);
        p.check(buf, 20, 4);
        p.fill(buf, 5, 9).expect("fill");
        p.cpu_check(buf, 5, 9);
        assert_eq!(m.stat("vram_pages_tables"), 0);
        assert_eq!(dirty_after_unmap(m, &p, buf, 20), (5, 20));
        p.end();
    });
}

#[test]
fn a_full_vram_sends_tables_to_system_memory() {
    let mut setup = Setup::new(4);
    setup.vram_pages = 5;
    run(setup, |m| {
        let p = m.process();
        let buf = p.map(20);
        p.cpu_fill(buf, 20, 4);
        p.check(buf, 20, 4);
        p.fill(buf, 20, 8).expect("fill");
        p.cpu_check(buf, 20, 8);
        assert_eq!(m.device.vram_in_use(), 5);
        p.end();
    });
}

#[test]
fn contexts_run_out_and_come_back() {
    run(Setup::new(5), |m| {
        let mut all: Vec<_> = (0..16).map(|_| m.process()).collect();
        let mm = m.sys.create_mm();
        let error = m.device.open(&mm).err().expect("a 17th context");
        assert_eq!(error.errno(), Errno::EBUSY);
        all.pop().expect("one").end();
        let p = m.attach(Arc::clone(&mm));
        let buf = p.map(1);
        assert_eq!(p.store(buf, 6), Ok(0));
        assert_eq!(p.cpu_load(buf), 6);
        p.end();
        all.into_iter().for_each(crate::common::Process::end);
        let error = m.device.open(&mm).err().expect("a dead process");
        assert_eq!(error.errno(), Errno::ESRCH);
    });
}

#[test]
fn a_device_of_another_kind_is_refused() {
    run(Setup::new(6), |m| {
        struct Other;
        impl hmmu_driver::hw::Bar for Other {
            fn read(&self, _: u64) -> Result<u64, HwError> {
                Ok(u64::MAX)
            }
            fn write(&self, _: u64, _: u64) -> Result<(), HwError> {
                Ok(())
            }
            fn vram_read(&self, _: hmmu_driver::hw::VramAddr, _: &mut [u8]) -> Result<(), HwError> {
                Ok(())
            }
            fn vram_write(&self, _: hmmu_driver::hw::VramAddr, _: &[u8]) -> Result<(), HwError> {
                Ok(())
            }
        }
        let hw = hmmu_driver::Hardware {
            bar: Arc::new(Other),
            dma: Arc::new(crate::common::ram::Dma::new(Arc::clone(&m.ram))),
            irq: m.board.clone(),
            clock: m.board.clone(),
        };
        let config = hmmu_driver::DeviceConfig {
            owner: 2,
            ..Default::default()
        };
        let error = hmmu_driver::Device::probe(hw, Arc::clone(&m.sys), config).err();
        assert!(
            matches!(
                error,
                Some(hmmu_driver::DriverError::NotOurs { id: u64::MAX, .. })
            ),
            "{error:?}"
        );
    });
}

#[test]
fn dirty_pages_are_told_without_an_invalidation() {
    for_seeds(0..4, |m| {
        let p = m.process();
        let buf = p.map(8);
        p.cpu_fill(buf, 8, 0);
        p.check(buf, 8, 0);
        let dirty = || p.context.dirty(buf, 8 * PAGE).expect("dirty");
        assert_eq!(dirty(), [false; 8]);
        for page in [1, 6] {
            p.store(buf + page * PAGE + 8, 1).expect("store");
        }
        let expected = [false, true, false, false, false, false, true, false];
        let before = m.stat("driver_invalidations");
        assert_eq!(dirty(), expected);
        assert_eq!(m.stat("driver_invalidations"), before);
        // The bits outlive the entries that they were found in.
        p.mm.mprotect(buf, 8 * PAGE, Prot::READ).expect("mprotect");
        assert_eq!(dirty(), expected);
        let error = p.context.dirty(buf + 1, PAGE).expect_err("unaligned");
        assert_eq!(error.errno(), Errno::EINVAL);
        p.end();
    });
}
