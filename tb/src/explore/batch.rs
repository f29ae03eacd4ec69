//! Many seeds on several OS threads, with a result that does not depend on their number.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Outcome;

/// A run that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// What came out of a batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Schedules that were needed: all, or those up to the first failure.
    pub schedules: u64,
    /// Schedules that were run; with several jobs some may lie beyond the first failure.
    pub runs: u64,
    /// The failure with the lowest seed.
    pub failure: Option<Failure>,
}

/// Runs the seeds in `jobs` OS threads until one fails; `tick` is called after each. All seeds below the failing
/// one have been run, so it is the lowest.
pub fn first_failure(
    seeds: Range<u64>,
    jobs: usize,
    run: impl Fn(u64) -> Outcome + Sync,
    tick: impl Fn() + Sync,
) -> Batch {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicU64::new(seeds.end);
    let runs = AtomicU64::new(0);
    let lowest: Mutex<Option<Failure>> = Mutex::new(None);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= stop.load(Ordering::Relaxed) {
                break;
            }
            let outcome = run(seed);
            runs.fetch_add(1, Ordering::Relaxed);
            tick();
            if outcome.error.is_none() {
                continue;
            }
            stop.fetch_min(seed, Ordering::Relaxed);
            let mut lowest = lowest.lock().unwrap_or_else(PoisonError::into_inner);
            if lowest.as_ref().is_none_or(|failure| seed < failure.seed) {
                *lowest = Some(Failure { seed, outcome });
            }
        }
    };
    if jobs <= 1 {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(work);
            }
        });
    }
    let failure = lowest.into_inner().unwrap_or_else(PoisonError::into_inner);
    let last = failure.as_ref().map_or(seeds.end, |f| f.seed + 1);
    Batch {
        schedules: last - seeds.start,
        runs: runs.into_inner(),
        failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(seed: u64, failing: &[u64]) -> Outcome {
        Outcome {
            error: failing.contains(&seed).then(|| format!("seed {seed}")),
            unusable: false,
            recording: hmm_core::sync::Recording::default(),
        }
    }

    #[test]
    fn the_lowest_seed_is_reported_however_many_jobs_there_are() {
        for jobs in [1, 2, 5] {
            let batch = first_failure(10..100, jobs, |seed| outcome(seed, &[90, 57, 58]), || {});
            let failure = batch.failure.expect("a failure");
            assert_eq!((failure.seed, batch.schedules), (57, 48), "{jobs} jobs");
            assert!(batch.runs >= 48);
            let batch = first_failure(10..100, jobs, |seed| outcome(seed, &[9, 100]), || {});
            assert!(batch.failure.is_none());
            assert_eq!((batch.schedules, batch.runs), (90, 90));
        }
    }
}
