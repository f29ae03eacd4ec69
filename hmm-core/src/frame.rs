//! What the kernel knows of one physical page.

use std::sync::Arc;

use crate::memcg::Memcg;

/// A place in a page table: which address space, and which virtual page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub mm: u64,
    pub page: u64,
}

/// One page of system or device memory. Free when `refs` is 0.
///
/// Each mapping holds one reference; so do a page cache, a pin, and whoever works on the page. The two
/// lists of places are the reverse mapping: exact, and changed only under the page table's lock of the
/// place, so a list seen with that lock held is true for that address space.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub refs: u32,
    /// How many of the references are pins of `Mm::pin`.
    pub pins: u32,
    /// How many are references of `Mm::get_user_pages`.
    pub gets: u32,
    pub locked: bool,
    pub dirty: bool,
    /// Belongs to a private mapping (else to an object: a file or shared memory).
    pub anon: bool,
    /// Belongs to a file.
    pub file: bool,
    /// Only one process has it, so a write needs no copy (PageAnonExclusive).
    pub exclusive: bool,
    /// The page cache of an object holds a reference.
    pub cached: bool,
    /// Of a hugetlb mapping: never charged, migrated or swapped.
    pub hugetlb: bool,
    /// MADV_FREE: the contents may be dropped as long as the page is not dirty.
    pub lazyfree: bool,
    /// Equal pages were merged into this one (KSM).
    pub merged: bool,
    /// A memory failure took it: never given out again.
    pub poisoned: bool,
    pub memcg: Option<Arc<Memcg>>,
    /// Present and device-private entries that point here.
    pub mapped: Vec<Place>,
    /// Migration entries that point here. They hold no reference.
    pub migrating: Vec<Place>,
}

impl Frame {
    pub fn map(&mut self, place: Place) {
        self.mapped.push(place);
    }

    /// Maps a fresh private page that only this process has.
    pub fn map_own(&mut self, place: Place) {
        self.anon = true;
        self.exclusive = true;
        self.map(place);
    }

    pub fn unmap(&mut self, place: Place) {
        remove(&mut self.mapped, place);
        if self.mapped.is_empty() {
            self.exclusive = false;
        }
    }

    pub fn add_migration(&mut self, place: Place) {
        self.migrating.push(place);
    }

    pub fn remove_migration(&mut self, place: Place) {
        remove(&mut self.migrating, place);
    }

    /// References that a migration expects on a page it has unmapped: its own, the fault path's, the cache's.
    pub fn expected_refs(&self, is_fault_page: bool) -> u32 {
        1 + u32::from(is_fault_page) + u32::from(self.cached)
    }

    /// Whether nobody uses it in any way.
    pub fn is_idle(&self) -> bool {
        self.refs == 0
            && self.pins == 0
            && !self.locked
            && !self.exclusive
            && !self.cached
            && self.memcg.is_none()
            && self.mapped.is_empty()
            && self.migrating.is_empty()
    }

    /// Whether no pin relies on exclusive use.
    pub fn can_share(&self) -> bool {
        !self.exclusive || self.pins == 0
    }

    /// Gives up exclusive use, unless a pin relies on it (folio_try_share_anon_rmap).
    pub fn try_share(&mut self) -> bool {
        let can = self.can_share();
        self.exclusive &= !can;
        can
    }

    /// Lets the only process that maps a private page have it for itself again.
    pub fn try_own(&mut self) {
        if self.anon && !self.exclusive && self.sole_user() {
            self.exclusive = true;
            self.merged = false;
        }
    }

    /// Whether a process that maps it, privately or not, may write it in place.
    pub fn is_own(&self, private: bool) -> bool {
        if self.anon { self.exclusive } else { !private }
    }

    /// Whether a write through a mapping that is not exclusive can still do without a copy.
    pub fn sole_user(&self) -> bool {
        self.refs == 1 && !self.locked && self.migrating.is_empty()
    }
}

fn remove(list: &mut Vec<Place>, place: Place) {
    let found = list.iter().position(|&p| p == place);
    let index = found.unwrap_or_else(|| panic!("the reverse mapping lacks {place:?}"));
    list.swap_remove(index);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_keeps_a_page_exclusive() {
        let mut frame = Frame {
            refs: 2,
            pins: 1,
            exclusive: true,
            ..Frame::default()
        };
        assert!(!frame.try_share());
        assert!(frame.exclusive);
        frame.pins = 0;
        assert!(frame.try_share());
        assert!(!frame.exclusive);
    }

    #[test]
    fn the_last_unmap_ends_exclusive_use() {
        let place = Place { mm: 1, page: 2 };
        let mut frame = Frame {
            exclusive: true,
            ..Frame::default()
        };
        frame.map(place);
        frame.unmap(place);
        assert!(!frame.exclusive && frame.mapped.is_empty());
    }
}
