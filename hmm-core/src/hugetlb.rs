//! Memory of huge pages that are never split (MAP_HUGETLB): taken when it is mapped, so that a first access
//! always finds a page.

use std::sync::{Arc, Mutex, PoisonError};

use crate::addr::{HUGE_PAGES, Pfn};
use crate::system::System;

/// Huge pages that a mapping has reserved and not used yet. Its parts after a split share them.
pub(crate) struct Reserve {
    sys: Arc<System>,
    free: Mutex<Vec<Pfn>>,
}

impl Reserve {
    /// Takes `n` huge pages, all or none.
    pub fn new(sys: &Arc<System>, n: u64) -> Option<Arc<Reserve>> {
        let reserve = Arc::new(Reserve {
            sys: Arc::clone(sys),
            free: Mutex::default(),
        });
        for _ in 0..n {
            let first = alloc(sys)?;
            sys.frames.set_aside(HUGE_PAGES);
            reserve.with(|free| free.push(first));
        }
        Some(reserve)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Vec<Pfn>) -> R) -> R {
        f(&mut self.free.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A huge page, one reference each; none when all are used and memory has none either.
    pub fn take(&self) -> Option<Pfn> {
        let reserved = self.with(Vec::pop);
        if reserved.is_some() {
            self.sys.frames.use_set_aside(HUGE_PAGES);
        }
        reserved.or_else(|| alloc(&self.sys))
    }

    /// Gives up to `n` huge pages back: places that need none any more.
    pub fn give_back(&self, n: u64) {
        for _ in 0..n {
            let Some(first) = self.with(Vec::pop) else {
                return;
            };
            self.sys.frames.use_set_aside(HUGE_PAGES);
            self.sys.frames.put_run(first, HUGE_PAGES);
        }
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // A second panic would end the program; the run is over anyway.
        if !std::thread::panicking() {
            self.give_back(u64::MAX);
        }
    }
}

fn alloc(sys: &System) -> Option<Pfn> {
    let first = sys.frames.alloc_huge()?;
    sys.frames.with_run(first, HUGE_PAGES, |_, frame| {
        frame.anon = true;
        frame.hugetlb = true;
    });
    Some(first)
}
