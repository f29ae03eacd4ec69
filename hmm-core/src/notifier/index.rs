//! Subscriptions by the range that they follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::notifier::{MmuIntervalNotifier, MmuNotifierRange};

/// Start, and the number that tells those with the same start apart.
type Key = (u64, u64);

/// The subscriptions of an address space. They are kept by powers of two of their length: one of length up to
/// `2 * n` that reaches into a range cannot start earlier than `2 * n` before it, so that finding those of a
/// range takes no look at all others.
#[derive(Default)]
pub(super) struct Index {
    by_length: BTreeMap<u32, BTreeMap<Key, Arc<MmuIntervalNotifier>>>,
    next: u64,
}

fn class(sub: &MmuIntervalNotifier) -> u32 {
    (sub.end - sub.start).ilog2()
}

impl Index {
    pub fn insert(&mut self, sub: Arc<MmuIntervalNotifier>) {
        let key = (sub.start.0, self.next);
        self.next += 1;
        self.by_length
            .entry(class(&sub))
            .or_default()
            .insert(key, sub);
    }

    /// Takes a subscription out; none if it is not there.
    pub fn remove(&mut self, sub: &MmuIntervalNotifier) -> Option<Arc<MmuIntervalNotifier>> {
        let key = self.key(sub)?;
        let alike = self.by_length.get_mut(&class(sub))?;
        let found = alike.remove(&key);
        if alike.is_empty() {
            self.by_length.remove(&class(sub));
        }
        found
    }

    /// The handle of a subscription; none if it is not there.
    pub fn get(&self, sub: &MmuIntervalNotifier) -> Option<&Arc<MmuIntervalNotifier>> {
        let key = self.key(sub)?;
        self.by_length.get(&class(sub))?.get(&key)
    }

    fn key(&self, sub: &MmuIntervalNotifier) -> Option<Key> {
        let start = sub.start.0;
        let alike = self.by_length.get(&class(sub))?;
        alike
            .range((start, 0)..=(start, u64::MAX))
            .find(|(_, other)| std::ptr::eq(Arc::as_ptr(other), sub))
            .map(|(key, _)| *key)
    }

    /// Those that follow some of the range, in the order in which they came.
    pub fn overlapping(&self, range: &MmuNotifierRange) -> Vec<Arc<MmuIntervalNotifier>> {
        let mut hit: Vec<(u64, &Arc<MmuIntervalNotifier>)> = Vec::new();
        for (class, alike) in &self.by_length {
            // Longest of the class: 2^(class + 1) - 1 bytes.
            let reach = (2_u64 << class).wrapping_sub(1);
            let first = range.start.0.saturating_sub(reach);
            let near = alike.range((first, 0)..(range.end.0.max(first), 0));
            hit.extend(
                near.filter(|(_, sub)| sub.overlaps(range))
                    .map(|((_, number), sub)| (*number, sub)),
            );
        }
        hit.sort_unstable_by_key(|(number, _)| *number);
        hit.into_iter().map(|(_, sub)| Arc::clone(sub)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::addr::Va;
    use crate::notifier::{MmuIntervalNotifierOps, MmuNotifyEvent};

    struct Nobody;

    impl MmuIntervalNotifierOps for Nobody {
        fn invalidate(&self, _: &MmuIntervalNotifier, _: &MmuNotifierRange, _: u64) -> bool {
            true
        }
    }

    fn sub(start: u64, len: u64) -> Arc<MmuIntervalNotifier> {
        Arc::new(MmuIntervalNotifier {
            mm: 1,
            start: Va(start),
            end: Va(start + len),
            seq: AtomicU64::new(0),
            ops: Arc::new(Nobody),
            subs: Weak::new(),
        })
    }

    #[test]
    fn finds_what_a_look_at_all_finds_in_the_same_order() {
        let mut random = 1_u64;
        let mut draw = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        let mut index = Index::default();
        let mut all: Vec<Arc<MmuIntervalNotifier>> = Vec::new();
        for _ in 0..600 {
            if all.len() > 40 || (!all.is_empty() && draw(3) == 0) {
                let gone = all.remove(draw(all.len() as u64) as usize);
                assert!(index.get(&gone).is_some());
                assert!(index.remove(&gone).is_some());
                assert!(index.remove(&gone).is_none());
            } else {
                let length = 1 << draw(12);
                let new = sub(draw(2000), length + draw(length));
                index.insert(Arc::clone(&new));
                all.push(new);
            }
            let start = draw(3000);
            let range = MmuNotifierRange {
                start: Va(start),
                end: Va(start + 1 + draw(50)),
                event: MmuNotifyEvent::Clear,
                owner: 0,
                blockable: true,
            };
            let addresses = |subs: &[Arc<MmuIntervalNotifier>]| -> Vec<*const MmuIntervalNotifier> {
                subs.iter().map(Arc::as_ptr).collect()
            };
            let expected: Vec<_> = all.iter().filter(|s| s.overlaps(&range)).cloned().collect();
            assert_eq!(addresses(&index.overlapping(&range)), addresses(&expected));
        }
    }
}
