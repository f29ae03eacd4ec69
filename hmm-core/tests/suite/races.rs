//! Races between CPU threads, devices and migrations, each under many seeds.

use std::sync::Arc;

use crate::common::device::Device;
use crate::common::*;
use hmm_core::sync::{Schedule, run_with, spawn};
use hmm_core::{Advice, Errno, Prot};

const DEV: u64 = 7;
const SEEDS: u64 = 300;

#[test]
fn device_read_against_munmap() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 8, Prot::READ_WRITE);
        fill(&mm, va, 8, 1);
        let theirs = Arc::clone(&mm);
        let unmapper = spawn(move || theirs.munmap(va + 4 * PAGE, 4 * PAGE).unwrap());
        match mirror.read_pages(va, 8) {
            Ok((data, _)) => assert!(data == pattern(8, 1)),
            Err(error) => assert_eq!(error, Errno::EFAULT),
        }
        unmapper.join();
        assert_eq!(mirror.entry(va + 4 * PAGE), None);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn device_write_against_mprotect() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        let theirs = Arc::clone(&mm);
        let protector = spawn(move || {
            theirs.mprotect(va, 2 * PAGE, Prot::READ).unwrap();
            contents(&theirs, va, 2)
        });
        let wrote = mirror
            .write(va, &[1])
            .and_then(|_| mirror.write(va + PAGE, &[1]));
        let seen = protector.join();
        assert!(matches!(wrote, Ok(_) | Err(Errno::EPERM)));
        assert_eq!(contents(&mm, va, 2), seen, "written after the mprotect");
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn device_and_cpu_against_copy_on_write() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        let child = mm.fork().unwrap();
        let theirs = Arc::clone(&mm);
        let writer = spawn(move || store64(&theirs, va, 100).unwrap());
        mirror.write(va + 8, &200u64.to_le_bytes()).unwrap();
        writer.join();
        let (data, _) = mirror.read_pages(va, 1).unwrap();
        assert_eq!(data[..8], 100u64.to_le_bytes());
        assert_eq!(data[8..16], 200u64.to_le_bytes());
        expect(&child, va, 2, 1);
        mirror.check();
        check_quiet(&sys);
    });
}

/// The copy can be written by a second thread as soon as it is mapped: the device has lost the old page by then.
#[test]
fn device_read_against_two_writers_of_a_copied_page() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 1, Prot::READ_WRITE);
        fill(&mm, va, 1, 1);
        let child = mm.fork().unwrap();
        mirror.read_pages(va, 1).unwrap();
        let write_and_look = |word: u64| {
            let (mm, mirror) = (Arc::clone(&mm), Arc::clone(&mirror));
            spawn(move || {
                let at = word as usize * 8;
                store64(&mm, va + word * 8, 100 + word).unwrap();
                let (data, _) = mirror.read_pages(va, 1).unwrap();
                assert_eq!(data[at..at + 8], (100 + word).to_le_bytes());
            })
        };
        let writers = [write_and_look(0), write_and_look(1)];
        for writer in writers {
            writer.join();
        }
        expect(&child, va, 1, 1);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn migration_against_cpu_touch_of_an_empty_place() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        let theirs = Arc::clone(&mm);
        let toucher = spawn(move || {
            store64(&theirs, va, 5).unwrap();
            check(theirs.system());
        });
        let moved = mirror.to_device(va, 2);
        check(&sys);
        toucher.join();
        assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
        assert_eq!(mm.rss().anon, 2 - u64::from(mm.pte(va + PAGE).is_none()));
        assert_eq!(load64(&mm, va), Ok(5));
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn migration_against_cpu_writes() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 3, Prot::READ_WRITE);
        fill(&mm, va, 3, 0);
        let theirs = Arc::clone(&mm);
        let writer = spawn(move || {
            for n in 1..6u64 {
                for page in 0..3 {
                    store64(&theirs, va + page * PAGE, n).unwrap();
                    assert_eq!(load64(&theirs, va + page * PAGE), Ok(n));
                }
            }
        });
        let theirs = Arc::clone(&mirror);
        let adder = spawn(move || {
            for n in 1..6u64 {
                theirs
                    .write(va + 8 + (n % 3) * PAGE, &n.to_le_bytes())
                    .unwrap();
            }
        });
        for _ in 0..3 {
            let moved = mirror.to_device(va, 3);
            assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
            check(&sys);
            mirror.to_system(va, 3).unwrap();
        }
        writer.join();
        adder.join();
        for page in 0..3 {
            assert_eq!(load64(&mm, va + page * PAGE), Ok(5));
        }
        assert_eq!(load64(&mm, va + 8), Ok(3));
        assert_eq!(load64(&mm, va + 8 + PAGE), Ok(4));
        assert_eq!(load64(&mm, va + 8 + 2 * PAGE), Ok(5));
        mirror.check();
        check_quiet(&sys);
        assert_eq!(device.used(), 0);
    });
}

#[test]
fn migration_against_pin() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        let theirs = Arc::clone(&mm);
        let pinner = spawn(move || {
            let pins = theirs.pin(va, 2).unwrap();
            check(theirs.system());
            pins
        });
        let moved = mirror.to_device(va, 2);
        assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
        let pins = pinner.join();
        for (i, &pfn) in pins.pfns().iter().enumerate() {
            assert_eq!(
                mm.pte(va + i as u64 * PAGE).pfn(),
                Some(pfn),
                "a pinned page moved"
            );
        }
        assert_eq!(mirror.to_device(va, 2), Err(Errno::ENOENT));
        drop(pins);
        expect(&mm, va, 2, 1);
        check_quiet(&sys);
    });
}

#[test]
fn fork_during_migration() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        let migrated = Arc::clone(&mirror);
        // The mmap lock keeps a fork out of a migration of its own range, so migrate by page number too.
        let mover = spawn(move || {
            for _ in 0..2 {
                let moved = migrated.to_device(va, 4);
                assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
            }
            migrated.device.release();
        });
        let child = mm.fork().unwrap();
        check(&sys);
        store64(&child, va, 1000).unwrap();
        store64(&mm, va + PAGE, 2000).unwrap();
        mover.join();
        assert_eq!(load64(&mm, va), Ok(1));
        assert_eq!(load64(&child, va), Ok(1000));
        assert_eq!(load64(&child, va + PAGE), Ok(1 + PAGE / 8));
        assert_eq!(load64(&mm, va + PAGE), Ok(2000));
        expect(&mm, va + 2 * PAGE, 2, 1 + 2 * PAGE / 8);
        expect(&child, va + 2 * PAGE, 2, 1 + 2 * PAGE / 8);
        mirror.check();
        check_quiet(&sys);
    });
}

#[test]
fn many_threads_touch_one_device_page() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 1, Prot::READ_WRITE);
        fill(&mm, va, 1, 1);
        mirror.to_device(va, 1).unwrap();
        let threads: Vec<_> = (0..6u64)
            .map(|i| {
                let mm = Arc::clone(&mm);
                spawn(move || {
                    let va = va + i * 8;
                    assert_eq!(load64(&mm, va), Ok(1 + i));
                    store64(&mm, va, 50 + i).unwrap();
                })
            })
            .collect();
        for thread in threads {
            thread.join();
        }
        for i in 0..6 {
            assert_eq!(load64(&mm, va + i * 8), Ok(50 + i));
        }
        assert_eq!(device.used(), 0);
        check_quiet(&sys);
    });
}

#[test]
fn cpu_touch_against_eviction_and_a_second_device() {
    seeds(SEEDS, || {
        let sys = system(128);
        let (dev1, dev2) = (Device::new(&sys, 16, 1), Device::new(&sys, 16, 2));
        let mm = sys.create_mm();
        let (m1, m2) = (dev1.open(&mm), dev2.open(&mm));
        let va = map(&mm, 3, Prot::READ_WRITE);
        fill(&mm, va, 3, 1);
        m1.to_device(va, 3).unwrap();
        let evicter = spawn(move || dev1.release());
        let theirs = Arc::clone(&mm);
        let toucher = spawn(move || expect(&theirs, va, 3, 1));
        let (data, _) = m2.read_pages(va, 3).unwrap();
        assert!(data == pattern(3, 1));
        evicter.join();
        toucher.join();
        m1.check();
        m2.check();
        check_quiet(&sys);
    });
}

#[test]
fn pages_of_two_processes_move_both_ways() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        let child = mm.fork().unwrap();
        let (ours, theirs) = (device.open(&mm), device.open(&child));
        let mover = spawn(move || {
            for _ in 0..2 {
                let moved = theirs.to_device(va, 2);
                assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
            }
            theirs
        });
        ours.write(va, &9u64.to_le_bytes()).unwrap();
        let moved = ours.to_device(va, 2);
        assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
        check(&sys);
        let theirs = mover.join();
        assert!(theirs.read_pages(va, 2).unwrap().0 == pattern(2, 1));
        expect(&child, va, 2, 1);
        assert_eq!(load64(&mm, va), Ok(9));
        ours.check();
        theirs.check();
        check_quiet(&sys);
    });
}

#[test]
fn exit_while_the_device_works() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let free = sys.free_pages();
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        let theirs = Arc::clone(&mirror);
        let job = spawn(move || {
            for _ in 0..3 {
                let result = theirs.write(va, &pattern(4, 7));
                assert!(matches!(result, Ok(_) | Err(Errno::EFAULT)));
                let moved = theirs.to_device(va, 4);
                assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT | Errno::EINVAL)));
            }
        });
        let theirs = Arc::clone(&mm);
        let cpu = spawn(move || {
            let result = store64(&theirs, va, 3);
            assert!(matches!(result, Ok(()) | Err(Errno::ESRCH)));
        });
        mm.exit();
        job.join();
        cpu.join();
        assert_eq!(mirror.entry(va), None);
        assert_eq!(device.used(), 0);
        assert_eq!(sys.free_pages(), free);
        mirror.close();
        check_quiet(&sys);
    });
}

#[test]
fn close_and_reap_while_others_work() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        let theirs = Arc::clone(&mm);
        let reaper = spawn(move || {
            let reaped = theirs.oom_reap();
            assert!(matches!(reaped, Ok(()) | Err(Errno::EAGAIN)));
            theirs.madvise(va, PAGE, Advice::DontNeed).unwrap();
        });
        let theirs = Arc::clone(&mirror);
        let reader = spawn(move || theirs.read_pages(va, 4));
        mirror.close();
        reaper.join();
        assert!(matches!(reader.join(), Ok(_) | Err(Errno::EBADF)));
        assert_eq!(load64(&mm, va), Ok(0));
        check_quiet(&sys);
    });
}

#[test]
fn protection_changes_while_pages_go_home() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        fill(&mm, va, 4, 1);
        mirror.to_device(va, 4).unwrap();
        let theirs = Arc::clone(&device);
        let evicter = spawn(move || theirs.release());
        mm.mprotect(va, 2 * PAGE, Prot::READ).unwrap();
        check(&sys);
        mm.mprotect(va + 2 * PAGE, 2 * PAGE, Prot::NONE).unwrap();
        check(&sys);
        assert_eq!(store64(&mm, va, 9), Err(Errno::SIGSEGV));
        assert_eq!(load64(&mm, va + 2 * PAGE), Err(Errno::SIGSEGV));
        evicter.join();
        assert_eq!(store64(&mm, va, 9), Err(Errno::SIGSEGV));
        assert_eq!(load64(&mm, va + 2 * PAGE), Err(Errno::SIGSEGV));
        mm.mprotect(va, 4 * PAGE, Prot::READ).unwrap();
        expect(&mm, va, 4, 1);
        check_quiet(&sys);
    });
}

#[test]
fn device_pages_are_dropped_and_moved_while_the_cpu_wants_them() {
    seeds(SEEDS, || {
        let sys = system(128);
        let device = Device::new(&sys, 16, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 2, Prot::READ_WRITE);
        fill(&mm, va, 2, 1);
        mirror.to_device(va, 2).unwrap();
        let theirs = Arc::clone(&mm);
        let dropper = spawn(move || theirs.madvise(va, 2 * PAGE, Advice::DontNeed).unwrap());
        let theirs = Arc::clone(&mm);
        let toucher = spawn(move || {
            let seen = load64(&theirs, va).unwrap();
            assert!(seen == 1 || seen == 0, "{seen:#x}");
        });
        let seen = load64(&mm, va + PAGE).unwrap();
        assert!(seen == 1 + PAGE / 8 || seen == 0, "{seen:#x}");
        dropper.join();
        toucher.join();
        assert_eq!(load64(&mm, va), Ok(0));
        mirror.check();
        check_quiet(&sys);
        assert_eq!(device.used(), 0);
    });
}

#[test]
fn a_cpu_fault_lets_those_go_on_who_hold_the_page_for_a_moment() {
    for seed in 0..2000 {
        let schedule = Schedule::pct(seed, 3, 150).most_points(100_000);
        let result = run_with(schedule, || {
            let sys = system(64);
            let device = Device::new(&sys, 16, DEV);
            let mm = sys.create_mm();
            let mirror = device.open(&mm);
            let va = map(&mm, 1, Prot::READ_WRITE);
            fill(&mm, va, 1, 1);
            let theirs = Arc::clone(&mm);
            let toucher = spawn(move || {
                for _ in 0..4 {
                    expect(&theirs, va, 1, 1);
                }
            });
            for _ in 0..4 {
                let moved = mirror.to_device(va, 1);
                assert!(matches!(moved, Ok(()) | Err(Errno::ENOENT)));
            }
            toucher.join();
            mirror.check();
            check_quiet(&sys);
        });
        assert_eq!(result, Ok(()), "seed {seed}");
    }
}
