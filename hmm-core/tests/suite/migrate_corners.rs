//! Migration's corners: pins, protection, memory that runs out, a driver that gives up.

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{
    Errno, MigratePfn, MigrateSelect, MigrateVma, Prot, Pte, migrate_vma_finalize,
    migrate_vma_pages, migrate_vma_setup,
};

const DEV: u64 = 7;

#[test]
fn a_page_without_access_stays_so_wherever_it_goes() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        mirror.to_device(va, 2).unwrap();
        mm.mprotect(va, 2 * PAGE, Prot::NONE).unwrap();
        let child = mm.fork().unwrap();
        assert_eq!(mirror.snapshot(va, 2), [0xff; 2]);
        device.release();
        check_quiet(&sys);
        assert_eq!(load64(&mm, va), Err(Errno::SIGSEGV));
        assert_eq!(load64(&child, va), Err(Errno::SIGSEGV));
        mm.mprotect(va, 2 * PAGE, Prot::READ).unwrap();
        expect(&mm, va, 2, 1);
        check_quiet(&sys);
    });
}

#[test]
fn what_was_written_is_dirty_wherever_it_goes() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        store64(&mm, va, 1).unwrap();
        let dirty = |page: u64| sys.is_page_dirty(mm.pte(va + page * PAGE).pfn().unwrap());
        assert!(!dirty(0), "known from the page table so far");
        mirror.to_device(va, 2).unwrap();
        assert!(dirty(0));
        assert!(device.used() == 2 && mirror.read_pages(va, 2).is_ok());
        assert_eq!(mirror.to_system(va, 2), Ok(2));
        assert!(dirty(0));
        check_quiet(&sys);
    });
}

#[test]
fn device_writes_to_its_own_read_only_pages() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        mirror.to_device(va, 2).unwrap();
        mm.mprotect(va, 2 * PAGE, Prot::READ).unwrap();
        assert_eq!(mirror.write(va, &[1]), Err(Errno::EPERM));
        mm.mprotect(va, 2 * PAGE, Prot::READ_WRITE).unwrap();
        // Of this process alone: it becomes writable where it is.
        mirror.write(va, &[42]).unwrap();
        assert_eq!(mirror.snapshot(va, 2), [0x22, 0x21]);
        // Shared with a child: it comes home and is copied.
        let child = mm.fork().unwrap();
        mirror.write(va, &[43]).unwrap();
        assert_eq!(load64(&child, va).unwrap() & 0xff, 42);
        assert_eq!(load64(&mm, va).unwrap() & 0xff, 43);
        // The child is the last one then: no copy.
        mm.exit();
        let theirs = device.open(&child);
        theirs.to_device(va, 2).unwrap();
        theirs.write(va + PAGE, &[44]).unwrap();
        assert_eq!(theirs.snapshot(va, 2)[1], 0x22);
        check_quiet(&sys);
    });
}

#[test]
fn pinned_pages_stay_and_device_pages_come_home_to_be_pinned() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        mirror.to_device(va, 4).unwrap();
        let pins = mm.pin(va + PAGE, 2).unwrap();
        assert_eq!(mirror.snapshot(va, 4), [0x22, 0x02, 0x02, 0x22]);
        assert_eq!(mirror.to_device(va, 4), Err(Errno::ENOENT));
        assert_eq!(mirror.snapshot(va, 4), [0x22, 0x02, 0x02, 0x22]);
        check_quiet(&sys);
        // The pin is the parent's: a child gets a copy, and the parent writes to the pinned page.
        let child = mm.fork().unwrap();
        store64(&mm, va + PAGE, 99).unwrap();
        assert!(matches!(mm.pte(va + PAGE), Pte::Present(p) if p.pfn == pins.pfns()[0]));
        assert_eq!(load64(&child, va + PAGE), Ok(1 + PAGE / 8));
        child.exit();
        drop(pins);
        mirror.to_device(va, 4).unwrap();
        assert_eq!(load64(&mm, va + PAGE), Ok(99));
        check_quiet(&sys);
    });
}

#[test]
fn pinning_read_only_memory_takes_a_copy_of_ones_own() {
    single(|| {
        let sys = system(256);
        let mm = sys.create_mm();
        let va = map(&mm, 2, Prot::READ_WRITE);
        store64(&mm, va, 5).unwrap();
        mm.mprotect(va, 2 * PAGE, Prot::READ).unwrap();
        let child = mm.fork().unwrap();
        let pins = child.pin(va, 2).unwrap();
        assert!(pins.pfns().iter().all(|&pfn| pfn != sys.zero_page()));
        assert_ne!(mm.pte(va).pfn(), child.pte(va).pfn());
        assert_eq!(load64(&child, va), Ok(5));
        assert_eq!(child.pin(va, 3).err(), Some(Errno::EFAULT));
        drop(pins);
        check_quiet(&sys);
    });
}

#[test]
fn empty_places_are_allocated_on_the_device() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 8, Prot::READ_WRITE);
        assert_eq!(load64(&mm, va), Ok(0));
        mirror.to_device(va, 8).unwrap();
        assert_eq!(mm.rss().anon, 8);
        assert_eq!(mm.memcg().charged(), 8);
        assert_eq!(mirror.snapshot(va, 8), [0x22; 8]);
        assert_eq!(contents(&mm, va, 8), vec![0; 8 * PAGE as usize]);
        check_quiet(&sys);
        // The control group is full: what is not charged yet cannot be made there, what is comes home.
        mirror.to_device(va, 8).unwrap();
        let more = map(&mm, 4, Prot::READ_WRITE);
        mm.memcg().set_limit(10);
        assert_eq!(mirror.to_device(more, 4), Err(Errno::ENOENT));
        assert_eq!(mm.rss().anon, 10);
        expect_zero(&mm, va);
        assert_eq!(store64(&mm, more + 3 * PAGE, 1), Err(Errno::ENOMEM));
        check_quiet(&sys);
    });
}

fn expect_zero(mm: &std::sync::Arc<hmm_core::Mm>, va: hmm_core::Va) {
    assert_eq!(load64(mm, va), Ok(0));
}

#[test]
fn no_device_memory_left_is_partial_success() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 10, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 16, Prot::READ_WRITE);
        fill(&mm, va, 16, 1);
        device.fail_allocations(2);
        assert_eq!(
            device.migrate_to_device(&mirror, va, va + 16 * PAGE),
            Ok(10)
        );
        assert_eq!(
            mirror.snapshot(va, 13),
            [vec![2; 2], vec![0x22; 10], vec![2]].concat()[..]
        );
        expect(&mm, va, 16, 1);
        check_quiet(&sys);
    });
}

#[test]
fn no_system_memory_on_the_way_home_is_an_error_that_passes() {
    single(|| {
        let sys = system(20);
        let device = Device::new(&sys, 32, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 16, Prot::READ_WRITE);
        fill(&mm, va, 16, 1);
        mirror.to_device(va, 16).unwrap();
        let mut taken = Vec::new();
        while let Some(pfn) = sys.alloc_page() {
            taken.push(pfn);
        }
        assert_eq!(load64(&mm, va), Err(Errno::ENOMEM));
        assert_eq!(device.used(), 16);
        sys.check_quiescent(taken.len() as u64).unwrap();
        for pfn in taken {
            sys.put_page(pfn);
        }
        expect(&mm, va, 16, 1);
        check_quiet(&sys);
    });
}

#[test]
fn a_migration_that_the_driver_gives_up_leaves_everything_as_it_was() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        let before: Vec<Pte> = (0..4).map(|i| mm.pte(va + i * PAGE)).collect();
        {
            let guard = mm.mmap_read_lock();
            let mut args = MigrateVma::new(va, va + 4 * PAGE, MigrateSelect::SYSTEM, DEV);
            migrate_vma_setup(&guard, &mut args).unwrap();
            assert_eq!(args.cpages, 4);
            assert!(args.src[0].is_write() && args.src[2].pfn().is_none());
            assert!(matches!(mm.pte(va), Pte::Migration { .. }));
            check(&sys);
            // Once without the middle step, as after an error of the copy engine.
            migrate_vma_finalize(
                &guard,
                &mut MigrateVma {
                    src: give_up(&args.src),
                    ..args
                },
            );
            let mut args = MigrateVma::new(va, va + 4 * PAGE, MigrateSelect::SYSTEM, DEV);
            migrate_vma_setup(&guard, &mut args).unwrap();
            migrate_vma_pages(&guard, &mut args);
            assert!(args.src.iter().all(|src| !src.is_migrate()));
            migrate_vma_finalize(&guard, &mut args);
        }
        let after: Vec<Pte> = (0..4).map(|i| mm.pte(va + i * PAGE)).collect();
        assert_eq!(before, after);
        expect(&mm, va, 2, 1);
        check_quiet(&sys);
    });
}

fn give_up(src: &[MigratePfn]) -> Vec<MigratePfn> {
    src.iter()
        .map(|s| MigratePfn(s.0 & !MigratePfn::MIGRATE))
        .collect()
}

#[test]
fn a_page_that_somebody_uses_stays() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        let user = mm.pte(va).pfn().unwrap();
        sys.get_page(user);
        assert_eq!(mirror.to_device(va, 2), Err(Errno::ENOENT));
        assert_eq!(mm.pte(va).pfn(), Some(user));
        assert_eq!(device.used(), 1);
        sys.put_page(user);
        mirror.to_device(va, 2).unwrap();
        expect(&mm, va, 2, 1);

        // One that turns up between the steps.
        let user = mm.pte(va).pfn().unwrap();
        {
            let guard = mm.mmap_read_lock();
            let mut args = MigrateVma::new(va, va + PAGE, MigrateSelect::SYSTEM, DEV);
            migrate_vma_setup(&guard, &mut args).unwrap();
            assert_eq!(args.cpages, 1);
            sys.get_page(user);
            let dst = sys.alloc_page().unwrap();
            sys.lock_page(dst);
            args.dst[0] = MigratePfn::page(dst);
            migrate_vma_pages(&guard, &mut args);
            assert!(!args.src[0].is_migrate());
            migrate_vma_finalize(&guard, &mut args);
        }
        assert_eq!(mm.pte(va).pfn(), Some(user));
        sys.put_page(user);
        expect(&mm, va, 2, 1);
        check_quiet(&sys);
    });
}

#[test]
fn shared_memory_written_by_two_processes_may_be_looked_at_in_the_middle_of_a_migration() {
    single(|| {
        let sys = system(64);
        let parent = sys.create_mm();
        let va = map_shared(&parent, 1);
        fill(&parent, va, 1, 1);
        let child = parent.fork().unwrap();
        fill(&child, va, 1, 2);
        {
            let guard = parent.mmap_read_lock();
            let mut args = MigrateVma::new(va, va + PAGE, MigrateSelect::SYSTEM, DEV);
            migrate_vma_setup(&guard, &mut args).unwrap();
            // Both wrote it, so both entries come back writable.
            check(&sys);
            migrate_vma_pages(&guard, &mut args);
            migrate_vma_finalize(&guard, &mut args);
        }
        expect(&parent, va, 1, 2);
        check_quiet(&sys);
    });
}
