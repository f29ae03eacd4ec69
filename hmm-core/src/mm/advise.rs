//! madvise, and taking memory back from a dying process.

use std::sync::Arc;

use crate::addr::Va;
use crate::errno::Errno;
use crate::mm::{Mm, zap_range};
use crate::notifier::{MmuNotifierRange, MmuNotifyEvent};
use crate::vma::{Advice, HugeAdvice, VmaFlags};
use crate::vma_tree::{Vma, user_range};

impl Mm {
    /// Advice about `len` bytes (rounded up to pages).
    ///
    /// # Errors
    /// EINVAL for a bad range, ENOMEM when part of it is not mapped (the rest was done), ESRCH for a dead process.
    pub fn madvise(self: &Arc<Mm>, start: Va, len: u64, advice: Advice) -> Result<(), Errno> {
        let end = user_range(start, len)?;
        let covered = match advice {
            Advice::DontNeed => self.dont_need(start, end)?,
            Advice::HugePage => self.advise_huge(start, end, HugeAdvice::Always)?,
            Advice::NoHugePage => self.advise_huge(start, end, HugeAdvice::Never)?,
        };
        if covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Returns whether all of the range is mapped.
    fn dont_need(self: &Arc<Mm>, start: Va, end: Va) -> Result<bool, Errno> {
        let guard = self.mmap_read_lock();
        self.check_alive()?;
        for vma in guard.vmas.overlapping(start, end) {
            self.zap(
                vma.start.max(start),
                vma.end.min(end),
                MmuNotifyEvent::Clear,
            );
        }
        Ok(guard.vmas.covers(start, end))
    }

    /// What is huge already stays so, but for what reaches over an end of the range: a huge entry lies in
    /// one mapping.
    fn advise_huge(&self, start: Va, end: Va, huge: HugeAdvice) -> Result<bool, Errno> {
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        for vma in vmas.take(start, end) {
            let flags = VmaFlags { huge, ..vma.flags };
            vmas.insert(Vma { flags, ..vma });
        }
        let mut pt = self.pt.lock();
        pt.split_before(start.page());
        pt.split_before(end.page());
        Ok(vmas.covers(start, end))
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
