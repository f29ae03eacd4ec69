//! The huge page that reads as zero.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::addr::{HUGE_PAGES, Pfn};
use crate::system::System;

/// Where it is while nobody uses it.
const NOWHERE: u64 = u64::MAX;

/// 512 pages of zeros, taken when the first address space uses them and given back when the last one ends.
/// Entries that name them hold no reference and are in no reverse mapping.
pub(crate) struct HugeZero {
    base: AtomicU64,
    users: Mutex<u64>,
}

impl Default for HugeZero {
    fn default() -> HugeZero {
        HugeZero {
            base: AtomicU64::new(NOWHERE),
            users: Mutex::new(0),
        }
    }
}

impl HugeZero {
    pub fn contains(&self, pfn: Pfn) -> bool {
        let base = self.base.load(Ordering::Relaxed);
        base <= pfn.0 && pfn.0 - base < HUGE_PAGES
    }

    /// Its first page, for a new user or for one that has it already. None without memory.
    pub fn get(&self, sys: &System, new_user: bool) -> Option<Pfn> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if *users == 0 {
            let first = sys.frames.alloc_huge()?;
            for n in 0..HUGE_PAGES {
                sys.phys().zero_page(first + n);
            }
            self.base.store(first.0, Ordering::Relaxed);
        }
        *users += u64::from(new_user);
        Some(Pfn(self.base.load(Ordering::Relaxed)))
    }

    /// A user, and with it all its entries, is gone.
    pub fn put(&self, sys: &System) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        *users -= 1;
        if *users == 0 {
            let first = Pfn(self.base.swap(NOWHERE, Ordering::Relaxed));
            sys.frames
                .put_all((0..HUGE_PAGES).map(|n| first + n).collect());
        }
    }
}
