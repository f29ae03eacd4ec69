//! Pages that a memory failure took.

use std::sync::Arc;

use crate::common::device::Device;
use crate::common::*;
use crate::files::{file_with, map_file};
use hmm_core::sync::spawn;
use hmm_core::{Advice, Errno, MremapOptions, PagemapEntry, Prot, Pte, Va, lose_device_range};

const DEV: u64 = 7;

#[test]
fn everybody_who_had_the_page_gets_a_bus_error() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 3, Prot::READ_WRITE);
        mirror.write(va, &pattern(3, 1)).unwrap();
        let child = mm.fork().unwrap();
        mirror.read_pages(va, 3).unwrap();
        let pfn = mm.pte(va).pfn().unwrap();
        let free = sys.free_pages();
        mm.poison(va + 100).unwrap();
        assert_eq!((sys.poisoned_pages(), sys.free_pages()), (1, free));
        assert_eq!((mm.rss().anon, child.rss().anon), (2, 2));
        assert_eq!(mm.memcg().charged(), 2);
        for mm in [&mm, &child] {
            assert_eq!(mm.pte(va), Pte::Poison);
            assert_eq!(load64(mm, va), Err(Errno::SIGBUS));
            assert_eq!(store64(mm, va, 1), Err(Errno::SIGBUS));
            assert_eq!(mm.pin(va, 1).err(), Some(Errno::EFAULT));
            expect(mm, va + PAGE, 2, 1 + PAGE / 8);
        }
        assert_eq!(mirror.entry(va), None);
        assert_eq!(mirror.read(va, &mut [0]), Err(Errno::EFAULT));
        assert_eq!(mirror.write(va, &[0]), Err(Errno::EFAULT));
        assert_eq!(mirror.snapshot(va, 3), [0, 1, 1]);
        assert_eq!(mm.pagemap(va), PagemapEntry::Swap);
        assert_eq!(mirror.to_device(va, 2), Err(Errno::ENOENT));
        assert_eq!(device.used(), 1);
        assert_eq!(mm.swap_out(va, PAGE), Ok(0));
        assert_eq!(mm.poison(va), Err(Errno::EHWPOISON));
        check_quiet(&sys);

        // The entry is copied, moved, protected, and thrown away; the page is never given out again.
        let grandchild = child.fork().unwrap();
        assert_eq!(load64(&grandchild, va), Err(Errno::SIGBUS));
        mm.mprotect(va, PAGE, Prot::READ).unwrap();
        let options = MremapOptions {
            at: Some(Va(0x7000_0000)),
            ..MremapOptions::default()
        };
        let moved = mm.mremap(va, PAGE, PAGE, options).unwrap();
        assert_eq!(load64(&mm, moved), Err(Errno::SIGBUS));
        mm.munmap(moved, PAGE).unwrap();
        child.madvise(va, PAGE, Advice::DontNeed).unwrap();
        assert_eq!(load64(&child, va), Ok(0));
        store64(&child, va, 5).unwrap();
        let mut taken: Vec<_> = std::iter::from_fn(|| sys.alloc_page()).collect();
        assert!(!taken.contains(&pfn));
        taken.drain(..).for_each(|pfn| sys.put_page(pfn));
        for mm in [mm, child, grandchild] {
            mm.exit();
        }
        assert_eq!(device.used(), 0);
        assert_eq!(sys.free_pages(), 63 - sys.poisoned_pages());
        check_quiet(&sys);
    });
}

#[test]
fn where_there_is_no_page_yet() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 4, Prot::READ_WRITE);
        assert_eq!(load64(&mm, va), Ok(0));
        store64(&mm, va + 2 * PAGE, 1).unwrap();
        assert_eq!(mm.swap_out(va + 2 * PAGE, PAGE), Ok(1));
        for page in 0..3 {
            mm.poison(va + page * PAGE).unwrap();
            assert_eq!(load64(&mm, va + page * PAGE), Err(Errno::SIGBUS));
        }
        assert_eq!((sys.poisoned_pages(), sys.swapped_pages()), (3, 0));
        assert_eq!(load64(&mm, va + 3 * PAGE), Ok(0));
        assert_eq!(mm.rss().anon, 0);
        mm.mprotect(va + 3 * PAGE, PAGE, Prot::NONE).unwrap();
        mm.poison(va + 3 * PAGE).unwrap_err();
        assert_eq!(mm.poison(Va(1 << 47)), Err(Errno::EINVAL));
        assert_eq!(mm.poison(Va(PAGE)), Err(Errno::EFAULT));
        mm.exit();
        assert_eq!(mm.poison(va), Err(Errno::ESRCH));
        assert_eq!(sys.free_pages(), 60);
        check_quiet(&sys);
    });
}

#[test]
fn a_page_in_device_memory_stays_there() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 4, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        mirror.to_device(va, 4).unwrap();
        mirror.write(va, &[1]).unwrap();
        let (free, page) = (sys.free_pages(), mm.pte(va).pfn().unwrap());
        mm.poison(va).unwrap();
        assert_eq!((sys.free_pages(), sys.poisoned_pages()), (free, 0));
        // Nobody uses it, but the driver has not got it back to give out again.
        assert_eq!(device.used(), 3);
        assert_eq!(load64(&mm, va), Err(Errno::SIGBUS));
        assert_eq!(mirror.read(va, &mut [0]), Err(Errno::EFAULT));
        assert_eq!(mirror.snapshot(va, 4), [0, 0x22, 0x22, 0x22]);
        mm.madvise(va, PAGE, Advice::DontNeed).unwrap();
        assert_eq!(mirror.to_device(va, 4), Err(Errno::ENOENT));
        assert_ne!(mm.pte(va).pfn(), Some(page));
        expect(&mm, va + PAGE, 3, 1 + PAGE / 8);
        mirror.check();
        check_quiet(&sys);
        mm.exit();
        device.release();
        check_quiet(&sys);
    });
}

#[test]
fn pages_of_files_come_again_from_disk() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 4, DEV);
        let file = file_with(&sys, 4, 1);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_file(&mm, &file, 4, Prot::READ_WRITE, true);
        let private = map_file(&mm, &file, 4, Prot::READ_WRITE, false);
        sys.reclaim(u64::MAX);
        expect(&mm, va, 4, 1);
        expect(&mm, private, 4, 1);
        mirror.read_pages(va, 4).unwrap();
        // Clean: nothing is lost.
        mm.poison(private).unwrap();
        assert_eq!(sys.poisoned_pages(), 1);
        assert!(mm.pte(va).is_none() && mm.pte(private).is_none());
        assert_eq!(mirror.entry(va), None);
        expect(&mm, va, 1, 1);
        expect(&mm, private, 1, 1);
        // Written by the device and not yet on disk: lost, and said so to everybody.
        mirror.write(va + PAGE, &9u64.to_le_bytes()).unwrap();
        let at = PAGE;
        mm.poison(va + PAGE).unwrap();
        for va in [va, private] {
            assert_eq!(load64(&mm, va + PAGE), Err(Errno::SIGBUS));
        }
        assert_eq!(mirror.read(va + PAGE, &mut [0]), Err(Errno::EFAULT));
        let later = map_file(&mm, &file, 4, Prot::READ, true);
        assert_eq!(load64(&mm, later + PAGE), Err(Errno::SIGBUS));
        assert_eq!(file.read(at, &mut [0]), Err(Errno::EIO));
        assert_eq!(file.write(at + 8, &[1]), Err(Errno::EIO));
        check_quiet(&sys);
        // A whole page written anew is good again; so is one that was cut off.
        file.write(at, &pattern(1, 50)).unwrap();
        expect(&mm, later + PAGE, 1, 50);
        mm.madvise(va + PAGE, PAGE, Advice::DontNeed).unwrap();
        expect(&mm, va + PAGE, 1, 50);
        store64(&mm, va + 3 * PAGE, 8).unwrap();
        mm.poison(va + 3 * PAGE).unwrap();
        file.truncate(3 * PAGE).unwrap();
        file.truncate(4 * PAGE).unwrap();
        assert_eq!(load64(&mm, va + 3 * PAGE), Ok(0));
        expect(&mm, va + 2 * PAGE, 1, 1 + 2 * PAGE / 8);
        mirror.check();
        check_quiet(&sys);
        mm.exit();
        drop(file);
        assert_eq!(sys.free_pages(), 63 - sys.poisoned_pages());
        check_quiet(&sys);
    });
}

#[test]
fn a_copy_of_a_file_and_shared_memory() {
    single(|| {
        let sys = system(64);
        let file = file_with(&sys, 1, 1);
        let mm = sys.create_mm();
        let private = map_file(&mm, &file, 1, Prot::READ_WRITE, false);
        store64(&mm, private, 5).unwrap();
        mm.poison(private).unwrap();
        assert_eq!(load64(&mm, private), Err(Errno::SIGBUS));
        mm.madvise(private, PAGE, Advice::DontNeed).unwrap();
        assert_eq!(load64(&mm, private), Ok(1));
        let shared = map_shared(&mm, 2);
        fill(&mm, shared, 1, 1);
        let child = mm.fork().unwrap();
        assert_eq!(load64(&child, shared), Ok(1));
        child.poison(shared).unwrap();
        assert_eq!(load64(&mm, shared), Err(Errno::SIGBUS));
        // Zeros would be wrong, for who comes later too.
        let later = child.fork().unwrap();
        assert_eq!(load64(&later, shared), Err(Errno::SIGBUS));
        assert_eq!(load64(&later, shared + PAGE), Ok(0));
        check_quiet(&sys);
    });
}

#[test]
fn a_pinned_page_is_unmapped_all_the_same() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 1, Prot::READ_WRITE);
        let pins = mm.pin(va, 1).unwrap();
        let free = sys.free_pages();
        mm.poison(va).unwrap();
        assert_eq!(load64(&mm, va), Err(Errno::SIGBUS));
        assert_eq!(sys.page_refs(pins.pfns()[0]), 1);
        check_quiet(&sys);
        drop(pins);
        assert_eq!((sys.free_pages(), sys.poisoned_pages()), (free, 1));
        check_quiet(&sys);
    });
}

#[test]
fn poison_against_device_and_cpu() {
    seeds(200, || {
        let sys = system(64);
        let device = Device::new(&sys, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        let child = mm.fork().unwrap();
        let theirs = Arc::clone(&mm);
        let failure = spawn(move || theirs.poison(va));
        let theirs = Arc::clone(&child);
        let second = spawn(move || theirs.poison(va));
        let theirs = Arc::clone(&mm);
        let cpu = spawn(move || {
            let seen = load64(&theirs, va);
            assert!(matches!(seen, Ok(1) | Err(Errno::SIGBUS)));
            check(theirs.system());
            theirs.swap_out(va, 2 * PAGE).unwrap();
        });
        let theirs = Arc::clone(&mirror);
        let mover = spawn(move || {
            let moved = theirs.to_device(va, 2);
            assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
        });
        match mirror.read_pages(va, 2) {
            Ok((data, _)) => assert!(data == pattern(2, 1)),
            Err(error) => assert_eq!(error, Errno::EFAULT),
        }
        let results = [failure.join(), second.join()];
        cpu.join();
        mover.join();
        // One page for both, or, when it was copied or swapped between, one each.
        assert!(results.contains(&Ok(())));
        for (result, mm) in results.iter().zip([&mm, &child]) {
            assert!(matches!(result, Ok(()) | Err(Errno::EHWPOISON)));
            assert_eq!(mm.pte(va), Pte::Poison);
            assert_eq!(load64(mm, va), Err(Errno::SIGBUS));
            expect(mm, va + PAGE, 1, 1 + PAGE / 8);
        }
        assert_eq!(mirror.entry(va), None);
        check_quiet(&sys);
        mm.exit();
        child.exit();
        assert_eq!(device.used(), 0);
        assert_eq!(sys.free_pages(), 63 - sys.poisoned_pages());
        assert_eq!(sys.swapped_pages(), 0);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn poison_against_file_faults_and_truncation() {
    seeds(150, || {
        let sys = system(64);
        let file = file_with(&sys, 2, 1);
        let mm = sys.create_mm();
        let va = map_file(&mm, &file, 2, Prot::READ_WRITE, true);
        sys.reclaim(u64::MAX);
        let theirs = Arc::clone(&mm);
        let failure = spawn(move || {
            let result = theirs.poison(va + PAGE);
            assert!(matches!(
                result,
                Ok(()) | Err(Errno::EFAULT | Errno::EHWPOISON)
            ));
        });
        let theirs = Arc::clone(&file);
        let cutter = spawn(move || theirs.truncate(PAGE).unwrap());
        let other = sys.create_mm();
        let far = map_file(&other, &file, 2, Prot::READ, true);
        let seen = load64(&other, far + PAGE);
        assert!(seen == Ok(1 + PAGE / 8) || seen == Err(Errno::SIGBUS));
        check(&sys);
        failure.join();
        cutter.join();
        assert_eq!(load64(&other, far + PAGE), Err(Errno::SIGBUS));
        expect(&mm, va, 1, 1);
        file.truncate(2 * PAGE).unwrap();
        assert_eq!(load64(&other, far + PAGE), Ok(0));
        check_quiet(&sys);
    });
}

#[test]
fn exclusive_and_coherent_pages_are_lost_too() {
    single(|| {
        let sys = system(64);
        let device = Device::coherent(&sys, 4, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 3, Prot::READ_WRITE);
        fill(&mm, va, 3, 1);
        mirror.exclusive(va, 1).unwrap();
        mirror.to_device(va + PAGE, 2).unwrap();
        mm.poison(va).unwrap();
        mm.poison(va + PAGE).unwrap();
        assert!(!mirror.is_exclusive(va));
        assert_eq!((sys.poisoned_pages(), device.used()), (1, 1));
        for page in 0..2 {
            let at = va + page * PAGE;
            assert_eq!(load64(&mm, at), Err(Errno::SIGBUS));
            assert_eq!(mirror.read(at, &mut [0]), Err(Errno::EFAULT));
        }
        expect(&mm, va + 2 * PAGE, 1, 1 + 2 * PAGE / 8);
        mirror.check();
        check_quiet(&sys);
        mm.exit();
        assert_eq!((device.used(), sys.free_pages()), (0, 62));
        check_quiet(&sys);
    });
}

/// Of a huge page only the page that failed is lost.
#[test]
fn a_page_of_a_huge_page() {
    single(|| {
        let sys = system(2048);
        let mm = sys.create_mm();
        let options = hmm_core::MmapOptions {
            huge: true,
            ..Default::default()
        };
        let va = mm.mmap(512 * PAGE, Prot::READ_WRITE, options).unwrap();
        mm.madvise(va, 512 * PAGE, Advice::HugePage).unwrap();
        assert_eq!(load64(&mm, va), Ok(0));
        mm.poison(va + 7 * PAGE).unwrap();
        fill(&mm, va, 7, 1);
        fill(&mm, va + 8 * PAGE, 504, 1);
        mm.poison(va + 100 * PAGE).unwrap();
        for page in [7, 100] {
            assert_eq!(load64(&mm, va + page * PAGE), Err(Errno::SIGBUS));
        }
        assert_eq!((mm.rss().anon, sys.poisoned_pages()), (510, 2));
        expect(&mm, va, 7, 1);
        expect(&mm, va + 8 * PAGE, 92, 1);
        check_quiet(&sys);
    });
}

#[test]
fn pages_of_a_device_that_was_taken_out() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 16, DEV);
        let other = Device::new(&sys, 16, DEV + 1);
        let mm = sys.create_mm();
        let (mirror, view) = (device.open(&mm), other.open(&mm));
        let va = map(&mm, 6, Prot::READ_WRITE);
        fill(&mm, va, 6, 1);
        mirror.to_device(va, 4).unwrap();
        let child = mm.fork().unwrap();
        assert_eq!(device.used(), 4);
        let (base, pages) = (device.pagemap().base(), device.pagemap().pages());
        // Somebody works on one of them: it is left to the next call.
        let busy = mm.pte(va).pfn().unwrap();
        assert!(sys.try_lock_page(busy));
        assert_eq!(lose_device_range(&sys, base, pages), 3);
        sys.unlock_page(busy);
        assert_eq!(lose_device_range(&sys, base, pages), 1);
        assert_eq!(lose_device_range(&sys, base, pages), 0);
        assert_eq!((device.used(), sys.poisoned_pages()), (0, 0));
        for mm in [&mm, &child] {
            assert_eq!(mm.rss().anon, 2);
            for page in 0..4 {
                let at = va + page * PAGE;
                assert_eq!(mm.pte(at), Pte::Poison);
                assert_eq!(load64(mm, at), Err(Errno::SIGBUS));
                assert_eq!(store64(mm, at, 1), Err(Errno::SIGBUS));
            }
            expect(mm, va + 4 * PAGE, 2, 1 + 4 * PAGE / 8);
        }
        assert_eq!(view.read(va, &mut [0]), Err(Errno::EFAULT));
        assert_eq!(mirror.entry(va), None);
        check_quiet(&sys);
        // Nothing waits for them any more, and what is mapped anew is new.
        device.pagemap().remove();
        child.madvise(va, PAGE, Advice::DontNeed).unwrap();
        assert_eq!(load64(&child, va), Ok(0));
        mm.exit();
        child.exit();
        assert_eq!(sys.free_pages(), 63);
        check_quiet(&sys);
    });
}

#[test]
fn a_huge_page_of_a_device_that_was_taken_out() {
    single(|| {
        let world = crate::common::huge::world();
        let va = world.written();
        world.to_device(va);
        let (base, pages) = (
            world.device.pagemap().base(),
            world.device.pagemap().pages(),
        );
        assert_eq!(lose_device_range(&world.sys, base, pages), 512);
        assert_eq!(world.device.used(), 0);
        assert_eq!(load64(&world.mm, va + 300 * PAGE), Err(Errno::SIGBUS));
        check_quiet(&world.sys);
        world.end();
    });
}

#[test]
fn losing_pages_while_the_cpu_and_a_migration_want_them() {
    seeds(40, || {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        mirror.to_device(va, 4).unwrap();
        let reader = {
            let mm = Arc::clone(&mm);
            spawn(move || {
                (0..4)
                    .map(|n| load64(&mm, va + n * PAGE))
                    .collect::<Vec<_>>()
            })
        };
        let mover = {
            let (mm, mirror) = (Arc::clone(&mm), Arc::clone(&mirror));
            spawn(move || {
                let _ = mirror.to_system(va, 2);
                drop(mm);
            })
        };
        let (base, pages) = (device.pagemap().base(), device.pagemap().pages());
        let mut lost = 0;
        while device.used() > 0 {
            lost += lose_device_range(&sys, base, pages);
            hmm_core::sync::yield_now();
        }
        let seen = reader.join();
        mover.join();
        // Saved or lost, and never something else.
        let mut gone = 0;
        for page in 0..4 {
            let right = Ok(1 + page * PAGE / 8);
            let now = load64(&mm, va + page * PAGE);
            assert!(now == right || now == Err(Errno::SIGBUS), "{now:?}");
            gone += u64::from(now.is_err());
            let then = seen[page as usize];
            assert!(then == right || (then == Err(Errno::SIGBUS) && now.is_err()));
        }
        assert_eq!(gone, lost);
        mm.exit();
        check_quiet(&sys);
    });
}
