//! Device memory that has pages.

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
}

/// Kind of device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceMemory {
    /// The CPU cannot address it: a CPU access brings the page home.
    Private,
}

/// A CPU fault on a device-private page. The page is locked and referenced by the fault path.
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
}

impl DevFault<'_> {
    /// The faulting process.
    pub fn mm(&self) -> &Arc<Mm> {
        self.guard.mm()
    }
}

/// What a driver does for its device memory.
pub trait DevPagemapOps: Send + Sync {
    /// Brings the page of the fault back to system memory, through `migrate_vma_*` with `fault_page` set.
    /// Page locks and mmap_lock are held: no lock may be taken under which the driver calls hmm-core.
    fn migrate_to_ram(&self, fault: &DevFault<'_>) -> Result<(), VmFault>;
    /// The last reference is gone: the page can be given out again. Must not wait.
    fn folio_free(&self, pfn: Pfn);
}

/// A range of device memory with page structures.
pub struct DevPagemap {}

impl DevPagemap {
    /// Adds `npages` of device memory. `owner` (not 0) tells devices apart.
    pub fn new(
        _sys: &Arc<System>,
        _kind: DeviceMemory,
        _npages: u64,
        _owner: u64,
        _ops: Arc<dyn DevPagemapOps>,
    ) -> Result<Arc<DevPagemap>, Errno> {
        Err(Errno::EINVAL)
    }
    /// The first page.
    pub fn base(&self) -> Pfn {
        Pfn(0)
    }
    /// Number of pages.
    pub fn pages(&self) -> u64 {
        0
    }
    /// Who owns it.
    pub fn owner(&self) -> u64 {
        0
    }
    /// Takes a free page into use (zone_device_page_init): reference count 1, locked.
    pub fn init_page(&self, _pfn: Pfn) {}
    /// Pages in use.
    pub fn used(&self) -> u64 {
        0
    }
    /// Takes the range away; waits until all its pages are free (evict them first).
    pub fn remove(&self) {}
}
