//! Huge pages of private memory: faults, copy-on-write, splits.

use hmm_core::{Advice, HUGE_PAGES, HUGE_SIZE, Mm, Prot, Pte, Rss, System};
use std::sync::Arc;

use crate::common::*;

fn world(pages: u64) -> (Arc<System>, Arc<Mm>) {
    let sys = system(pages);
    let mm = sys.create_mm();
    (sys, mm)
}

fn write_allowed(pte: Pte) -> bool {
    matches!(pte, Pte::Present(present) if present.write)
}

#[test]
fn a_first_write_maps_a_huge_page() {
    single(|| {
        let (sys, mm) = world(2048);
        let before = sys.free_pages();
        let va = map_huge(&mm, 1);
        store64(&mm, va + 100 * PAGE + 8, 5).unwrap();
        assert!(is_run(&mm, va));
        assert_eq!(mm.rss().anon, HUGE_PAGES);
        assert_eq!(mm.memcg().charged(), HUGE_PAGES);
        assert_eq!(load64(&mm, va + 100 * PAGE), Ok(0));
        assert_eq!(load64(&mm, va + 100 * PAGE + 8), Ok(5));
        fill(&mm, va, HUGE_PAGES, 7);
        expect(&mm, va, HUGE_PAGES, 7);
        check_quiet(&sys);
        mm.munmap(va, HUGE_SIZE).unwrap();
        assert_eq!((sys.free_pages(), mm.rss()), (before, Rss::default()));
        check_quiet(&sys);
    });
}

#[test]
fn only_advised_whole_empty_areas_get_one() {
    single(|| {
        let (sys, mm) = world(4096);
        let va = map_huge(&mm, 3);
        mm.madvise(va, HUGE_SIZE, Advice::NoHugePage).unwrap();
        store64(&mm, va, 1).unwrap();
        assert_eq!(mm.rss().anon, 1);
        // A page that was there before: the rest stays single too.
        mm.madvise(va, HUGE_SIZE, Advice::HugePage).unwrap();
        store64(&mm, va + PAGE, 1).unwrap();
        assert_eq!(mm.rss().anon, 2);
        // Cut off at the end.
        mm.munmap(va + (3 * HUGE_SIZE - PAGE), PAGE).unwrap();
        store64(&mm, va + 2 * HUGE_SIZE, 1).unwrap();
        assert_eq!(mm.rss().anon, 3);
        store64(&mm, va + HUGE_SIZE + 5 * PAGE, 1).unwrap();
        assert_eq!(mm.rss().anon, 3 + HUGE_PAGES);
        // Shared memory has none.
        let shared = map_shared(&mm, 2 * HUGE_PAGES);
        mm.madvise(shared, 2 * HUGE_SIZE, Advice::HugePage).unwrap();
        store64(&mm, shared, 1).unwrap();
        assert_eq!(mm.rss().shmem, 1);
        check_quiet(&sys);
    });
}

#[test]
fn without_room_a_single_page_does() {
    single(|| {
        let (sys, mm) = world(512 + 100);
        let va = map_huge(&mm, 1);
        // The only whole huge page of memory lost one to the zero page.
        store64(&mm, va, 1).unwrap();
        assert_eq!(mm.rss().anon, 1);
        assert_eq!(load64(&mm, va + PAGE), Ok(0));
        assert_eq!(mm.pte(va + PAGE).pfn(), Some(sys.zero_page()));
        check_quiet(&sys);
        let (sys, mm) = world(2048);
        mm.memcg().set_limit(HUGE_PAGES - 1);
        let va = map_huge(&mm, 1);
        store64(&mm, va, 1).unwrap();
        assert_eq!((mm.rss().anon, mm.memcg().charged()), (1, 1));
        check_quiet(&sys);
    });
}

#[test]
fn a_first_read_maps_the_huge_zero_page() {
    single(|| {
        let (sys, mm) = world(2048);
        let before = sys.free_pages();
        let va = map_huge(&mm, 1);
        assert_eq!(load64(&mm, va + 7 * PAGE), Ok(0));
        assert!(is_run(&mm, va));
        let zero = mm.pte(va).pfn().unwrap();
        assert!(sys.is_zero_page(zero) && sys.is_huge_zero_page(zero) && zero != sys.zero_page());
        assert_eq!(mm.rss(), Rss::default());
        assert_eq!(contents(&mm, va, HUGE_PAGES), vec![0; HUGE_SIZE as usize]);
        // A second process shares it, and so does a child.
        let other = sys.create_mm();
        let theirs = map_huge(&other, 1);
        assert_eq!(load64(&other, theirs), Ok(0));
        let child = mm.fork().unwrap();
        assert_eq!(child.pte(va).pfn(), Some(zero));
        assert_eq!(sys.free_pages(), before - HUGE_PAGES);
        check_quiet(&sys);
        mm.exit();
        other.exit();
        assert_eq!(sys.free_pages(), before - HUGE_PAGES);
        store64(&child, va + PAGE, 3).unwrap();
        assert!(is_run(&child, va) && !sys.is_zero_page(child.pte(va).pfn().unwrap()));
        assert_eq!(child.rss().anon, HUGE_PAGES);
        assert_eq!(load64(&child, va), Ok(0));
        child.exit();
        assert_eq!(sys.free_pages(), before);
        check_quiet(&sys);
    });
}

#[test]
fn a_write_to_the_huge_zero_page_without_room_takes_one_page() {
    single(|| {
        let (sys, mm) = world(2048);
        let va = map_huge(&mm, 1);
        assert_eq!(load64(&mm, va), Ok(0));
        mm.memcg().set_limit(3);
        store64(&mm, va + PAGE, 3).unwrap();
        assert_eq!(mm.rss().anon, 1);
        assert_eq!(load64(&mm, va + PAGE), Ok(3));
        assert_eq!(load64(&mm, va + 2 * PAGE), Ok(0));
        let child = mm.fork().unwrap();
        mm.exit();
        assert_eq!(
            contents(&child, va + 2 * PAGE, 9),
            vec![0; 9 * PAGE as usize]
        );
        check_quiet(&sys);
    });
}

#[test]
fn fork_shares_a_huge_page_until_one_writes() {
    single(|| {
        let (sys, mm) = world(2048);
        let va = map_huge(&mm, 1);
        fill(&mm, va, HUGE_PAGES, 7);
        let child = mm.fork().unwrap();
        assert!(is_run(&mm, va) && is_run(&child, va));
        assert!(!write_allowed(mm.pte(va)) && !write_allowed(child.pte(va)));
        assert_eq!(sys.page_mapcount(mm.pte(va + PAGE).pfn().unwrap()), 2);
        check_quiet(&sys);
        // One page is copied, the rest stays shared.
        store64(&child, va + 3 * PAGE, 99).unwrap();
        assert!(!is_run(&child, va) && is_run(&mm, va));
        assert_eq!(child.pte(va).pfn(), mm.pte(va).pfn());
        expect(&mm, va, HUGE_PAGES, 7);
        assert_eq!(load64(&child, va + 3 * PAGE), Ok(99));
        assert_eq!(load64(&child, va + 4 * PAGE), Ok(7 + 4 * 512));
        check_quiet(&sys);
        // Alone again, the parent writes all of it in place.
        let first = mm.pte(va).pfn();
        child.exit();
        store64(&mm, va + 8, 1).unwrap();
        assert_eq!(mm.pte(va).pfn(), first);
        assert!(is_run(&mm, va) && write_allowed(mm.pte(va + 9 * PAGE)));
        check_quiet(&sys);
    });
}

#[test]
fn a_pinned_page_makes_fork_go_page_by_page() {
    single(|| {
        let (sys, mm) = world(2048);
        let va = map_huge(&mm, 1);
        fill(&mm, va, HUGE_PAGES, 7);
        let pins = mm.pin(va + 5 * PAGE, 1).unwrap();
        let child = mm.fork().unwrap();
        store64(&mm, va + 5 * PAGE, 1).unwrap();
        assert_eq!(mm.pte(va + 5 * PAGE).pfn(), Some(pins.pfns()[0]));
        assert_ne!(child.pte(va + 5 * PAGE).pfn(), Some(pins.pfns()[0]));
        assert_eq!(child.pte(va).pfn(), mm.pte(va).pfn());
        expect(&child, va, HUGE_PAGES, 7);
        check_quiet(&sys);
        drop(pins);
        check_quiet(&sys);
    });
}

#[test]
fn parts_split_and_the_rest_keeps_its_contents() {
    single(|| {
        for first in [0, 128, 256] {
            let (sys, mm) = world(2048);
            let va = map_huge(&mm, 1);
            fill(&mm, va, HUGE_PAGES, 7);
            mm.mprotect(va + PAGE * first, 128 * PAGE, Prot::READ)
                .unwrap();
            check_quiet(&sys);
            assert!(!write_allowed(mm.pte(va + PAGE * first)));
            assert!(write_allowed(mm.pte(va + PAGE * (first + 128))));
            expect(&mm, va, HUGE_PAGES, 7);
            mm.madvise(va + PAGE * (first + 128), 64 * PAGE, Advice::DontNeed)
                .unwrap();
            assert_eq!(load64(&mm, va + PAGE * (first + 128)), Ok(0));
            mm.munmap(va + PAGE * first, 128 * PAGE).unwrap();
            assert_eq!(mm.rss().anon, HUGE_PAGES - 128 - 64);
            check_quiet(&sys);
            let rest = first + 128 + 64;
            expect(&mm, va + rest * PAGE, HUGE_PAGES - rest, 7 + rest * 512);
            expect(&mm, va, first, 7);
        }
    });
}

#[test]
fn whole_areas_stay_huge() {
    single(|| {
        let (sys, mm) = world(4096);
        let va = map_huge(&mm, 2);
        fill(&mm, va, 2 * HUGE_PAGES, 7);
        let first = mm.pte(va).pfn();
        mm.mprotect(va, HUGE_SIZE, Prot::READ).unwrap();
        assert!(is_run(&mm, va) && !write_allowed(mm.pte(va + PAGE)));
        mm.mprotect(va, HUGE_SIZE, Prot::NONE).unwrap();
        check_quiet(&sys);
        mm.mprotect(va, HUGE_SIZE, Prot::READ_WRITE).unwrap();
        assert!(write_allowed(mm.pte(va + PAGE)));
        let to = map_huge(&mm, 1);
        let options = hmm_core::MremapOptions {
            at: Some(to),
            dontunmap: true,
        };
        mm.mremap(va, HUGE_SIZE, HUGE_SIZE, options).unwrap();
        assert!(is_run(&mm, to) && mm.pte(to).pfn() == first && mm.pte(va).is_none());
        expect(&mm, to, HUGE_PAGES, 7);
        assert_eq!(load64(&mm, va), Ok(0));
        mm.madvise(to, HUGE_SIZE, Advice::DontNeed).unwrap();
        assert_eq!(mm.rss().anon, HUGE_PAGES);
        check_quiet(&sys);
    });
}

#[test]
fn an_unaligned_move_splits() {
    single(|| {
        for (offset, dontunmap) in [(128, false), (256, true), (1, false)] {
            let (sys, mm) = world(4096);
            let va = map_huge(&mm, 1);
            fill(&mm, va, HUGE_PAGES, 7);
            let to = map_huge(&mm, 3) + offset * PAGE;
            let options = hmm_core::MremapOptions {
                at: Some(to),
                dontunmap,
            };
            mm.mremap(va, HUGE_SIZE, HUGE_SIZE, options).unwrap();
            expect(&mm, to, HUGE_PAGES, 7);
            store64(&mm, to, 1).unwrap();
            check_quiet(&sys);
        }
    });
}
