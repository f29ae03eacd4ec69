//! Device memory that has page structures (ZONE_DEVICE).

use std::sync::Arc;

use thiserror::Error;

use crate::addr::{Pfn, Va};
use crate::errno::Errno;
use crate::mm::{Mm, MmapReadGuard};
use crate::system::System;

/// What a fault could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VmFault {
    /// No memory; the fault can be tried again.
    #[error("out of memory")]
    Oom,
    /// The page is lost or does not exist.
    #[error("bus error")]
    Sigbus,
    /// The page has to be provided by a user-fault handler, and mmap_lock dropped for that.
    #[error("waits for a user-fault handler")]
    Retry,
}

/// Kind of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceMemory {
    /// The CPU cannot address it: a CPU access brings the page home.
    Private,
    /// The CPU reaches it with ordinary loads and stores, through [`DevPagemapOps::cpu_read`] and
    /// [`DevPagemapOps::cpu_write`].
    Coherent,
}

/// A CPU fault on a device-private page. The fault path has the page locked and referenced.
pub struct DevFault<'a> {
    /// mmap_lock, held by the fault path.
    pub guard: &'a MmapReadGuard<'a>,
    /// The faulting address, page aligned.
    pub va: Va,
    /// The device page there.
    pub pfn: Pfn,
    /// First address of the mapping.
    pub vma_start: Va,
    /// One past its last address.
    pub vma_end: Va,
    /// log2 of the pages that the page table maps here by one entry, 0 or
    /// [`HUGE_ORDER`](crate::HUGE_ORDER). Only the faulting page must come home; a compound migration of
    /// [`DevFault::huge_start`] brings them all, still as one.
    pub order: u32,
}

impl DevFault<'_> {
    /// Where the 2 MiB begin that are mapped by one entry, if they are.
    pub fn huge_start(&self) -> Option<Va> {
        (self.order > 0).then(|| self.va.huge_align_down())
    }

    /// The faulting process.
    pub fn mm(&self) -> &Arc<Mm> {
        self.guard.mm()
    }
}

/// What a driver does for its device memory.
pub trait DevPagemapOps: Send + Sync {
    /// Brings the page of the fault back to system memory, by a migration with `fault_page` set. Page locks
    /// and mmap_lock are held. Success without the page being home makes the access fault again.
    ///
    /// # Errors
    /// [`VmFault::Oom`] when there is no memory, [`VmFault::Sigbus`] when the page's contents are lost.
    fn migrate_to_ram(&self, fault: &DevFault<'_>) -> Result<(), VmFault>;

    /// The last reference is gone: the page can be given out again. Called with mmap_lock or page locks
    /// held, so it takes only a lock under which nothing else is called.
    fn folio_free(&self, pfn: Pfn);

    /// A CPU load from coherent memory: copies bytes of one page, from byte `offset` on. Called with the
    /// page table locked, so it takes only a lock under which nothing else is called.
    ///
    /// # Errors
    /// [`VmFault::Sigbus`] when the memory does not answer, or is not coherent (the default).
    fn cpu_read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) -> Result<(), VmFault> {
        let _ = (pfn, offset, buf);
        Err(VmFault::Sigbus)
    }

    /// A CPU store to coherent memory; see [`DevPagemapOps::cpu_read`].
    ///
    /// # Errors
    /// As [`DevPagemapOps::cpu_read`].
    fn cpu_write(&self, pfn: Pfn, offset: usize, data: &[u8]) -> Result<(), VmFault> {
        let _ = (pfn, offset, data);
        Err(VmFault::Sigbus)
    }
}

/// A range of device memory with page structures.
pub struct DevPagemap {
    sys: Arc<System>,
    kind: DeviceMemory,
    base: Pfn,
    pages: u64,
    owner: u64,
}

impl DevPagemap {
    /// Adds `npages` of device memory in a free range of page numbers. `owner` tells devices apart.
    ///
    /// # Errors
    /// EINVAL for no pages or an owner of 0, ENOMEM when there is no room for so many.
    pub fn new(
        sys: &Arc<System>,
        kind: DeviceMemory,
        npages: u64,
        owner: u64,
        ops: Arc<dyn DevPagemapOps>,
    ) -> Result<Arc<DevPagemap>, Errno> {
        if npages == 0 || owner == 0 {
            return Err(Errno::EINVAL);
        }
        let base = sys
            .frames
            .add_device(kind, npages, owner, ops)
            .ok_or(Errno::ENOMEM)?;
        sys.event("device_memory", &[("pfn", base.0), ("pages", npages)]);
        Ok(Arc::new(DevPagemap {
            sys: Arc::clone(sys),
            kind,
            base,
            pages: npages,
            owner,
        }))
    }

    /// Its kind.
    pub fn kind(&self) -> DeviceMemory {
        self.kind
    }

    /// The first page.
    pub fn base(&self) -> Pfn {
        self.base
    }

    /// Number of pages.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Who owns it.
    pub fn owner(&self) -> u64 {
        self.owner
    }

    /// Whether a page is in this range.
    pub fn contains(&self, pfn: Pfn) -> bool {
        pfn >= self.base && pfn - self.base < self.pages
    }

    /// Takes a free page into use (zone_device_page_init): one reference, locked. Panics if it is in use.
    pub fn init_page(&self, pfn: Pfn) {
        assert!(self.contains(pfn), "{pfn} is not of this device");
        self.sys.frames.init_device_page(pfn);
    }

    /// Takes `1 << order` free pages into use, each as by [`DevPagemap::init_page`]; `pfn` is a multiple of
    /// that count. Panics if one is in use. They are freed one by one.
    pub fn init_folio(&self, pfn: Pfn, order: u32) {
        assert!(
            pfn.0.is_multiple_of(1 << order),
            "{pfn} cannot begin a folio of order {order}"
        );
        for n in 0..1 << order {
            self.init_page(pfn + n);
        }
    }

    /// Pages in use.
    pub fn used(&self) -> u64 {
        self.sys.frames.device_used(self.base)
    }

    /// Pages that memory failures took ([`Mm::poison`](crate::Mm::poison)) and that nobody has any more. The driver
    /// does not get them back: its `folio_free` is not called for them.
    pub fn lost(&self) -> u64 {
        self.sys.frames.device_lost(self.base)
    }

    /// Takes the range away: forbids new pages and waits until all are free, so evict them first and hold
    /// no lock that this needs. Then lets go of the driver. A second call does nothing.
    pub fn remove(&self) {
        self.sys.frames.remove_device(self.base);
    }
}

/// A driver that gives up without [`DevPagemap::remove`], halfway through its start maybe, leaves nothing
/// behind: no page comes into use any more, and the last one that is in use lets go of the driver.
impl Drop for DevPagemap {
    fn drop(&mut self) {
        // A second panic would end the program; the run is over anyway.
        if !std::thread::panicking() {
            self.sys.frames.abandon_device(self.base);
        }
    }
}
