//! Which schedule a seed stands for.

use clap::ValueEnum;
use hmm_core::sync::Schedule;

use crate::schedule_args::Strategy;

/// Strategies of an exploration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strategies {
    /// Any scheduling point may switch to any thread.
    Random,
    /// Random priorities that change at a few points.
    Pct,
    /// Even seeds random, odd ones pct.
    Both,
}

/// How seeds become schedules.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The strategies.
    pub strategies: Strategies,
    /// Of pct: points at which priorities change.
    pub depth: u32,
    /// Of pct: scheduling points that these are drawn from.
    pub length: u64,
    /// A run with more scheduling points fails.
    pub most_points: u64,
}

impl Plan {
    /// The strategy of a seed.
    #[must_use]
    pub fn strategy(&self, seed: u64) -> Strategy {
        match self.strategies {
            Strategies::Random => Strategy::Random,
            Strategies::Pct => Strategy::Pct,
            Strategies::Both if seed.is_multiple_of(2) => Strategy::Random,
            Strategies::Both => Strategy::Pct,
        }
    }

    /// The schedule of a seed.
    #[must_use]
    pub fn schedule(&self, seed: u64) -> Schedule {
        let schedule = match self.strategy(seed) {
            Strategy::Random => Schedule::seeded(seed),
            Strategy::Pct => Schedule::pct(seed, self.depth, self.length),
        };
        schedule.most_points(self.most_points)
    }
}
