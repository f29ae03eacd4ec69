//! Swap space: the contents of pages that are not in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A place in swap space, of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SwapSlot(pub u64);

struct Slot {
    /// Entries of page tables that name it, and who reads it just now; 1 for shared memory.
    refs: u32,
    /// Belongs to an object of shared memory.
    shared: bool,
    data: Box<[u8]>,
}

#[derive(Default)]
struct Inner {
    used: BTreeMap<SwapSlot, Slot>,
    /// Free slots below `next`.
    free: BTreeSet<SwapSlot>,
    next: u64,
}

/// All slots. A slot is free when its last reference is gone; there is no swap cache: a page that is read
/// in belongs to its reader alone.
pub(crate) struct SwapSpace {
    inner: Mutex<Inner>,
    pages: u64,
}

impl SwapSpace {
    pub fn new(pages: u64) -> SwapSpace {
        SwapSpace {
            inner: Mutex::default(),
            pages,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `data` in the lowest free slot, with one reference. None when all are in use.
    pub fn store(&self, data: Box<[u8]>, shared: bool) -> Option<SwapSlot> {
        let mut inner = self.inner();
        let slot = match inner.free.pop_first() {
            Some(slot) => slot,
            None if inner.next < self.pages => {
                inner.next += 1;
                SwapSlot(inner.next - 1)
            }
            None => return None,
        };
        let entry = Slot {
            refs: 1,
            shared,
            data,
        };
        inner.used.insert(slot, entry);
        Some(slot)
    }

    /// The contents of a slot that the caller has a reference to.
    #[track_caller]
    pub fn load(&self, slot: SwapSlot, read: impl FnOnce(&[u8])) {
        let inner = self.inner();
        let found = inner.used.get(&slot);
        read(&found.unwrap_or_else(|| panic!("{slot:?} is free")).data);
    }

    #[track_caller]
    pub fn get(&self, slot: SwapSlot) {
        let mut inner = self.inner();
        let found = inner.used.get_mut(&slot);
        found.unwrap_or_else(|| panic!("{slot:?} is free")).refs += 1;
    }

    /// Drops a reference; the last one frees the slot.
    #[track_caller]
    pub fn put(&self, slot: SwapSlot) {
        let mut inner = self.inner();
        let found = inner.used.get_mut(&slot);
        let entry = found.unwrap_or_else(|| panic!("{slot:?} is free"));
        entry.refs -= 1;
        if entry.refs == 0 {
            inner.used.remove(&slot);
            inner.free.insert(slot);
        }
    }

    /// Slots in use.
    pub fn used(&self) -> u64 {
        self.inner().used.len() as u64
    }

    /// Each slot in use, its references, and whether it belongs to shared memory.
    pub fn for_each(&self, mut f: impl FnMut(SwapSlot, u32, bool)) {
        for (&slot, entry) in &self.inner().used {
            f(slot, entry.refs, entry.shared);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Box<[u8]> {
        vec![byte; 4].into()
    }

    #[test]
    fn slots_are_given_out_lowest_first_until_all_are_used() {
        let swap = SwapSpace::new(2);
        let first = swap.store(page(1), false).unwrap();
        let second = swap.store(page(2), true).unwrap();
        assert_eq!((first, second), (SwapSlot(0), SwapSlot(1)));
        assert_eq!(swap.store(page(3), false), None);
        swap.put(first);
        assert_eq!(swap.store(page(4), false), Some(first));
        assert_eq!(swap.used(), 2);
        swap.load(first, |data| assert_eq!(data, [4; 4]));
    }

    #[test]
    fn the_last_reference_frees_a_slot() {
        let swap = SwapSpace::new(1);
        let slot = swap.store(page(1), false).unwrap();
        swap.get(slot);
        swap.put(slot);
        assert_eq!(swap.used(), 1);
        let mut seen = Vec::new();
        swap.for_each(|slot, refs, shared| seen.push((slot, refs, shared)));
        assert_eq!(seen, [(slot, 1, false)]);
        swap.put(slot);
        assert_eq!(swap.used(), 0);
    }
}
