//! Memory whose contents a thread of the program provides, page by page, when it is first touched
//! (userfaultfd in mode MISSING).
//!
//! A fault on a missing page of a registered range is told to the handler ([`UserFault::wait`]) and waits, with
//! mmap_lock dropped, until the handler has filled the page ([`UserFault::copy`], [`UserFault::zero`]) or the
//! range is not registered any more. Callers that have to keep mmap_lock get an error instead
//! ([`crate::hmm_range_fault`]: EFAULT); for devices there is [`crate::hmm_range_fault_unlocked`].

mod fill;
mod queue;

use std::sync::Arc;

pub use queue::UserFaultEvent;
pub(crate) use queue::{Queue, Waiter};

use crate::addr::Va;
use crate::errno::Errno;
use crate::mm::{Mm, MmapReadGuard};
use crate::pte::Pte;
use crate::vma_tree::{Vma, VmaTree, user_range};

/// A registered range, for its handler. Dropping it ends the registration: who waits then finds ordinary
/// memory. Drop it without holding mmap_lock.
pub struct UserFault {
    mm: Arc<Mm>,
    queue: Arc<Queue>,
}

impl Mm {
    /// Registers `len` bytes (rounded up to pages) of private memory: from now on somebody has to provide
    /// the pages that are missing there. What is unmapped or moved away leaves the registration; children of
    /// a fork do not inherit it.
    ///
    /// # Errors
    /// EINVAL for a bad range, or one that is not all private memory without a file; EBUSY when part of it
    /// is registered already; ESRCH for a dead process.
    pub fn userfault(self: &Arc<Mm>, va: Va, len: u64) -> Result<UserFault, Errno> {
        let end = user_range(va, len)?;
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        let parts = vmas.overlapping(va, end);
        if !vmas.covers(va, end) || parts.iter().any(|vma| !vma.is_anon() || vma.is_hugetlb()) {
            return Err(Errno::EINVAL);
        }
        if parts.iter().any(|vma| vma.userfault.is_some()) {
            return Err(Errno::EBUSY);
        }
        let queue = Queue::new();
        for part in vmas.take(va, end) {
            vmas.insert(Vma {
                userfault: Some(Arc::clone(&queue)),
                ..part
            });
        }
        // A huge entry lies in one mapping.
        let mut pt = self.pt.lock();
        pt.split_before(va.page());
        pt.split_before(end.page());
        drop(pt);
        Ok(UserFault {
            mm: Arc::clone(self),
            queue,
        })
    }

    /// Tells the handlers of `parts`, which are mapped no more, and whoever waits there.
    pub(crate) fn userfault_unmapped(&self, vma: &Vma) {
        if let Some(queue) = &vma.userfault {
            queue.gone(vma.start, vma.end);
        }
    }
}

impl UserFault {
    /// The next event, waiting for one.
    ///
    /// # Errors
    /// ESRCH when the process has ended and all its events were given out.
    pub fn wait(&self) -> Result<UserFaultEvent, Errno> {
        self.queue.next()
    }

    /// The next event, if there is one.
    pub fn try_wait(&self) -> Option<UserFaultEvent> {
        self.queue.try_next()
    }

    /// Ends the registration, as dropping does.
    pub fn unregister(self) {}

    fn covers(&self, vma: &Vma) -> bool {
        vma.userfault
            .as_ref()
            .is_some_and(|queue| Arc::ptr_eq(queue, &self.queue))
    }

    fn leave(&self, vmas: &mut VmaTree) {
        let ours: Vec<(Va, Va)> = vmas
            .iter()
            .filter(|vma| self.covers(vma))
            .map(|vma| (vma.start, vma.end))
            .collect();
        for (start, end) in ours {
            for part in vmas.take(start, end) {
                vmas.insert(Vma {
                    userfault: None,
                    ..part
                });
            }
        }
    }
}

impl Drop for UserFault {
    fn drop(&mut self) {
        // A second panic would end the program; the run is over anyway.
        if std::thread::panicking() {
            return;
        }
        self.leave(&mut self.mm.vmas.write());
        self.queue.close();
    }
}

impl MmapReadGuard<'_> {
    /// After a fault at `va` that ended in `VmFault::Retry`: tells the handler, unless somebody has filled the
    /// page meanwhile. The result is to be waited for once this guard is dropped.
    pub(crate) fn missing(&self, va: Va, write: bool) -> Waiter {
        let queue = self.vma(va).and_then(|vma| vma.userfault.as_ref());
        if let Some(queue) = queue {
            let pt = &self.mm().pt;
            queue.enter(va, write, || pt.lock().get(va.page()) == Pte::None);
        }
        Waiter::new(queue, va)
    }
}
