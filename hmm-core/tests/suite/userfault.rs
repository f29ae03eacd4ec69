//! Memory that a handler provides, page by page.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::common::device::Device;
use crate::common::*;
use hmm_core::sync::{spawn, yield_now};
use hmm_core::{Advice, Errno, Mm, MremapOptions, PagemapEntry, Prot, UserFault, UserFaultEvent};

const DEV: u64 = 7;

/// Answers every fault with pages full of `byte`; returns how many.
fn serve(handler: UserFault, byte: u8) -> u64 {
    let mut served = 0;
    while let Ok(event) = handler.wait() {
        if let UserFaultEvent::Missing { va, .. } = event {
            match handler.copy(va, &[byte; PAGE as usize]) {
                Ok(pages) => served += pages,
                Err(error) => assert!(
                    matches!(error, Errno::EEXIST | Errno::ENOENT | Errno::ESRCH),
                    "{error}"
                ),
            }
        }
    }
    served
}

fn registered(mm: &Arc<Mm>, pages: u64) -> (hmm_core::Va, UserFault) {
    let va = map(mm, pages, Prot::READ_WRITE);
    (va, mm.userfault(va, pages * PAGE).unwrap())
}

/// The kernel's `userfaultfd_read`.
#[test]
fn a_device_read_waits_for_the_handler() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let (va, handler) = registered(&mm, 4);
        assert_eq!(mirror.fault(va, va + PAGE, false), Err(Errno::EFAULT));
        let server = spawn(move || serve(handler, 0xab));
        mirror
            .fault_unlocked(va, va + 4 * PAGE, false, None)
            .unwrap();
        assert_eq!(
            mirror.read_pages(va, 4),
            Ok((vec![0xab; 4 * PAGE as usize], 0))
        );
        mirror.check();
        mm.exit();
        assert_eq!(server.join(), 4);
        check_quiet(&sys);
    });
}

#[test]
fn cpu_threads_wait_and_other_memory_does_not() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let plain = map(&mm, 1, Prot::READ_WRITE);
        let (va, handler) = registered(&mm, 3);
        let reader = {
            let mm = Arc::clone(&mm);
            spawn(move || contents(&mm, va, 2))
        };
        let pinner = {
            let mm = Arc::clone(&mm);
            spawn(move || drop(mm.pin(va, 1).unwrap()))
        };
        store64(&mm, plain, 1).unwrap();
        let Ok(UserFaultEvent::Missing { va: first, .. }) = handler.wait() else {
            panic!("a fault")
        };
        assert_eq!(first, va);
        assert!(!reader.is_finished());
        assert_eq!(handler.copy(va, &[1; 2 * PAGE as usize]), Ok(2));
        assert_eq!(reader.join(), [1; 2 * PAGE as usize]);
        pinner.join();
        // The zero page, and a store that needs no second answer.
        handler.zero(va + 2 * PAGE).unwrap();
        assert_eq!(load64(&mm, va + 2 * PAGE), Ok(0));
        store64(&mm, va + 2 * PAGE, 5).unwrap();
        assert_eq!(mm.rss().anon, 4);
        // Thrown away, they are missing again.
        mm.madvise(va, PAGE, Advice::DontNeed).unwrap();
        let events: Vec<_> = std::iter::from_fn(|| handler.try_wait()).collect();
        let removed = UserFaultEvent::Remove {
            start: va,
            end: va + PAGE,
        };
        assert_eq!(events.last(), Some(&removed));
        // A child has ordinary memory.
        let child = mm.fork().unwrap();
        assert_eq!(load64(&child, va), Ok(0));
        child.exit();
        // And so has everybody once the handler is gone.
        handler.unregister();
        assert_eq!(load64(&mm, va), Ok(0));
        check_quiet(&sys);
    });
}

#[test]
fn bad_registrations_and_answers() {
    single(|| {
        let sys = system(8);
        let mm = sys.create_mm();
        let va = map(&mm, 8, Prot::READ_WRITE);
        let shared = map_shared(&mm, 1);
        let refused = |at, len| mm.userfault(at, len).err();
        assert_eq!(refused(va + 8, PAGE), Some(Errno::EINVAL));
        assert_eq!(refused(va, 0), Some(Errno::EINVAL));
        assert_eq!(refused(va + 64 * PAGE, PAGE), Some(Errno::EINVAL));
        assert_eq!(refused(shared, PAGE), Some(Errno::EINVAL));
        store64(&mm, va, 3).unwrap();
        let handler = mm.userfault(va, 4 * PAGE).unwrap();
        assert_eq!(refused(va + 3 * PAGE, 2 * PAGE), Some(Errno::EBUSY));
        let other = mm.userfault(va + 4 * PAGE, PAGE).unwrap();
        let page = [7; PAGE as usize];
        assert_eq!(load64(&mm, va), Ok(3), "there already");
        assert_eq!(handler.copy(va, &page), Err(Errno::EEXIST));
        assert_eq!(handler.zero(va), Err(Errno::EEXIST));
        assert_eq!(handler.copy(va + 8, &page), Err(Errno::EINVAL));
        assert_eq!(handler.copy(va, &page[1..]), Err(Errno::EINVAL));
        assert_eq!(handler.copy(va, &[]), Err(Errno::EINVAL));
        assert_eq!(handler.zero(va + 1), Err(Errno::EINVAL));
        assert_eq!(handler.copy(va + 4 * PAGE, &page), Err(Errno::ENOENT));
        assert_eq!(handler.copy(va + 63 * PAGE, &page), Err(Errno::ENOENT));
        check_quiet(&sys);
        // As far as it goes, and for lack of memory no further.
        assert_eq!(handler.copy(va + 2 * PAGE, &[1; 3 * PAGE as usize]), Ok(2));
        mm.memcg().set_limit(mm.memcg().charged());
        assert_eq!(handler.copy(va + PAGE, &page), Err(Errno::ENOMEM));
        handler.zero(va + PAGE).unwrap();
        check_quiet(&sys);
        mm.exit();
        assert_eq!(handler.zero(va), Err(Errno::ESRCH));
        assert_eq!(refused(va, PAGE), Some(Errno::ESRCH));
        let gone = UserFaultEvent::Unmap {
            start: va,
            end: va + 4 * PAGE,
        };
        assert_eq!(handler.wait(), Ok(gone));
        assert_eq!(handler.wait(), Err(Errno::ESRCH));
        drop(other);
        check_quiet(&sys);
    });
}

#[test]
fn a_migration_leaves_holes_to_the_handler() {
    kinds(|kind| {
        let sys = system(64);
        let device = Device::with_memory(&sys, kind, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let (va, handler) = registered(&mm, 2);
        handler.copy(va, &[1; PAGE as usize]).unwrap();
        assert_eq!(mirror.to_device(va, 2), Err(Errno::ENOENT));
        assert_eq!(device.used(), 1);
        assert_eq!(mm.pagemap(va + PAGE), PagemapEntry::None);
        handler.zero(va + PAGE).unwrap();
        mirror.to_device(va, 2).unwrap();
        assert_eq!(load64(&mm, va + PAGE), Ok(0));
        check_quiet(&sys);
    });
}

#[test]
fn what_moves_away_leaves_the_registration() {
    single(|| {
        let sys = system(64);
        let mm = sys.create_mm();
        let (va, handler) = registered(&mm, 4);
        handler.zero(va).unwrap();
        let to = va + 64 * PAGE;
        let moved = MremapOptions {
            at: Some(to),
            ..Default::default()
        };
        mm.mremap(va, 2 * PAGE, 2 * PAGE, moved).unwrap();
        assert_eq!(load64(&mm, to + PAGE), Ok(0));
        assert_eq!(handler.zero(to + PAGE), Err(Errno::ENOENT));
        let gone = UserFaultEvent::Unmap {
            start: va,
            end: va + 2 * PAGE,
        };
        assert_eq!(handler.wait(), Ok(gone));
        mm.munmap(va + 3 * PAGE, PAGE).unwrap();
        handler.zero(va + 2 * PAGE).unwrap();
        assert_eq!(handler.zero(va + 3 * PAGE), Err(Errno::ENOENT));
        check_quiet(&sys);
    });
}

#[test]
fn unmapping_wakes_who_waits() {
    seeds(100, || {
        let sys = system(64);
        let device = Device::new(&sys, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let (va, handler) = registered(&mm, 2);
        let reader = {
            let mm = Arc::clone(&mm);
            spawn(move || load64(&mm, va))
        };
        let filler = spawn(move || {
            let result = handler.copy(va + PAGE, &[1; PAGE as usize]);
            assert!(matches!(result, Ok(1) | Err(Errno::ENOENT)));
            handler
        });
        let unmapper = {
            let mm = Arc::clone(&mm);
            spawn(move || {
                yield_now();
                mm.munmap(va, 2 * PAGE).unwrap();
            })
        };
        let read = mirror.fault_unlocked(va, va + 2 * PAGE, true, None);
        assert_eq!(read, Err(Errno::EFAULT));
        assert_eq!(reader.join(), Err(Errno::SIGSEGV));
        unmapper.join();
        drop(filler.join());
        check_quiet(&sys);
    });
}

#[test]
fn the_end_of_a_process_wakes_who_waits() {
    seeds(100, || {
        let sys = system(64);
        let device = Device::new(&sys, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let (va, handler) = registered(&mm, 2);
        let reader = {
            let mm = Arc::clone(&mm);
            spawn(move || load64(&mm, va))
        };
        let exiter = {
            let mm = Arc::clone(&mm);
            spawn(move || mm.exit())
        };
        let read = mirror.fault_unlocked(va, va + 2 * PAGE, false, NonZeroU32::new(3));
        assert!(
            matches!(read, Err(Errno::EFAULT | Errno::EBUSY)),
            "{read:?}"
        );
        assert_eq!(reader.join(), Err(Errno::ESRCH));
        exiter.join();
        while handler.wait().is_ok() {}
        check_quiet(&sys);
    });
}

#[test]
fn several_threads_one_page_and_two_answers() {
    seeds(100, || {
        let sys = system(64);
        let device = Device::new(&sys, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let (va, handler) = registered(&mm, 2);
        let handler = Arc::new(handler);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mm = Arc::clone(&mm);
                spawn(move || load64(&mm, va).unwrap())
            })
            .collect();
        let fillers: Vec<_> = (1..3u8)
            .map(|byte| {
                let handler = Arc::clone(&handler);
                spawn(move || handler.copy(va, &[byte; PAGE as usize]))
            })
            .collect();
        mirror.fault_unlocked(va, va + PAGE, false, None).unwrap();
        let filled: Vec<_> = fillers.into_iter().map(|filler| filler.join()).collect();
        let both = [Ok(1), Err(Errno::EEXIST)];
        assert!(filled == both || filled == [both[1], both[0]], "{filled:?}");
        let byte = if filled[0].is_ok() { 1 } else { 2 };
        let word = u64::from_le_bytes([byte; 8]);
        assert!(readers.into_iter().all(|reader| reader.join() == word));
        check_quiet(&sys);
    });
}

/// A collision costs one attempt, not the call.
#[test]
fn the_sequence_is_renewed_after_a_collision() {
    seeds(100, || {
        let sys = system(64);
        let device = Device::new(&sys, 8, DEV);
        let mm = sys.create_mm();
        let mirror = device.open(&mm);
        let va = map(&mm, 4, Prot::READ_WRITE);
        let theirs = Arc::clone(&mm);
        let disturber = spawn(move || {
            for _ in 0..4 {
                theirs.madvise(va + PAGE, PAGE, Advice::DontNeed).unwrap();
            }
        });
        let read = mirror.fault_unlocked(va, va + 4 * PAGE, true, NonZeroU32::new(9));
        assert_eq!(read, Ok(()));
        disturber.join();
        mirror.check();
        mm.exit();
        let dead = mirror.fault_unlocked(va, va + PAGE, false, None);
        assert_eq!(dead, Err(Errno::EFAULT));
        check_quiet(&sys);
    });
}

#[test]
fn a_registered_range_gets_no_huge_page() {
    single(|| {
        let sys = system(2048);
        let mm = sys.create_mm();
        let va = map_huge(&mm, 1);
        let handler = mm.userfault(va + 9 * PAGE, PAGE).unwrap();
        store64(&mm, va, 1).unwrap();
        assert_eq!(mm.rss().anon, 1);
        handler.copy(va + 9 * PAGE, &[3; PAGE as usize]).unwrap();
        assert_eq!(load64(&mm, va + 9 * PAGE), Ok(u64::from_le_bytes([3; 8])));
        assert_eq!(mm.rss().anon, 2);
        check_quiet(&sys);
    });
}
