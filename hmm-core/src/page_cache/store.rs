//! Where the contents of an object's pages are when they are not in memory.

use std::collections::BTreeMap;

use crate::addr::Pfn;
use crate::swap::SwapSlot;
use crate::system::System;

/// By page number; a page that is not here is zero.
pub(super) enum Store {
    /// A file's disk: keeps a page's old contents while the page is in memory.
    Disk(BTreeMap<u64, Box<[u8]>>),
    /// Swap space, for shared memory: a page is here or in memory.
    Swap(BTreeMap<u64, SwapSlot>),
}

impl Store {
    pub fn disk() -> Store {
        Store::Disk(BTreeMap::new())
    }

    pub fn swap() -> Store {
        Store::Swap(BTreeMap::new())
    }

    /// Fills `pfn` with the contents of `index`. True if they are nowhere else now (the page is dirty).
    pub fn load(&mut self, sys: &System, index: u64, pfn: Pfn) -> bool {
        match self {
            Store::Disk(pages) => match pages.get(&index) {
                Some(data) => sys.phys().write(pfn, 0, data),
                None => sys.phys().zero_page(pfn),
            },
            Store::Swap(slots) => match slots.remove(&index) {
                Some(slot) => {
                    sys.swap.load(slot, |data| sys.phys().write(pfn, 0, data));
                    sys.swap.put(slot);
                    return true;
                }
                None => sys.phys().zero_page(pfn),
            },
        }
        false
    }

    /// Forgets all pages from `first` on.
    pub fn truncate(&mut self, sys: &System, first: u64) {
        match self {
            Store::Disk(pages) => drop(pages.split_off(&first)),
            Store::Swap(slots) => {
                for slot in slots.split_off(&first).into_values() {
                    sys.swap.put(slot);
                }
            }
        }
    }

    /// Keeps the contents of `index`. False when there is no room.
    pub fn save(&mut self, sys: &System, index: u64, data: Box<[u8]>) -> bool {
        match self {
            Store::Disk(pages) => {
                pages.insert(index, data);
                true
            }
            Store::Swap(slots) => match sys.swap.store(data, true) {
                Some(slot) => {
                    slots.insert(index, slot);
                    true
                }
                None => false,
            },
        }
    }

    /// Clears a page from byte `tail` on. (Only files have a length that is not a number of pages.)
    pub fn clear_tail(&mut self, index: u64, tail: usize) {
        if let Store::Disk(pages) = self
            && let Some(data) = pages.get_mut(&index)
        {
            data[tail..].fill(0);
        }
    }
}
