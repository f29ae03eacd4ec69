//! Memory control groups: how many pages a group of processes may have.

use std::sync::atomic::{AtomicU64, Ordering};

/// A control group. A page is charged when it comes to life and uncharged when it is freed; migration
/// moves the charge with the page (linux-hmm G6), so a page can always come home.
#[derive(Debug)]
pub struct Memcg {
    charged: AtomicU64,
    limit: AtomicU64,
}

impl Memcg {
    pub(crate) fn unlimited() -> Memcg {
        Memcg {
            charged: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
        }
    }

    /// Pages charged now, in system and device memory.
    pub fn charged(&self) -> u64 {
        self.charged.load(Ordering::Relaxed)
    }

    /// Sets the most pages that can be charged. Pages charged already stay.
    pub fn set_limit(&self, pages: u64) {
        self.limit.store(pages, Ordering::Relaxed);
    }

    pub(crate) fn try_charge(&self) -> bool {
        self.try_charge_many(1)
    }

    /// Pages that can still be charged.
    pub(crate) fn room(&self) -> u64 {
        let limit = self.limit.load(Ordering::Relaxed);
        limit.saturating_sub(self.charged())
    }

    /// All of them or none.
    pub(crate) fn try_charge_many(&self, pages: u64) -> bool {
        let fits = pages <= self.room();
        if fits {
            self.charged.fetch_add(pages, Ordering::Relaxed);
        }
        fits
    }

    pub(crate) fn uncharge(&self) {
        self.uncharge_many(1);
    }

    pub(crate) fn uncharge_many(&self, pages: u64) {
        self.charged.fetch_sub(pages, Ordering::Relaxed);
    }
}
