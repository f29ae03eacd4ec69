//! Migration: the kernel's own tests (hmm-tests.c) whose subject exists here, and the corners around them.

mod common;

use common::device::Device;
use common::*;
use hmm_core::{
    Advice, Errno, MigratePfn, MigrateSelect, MigrateVma, MremapOptions, PagemapEntry, Prot, Pte,
    migrate_vma_finalize, migrate_vma_pages, migrate_vma_setup,
};

const DEV: u64 = 7;

#[test]
fn migrate_and_fault_back() {
    single(|| {
        let sys = system(2048);
        let device = Device::new(&sys, 1024, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 1024, Prot::READ_WRITE);
        fill(&mm, va, 1024, 1);
        let free = sys.free_pages();
        let (rss, charged) = (mm.rss(), mm.memcg().charged());
        mirror.to_device(va, 1024).unwrap();
        assert_eq!(device.used(), 1024);
        assert_eq!(sys.free_pages(), free + 1024);
        assert_eq!(mm.pagemap(va), PagemapEntry::Swap);
        assert_eq!((mm.rss(), mm.memcg().charged()), (rss, charged));
        let (data, rounds) = mirror.read_pages(va, 1024).unwrap();
        assert!(data == pattern(1024, 1) && rounds == 1);
        assert_eq!(device.used(), 1024);
        check_quiet(&sys);

        // The CPU reads half of it, page by page home; then the mix moves again.
        expect(&mm, va, 512, 1);
        assert_eq!(mm.pagemap(va), PagemapEntry::Present);
        assert_eq!(device.used(), 512);
        assert_eq!((mm.rss(), mm.memcg().charged()), (rss, charged));
        mirror.check();
        mirror.to_device(va, 1024).unwrap();
        assert_eq!(device.used(), 1024);
        assert!(mirror.read_pages(va, 1024).unwrap().0 == pattern(1024, 1));
        expect(&mm, va, 1024, 1);
        assert_eq!(device.used(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn migrate_to_system_counts_what_moved() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 64, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 32, Prot::READ_WRITE);
        fill(&mm, va, 32, 1);
        mirror.to_device(va, 16).unwrap();
        assert_eq!(mirror.to_system(va, 32), Ok(16));
        assert_eq!(mirror.to_system(va, 32), Ok(0));
        expect(&mm, va, 32, 1);
        check_quiet(&sys);
    });
}

#[test]
fn release_brings_everything_home() {
    single(|| {
        let sys = system(512);
        let device = Device::new(&sys, 128, DEV);
        let (mm, other) = (sys.create_mm(), sys.create_mm());
        let mirror = device.open(&mm);
        let va = map(&mm, 64, Prot::READ_WRITE);
        fill(&mm, va, 64, 1);
        mirror.to_device(va, 64).unwrap();
        let theirs = device.open(&other);
        let vb = map(&other, 16, Prot::READ_WRITE);
        theirs.to_device(vb, 16).unwrap();
        device.release();
        assert_eq!(device.used(), 0);
        assert_eq!(mirror.entry(va), None);
        assert_eq!(mm.pagemap(va), PagemapEntry::Present);
        expect(&mm, va, 64, 1);
        assert_eq!(contents(&other, vb, 16), vec![0; 16 * PAGE as usize]);
        assert_eq!(mirror.to_device(va, 1), Err(Errno::ENOENT));
        check_quiet(&sys);
    });
}

#[test]
fn shared_memory_stays() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 64, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_shared(&mm, 16);
        assert_eq!(mirror.to_device(va, 16), Err(Errno::ENOENT));
        fill(&mm, va, 16, 1);
        assert_eq!(mirror.to_device(va, 16), Err(Errno::ENOENT));
        expect(&mm, va, 16, 1);
        assert_eq!(device.used(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn migrate_mixed() {
    single(|| {
        let sys = system(256);
        let (dev0, dev1) = (Device::new(&sys, 16, 1), Device::new(&sys, 16, 2));
        let mm = sys.create_mm();
        let (m0, m1) = (dev0.open(&mm), dev1.open(&mm));
        let va = map(&mm, 6, Prot::NONE);
        let page = |i: u64| va + i * PAGE;
        assert_eq!(m1.to_device(va, 6), Err(Errno::EINVAL));
        mm.munmap(page(1), PAGE).unwrap();
        assert_eq!(m1.to_device(va, 3), Err(Errno::EINVAL));
        mm.mprotect(page(2), PAGE, Prot::READ).unwrap();
        assert_eq!(load64(&mm, page(2)), Ok(0));
        mm.mprotect(page(3), PAGE, Prot::READ_WRITE).unwrap();
        store64(&mm, page(3), 3).unwrap();
        mm.mprotect(page(3), PAGE, Prot::READ).unwrap();
        mm.mprotect(page(4), 2 * PAGE, Prot::READ_WRITE).unwrap();
        store64(&mm, page(4), 4).unwrap();
        store64(&mm, page(5), 5).unwrap();
        m1.to_device(page(2), 4).unwrap();
        assert_eq!(m1.snapshot(page(2), 4), [0x21, 0x21, 0x22, 0x22]);
        assert_eq!(m0.to_device(page(5), 1), Err(Errno::ENOENT));
        assert_eq!(load64(&mm, page(5)), Ok(5));
        assert_eq!(load64(&mm, page(2)), Ok(0));
        check_quiet(&sys);
    });
}

#[test]
fn double_map() {
    single(|| {
        let sys = system(256);
        let (dev0, dev1) = (Device::new(&sys, 16, 1), Device::new(&sys, 16, 2));
        let mm = sys.create_mm();
        let (m0, m1) = (dev0.open(&mm), dev1.open(&mm));
        let va = map(&mm, 6, Prot::READ_WRITE);
        fill(&mm, va, 6, 1);
        mm.mprotect(va, 6 * PAGE, Prot::READ).unwrap();
        for mirror in [&m0, &m1] {
            let (data, rounds) = mirror.read_pages(va, 6).unwrap();
            assert!(data == pattern(6, 1) && rounds == 1);
        }
        m1.to_device(va, 6).unwrap();
        assert_eq!(m0.entry(va), None);
        let (data, rounds) = m0.read_pages(va, 6).unwrap();
        assert!(data == pattern(6, 1));
        assert_eq!(rounds, 1);
        assert_eq!(dev1.used(), 0);
        assert_eq!(m1.entry(va), None);
        m0.check();
        m1.check();
        check_quiet(&sys);
    });
}

#[test]
fn cow_in_device() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        mirror.to_device(va, 4).unwrap();
        let child = mm.fork().unwrap();
        assert_eq!(mirror.entry(va), None);
        assert_eq!(mm.pte(va), child.pte(va));
        assert!(matches!(mm.pte(va), Pte::Device { write: false, .. }));
        fill(&mm, va, 4, 50);
        assert_eq!(device.used(), 0);
        expect(&child, va, 4, 1);
        child.exit();
        assert_eq!(mirror.snapshot(va, 4), [2; 4]);
        expect(&mm, va, 4, 50);
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
fn dontneed_mremap_and_munmap_reach_device_pages() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 32, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 16, Prot::READ_WRITE);
        fill(&mm, va, 16, 1);
        mirror.to_device(va, 16).unwrap();
        mm.madvise(va, PAGE, Advice::DontNeed).unwrap();
        assert_eq!(mirror.snapshot(va, 1), [0]);
        assert_eq!(device.used(), 15);
        assert_eq!(load64(&mm, va), Ok(0));
        mm.munmap(va + 8 * PAGE, 8 * PAGE).unwrap();
        assert_eq!(device.used(), 7);
        let moved = mm
            .mremap(va, 8 * PAGE, 12 * PAGE, MremapOptions::default())
            .unwrap();
        assert_eq!(moved, va, "grows in place");
        let to = va + 100 * PAGE;
        let options = MremapOptions {
            at: Some(to),
            dontunmap: false,
        };
        assert_eq!(mm.mremap(va, 12 * PAGE, 12 * PAGE, options), Ok(to));
        assert_eq!(
            mirror.snapshot(to, 12),
            [vec![0x11], vec![0x22; 7], vec![0; 4]].concat()[..]
        );
        assert_eq!(mirror.entry(to + PAGE), None);
        assert_eq!(load64(&mm, to + PAGE), Ok(1 + PAGE / 8));
        assert_eq!(load64(&mm, va), Err(Errno::SIGSEGV));
        let options = MremapOptions {
            at: Some(va),
            dontunmap: true,
        };
        mm.mremap(to, 12 * PAGE, 12 * PAGE, options).unwrap();
        assert_eq!(load64(&mm, to + PAGE), Ok(0));
        assert_eq!(load64(&mm, va + 7 * PAGE), Ok(1 + 7 * PAGE / 8));
        check_quiet(&sys);
        mm.exit();
        assert_eq!(device.used(), 0);
        assert_eq!(sys.free_pages(), 255);
    });
}

#[test]
fn exit_and_close_give_device_pages_back() {
    single(|| {
        let sys = system(256);
        let device = Device::new(&sys, 32, DEV);
        let free = sys.free_pages();
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 16, Prot::READ_WRITE);
        fill(&mm, va, 16, 1);
        mirror.to_device(va, 16).unwrap();
        let child = mm.fork().unwrap();
        mm.exit();
        assert_eq!(device.used(), 16);
        assert_eq!(mirror.entry(va), None);
        mirror.close();
        drop(mirror);
        // A page of a process that has no device open still faults home.
        expect(&child, va, 4, 1);
        assert_eq!(device.used(), 12);
        drop(mm);
        drop(child);
        assert_eq!(device.used(), 0);
        assert_eq!(sys.free_pages(), free);
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
