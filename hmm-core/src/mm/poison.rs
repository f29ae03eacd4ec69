//! Pages that a memory failure took (hwpoison).

use std::sync::Arc;

use crate::addr::{Pfn, TASK_SIZE, Va};
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::mm::{Mm, MmapReadGuard};
use crate::pte::Pte;
use crate::rmap::{Unmap, replace_migration_entries, unmap};
use crate::sync;
use crate::vma_tree::Vma;

impl Mm {
    /// The page at `va` fails: it is taken out of all page tables and never used again. Who had its only
    /// contents gets SIGBUS from the CPU and EFAULT from a device; a page of a file that is on disk as it was in
    /// memory is read again on the next access. A page in device memory stays there and its driver is not
    /// asked. Somebody who has the page pinned keeps it until it is unpinned. Where there is no page yet,
    /// the process gets one first.
    ///
    /// # Errors
    /// EHWPOISON when the page is lost already, EFAULT where nothing readable is mapped or no page can be had,
    /// EINVAL for an address beyond the user half, EOPNOTSUPP for hugetlb memory, ESRCH for a dead process.
    pub fn poison(self: &Arc<Mm>, va: Va) -> Result<(), Errno> {
        if va.0 >= TASK_SIZE {
            return Err(Errno::EINVAL);
        }
        let va = va.align_down();
        let guard = self.mmap_read_lock();
        self.check_alive()?;
        let vma = guard.vma(va).ok_or(Errno::EFAULT)?;
        if vma.is_hugetlb() {
            return Err(Errno::EOPNOTSUPP);
        }
        loop {
            let Some(pfn) = self.take_page(&guard, vma, va)? else {
                continue;
            };
            self.sys.frames.lock(pfn);
            let there = self.pt.lock().get(va.page()).pfn() == Some(pfn);
            if there {
                self.fail_page(vma, va, pfn);
            }
            self.sys.frames.unlock(pfn);
            self.sys.frames.put(pfn);
            if there {
                return Ok(());
            }
        }
    }

    /// The page at `va` with a reference; none if it is to be looked at again.
    fn take_page(
        &self,
        guard: &MmapReadGuard<'_>,
        vma: &Vma,
        va: Va,
    ) -> Result<Option<Pfn>, Errno> {
        let pt = self.pt.lock();
        let pte = pt.get(va.page());
        match pte {
            Pte::Poison => return Err(Errno::EHWPOISON),
            Pte::Migration { pfn, .. } => {
                drop(pt);
                self.sys.frames.wait_unlocked(pfn);
                sync::preempt();
                return Ok(None);
            }
            _ => {}
        }
        if let Some(pfn) = pte.pfn().filter(|&pfn| !self.sys.is_zero_page(pfn)) {
            self.sys.frames.get(pfn);
            return Ok(Some(pfn));
        }
        drop(pt);
        if !vma.prot.read {
            return Err(Errno::EFAULT);
        }
        // Instead of the zero page the process gets a page of its own.
        let flags = FaultFlags {
            write: false,
            unshare: vma.is_anon(),
        };
        handle_mm_fault(guard, vma, va, flags).map_err(|_| Errno::EFAULT)?;
        Ok(None)
    }

    /// `pfn` is locked, referenced, and mapped at `va`.
    fn fail_page(&self, vma: &Vma, va: Va, pfn: Pfn) {
        let sys = &self.sys;
        sys.frames.poison(pfn);
        let cached = sys.frames.with(pfn, |frame| frame.cached);
        let object = vma.object_page(va).filter(|_| cached);
        // Out of the object first: then no fault can map it again.
        if let Some((object, index)) = object {
            object.remove(index, pfn);
        }
        unmap(sys, pfn, Unmap::Poison);
        let lost = sys.frames.with(pfn, |frame| frame.anon || frame.dirty);
        if let Some((object, index)) = object.filter(|_| lost) {
            object.lose(index);
        }
        let entry = if lost { Pte::Poison } else { Pte::None };
        replace_migration_entries(sys, pfn, |_| entry);
        sys.event(
            "poison",
            &[
                ("mm", self.id()),
                ("addr", va.0),
                ("pfn", pfn.0),
                ("lost", lost.into()),
            ],
        );
    }
}
