//! What a scheduler decided in a run.

use std::panic::Location;

use super::decision::{Decision, Point};

/// One decision that took place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The decision.
    pub decision: Decision,
    /// What the thread was about to do or had just done, such as "taking a mutex".
    pub what: &'static str,
    /// Where in the source, if that is known.
    pub at: Option<&'static Location<'static>>,
    /// In how many later choices, in a row, the thread could have run and others were chosen.
    pub passed_over: u32,
}

/// What a scheduler decided in a run: enough for [`Schedule::replay`](super::Schedule::replay).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Decisions that differ from [`Schedule::round_robin`](super::Schedule::round_robin), in the order in which
    /// they took place. Of a replay: those of its decisions that took place.
    pub switches: Vec<Switch>,
    /// Scheduling points that the run passed.
    pub points: u64,
    /// Names of its threads, in order of creation.
    pub threads: Vec<String>,
}

impl Recording {
    /// The decisions, for a replay.
    pub fn decisions(&self) -> Vec<Decision> {
        self.switches.iter().map(|s| s.decision).collect()
    }

    /// Number of preemptions among the decisions.
    pub fn preemptions(&self) -> usize {
        let preempts = |s: &&Switch| s.decision.point == Point::Preempt;
        self.switches.iter().filter(preempts).count()
    }
}

/// Notes decisions as they are made.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    switches: Vec<Switch>,
    /// By thread: the preemption that it has not come back from.
    away: Vec<Option<usize>>,
}

impl Recorder {
    pub(super) fn note(
        &mut self,
        decision: Decision,
        what: &'static str,
        at: Option<&'static Location<'static>>,
    ) {
        if decision.point == Point::Preempt {
            if self.away.len() <= decision.thread {
                self.away.resize(decision.thread + 1, None);
            }
            self.away[decision.thread] = Some(self.switches.len());
        }
        self.switches.push(Switch {
            decision,
            what,
            at,
            passed_over: 0,
        });
    }

    /// `chosen` out of `candidates` runs next.
    pub(super) fn chose(&mut self, chosen: usize, candidates: &[usize]) {
        for &thread in candidates {
            if let Some(away) = self.away.get_mut(thread)
                && let Some(index) = *away
            {
                if thread == chosen {
                    *away = None;
                } else {
                    self.switches[index].passed_over += 1;
                }
            }
        }
    }

    pub(super) fn finish(self, points: u64, threads: Vec<String>) -> Recording {
        Recording {
            switches: self.switches,
            points,
            threads,
        }
    }
}
