//! Schedules: what PCT finds, and recordings that replay.

use std::sync::Arc;

use hmm_core::sync::{
    Decision, Mutex, Point, Recording, Schedule, run_recorded, run_with, spawn_named, yield_now,
};

/// Who passed when, over locks, waits and yields.
fn journey(schedule: &Schedule) -> (Vec<usize>, Recording) {
    let (result, recording) = run_recorded(schedule, || {
        let list = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (1..4)
            .map(|id| {
                let list = Arc::clone(&list);
                spawn_named(format!("walker {id}"), move || {
                    for step in 0..12 {
                        list.lock().push(id);
                        if step % id == 0 {
                            yield_now();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join();
        }
        Arc::try_unwrap(list).unwrap().into_inner()
    });
    (result.unwrap(), recording)
}

/// A writer that raises a flag for a moment, and a reader that looks at it before and after long work: wrong only
/// if the writer is stopped inside of the moment for all of that work.
fn narrow(schedule: &Schedule) -> (Result<(), String>, Recording) {
    run_recorded(schedule, || {
        let work = Arc::new(Mutex::new(0u64));
        let flag = Arc::new(Mutex::new(false));
        let (their_work, their_flag) = (Arc::clone(&work), Arc::clone(&flag));
        let writer = spawn_named("writer", move || {
            for _ in 0..20 {
                *their_work.lock() += 1;
            }
            *their_flag.lock() = true;
            *their_work.lock() += 1;
            *their_flag.lock() = false;
        });
        let reader = spawn_named("reader", move || {
            let before = *flag.lock();
            for _ in 0..60 {
                *work.lock() += 1;
            }
            assert!(!(before && *flag.lock()), "seen half done");
        });
        writer.join();
        reader.join();
    })
}

#[test]
fn pct_finds_a_narrow_race_sooner_than_random() {
    let length = narrow(&Schedule::round_robin()).1.points;
    let found = |schedule: fn(u64, u64) -> Schedule| {
        let failing = |seed: &u64| narrow(&schedule(*seed, length)).0.is_err();
        (0..1000).filter(failing).count()
    };
    let random = found(|seed, _| Schedule::seeded(seed));
    let pct = found(|seed, length| Schedule::pct(seed, 2, length));
    assert!(pct >= 5 && pct > 4 * random, "pct {pct}, random {random}");
}

#[test]
fn a_recording_replays_the_run() {
    for seed in 0..40 {
        let schedule = match seed % 2 {
            0 => Schedule::seeded(seed).switch_one_in(3),
            _ => Schedule::pct(seed, 3, 150),
        };
        let (first, recording) = journey(&schedule);
        assert_eq!(
            (first.clone(), recording.clone()),
            journey(&schedule),
            "seed {seed}"
        );
        let replay = Schedule::replay(recording.decisions());
        let (again, replayed) = journey(&replay);
        assert_eq!(first, again, "seed {seed}");
        assert_eq!(recording.decisions(), replayed.decisions(), "seed {seed}");
        assert_eq!(recording.points, replayed.points);
        assert_eq!(
            recording.threads,
            ["main", "walker 1", "walker 2", "walker 3"]
        );
    }
    let usual = journey(&Schedule::replay([]));
    assert_eq!(usual, journey(&Schedule::round_robin()));
    assert!(usual.1.switches.is_empty());
}

#[test]
fn a_held_thread_is_passed_over() {
    // Thread 1 stops before its first lock until the others are through.
    let hold = Decision {
        thread: 1,
        point: Point::Preempt,
        nth: 1,
        to: 2,
        hold: 20,
    };
    let (list, recording) = journey(&Schedule::replay([hold]));
    let (usual, _) = journey(&Schedule::round_robin());
    assert_eq!(usual[0], 1);
    let before = list.iter().position(|&id| id == 1).unwrap();
    assert!(before > 15, "{list:?}");
    assert_eq!(recording.decisions(), [hold]);
    assert!(recording.switches[0].passed_over > 5);
    let never = Decision { nth: 99, ..hold };
    assert_eq!(journey(&Schedule::replay([never])).0, usual);
    let nobody = Decision { to: 17, ..hold };
    assert_eq!(journey(&Schedule::replay([nobody])).0, usual);
}

#[test]
fn the_found_race_comes_down_to_few_decisions() {
    let length = narrow(&Schedule::round_robin()).1.points;
    let (error, recording) = (0..1000)
        .map(|seed| narrow(&Schedule::pct(seed, 2, length)))
        .find_map(|(result, recording)| Some((result.err()?, recording)))
        .expect("some seed finds it");
    let exact = narrow(&Schedule::replay(recording.decisions()));
    assert_eq!(exact.0, Err(error.clone()));
    // What is not needed for it can go, one decision after the other.
    let mut needed = recording.decisions();
    let mut at = 0;
    while at < needed.len() {
        let mut fewer = needed.clone();
        fewer.remove(at);
        if narrow(&Schedule::replay(fewer.clone())).0.as_ref() == Err(&error) {
            needed = fewer;
        } else {
            at += 1;
        }
    }
    assert!(needed.len() <= 3, "{needed:?}");
    let writer = |d: &Decision| recording.threads[d.thread] == "writer";
    assert!(
        needed
            .iter()
            .any(|d| d.point == Point::Preempt && writer(d)),
        "{needed:?}"
    );
}

#[test]
fn decisions_are_read_as_they_are_written() {
    for text in ["3p57-1", "0w4-12", "3p57-1h20"] {
        assert_eq!(text.parse::<Decision>().unwrap().to_string(), text);
    }
    for text in [
        "", "3p57", "p57-1", "3x57-1", "3p-1", "3p5-", "3p5-1h", "3p5-1hx", "-3p5-1",
    ] {
        let error = text.parse::<Decision>().unwrap_err().to_string();
        assert!(error.contains("no scheduling decision"), "{error}");
    }
}

#[test]
fn a_run_without_end_is_an_error() {
    for schedule in [Schedule::seeded(1), Schedule::pct(1, 3, 100)] {
        let error = run_with(schedule.most_points(5000), || {
            let other = spawn_named("other", || {
                loop {
                    yield_now();
                }
            });
            other.join()
        })
        .unwrap_err();
        assert!(
            error.starts_with("no end after 5000 scheduling points: other is yielding at "),
            "{error}"
        );
        assert!(error.contains("main waits for a thread's end"), "{error}");
    }
}

#[test]
fn polling_threads_do_not_starve_others_under_pct() {
    for seed in 0..200 {
        let result = run_with(Schedule::pct(seed, 4, 60).most_points(200_000), || {
            let done = Arc::new(Mutex::new(false));
            let pollers: Vec<_> = (0..2)
                .map(|n| {
                    let done = Arc::clone(&done);
                    spawn_named(format!("poller {n}"), move || {
                        while !*done.lock() {
                            yield_now();
                        }
                    })
                })
                .collect();
            let worker = spawn_named("worker", move || {
                for _ in 0..10 {
                    yield_now();
                }
                *done.lock() = true;
            });
            for thread in pollers {
                thread.join();
            }
            worker.join();
        });
        assert_eq!(result, Ok(()), "seed {seed}");
    }
}
