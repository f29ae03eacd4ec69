//! Pages in swap space: there and back, by the CPU and by a device, shared, moved, and short of room.

use std::sync::Arc;

use crate::common::device::Device;
use crate::common::*;
use hmm_core::sync::spawn;
use hmm_core::{
    Advice, Errno, MremapOptions, NoTrace, PagemapEntry, Prot, Pte, System, SystemConfig, Va,
};

const DEV: u64 = 7;

/// A system with `pages` pages of memory and `swap` of swap space.
fn small(pages: u64, swap: u64) -> Arc<System> {
    let config = SystemConfig {
        swap_pages: swap,
        ..SystemConfig::new(pages)
    };
    System::new(config, Ram::new(pages), Arc::new(NoTrace))
}

fn is_swap(pte: Pte) -> bool {
    matches!(pte, Pte::Swap { .. })
}

#[test]
fn pages_go_out_and_come_back() {
    single(|| {
        let sys = system(128);
        let mm = sys.create_mm();
        let va = map(&mm, 16, Prot::READ_WRITE);
        fill(&mm, va, 8, 1);
        assert_eq!(load64(&mm, va + 8 * PAGE), Ok(0));
        let free = sys.free_pages();
        // Untouched places and the zero page have nothing to give.
        assert_eq!(mm.swap_out(va, 16 * PAGE), Ok(8));
        assert_eq!(mm.swap_out(va, 16 * PAGE), Ok(0));
        assert_eq!((sys.free_pages(), sys.swapped_pages()), (free + 8, 8));
        assert_eq!((mm.rss().anon, mm.memcg().charged()), (0, 0));
        assert_eq!(mm.pagemap(va), PagemapEntry::Swap);
        assert_eq!(mm.pte(va).pfn(), None);
        check_quiet(&sys);
        expect(&mm, va, 4, 1);
        store64(&mm, va + 4 * PAGE, 9).unwrap();
        assert_eq!(sys.swapped_pages(), 3);
        assert_eq!((mm.rss().anon, mm.memcg().charged()), (5, 5));
        assert_eq!(load64(&mm, va + 4 * PAGE + 8), Ok(2 + 4 * PAGE / 8));
        // The slot had one user, so the page is the process's own: no copy for a store.
        let pfn = mm.pte(va).pfn();
        store64(&mm, va, 1).unwrap();
        assert_eq!(mm.pte(va).pfn(), pfn);
        mm.exit();
        assert_eq!(sys.swapped_pages(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn a_device_reads_swapped_pages_in() {
    single(|| {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 8, Prot::READ_WRITE);
        mirror.write(va, &pattern(8, 1)).unwrap();
        assert!(mirror.entry(va).is_some());
        assert_eq!(mm.swap_out(va, 8 * PAGE), Ok(8));
        assert_eq!(mirror.entry(va), None);
        assert_eq!(mirror.snapshot(va, 8), [0; 8]);
        assert_eq!(sys.swapped_pages(), 8);
        assert_eq!(mirror.to_device(va, 8), Err(Errno::ENOENT));
        assert_eq!(device.used(), 0);
        let (data, rounds) = mirror.read_pages(va, 4).unwrap();
        assert!(data == pattern(4, 1) && rounds == 1);
        mirror.write(va + 4 * PAGE, &[1]).unwrap();
        assert_eq!(mirror.snapshot(va, 8), [2, 2, 2, 2, 2, 0, 0, 0]);
        mm.mprotect(va + 5 * PAGE, PAGE, Prot::READ).unwrap();
        assert_eq!(mirror.write(va + 5 * PAGE, &[1]), Err(Errno::EPERM));
        assert_eq!(load64(&mm, va + 5 * PAGE), Ok(1 + 5 * PAGE / 8));
        assert!(matches!(mm.pte(va + 5 * PAGE), Pte::Present(p) if !p.write));
        mm.mprotect(va + 6 * PAGE, PAGE, Prot::NONE).unwrap();
        assert_eq!(load64(&mm, va + 6 * PAGE), Err(Errno::SIGSEGV));
        assert_eq!(mirror.snapshot(va + 6 * PAGE, 1), [0xff]);
        mm.mprotect(va, 8 * PAGE, Prot::READ_WRITE).unwrap();
        assert_eq!(load64(&mm, va + 6 * PAGE), Ok(1 + 6 * PAGE / 8));
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn shared_pages_share_a_slot() {
    single(|| {
        let sys = system(128);
        let mm = sys.create_mm();
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        let child = mm.fork().unwrap();
        // From the child's side: the parent's entries go too.
        assert_eq!(child.swap_out(va, 4 * PAGE), Ok(4));
        assert_eq!(sys.swapped_pages(), 4);
        assert_eq!((mm.pte(va), is_swap(mm.pte(va))), (child.pte(va), true));
        assert_eq!((mm.rss().anon, child.rss().anon), (0, 0));
        let grandchild = child.fork().unwrap();
        check_quiet(&sys);
        store64(&child, va, 50).unwrap();
        assert_eq!(sys.swapped_pages(), 4);
        assert_eq!(load64(&mm, va), Ok(1));
        expect(&grandchild, va, 4, 1);
        assert_eq!(sys.swapped_pages(), 3);
        child.exit();
        mm.exit();
        assert_eq!(sys.swapped_pages(), 0);
        expect(&grandchild, va, 4, 1);
        check_quiet(&sys);
    });
}

#[test]
fn what_must_stay_stays() {
    single(|| {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 6, Prot::READ_WRITE);
        fill(&mm, va, 6, 1);
        mirror.to_device(va, 1).unwrap();
        let pins = mm.pin(va + PAGE, 1).unwrap();
        mm.mlock(va + 2 * PAGE, PAGE).unwrap();
        let held = mm.pte(va + 3 * PAGE).pfn().unwrap();
        sys.get_page(held);
        let locked = mm.pte(va + 4 * PAGE).pfn().unwrap();
        sys.lock_page(locked);
        assert_eq!(mm.swap_out(va, 6 * PAGE), Ok(1));
        assert!(is_swap(mm.pte(va + 5 * PAGE)));
        assert_eq!(device.used(), 1);
        sys.put_page(held);
        sys.unlock_page(locked);
        drop(pins);
        check_quiet(&sys);
        assert_eq!(mm.swap_out(va, 6 * PAGE), Ok(3));
        mm.munlock(va, 6 * PAGE).unwrap();
        assert_eq!(mm.swap_out(va, 6 * PAGE), Ok(1));
        expect(&mm, va, 6, 1);
        mirror.check();
        check_quiet(&sys);
    });
}

/// One process has locked what another may reclaim.
#[test]
fn a_lock_counts_for_all_who_share_the_page() {
    single(|| {
        let sys = system(128);
        let mm = sys.create_mm();
        let shared = map_shared(&mm, 2);
        fill(&mm, shared, 2, 1);
        let child = mm.fork().unwrap();
        expect(&child, shared, 2, 1);
        mm.mlock(shared, PAGE).unwrap();
        assert_eq!(child.swap_out(shared, 2 * PAGE), Ok(1));
        assert!(matches!(mm.pte(shared), Pte::Present(_)));
        assert!(matches!(child.pte(shared), Pte::Present(_)));
        mm.munlock(shared, PAGE).unwrap();
        assert_eq!(child.swap_out(shared, 2 * PAGE), Ok(1));
        expect(&mm, shared, 2, 1);
        check_quiet(&sys);
    });
}

#[test]
fn full_swap_space() {
    single(|| {
        let sys = small(64, 3);
        let mm = sys.create_mm();
        let va = map(&mm, 4, Prot::READ_WRITE);
        let shared = map_shared(&mm, 4);
        fill(&mm, va, 4, 1);
        fill(&mm, shared, 4, 2);
        assert_eq!(mm.swap_out(va, 2 * PAGE), Ok(2));
        assert_eq!(mm.swap_out(shared, 4 * PAGE), Ok(1));
        assert_eq!(mm.swap_out(va, 4 * PAGE), Ok(0));
        assert_eq!(sys.swapped_pages(), 3);
        check_quiet(&sys);
        store64(&mm, va, 1).unwrap();
        assert_eq!(mm.swap_out(va + 2 * PAGE, 2 * PAGE), Ok(1));
        expect(&mm, va, 4, 1);
        expect(&mm, shared, 4, 2);
        assert_eq!(sys.swapped_pages(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn shared_memory_comes_back_too() {
    single(|| {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map_shared(&mm, 4);
        mirror.write(va, &pattern(4, 1)).unwrap();
        let child = mm.fork().unwrap();
        expect(&child, va, 4, 1);
        let free = sys.free_pages();
        assert_eq!(mm.swap_out(va, 4 * PAGE), Ok(4));
        assert_eq!((sys.free_pages(), sys.swapped_pages()), (free + 4, 4));
        assert_eq!((mm.rss().shmem, child.rss().shmem), (0, 0));
        assert_eq!(mm.memcg().charged(), 0);
        store64(&child, va, 77).unwrap();
        assert_eq!(load64(&mm, va), Ok(77));
        assert!(mirror.read_pages(va + PAGE, 3).unwrap().0 == pattern(4, 1)[PAGE as usize..]);
        // Dropping the mapping does not drop the contents, wherever they are.
        assert_eq!(mm.swap_out(va, 2 * PAGE), Ok(2));
        mm.madvise(va, 4 * PAGE, Advice::DontNeed).unwrap();
        assert_eq!(load64(&mm, va), Ok(77));
        assert_eq!(load64(&mm, va + PAGE), Ok(1 + PAGE / 8));
        mm.exit();
        child.exit();
        assert_eq!(sys.swapped_pages(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn entries_move_and_go_with_their_slots() {
    single(|| {
        let sys = system(128);
        let mm = sys.create_mm();
        let va = map(&mm, 6, Prot::READ_WRITE);
        fill(&mm, va, 6, 1);
        assert_eq!(mm.swap_out(va, 6 * PAGE), Ok(6));
        let at = Some(Va(0x5000_0000));
        let options = MremapOptions {
            at,
            ..MremapOptions::default()
        };
        let moved = mm.mremap(va, 2 * PAGE, 2 * PAGE, options).unwrap();
        assert!(is_swap(mm.pte(moved)) && mm.pte(va).is_none());
        expect(&mm, moved, 2, 1);
        assert_eq!(sys.swapped_pages(), 4);
        mm.madvise(va + 2 * PAGE, PAGE, Advice::DontNeed).unwrap();
        mm.madvise(va + 3 * PAGE, PAGE, Advice::Free).unwrap();
        mm.munmap(va + 4 * PAGE, PAGE).unwrap();
        assert_eq!(sys.swapped_pages(), 1);
        assert_eq!(load64(&mm, va + 2 * PAGE), Ok(0));
        assert_eq!(load64(&mm, va + 3 * PAGE), Ok(0));
        assert_eq!(load64(&mm, va + 5 * PAGE), Ok(1 + 5 * PAGE / 8));
        let pins = mm.pin(va + 5 * PAGE, 1).unwrap();
        assert_eq!(mm.swap_out(va + 5 * PAGE, PAGE), Ok(0));
        drop(pins);
        check_quiet(&sys);
    });
}

#[test]
fn errors_leave_everything_as_it_was() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        assert_eq!(mm.swap_out(va + 1, PAGE), Err(Errno::EINVAL));
        assert_eq!(mm.swap_out(va, 0), Err(Errno::EINVAL));
        assert_eq!(mm.swap_out(va, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(mm.swap_out(Va(1 << 47), PAGE), Err(Errno::EINVAL));
        assert_eq!(sys.swapped_pages(), 0);
        mm.munmap(va + PAGE, PAGE).unwrap();
        // What is mapped is done all the same.
        assert_eq!(mm.swap_out(va, 4 * PAGE), Err(Errno::ENOMEM));
        assert_eq!(sys.swapped_pages(), 3);
        // No memory to read a page in: by limit, and by want.
        mm.memcg().set_limit(0);
        assert_eq!(load64(&mm, va), Err(Errno::ENOMEM));
        mm.memcg().set_limit(u64::MAX);
        let mut taken = Vec::new();
        while let Some(pfn) = sys.alloc_page() {
            taken.push(pfn);
        }
        assert_eq!(load64(&mm, va), Err(Errno::ENOMEM));
        let device = Device::new(&sys, 16, DEV);
        let mirror = device.open(&mm);
        assert_eq!(mirror.read_pages(va, 1).unwrap_err(), Errno::EFAULT);
        for pfn in taken {
            sys.put_page(pfn);
        }
        check_quiet(&sys);
        assert_eq!(sys.swapped_pages(), 3);
        assert_eq!(load64(&mm, va), Ok(1));
        mm.exit();
        assert_eq!(mm.swap_out(va, PAGE), Err(Errno::ESRCH));
        assert_eq!((sys.swapped_pages(), sys.free_pages()), (0, 63));
        check_quiet(&sys);
    });
}

#[test]
fn reclaim_goes_over_all_processes() {
    single(|| {
        let sys = system(128);
        let processes: Vec<_> = (0..3u64)
            .map(|n| {
                let mm = sys.create_mm();
                let va = map(&mm, 4, Prot::READ_WRITE);
                fill(&mm, va, 4, n * 100);
                (mm, va)
            })
            .collect();
        assert_eq!(sys.reclaim(5), 5);
        let left: Vec<u64> = processes.iter().map(|(mm, _)| mm.rss().anon).collect();
        assert_eq!(left, [0, 3, 4]);
        assert_eq!(sys.reclaim(u64::MAX), 7);
        assert_eq!(sys.reclaim(u64::MAX), 0);
        for (n, (mm, va)) in processes.iter().enumerate() {
            expect(mm, *va, 4, n as u64 * 100);
        }
        check_quiet(&sys);
    });
}

/// A huge page goes page by page.
#[test]
fn a_huge_page_is_split() {
    single(|| {
        let sys = system(2048);
        let mm = sys.create_mm();
        let options = hmm_core::MmapOptions {
            huge: true,
            ..Default::default()
        };
        let va = mm.mmap(512 * PAGE, Prot::READ_WRITE, options).unwrap();
        mm.madvise(va, 512 * PAGE, Advice::HugePage).unwrap();
        fill(&mm, va, 512, 1);
        assert_eq!(mm.swap_out(va + 8 * PAGE, 2 * PAGE), Ok(2));
        assert_eq!(mm.rss().anon, 510);
        check_quiet(&sys);
        expect(&mm, va, 512, 1);
        assert_eq!(mm.swap_out(va, 512 * PAGE), Ok(512));
        assert_eq!((sys.swapped_pages(), mm.rss().anon), (512, 0));
        expect(&mm, va, 512, 1);
        check_quiet(&sys);
    });
}

#[test]
fn swap_out_against_cpu_device_and_migration() {
    seeds(200, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 0);
        let theirs = Arc::clone(&mm);
        let reclaimer = spawn(move || {
            for _ in 0..4 {
                theirs.swap_out(va, 2 * PAGE).unwrap();
                check(theirs.system());
            }
        });
        let theirs = Arc::clone(&mm);
        let cpu = spawn(move || {
            for n in 1..5u64 {
                store64(&theirs, va + (n % 2) * PAGE, n).unwrap();
                assert_eq!(load64(&theirs, va + (n % 2) * PAGE), Ok(n));
            }
        });
        let theirs = Arc::clone(&mirror);
        let mover = spawn(move || {
            for _ in 0..2 {
                let moved = theirs.to_device(va, 2);
                assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
            }
        });
        for n in 1..5u64 {
            let at = va + 64 + (n % 2) * PAGE;
            mirror.write(at, &n.to_le_bytes()).unwrap();
            let mut seen = [0; 8];
            mirror.read(at, &mut seen).unwrap();
            assert_eq!(u64::from_le_bytes(seen), n);
        }
        reclaimer.join();
        cpu.join();
        mover.join();
        for at in [va, va + 64] {
            assert_eq!(load64(&mm, at), Ok(4));
            assert_eq!(load64(&mm, at + PAGE), Ok(3));
        }
        mirror.check();
        check_quiet(&sys);
        assert_eq!((device.used(), sys.swapped_pages()), (0, 0));
    });
}

#[test]
fn swap_out_against_fork_and_itself() {
    seeds(200, || {
        let sys = system(128);
        let mm = sys.create_mm();
        let va = map(&mm, 3, Prot::READ_WRITE);
        fill(&mm, va, 3, 1);
        let reclaimers: Vec<_> = (0..2)
            .map(|_| {
                let theirs = Arc::clone(&mm);
                spawn(move || {
                    let gone = theirs.swap_out(va, 3 * PAGE).unwrap();
                    check(theirs.system());
                    gone
                })
            })
            .collect();
        let theirs = Arc::clone(&mm);
        let forker = spawn(move || {
            let child = theirs.fork().unwrap();
            store64(&child, va, 100).unwrap();
            child
        });
        store64(&mm, va + PAGE, 200).unwrap();
        let gone: u64 = reclaimers.into_iter().map(|r| r.join()).sum();
        let child = forker.join();
        // Each page at most once for each reclaimer.
        assert!(gone <= 6);
        check(&sys);
        assert_eq!(load64(&mm, va), Ok(1));
        assert_eq!(load64(&child, va), Ok(100));
        assert_eq!(load64(&mm, va + PAGE), Ok(200));
        let seen = load64(&child, va + PAGE).unwrap();
        assert!(seen == 200 || seen == 1 + PAGE / 8, "{seen}");
        expect(&mm, va + 2 * PAGE, 1, 1 + 2 * PAGE / 8);
        expect(&child, va + 2 * PAGE, 1, 1 + 2 * PAGE / 8);
        assert_eq!(sys.swapped_pages(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn many_threads_swap_one_page_in() {
    seeds(150, || {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 1, Prot::READ_WRITE);
        fill(&mm, va, 1, 1);
        let child = mm.fork().unwrap();
        assert_eq!(mm.swap_out(va, PAGE), Ok(1));
        let threads: Vec<_> = (0..4u64)
            .map(|i| {
                let mm = Arc::clone(if i % 2 == 0 { &mm } else { &child });
                spawn(move || {
                    assert_eq!(load64(&mm, va + 8 * i), Ok(1 + i));
                    store64(&mm, va + 8 * i, 50 + i).unwrap();
                })
            })
            .collect();
        for thread in threads {
            thread.join();
        }
        for i in 0..4 {
            let own = |even: u64| if i % 2 == even { 50 + i } else { 1 + i };
            assert_eq!(load64(&mm, va + 8 * i), Ok(own(0)));
            assert_eq!(load64(&child, va + 8 * i), Ok(own(1)));
        }
        assert_eq!((sys.swapped_pages(), mm.rss().anon), (0, 1));
        check_quiet(&sys);
    });
}

#[test]
fn swap_out_against_exit_and_unmapping() {
    seeds(150, || {
        let sys = system(64);
        let mm = sys.create_mm();
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        let child = mm.fork().unwrap();
        let theirs = Arc::clone(&sys);
        let reclaimer = spawn(move || theirs.reclaim(u64::MAX));
        let theirs = Arc::clone(&mm);
        let unmapper = spawn(move || {
            theirs.madvise(va, PAGE, Advice::DontNeed).unwrap();
            theirs.munmap(va + PAGE, PAGE).unwrap();
            drop(theirs);
        });
        child.exit();
        drop(child);
        unmapper.join();
        assert!(reclaimer.join() <= 8);
        assert_eq!(load64(&mm, va), Ok(0));
        expect(&mm, va + 2 * PAGE, 2, 1 + 2 * PAGE / 8);
        assert_eq!(sys.swapped_pages(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn exclusive_and_coherent_pages_stay() {
    single(|| {
        let sys = system(128);
        let device = Device::coherent(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        for page in 0..4 {
            fill(&mm, va + page * PAGE, 1, 1);
        }
        mm.madvise(va, 4 * PAGE, Advice::Mergeable).unwrap();
        mirror.exclusive(va, 2).unwrap();
        mirror.to_device(va + 2 * PAGE, 2).unwrap();
        mm.madvise(va + 2 * PAGE, 2 * PAGE, Advice::Free).unwrap();
        assert_eq!((mm.swap_out(va, 4 * PAGE), sys.ksm_scan()), (Ok(0), 0));
        assert_eq!((sys.reclaim(u64::MAX), device.used()), (0, 2));
        assert!(mirror.is_exclusive(va) && mirror.is_exclusive(va + PAGE));
        for page in 0..4 {
            expect(&mm, va + page * PAGE, 1, 1);
        }
        mirror.check();
        check_quiet(&sys);
    });
}
