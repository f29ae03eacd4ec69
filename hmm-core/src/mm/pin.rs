//! Long-term pins of user pages (pin_user_pages with FOLL_LONGTERM).

use std::sync::Arc;

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::mm::Mm;
use crate::pte::{PresentPte, Pte};
use crate::system::System;
use crate::vma_tree::{Vma, user_range};

/// Pages that [`Mm::pin`] holds; dropping it unpins them. Pinned pages never move.
pub struct PinnedPages {
    sys: Arc<System>,
    pfns: Vec<Pfn>,
}

impl PinnedPages {
    /// The pages, in order of their addresses.
    pub fn pfns(&self) -> &[Pfn] {
        &self.pfns
    }

    /// Unpins, as dropping does.
    pub fn release(self) {}
}

impl Drop for PinnedPages {
    fn drop(&mut self) {
        // A second panic would end the program; the run is over anyway.
        if std::thread::panicking() {
            return;
        }
        for pfn in std::mem::take(&mut self.pfns) {
            self.sys.frames.with(pfn, |frame| frame.pins -= 1);
            self.sys.frames.put(pfn);
        }
    }
}

impl Mm {
    /// Pins `pages` pages from `va` on, for writing where the mapping allows it. Pages in device memory
    /// come home first; pages shared after a fork are copied, so that the pin holds this process's own.
    ///
    /// # Errors
    /// EINVAL for a bad range, EFAULT where nothing readable is mapped or a page cannot be had; nothing is
    /// pinned then. ESRCH for a dead process.
    pub fn pin(self: &Arc<Mm>, va: Va, pages: u64) -> Result<PinnedPages, Errno> {
        let end = user_range(va, pages.checked_mul(PAGE_SIZE).ok_or(Errno::EINVAL)?)?;
        let mut pinned = PinnedPages {
            sys: Arc::clone(&self.sys),
            pfns: Vec::new(),
        };
        for page in va.page()..end.page() {
            let pfn = self.pin_page(Va::of_page(page))?;
            pinned.pfns.push(pfn);
        }
        Ok(pinned)
    }

    fn pin_page(self: &Arc<Mm>, va: Va) -> Result<Pfn, Errno> {
        let guard = self.mmap_read_lock();
        self.check_alive()?;
        let vma = guard
            .vma(va)
            .filter(|vma| vma.prot.read)
            .ok_or(Errno::EFAULT)?;
        loop {
            if let Some(pfn) = self.try_pin(va, vma) {
                self.sys
                    .event("pin", &[("mm", self.id), ("addr", va.0), ("pfn", pfn.0)]);
                return Ok(pfn);
            }
            let flags = FaultFlags {
                write: vma.prot.write,
                unshare: !vma.prot.write,
            };
            handle_mm_fault(&guard, vma, va, flags).map_err(|_| Errno::EFAULT)?;
        }
    }

    fn try_pin(&self, va: Va, vma: &Vma) -> Option<Pfn> {
        let pt = self.pt.lock();
        let Pte::Present(PresentPte {
            pfn,
            write,
            none: false,
            ..
        }) = pt.get(va.page())
        else {
            return None;
        };
        if self.sys.is_zero_page(pfn) || (vma.prot.write && !write) {
            return None;
        }
        self.sys.frames.with(pfn, |frame| {
            if !frame.is_own(vma.is_private()) {
                return None;
            }
            frame.refs += 1;
            frame.pins += 1;
            Some(pfn)
        })
    }
}
