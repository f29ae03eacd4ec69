//! Priorities that change at random points; see [`Schedule::pct`](super::Schedule::pct).

use std::collections::BTreeSet;

use super::random::Random;

/// A thread that fell behind is passed over up to `1 << 10` times.
const PATIENCE_BITS: u64 = 10;

#[derive(Clone, Copy, Debug)]
struct Rank {
    /// Choices in which it is still passed over, and when it fell behind: the last one is the lowest.
    behind: Option<(u64, u64)>,
    /// When it last yielded; 0 if it has not since it last waited.
    yielded: u64,
    priority: u64,
}

impl Rank {
    /// The smallest runs.
    fn key(&self) -> (u64, u64, u64) {
        let behind = self.behind.map_or(0, |(_, since)| since);
        (behind, self.yielded, !self.priority)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Pct {
    random: Random,
    changes: BTreeSet<u64>,
    ranks: Vec<Rank>,
    /// Counts demotions and yields.
    time: u64,
}

impl Pct {
    pub(super) fn new(seed: u64, depth: u32, length: u64) -> Pct {
        let mut random = Random::new(seed);
        let changes = (0..depth).map(|_| 1 + random.below(length)).collect();
        Pct {
            random,
            changes,
            ranks: Vec::new(),
            time: 0,
        }
    }

    fn rank(&mut self, thread: usize) -> &mut Rank {
        while self.ranks.len() <= thread {
            let priority = self.random.next();
            self.ranks.push(Rank {
                behind: None,
                yielded: 0,
                priority,
            });
        }
        &mut self.ranks[thread]
    }

    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    /// `thread` passes the run's n-th point.
    pub(super) fn pass(&mut self, thread: usize, n: u64) {
        if self.changes.contains(&n) {
            let patience = 1 << self.random.below(PATIENCE_BITS + 1);
            let now = self.tick();
            self.rank(thread).behind = Some((patience, now));
        }
    }

    pub(super) fn yields(&mut self, thread: usize) {
        let now = self.tick();
        self.rank(thread).yielded = now;
    }

    pub(super) fn waits(&mut self, thread: usize) {
        self.rank(thread).yielded = 0;
    }

    /// Who of these should run; none of none.
    pub(super) fn best(&mut self, candidates: impl Iterator<Item = usize>) -> Option<usize> {
        candidates.min_by_key(|&thread| (self.rank(thread).key(), thread))
    }

    /// `chosen` out of `candidates` runs next: the others lose patience.
    pub(super) fn chose(&mut self, chosen: usize, candidates: &[usize]) {
        for &thread in candidates {
            if thread == chosen {
                continue;
            }
            let rank = self.rank(thread);
            if let Some((left, _)) = &mut rank.behind {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    rank.behind = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_fell_behind_comes_back_when_others_had_their_turns() {
        let mut pct = Pct::new(1, 0, 1);
        let first = pct.best([0, 1].into_iter()).unwrap();
        let other = 1 - first;
        pct.changes.insert(7);
        pct.pass(first, 6);
        assert_eq!(pct.best([0, 1].into_iter()), Some(first));
        pct.pass(first, 7);
        let mut turns = 0;
        while pct.best([0, 1].into_iter()) == Some(other) {
            pct.chose(other, &[0, 1]);
            turns += 1;
            assert!(turns <= 1 << PATIENCE_BITS);
        }
        assert!(turns > 0);
    }

    #[test]
    fn who_yields_lines_up() {
        let mut pct = Pct::new(5, 0, 1);
        let mut order = Vec::new();
        for _ in 0..6 {
            let next = pct.best([0, 1, 2].into_iter()).unwrap();
            order.push(next);
            pct.yields(next);
        }
        assert_eq!(order[..3], order[3..]);
        let distinct: BTreeSet<_> = order.iter().collect();
        assert_eq!(distinct.len(), 3);
    }
}
