//! Races of devices with exclusive, coherent and each other's pages, each under many seeds.

use std::sync::Arc;

use crate::common::device::Device;
use crate::common::mirror::Mirror;
use crate::common::*;
use hmm_core::sync::{spawn, yield_now};
use hmm_core::{Advice, DeviceMemory, Errno, Mm, Prot, System};

const DEV: u64 = 7;
const SEEDS: u64 = 150;

struct World {
    sys: Arc<System>,
    dev0: Arc<Device>,
    dev1: Arc<Device>,
    mm: Arc<Mm>,
    m0: Arc<Mirror>,
    m1: Arc<Mirror>,
}

fn world(kind: DeviceMemory) -> World {
    let sys = system(256);
    let dev0 = Device::with_memory(&sys, kind, 16, DEV);
    let dev1 = Device::with_memory(&sys, kind, 16, DEV + 1);
    let mm = sys.create_mm();
    let (m0, m1) = (dev0.open(&mm), dev1.open(&mm));
    World {
        sys,
        dev0,
        dev1,
        mm,
        m0,
        m1,
    }
}

impl World {
    /// Nothing is left of the process when it ends.
    fn end(self) {
        self.m0.check();
        self.m1.check();
        check_quiet(&self.sys);
        self.mm.exit();
        assert_eq!((self.dev0.used(), self.dev1.used()), (0, 0));
        check_quiet(&self.sys);
    }
}

/// Every addition counts, and a store of the CPU is not lost between a device's load and store.
#[test]
fn atomics_of_two_devices_and_stores_of_the_cpu() {
    seeds(SEEDS, || {
        let w = world(DeviceMemory::Private);
        let va = map(&w.mm, 1, Prot::READ_WRITE);
        let adders: Vec<_> = [&w.m0, &w.m1]
            .into_iter()
            .map(|mirror| {
                let mirror = Arc::clone(mirror);
                spawn(move || {
                    for _ in 0..3 {
                        mirror.fetch_add(va, 1).unwrap();
                    }
                })
            })
            .collect();
        for n in 1..4 {
            store64(&w.mm, va + 8, n).unwrap();
            assert_eq!(load64(&w.mm, va + 8), Ok(n));
            check(&w.sys);
        }
        adders.into_iter().for_each(|adder| adder.join());
        assert_eq!(load64(&w.mm, va), Ok(6));
        w.end();
    });
}

#[test]
fn exclusive_access_against_a_store_to_the_same_word() {
    seeds(SEEDS, || {
        let w = world(DeviceMemory::Coherent);
        let va = map(&w.mm, 1, Prot::READ_WRITE);
        let mirror = Arc::clone(&w.m0);
        let adder = spawn(move || -> Vec<u64> {
            (0..3).map(|_| mirror.fetch_add(va, 1).unwrap()).collect()
        });
        yield_now();
        store64(&w.mm, va, 1000).unwrap();
        let before = adder.join().into_iter().filter(|&old| old < 1000).count();
        assert_eq!(load64(&w.mm, va), Ok(1000 + 3 - before as u64));
        w.end();
    });
}

#[test]
fn exclusive_access_against_fork_and_migration() {
    for kind in [DeviceMemory::Private, DeviceMemory::Coherent] {
        seeds(SEEDS, move || {
            let w = world(kind);
            let va = map(&w.mm, 2, Prot::READ_WRITE);
            fill(&w.mm, va, 2, 0);
            let mirror = Arc::clone(&w.m0);
            let adder = spawn(move || {
                for _ in 0..3 {
                    mirror.fetch_add(va, 1).unwrap();
                    mirror.fetch_add(va + PAGE, 1).unwrap();
                }
            });
            let mirror = Arc::clone(&w.m1);
            let mover = spawn(move || {
                let _ = mirror.to_device(va, 2);
                mirror.to_system(va, 2).unwrap();
            });
            let child = w.mm.fork().unwrap();
            check(&w.sys);
            let seen = load64(&child, va).unwrap();
            assert!(seen <= 3);
            store64(&child, va, 50).unwrap();
            adder.join();
            mover.join();
            assert_eq!(load64(&w.mm, va), Ok(3));
            assert_eq!(load64(&w.mm, va + PAGE), Ok(515));
            assert_eq!(load64(&child, va), Ok(50));
            child.exit();
            w.end();
        });
    }
}

#[test]
fn exclusive_access_against_unmapping_and_exit() {
    seeds(SEEDS, || {
        let w = world(DeviceMemory::Private);
        let va = map(&w.mm, 3, Prot::READ_WRITE);
        let mirror = Arc::clone(&w.m0);
        let adder = spawn(move || {
            for page in 0..3 {
                match mirror.fetch_add(va + page * PAGE, 1) {
                    Ok(_) | Err(Errno::EFAULT | Errno::EBUSY) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let theirs = Arc::clone(&w.mm);
        let dropper = spawn(move || theirs.madvise(va, PAGE, Advice::DontNeed).unwrap());
        w.mm.munmap(va + PAGE, PAGE).unwrap();
        assert_eq!(w.m0.entry(va + PAGE), None);
        check(&w.sys);
        dropper.join();
        w.mm.exit();
        adder.join();
        assert!((0..3).all(|page| w.m0.entry(va + page * PAGE).is_none()));
        w.end();
    });
}

/// One page, home, and both see it.
#[test]
fn two_devices_fault_one_page_of_a_third() {
    for kind in [DeviceMemory::Private, DeviceMemory::Coherent] {
        seeds(SEEDS, move || {
            let w = world(kind);
            let third = Device::with_memory(&w.sys, kind, 4, DEV + 2);
            let va = map(&w.mm, 1, Prot::READ_WRITE);
            fill(&w.mm, va, 1, 40);
            third.open(&w.mm).to_device(va, 1).unwrap();
            let readers: Vec<_> = [&w.m0, &w.m1]
                .into_iter()
                .map(|mirror| {
                    let mirror = Arc::clone(mirror);
                    spawn(move || mirror.read_pages(va, 1).unwrap().0)
                })
                .collect();
            for reader in readers {
                assert!(reader.join() == pattern(1, 40));
            }
            let stays = u64::from(kind == DeviceMemory::Coherent);
            assert_eq!(third.used(), stays);
            assert_eq!(w.mm.rss().anon, 1);
            w.end();
            assert_eq!(third.used(), 0);
        });
    }
}

/// The pin wins and the page stays, or the migration wins and the pin brings the page back.
#[test]
fn short_and_long_references_against_migration() {
    for kind in [DeviceMemory::Private, DeviceMemory::Coherent] {
        seeds(SEEDS, move || {
            let w = world(kind);
            let va = map(&w.mm, 2, Prot::READ_WRITE);
            fill(&w.mm, va, 2, 0);
            let theirs = Arc::clone(&w.mm);
            let holder = spawn(move || {
                let short = theirs.get_user_pages(va, 1).unwrap();
                yield_now();
                assert_eq!(theirs.pte(va).pfn(), Some(short.pfns()[0]), "it moved");
                drop(short);
                let long = theirs.pin(va + PAGE, 1).unwrap();
                yield_now();
                assert!(!long.pfns()[0].is_device());
                assert_eq!(
                    theirs.pte(va + PAGE).pfn(),
                    Some(long.pfns()[0]),
                    "it moved"
                );
                check(theirs.system());
            });
            for _ in 0..2 {
                let moved = w.m0.to_device(va, 2);
                assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
                check(&w.sys);
            }
            holder.join();
            expect(&w.mm, va, 2, 0);
            w.end();
        });
    }
}

#[test]
fn many_threads_and_a_device_on_one_foreign_page() {
    for kind in [DeviceMemory::Private, DeviceMemory::Coherent] {
        seeds(SEEDS, move || {
            let w = world(kind);
            let va = map(&w.mm, 1, Prot::READ_WRITE);
            w.m0.to_device(va, 1).unwrap();
            let threads: Vec<_> = (1..5u64)
                .map(|n| {
                    let mm = Arc::clone(&w.mm);
                    spawn(move || {
                        store64(&mm, va + 8 * n, n).unwrap();
                        assert_eq!(load64(&mm, va + 8 * n), Ok(n));
                    })
                })
                .collect();
            w.m1.write(va, &[9]).unwrap();
            threads.into_iter().for_each(|thread| thread.join());
            let words: Vec<u64> = (0..5).map(|n| load64(&w.mm, va + 8 * n).unwrap()).collect();
            assert_eq!(words, [9, 1, 2, 3, 4]);
            assert_eq!(w.mm.rss().anon, 1);
            w.end();
        });
    }
}

#[test]
fn fork_while_pages_move() {
    for kind in [DeviceMemory::Private, DeviceMemory::Coherent] {
        seeds(SEEDS, move || {
            let w = world(kind);
            let va = map(&w.mm, 3, Prot::READ_WRITE);
            fill(&w.mm, va, 3, 0);
            let mirror = Arc::clone(&w.m0);
            let mover = spawn(move || {
                let _ = mirror.to_device(va, 3);
                mirror.to_system(va, 3).unwrap();
            });
            let child = w.mm.fork().unwrap();
            store64(&w.mm, va, 100).unwrap();
            store64(&child, va + PAGE, 200).unwrap();
            check(&w.sys);
            mover.join();
            assert_eq!(load64(&w.mm, va), Ok(100));
            expect(&w.mm, va + PAGE, 2, 512);
            assert_eq!(load64(&child, va + PAGE), Ok(200));
            assert_eq!(load64(&child, va), Ok(0));
            child.exit();
            w.end();
        });
    }
}

/// What was written after the bits were cleared is found, whoever wrote it.
#[test]
fn clearing_soft_dirty_bits_against_stores() {
    for kind in [DeviceMemory::Private, DeviceMemory::Coherent] {
        seeds(SEEDS, move || {
            let w = world(kind);
            let va = map(&w.mm, 3, Prot::READ_WRITE);
            fill(&w.mm, va, 3, 0);
            w.m0.to_device(va, 2).unwrap();
            let mirror = Arc::clone(&w.m0);
            let device = spawn(move || {
                for n in 1..4 {
                    mirror.write(va, &[n]).unwrap();
                }
            });
            let theirs = Arc::clone(&w.mm);
            let cpu = spawn(move || {
                for n in 1..4 {
                    store64(&theirs, va + 2 * PAGE, n).unwrap();
                }
            });
            let words = || [load64(&w.mm, va), load64(&w.mm, va + 2 * PAGE)];
            w.mm.clear_soft_dirty().unwrap();
            let then = words();
            check(&w.sys);
            device.join();
            cpu.join();
            let now = words();
            for (at, page) in [(0, 0), (1, 2)] {
                let dirty = w.mm.soft_dirty(va + page * PAGE);
                assert!(
                    dirty || then[at] == now[at],
                    "page {page}: a store was lost"
                );
            }
            w.end();
        });
    }
}
