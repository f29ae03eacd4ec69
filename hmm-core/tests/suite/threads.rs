//! The scheduler: same seed, same run; errors instead of hangs.

use std::sync::Arc;

use crate::common::*;
use hmm_core::sync::{
    Condvar, Mutex, RwLock, Schedule, WaitQueue, run, run_with, spawn, spawn_named, yield_now,
};

/// Three threads that append to one list; what comes out depends on the interleaving alone.
fn interleaving(schedule: Schedule) -> Vec<u64> {
    run_with(schedule, || {
        let list = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..3)
            .map(|id| {
                let list = Arc::clone(&list);
                spawn(move || {
                    for _ in 0..10 {
                        list.lock().push(id);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join();
        }
        Arc::try_unwrap(list).unwrap().into_inner()
    })
    .unwrap()
}

#[test]
fn the_seed_decides_the_interleaving() {
    let runs: Vec<_> = (0..20)
        .map(|seed| interleaving(Schedule::seeded(seed)))
        .collect();
    for (seed, first) in runs.iter().enumerate() {
        assert_eq!(first.len(), 30);
        assert_eq!(
            *first,
            interleaving(Schedule::seeded(seed as u64)),
            "seed {seed}"
        );
    }
    assert!(runs.iter().any(|run| *run != runs[0]));
    assert_eq!(
        interleaving(Schedule::round_robin()),
        interleaving(Schedule::round_robin())
    );
    assert_ne!(interleaving(Schedule::seeded(1).switch_one_in(1)), runs[1]);
}

#[test]
fn the_result_comes_back_and_threads_left_over_are_waited_for() {
    let done = Arc::new(Mutex::new(0));
    let theirs = Arc::clone(&done);
    let result = run(3, move || {
        for _ in 0..4 {
            let done = Arc::clone(&theirs);
            drop(spawn(move || {
                yield_now();
                *done.lock() += 1;
            }));
        }
        42
    });
    assert_eq!(result, Ok(42));
    assert_eq!(*done.lock(), 4);
}

#[test]
fn a_panic_is_the_error_and_names_its_thread() {
    let error = run(1, || spawn_named("worker", || panic!("boom {}", 7)).join()).unwrap_err();
    assert!(error.starts_with("worker panicked at"), "{error}");
    assert!(error.ends_with("boom 7"), "{error}");
    // The next run on this OS thread knows nothing of it.
    assert_eq!(run(1, || 5), Ok(5));
}

#[test]
fn a_panic_with_locks_held_ends_the_run() {
    for seed in 0..50 {
        let error = run(seed, || {
            let lock = Arc::new(Mutex::new(()));
            let theirs = Arc::clone(&lock);
            drop(spawn_named("other", move || drop(theirs.lock())));
            let _guard = lock.lock();
            yield_now();
            panic!("with the lock");
        })
        .unwrap_err();
        assert!(error.ends_with("with the lock"), "{error}");
    }
}

#[test]
fn a_deadlock_is_an_error_that_names_who_waits() {
    let mut found = 0;
    for seed in 0..200 {
        let result = run_with(Schedule::seeded(seed).switch_one_in(2), || {
            let (a, b) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
            let (c, d) = (Arc::clone(&a), Arc::clone(&b));
            let other = spawn_named("other", move || {
                let _d = d.lock();
                let _c = c.lock();
            });
            {
                let _a = a.lock();
                let _b = b.lock();
            }
            other.join();
        });
        if let Err(text) = result {
            assert!(
                text.starts_with("deadlock: main waits for a mutex at "),
                "{text}"
            );
            assert!(text.contains("; other waits for a mutex at "), "{text}");
            found += 1;
        }
    }
    assert!(found > 0, "no interleaving deadlocked");
}

#[test]
fn a_thread_that_waits_for_ever_at_the_end_is_a_deadlock() {
    let error = run(1, || {
        drop(spawn_named("stuck", || WaitQueue::new().wait("nothing")));
    })
    .unwrap_err();
    assert!(error.contains("stuck waits for nothing"), "{error}");
}

#[test]
fn readers_share_and_writers_do_not() {
    seeds(100, || {
        let lock = Arc::new(RwLock::new((0u64, 0u64)));
        let threads: Vec<_> = (0..3)
            .map(|id| {
                let lock = Arc::clone(&lock);
                spawn(move || {
                    for _ in 0..5 {
                        if id == 0 {
                            let mut value = lock.write();
                            value.0 += 1;
                            yield_now();
                            value.1 += 1;
                        } else {
                            let value = lock.read();
                            yield_now();
                            assert_eq!(value.0, value.1);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join();
        }
        assert_eq!(*lock.read(), (5, 5));
    });
}

#[test]
fn a_waiting_writer_holds_up_new_readers() {
    let error = (0..50).find_map(|seed| {
        run_with(Schedule::seeded(seed).switch_one_in(1), || {
            let lock = Arc::new(RwLock::new(()));
            let theirs = Arc::clone(&lock);
            let writer = spawn(move || drop(theirs.write()));
            let first = lock.read();
            yield_now();
            drop(lock.read());
            drop(first);
            writer.join();
        })
        .err()
    });
    let error = error.expect("reading twice deadlocks under some seed");
    assert!(error.contains("main waits for a read lock"), "{error}");
}

#[test]
fn conditions_wake_those_that_wait() {
    seeds(100, || {
        let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let consumer = spawn(move || {
            let mut seen = Vec::new();
            while seen.len() < 6 {
                let mut queue = theirs
                    .1
                    .wait_while(theirs.0.lock(), |queue: &mut Vec<u64>| queue.is_empty());
                seen.append(&mut queue);
            }
            seen
        });
        for n in 0..6 {
            shared.0.lock().push(n);
            if n % 2 == 0 {
                shared.1.notify_one()
            } else {
                shared.1.notify_all()
            }
        }
        assert_eq!(consumer.join(), [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn locks_work_without_a_run() {
    let lock = Mutex::new(1);
    *lock.lock() += 1;
    assert_eq!(lock.into_inner(), 2);
    let held = RwLock::new(());
    let _reader = held.read();
    assert!(held.try_write().is_none() && held.try_read().is_some());
    assert_eq!(
        run(1, || run(2, || 0)),
        Ok(Err("a run inside of a run".into()))
    );
}

#[test]
fn a_million_steps_are_no_limit() {
    let result = run_with(Schedule::seeded(1).switch_one_in(1), || {
        let lock = Arc::new(Mutex::new(0u64));
        let theirs = Arc::clone(&lock);
        let other = spawn(move || (0..300_000).for_each(|_| *theirs.lock() += 1));
        (0..300_000).for_each(|_| *lock.lock() += 1);
        other.join();
        Arc::try_unwrap(lock).unwrap().into_inner()
    });
    assert_eq!(result, Ok(600_000));
}
