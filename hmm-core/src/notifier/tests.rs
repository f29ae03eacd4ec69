//! The sequence protocol.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex};

use super::*;
use crate::addr::PAGE_SIZE;
use crate::sync::{self, Mutex, Schedule, spawn, yield_now};
use crate::testing::{process, system};
use crate::{Prot, System};

/// A driver with a lock and a value that it read from the address space.
#[derive(Default)]
struct Driver {
    lock: Mutex<()>,
    refuse: AtomicBool,
    calls: AtomicU64,
    events: StdMutex<Vec<MmuNotifyEvent>>,
}

impl MmuIntervalNotifierOps for Driver {
    fn invalidate(
        &self,
        sub: &MmuIntervalNotifier,
        range: &MmuNotifierRange,
        cur_seq: u64,
    ) -> bool {
        assert_eq!(cur_seq & 1, 1, "the sequence is odd in callbacks");
        if !range.blockable && self.refuse.load(Ordering::Relaxed) {
            return false;
        }
        let _held = self.lock.lock();
        sub.set_seq(cur_seq);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.events.lock().unwrap().push(range.event);
        true
    }
}

fn setup() -> (Arc<System>, Arc<Mm>, Va) {
    let sys = system();
    let (mm, va) = process(&sys, 8);
    (sys, mm, va)
}

fn range(start: Va, pages: u64, blockable: bool) -> MmuNotifierRange {
    MmuNotifierRange {
        start,
        end: start + pages * PAGE_SIZE,
        event: MmuNotifyEvent::Clear,
        owner: 0,
        blockable,
    }
}

fn seeds(f: impl Fn() + Send + Sync + 'static) {
    let f = Arc::new(f);
    for seed in 0..200 {
        let f = Arc::clone(&f);
        if let Err(text) = sync::run_with(Schedule::seeded(seed).switch_one_in(2), move || f()) {
            panic!("seed {seed}: {text}");
        }
    }
}

#[test]
fn only_overlapping_ranges_are_called_and_make_readers_retry() {
    let (_sys, mm, va) = setup();
    let driver = Arc::new(Driver::default());
    let sub =
        MmuIntervalNotifier::insert(&mm, va + PAGE_SIZE, 2 * PAGE_SIZE, driver.clone()).unwrap();
    let seq = sub.read_begin();
    mm.munmap(va, PAGE_SIZE).unwrap();
    mm.munmap(va + 3 * PAGE_SIZE, PAGE_SIZE).unwrap();
    assert!(!sub.read_retry(seq));
    assert_eq!(driver.calls.load(Ordering::Relaxed), 0);
    mm.mprotect(va + 2 * PAGE_SIZE, PAGE_SIZE, Prot::READ)
        .unwrap();
    assert!(sub.read_retry(seq));
    let seq = sub.read_begin();
    assert_eq!(seq & 1, 1, "readers always hold an odd sequence");
    assert!(!sub.read_retry(seq));
    mm.exit();
    assert!(sub.read_retry(seq));
    use MmuNotifyEvent::{ProtectionVma, Release, Unmap};
    assert_eq!(
        *driver.events.lock().unwrap(),
        [ProtectionVma, Release, Unmap, Unmap]
    );
    sub.remove();
    assert!(matches!(
        MmuIntervalNotifier::insert(&mm, va, PAGE_SIZE, driver),
        Err(Errno::ESRCH)
    ));
}

#[test]
fn bad_ranges_are_refused() {
    let (_sys, mm, va) = setup();
    let ops = || Arc::new(Driver::default());
    assert!(matches!(
        MmuIntervalNotifier::insert(&mm, va, 0, ops()),
        Err(Errno::EOVERFLOW)
    ));
    assert!(matches!(
        MmuIntervalNotifier::insert(&mm, va, u64::MAX, ops()),
        Err(Errno::EOVERFLOW)
    ));
}

#[test]
fn nested_sections_end_with_the_outermost() {
    let (sys, mm, va) = setup();
    let sub = MmuIntervalNotifier::insert(&mm, va, PAGE_SIZE, Arc::new(Driver::default())).unwrap();
    let outer = mm.subs.start(&sys, range(va, 1, true));
    let inner = mm.subs.start(&sys, range(va, 2, true));
    let elsewhere = mm.subs.start(&sys, range(va + PAGE_SIZE, 1, true));
    drop(outer);
    drop(inner);
    assert!(!mm.subs.is_idle());
    drop(elsewhere);
    assert!(mm.subs.is_idle());
    let seq = sub.read_begin();
    assert!(!sub.read_retry(seq));
}

#[test]
fn a_refused_section_is_not_open() {
    let (sys, mm, va) = setup();
    let driver = Arc::new(Driver::default());
    let sub = MmuIntervalNotifier::insert(&mm, va, PAGE_SIZE, driver.clone()).unwrap();
    driver.refuse.store(true, Ordering::Relaxed);
    assert!(matches!(
        mm.subs.try_start(&sys, range(va, 1, false)),
        Err(Errno::EAGAIN)
    ));
    assert!(mm.subs.is_idle());
    assert!(
        mm.subs
            .try_start(&sys, range(va + PAGE_SIZE, 1, false))
            .is_ok()
    );
    let seq = sub.read_begin();
    assert!(!sub.read_retry(seq));
    assert_eq!(mm.oom_reap(), Err(Errno::EAGAIN));
    driver.refuse.store(false, Ordering::Relaxed);
    assert_eq!(mm.oom_reap(), Ok(()));
    assert_eq!(sys.check_quiescent(0), Ok(()));
}

#[test]
fn a_callback_that_breaks_the_rules_is_found() {
    struct Lazy;
    impl MmuIntervalNotifierOps for Lazy {
        fn invalidate(
            &self,
            _sub: &MmuIntervalNotifier,
            range: &MmuNotifierRange,
            _seq: u64,
        ) -> bool {
            range.blockable
        }
    }
    let (sys, mm, va) = setup();
    let _sub = MmuIntervalNotifier::insert(&mm, va, PAGE_SIZE, Arc::new(Lazy)).unwrap();
    assert_eq!(sys.check_invariants(), Ok(()));
    mm.munmap(va, PAGE_SIZE).unwrap();
    assert!(
        sys.check_invariants()
            .unwrap_err()
            .contains("did not note the sequence")
    );
}

#[test]
fn readers_wait_for_a_section_and_see_what_came_of_it() {
    seeds(|| {
        let (sys, mm, va) = setup();
        let driver = Arc::new(Driver::default());
        let sub = MmuIntervalNotifier::insert(&mm, va, PAGE_SIZE, driver.clone()).unwrap();
        // What the address space says, and what the driver believes.
        let truth = Arc::new(AtomicU64::new(0));
        let (theirs, value) = (Arc::clone(&mm), Arc::clone(&truth));
        let writer = spawn(move || {
            for n in 1..4 {
                let section = theirs.subs.start(theirs.system(), range(va, 1, true));
                yield_now();
                value.store(n, Ordering::Relaxed);
                yield_now();
                drop(section);
            }
        });
        for _ in 0..6 {
            let seq = sub.read_begin();
            let seen = truth.load(Ordering::Relaxed);
            yield_now();
            let held = driver.lock.lock();
            if !sub.read_retry(seq) {
                assert_eq!(
                    seen,
                    truth.load(Ordering::Relaxed),
                    "stale, but not told to retry"
                );
            }
            drop(held);
        }
        writer.join();
        assert_eq!(sys.check_quiescent(0), Ok(()));
    });
}

#[test]
fn insertion_and_removal_during_sections_are_deferred() {
    seeds(|| {
        let (sys, mm, va) = setup();
        let steady = Arc::new(Driver::default());
        let _steady = MmuIntervalNotifier::insert(&mm, va, 8 * PAGE_SIZE, steady).unwrap();
        let theirs = Arc::clone(&mm);
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let mm = Arc::clone(&theirs);
                spawn(move || {
                    for _ in 0..3 {
                        let section = mm.subs.start(mm.system(), range(va, 4, true));
                        yield_now();
                        drop(section);
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            let driver = Arc::new(Driver::default());
            let sub = MmuIntervalNotifier::insert(&mm, va, PAGE_SIZE, driver.clone()).unwrap();
            let seq = sub.read_begin();
            assert_eq!(seq & 1, 1);
            sub.remove();
            let calls = driver.calls.load(Ordering::Relaxed);
            yield_now();
            yield_now();
            assert_eq!(
                driver.calls.load(Ordering::Relaxed),
                calls,
                "called after its removal"
            );
        }
        for writer in writers {
            writer.join();
        }
        assert_eq!(sys.check_quiescent(0), Ok(()));
        let late = Arc::new(Driver::default());
        let sub = MmuIntervalNotifier::insert(&mm, va, PAGE_SIZE, late.clone()).unwrap();
        mm.munmap(va, PAGE_SIZE).unwrap();
        assert_eq!(late.calls.load(Ordering::Relaxed), 1);
        sub.remove();
    });
}

#[test]
fn a_subscription_made_during_a_section_waits_for_its_end() {
    seeds(|| {
        let (sys, mm, va) = setup();
        // With and without somebody whom the section hits.
        let steady =
            MmuIntervalNotifier::insert(&mm, va, PAGE_SIZE, Arc::new(Driver::default())).unwrap();
        for pages in [va, va + 4 * PAGE_SIZE] {
            let section = mm.subs.start(&sys, range(pages, 1, true));
            let ended = Arc::new(AtomicBool::new(false));
            let (theirs, over) = (Arc::clone(&mm), Arc::clone(&ended));
            let reader = spawn(move || {
                let sub = MmuIntervalNotifier::insert(
                    &theirs,
                    va,
                    8 * PAGE_SIZE,
                    Arc::new(Driver::default()),
                )
                .unwrap();
                sub.read_begin();
                let early = !over.load(Ordering::Relaxed);
                assert!(!early, "did not wait for the section");
                sub.remove();
            });
            for _ in 0..6 {
                yield_now();
            }
            // The section is over for those that begin to read once it has been dropped.
            ended.store(true, Ordering::Relaxed);
            drop(section);
            reader.join();
        }
        steady.remove();
        assert_eq!(sys.check_quiescent(0), Ok(()));
    });
}
