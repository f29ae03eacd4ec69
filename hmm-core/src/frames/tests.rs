//! Allocation, references and page locks.

use std::sync::Arc;

use crate::addr::{DEVICE_PFN_BASE, Pfn};
use crate::memremap::{DevPagemap, DeviceMemory};
use crate::sync::{self, Schedule, spawn};
use crate::testing::{Freed, system};
use crate::{Errno, NoTrace, System, SystemConfig};

#[test]
fn the_lowest_free_page_is_given_out() {
    let config = SystemConfig {
        reserved_pages: 3,
        ..SystemConfig::new(8)
    };
    let sys = System::new(config, Arc::new(crate::testing::NoRam), Arc::new(NoTrace));
    assert_eq!((sys.zero_page(), sys.free_pages()), (Pfn(3), 4));
    let pages: Vec<Pfn> = std::iter::from_fn(|| sys.alloc_page()).collect();
    assert_eq!(pages, [Pfn(4), Pfn(5), Pfn(6), Pfn(7)]);
    sys.get_page(Pfn(5));
    sys.put_page(Pfn(6));
    sys.put_page(Pfn(5));
    assert_eq!(sys.alloc_page(), Some(Pfn(6)));
    assert_eq!(sys.alloc_page(), None);
    sys.put_page(Pfn(5));
    assert_eq!(sys.alloc_page(), Some(Pfn(5)));
}

#[test]
fn device_pages_are_freed_once_at_the_last_put() {
    let sys = system();
    let ops = Arc::new(Freed::default());
    let first = DevPagemap::new(&sys, DeviceMemory::Private, 3, 1, ops.clone()).unwrap();
    let second = DevPagemap::new(&sys, DeviceMemory::Private, 600, 2, ops.clone()).unwrap();
    assert_eq!(first.base(), Pfn(DEVICE_PFN_BASE));
    assert_eq!(second.base(), Pfn(DEVICE_PFN_BASE + 512));
    let pfn = second.base() + 599;
    assert!(second.contains(pfn) && !second.contains(pfn + 1) && !first.contains(pfn));
    second.init_page(pfn);
    assert_eq!((second.used(), first.used()), (1, 0));
    assert!(!sys.try_lock_page(pfn));
    sys.get_page(pfn);
    sys.unlock_page(pfn);
    sys.put_page(pfn);
    assert!(ops.0.lock().unwrap().is_empty());
    sys.put_page(pfn);
    assert_eq!(*ops.0.lock().unwrap(), [pfn]);
    assert_eq!(second.used(), 0);
    assert_eq!(sys.check_quiescent(0), Ok(()));
}

#[test]
fn bad_device_ranges_are_refused() {
    let sys = system();
    let new = |pages, owner| {
        DevPagemap::new(
            &sys,
            DeviceMemory::Private,
            pages,
            owner,
            Arc::new(Freed::default()),
        )
    };
    assert_eq!(new(0, 1).err(), Some(Errno::EINVAL));
    assert_eq!(new(1, 0).err(), Some(Errno::EINVAL));
}

#[test]
fn removal_waits_for_the_last_page_and_lets_go_of_the_driver() {
    for seed in 0..100 {
        let result = sync::run_with(Schedule::seeded(seed).switch_one_in(2), || {
            let sys = system();
            let ops = Arc::new(Freed::default());
            let map = DevPagemap::new(&sys, DeviceMemory::Private, 4, 1, ops.clone()).unwrap();
            map.init_page(map.base());
            let (theirs, pfn) = (Arc::clone(&sys), map.base());
            let user = spawn(move || {
                sync::yield_now();
                theirs.unlock_page(pfn);
                theirs.put_page(pfn);
            });
            map.remove();
            assert_eq!(*ops.0.lock().unwrap(), [pfn]);
            assert_eq!(Arc::strong_count(&ops), 1);
            user.join();
        });
        assert_eq!(result, Ok(()), "seed {seed}");
    }
}

#[test]
fn a_page_lock_is_held_by_one_at_a_time() {
    for seed in 0..100 {
        let result = sync::run_with(Schedule::seeded(seed).switch_one_in(2), || {
            let sys = system();
            let pfn = sys.alloc_page().unwrap();
            let inside = Arc::new(std::sync::atomic::AtomicU32::new(0));
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (sys, inside) = (Arc::clone(&sys), Arc::clone(&inside));
                    spawn(move || {
                        use std::sync::atomic::Ordering::Relaxed;
                        sys.lock_page(pfn);
                        assert_eq!(inside.fetch_add(1, Relaxed), 0);
                        sync::yield_now();
                        inside.fetch_sub(1, Relaxed);
                        sys.unlock_page(pfn);
                    })
                })
                .collect();
            for thread in threads {
                thread.join();
            }
        });
        assert_eq!(result, Ok(()), "seed {seed}");
    }
}

#[test]
fn misuse_is_stopped() {
    type Misuse = fn(&System, Pfn);
    let cases: [(&str, Misuse); 4] = [
        ("a put of the free", |sys, pfn| sys.put_page(pfn + 1)),
        ("a reference to the free", |sys, pfn| sys.get_page(pfn + 1)),
        ("which is not locked", |sys, pfn| sys.unlock_page(pfn)),
        ("is no page", |sys, pfn| sys.put_page(pfn + DEVICE_PFN_BASE)),
    ];
    for (text, misuse) in cases {
        let error = sync::run(1, move || {
            let sys = system();
            let pfn = sys.alloc_page().unwrap();
            misuse(&sys, pfn);
        })
        .unwrap_err();
        assert!(error.contains(text), "{error}");
    }
}
