//! Migration: the kernel's own tests (hmm-tests.c) whose subject exists here.

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{Advice, Errno, MremapOptions, PagemapEntry, Prot, Pte};

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
