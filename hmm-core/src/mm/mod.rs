//! Processes' address spaces.

mod access;
mod advise;
mod collapse;
mod exit;
mod fork;
mod lock;
mod map;
mod mixed;
mod pagemap;
mod pin;
mod poison;
mod protect;
mod remap;
mod soft_dirty;
mod zap;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

pub use pagemap::{PagemapBits, PagemapEntry};
pub use pin::PinnedPages;
pub(crate) use zap::zap_range;

use crate::addr::{Pfn, Va};
use crate::frame::{Frame, Place};
use crate::memcg::Memcg;
use crate::notifier::{Invalidation, MmuNotifierRange, MmuNotifyEvent, Subscriptions};
use crate::pagetable::PageTable;
use crate::pte::Pte;
use crate::sync::{Mutex, RwLock, RwLockReadGuard};
use crate::system::System;
use crate::vma::VmaInfo;
use crate::vma_tree::{Vma, VmaTree};

/// Pages that a process has, by kind. Pages in device memory count as what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rss {
    /// Anonymous pages.
    pub anon: u64,
    /// Pages of files.
    pub file: u64,
    /// Pages of shared anonymous memory.
    pub shmem: u64,
    /// Pages of hugetlb mappings (4 KiB each), which Linux counts apart.
    pub hugetlb: u64,
}

impl Rss {
    /// The count that a page belongs to.
    pub(crate) fn of(&mut self, frame: &Frame) -> &mut u64 {
        if frame.hugetlb {
            return &mut self.hugetlb;
        }
        match (frame.anon, frame.file) {
            (true, _) => &mut self.anon,
            (false, true) => &mut self.file,
            (false, false) => &mut self.shmem,
        }
    }
}

/// The address space of a process. Dropping the last handle frees what [`Mm::exit`] has not, without
/// telling notifiers, so end a process with `exit`.
pub struct Mm {
    id: u64,
    sys: Arc<System>,
    memcg: Arc<Memcg>,
    alive: AtomicBool,
    pub(crate) vmas: RwLock<VmaTree>,
    pub(crate) pt: Mutex<PageTable>,
    pub(crate) subs: Arc<Subscriptions>,
    /// It uses the huge zero page, until it has no mappings any more.
    huge_zero: std::sync::Mutex<bool>,
}

/// Holds an address space's mappings still (mmap_lock for reading). Do not take it twice in one thread.
pub struct MmapReadGuard<'a> {
    mm: &'a Arc<Mm>,
    pub(crate) vmas: RwLockReadGuard<'a, VmaTree>,
}

impl<'a> MmapReadGuard<'a> {
    /// Whose lock it is.
    pub fn mm(&self) -> &'a Arc<Mm> {
        self.mm
    }

    /// The mapping that holds `va`.
    pub fn find_vma(&self, va: Va) -> Option<VmaInfo> {
        self.vmas.find(va).map(Vma::info)
    }

    /// The first mapping that ends after `va`.
    pub fn find_vma_from(&self, va: Va) -> Option<VmaInfo> {
        self.find_vma(va).or_else(|| {
            let mut later = self.vmas.overlapping_iter(va, Va(crate::addr::TASK_SIZE));
            later.next().map(Vma::info)
        })
    }

    pub(crate) fn vma(&self, va: Va) -> Option<&Vma> {
        self.vmas.find(va)
    }
}

impl Mm {
    pub(crate) fn new(id: u64, sys: Arc<System>, memcg: Arc<Memcg>) -> Mm {
        Mm {
            id,
            sys,
            memcg,
            alive: AtomicBool::new(true),
            vmas: RwLock::default(),
            pt: Mutex::new(PageTable::new()),
            subs: Subscriptions::new(),
            huge_zero: std::sync::Mutex::new(false),
        }
    }

    /// A number that no other address space of the system has or had.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The system it belongs to.
    pub fn system(&self) -> &Arc<System> {
        &self.sys
    }

    /// The control group that its pages are charged to; children of a fork stay in it.
    pub fn memcg(&self) -> &Arc<Memcg> {
        &self.memcg
    }

    /// False once [`Mm::exit`] began.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// Takes mmap_lock for reading. Works on a dead address space too: after its exit it has no mappings.
    #[track_caller]
    pub fn mmap_read_lock(self: &Arc<Mm>) -> MmapReadGuard<'_> {
        MmapReadGuard {
            mm: self,
            vmas: self.vmas.read(),
        }
    }

    /// Its pages.
    pub fn rss(&self) -> Rss {
        self.pt.lock().rss
    }

    /// The page table entry of `va`'s page, for tests and tools.
    pub fn pte(&self, va: Va) -> Pte {
        self.pt.lock().get(va.page())
    }

    /// The page table entries of `start..end` that hold something, in order of their addresses, as they are in
    /// one moment; for tests and tools. May be called under a driver's lock.
    pub fn ptes(&self, start: Va, end: Va) -> Vec<(Va, Pte)> {
        let entries = self.pt.lock().range(start.page(), end.page());
        entries
            .into_iter()
            .map(|(page, pte)| (Va::of_page(page), pte))
            .collect()
    }

    /// The huge zero page, which stays for this address space until its end. None without memory for it.
    pub(crate) fn use_huge_zero_page(&self) -> Option<Pfn> {
        let mut used = self
            .huge_zero
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let pfn = self.sys.huge_zero.get(&self.sys, !*used)?;
        *used = true;
        Some(pfn)
    }

    /// No entry names the huge zero page any more.
    pub(crate) fn drop_huge_zero_page(&self) {
        let mut used = self
            .huge_zero
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut *used) {
            self.sys.huge_zero.put(&self.sys);
        }
    }

    pub(crate) fn place(&self, page: u64) -> Place {
        Place { mm: self.id, page }
    }

    /// Tells subscribers that `start..end` changes; the section ends when the result is dropped.
    pub(crate) fn invalidate(&self, start: Va, end: Va, event: MmuNotifyEvent) -> Invalidation<'_> {
        self.invalidate_for(start, end, event, 0)
    }

    /// As [`Mm::invalidate`], on behalf of the device `owner`.
    pub(crate) fn invalidate_for(
        &self,
        start: Va,
        end: Va,
        event: MmuNotifyEvent,
        owner: u64,
    ) -> Invalidation<'_> {
        let range = MmuNotifierRange {
            start,
            end,
            event,
            owner,
            blockable: true,
        };
        self.subs.start(&self.sys, range)
    }
}

impl Drop for Mm {
    fn drop(&mut self) {
        // A second panic would end the program; the run is over anyway.
        if std::thread::panicking() {
            return;
        }
        self.sys.forget_mm(self.id);
        let freed = zap_range(&self.sys, self.id, self.pt.get_mut(), 0, u64::MAX);
        self.sys.frames.put_all(freed);
        self.drop_huge_zero_page();
    }
}
