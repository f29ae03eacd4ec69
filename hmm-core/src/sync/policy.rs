//! How a run's scheduler chooses.

use super::decision::Point;
use super::pct::Pct;
use super::random::Random;
use super::replay::Replay;
use super::schedule::{Kind, Schedule};

pub(super) enum Policy {
    RoundRobin,
    Random { random: Random, one_in: u64 },
    Pct(Pct),
    Replay(Replay),
}

/// Who runs next.
pub(super) struct Choice {
    pub(super) thread: usize,
    /// For how many further choices the thread that ran is passed over.
    pub(super) hold: u32,
    /// Does the decision belong into a recording?
    pub(super) noted: bool,
}

impl Policy {
    pub(super) fn new(schedule: &Schedule) -> Policy {
        match &schedule.kind {
            Kind::RoundRobin => Policy::RoundRobin,
            Kind::Random { seed } => Policy::Random {
                random: Random::new(*seed),
                one_in: u64::from(schedule.switch_one_in),
            },
            Kind::Pct {
                seed,
                depth,
                length,
            } => Policy::Pct(Pct::new(*seed, *depth, *length)),
            Kind::Replay(decisions) => Policy::Replay(Replay::new(decisions)),
        }
    }

    /// At its `nth` preemption point, the run's point `n`: might another thread than `current` go on, out of all
    /// that can run?
    pub(super) fn leaves(
        &mut self,
        current: usize,
        nth: u64,
        n: u64,
        mut runnable: impl Iterator<Item = usize>,
    ) -> bool {
        match self {
            Policy::RoundRobin => false,
            Policy::Random { random, one_in } => {
                (*one_in == 1 || random.below(*one_in) == 0) && runnable.any(|t| t != current)
            }
            Policy::Pct(pct) => {
                pct.pass(current, n);
                pct.best(runnable).is_some_and(|t| t != current)
            }
            Policy::Replay(replay) => replay
                .decision(current, Point::Preempt, nth)
                .is_some_and(|d| runnable.any(|t| t == d.to)),
        }
    }

    /// Chooses at the `nth` point of its kind of `current`. There is at least one candidate; `usual` is one.
    pub(super) fn choose(
        &mut self,
        current: usize,
        point: Point,
        nth: u64,
        yielding: bool,
        candidates: &[usize],
        usual: usize,
    ) -> Choice {
        let plain = |thread: usize| Choice {
            thread,
            hold: 0,
            noted: thread != usual,
        };
        match self {
            Policy::RoundRobin => plain(usual),
            Policy::Random { random, .. } => {
                plain(candidates[random.below(candidates.len() as u64) as usize])
            }
            Policy::Pct(pct) => {
                match point {
                    Point::Wait if yielding => pct.yields(current),
                    Point::Wait => pct.waits(current),
                    Point::Preempt => {}
                }
                let thread = pct.best(candidates.iter().copied()).unwrap_or(usual);
                pct.chose(thread, candidates);
                plain(thread)
            }
            Policy::Replay(replay) => {
                let free = replay.free(candidates);
                if let Some(decision) = replay.decision(current, point, nth)
                    && candidates.contains(&decision.to)
                {
                    replay.hold(decision);
                    return Choice {
                        thread: decision.to,
                        hold: decision.hold,
                        noted: true,
                    };
                }
                let thread = if free.contains(&usual) {
                    usual
                } else {
                    let next = free.iter().copied().find(|&t| t > current);
                    next.or(free.first().copied()).unwrap_or(usual)
                };
                Choice {
                    thread,
                    hold: 0,
                    noted: false,
                }
            }
        }
    }
}
