//! Device-exclusive pages.

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{Advice, Errno, MremapOptions, PagemapEntry, Prot, Pte, make_device_exclusive};

const DEV: u64 = 7;

fn is_exclusive(pte: Pte) -> bool {
    matches!(pte, Pte::Exclusive { .. })
}

/// The kernel's `exclusive`.
#[test]
fn the_cpu_revokes_exclusive_access() {
    kinds(|kind| {
        let sys = system(512);
        let device = Device::with_memory(&sys, kind, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let pages = 70;
        let va = map(&mm, pages, Prot::READ_WRITE);
        fill(&mm, va, pages, 0);
        mirror.exclusive(va, pages).unwrap();
        assert!((0..pages).all(|i| mirror.is_exclusive(va + i * PAGE)));
        assert_eq!(
            mirror.read_pages(va, pages).unwrap(),
            (pattern(pages, 0), 0)
        );
        assert_eq!(mirror.snapshot(va, 1), [0], "exclusive pages are not seen");
        assert_eq!(mm.pagemap(va), PagemapEntry::Swap);
        assert_eq!(mm.rss().anon, pages);
        mirror.check();
        check_quiet(&sys);
        for word in 0..pages * PAGE / 8 {
            let at = va + word * 8;
            assert_eq!(load64(&mm, at), Ok(word));
            store64(&mm, at, word + 1).unwrap();
        }
        assert!((0..pages).all(|i| !mirror.is_exclusive(va + i * PAGE)));
        assert!(matches!(mm.pte(va), Pte::Present(pte) if pte.write && pte.dirty));
        expect(&mm, va, pages, 1);
        mm.exit();
        check_quiet(&sys);
    });
}

/// The kernel's `exclusive_mprotect`.
#[test]
fn protecting_ends_exclusive_access() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 0);
        mirror.exclusive(va, 4).unwrap();
        mm.mprotect(va, 4 * PAGE, Prot::READ).unwrap();
        assert_eq!(mirror.write(va, &[1]), Err(Errno::EPERM));
        assert_eq!(mirror.fetch_add(va, 1), Err(Errno::EFAULT));
        expect(&mm, va, 2, 0);
        assert!(matches!(mm.pte(va), Pte::Present(pte) if !pte.write));
        // And through no access at all.
        mm.mprotect(va, 4 * PAGE, Prot::NONE).unwrap();
        check_quiet(&sys);
        assert_eq!(load64(&mm, va + 3 * PAGE), Err(Errno::SIGSEGV));
        mm.mprotect(va, 4 * PAGE, Prot::READ_WRITE).unwrap();
        assert!(is_exclusive(mm.pte(va + 3 * PAGE)));
        expect(&mm, va, 4, 0);
        check_quiet(&sys);
    });
}

/// The kernel's `exclusive_cow`.
#[test]
fn both_sides_of_a_fork_have_their_own() {
    kinds(|kind| {
        let sys = system(256);
        let device = Device::with_memory(&sys, kind, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 8, Prot::READ_WRITE);
        fill(&mm, va, 8, 0);
        mirror.exclusive(va, 8).unwrap();
        let child = mm.fork().unwrap();
        assert!(!is_exclusive(mm.pte(va)) && !is_exclusive(child.pte(va)));
        assert!(!mirror.is_exclusive(va));
        check_quiet(&sys);
        for mm in [&child, &mm] {
            for word in 0..8 * PAGE / 8 {
                let at = va + word * 8;
                assert_eq!(load64(mm, at), Ok(word));
                store64(mm, at, word + 1).unwrap();
            }
        }
        assert_eq!(mirror.fetch_add(va, 5), Ok(1));
        expect(&child, va, 8, 1);
        assert_eq!(load64(&mm, va), Ok(6));
        check_quiet(&sys);
    });
}

#[test]
fn any_page_can_become_exclusive() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 8, DEV);
        let other = Device::with_memory(&sys, kind, 8, DEV + 1);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let theirs = other.open(&mm);
        let va = map(&mm, 6, Prot::READ_WRITE);
        // 0: nothing, 1: the zero page, 2: shared with a child, 3 and 4: on a device, 5: exclusive elsewhere.
        fill(&mm, va + 2 * PAGE, 4, 7);
        assert_eq!(load64(&mm, va + PAGE), Ok(0));
        let child = mm.fork().unwrap();
        store64(&mm, va + 3 * PAGE, 1).unwrap();
        store64(&mm, va + 4 * PAGE, 1).unwrap();
        mirror.to_device(va + 3 * PAGE, 1).unwrap();
        theirs.to_device(va + 4 * PAGE, 1).unwrap();
        theirs.exclusive(va + 5 * PAGE, 1).unwrap();
        mirror.exclusive(va, 6).unwrap();
        assert!(!theirs.is_exclusive(va + 5 * PAGE));
        assert_eq!((device.used(), other.used()), (0, 0));
        assert!((0..6).all(|i| is_exclusive(mm.pte(va + i * PAGE))));
        for page in 0..6 {
            mirror.fetch_add(va + page * PAGE + 8, 3).unwrap();
        }
        assert_eq!(load64(&mm, va + 8), Ok(3));
        assert_eq!(load64(&mm, va + PAGE + 8), Ok(3));
        assert_eq!(load64(&mm, va + 2 * PAGE + 8), Ok(11));
        expect(&child, va + 2 * PAGE, 4, 7);
        check_quiet(&sys);
        child.exit();
        mm.exit();
        check_quiet(&sys);
        assert_eq!(sys.free_pages(), 63);
    });
}

#[test]
fn whoever_else_wants_the_page_gets_it() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 8, DEV);
        let other = Device::new(&sys, 8, DEV + 1);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let theirs = other.open(&mm);
        let va = map(&mm, 6, Prot::READ_WRITE);
        fill(&mm, va, 6, 7);
        mirror.exclusive(va, 6).unwrap();
        // Another device's fault.
        assert_eq!(theirs.read_pages(va, 1).unwrap(), (pattern(1, 7), 1));
        // References and pins; a pinned page can be exclusive, and still does not move.
        let pins = mm.pin(va + PAGE, 1).unwrap();
        drop(mm.get_user_pages(va + 2 * PAGE, 1).unwrap());
        assert!((0..3).all(|i| !mirror.is_exclusive(va + i * PAGE)));
        mirror.exclusive(va + PAGE, 1).unwrap();
        let child = mm.fork().unwrap();
        assert!(matches!(mm.pte(va + PAGE), Pte::Present(pte) if pte.pfn == pins.pfns()[0]));
        expect(&child, va, 6, 7);
        child.exit();
        drop(pins);
        // A migration passes it over, an unmapping frees it.
        mirror.exclusive(va, 6).unwrap();
        assert_eq!(mirror.to_device(va, 6), Err(Errno::ENOENT));
        assert_eq!(device.used(), 0);
        let moved = mm
            .mremap(
                va + 3 * PAGE,
                PAGE,
                PAGE,
                MremapOptions {
                    at: Some(va + 64 * PAGE),
                    ..Default::default()
                },
            )
            .unwrap();
        assert!(is_exclusive(mm.pte(moved)) && !mirror.is_exclusive(va + 3 * PAGE));
        assert_eq!(load64(&mm, moved), Ok(7 + 3 * 512));
        mm.madvise(va + 4 * PAGE, PAGE, Advice::DontNeed).unwrap();
        assert_eq!(load64(&mm, va + 4 * PAGE), Ok(0));
        mm.munmap(va + 5 * PAGE, PAGE).unwrap();
        assert!(!mirror.is_exclusive(va + 5 * PAGE));
        check_quiet(&sys);
        mm.exit();
        check_quiet(&sys);
        assert_eq!(sys.free_pages(), 63);
    });
}

#[test]
fn what_cannot_be_exclusive() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let guarded = |va, owner| make_device_exclusive(&mm.mmap_read_lock(), va, owner);
        let va = map(&mm, 2, Prot::READ);
        assert_eq!(guarded(va, DEV), Err(Errno::EFAULT));
        assert_eq!(guarded(va + 8, DEV), Err(Errno::EINVAL));
        assert_eq!(guarded(va, 0), Err(Errno::EINVAL));
        assert_eq!(guarded(va + 2 * PAGE, DEV), Err(Errno::EFAULT));
        let shared = map_shared(&mm, 1);
        assert_eq!(guarded(shared, DEV), Err(Errno::EOPNOTSUPP));
        mm.exit();
        assert_eq!(guarded(va, DEV), Err(Errno::EFAULT));
        check_quiet(&sys);
    });
}

#[test]
fn one_page_of_a_huge_one() {
    single(|| {
        let sys = system(2048);
        let device = Device::new(&sys, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_huge(&mm, 1);
        fill(&mm, va, 512, 0);
        let first = mm.pte(va).pfn().unwrap();
        mirror.exclusive(va + 5 * PAGE, 1).unwrap();
        assert!(is_exclusive(mm.pte(va + 5 * PAGE)));
        check_quiet(&sys);
        // Its neighbours are ordinary pages, and touching them changes nothing.
        store64(&mm, va + 4 * PAGE, 1).unwrap();
        expect(&mm, va + 6 * PAGE, 506, 6 * 512);
        assert_eq!(mirror.fetch_add(va + 5 * PAGE, 1), Ok(5 * 512));
        assert!(mirror.is_exclusive(va + 5 * PAGE));
        assert_eq!(load64(&mm, va + 5 * PAGE), Ok(5 * 512 + 1));
        assert!((0..512).all(|n| mm.pte(va + n * PAGE).pfn() == Some(first + n)));
        check_quiet(&sys);
    });
}

#[test]
fn reclaim_leaves_it_and_a_memory_failure_takes_it() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 0);
        mirror.exclusive(va, 2).unwrap();
        assert_eq!(mm.swap_out(va, 2 * PAGE), Ok(0));
        assert!(mirror.is_exclusive(va) && mirror.is_exclusive(va + PAGE));
        assert_eq!(load64(&mm, va), Ok(0));
        assert_eq!(mm.swap_out(va, 2 * PAGE), Ok(1));
        // From swap space it can be exclusive again.
        mirror.exclusive(va, 1).unwrap();
        expect(&mm, va, 1, 0);
        mm.poison(va + PAGE).unwrap();
        assert!(!mirror.is_exclusive(va + PAGE));
        assert_eq!(load64(&mm, va + PAGE), Err(Errno::SIGBUS));
        assert_eq!(mirror.exclusive(va + PAGE, 1), Err(Errno::EFAULT));
        check_quiet(&sys);
    });
}
