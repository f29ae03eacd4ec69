//! MADV_FREE and mlock.

use std::sync::Arc;

use crate::common::device::Device;
use crate::common::*;
use crate::files::{file_with, map_file};
use hmm_core::sync::spawn;
use hmm_core::{Advice, Errno, MremapOptions, Prot, Pte, Va};

const DEV: u64 = 7;

#[test]
fn freed_pages_are_dropped_unless_written() {
    single(|| {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 6, Prot::READ_WRITE);
        mirror.write(va, &pattern(6, 1)).unwrap();
        mm.madvise(va, 6 * PAGE, Advice::Free).unwrap();
        // They keep their contents until reclaim wants them.
        expect(&mm, va, 6, 1);
        assert_eq!(mm.rss().anon, 6);
        store64(&mm, va + PAGE, 21).unwrap();
        mirror.write(va + 2 * PAGE, &22u64.to_le_bytes()).unwrap();
        mirror.read_pages(va + 3 * PAGE, 1).unwrap();
        // Written again as a whole, and moved to the device and back: both keep their contents.
        fill(&mm, va + 4 * PAGE, 1, 400);
        mirror.to_device(va + 5 * PAGE, 1).unwrap();
        mirror.write(va + 5 * PAGE, &25u64.to_le_bytes()).unwrap();
        mirror.to_system(va + 5 * PAGE, 1).unwrap();
        assert_eq!(mm.swap_out(va, 6 * PAGE), Ok(6));
        assert_eq!(sys.swapped_pages(), 4);
        assert_eq!((mm.pte(va), mm.pte(va + 3 * PAGE)), (Pte::None, Pte::None));
        assert_eq!((mm.rss().anon, mm.memcg().charged()), (0, 0));
        assert_eq!(load64(&mm, va), Ok(0));
        assert_eq!(load64(&mm, va + PAGE), Ok(21));
        assert_eq!(load64(&mm, va + PAGE + 8), Ok(2 + PAGE / 8));
        assert_eq!(load64(&mm, va + 2 * PAGE), Ok(22));
        assert_eq!(load64(&mm, va + 3 * PAGE), Ok(0));
        expect(&mm, va + 4 * PAGE, 1, 400);
        assert_eq!(load64(&mm, va + 5 * PAGE), Ok(25));
        mirror.check();
        check_quiet(&sys);
    });
}

/// The kernel's test 32, with single pages.
#[test]
fn free_of_device_pages() {
    single(|| {
        let sys = system(1024);
        let device = Device::new(&sys, 512, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 512, Prot::READ_WRITE);
        fill(&mm, va, 512, 1);
        mirror.to_device(va, 512).unwrap();
        assert!(mirror.read_pages(va, 512).unwrap().0 == pattern(512, 1));
        mm.madvise(va, 512 * PAGE, Advice::Free).unwrap();
        assert_eq!(device.used(), 512);
        assert_eq!(mm.swap_out(va, 512 * PAGE), Ok(0));
        assert!(mirror.read_pages(va, 512).unwrap().0 == pattern(512, 1));
        expect(&mm, va, 2, 1);
        mm.munmap(va, 512 * PAGE).unwrap();
        assert_eq!(device.used(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn shared_and_pinned_pages_are_not_freed() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        let pins = mm.pin(va, 1).unwrap();
        let child = mm.fork().unwrap();
        mm.madvise(va, 2 * PAGE, Advice::Free).unwrap();
        drop(pins);
        assert_eq!(mm.swap_out(va, 2 * PAGE), Ok(2));
        expect(&mm, va, 2, 1);
        expect(&child, va, 2, 1);
        // Freed first and shared afterwards: gone for both, unless one writes.
        child.exit();
        mm.swap_out(va, 2 * PAGE).unwrap();
        expect(&mm, va, 2, 1);
        mm.madvise(va, 2 * PAGE, Advice::Free).unwrap();
        let child = mm.fork().unwrap();
        store64(&child, va, 9).unwrap();
        assert_eq!(mm.swap_out(va, 2 * PAGE), Ok(2));
        assert_eq!(load64(&child, va), Ok(9));
        assert_eq!(load64(&child, va + 8), Ok(2));
        assert_eq!((load64(&mm, va), load64(&mm, va + PAGE)), (Ok(0), Ok(0)));
        assert_eq!(load64(&child, va + PAGE), Ok(0));
        check_quiet(&sys);
    });
}

#[test]
fn advice_about_the_wrong_memory() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let file = file_with(&sys, 1, 1);
        let private_file = map_file(&mm, &file, 1, Prot::READ_WRITE, false);
        let shared = map_shared(&mm, 1);
        for va in [private_file, shared] {
            store64(&mm, va, 3).unwrap();
            assert_eq!(mm.madvise(va, PAGE, Advice::Free), Err(Errno::EINVAL));
        }
        let va = map(&mm, 2, Prot::READ_WRITE);
        store64(&mm, va, 3).unwrap();
        mm.mlock(va, PAGE).unwrap();
        for advice in [Advice::Free, Advice::DontNeed] {
            assert_eq!(mm.madvise(va, PAGE, advice), Err(Errno::EINVAL));
            assert_eq!(mm.madvise(va + PAGE, 2 * PAGE, advice), Err(Errno::ENOMEM));
            assert_eq!(mm.madvise(va + 1, PAGE, advice), Err(Errno::EINVAL));
        }
        for advice in [Advice::Mergeable, Advice::Unmergeable] {
            assert_eq!(mm.madvise(shared, PAGE, advice), Ok(()));
            assert_eq!(mm.madvise(va, 3 * PAGE, advice), Err(Errno::ENOMEM));
            assert_eq!(mm.madvise(va, 0, advice), Err(Errno::EINVAL));
        }
        assert_eq!(load64(&mm, va), Ok(3));
        mm.exit();
        for advice in [Advice::Free, Advice::Mergeable, Advice::Unmergeable] {
            assert_eq!(mm.madvise(va, PAGE, advice), Err(Errno::ESRCH));
        }
        check_quiet(&sys);
    });
}

#[test]
fn free_against_writes_and_reclaim() {
    seeds(200, || {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        mirror.write(va, &pattern(2, 1)).unwrap();
        let theirs = Arc::clone(&mm);
        let reclaimer = spawn(move || {
            theirs.madvise(va, 2 * PAGE, Advice::Free).unwrap();
            theirs.swap_out(va, 2 * PAGE).unwrap();
            theirs.swap_out(va, 2 * PAGE).unwrap();
        });
        let theirs = Arc::clone(&mm);
        let cpu = spawn(move || {
            store64(&theirs, va, 10).unwrap();
            store64(&theirs, va, 11).unwrap();
            load64(&theirs, va).unwrap()
        });
        mirror.write(va + PAGE, &[20]).unwrap();
        mirror.write(va + PAGE, &[21]).unwrap();
        let seen = cpu.join();
        reclaimer.join();
        // A store that came before the advice may be lost with it, one that came after not; what a thread
        // saw after its own last store is 11 or, dropped between, 0.
        let now = load64(&mm, va).unwrap();
        assert!(matches!((seen, now), (11, 11 | 0) | (0, 0)), "{seen} {now}");
        let byte = load64(&mm, va + PAGE).unwrap() as u8;
        assert!(byte == 21 || byte == 0, "{byte}");
        // What is there now stays.
        store64(&mm, va, 12).unwrap();
        assert_eq!(mm.swap_out(va, PAGE), Ok(1));
        assert_eq!(load64(&mm, va), Ok(12));
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn mlock_brings_pages_in_and_keeps_them() {
    single(|| {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 8, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        assert_eq!(mm.swap_out(va, PAGE), Ok(1));
        mirror.to_device(va + PAGE, 1).unwrap();
        // Bytes anywhere in a page lock the page.
        mm.mlock(va + 5, 4 * PAGE).unwrap();
        assert_eq!(mm.locked_pages(), 5);
        assert_eq!(
            (mm.rss().anon, sys.swapped_pages(), device.used()),
            (5, 0, 0)
        );
        for page in 0..5 {
            assert!(matches!(mm.pte(va + page * PAGE), Pte::Present(p) if p.write));
        }
        assert_eq!(mm.swap_out(va, 8 * PAGE), Ok(0));
        assert_eq!(sys.reclaim(u64::MAX), 0);
        // It may still go to the device, and is locked when it comes back.
        mirror.to_device(va, 4).unwrap();
        expect(&mm, va, 4, 1);
        assert_eq!(mm.swap_out(va, 8 * PAGE), Ok(0));
        mm.munlock(va + PAGE, 1).unwrap();
        assert_eq!(mm.locked_pages(), 4);
        assert_eq!(mm.swap_out(va, 8 * PAGE), Ok(1));
        // A child does not inherit the lock; what it shares with its parent stays all the same.
        let child = mm.fork().unwrap();
        assert_eq!((child.locked_pages(), mm.locked_pages()), (0, 4));
        assert_eq!(child.swap_out(va, 8 * PAGE), Ok(0));
        store64(&child, va, 5).unwrap();
        assert_eq!(child.swap_out(va, 8 * PAGE), Ok(1));
        mirror.check();
        mm.exit();
        assert_eq!(mm.locked_pages(), 0);
        assert_eq!(child.swap_out(va, 8 * PAGE), Ok(3));
        expect(&child, va + PAGE, 3, 1 + PAGE / 8);
        check_quiet(&sys);
    });
}

#[test]
fn locks_follow_the_mapping() {
    single(|| {
        let sys = system(128);
        let mm = sys.create_mm();
        let va = map(&mm, 6, Prot::READ_WRITE);
        fill(&mm, va, 6, 1);
        mm.mlock(va, 6 * PAGE).unwrap();
        mm.munmap(va + 5 * PAGE, PAGE).unwrap();
        assert_eq!(mm.locked_pages(), 5);
        mm.mprotect(va, PAGE, Prot::READ).unwrap();
        assert_eq!(mm.swap_out(va, 5 * PAGE), Ok(0));
        let target = Va(0x6000_0000);
        let options = MremapOptions {
            at: Some(target),
            ..MremapOptions::default()
        };
        mm.mremap(va + PAGE, 2 * PAGE, 2 * PAGE, options).unwrap();
        assert_eq!(mm.locked_pages(), 5);
        assert_eq!(mm.swap_out(target, 2 * PAGE), Ok(0));
        let options = MremapOptions {
            dontunmap: true,
            at: Some(target + 64 * PAGE),
        };
        mm.mremap(target, 2 * PAGE, 2 * PAGE, options).unwrap();
        assert_eq!(mm.locked_pages(), 5);
        store64(&mm, target, 3).unwrap();
        assert_eq!(mm.swap_out(target, 2 * PAGE), Ok(1));
        assert_eq!(mm.swap_out(target + 64 * PAGE, 2 * PAGE), Ok(0));
        expect(&mm, target + 64 * PAGE, 2, 1 + PAGE / 8);
        // What it grows by comes in at once.
        let grown = mm.mremap(va, PAGE, 2 * PAGE, MremapOptions::default());
        assert_eq!(grown, Ok(va));
        assert!(matches!(mm.pte(va + PAGE), Pte::Present(_)));
        assert_eq!(mm.locked_pages(), 6);
        mm.munmap(va + PAGE, PAGE).unwrap();
        // A new mapping in the old place is not locked.
        let at = hmm_core::MmapOptions {
            at: Some(target + 64 * PAGE),
            ..Default::default()
        };
        mm.mmap(2 * PAGE, Prot::READ_WRITE, at).unwrap();
        store64(&mm, target + 64 * PAGE, 4).unwrap();
        assert_eq!(mm.swap_out(target + 64 * PAGE, PAGE), Ok(1));
        assert_eq!(mm.locked_pages(), 3);
        mm.munlock(va, PAGE).unwrap();
        check_quiet(&sys);
    });
}

#[test]
fn errors_of_mlock() {
    single(|| {
        let sys = system(16);
        let mm = sys.create_mm();
        let va = map(&mm, 64, Prot::READ_WRITE);
        assert_eq!(mm.mlock(va, 0), Ok(()));
        assert_eq!(mm.mlock(va, 65 * PAGE), Err(Errno::ENOMEM));
        assert_eq!(mm.mlock(va, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(mm.mlock(Va(u64::MAX), 1), Err(Errno::EINVAL));
        assert_eq!(mm.mlock(Va(1 << 47), 1), Err(Errno::EINVAL));
        assert_eq!(mm.munlock(va, 65 * PAGE), Err(Errno::ENOMEM));
        assert_eq!(mm.locked_pages(), 0);
        assert_eq!(mm.mlock(va, 64 * PAGE), Err(Errno::EAGAIN));
        assert_eq!(mm.locked_pages(), 64);
        mm.munlock(va, 64 * PAGE).unwrap();
        assert_eq!(sys.reclaim(u64::MAX), 15);
        mm.mprotect(va, PAGE, Prot::NONE).unwrap();
        assert_eq!(mm.mlock(va, PAGE), Err(Errno::ENOMEM));
        let file = file_with(&sys, 1, 1);
        let beyond = map_file(&mm, &file, 2, Prot::READ, true);
        assert_eq!(mm.mlock(beyond, 2 * PAGE), Err(Errno::ENOMEM));
        assert_eq!(mm.rss().file, 1);
        mm.exit();
        assert_eq!(mm.mlock(va, PAGE), Err(Errno::ESRCH));
        assert_eq!(mm.munlock(va, PAGE), Err(Errno::ESRCH));
        drop(file);
        assert_eq!(sys.free_pages(), 15);
        check_quiet(&sys);
    });
}
