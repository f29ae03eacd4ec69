//! madvise, and taking memory back from a dying process.

use std::sync::Arc;

use crate::addr::Va;
use crate::errno::Errno;
use crate::mm::{Mm, zap_range};
use crate::notifier::{MmuNotifierRange, MmuNotifyEvent};
use crate::pte::{PresentPte, Pte};
use crate::vma::{Advice, HugeAdvice};
use crate::vma_tree::{Vma, VmaTree, user_range};

impl Mm {
    /// Advice about `len` bytes (rounded up to pages).
    ///
    /// # Errors
    /// EINVAL for a bad range, and for memory that the advice is not for: locked memory must not be dropped,
    /// and only anonymous memory can be freed. ENOMEM when part of the range is not mapped (what comes before
    /// an error, and all that is mapped, was done) or there is no memory to unmerge. ESRCH for a dead process.
    /// Of [`Advice::Collapse`] also EAGAIN while somebody uses one of the pages, EINVAL for memory on a device,
    /// of no process alone or without any page, ENOMEM without a free huge page, EBUSY when the control group
    /// has no room for one. Of hugetlb memory EINVAL unless the range is whole huge pages, to be dropped.
    pub fn madvise(self: &Arc<Mm>, start: Va, len: u64, advice: Advice) -> Result<(), Errno> {
        let end = user_range(start, len)?;
        self.vmas.read().check_huge_edges(start, end)?;
        let covered = match advice {
            Advice::DontNeed | Advice::Free => self.discard(start, end, advice)?,
            Advice::HugePage => self.advise_huge(start, end, HugeAdvice::Always)?,
            Advice::NoHugePage => self.advise_huge(start, end, HugeAdvice::Never)?,
            Advice::Collapse => self.collapse(start, end)?,
            Advice::Mergeable => self.set_mergeable(start, end, true)?,
            Advice::Unmergeable => {
                let covered = self.set_mergeable(start, end, false)?;
                self.unmerge(start, end)?;
                covered
            }
        };
        if covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Returns whether all of the range is mapped.
    fn discard(self: &Arc<Mm>, start: Va, end: Va, advice: Advice) -> Result<bool, Errno> {
        let guard = self.mmap_read_lock();
        self.check_alive()?;
        for vma in guard.vmas.overlapping(start, end) {
            let (first, last) = (vma.start.max(start), vma.end.min(end));
            if vma.flags.locked || (advice == Advice::Free && !vma.is_anon()) {
                return Err(Errno::EINVAL);
            }
            if advice == Advice::Free {
                self.free_lazily(first, last);
            } else {
                self.zap(first, last, MmuNotifyEvent::Clear);
                if let Some(queue) = &vma.userfault {
                    queue.removed(first, last);
                }
            }
        }
        Ok(guard.vmas.covers(start, end))
    }

    /// What is huge already stays so, but for what reaches over an end of the range: a huge entry lies in
    /// one mapping.
    fn advise_huge(&self, start: Va, end: Va, huge: HugeAdvice) -> Result<bool, Errno> {
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        if vmas
            .overlapping(start, end)
            .iter()
            .any(|vma| vma.is_hugetlb())
        {
            return Err(Errno::EINVAL);
        }
        self.change_vmas(&mut vmas, start, end, |vma| vma.flags.huge = huge);
        Ok(vmas.covers(start, end))
    }

    /// Marks the pages of the process alone as clean: a later store makes them dirty again, by the CPU
    /// through the entry, by a device through its own table, which starts afresh after the notification.
    fn free_lazily(&self, start: Va, end: Va) {
        let invalidation = self.invalidate(start, end, MmuNotifyEvent::Clear);
        {
            let mut pt = self.pt.lock();
            for (page, pte) in pt.range(start.page(), end.page()) {
                match pte {
                    Pte::Swap { slot, .. } => {
                        self.sys.swap.put(slot);
                        pt.set(page, Pte::None);
                    }
                    Pte::Present(present) if self.make_lazy(present) => {
                        let dirty = false;
                        pt.set(page, Pte::Present(PresentPte { dirty, ..present }));
                    }
                    _ => {}
                }
            }
        }
        drop(invalidation);
    }

    fn make_lazy(&self, present: PresentPte) -> bool {
        let pfn = present.pfn;
        if self.sys.is_zero_page(pfn) || pfn.is_device() {
            return false;
        }
        self.sys.frames.with(pfn, |frame| {
            let alone = frame.anon && frame.exclusive && frame.pins == 0 && !frame.locked;
            if alone {
                frame.lazyfree = true;
                frame.dirty = false;
            }
            alone
        })
    }

    /// Memory that cannot be merged is passed over.
    fn set_mergeable(&self, start: Va, end: Va, on: bool) -> Result<bool, Errno> {
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        self.change_vmas(&mut vmas, start, end, |vma| {
            vma.flags.mergeable = on && vma.can_merge();
        });
        Ok(vmas.covers(start, end))
    }

    /// Changes the mappings in a range, splitting and joining them as needed.
    pub(crate) fn change_vmas(
        &self,
        vmas: &mut VmaTree,
        start: Va,
        end: Va,
        change: impl Fn(&mut Vma),
    ) {
        for mut vma in vmas.take(start, end) {
            change(&mut vma);
            vmas.insert(vma);
        }
        let mut pt = self.pt.lock();
        pt.split_before(start.page());
        pt.split_before(end.page());
    }

    /// What the OOM reaper does to its victim: frees private memory without waiting for subscribers. What
    /// a subscriber cannot give up at once stays.
    ///
    /// # Errors
    /// EAGAIN when something stayed or the mappings are locked.
    pub fn oom_reap(self: &Arc<Mm>) -> Result<(), Errno> {
        let vmas = self.vmas.try_read().ok_or(Errno::EAGAIN)?;
        let mut result = Ok(());
        for vma in vmas
            .iter()
            .filter(|vma| vma.is_private() && !vma.is_hugetlb())
        {
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
