//! 2 MiB at once between system and device memory: the kernel's tests of large pages, and what can go wrong.

use hmm_core::{
    Advice, Errno, HUGE_PAGES, HUGE_SIZE, MremapOptions, PagemapEntry, Prot, Pte, Rss, Va,
};

use crate::common::device::Device;
use crate::common::huge::*;
use crate::common::*;

#[test]
fn migrate_anon_huge_empty() {
    kinds(|kind| {
        let w = world_of(kind);
        let va = map_huge(&w.mm, 1);
        w.to_device(va);
        assert_eq!(w.mm.rss().anon, HUGE_PAGES);
        assert_eq!(w.mm.memcg().charged(), HUGE_PAGES);
        assert!(w.is_huge(va));
        let (data, _) = w.mirror.read_pages(va, HUGE_PAGES).unwrap();
        assert_eq!(data, vec![0; HUGE_SIZE as usize]);
        w.end();
    });
}

#[test]
fn migrate_anon_huge_zero() {
    kinds(|kind| {
        let w = world_of(kind);
        let va = map_huge(&w.mm, 1);
        assert_eq!(load64(&w.mm, va), Ok(0));
        assert_eq!(w.mirror.snapshot(va, HUGE_PAGES), [0x15; 512]);
        w.to_device(va);
        assert!(w.is_huge(va));
        assert_eq!(contents(&w.mm, va, HUGE_PAGES), vec![0; HUGE_SIZE as usize]);
        w.end();
    });
}

#[test]
fn migrate_anon_huge_fault() {
    single(|| {
        let w = world();
        let va = w.written();
        assert_eq!(w.mirror.snapshot(va, HUGE_PAGES), [0x06; 512]);
        let rss = w.mm.rss();
        w.to_device(va);
        assert_eq!((w.mm.rss(), w.device.used()), (rss, HUGE_PAGES));
        assert_eq!(w.mirror.snapshot(va, HUGE_PAGES), [0x26; 512]);
        assert!((0..HUGE_PAGES).all(|n| w.mm.pagemap(va + n * PAGE) == PagemapEntry::Swap));
        let (data, _) = w.mirror.read_pages(va, HUGE_PAGES).unwrap();
        assert!(data == pattern(HUGE_PAGES, 1));
        // One access brings all of it home.
        assert_eq!(load64(&w.mm, va + 77 * PAGE), Ok(1 + 77 * 512));
        assert_eq!(w.mirror.snapshot(va, HUGE_PAGES), [0x06; 512]);
        assert_eq!((w.mm.rss(), w.device.used()), (rss, 0));
        expect(&w.mm, va, HUGE_PAGES, 1);
        check_quiet(&w.sys);
        w.end();
    });
}

#[test]
fn both_ways_by_request() {
    kinds(|kind| {
        let w = world_of(kind);
        let va = w.written();
        for _ in 0..3 {
            w.to_device(va);
            assert!(w.is_huge(va));
            assert_eq!(w.mirror.to_system(va, HUGE_PAGES), Ok(HUGE_PAGES));
            assert!(w.is_huge(va));
            assert_eq!(w.device.used(), 0);
        }
        expect(&w.mm, va, HUGE_PAGES, 1);
        w.end();
    });
}

#[test]
fn migrate_partial_unmap_fault() {
    for huge in [true, false] {
        for first in [0, 128, 256] {
            kinds(move |kind| {
                let w = world_of(kind);
                let va = map_huge(&w.mm, 1);
                if !huge {
                    w.mm.madvise(va, HUGE_SIZE, Advice::NoHugePage).unwrap();
                }
                fill(&w.mm, va, HUGE_PAGES, 1);
                w.to_device(va);
                assert_eq!(w.is_huge(va), huge);
                w.mm.munmap(va + first * PAGE, 256 * PAGE).unwrap();
                check_quiet(&w.sys);
                assert_eq!(w.device.used(), 256);
                expect(&w.mm, va, first, 1);
                let rest = first + 256;
                expect(&w.mm, va + rest * PAGE, HUGE_PAGES - rest, 1 + rest * 512);
                check_quiet(&w.sys);
                w.end();
            });
        }
    }
}

#[test]
fn migrate_remap_fault() {
    for before in [true, false] {
        for dontunmap in [true, false] {
            for offset in [0, 128, 256] {
                single(move || {
                    let w = world();
                    let base = map_huge(&w.mm, 8);
                    w.mm.munmap(base + HUGE_SIZE, 2 * HUGE_SIZE).unwrap();
                    fill(&w.mm, base, HUGE_PAGES, 1);
                    let to = base + HUGE_SIZE + offset * PAGE;
                    let options = MremapOptions {
                        at: Some(to),
                        dontunmap,
                    };
                    if before {
                        w.mm.mremap(base, HUGE_SIZE, HUGE_SIZE, options).unwrap();
                        w.to_device(to);
                    } else {
                        w.to_device(base);
                        w.mm.mremap(base, HUGE_SIZE, HUGE_SIZE, options).unwrap();
                    }
                    check_quiet(&w.sys);
                    assert_eq!(w.is_huge(to), offset == 0);
                    assert_eq!(w.device.used(), HUGE_PAGES);
                    expect(&w.mm, to, HUGE_PAGES, 1);
                    if dontunmap {
                        assert_eq!(load64(&w.mm, base), Ok(0));
                    }
                    check_quiet(&w.sys);
                    w.end();
                });
            }
        }
    }
}

#[test]
fn migrate_anon_huge_err() {
    kinds(|kind| {
        let w = world_of(kind);
        let va = w.written();
        w.device.fail_huge_allocations(1);
        w.to_device(va);
        assert!(!w.is_huge(va));
        let (data, _) = w.mirror.read_pages(va, HUGE_PAGES).unwrap();
        assert!(data == pattern(HUGE_PAGES, 1));
        assert_eq!(load64(&w.mm, va + 2048 * 8), Ok(2049));
        w.mm.munmap(va, HUGE_SIZE).unwrap();
        let va = w.written();
        w.to_device(va);
        assert!(w.is_huge(va));
        w.device.fail_huge_allocations(1);
        assert_eq!(w.mirror.to_system(va, HUGE_PAGES), Ok(HUGE_PAGES));
        assert!(!w.is_huge(va));
        assert_eq!(load64(&w.mm, va + 2048 * 8), Ok(2049));
        expect(&w.mm, va, HUGE_PAGES, 1);
        w.end();
    });
}

#[test]
fn migrate_anon_huge_zero_err() {
    kinds(|kind| {
        let w = world_of(kind);
        for touched in [false, true] {
            let va = map_huge(&w.mm, 1);
            if touched {
                assert_eq!(load64(&w.mm, va), Ok(0));
            }
            w.device.fail_huge_allocations(1);
            w.to_device(va);
            assert!(!w.is_huge(va));
            assert_eq!(contents(&w.mm, va, HUGE_PAGES), vec![0; HUGE_SIZE as usize]);
            check_quiet(&w.sys);
        }
        w.end();
    });
}

#[test]
fn a_fault_home_without_a_huge_page_goes_page_by_page() {
    single(|| {
        let w = world();
        let va = w.written();
        w.to_device(va);
        w.device.fail_huge_allocations(1);
        assert_eq!(load64(&w.mm, va + PAGE), Ok(513));
        assert!(!is_run(&w.mm, va) || !w.is_huge(va));
        assert_eq!(w.device.used(), 0);
        expect(&w.mm, va, HUGE_PAGES, 1);
        check_quiet(&w.sys);
        w.end();
    });
}

#[test]
fn a_fault_home_needs_only_its_own_page() {
    single(|| {
        let sys = system(64);
        let device = Device::new(&sys, 1024, DEV);
        device.set_huge();
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_huge(&mm, 1);
        mirror.to_device(va, HUGE_PAGES).unwrap();
        // Less memory at home than 2 MiB: what fits comes.
        assert_eq!(load64(&mm, va + 3 * PAGE), Ok(0));
        assert!(matches!(mm.pte(va + 3 * PAGE), Pte::Present(_)));
        check_quiet(&sys);
        mm.exit();
        assert_eq!((device.used(), sys.free_pages()), (0, 63));
    });
}

#[test]
fn madvise_of_device_pages() {
    single(|| {
        let w = world();
        let va = w.written();
        w.to_device(va);
        w.mm.madvise(va + 10 * PAGE, 5 * PAGE, Advice::DontNeed)
            .unwrap();
        assert_eq!(w.device.used(), HUGE_PAGES - 5);
        assert_eq!(load64(&w.mm, va + 12 * PAGE), Ok(0));
        assert_eq!(load64(&w.mm, va + 16 * PAGE), Ok(1 + 16 * 512));
        w.mm.madvise(va, HUGE_SIZE, Advice::DontNeed).unwrap();
        assert_eq!((w.device.used(), w.mm.rss()), (0, Rss::default()));
        check_quiet(&w.sys);
        w.end();
    });
}

#[test]
fn mprotect_of_device_pages() {
    single(|| {
        let w = world();
        let va = w.written();
        w.to_device(va);
        w.mm.mprotect(va, HUGE_SIZE, Prot::READ).unwrap();
        assert_eq!(w.mirror.snapshot(va, HUGE_PAGES), [0x25; 512]);
        assert_eq!(w.mirror.write(va, &[1]), Err(Errno::EPERM));
        w.mm.mprotect(va, HUGE_SIZE, Prot::READ_WRITE).unwrap();
        // All of it is this process's own, so one write makes all of it writable.
        assert_eq!(w.mirror.write(va, &1u64.to_le_bytes()), Ok(1));
        assert_eq!(w.mirror.snapshot(va, HUGE_PAGES), [0x26; 512]);
        w.mm.mprotect(va, 3 * PAGE, Prot::READ).unwrap();
        assert_eq!(w.mirror.snapshot(va, 4), [0x21, 0x21, 0x21, 0x22]);
        check_quiet(&w.sys);
        expect(&w.mm, va, HUGE_PAGES, 1);
        w.end();
    });
}

#[test]
fn fork_shares_device_pages_and_either_side_brings_them_home_for_both() {
    single(|| {
        let w = world();
        let va = w.written();
        w.to_device(va);
        let child = w.mm.fork().unwrap();
        let theirs = w.device.open(&child);
        assert_eq!(theirs.snapshot(va, HUGE_PAGES), [0x25; 512]);
        assert_eq!(w.device.used(), HUGE_PAGES);
        check_quiet(&w.sys);
        // A device write by the child: its page is copied, ours stay on the device or come home whole.
        assert!(theirs.write(va + 9 * PAGE, &[0xff; 8]).is_ok());
        check_quiet(&w.sys);
        expect(&w.mm, va, HUGE_PAGES, 1);
        assert_eq!(load64(&child, va + 9 * PAGE), Ok(u64::MAX));
        assert_eq!(load64(&child, va + 10 * PAGE), Ok(1 + 10 * 512));
        assert_eq!(w.device.used(), 0);
        check_quiet(&w.sys);
        theirs.check();
        child.exit();
        w.end();
    });
}

#[test]
fn a_huge_page_of_two_processes_moves_whole() {
    kinds(|kind| {
        let w = world_of(kind);
        let va = w.written();
        let child = w.mm.fork().unwrap();
        let theirs = w.device.open(&child);
        w.to_device(va);
        assert!(w.is_huge(va));
        assert_eq!(theirs.snapshot(va, 1)[0] & 4, 4);
        assert_eq!(w.mirror.to_system(va, HUGE_PAGES), Ok(HUGE_PAGES));
        assert_eq!(theirs.snapshot(va, HUGE_PAGES), [0x05; 512]);
        expect(&child, va, HUGE_PAGES, 1);
        expect(&w.mm, va, HUGE_PAGES, 1);
        check_quiet(&w.sys);
        child.exit();
        w.end();
    });
}

#[test]
fn a_pinned_page_stays_and_the_others_go() {
    single(|| {
        let w = world();
        let va = w.written();
        let pins = w.mm.pin(va + 5 * PAGE, 1).unwrap();
        assert_eq!(
            w.mirror.to_device(va, HUGE_PAGES),
            Err(Errno::ENOENT),
            "the pinned page moved"
        );
        assert_eq!(w.device.used(), HUGE_PAGES - 1);
        assert_eq!(w.mm.pte(va + 5 * PAGE).pfn(), Some(pins.pfns()[0]));
        check_quiet(&w.sys);
        drop(pins);
        expect(&w.mm, va, HUGE_PAGES, 1);
        w.end();
    });
}

#[test]
fn a_busy_or_referenced_page_stays_and_the_others_go() {
    single(|| {
        let w = world();
        let va = w.written();
        let locked = w.mm.pte(va + 5 * PAGE).pfn().unwrap();
        let held = w.mm.pte(va + 6 * PAGE).pfn().unwrap();
        w.sys.get_page(held);
        assert_eq!(w.mirror.to_device(va, HUGE_PAGES), Err(Errno::ENOENT));
        w.sys.put_page(held);
        assert_eq!(w.device.used(), HUGE_PAGES - 1);
        w.mm.munmap(va, HUGE_SIZE).unwrap();
        let va = w.written();
        let locked = if w.sys.page_refs(locked) > 0 {
            locked
        } else {
            w.mm.pte(va + 5 * PAGE).pfn().unwrap()
        };
        assert!(w.sys.try_lock_page(locked));
        assert_eq!(w.mirror.to_device(va, HUGE_PAGES), Err(Errno::ENOENT));
        w.sys.unlock_page(locked);
        assert_eq!(w.device.used(), HUGE_PAGES - 1);
        expect(&w.mm, va, HUGE_PAGES, 1);
        check_quiet(&w.sys);
        w.end();
    });
}

#[test]
fn release_brings_huge_pages_home() {
    single(|| {
        let w = world();
        let va = w.written();
        w.to_device(va);
        let child = w.mm.fork().unwrap();
        w.device.release();
        assert!(w.is_huge(va));
        assert!(is_run(&child, va));
        expect(&w.mm, va, HUGE_PAGES, 1);
        expect(&child, va, HUGE_PAGES, 1);
        check_quiet(&w.sys);
    });
}

#[test]
fn the_order_is_reported_inside_of_a_huge_page() {
    single(|| {
        let w = world();
        let va = map_huge(&w.mm, 2);
        let mirror = pattern(HUGE_PAGES, 9);
        // The kernel's anon_write_huge: one fault maps the huge page.
        assert_eq!(w.mirror.write(va, &mirror), Ok(1));
        expect(&w.mm, va, HUGE_PAGES, 9);
        assert_eq!(w.mirror.snapshot(va + 100 * PAGE, 3), [0x06; 3]);
        // Over the end of a huge page, into a place without page.
        let at = va + HUGE_SIZE;
        assert_eq!(
            w.mirror.snapshot(Va(at.0 - 2 * PAGE), 4),
            [0x06, 0x06, 0, 0]
        );
        store64(&w.mm, va + HUGE_SIZE, 1).unwrap();
        w.mm.munmap(va + HUGE_SIZE + PAGE, PAGE).unwrap();
        assert_eq!(
            w.mirror.snapshot(Va(at.0 - PAGE), 4),
            [0x06, 0x02, 0xff, 0x02]
        );
        check_quiet(&w.sys);
        w.end();
    });
}
