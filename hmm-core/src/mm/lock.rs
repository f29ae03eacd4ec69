//! mlock: memory that reclaim leaves alone.

use std::sync::Arc;

use crate::addr::{PAGE_SIZE, Va};
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::memremap::VmFault;
use crate::mm::{Mm, MmapReadGuard};
use crate::pte::{PresentPte, Pte};
use crate::vma_tree::{Vma, VmaTree, user_range};

impl Mm {
    /// Keeps the pages that hold `len` bytes from `start` on in memory, and brings them there. They may still
    /// migrate to a device. Children of a fork do not inherit it.
    ///
    /// # Errors
    /// EINVAL for a range beyond the user half, ENOMEM when part of it is not mapped (nothing is locked then),
    /// ESRCH for a dead process. ENOMEM when a page cannot be accessed and EAGAIN when there is no memory for
    /// it: the range is locked all the same.
    pub fn mlock(self: &Arc<Mm>, start: Va, len: u64) -> Result<(), Errno> {
        let Some((start, end)) = whole_pages(start, len)? else {
            return Ok(());
        };
        self.sys.event(
            "mlock",
            &[("mm", self.id), ("addr", start.0), ("len", end - start)],
        );
        self.set_locked(start, end, true)?;
        for page in start.page()..end.page() {
            self.populate(Va::of_page(page))?;
        }
        Ok(())
    }

    /// Undoes [`Mm::mlock`] for the pages that hold `len` bytes from `start` on; locks do not add up.
    ///
    /// # Errors
    /// EINVAL for a range beyond the user half, ENOMEM when part of it is not mapped (nothing is unlocked then),
    /// ESRCH for a dead process.
    pub fn munlock(self: &Arc<Mm>, start: Va, len: u64) -> Result<(), Errno> {
        let Some((start, end)) = whole_pages(start, len)? else {
            return Ok(());
        };
        self.sys.event(
            "munlock",
            &[("mm", self.id), ("addr", start.0), ("len", end - start)],
        );
        self.set_locked(start, end, false)
    }

    /// Pages of locked mappings (VmLck).
    pub fn locked_pages(self: &Arc<Mm>) -> u64 {
        let guard = self.mmap_read_lock();
        let locked = guard.vmas.iter().filter(|vma| vma.flags.locked);
        locked.map(|vma| vma.end.page() - vma.start.page()).sum()
    }

    fn set_locked(&self, start: Va, end: Va, locked: bool) -> Result<(), Errno> {
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        if !vmas.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        vmas.check_huge_edges(start, end)?;
        self.change_vmas(&mut vmas, start, end, |vma| vma.flags.locked = locked);
        self.note_locked(&vmas);
        Ok(())
    }

    /// Tells reclaim where the mappings are locked now.
    pub(crate) fn note_locked(&self, vmas: &VmaTree) {
        let locked = vmas.iter().filter(|vma| vma.flags.locked);
        let ranges = locked.map(|vma| (vma.start.page(), vma.end.page()));
        self.pt.lock().set_locked(ranges.collect());
    }

    pub(super) fn is_locked(&self, va: Va) -> bool {
        self.pt.lock().is_locked(va.page())
    }

    /// Faults a page of a locked mapping in, for writing where that gives the process its own.
    pub(super) fn populate(self: &Arc<Mm>, va: Va) -> Result<(), Errno> {
        loop {
            let guard = self.mmap_read_lock();
            self.check_alive()?;
            let Some(vma) = guard.vma(va).filter(|vma| vma.flags.locked) else {
                // Somebody changed the mappings meanwhile.
                return Ok(());
            };
            if !vma.prot.read {
                return Err(Errno::ENOMEM);
            }
            if self.populated(vma, va, &guard)? {
                return Ok(());
            }
        }
    }

    fn populated(&self, vma: &Vma, va: Va, guard: &MmapReadGuard<'_>) -> Result<bool, Errno> {
        let write = vma.prot.write && vma.is_private();
        if let Pte::Present(PresentPte { write: can, .. }) = self.pt.lock().get(va.page())
            && (can || !write)
        {
            return Ok(true);
        }
        let flags = FaultFlags {
            write,
            unshare: false,
        };
        match handle_mm_fault(guard, vma, va, flags) {
            Ok(()) => Ok(false),
            Err(VmFault::Oom | VmFault::Retry) => Err(Errno::EAGAIN),
            Err(VmFault::Sigbus) => Err(Errno::ENOMEM),
        }
    }
}

/// The pages that hold `len` bytes from `start` on; none for no bytes.
fn whole_pages(start: Va, len: u64) -> Result<Option<(Va, Va)>, Errno> {
    if len == 0 {
        return Ok(None);
    }
    let len = len
        .checked_add(start.offset() as u64)
        .filter(|&len| len <= u64::MAX - PAGE_SIZE)
        .ok_or(Errno::EINVAL)?;
    let start = start.align_down();
    Ok(Some((start, user_range(start, len)?)))
}
