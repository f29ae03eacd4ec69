//! Device memory that the CPU reaches.

use crate::common::device::Device;
use crate::common::*;
use hmm_core::sync::spawn;
use hmm_core::{DeviceMemory, Errno, PagemapEntry, Prot, Pte};
use std::sync::Arc;

const DEV: u64 = 7;

fn on_device(pte: Pte) -> bool {
    pte.pfn().is_some_and(hmm_core::Pfn::is_device)
}

#[test]
fn the_cpu_uses_the_page_where_it_is() {
    single(|| {
        let sys = system(64);
        let device = Device::coherent(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        // Two pages written, one that reads as zero, one untouched.
        fill(&mm, va, 2, 3);
        assert_eq!(load64(&mm, va + 2 * PAGE), Ok(0));
        mirror.to_device(va, 4).unwrap();
        assert_eq!(mirror.snapshot(va, 4), [0x42; 4]);
        assert_eq!(mm.pagemap(va), PagemapEntry::Present);
        assert_eq!((mm.rss().anon, mm.memcg().charged()), (4, 4));
        expect(&mm, va, 2, 3);
        store64(&mm, va + 3 * PAGE, 9).unwrap();
        assert_eq!(device.used(), 4);
        assert_eq!(
            mirror.read_pages(va + 3 * PAGE, 1).unwrap().0[..8],
            9u64.to_le_bytes()
        );
        mirror.write(va, &77u64.to_le_bytes()).unwrap();
        assert_eq!(load64(&mm, va), Ok(77));
        mirror.check();
        check_quiet(&sys);
        // A migration by a device that means its private memory, or of another owner, takes none.
        let other = Device::coherent(&sys, 16, DEV + 1);
        assert_eq!(other.open(&mm).to_system(va, 4), Ok(0));
        assert_eq!(mirror.to_system(va, 4), Ok(4));
        assert_eq!(mirror.to_system(va, 4), Ok(0));
        assert_eq!(device.used(), 0);
        assert_eq!(load64(&mm, va), Ok(77));
        assert_eq!(load64(&mm, va + 2 * PAGE), Ok(0));
        check_quiet(&sys);
    });
}

/// The kernel's `hmm_gup_test`.
#[test]
fn pins_move_the_page_and_short_references_do_not() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 0);
        mirror.to_device(va, 4).unwrap();
        let short = mm.get_user_pages(va, 2).unwrap();
        let long = mm.pin(va + 2 * PAGE, 2).unwrap();
        let expected = match kind {
            DeviceMemory::Coherent => [0x42, 0x42, 2, 2],
            _ => [2; 4],
        };
        assert_eq!(mirror.snapshot(va, 4), expected);
        expect(&mm, va, 4, 0);
        check_quiet(&sys);
        // Held pages do not move; a long-term pin of one that somebody else holds on the device fails.
        assert_eq!(mirror.to_system(va, 4), Ok(0));
        if kind == DeviceMemory::Coherent {
            assert_eq!(mm.pin(va, 1).err(), Some(Errno::EBUSY));
            check_quiet(&sys);
        } else {
            assert_eq!(mirror.to_device(va, 4), Err(Errno::ENOENT));
        }
        drop((short, long));
        drop(mm.pin(va, 4).unwrap());
        assert_eq!(device.used(), 0);
        check_quiet(&sys);
    });
}

/// The kernel's `hmm_cow_in_device`.
#[test]
fn a_write_after_fork_copies_to_system_memory() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 0);
        mirror.to_device(va, 4).unwrap();
        let child = mm.fork().unwrap();
        fill(&mm, va, 4, 100);
        expect(&child, va, 4, 0);
        if kind == DeviceMemory::Coherent {
            assert!(on_device(child.pte(va)), "the child still uses it in place");
        }
        child.exit();
        assert_eq!(mirror.snapshot(va, 4), [2; 4]);
        assert_eq!(device.used(), 0);
        expect(&mm, va, 4, 100);
        check_quiet(&sys);
    });
}

#[test]
fn a_device_page_shared_by_fork_moves_for_all() {
    single(|| {
        let sys = system(64);
        let device = Device::coherent(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 0);
        mirror.to_device(va, 2).unwrap();
        let child = mm.fork().unwrap();
        let theirs = device.open(&child);
        assert_eq!(theirs.snapshot(va, 2), [0x41; 2]);
        // Pinned for reading: a copy of its own, in system memory.
        mm.mprotect(va, 2 * PAGE, Prot::READ).unwrap();
        let pins = mm.pin(va, 1).unwrap();
        assert!(!pins.pfns()[0].is_device());
        assert!(on_device(child.pte(va)) && on_device(child.pte(va + PAGE)));
        drop(pins);
        assert_eq!(mirror.to_system(va, 2), Ok(1));
        assert!(!on_device(child.pte(va + PAGE)));
        expect(&child, va, 2, 0);
        device.release();
        expect(&mm, va, 2, 0);
        expect(&child, va, 2, 0);
        check_quiet(&sys);
    });
}

#[test]
fn memory_that_does_not_answer_is_a_bus_error() {
    single(|| {
        let sys = system(64);
        let device = Device::coherent(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 5);
        mirror.to_device(va, 2).unwrap();
        let child = mm.fork().unwrap();
        device.set_broken(true);
        let before = sys.free_pages();
        assert_eq!(load64(&mm, va), Err(Errno::SIGBUS));
        assert_eq!(store64(&child, va, 1), Err(Errno::SIGBUS), "the copy fails");
        child.exit();
        assert_eq!(store64(&mm, va, 1), Err(Errno::SIGBUS));
        assert_eq!(mm.pin(va, 1).err(), Some(Errno::EFAULT));
        assert_eq!(sys.free_pages(), before);
        check_quiet(&sys);
        device.set_broken(false);
        expect(&mm, va, 2, 5);
        mm.exit();
        check_quiet(&sys);
        assert_eq!(device.used(), 0);
    });
}

#[test]
fn no_memory_to_bring_a_page_home_to() {
    single(|| {
        let sys = system(8);
        let device = Device::coherent(&sys, 4, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 8, Prot::READ_WRITE);
        fill(&mm, va, 1, 5);
        mirror.to_device(va, 1).unwrap();
        fill(&mm, va + PAGE, 7, 9);
        assert_eq!(sys.free_pages(), 0);
        assert_eq!(mm.pin(va, 1).err(), Some(Errno::ENOMEM));
        assert_eq!(mirror.exclusive(va, 1).err(), Some(Errno::ENOMEM));
        expect(&mm, va, 1, 5);
        check_quiet(&sys);
        mm.munmap(va + PAGE, PAGE).unwrap();
        mirror.exclusive(va, 1).unwrap();
        expect(&mm, va, 1, 5);
        check_quiet(&sys);
    });
}

#[test]
fn cpu_stores_against_migration_both_ways_and_pins() {
    seeds(200, || {
        let sys = system(64);
        let device = Device::coherent(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 0);
        let theirs = Arc::clone(&mm);
        let writer = spawn(move || {
            for n in 1..6u64 {
                for page in 0..2 {
                    store64(&theirs, va + page * PAGE, n).unwrap();
                    assert_eq!(load64(&theirs, va + page * PAGE), Ok(n));
                }
            }
        });
        let theirs = Arc::clone(&mm);
        let pinner = spawn(move || {
            let pins = theirs.pin(va, 1).unwrap();
            assert!(!pins.pfns()[0].is_device());
            check(theirs.system());
            assert_eq!(theirs.pte(va).pfn(), Some(pins.pfns()[0]));
        });
        for _ in 0..2 {
            let _ = mirror.to_device(va, 2);
            check(&sys);
            mirror.to_system(va, 2).unwrap();
        }
        writer.join();
        pinner.join();
        assert_eq!(load64(&mm, va), Ok(5));
        assert_eq!(load64(&mm, va + 8), Ok(1));
        mirror.check();
        check_quiet(&sys);
        mm.exit();
        assert_eq!(device.used(), 0);
    });
}
