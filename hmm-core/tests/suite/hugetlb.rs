//! Mappings of huge pages that are never split.

use std::sync::Arc;

use hmm_core::{
    Advice, Errno, HUGE_PAGES, HUGE_SIZE, MigrateSelect, MigrateVma, Mm, MmapOptions,
    MremapOptions, Prot, Rss, System, Va, make_device_exclusive, migrate_vma_setup,
};

use crate::common::device::Device;
use crate::common::*;

const DEV: u64 = 7;

const HUGETLB: MmapOptions = MmapOptions {
    at: None,
    share: false,
    huge: false,
    hugetlb: true,
};

fn map_hugetlb(mm: &Mm, areas: u64) -> Va {
    mm.mmap(areas * HUGE_SIZE, Prot::READ_WRITE, HUGETLB)
        .unwrap()
}

fn world(pages: u64) -> (Arc<System>, Arc<Mm>) {
    let sys = system(pages);
    let mm = sys.create_mm();
    (sys, mm)
}

#[test]
fn pages_are_taken_at_once_and_mapped_when_touched() {
    single(|| {
        let (sys, mm) = world(4096);
        let free = sys.free_pages();
        let va = mm.mmap(HUGE_SIZE + 1, Prot::READ_WRITE, HUGETLB).unwrap();
        assert!(va.is_huge_aligned());
        assert_eq!(sys.free_pages(), free - 2 * HUGE_PAGES);
        check_quiet(&sys);
        assert_eq!(load64(&mm, va + HUGE_SIZE + 5 * PAGE), Ok(0));
        fill(&mm, va, HUGE_PAGES, 3);
        assert!(is_run(&mm, va) && is_run(&mm, va + HUGE_SIZE));
        let rss = Rss {
            hugetlb: 2 * HUGE_PAGES,
            ..Rss::default()
        };
        assert_eq!((mm.rss(), mm.memcg().charged()), (rss, 0));
        assert_eq!(sys.free_pages(), free - 2 * HUGE_PAGES);
        expect(&mm, va, HUGE_PAGES, 3);
        check_quiet(&sys);
        mm.munmap(va, HUGE_SIZE).unwrap();
        assert_eq!(sys.free_pages(), free - HUGE_PAGES);
        check_quiet(&sys);
        mm.exit();
        assert_eq!((sys.free_pages(), mm.rss()), (free, Rss::default()));
        check_quiet(&sys);
    });
}

#[test]
fn without_free_huge_pages_there_is_no_mapping() {
    single(|| {
        let (sys, mm) = world(2048);
        let free = sys.free_pages();
        let map = |areas| mm.mmap(areas * HUGE_SIZE, Prot::READ_WRITE, HUGETLB);
        assert_eq!(map(4), Err(Errno::ENOMEM));
        assert_eq!(sys.free_pages(), free);
        let va = map(3).unwrap();
        // Untouched parts give back what they had reserved.
        mm.munmap(va + HUGE_SIZE, HUGE_SIZE).unwrap();
        assert_eq!(sys.free_pages(), free - 2 * HUGE_PAGES);
        store64(&mm, va, 1).unwrap();
        store64(&mm, va + 2 * HUGE_SIZE, 1).unwrap();
        check_quiet(&sys);
    });
}

#[test]
fn anon_write_hugetlbfs() {
    single(|| {
        let (sys, mm) = world(2048);
        let device = Device::new(&sys, 16, DEV);
        let mirror = device.open(&mm);
        let va = map_hugetlb(&mm, 1);
        assert_eq!(mirror.write(va, &pattern(HUGE_PAGES, 5)), Ok(1));
        expect(&mm, va, HUGE_PAGES, 5);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn compound() {
    single(|| {
        let (sys, mm) = world(2048);
        let device = Device::new(&sys, 16, DEV);
        let mirror = device.open(&mm);
        let va = map_hugetlb(&mm, 1);
        fill(&mm, va, HUGE_PAGES, 5);
        assert_eq!(mirror.snapshot(va, HUGE_PAGES), [0x06; 512]);
        mm.mprotect(va, HUGE_SIZE, Prot::READ).unwrap();
        assert_eq!(mirror.snapshot(va, HUGE_PAGES), [0x05; 512]);
        check_quiet(&sys);
    });
}

#[test]
fn a_write_after_fork_copies_all_of_it() {
    single(|| {
        let (sys, mm) = world(4096);
        let device = Device::new(&sys, 16, DEV);
        let mirror = device.open(&mm);
        let va = map_hugetlb(&mm, 1);
        fill(&mm, va, HUGE_PAGES, 5);
        mirror.read_pages(va, HUGE_PAGES).unwrap();
        let child = mm.fork().unwrap();
        assert_eq!(mirror.snapshot(va, HUGE_PAGES), [0x05; 512]);
        let shared = mm.pte(va).pfn();
        store64(&child, va + 9 * PAGE, 1).unwrap();
        assert!(is_run(&child, va) && is_run(&mm, va));
        assert!(child.pte(va).pfn() != shared && mm.pte(va).pfn() == shared);
        expect(&mm, va, HUGE_PAGES, 5);
        check_quiet(&sys);
        // Alone again, in place; also for the device.
        assert!(mirror.write(va, &5u64.to_le_bytes()).is_ok());
        assert_eq!(mm.pte(va + PAGE).pfn(), shared.map(|pfn| pfn + 1));
        assert_eq!(load64(&child, va + PAGE), Ok(5 + 512));
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn a_pinned_huge_page_is_copied_at_fork() {
    single(|| {
        let (sys, mm) = world(4096);
        let va = map_hugetlb(&mm, 1);
        fill(&mm, va, HUGE_PAGES, 5);
        let pins = mm.pin(va + 3 * PAGE, 1).unwrap();
        let child = mm.fork().unwrap();
        assert!(is_run(&child, va) && is_run(&mm, va));
        assert_ne!(child.pte(va).pfn(), mm.pte(va).pfn());
        expect(&child, va, HUGE_PAGES, 5);
        check_quiet(&sys);
        drop(pins);
        // No huge page left for another child.
        let _held: Vec<_> = std::iter::from_fn(|| sys.alloc_folio(9)).collect();
        let pins = mm.pin(va, 1).unwrap();
        assert_eq!(mm.fork().err(), Some(Errno::ENOMEM));
        drop(pins);
        let second = mm.fork().unwrap();
        assert_eq!(store64(&second, va, 1), Err(Errno::SIGBUS));
        expect(&second, va, HUGE_PAGES, 5);
        check(&sys);
    });
}

#[test]
fn nothing_splits_or_moves_it() {
    single(|| {
        let (sys, mm) = world(4096);
        let va = map_hugetlb(&mm, 2);
        fill(&mm, va, HUGE_PAGES, 5);
        let einval = Err(Errno::EINVAL);
        assert_eq!(mm.munmap(va, PAGE), einval);
        assert_eq!(mm.munmap(va + PAGE, 2 * HUGE_SIZE), einval);
        assert_eq!(mm.mprotect(va + PAGE, HUGE_SIZE - PAGE, Prot::READ), einval);
        assert_eq!(mm.mlock(va, PAGE), einval);
        for advice in [
            Advice::DontNeed,
            Advice::HugePage,
            Advice::NoHugePage,
            Advice::Collapse,
            Advice::Free,
        ] {
            assert_eq!(mm.madvise(va, PAGE, advice), einval);
            if advice != Advice::DontNeed {
                assert_eq!(mm.madvise(va, HUGE_SIZE, advice), einval);
            }
        }
        let at = |at| MmapOptions {
            at: Some(at),
            ..HUGETLB
        };
        assert_eq!(
            mm.mmap(PAGE, Prot::READ, at(va + PAGE)).err(),
            Some(Errno::EINVAL)
        );
        let plain = MmapOptions {
            hugetlb: false,
            ..at(va + PAGE)
        };
        assert_eq!(mm.mmap(PAGE, Prot::READ, plain).err(), Some(Errno::EINVAL));
        let shared = MmapOptions {
            share: true,
            ..HUGETLB
        };
        assert_eq!(mm.mmap(PAGE, Prot::READ, shared).err(), Some(Errno::EINVAL));
        let file = hmm_core::File::new(&sys, PAGE);
        let mapped = mm.mmap_file(PAGE, Prot::READ, HUGETLB, &file, 0);
        assert_eq!(mapped.err(), Some(Errno::EINVAL));
        {
            let guard = mm.mmap_read_lock();
            assert!(guard.find_vma(va).unwrap().hugetlb);
            for select in [MigrateSelect::SYSTEM, MigrateSelect::SYSTEM.compound()] {
                let mut args = MigrateVma::new(va, va + HUGE_SIZE, select, DEV);
                assert_eq!(migrate_vma_setup(&guard, &mut args), einval);
            }
            assert_eq!(
                make_device_exclusive(&guard, va, DEV),
                Err(Errno::EOPNOTSUPP)
            );
        }
        assert_eq!(mm.poison(va), Err(Errno::EOPNOTSUPP));
        assert_eq!(mm.swap_out(va, HUGE_SIZE), Ok(0));
        mm.madvise(va, HUGE_SIZE, Advice::Mergeable).unwrap();
        assert_eq!(sys.ksm_scan(), 0);
        assert!(is_run(&mm, va));
        expect(&mm, va, HUGE_PAGES, 5);
        check_quiet(&sys);
        mm.madvise(va, HUGE_SIZE, Advice::DontNeed).unwrap();
        assert_eq!(load64(&mm, va), Ok(0));
        mm.mlock(va, 2 * HUGE_SIZE).unwrap();
        check_quiet(&sys);
    });
}

#[test]
fn it_moves_in_the_address_space_as_a_whole() {
    single(|| {
        let (sys, mm) = world(4096);
        let va = map_hugetlb(&mm, 2);
        fill(&mm, va, HUGE_PAGES, 5);
        let to = va + 8 * HUGE_SIZE;
        let options = |at, dontunmap| MremapOptions {
            at: Some(at),
            dontunmap,
        };
        let einval = Err(Errno::EINVAL);
        let mremap = |new_len, options| mm.mremap(va, HUGE_SIZE, new_len, options);
        assert_eq!(mremap(HUGE_SIZE, options(to + PAGE, false)), einval);
        assert_eq!(mremap(HUGE_SIZE, options(to, true)), einval);
        assert_eq!(mremap(2 * HUGE_SIZE, options(to, false)), einval);
        assert_eq!(mremap(PAGE, options(to, false)), einval);
        assert_eq!(mremap(HUGE_SIZE, options(to, false)), Ok(to));
        assert!(is_run(&mm, to) && mm.pte(va).is_none());
        expect(&mm, to, HUGE_PAGES, 5);
        store64(&mm, va + HUGE_SIZE, 1).unwrap();
        check_quiet(&sys);
    });
}

#[test]
fn the_oom_reaper_leaves_it() {
    single(|| {
        let (sys, mm) = world(4096);
        let va = map_hugetlb(&mm, 1);
        fill(&mm, va, HUGE_PAGES, 5);
        mm.oom_reap().unwrap();
        expect(&mm, va, HUGE_PAGES, 5);
        check_quiet(&sys);
    });
}
