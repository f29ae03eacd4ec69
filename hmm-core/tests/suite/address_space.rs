//! Mappings, copy-on-write and what a process may do, without a device.

use std::sync::Arc;

use crate::common::*;
use hmm_core::{Advice, Errno, Mm, MmapOptions, MremapOptions, PagemapEntry, Prot, Pte, Rss, Va};

const HUGE: u64 = 2 << 20;

fn writable(mm: &Mm, va: Va) -> bool {
    matches!(mm.pte(va), Pte::Present(pte) if pte.write)
}

#[test]
fn mappings_go_where_they_are_asked_to() {
    let sys = system(64);
    let mm = sys.create_mm();
    let a = map(&mm, 3, Prot::READ_WRITE);
    let huge = mm
        .mmap(
            HUGE,
            Prot::READ,
            MmapOptions {
                huge: true,
                ..MmapOptions::default()
            },
        )
        .unwrap();
    assert_eq!(huge.0 % HUGE, 0);
    assert_eq!(
        map(&mm, 1, Prot::READ),
        a + 3 * PAGE,
        "the lowest free place"
    );
    let fixed = MmapOptions {
        at: Some(a + PAGE),
        ..MmapOptions::default()
    };
    fill(&mm, a, 3, 1);
    assert_eq!(mm.mmap(PAGE, Prot::READ_WRITE, fixed), Ok(a + PAGE));
    assert_eq!(load64(&mm, a + PAGE), Ok(0));
    assert_eq!(load64(&mm, a), Ok(1));
    let odd = MmapOptions {
        at: Some(a + 8),
        ..MmapOptions::default()
    };
    assert_eq!(mm.mmap(PAGE, Prot::READ, odd), Err(Errno::EINVAL));
    assert_eq!(
        mm.mmap(0, Prot::READ, MmapOptions::default()),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        mm.mmap(1 << 47, Prot::READ, MmapOptions::default()),
        Err(Errno::ENOMEM)
    );
    check_quiet(&sys);
}

#[test]
fn accesses_stop_at_the_first_page_that_refuses() {
    let sys = system(64);
    let mm = sys.create_mm();
    let va = map(&mm, 3, Prot::READ_WRITE);
    mm.mprotect(va + PAGE, PAGE, Prot::READ).unwrap();
    assert_eq!(store64(&mm, va + (PAGE - 4), u64::MAX), Err(Errno::SIGSEGV));
    assert_eq!(load64(&mm, va + (PAGE - 4)), Ok(0xffff_ffff));
    assert_eq!(load64(&mm, va + (3 * PAGE - 4)), Err(Errno::SIGSEGV));
    assert_eq!(load64(&mm, Va(u64::MAX - 3)), Err(Errno::SIGSEGV));
    assert_eq!(load64(&mm, Va(1 << 47)), Err(Errno::SIGSEGV));
    check_quiet(&sys);
}

#[test]
fn reads_of_untouched_memory_share_the_zero_page() {
    let sys = system(64);
    let mm = sys.create_mm();
    let va = map(&mm, 2, Prot::READ_WRITE);
    assert_eq!(mm.pagemap(va), PagemapEntry::None);
    assert_eq!(load64(&mm, va), Ok(0));
    assert_eq!(
        (mm.pte(va).pfn(), mm.rss()),
        (Some(sys.zero_page()), Rss::default())
    );
    store64(&mm, va, 1).unwrap();
    assert_ne!(mm.pte(va).pfn(), Some(sys.zero_page()));
    assert_eq!((mm.rss().anon, mm.memcg().charged()), (1, 1));
    assert_eq!(load64(&mm, va + PAGE), Ok(0));
    check_quiet(&sys);
}

#[test]
fn fork_copies_on_write_and_the_last_user_keeps_the_page() {
    let sys = system(64);
    let mm = sys.create_mm();
    let va = map(&mm, 2, Prot::READ_WRITE);
    fill(&mm, va, 2, 1);
    let page = mm.pte(va).pfn();
    let child = mm.fork().unwrap();
    assert!(!writable(&mm, va) && !writable(&child, va));
    assert_eq!(sys.page_mapcount(page.unwrap()), 2);
    store64(&child, va, 7).unwrap();
    assert_ne!(child.pte(va).pfn(), page);
    // The parent is alone with the old page now: no copy.
    store64(&mm, va, 8).unwrap();
    assert_eq!(mm.pte(va).pfn(), page);
    assert_eq!((load64(&mm, va), load64(&child, va)), (Ok(8), Ok(7)));
    check_quiet(&sys);
    let free = sys.free_pages();
    child.exit();
    assert_eq!(sys.free_pages(), free + 1);
    assert_eq!(child.rss(), Rss::default());
    assert_eq!(load64(&child, va), Err(Errno::ESRCH));
    assert_eq!(
        child.mmap(PAGE, Prot::READ, MmapOptions::default()),
        Err(Errno::ESRCH)
    );
    child.exit();
    check_quiet(&sys);
}

#[test]
fn protection_comes_and_goes_without_losing_data() {
    let sys = system(64);
    let mm = sys.create_mm();
    let va = map(&mm, 2, Prot::READ_WRITE);
    fill(&mm, va, 2, 1);
    mm.mprotect(va, 2 * PAGE, Prot::NONE).unwrap();
    assert_eq!(load64(&mm, va), Err(Errno::SIGSEGV));
    mm.mprotect(va, 2 * PAGE, Prot::READ).unwrap();
    assert_eq!(store64(&mm, va, 1), Err(Errno::SIGSEGV));
    assert!(!writable(&mm, va));
    mm.mprotect(va, PAGE, Prot::READ_WRITE).unwrap();
    assert!(writable(&mm, va), "dirty and of this process alone");
    let child = mm.fork().unwrap();
    mm.mprotect(va, 2 * PAGE, Prot::READ).unwrap();
    mm.mprotect(va, 2 * PAGE, Prot::READ_WRITE).unwrap();
    assert!(!writable(&mm, va), "shared with the child");
    expect(&mm, va, 2, 1);
    expect(&child, va, 2, 1);
    assert_eq!(mm.mprotect(va, 3 * PAGE, Prot::NONE), Err(Errno::ENOMEM));
    expect(&mm, va, 2, 1);
    check_quiet(&sys);
}

#[test]
fn dontneed_drops_what_is_mapped_and_reports_holes() {
    let sys = system(64);
    let mm = sys.create_mm();
    let va = map(&mm, 3, Prot::READ_WRITE);
    fill(&mm, va, 3, 1);
    mm.munmap(va + PAGE, PAGE).unwrap();
    assert_eq!(
        mm.madvise(va, 3 * PAGE, Advice::DontNeed),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        (load64(&mm, va), load64(&mm, va + 2 * PAGE)),
        (Ok(0), Ok(0))
    );
    assert_eq!(
        mm.madvise(va + 1, PAGE, Advice::DontNeed),
        Err(Errno::EINVAL)
    );
    let shared = map_shared(&mm, 1);
    store64(&mm, shared, 5).unwrap();
    mm.madvise(shared, PAGE, Advice::DontNeed).unwrap();
    assert_eq!(
        load64(&mm, shared),
        Ok(5),
        "shared memory keeps its contents"
    );
    assert_eq!(
        (Advice::from_name("dontneed"), Advice::from_name("cold")),
        (Some(Advice::DontNeed), None)
    );
    check_quiet(&sys);
}

#[test]
fn mremap_moves_grows_and_shrinks() {
    let sys = system(64);
    let mm = sys.create_mm();
    let va = map(&mm, 4, Prot::READ_WRITE);
    fill(&mm, va, 4, 1);
    let wall = map(&mm, 1, Prot::READ);
    assert_eq!(wall, va + 4 * PAGE);
    let moved = mm
        .mremap(va, 4 * PAGE, 6 * PAGE, MremapOptions::default())
        .unwrap();
    assert!(moved > wall);
    expect(&mm, moved, 4, 1);
    assert_eq!(load64(&mm, moved + 5 * PAGE), Ok(0));
    assert_eq!(load64(&mm, va), Err(Errno::SIGSEGV));
    assert_eq!(
        mm.mremap(moved, 6 * PAGE, 2 * PAGE, MremapOptions::default()),
        Ok(moved)
    );
    assert_eq!(load64(&mm, moved + 2 * PAGE), Err(Errno::SIGSEGV));
    let to = |at: Va, dontunmap| MremapOptions {
        at: Some(at),
        dontunmap,
    };
    assert_eq!(
        mm.mremap(moved, 2 * PAGE, 2 * PAGE, to(moved + PAGE, false)),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        mm.mremap(moved, 3 * PAGE, 3 * PAGE, to(va, false)),
        Err(Errno::EFAULT)
    );
    assert_eq!(
        mm.mremap(moved, 2 * PAGE, PAGE, to(va, true)),
        Err(Errno::EINVAL)
    );
    let shared = map_shared(&mm, 2);
    fill(&mm, shared, 2, 9);
    assert_eq!(mm.mremap(shared + PAGE, PAGE, PAGE, to(va, false)), Ok(va));
    expect(&mm, va, 1, 9 + PAGE / 8);
    check_quiet(&sys);
}

#[test]
fn memory_that_is_full_is_an_error_that_passes() {
    let sys = system(8);
    let mm = sys.create_mm();
    let va = map(&mm, 8, Prot::READ_WRITE);
    fill(&mm, va, 6, 1);
    let child = mm.fork().unwrap();
    store64(&child, va, 2).unwrap();
    assert_eq!(store64(&child, va + PAGE, 2), Err(Errno::ENOMEM));
    assert_eq!(load64(&child, va + PAGE), Ok(1 + PAGE / 8));
    // A pinned page must be copied at once, for which there is no room.
    let pins = mm.pin(va, 1).unwrap();
    assert_eq!(mm.fork().err(), Some(Errno::ENOMEM));
    check_quiet(&sys);
    child.exit();
    mm.munmap(va + 4 * PAGE, PAGE).unwrap();
    let second = mm.fork().unwrap();
    assert_eq!(load64(&second, va), Ok(1));
    drop(pins);
    check_quiet(&sys);
}

#[test]
fn everything_is_given_back_when_a_process_is_dropped() {
    let sys = system(64);
    let free = sys.free_pages();
    let mm = sys.create_mm();
    let va = map(&mm, 4, Prot::READ_WRITE);
    fill(&mm, va, 4, 1);
    let shared = map_shared(&mm, 2);
    fill(&mm, shared, 2, 1);
    let child: Arc<Mm> = mm.fork().unwrap();
    expect(&child, shared, 2, 1);
    drop(mm);
    expect(&child, va, 4, 1);
    assert!(child.id() > 1 && child.is_alive());
    drop(child);
    assert_eq!(sys.free_pages(), free);
    check_quiet(&sys);
}
