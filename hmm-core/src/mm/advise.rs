//! madvise, and taking memory back from a dying process.

use std::sync::Arc;

use crate::addr::Va;
use crate::errno::Errno;
use crate::mm::{Mm, zap_range};
use crate::notifier::{MmuNotifierRange, MmuNotifyEvent};
use crate::vma::Advice;
use crate::vma_tree::user_range;

impl Mm {
    /// Advice about `len` bytes (rounded up to pages).
    ///
    /// # Errors
    /// EINVAL for a bad range, ENOMEM when part of it is not mapped (the rest was done), ESRCH for a dead process.
    pub fn madvise(self: &Arc<Mm>, start: Va, len: u64, advice: Advice) -> Result<(), Errno> {
        let end = user_range(start, len)?;
        let guard = self.mmap_read_lock();
        self.check_alive()?;
        match advice {
            Advice::DontNeed => {
                for vma in guard.vmas.overlapping(start, end) {
                    self.zap(
                        vma.start.max(start),
                        vma.end.min(end),
                        MmuNotifyEvent::Clear,
                    );
                }
            }
        }
        if guard.vmas.covers(start, end) {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// What the OOM reaper does to its victim: frees private memory without waiting for subscribers. What
    /// a subscriber cannot give up at once stays.
    ///
    /// # Errors
    /// EAGAIN when something stayed or the mappings are locked.
    pub fn oom_reap(self: &Arc<Mm>) -> Result<(), Errno> {
        let vmas = self.vmas.try_read().ok_or(Errno::EAGAIN)?;
        let mut result = Ok(());
        for vma in vmas.iter().filter(|vma| vma.is_private()) {
            let range = MmuNotifierRange {
                start: vma.start,
                end: vma.end,
                event: MmuNotifyEvent::Clear,
                owner: 0,
                blockable: false,
            };
            match self.subs.try_start(&self.sys, range) {
                Ok(invalidation) => {
                    let (first, last) = (vma.start.page(), vma.end.page());
                    let freed = zap_range(&self.sys, self.id, &mut self.pt.lock(), first, last);
                    self.sys.frames.put_all(freed);
                    drop(invalidation);
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }
}
