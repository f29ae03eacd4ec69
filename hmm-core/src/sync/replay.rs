//! Decisions given beforehand; see [`Schedule::replay`](super::Schedule::replay).

use std::collections::BTreeMap;

use super::decision::{Decision, Point};

#[derive(Clone, Debug)]
pub(super) struct Replay {
    decisions: BTreeMap<(usize, Point, u64), Decision>,
    /// Threads that are passed over, and in how many more choices.
    held: Vec<(usize, u32)>,
}

impl Replay {
    pub(super) fn new(decisions: &[Decision]) -> Replay {
        Replay {
            decisions: decisions
                .iter()
                .map(|d| ((d.thread, d.point, d.nth), *d))
                .collect(),
            held: Vec::new(),
        }
    }

    pub(super) fn decision(&self, thread: usize, point: Point, nth: u64) -> Option<Decision> {
        self.decisions.get(&(thread, point, nth)).copied()
    }

    pub(super) fn hold(&mut self, decision: Decision) {
        self.held.retain(|(thread, _)| *thread != decision.thread);
        if decision.hold > 0 {
            self.held.push((decision.thread, decision.hold));
        }
    }

    /// One choice is made among these: those of them that are not passed over, or all if they all are.
    pub(super) fn free(&mut self, candidates: &[usize]) -> Vec<usize> {
        let held = |thread: &usize| self.held.iter().any(|(held, _)| held == thread);
        let free: Vec<usize> = candidates.iter().copied().filter(|t| !held(t)).collect();
        if candidates.len() > 1 {
            for (thread, left) in &mut self.held {
                if candidates.contains(thread) {
                    *left -= 1;
                }
            }
            self.held.retain(|(_, left)| *left > 0);
        }
        if free.is_empty() {
            candidates.to_vec()
        } else {
            free
        }
    }
}
