//! Advice::Collapse: single pages become a huge one.

use std::sync::Arc;

use hmm_core::{Advice, Errno, HUGE_PAGES, HUGE_SIZE, Mm, Prot, Pte, Rss, System, Va};

use crate::common::device::Device;
use crate::common::*;

const DEV: u64 = 7;

/// An area of single pages, with holes and the zero page in between.
fn world(pages: u64) -> (Arc<System>, Arc<Mm>, Va) {
    let sys = system(pages);
    let mm = sys.create_mm();
    let va = map_huge(&mm, 1);
    mm.madvise(va, HUGE_SIZE, Advice::NoHugePage).unwrap();
    for n in (0..HUGE_PAGES).filter(|n| n % 3 == 0) {
        store64(&mm, va + n * PAGE, 100 + n).unwrap();
    }
    assert_eq!(load64(&mm, va + PAGE), Ok(0));
    mm.madvise(va, HUGE_SIZE, Advice::HugePage).unwrap();
    (sys, mm, va)
}

#[track_caller]
fn holds(mm: &Arc<Mm>, va: Va) {
    for n in 0..HUGE_PAGES {
        let word = if n % 3 == 0 { 100 + n } else { 0 };
        assert_eq!(load64(mm, va + n * PAGE), Ok(word));
    }
}

fn collapse(mm: &Arc<Mm>, va: Va) -> Result<(), Errno> {
    mm.madvise(va, HUGE_SIZE, Advice::Collapse)
}

#[test]
fn pages_and_holes_become_one_huge_page() {
    single(|| {
        let (sys, mm, va) = world(2048);
        let device = Device::new(&sys, 16, DEV);
        let mirror = device.open(&mm);
        let free = sys.free_pages();
        mirror.read_pages(va, HUGE_PAGES).unwrap();
        assert_eq!(collapse(&mm, va), Ok(()));
        // The device has lost the old pages.
        assert_eq!(mirror.entry(va), None);
        assert!(is_run(&mm, va));
        assert_eq!(mirror.snapshot(va, HUGE_PAGES), [0x06; 512]);
        assert_eq!(mm.rss().anon, HUGE_PAGES);
        assert_eq!(mm.memcg().charged(), HUGE_PAGES);
        assert_eq!(sys.free_pages(), free + 171 - HUGE_PAGES);
        holds(&mm, va);
        check_quiet(&sys);
        // Again, and for less than an area: nothing to do.
        assert_eq!(collapse(&mm, va), Ok(()));
        assert_eq!(mm.madvise(va + PAGE, PAGE, Advice::Collapse), Ok(()));
        mm.exit();
        assert_eq!((mm.rss(), mm.memcg().charged()), (Rss::default(), 0));
        check_quiet(&sys);
    });
}

#[test]
fn what_is_in_use_or_elsewhere_is_refused() {
    single(|| {
        let (sys, mm, va) = world(2048);
        let device = Device::new(&sys, 16, DEV);
        let mirror = device.open(&mm);
        let refused = |errno| {
            assert_eq!(collapse(&mm, va), Err(errno));
            assert!(!is_run(&mm, va));
        };
        let pins = mm.pin(va + 3 * PAGE, 1).unwrap();
        refused(Errno::EAGAIN);
        drop(pins);
        let page = mm.pte(va).pfn().unwrap();
        assert!(sys.try_lock_page(page));
        refused(Errno::EAGAIN);
        sys.unlock_page(page);
        sys.get_page(page);
        refused(Errno::EAGAIN);
        sys.put_page(page);
        mirror.to_device(va + 6 * PAGE, 1).unwrap();
        refused(Errno::EINVAL);
        assert_eq!(load64(&mm, va + 6 * PAGE), Ok(106));
        mm.madvise(va, HUGE_SIZE, Advice::NoHugePage).unwrap();
        refused(Errno::EINVAL);
        mm.madvise(va, HUGE_SIZE, Advice::HugePage).unwrap();
        let charged = mm.memcg().charged();
        mm.memcg().set_limit(charged + HUGE_PAGES - 1);
        refused(Errno::EBUSY);
        mm.memcg().set_limit(u64::MAX);
        check_quiet(&sys);
        let held: Vec<_> = std::iter::from_fn(|| sys.alloc_folio(9)).collect();
        refused(Errno::ENOMEM);
        for first in held {
            (0..HUGE_PAGES).for_each(|n| sys.put_page(first + n));
        }
        holds(&mm, va);
        check_quiet(&sys);
        assert_eq!(collapse(&mm, va), Ok(()));
        holds(&mm, va);
        check_quiet(&sys);
    });
}

#[test]
fn empty_areas_and_shared_memory_are_refused() {
    single(|| {
        let sys = system(2048);
        let mm = sys.create_mm();
        let va = map_huge(&mm, 1);
        assert_eq!(collapse(&mm, va), Err(Errno::EINVAL));
        assert_eq!(load64(&mm, va), Ok(0));
        // The huge zero page is huge.
        assert_eq!(collapse(&mm, va), Ok(()));
        let shared = map_shared(&mm, 2 * HUGE_PAGES);
        store64(&mm, shared, 1).unwrap();
        let area = Va(shared.0.next_multiple_of(HUGE_SIZE));
        assert_eq!(collapse(&mm, area), Err(Errno::EINVAL));
        let hole = va + 64 * HUGE_SIZE;
        assert_eq!(collapse(&mm, hole), Err(Errno::ENOMEM));
        mm.exit();
        assert_eq!(collapse(&mm, va), Err(Errno::ESRCH));
        check_quiet(&sys);
    });
}

#[test]
fn swapped_pages_come_back_for_it() {
    single(|| {
        let (sys, mm, va) = world(2048);
        assert!(mm.swap_out(va, HUGE_SIZE).unwrap() > 100);
        assert!(matches!(mm.pte(va), Pte::Swap { .. }));
        assert_eq!(collapse(&mm, va), Ok(()));
        assert!(is_run(&mm, va));
        holds(&mm, va);
        check_quiet(&sys);
    });
}

#[test]
fn pages_shared_after_a_fork_are_copied() {
    single(|| {
        let (sys, mm, va) = world(2048);
        let child = mm.fork().unwrap();
        assert_eq!(collapse(&child, va), Ok(()));
        store64(&child, va, 1).unwrap();
        holds(&mm, va);
        check_quiet(&sys);
        child.exit();
        assert_eq!(collapse(&mm, va), Ok(()));
        holds(&mm, va);
        check_quiet(&sys);
    });
}

#[test]
fn the_mappings_permissions_count() {
    single(|| {
        let (sys, mm, va) = world(4096);
        mm.mprotect(va, HUGE_SIZE, Prot::READ).unwrap();
        assert_eq!(collapse(&mm, va), Ok(()));
        assert_eq!(store64(&mm, va, 1), Err(Errno::SIGSEGV));
        holds(&mm, va);
        check_quiet(&sys);
        mm.mprotect(va, HUGE_SIZE, Prot::READ_WRITE).unwrap();
        mm.mprotect(va + PAGE, PAGE, Prot::READ).unwrap();
        // No longer one mapping.
        assert_eq!(collapse(&mm, va), Err(Errno::EINVAL));
        mm.mprotect(va + PAGE, PAGE, Prot::READ_WRITE).unwrap();
        assert_eq!(collapse(&mm, va), Ok(()));
        assert!(is_run(&mm, va));
        check_quiet(&sys);
    });
}
