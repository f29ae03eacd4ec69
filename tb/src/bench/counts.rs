//! Readings of the device's counters.

use hmmu_regs::Counter;

/// All counters as of one cycle, or what they counted between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<u64>);

impl Counts {
    /// From their values, in the order of [`Counter`].
    #[must_use]
    pub fn new(values: Vec<u64>) -> Self {
        Self(values)
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// What was counted since an earlier reading. A maximum stays as it is.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let values = Counter::ALL.iter().map(|&counter| match counter {
            Counter::InvalidateWorst => self.get(counter),
            _ => self.get(counter).wrapping_sub(before.get(counter)),
        });
        Self(values.collect())
    }

    /// One as a share of another; 0 of nothing.
    #[must_use]
    pub fn share(&self, part: Counter, whole: Counter) -> f64 {
        match self.get(whole) {
            0 => 0.0,
            whole => self.get(part) as f64 / whole as f64,
        }
    }

    /// All of them with their names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Counter::ALL
            .iter()
            .map(|&counter| (counter.name(), self.get(counter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_keeps_maxima() {
        let values = |add: u64| {
            Counts::new(
                (0..Counter::ALL.len() as u64)
                    .map(|k| k * k + add)
                    .collect(),
            )
        };
        let difference = values(7).since(&values(3));
        assert_eq!(difference.get(Counter::Walks), 4);
        assert_eq!(difference.get(Counter::InvalidateWorst), 19 * 19 + 7);
        assert_eq!(difference.share(Counter::L2Hits, Counter::L2Lookups), 1.0);
        assert_eq!(
            Counts::default().share(Counter::L2Hits, Counter::L2Lookups),
            0.0
        );
    }
}
