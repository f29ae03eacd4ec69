//! Gathering single pages into a huge one (MADV_COLLAPSE).

use std::sync::Arc;

use crate::addr::{HUGE_PAGES, HUGE_SIZE, Pfn, Va};
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::PageTable;
use crate::pte::{PresentPte, Pte};
use crate::vma::HugeAdvice;
use crate::vma_tree::Vma;

impl Mm {
    /// Collapses the whole 2 MiB areas of `start..end`. Returns whether all of the range is mapped. An area
    /// that cannot be collapsed does not keep the others of its mapping from it; the last one's error is
    /// returned. A mapping that can have no huge page is an error, even where no area is asked for.
    pub(super) fn collapse(self: &Arc<Mm>, start: Va, end: Va) -> Result<bool, Errno> {
        let (parts, covered) = {
            let guard = self.mmap_read_lock();
            self.check_alive()?;
            let vmas = guard.vmas.overlapping(start, end);
            let part = |vma: &Vma| (vma.start.max(start), vma.end.min(end), can_be_huge(vma));
            let parts: Vec<(Va, Va, bool)> = vmas.into_iter().map(part).collect();
            (parts, guard.vmas.covers(start, end))
        };
        for (from, to, can) in parts {
            if !can {
                return Err(Errno::EINVAL);
            }
            let mut result = Ok(());
            let mut area = Va(from.0.next_multiple_of(HUGE_SIZE));
            while area < to && to - area >= HUGE_SIZE {
                if let Err(error) = self.collapse_area(area) {
                    result = Err(error);
                }
                area = area + HUGE_SIZE;
            }
            result?;
        }
        Ok(covered)
    }

    fn collapse_area(self: &Arc<Mm>, area: Va) -> Result<(), Errno> {
        self.swap_in(area)?;
        // Nobody of this process faults or changes mappings meanwhile; but others migrate and reclaim.
        let vmas = self.vmas.write();
        self.check_alive()?;
        let vma = vmas.find(area).ok_or(Errno::EINVAL)?;
        if vma.end < area + HUGE_SIZE || !can_be_huge(vma) {
            return Err(Errno::EINVAL);
        }
        let page = area.page();
        {
            let pt = self.pt.lock();
            let entry = pt.get_sized(page);
            if entry.is_huge() && matches!(entry.pte, Pte::Present(_)) {
                return Ok(());
            }
            if entry.is_huge() || pt.is_area_empty(page) {
                return Err(Errno::EINVAL);
            }
        }
        if self.memcg.room() < HUGE_PAGES {
            return Err(Errno::EBUSY);
        }
        let huge = self
            .sys
            .alloc_user_huge(&self.memcg)
            .map_err(|_| Errno::ENOMEM)?;
        let invalidation = self.invalidate(area, area + HUGE_SIZE, MmuNotifyEvent::Clear);
        let gathered = self.gather(&mut self.pt.lock(), vma, page, huge);
        match &gathered {
            Ok(old) => self.sys.frames.put_all(old.clone()),
            Err(_) => self.sys.frames.put_run(huge, HUGE_PAGES),
        }
        drop(invalidation);
        gathered.map(|_| ())
    }

    /// Brings what is in swap space back.
    fn swap_in(self: &Arc<Mm>, area: Va) -> Result<(), Errno> {
        let guard = self.mmap_read_lock();
        self.check_alive()?;
        let vma = guard.vma(area).ok_or(Errno::EINVAL)?;
        let entries = self.pt.lock().range(area.page(), area.page() + HUGE_PAGES);
        for (page, pte) in entries {
            if vma.prot.read && matches!(pte, Pte::Swap { .. }) {
                let fault = handle_mm_fault(&guard, vma, Va::of_page(page), FaultFlags::default());
                fault.map_err(|fault| match fault {
                    VmFault::Oom => Errno::ENOMEM,
                    VmFault::Sigbus | VmFault::Retry => Errno::EINVAL,
                })?;
            }
        }
        Ok(())
    }

    /// Copies the pages of the area into those from `huge` on and maps these instead. Returns the old pages,
    /// whose references are to be dropped. On an error nothing has changed.
    fn gather(
        &self,
        pt: &mut PageTable,
        vma: &Vma,
        page: u64,
        huge: Pfn,
    ) -> Result<Vec<Pfn>, Errno> {
        let frames = &self.sys.frames;
        let mut locked: Vec<(u64, PresentPte)> = Vec::new();
        let mut result = Ok(());
        for (at, pte) in pt.range(page, page + HUGE_PAGES) {
            result = self.try_lock_for_copy(pte).map(|present| {
                locked.extend(present.map(|present| (at, present)));
            });
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() {
            let mut pages = locked.iter().peekable();
            for n in 0..HUGE_PAGES {
                match pages.next_if(|(at, _)| *at == page + n) {
                    Some((_, present)) => self.sys.phys().copy_page(huge + n, present.pfn),
                    None => self.sys.phys().zero_page(huge + n),
                }
            }
            for &(at, present) in &locked {
                frames.with(present.pfn, |frame| frame.unmap(self.place(at)));
            }
            frames.with_run(huge, HUGE_PAGES, |n, frame| {
                frame.map_own(self.place(page + n));
                frame.dirty = true;
            });
            let pte = PresentPte {
                pfn: huge,
                write: vma.prot.write,
                dirty: true,
                young: true,
                none: !vma.prot.read,
                soft_dirty: true,
            };
            pt.set_huge(page, Pte::Present(pte));
            pt.rss.anon += HUGE_PAGES - locked.len() as u64;
            self.sys.event(
                "collapse",
                &[
                    ("mm", self.id),
                    ("addr", Va::of_page(page).0),
                    ("to", huge.0),
                ],
            );
        }
        let old: Vec<Pfn> = locked.iter().map(|(_, present)| present.pfn).collect();
        for &pfn in &old {
            frames.unlock(pfn);
        }
        result.map(|()| old)
    }

    /// Locks a page that can be copied; none for the zero page. Pages of other processes too (after a fork)
    /// are copied, as a write would do.
    fn try_lock_for_copy(&self, pte: Pte) -> Result<Option<PresentPte>, Errno> {
        let frames = &self.sys.frames;
        let present = match pte {
            Pte::Present(present) if self.sys.is_zero_page(present.pfn) => return Ok(None),
            Pte::Present(present) if !present.pfn.is_device() => present,
            Pte::Migration { .. } | Pte::Swap { .. } => return Err(Errno::EAGAIN),
            _ => return Err(Errno::EINVAL),
        };
        if !frames.try_lock(present.pfn) {
            return Err(Errno::EAGAIN);
        }
        let unused = frames.with(present.pfn, |frame| {
            frame.anon && frame.refs == frame.mapped.len() as u32
        });
        if unused {
            Ok(Some(present))
        } else {
            frames.unlock(present.pfn);
            Err(Errno::EAGAIN)
        }
    }
}

/// Whether collapsing is allowed in a mapping, and has room.
fn can_be_huge(vma: &Vma) -> bool {
    let first = vma.start.0.next_multiple_of(HUGE_SIZE);
    vma.is_anon()
        && vma.userfault.is_none()
        && vma.flags.huge != HugeAdvice::Never
        && vma.end.0.saturating_sub(first) >= HUGE_SIZE
}
