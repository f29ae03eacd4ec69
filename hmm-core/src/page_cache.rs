//! Pages that belong to an object instead of a process: shared memory and files.

mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::addr::{PAGE_SIZE, Pfn};
use crate::memcg::Memcg;
use crate::memremap::VmFault;
use crate::page_cache::store::Store;
use crate::system::System;

/// The pages of one object, by page number, and what keeps the contents of those that are not in memory.
///
/// Who wants to map a page looks it up, locks the page table, and asks [`PageCache::holds`] before it sets
/// the entry. Who takes pages away makes `holds` false first and unmaps afterwards, so no mapping is missed.
pub(crate) struct PageCache {
    sys: Arc<System>,
    file: bool,
    inner: Mutex<Inner>,
}

struct Inner {
    pages: BTreeMap<u64, Pfn>,
    store: Store,
    /// Pages whose contents a memory failure took.
    lost: BTreeSet<u64>,
    /// Length in bytes.
    len: u64,
}

impl Inner {
    /// Whether some byte of the page is inside of the object.
    fn contains(&self, index: u64) -> bool {
        index < self.len.div_ceil(PAGE_SIZE)
    }
}

impl PageCache {
    /// Memory for a MAP_SHARED|MAP_ANONYMOUS mapping.
    pub fn shmem(sys: &Arc<System>) -> Arc<PageCache> {
        PageCache::new(sys, false, u64::MAX, Store::swap())
    }

    /// A file of `len` zeros.
    pub fn file(sys: &Arc<System>, len: u64) -> Arc<PageCache> {
        PageCache::new(sys, true, len, Store::disk())
    }

    fn new(sys: &Arc<System>, file: bool, len: u64, store: Store) -> Arc<PageCache> {
        let inner = Inner {
            pages: BTreeMap::new(),
            store,
            lost: BTreeSet::new(),
            len,
        };
        let cache = Arc::new(PageCache {
            sys: Arc::clone(sys),
            file,
            inner: Mutex::new(inner),
        });
        sys.add_cache(&cache);
        cache
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page at `index` with a reference for the caller, read in or cleared on first use and then
    /// charged to `memcg`.
    ///
    /// # Errors
    /// SIGBUS beyond the end and where the contents are lost, OOM when there is no memory.
    pub fn page(&self, index: u64, memcg: &Arc<Memcg>) -> Result<Pfn, VmFault> {
        if let Some(pfn) = self.lookup(&self.inner(), index, false)? {
            return Ok(pfn);
        }
        let new = self.sys.alloc_user_page(memcg)?;
        self.insert(index, new, false)
    }

    /// As [`PageCache::page`], for a read or write of the file itself: charged to nobody, and `beyond` the
    /// end if it is about to grow.
    pub fn page_for_io(&self, index: u64, beyond: bool) -> Result<Pfn, VmFault> {
        if let Some(pfn) = self.lookup(&self.inner(), index, beyond)? {
            return Ok(pfn);
        }
        let new = self.sys.frames.alloc().ok_or(VmFault::Oom)?;
        self.insert(index, new, beyond)
    }

    fn lookup(&self, inner: &Inner, index: u64, beyond: bool) -> Result<Option<Pfn>, VmFault> {
        if !(beyond || inner.contains(index)) || inner.lost.contains(&index) {
            return Err(VmFault::Sigbus);
        }
        let found = inner.pages.get(&index).copied();
        if let Some(pfn) = found {
            self.sys.frames.get(pfn);
        }
        Ok(found)
    }

    /// Makes `new`, whose reference becomes the object's, the page of `index`, unless there is one by now.
    fn insert(&self, index: u64, new: Pfn, beyond: bool) -> Result<Pfn, VmFault> {
        let mut inner = self.inner();
        let found = self.lookup(&inner, index, beyond);
        if found != Ok(None) {
            self.sys.frames.put(new);
            return found.and_then(|pfn| pfn.ok_or(VmFault::Sigbus));
        }
        let dirty = inner.store.load(&self.sys, index, new);
        self.sys.frames.with(new, |frame| {
            frame.cached = true;
            frame.file = self.file;
            frame.dirty = dirty;
            frame.refs += 1;
        });
        inner.pages.insert(index, new);
        Ok(new)
    }

    /// Whether it is a file, not shared memory.
    pub fn is_file(&self) -> bool {
        self.file
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.inner().len
    }

    /// Its pages in memory.
    pub fn pages(&self) -> Vec<(u64, Pfn)> {
        self.inner()
            .pages
            .iter()
            .map(|(&i, &pfn)| (i, pfn))
            .collect()
    }

    /// Whether `pfn` is the page of `index` now, and inside of the object.
    pub fn holds(&self, index: u64, pfn: Pfn) -> bool {
        let inner = self.inner();
        inner.contains(index) && inner.pages.get(&index) == Some(&pfn)
    }

    /// Sets the length. What comes after the end, in the last page too, is zero when the object grows again.
    /// Pages in memory beyond a new end stay until [`PageCache::remove`] takes them out.
    pub fn set_len(&self, len: u64) {
        let mut inner = self.inner();
        let end = inner.len.min(len);
        inner.len = len;
        let first = end.div_ceil(PAGE_SIZE);
        inner.store.truncate(&self.sys, first);
        drop(inner.lost.split_off(&first));
        let tail = (end % PAGE_SIZE) as usize;
        if tail > 0 {
            let index = end / PAGE_SIZE;
            inner.store.clear_tail(index, tail);
            if let Some(&pfn) = inner.pages.get(&index) {
                let zeros = vec![0; PAGE_SIZE as usize - tail];
                self.sys.phys().write(pfn, tail, &zeros);
            }
        }
    }

    /// The first page in memory from `index` on, with a reference for the caller.
    pub fn next_page(&self, index: u64) -> Option<(u64, Pfn)> {
        let inner = self.inner();
        let (&index, &pfn) = inner.pages.range(index..).next()?;
        self.sys.frames.get(pfn);
        Some((index, pfn))
    }

    /// Takes a locked page out. False if it is not the object's any more.
    pub fn remove(&self, index: u64, pfn: Pfn) -> bool {
        let mut inner = self.inner();
        if inner.pages.get(&index) != Some(&pfn) {
            return false;
        }
        inner.pages.remove(&index);
        drop(inner);
        self.sys.frames.with(pfn, |frame| frame.cached = false);
        self.sys.frames.put(pfn);
        true
    }

    /// Takes out a page that the caller has locked, referenced and unmapped, keeping its contents if they
    /// are nowhere else. False if somebody else uses it, or there is no room for the contents.
    pub fn evict(&self, index: u64, pfn: Pfn) -> bool {
        let mut inner = self.inner();
        if inner.pages.get(&index) != Some(&pfn) {
            return false;
        }
        let (unused, dirty) = self.sys.frames.with(pfn, |frame| {
            let unused = frame.mapped.is_empty() && frame.refs == frame.expected_refs(false);
            (unused, frame.dirty)
        });
        if !unused {
            return false;
        }
        if dirty && inner.contains(index) {
            let mut data = vec![0; PAGE_SIZE as usize].into_boxed_slice();
            self.sys.phys().read(pfn, 0, &mut data);
            // What a process stored behind the end is not the file's.
            let tail = (inner.len - index * PAGE_SIZE).min(PAGE_SIZE) as usize;
            data[tail..].fill(0);
            if !inner.store.save(&self.sys, index, data) {
                return false;
            }
            self.sys
                .event("write_back", &[("index", index), ("pfn", pfn.0)]);
        }
        inner.pages.remove(&index);
        drop(inner);
        self.sys.frames.with(pfn, |frame| frame.cached = false);
        self.sys.frames.put(pfn);
        true
    }

    /// Notes that the contents of `index` are lost, until they are wholly written anew or cut off.
    pub fn lose(&self, index: u64) {
        self.inner().lost.insert(index);
    }

    /// The page of `index` is about to be written as a whole.
    pub fn forget_loss(&self, index: u64) {
        self.inner().lost.remove(&index);
    }
}

impl Drop for PageCache {
    fn drop(&mut self) {
        // A second panic would end the program; the run is over anyway.
        if std::thread::panicking() {
            return;
        }
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.store.truncate(&self.sys, 0);
        for pfn in std::mem::take(&mut inner.pages).into_values() {
            self.sys.frames.with(pfn, |f| f.cached = false);
            self.sys.frames.put(pfn);
        }
    }
}
