//! Shared anonymous memory: pages that belong to an object instead of a process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::addr::Pfn;
use crate::system::System;

/// The pages of a MAP_SHARED|MAP_ANONYMOUS mapping, by page number in the object.
pub(crate) struct Shmem {
    sys: Arc<System>,
    pages: Mutex<BTreeMap<u64, Pfn>>,
}

impl Shmem {
    pub fn new(sys: &Arc<System>) -> Arc<Shmem> {
        Arc::new(Shmem {
            sys: Arc::clone(sys),
            pages: Mutex::new(BTreeMap::new()),
        })
    }

    /// The page at `index` with a reference for the caller, if there is one.
    pub fn lookup(&self, index: u64) -> Option<Pfn> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let pfn = *pages.get(&index)?;
        self.sys.frames.get(pfn);
        Some(pfn)
    }

    /// Puts a new page at `index`; its reference becomes the object's. False if there is one already.
    pub fn insert(&self, index: u64, pfn: Pfn) -> bool {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.contains_key(&index) {
            return false;
        }
        self.sys.frames.with(pfn, |f| f.cached = true);
        pages.insert(index, pfn);
        true
    }
}

impl Drop for Shmem {
    fn drop(&mut self) {
        // A second panic would end the program; the run is over anyway.
        if std::thread::panicking() {
            return;
        }
        let pages = std::mem::take(&mut *self.pages.lock().unwrap_or_else(PoisonError::into_inner));
        for pfn in pages.into_values() {
            self.sys.frames.with(pfn, |f| f.cached = false);
            self.sys.frames.put(pfn);
        }
    }
}
