//! Processes' address spaces.

use std::sync::Arc;

use crate::addr::Va;
use crate::errno::Errno;
use crate::system::System;
use crate::vma::{Advice, MmapOptions, MremapOptions, Prot, VmaInfo};

/// Pages that a process has, by kind. Pages in device memory count as what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rss {
    /// Anonymous pages.
    pub anon: u64,
    /// Pages of files.
    pub file: u64,
    /// Pages of shared anonymous memory.
    pub shmem: u64,
}

/// What Linux's pagemap would tell of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagemapEntry {
    /// Nothing there.
    None,
    /// In system memory.
    Present,
    /// Elsewhere: device-private pages read as swapped.
    Swap,
}

/// The address space of a process.
pub struct Mm {}

/// Holds an address space's mappings still (mmap_lock for reading). Do not take it twice in one thread.
pub struct MmapReadGuard<'a> {
    mm: &'a Arc<Mm>,
}

impl<'a> MmapReadGuard<'a> {
    /// Whose lock it is.
    pub fn mm(&self) -> &'a Arc<Mm> {
        self.mm
    }
    /// The mapping that holds `va`.
    pub fn find_vma(&self, _va: Va) -> Option<VmaInfo> {
        None
    }
}

/// Pages that [`Mm::pin`] holds; dropping it unpins them.
pub struct PinnedPages {}

impl Mm {
    /// A number that no other address space of the system has or had.
    pub fn id(&self) -> u64 {
        0
    }
    /// The system it belongs to.
    pub fn system(&self) -> &Arc<System> {
        unreachable!()
    }
    /// False once [`Mm::exit`] began.
    pub fn is_alive(&self) -> bool {
        false
    }
    /// Takes mmap_lock for reading. Works on a dead address space too: then it has no mappings.
    pub fn mmap_read_lock(self: &Arc<Mm>) -> MmapReadGuard<'_> {
        MmapReadGuard { mm: self }
    }
    /// Maps `len` bytes of zeros.
    pub fn mmap(&self, _len: u64, _prot: Prot, _options: MmapOptions) -> Result<Va, Errno> {
        Err(Errno::ENOMEM)
    }
    /// Unmaps.
    pub fn munmap(&self, _start: Va, _len: u64) -> Result<(), Errno> {
        Err(Errno::ENOMEM)
    }
    /// Changes the allowed accesses.
    pub fn mprotect(&self, _start: Va, _len: u64, _prot: Prot) -> Result<(), Errno> {
        Err(Errno::ENOMEM)
    }
    /// Advice about a range.
    pub fn madvise(&self, _start: Va, _len: u64, _advice: Advice) -> Result<(), Errno> {
        Err(Errno::ENOMEM)
    }
    /// Moves or resizes a mapping.
    pub fn mremap(&self, _old: Va, _old_len: u64, _new_len: u64, _options: MremapOptions) -> Result<Va, Errno> {
        Err(Errno::ENOMEM)
    }
    /// A copy of the process; private memory is copied on write.
    pub fn fork(self: &Arc<Mm>) -> Result<Arc<Mm>, Errno> {
        Err(Errno::ENOMEM)
    }
    /// Ends the process: notifiers get a release, all its pages are freed.
    pub fn exit(self: &Arc<Mm>) {}
    /// A CPU load of any size.
    pub fn load(self: &Arc<Mm>, _va: Va, _buf: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::SIGSEGV)
    }
    /// A CPU store of any size.
    pub fn store(self: &Arc<Mm>, _va: Va, _data: &[u8]) -> Result<(), Errno> {
        Err(Errno::SIGSEGV)
    }
    /// Its pages.
    pub fn rss(&self) -> Rss {
        Rss::default()
    }
    /// What pagemap shows.
    pub fn pagemap(&self, _va: Va) -> PagemapEntry {
        PagemapEntry::None
    }
    /// Pins pages for a long time.
    pub fn pin(self: &Arc<Mm>, _va: Va, _pages: u64) -> Result<PinnedPages, Errno> {
        Err(Errno::EFAULT)
    }
}
