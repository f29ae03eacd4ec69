//! Races around huge pages, each under many seeds.

use std::sync::Arc;

use hmm_core::sync::spawn;
use hmm_core::{Advice, Errno, HUGE_PAGES, HUGE_SIZE, Mm, Prot, System, Va};

use crate::common::device::Device;
use crate::common::mirror::Mirror;
use crate::common::*;

const DEV: u64 = 7;
const SEEDS: u64 = 40;

struct World {
    sys: Arc<System>,
    device: Arc<Device>,
    mm: Arc<Mm>,
    mirror: Arc<Mirror>,
    va: Va,
}

/// A process with a huge page of memory that is not touched yet.
fn world() -> World {
    let sys = system(2600);
    let device = Device::new(&sys, 1024, DEV);
    device.set_huge();
    let mm = sys.create_mm();
    let mirror = device.open(&mm);
    let va = map_huge(&mm, 1);
    World {
        sys,
        device,
        mm,
        mirror,
        va,
    }
}

impl World {
    fn end(&self) {
        self.mirror.check();
        check_quiet(&self.sys);
        self.mm.exit();
        assert_eq!((self.device.used(), self.sys.free_pages()), (0, 2599));
    }
}

/// The first words of all pages.
fn touch(mm: &Arc<Mm>, va: Va, pages: u64, first: u64) {
    for n in 0..pages {
        store64(mm, va + n * PAGE, first + n).unwrap();
    }
}

#[track_caller]
fn holds(mm: &Arc<Mm>, va: Va, pages: u64, first: u64) {
    for n in 0..pages {
        assert_eq!(load64(mm, va + n * PAGE), Ok(first + n), "page {n}");
    }
}

#[test]
fn huge_fault_against_munmap_of_half() {
    seeds(SEEDS, || {
        let w = world();
        let (theirs, va) = (Arc::clone(&w.mm), w.va);
        let unmapper = spawn(move || theirs.munmap(va + HUGE_SIZE / 2, HUGE_SIZE / 2).unwrap());
        // By the device, then by the CPU.
        let wrote = w.mirror.write(va + HUGE_SIZE / 2 + PAGE, &[1; 8]);
        assert!(matches!(wrote, Ok(_) | Err(Errno::EFAULT)));
        store64(&w.mm, va + PAGE, 7).unwrap();
        unmapper.join();
        check_quiet(&w.sys);
        assert_eq!(w.mirror.entry(va + HUGE_SIZE / 2 + PAGE), None);
        assert_eq!(load64(&w.mm, va + PAGE), Ok(7));
        assert_eq!(load64(&w.mm, va + HUGE_SIZE / 2), Err(Errno::SIGSEGV));
        w.end();
    });
}

#[test]
fn two_first_touches() {
    seeds(SEEDS, || {
        let w = world();
        let (theirs, va) = (Arc::clone(&w.mm), w.va);
        let other = spawn(move || store64(&theirs, va + PAGE, 1).unwrap());
        assert_eq!(load64(&w.mm, va), Ok(0));
        w.mirror.write(va + 2 * PAGE, &2u64.to_le_bytes()).unwrap();
        other.join();
        assert!(is_run(&w.mm, va));
        assert_eq!(w.mm.rss().anon, HUGE_PAGES);
        holds(&w.mm, va, 3, 0);
        w.end();
    });
}

#[test]
fn collapse_against_the_device() {
    seeds(SEEDS, || {
        let w = world();
        let va = w.va;
        w.mm.madvise(va, HUGE_SIZE, Advice::NoHugePage).unwrap();
        touch(&w.mm, va, 20, 0);
        w.mm.madvise(va, HUGE_SIZE, Advice::HugePage).unwrap();
        let theirs = Arc::clone(&w.mm);
        let collapser = spawn(move || theirs.madvise(va, HUGE_SIZE, Advice::Collapse));
        for n in 0..20 {
            let mut word = [0; 8];
            w.mirror.read(va + n * PAGE, &mut word).unwrap();
            assert_eq!(u64::from_le_bytes(word), n);
            w.mirror
                .write(va + n * PAGE, &(1000 + n).to_le_bytes())
                .unwrap();
        }
        let collapsed = collapser.join();
        assert!(matches!(collapsed, Ok(()) | Err(Errno::EAGAIN)));
        holds(&w.mm, va, 20, 1000);
        w.end();
    });
}

#[test]
fn collapse_against_eviction() {
    seeds(SEEDS, || {
        let w = world();
        let va = w.va;
        w.mm.madvise(va, HUGE_SIZE, Advice::NoHugePage).unwrap();
        touch(&w.mm, va, 20, 0);
        w.mirror.to_device(va + 3 * PAGE, 5).unwrap();
        w.mm.madvise(va, HUGE_SIZE, Advice::HugePage).unwrap();
        let device = Arc::clone(&w.device);
        let mirror = Arc::clone(&w.mirror);
        let evictor = spawn(move || device.migrate_to_system(&mirror, va, va + 20 * PAGE));
        let collapsed = w.mm.madvise(va, HUGE_SIZE, Advice::Collapse);
        assert!(matches!(
            collapsed,
            Ok(()) | Err(Errno::EAGAIN | Errno::EINVAL)
        ));
        evictor.join().unwrap();
        holds(&w.mm, va, 20, 0);
        w.end();
    });
}

#[test]
fn migration_of_an_empty_area_against_a_touch() {
    seeds(SEEDS, || {
        let w = world();
        let (theirs, va) = (Arc::clone(&w.mm), w.va);
        let toucher = spawn(move || store64(&theirs, va + 5 * PAGE, 9).unwrap());
        let moved = w.mirror.to_device(va, HUGE_PAGES);
        assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
        toucher.join();
        check_quiet(&w.sys);
        assert_eq!(w.mm.rss().anon, HUGE_PAGES);
        assert_eq!(load64(&w.mm, va + 5 * PAGE), Ok(9));
        assert_eq!(load64(&w.mm, va), Ok(0));
        w.end();
    });
}

#[test]
fn migration_against_cpu_writes() {
    seeds(SEEDS, || {
        let w = world();
        let va = w.va;
        touch(&w.mm, va, HUGE_PAGES, 0);
        let theirs = Arc::clone(&w.mm);
        let writer = spawn(move || {
            for n in 0..4 {
                store64(&theirs, va + n * PAGE, 1000 + n).unwrap();
                assert_eq!(load64(&theirs, va + n * PAGE), Ok(1000 + n));
            }
        });
        for _ in 0..2 {
            let moved = w.mirror.to_device(va, HUGE_PAGES);
            assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
        }
        writer.join();
        holds(&w.mm, va, 4, 1000);
        assert_eq!(load64(&w.mm, va + 100 * PAGE), Ok(100));
        w.end();
    });
}

#[test]
fn two_threads_bring_a_huge_page_home() {
    seeds(SEEDS, || {
        let w = world();
        let va = w.va;
        touch(&w.mm, va, HUGE_PAGES, 0);
        w.mirror.to_device(va, HUGE_PAGES).unwrap();
        let theirs = Arc::clone(&w.mm);
        let other = spawn(move || assert_eq!(load64(&theirs, va + 7 * PAGE), Ok(7)));
        store64(&w.mm, va + 8 * PAGE, 8).unwrap();
        other.join();
        assert_eq!(load64(&w.mm, va), Ok(0));
        holds(&w.mm, va, 20, 0);
        w.end();
    });
}

#[test]
fn split_against_eviction() {
    seeds(SEEDS, || {
        let w = world();
        let va = w.va;
        touch(&w.mm, va, HUGE_PAGES, 0);
        w.mirror.to_device(va, HUGE_PAGES).unwrap();
        let device = Arc::clone(&w.device);
        let evictor = spawn(move || device.release());
        w.mm.mprotect(va + 4 * PAGE, 4 * PAGE, Prot::READ).unwrap();
        w.mm.madvise(va + 100 * PAGE, PAGE, Advice::DontNeed)
            .unwrap();
        let half = Advice::NoHugePage;
        w.mm.madvise(va, HUGE_SIZE / 2, half).unwrap();
        assert_eq!(store64(&w.mm, va + 5 * PAGE, 1), Err(Errno::SIGSEGV));
        evictor.join();
        check_quiet(&w.sys);
        holds(&w.mm, va, 50, 0);
        assert_eq!(load64(&w.mm, va + 100 * PAGE), Ok(0));
        check_quiet(&w.sys);
    });
}

#[test]
fn fork_and_remap_against_eviction() {
    seeds(SEEDS, || {
        let w = world();
        let va = w.va;
        touch(&w.mm, va, HUGE_PAGES, 0);
        w.mirror.to_device(va, HUGE_PAGES).unwrap();
        let device = Arc::clone(&w.device);
        let evictor = spawn(move || device.release());
        let child = w.mm.fork().unwrap();
        let to = va + 3 * HUGE_SIZE + 7 * PAGE;
        let options = hmm_core::MremapOptions {
            at: Some(to),
            dontunmap: false,
        };
        w.mm.mremap(va, HUGE_SIZE, HUGE_SIZE, options).unwrap();
        store64(&child, va + PAGE, 77).unwrap();
        evictor.join();
        check_quiet(&w.sys);
        holds(&w.mm, to, 20, 0);
        assert_eq!(load64(&child, va + PAGE), Ok(77));
        assert_eq!(load64(&child, va + 2 * PAGE), Ok(2));
        check_quiet(&w.sys);
    });
}

#[test]
fn copy_on_write_against_migration_of_the_sharer() {
    seeds(SEEDS, || {
        let w = world();
        let va = w.va;
        touch(&w.mm, va, HUGE_PAGES, 0);
        let child = w.mm.fork().unwrap();
        let theirs = Arc::clone(&child);
        let writer = spawn(move || {
            store64(&theirs, va + 3 * PAGE, 33).unwrap();
            assert_eq!(load64(&theirs, va + 3 * PAGE), Ok(33));
        });
        let moved = w.mirror.to_device(va, HUGE_PAGES);
        assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
        writer.join();
        check_quiet(&w.sys);
        holds(&w.mm, va, 10, 0);
        assert_eq!(load64(&child, va + 3 * PAGE), Ok(33));
        child.exit();
        w.end();
    });
}
