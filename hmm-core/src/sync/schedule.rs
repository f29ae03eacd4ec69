//! How threads are interleaved.

use std::sync::Arc;

use super::decision::Decision;

/// How threads are interleaved. The same schedule gives the same run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub(super) kind: Kind,
    pub(super) switch_one_in: u32,
    pub(super) most_points: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    RoundRobin,
    Random { seed: u64 },
    Pct { seed: u64, depth: u32, length: u64 },
    Replay(Arc<[Decision]>),
}

impl Schedule {
    fn new(kind: Kind) -> Schedule {
        Schedule {
            kind,
            switch_one_in: 8,
            most_points: u64::MAX,
        }
    }

    /// Random by `seed`; one scheduling point in eight may switch, so that runs stay fast.
    pub fn seeded(seed: u64) -> Schedule {
        Schedule::new(Kind::Random { seed })
    }

    /// No randomness: a thread runs until it waits or yields, then the next one in order of creation.
    pub fn round_robin() -> Schedule {
        Schedule::new(Kind::RoundRobin)
    }

    /// Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010): threads have random priorities and the
    /// highest runs; at `depth` points, drawn from the first `length` of the run, the running thread falls behind
    /// all others. A run's own [`Recording::points`](super::Recording) is a good length for the next one.
    ///
    /// Threads that poll would keep others from ever running, so two rules are added: who yields lines up behind
    /// those that have not, and a thread that fell behind may go on after others had been chosen a random number
    /// of times (1 to 1024, each power of two as likely).
    pub fn pct(seed: u64, depth: u32, length: u64) -> Schedule {
        Schedule::new(Kind::Pct {
            seed,
            depth,
            length: length.max(1),
        })
    }

    /// As [`Schedule::round_robin`], but for these decisions. A decision whose point does not come, or whose thread
    /// cannot run there, has no effect.
    pub fn replay(decisions: impl Into<Arc<[Decision]>>) -> Schedule {
        Schedule::new(Kind::Replay(decisions.into()))
    }

    /// One scheduling point in `n` (at least 1) of a random schedule may switch. 1 finds races soonest and is
    /// slowest.
    #[must_use]
    pub fn switch_one_in(self, n: u32) -> Schedule {
        Schedule {
            switch_one_in: n.max(1),
            ..self
        }
    }

    /// A run that passes more than `n` scheduling points ends with an error: it would go on for ever.
    #[must_use]
    pub fn most_points(self, n: u64) -> Schedule {
        Schedule {
            most_points: n,
            ..self
        }
    }
}
