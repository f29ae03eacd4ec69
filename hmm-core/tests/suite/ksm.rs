//! Merging of equal pages.

use std::sync::Arc;

use crate::common::device::Device;
use crate::common::*;
use hmm_core::sync::spawn;
use hmm_core::{Advice, Errno, Mm, Prot, Pte, Va};

const DEV: u64 = 7;

/// A mergeable mapping whose pages all hold the same pattern.
fn equal_pages(mm: &Arc<Mm>, pages: u64, first: u64) -> Va {
    let va = map(mm, pages, Prot::READ_WRITE);
    for page in 0..pages {
        fill(mm, va + page * PAGE, 1, first);
    }
    mm.madvise(va, pages * PAGE, Advice::Mergeable).unwrap();
    va
}

#[test]
fn equal_pages_become_one() {
    single(|| {
        let sys = system(128);
        let mm = sys.create_mm();
        let other = sys.create_mm();
        let va = equal_pages(&mm, 4, 1);
        let theirs = equal_pages(&other, 3, 1);
        fill(&other, theirs + PAGE, 1, 2);
        // Equal, but nobody allowed it.
        let plain = map(&other, 1, Prot::READ_WRITE);
        fill(&other, plain, 1, 1);
        let (free, rss) = (sys.free_pages(), (mm.rss(), other.rss()));
        assert_eq!(sys.ksm_scan(), 5);
        assert_eq!(sys.free_pages(), free + 5);
        assert_eq!((mm.rss(), other.rss()), rss);
        let merged = mm.pte(va).pfn().unwrap();
        assert_eq!(sys.page_mapcount(merged), 6);
        assert_eq!(other.pte(theirs).pfn(), Some(merged));
        assert_ne!(other.pte(plain).pfn(), Some(merged));
        assert_eq!(sys.ksm_scan(), 0);
        check_quiet(&sys);

        // A store copies; an equal page joins again on the next scan.
        store64(&mm, va, 50).unwrap();
        assert_eq!(sys.page_mapcount(merged), 5);
        expect(&other, theirs, 1, 1);
        expect(&other, theirs + PAGE, 1, 2);
        store64(&mm, va, 1).unwrap();
        assert_eq!(sys.ksm_scan(), 1);
        assert_eq!(mm.pte(va).pfn(), Some(merged));
        mm.exit();
        expect(&other, theirs, 1, 1);
        assert_eq!(sys.page_mapcount(merged), 2);
        check_quiet(&sys);
        // The last process has it for itself again, without a copy.
        other.munmap(theirs + 2 * PAGE, PAGE).unwrap();
        store64(&other, theirs, 7).unwrap();
        assert_eq!(other.pte(theirs).pfn(), Some(merged));
        check_quiet(&sys);
    });
}

#[test]
fn the_device_reads_merged_pages_and_copies_to_write() {
    single(|| {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = equal_pages(&mm, 4, 1);
        mirror.write(va, &pattern(1, 1)).unwrap();
        mirror.read_pages(va, 4).unwrap();
        assert_eq!(sys.ksm_scan(), 3);
        // All lost write permission, and name the one page now.
        assert_eq!(mirror.entry(va + PAGE), None);
        mirror.check();
        let (data, rounds) = mirror.read_pages(va, 4).unwrap();
        assert!(rounds == 1 && data[..PAGE as usize] == data[3 * PAGE as usize..]);
        assert_eq!(mirror.snapshot(va, 4), [1; 4]);
        mirror.write(va + PAGE, &99u64.to_le_bytes()).unwrap();
        assert_eq!(load64(&mm, va + PAGE), Ok(99));
        expect(&mm, va, 1, 1);
        expect(&mm, va + 2 * PAGE, 1, 1);
        assert_eq!(mirror.snapshot(va, 4), [1, 2, 1, 1]);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn a_merged_page_migrates_with_all_its_mappings() {
    single(|| {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let other = sys.create_mm();
        let (ours, theirs) = (device.open(&mm), device.open(&other));
        let va = equal_pages(&mm, 2, 1);
        let far = equal_pages(&other, 2, 1);
        assert_eq!(sys.ksm_scan(), 3);
        ours.to_device(va, 2).unwrap();
        assert_eq!(device.used(), 1);
        let page = mm.pte(va).pfn();
        assert!(page.unwrap().is_device());
        assert_eq!(
            (mm.pte(va + PAGE).pfn(), other.pte(far).pfn()),
            (page, page)
        );
        // Pages on the device are not compared, and not brought home for it.
        let more = equal_pages(&mm, 1, 1);
        assert_eq!(sys.ksm_scan(), 0);
        assert!(theirs.read_pages(far, 2).unwrap().0[..PAGE as usize] == pattern(1, 1));
        // A store of the device copies; a load of the CPU brings the page home for all.
        ours.write(va, &5u64.to_le_bytes()).unwrap();
        assert_eq!(load64(&other, far), Ok(1));
        assert_eq!(load64(&mm, va), Ok(5));
        expect(&mm, va + PAGE, 1, 1);
        assert_eq!(device.used(), 0);
        assert_eq!(sys.ksm_scan(), 1);
        assert_eq!(mm.pte(more).pfn(), other.pte(far).pfn());
        ours.check();
        theirs.check();
        check_quiet(&sys);
    });
}

#[test]
fn unmerging_gives_pages_of_their_own() {
    single(|| {
        let sys = system(16);
        let mm = sys.create_mm();
        let va = equal_pages(&mm, 4, 1);
        let child = mm.fork().unwrap();
        assert_eq!(sys.ksm_scan(), 6);
        assert_eq!(sys.free_pages(), 14);
        // There is memory for some only: an error, and nothing is lost.
        let mut taken = Vec::new();
        while sys.free_pages() > 2 {
            taken.push(sys.alloc_page().unwrap());
        }
        assert_eq!(
            mm.madvise(va, 4 * PAGE, Advice::Unmergeable),
            Err(Errno::ENOMEM)
        );
        for page in 0..4 {
            expect(&mm, va + page * PAGE, 1, 1);
            expect(&child, va + page * PAGE, 1, 1);
        }
        for pfn in taken {
            sys.put_page(pfn);
        }
        mm.madvise(va, 4 * PAGE, Advice::Unmergeable).unwrap();
        let pages: Vec<_> = (0..4).map(|page| mm.pte(va + page * PAGE).pfn()).collect();
        assert!((1..4).all(|i| !pages[..i].contains(&pages[i])));
        // The child's stay merged; the parent's are not merged any more.
        assert_eq!(sys.page_mapcount(child.pte(va).pfn().unwrap()), 4);
        assert_eq!(sys.ksm_scan(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn what_cannot_be_merged() {
    single(|| {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = equal_pages(&mm, 6, 1);
        let shared = map_shared(&mm, 2);
        for page in 0..2 {
            fill(&mm, shared + page * PAGE, 1, 1);
        }
        mm.madvise(shared, 2 * PAGE, Advice::Mergeable).unwrap();
        let pins = mm.pin(va, 1).unwrap();
        mirror.to_device(va + PAGE, 1).unwrap();
        mm.mprotect(va + 2 * PAGE, PAGE, Prot::NONE).unwrap();
        assert_eq!(mm.swap_out(va + 3 * PAGE, PAGE), Ok(1));
        let locked = mm.pte(va + 4 * PAGE).pfn().unwrap();
        sys.lock_page(locked);
        assert_eq!(sys.ksm_scan(), 0);
        assert_eq!(device.used(), 1);
        assert!(matches!(mm.pte(va), Pte::Present(p) if p.write));
        sys.unlock_page(locked);
        drop(pins);
        assert_eq!(sys.ksm_scan(), 2);
        // Untouched and zero pages need nothing; a lazily freed page is none to rely on.
        let zeros = map(&mm, 2, Prot::READ_WRITE);
        mm.madvise(zeros, 2 * PAGE, Advice::Mergeable).unwrap();
        assert_eq!(load64(&mm, zeros), Ok(0));
        assert_eq!(sys.ksm_scan(), 0);
        let lazy = equal_pages(&mm, 2, 70);
        mm.madvise(lazy, PAGE, Advice::Free).unwrap();
        assert_eq!(sys.ksm_scan(), 1);
        assert_eq!(mm.swap_out(lazy, 2 * PAGE), Ok(1));
        expect(&mm, lazy, 1, 70);
        expect(&mm, lazy + PAGE, 1, 70);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn a_merged_page_is_swapped_and_pinned() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = equal_pages(&mm, 3, 1);
        assert_eq!(sys.ksm_scan(), 2);
        assert_eq!(mm.swap_out(va, PAGE), Ok(1));
        assert_eq!(sys.swapped_pages(), 1);
        assert_eq!((mm.pte(va), mm.rss().anon), (mm.pte(va + 2 * PAGE), 0));
        for page in 0..3 {
            expect(&mm, va + page * PAGE, 1, 1);
        }
        assert_eq!(sys.ksm_scan(), 2);
        // A pin has a page of its own.
        let pins = mm.pin(va, 1).unwrap();
        assert_eq!(sys.page_mapcount(pins.pfns()[0]), 1);
        assert_eq!(sys.ksm_scan(), 0);
        drop(pins);
        check_quiet(&sys);
    });
}

#[test]
fn merging_against_stores() {
    seeds(200, || {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = equal_pages(&mm, 3, 1);
        let child = mm.fork().unwrap();
        let theirs = Arc::clone(&sys);
        let scanner = spawn(move || {
            for _ in 0..2 {
                theirs.ksm_scan();
                check(&theirs);
            }
        });
        let theirs = Arc::clone(&mm);
        let cpu = spawn(move || {
            store64(&theirs, va, 10).unwrap();
            assert_eq!(load64(&theirs, va), Ok(10));
            store64(&theirs, va, 11).unwrap();
            theirs.madvise(va, PAGE, Advice::Unmergeable).unwrap();
        });
        let theirs = Arc::clone(&child);
        let reclaimer = spawn(move || {
            theirs.swap_out(va, 3 * PAGE).unwrap();
            theirs.exit();
        });
        for n in 20..22u64 {
            mirror.write(va + PAGE, &n.to_le_bytes()).unwrap();
            let mut seen = [0; 8];
            mirror.read(va + PAGE, &mut seen).unwrap();
            assert_eq!(u64::from_le_bytes(seen), n);
        }
        scanner.join();
        cpu.join();
        reclaimer.join();
        assert_eq!(load64(&mm, va), Ok(11));
        assert_eq!(load64(&mm, va + PAGE), Ok(21));
        for page in 0..2 {
            assert_eq!(load64(&mm, va + page * PAGE + 8), Ok(2));
        }
        expect(&mm, va + 2 * PAGE, 1, 1);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn merging_against_migration_and_free() {
    seeds(150, || {
        let sys = system(64);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = equal_pages(&mm, 3, 1);
        let theirs = Arc::clone(&sys);
        let scanner = spawn(move || {
            theirs.ksm_scan();
            check(&theirs);
        });
        let theirs = Arc::clone(&mirror);
        let mover = spawn(move || {
            let moved = theirs.to_device(va, 3);
            assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
            theirs.to_system(va, 2).unwrap();
        });
        mm.madvise(va, PAGE, Advice::Free).unwrap();
        mm.swap_out(va, PAGE).unwrap();
        scanner.join();
        mover.join();
        let first = load64(&mm, va).unwrap();
        assert!(first <= 1, "{first}");
        expect(&mm, va + PAGE, 1, 1);
        expect(&mm, va + 2 * PAGE, 1, 1);
        mirror.check();
        check_quiet(&sys);
    });
}
