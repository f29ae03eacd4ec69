//! References to user pages: long-term pins (pin_user_pages with FOLL_LONGTERM) and short ones (get_user_pages).

use std::sync::Arc;

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::frame::Frame;
use crate::memremap::VmFault;
use crate::migrate::bring_coherent_home;
use crate::mm::Mm;
use crate::pte::{PresentPte, Pte};
use crate::system::System;
use crate::userfault::Waiter;
use crate::vma_tree::{Vma, user_range};

/// How long a reference is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Term {
    /// For as long as the user likes: in system memory, and the process's own page.
    Long,
    /// For an operation.
    Short,
}

impl Term {
    fn count(self, frame: &mut Frame) -> &mut u32 {
        match self {
            Term::Long => &mut frame.pins,
            Term::Short => &mut frame.gets,
        }
    }
}

/// Pages that [`Mm::pin`] or [`Mm::get_user_pages`] holds; dropping it lets them go. Until then they never move.
pub struct PinnedPages {
    sys: Arc<System>,
    term: Term,
    pfns: Vec<Pfn>,
}

impl PinnedPages {
    /// The pages, in order of their addresses.
    pub fn pfns(&self) -> &[Pfn] {
        &self.pfns
    }

    /// Lets go, as dropping does.
    pub fn release(self) {}
}

impl Drop for PinnedPages {
    fn drop(&mut self) {
        // A second panic would end the program; the run is over anyway.
        if std::thread::panicking() {
            return;
        }
        for pfn in std::mem::take(&mut self.pfns) {
            self.sys
                .frames
                .with(pfn, |frame| *self.term.count(frame) -= 1);
            self.sys.frames.put(pfn);
        }
    }
}

/// What a page needs before it can be held.
enum Need {
    Fault,
    /// A long-term pin must not hold device memory.
    Home(Pfn),
}

impl Mm {
    /// Pins `pages` pages from `va` on, for writing where the mapping allows it. Pages in device memory,
    /// coherent too, come home first; pages shared after a fork are copied, so that the pin holds this
    /// process's own.
    ///
    /// # Errors
    /// EINVAL for a bad range, EFAULT where nothing readable is mapped or a page cannot be had, EBUSY when
    /// others hold a page in coherent memory, ENOMEM when there is no memory to bring one home to; nothing
    /// is pinned then.
    pub fn pin(self: &Arc<Mm>, va: Va, pages: u64) -> Result<PinnedPages, Errno> {
        self.hold(va, pages, Term::Long)
    }

    /// References to `pages` pages from `va` on for a short operation, for writing where the mapping allows it.
    /// Device-private pages come home first, coherent ones stay where they are. A fork while they are held
    /// may leave the reference with the child's page.
    ///
    /// # Errors
    /// EINVAL for a bad range, EFAULT where nothing readable is mapped or a page cannot be had; nothing is
    /// held then.
    pub fn get_user_pages(self: &Arc<Mm>, va: Va, pages: u64) -> Result<PinnedPages, Errno> {
        self.hold(va, pages, Term::Short)
    }

    fn hold(self: &Arc<Mm>, va: Va, pages: u64, term: Term) -> Result<PinnedPages, Errno> {
        let end = user_range(va, pages.checked_mul(PAGE_SIZE).ok_or(Errno::EINVAL)?)?;
        let mut held = PinnedPages {
            sys: Arc::clone(&self.sys),
            term,
            pfns: Vec::new(),
        };
        for page in va.page()..end.page() {
            let pfn = self.hold_page(Va::of_page(page), term)?;
            held.pfns.push(pfn);
        }
        Ok(held)
    }

    fn hold_page(self: &Arc<Mm>, va: Va, term: Term) -> Result<Pfn, Errno> {
        loop {
            match self.hold_unless_missing(va, term)? {
                Ok(pfn) => return Ok(pfn),
                Err(missing) => missing.wait(),
            }
        }
    }

    fn hold_unless_missing(
        self: &Arc<Mm>,
        va: Va,
        term: Term,
    ) -> Result<Result<Pfn, Waiter>, Errno> {
        let guard = self.mmap_read_lock();
        self.check_alive()?;
        let vma = guard
            .vma(va)
            .filter(|vma| vma.prot.read)
            .ok_or(Errno::EFAULT)?;
        loop {
            match self.try_hold(va, vma, term) {
                Ok(pfn) => {
                    self.sys
                        .event("pin", &[("mm", self.id), ("addr", va.0), ("pfn", pfn.0)]);
                    return Ok(Ok(pfn));
                }
                Err(Need::Home(pfn)) => bring_coherent_home(&self.sys, pfn)?,
                Err(Need::Fault) => {
                    let flags = FaultFlags {
                        write: vma.prot.write,
                        unshare: !vma.prot.write && term == Term::Long,
                    };
                    match handle_mm_fault(&guard, vma, va, flags) {
                        Ok(()) => {}
                        Err(VmFault::Retry) => return Ok(Err(guard.missing(va, flags.write))),
                        Err(_) => return Err(Errno::EFAULT),
                    }
                }
            }
        }
    }

    fn try_hold(&self, va: Va, vma: &Vma, term: Term) -> Result<Pfn, Need> {
        let pt = self.pt.lock();
        let Pte::Present(PresentPte {
            pfn,
            write,
            none: false,
            ..
        }) = pt.get(va.page())
        else {
            return Err(Need::Fault);
        };
        if vma.prot.write && !write {
            return Err(Need::Fault);
        }
        if term == Term::Long && self.sys.is_zero_page(pfn) {
            return Err(Need::Fault);
        }
        self.sys.frames.with(pfn, |frame| {
            if term == Term::Long && !frame.is_own(vma.is_private()) {
                return Err(Need::Fault);
            }
            if term == Term::Long && pfn.is_device() {
                return Err(Need::Home(pfn));
            }
            frame.refs += 1;
            *term.count(frame) += 1;
            Ok(pfn)
        })
    }
}
