//! Mappings of a driver's own pages (VM_MIXEDMAP, vm_insert_page).

use std::sync::Arc;

use crate::addr::Va;
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::memremap::VmFault;
use crate::mm::{Mm, MmapReadGuard};
use crate::page_cache::PageCache;
use crate::vma::{MmapOptions, Prot, VmaFlags};
use crate::vma_tree::Backing;

impl Mm {
    /// Maps `len` bytes (rounded up to pages) of zeroed pages that a driver provides, as a private mapping of
    /// its device file does: they are there at once, read-only until a store copies them, and devices can
    /// look at them. Pages of such a mapping never migrate.
    ///
    /// # Errors
    /// As [`Mm::mmap`]; ENOMEM also when there is no memory for the pages.
    pub fn mmap_mixed(self: &Arc<Mm>, len: u64, prot: Prot) -> Result<Va, Errno> {
        let backing = Backing::Object {
            object: PageCache::shmem(self.system()),
            offset: 0,
            private: true,
        };
        let flags = VmaFlags {
            mixed: true,
            ..VmaFlags::default()
        };
        let start = self.map_backing(len, prot, MmapOptions::default(), flags, backing)?;
        let populated = self.mmap_read_lock().populate(start);
        if let Err(fault) = populated {
            self.munmap(start, len)?;
            return Err(match fault {
                VmFault::Oom => Errno::ENOMEM,
                VmFault::Sigbus | VmFault::Retry => Errno::EFAULT,
            });
        }
        Ok(start)
    }
}

impl MmapReadGuard<'_> {
    /// Faults in every page of the mapping that begins at `start`, if it may be read.
    fn populate(&self, start: Va) -> Result<(), VmFault> {
        let Some(vma) = self.vma(start).filter(|vma| vma.prot.read) else {
            return Ok(());
        };
        for page in vma.start.page()..vma.end.page() {
            handle_mm_fault(self, vma, Va::of_page(page), FaultFlags::default())?;
        }
        Ok(())
    }
}
