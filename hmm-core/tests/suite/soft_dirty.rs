//! Which pages were written since the bits were cleared.

use crate::common::device::Device;
use crate::common::*;
use hmm_core::{Advice, Errno, MmapOptions, MremapOptions, PagemapBits, Prot, Pte};

const DEV: u64 = 7;

#[test]
fn stores_of_the_cpu_are_seen_and_loads_are_not() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 4, Prot::READ_WRITE);
        assert!(mm.soft_dirty(va), "a new mapping");
        assert!(!mm.soft_dirty(va + 4 * PAGE), "no mapping");
        fill(&mm, va, 3, 0);
        let pfn = mm.pte(va).pfn();
        mm.clear_soft_dirty().unwrap();
        assert!((0..4).all(|i| !mm.soft_dirty(va + i * PAGE)));
        expect(&mm, va, 3, 0);
        assert_eq!(load64(&mm, va + 3 * PAGE), Ok(0));
        assert!((0..4).all(|i| !mm.soft_dirty(va + i * PAGE)));
        store64(&mm, va, 0).unwrap();
        store64(&mm, va + 3 * PAGE, 0).unwrap();
        let dirty: Vec<bool> = (0..4).map(|i| mm.soft_dirty(va + i * PAGE)).collect();
        assert_eq!(dirty, [true, false, false, true]);
        assert_eq!(mm.pte(va).pfn(), pfn, "no copy");
        check_quiet(&sys);
        mm.exit();
        assert_eq!(mm.clear_soft_dirty(), Err(Errno::ESRCH));
    });
}

#[test]
fn stores_of_a_device_are_seen_wherever_the_page_is() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 0);
        mirror.to_device(va, 2).unwrap();
        // The device may write all of it.
        for page in 0..4 {
            mirror.write(va + page * PAGE, &[0]).unwrap();
        }
        mm.clear_soft_dirty().unwrap();
        mirror.check();
        check_quiet(&sys);
        assert_eq!(device.used(), 2, "pages stay where they are");
        mirror.read_pages(va, 4).unwrap();
        assert!((0..4).all(|i| !mm.soft_dirty(va + i * PAGE)));
        assert_eq!(mirror.write(va, &[1]), Ok(1), "the store faults");
        assert_eq!(mirror.write(va + 2 * PAGE, &[1]), Ok(1));
        let dirty: Vec<bool> = (0..4).map(|i| mm.soft_dirty(va + i * PAGE)).collect();
        assert_eq!(dirty, [true, false, true, false]);
        assert_eq!(device.used(), 2, "without a copy");
        mirror.fetch_add(va + 3 * PAGE, 1).unwrap();
        assert!(mm.soft_dirty(va + 3 * PAGE));
        check_quiet(&sys);
    });
}

#[test]
fn the_bit_goes_with_the_page() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 3, Prot::READ_WRITE);
        fill(&mm, va, 3, 0);
        mm.clear_soft_dirty().unwrap();
        store64(&mm, va, 5).unwrap();
        let both = [true, false];
        let now =
            |mm: &std::sync::Arc<hmm_core::Mm>, at| [mm.soft_dirty(at), mm.soft_dirty(at + PAGE)];
        mirror.to_device(va, 2).unwrap();
        assert_eq!(now(&mm, va), both);
        // Where the kernel forgets: a fork and an mprotect of device-private pages.
        let child = mm.fork().unwrap();
        assert_eq!(now(&mm, va), both);
        assert_eq!(now(&child, va), both);
        child.exit();
        mm.mprotect(va, 2 * PAGE, Prot::READ).unwrap();
        mm.mprotect(va, 2 * PAGE, Prot::READ_WRITE).unwrap();
        assert_eq!(now(&mm, va), both);
        assert_eq!(mirror.to_system(va, 2), Ok(2));
        assert_eq!(now(&mm, va), both);
        assert!(matches!(mm.pte(va + PAGE), Pte::Present(pte) if !pte.write));
        // Exclusive access is for writing.
        mirror.exclusive(va + PAGE, 1).unwrap();
        assert!(mm.soft_dirty(va + PAGE));
        mm.clear_soft_dirty().unwrap();
        assert!(!mirror.is_exclusive(va + PAGE) && !mm.soft_dirty(va + PAGE));
        assert_eq!(load64(&mm, va + PAGE), Ok(512));
        assert!(!mm.soft_dirty(va + PAGE));
        check_quiet(&sys);
        let moved = mm
            .mremap(
                va,
                2 * PAGE,
                2 * PAGE,
                MremapOptions {
                    at: Some(va + 64 * PAGE),
                    ..Default::default()
                },
            )
            .unwrap();
        assert_eq!(now(&mm, moved), [true; 2], "new contents at this address");
        assert!(!mm.soft_dirty(va + 2 * PAGE));
    });
}

#[test]
fn a_page_becomes_writable_only_by_a_store_that_is_seen() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 2, Prot::READ_WRITE);
        let shared = map_shared(&mm, 2);
        fill(&mm, va, 2, 0);
        fill(&mm, shared, 1, 0);
        mm.clear_soft_dirty().unwrap();
        mm.mprotect(va, PAGE, Prot::READ).unwrap();
        mm.mprotect(va, PAGE, Prot::READ_WRITE).unwrap();
        assert_eq!(load64(&mm, shared + PAGE), Ok(0));
        for at in [va, shared, shared + PAGE] {
            assert!(matches!(mm.pte(at), Pte::Present(pte) if !pte.write));
            assert!(!mm.soft_dirty(at));
            store64(&mm, at, 1).unwrap();
            assert!(mm.soft_dirty(at));
        }
        let bits = mm.pagemap_bits(shared);
        assert!(bits.has(PagemapBits::PRESENT | PagemapBits::FILE | PagemapBits::SOFT_DIRTY));
        let bits = mm.pagemap_bits(va);
        assert!(bits.has(PagemapBits::PRESENT | PagemapBits::MAPPED_ONCE));
        assert!(!bits.has(PagemapBits::FILE) && !bits.has(PagemapBits::SWAP));
        // A mapping that grows counts as new, also where it is joined to an old one.
        mm.clear_soft_dirty().unwrap();
        mm.mremap(shared, 2 * PAGE, 3 * PAGE, MremapOptions::default())
            .unwrap();
        assert!(mm.soft_dirty(shared + 2 * PAGE));
        mm.clear_soft_dirty().unwrap();
        let at = MmapOptions {
            at: Some(va + 2 * PAGE),
            ..MmapOptions::default()
        };
        mm.mmap(PAGE, Prot::READ_WRITE, at).unwrap();
        assert!(mm.soft_dirty(va + 2 * PAGE));
        check_quiet(&sys);
    });
}

#[test]
fn a_huge_page_stays_huge() {
    single(|| {
        let sys = system(2048);
        let mm = sys.create_mm();
        let va = map_huge(&mm, 1);
        store64(&mm, va, 1).unwrap();
        let first = mm.pte(va);
        mm.clear_soft_dirty().unwrap();
        check_quiet(&sys);
        assert_eq!(load64(&mm, va), Ok(1));
        assert!(!mm.soft_dirty(va) && !mm.soft_dirty(va + 9 * PAGE));
        store64(&mm, va + 9 * PAGE, 1).unwrap();
        assert!(mm.soft_dirty(va + 9 * PAGE));
        assert_eq!(mm.pte(va).pfn(), first.pfn(), "no copy");
        assert_eq!(mm.rss().anon, 512);
        check_quiet(&sys);
    });
}

#[test]
fn the_bit_survives_swap_space() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 3, Prot::READ_WRITE);
        fill(&mm, va, 3, 0);
        mm.clear_soft_dirty().unwrap();
        store64(&mm, va, 1).unwrap();
        assert_eq!(mm.swap_out(va, 3 * PAGE), Ok(3));
        assert!(
            mm.pagemap_bits(va)
                .has(PagemapBits::SWAP | PagemapBits::SOFT_DIRTY)
        );
        assert!(!mm.soft_dirty(va + PAGE));
        assert_eq!(load64(&mm, va + PAGE), Ok(512));
        assert!(!mm.soft_dirty(va + PAGE));
        store64(&mm, va + PAGE, 1).unwrap();
        assert!(mm.soft_dirty(va + PAGE));
        // Cleared in swap space.
        mm.clear_soft_dirty().unwrap();
        assert_eq!(load64(&mm, va), Ok(1));
        assert!(!mm.soft_dirty(va));
        store64(&mm, va + 2 * PAGE, 1).unwrap();
        assert!(mm.soft_dirty(va + 2 * PAGE));
        check_quiet(&sys);
    });
}

#[test]
fn mincore_tells_what_is_at_hand() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 6, Prot::READ_WRITE);
        fill(&mm, va, 4, 0);
        assert_eq!(load64(&mm, va + 4 * PAGE), Ok(0));
        mirror.to_device(va, 1).unwrap();
        mirror.exclusive(va + PAGE, 1).unwrap();
        assert_eq!(mm.swap_out(va + 2 * PAGE, PAGE), Ok(1));
        let here = [true, true, false, true, true, false];
        assert_eq!(mm.mincore(va, 6 * PAGE), Ok(here.to_vec()));
        assert_eq!(mm.mincore(va + 1, PAGE), Err(Errno::EINVAL));
        assert_eq!(mm.mincore(va, 8 * PAGE), Err(Errno::ENOMEM));
        let shared = map_shared(&mm, 2);
        store64(&mm, shared, 1).unwrap();
        mm.madvise(shared, PAGE, Advice::DontNeed).unwrap();
        assert_eq!(
            mm.mincore(shared, 2 * PAGE),
            Ok(vec![true, false]),
            "cached"
        );
        check_quiet(&sys);
        mm.exit();
        assert_eq!(mm.mincore(va, PAGE), Err(Errno::ESRCH));
    });
}
