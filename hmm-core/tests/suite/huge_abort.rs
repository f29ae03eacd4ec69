//! Migrations of 2 MiB that go another way than the device meant: nothing may be lost or left behind.

use hmm_core::{
    HUGE_PAGES, HUGE_SIZE, MigratePfn, MigrateSelect, MigrateVma, Va, migrate_vma_finalize,
    migrate_vma_pages, migrate_vma_setup,
};

use crate::common::huge::*;
use crate::common::*;

/// A migration that gives up after the step that `until` numbers.
fn give_up(w: &World, va: Va, until: u32) {
    let guard = w.mm.mmap_read_lock();
    let select = MigrateSelect::SYSTEM.compound();
    let mut args = MigrateVma::new(va, va + HUGE_SIZE, select, DEV);
    migrate_vma_setup(&guard, &mut args).unwrap();
    assert_eq!(args.cpages, HUGE_PAGES);
    assert!(args.src[0].is_compound() && args.src[1] == MigratePfn::default());
    match until {
        0 => {}
        // No destination at all.
        1 => migrate_vma_pages(&guard, &mut args),
        // A destination, but no huge one, so only its page goes.
        2 => {
            let first = w.sys.alloc_page().unwrap();
            w.sys.lock_page(first);
            args.dst[3] = MigratePfn::page(first);
            w.sys.phys().zero_page(first);
            if let Some(src) = args.src[0].pfn() {
                w.sys.phys().copy_page(first, src + 3);
            }
            migrate_vma_pages(&guard, &mut args);
            let went = args.src.iter().filter(|src| src.is_migrate()).count();
            assert_eq!(went, 1);
        }
        // A huge destination, but somebody takes a reference before the switch.
        _ => {
            let first = w.sys.alloc_folio(9).unwrap();
            for n in 0..HUGE_PAGES {
                w.sys.lock_page(first + n);
            }
            args.dst[0] = MigratePfn::huge(first);
            let old = args.src[0].pfn();
            if let Some(old) = old {
                w.sys.get_page(old + 8);
            } else {
                w.mm.memcg().set_limit(100);
            }
            migrate_vma_pages(&guard, &mut args);
            assert!(!args.src[0].is_migrate());
            w.mm.memcg().set_limit(u64::MAX);
            if let Some(old) = old {
                w.sys.put_page(old + 8);
            }
        }
    }
    migrate_vma_finalize(&guard, &mut args);
}

#[test]
fn what_gives_up_leaves_nothing_behind() {
    single(|| {
        for until in 0..4 {
            let w = world();
            let va = w.written();
            give_up(&w, va, until);
            check_quiet(&w.sys);
            assert_eq!(w.is_huge(va), until != 2);
            expect(&w.mm, va, HUGE_PAGES, 1);
            // An empty place, and one with the huge zero page.
            for touched in [false, true] {
                let va = map_huge(&w.mm, 1);
                if touched {
                    assert_eq!(load64(&w.mm, va), Ok(0));
                }
                give_up(&w, va, until);
                check_quiet(&w.sys);
                assert_eq!(contents(&w.mm, va, HUGE_PAGES), vec![0; HUGE_SIZE as usize]);
            }
            w.end();
        }
    });
}

#[test]
fn without_compound_everything_comes_as_single_pages() {
    single(|| {
        let w = world();
        let va = w.written();
        let guard = w.mm.mmap_read_lock();
        for select in [MigrateSelect::SYSTEM, MigrateSelect::SYSTEM.compound()] {
            // The second time the range does not cover the huge page.
            let end = va + HUGE_SIZE;
            let start = if select.compound { va + PAGE } else { va };
            let mut args = MigrateVma::new(start, end, select, DEV);
            migrate_vma_setup(&guard, &mut args).unwrap();
            assert_eq!(args.cpages, (end - start) / PAGE);
            assert!(args.src.iter().all(|src| !src.is_compound()));
            migrate_vma_finalize(&guard, &mut args);
        }
        drop(guard);
        expect(&w.mm, va, HUGE_PAGES, 1);
        w.end();
    });
}

#[test]
fn a_compound_destination_for_single_sources_is_refused() {
    single(|| {
        let w = world();
        let va = w.written();
        let guard = w.mm.mmap_read_lock();
        let mut args = MigrateVma::new(va, va + HUGE_SIZE, MigrateSelect::SYSTEM, DEV);
        migrate_vma_setup(&guard, &mut args).unwrap();
        let first = w.sys.alloc_folio(9).unwrap();
        for n in 0..HUGE_PAGES {
            w.sys.lock_page(first + n);
        }
        args.dst[0] = MigratePfn::huge(first);
        migrate_vma_pages(&guard, &mut args);
        assert!(args.src.iter().all(|src| !src.is_migrate()));
        migrate_vma_finalize(&guard, &mut args);
        drop(guard);
        check_quiet(&w.sys);
        expect(&w.mm, va, HUGE_PAGES, 1);
        w.end();
    });
}
