//! fork: a child whose private memory is shared with the parent until one of them writes.

use std::sync::Arc;

use crate::addr::{HUGE_PAGES, Pfn};
use crate::errno::Errno;
use crate::fault::exclusive;
use crate::hugetlb::Reserve;
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::{Entry, PageTable};
use crate::pte::{MigrationKind, PresentPte, Pte};
use crate::vma_tree::{Backing, Vma};

/// Why copying a range stopped.
enum Stop {
    /// The lock of a device-exclusive page is taken.
    Busy(Pfn),
    Fault(VmFault),
}

impl From<VmFault> for Stop {
    fn from(fault: VmFault) -> Stop {
        Stop::Fault(fault)
    }
}

impl Mm {
    /// A copy of the process. Private pages, on the device too, become read-only in both until written;
    /// pinned pages are copied at once, so that the parent keeps its own. Shared memory stays shared.
    ///
    /// # Errors
    /// ENOMEM when there is no memory for the copies, ESRCH for a dead process.
    pub fn fork(self: &Arc<Mm>) -> Result<Arc<Mm>, Errno> {
        let vmas = self.vmas.write();
        self.check_alive()?;
        let child = self.sys.create_mm_in(Arc::clone(&self.memcg));
        self.sys
            .event("fork", &[("mm", self.id), ("child", child.id)]);
        let mut result = Ok(());
        {
            let mut theirs = child.vmas.write();
            for vma in vmas.iter() {
                let mut copy = vma.clone();
                copy.flags.locked = false;
                copy.userfault = None;
                if copy.is_hugetlb()
                    && let Some(none) = Reserve::new(&self.sys, 0)
                {
                    // What is reserved is for the parent.
                    copy.backing = Backing::Hugetlb(none);
                }
                theirs.insert(copy);
                if vma.is_private() && result.is_ok() {
                    result = self.copy_range(&child, vma);
                }
            }
        }
        drop(vmas);
        match result {
            Ok(()) => Ok(child),
            Err(_) => {
                child.exit();
                Err(Errno::ENOMEM)
            }
        }
    }

    fn copy_range(&self, child: &Mm, vma: &Vma) -> Result<(), VmFault> {
        let invalidation = self.invalidate(vma.start, vma.end, MmuNotifyEvent::ProtectionPage);
        let mut next = vma.start.page();
        let result = loop {
            match self.copy_entries(child, vma, &mut next) {
                Err(Stop::Busy(pfn)) => self.sys.frames.wait_unlocked(pfn),
                Err(Stop::Fault(error)) => break Err(error),
                Ok(()) => break Ok(()),
            }
        };
        drop(invalidation);
        result
    }

    /// Copies from `next` on, which stays at the entry where it had to stop.
    fn copy_entries(&self, child: &Mm, vma: &Vma, next: &mut u64) -> Result<(), Stop> {
        let mut ours = self.pt.lock();
        let mut theirs = child.pt.lock();
        for mut entry in ours.range_sized(*next, vma.end.page()) {
            let page = entry.page;
            *next = page;
            entry.pte = match entry.pte {
                Pte::Exclusive { pfn, .. } => {
                    if !self.sys.frames.try_lock(pfn) {
                        return Err(Stop::Busy(pfn));
                    }
                    let restored = exclusive::restore(&self.sys, &mut ours, vma, page);
                    self.sys.frames.unlock(pfn);
                    restored
                }
                pte => pte,
            };
            self.copy_entry(child, &mut ours, &mut theirs, entry)?;
        }
        Ok(())
    }

    fn copy_entry(
        &self,
        child: &Mm,
        ours: &mut PageTable,
        theirs: &mut PageTable,
        entry: Entry,
    ) -> Result<(), VmFault> {
        let Entry { page, pte, .. } = entry;
        let frames = &self.sys.frames;
        let (kept, copied) = match pte {
            // Exclusive pages were restored.
            Pte::None | Pte::Exclusive { .. } => return Ok(()),
            Pte::Swap { slot, .. } => {
                self.sys.swap.get(slot);
                theirs.set(page, pte);
                return Ok(());
            }
            Pte::Poison => {
                theirs.set(page, pte);
                return Ok(());
            }
            Pte::Present(present) if self.sys.is_zero_page(present.pfn) => {
                if self.sys.is_huge_zero_page(present.pfn) {
                    child.use_huge_zero_page();
                }
                theirs.replace(entry, pte);
                return Ok(());
            }
            Pte::Present(present) => {
                let can = frames.all(present.pfn, entry.pages(), |_, frame| frame.can_share());
                if !can && frames.with(present.pfn, |frame| frame.hugetlb) {
                    return self.copy_pinned_huge(child, theirs, present, page);
                }
                if !can && entry.is_huge() {
                    ours.split(page);
                    let singles = ours.range_sized(page, page + entry.pages());
                    return singles
                        .into_iter()
                        .try_for_each(|entry| self.copy_entry(child, ours, theirs, entry));
                }
                if !can {
                    let copy = self.copy_pinned(child, present, page)?;
                    theirs.set(page, copy);
                    theirs.rss.anon += 1;
                    return Ok(());
                }
                frames.with_run(present.pfn, entry.pages(), |_, frame| {
                    frame.exclusive = false;
                });
                let shared = PresentPte {
                    write: false,
                    ..present
                };
                (
                    Pte::Present(shared),
                    Pte::Present(PresentPte {
                        young: false,
                        ..shared
                    }),
                )
            }
            Pte::Device {
                pfn,
                none,
                soft_dirty,
                ..
            } => {
                // Never pinned, so it can always be shared.
                frames.with_run(pfn, entry.pages(), |_, frame| frame.exclusive = false);
                let shared = Pte::Device {
                    pfn,
                    write: false,
                    none,
                    soft_dirty,
                };
                (shared, shared)
            }
            Pte::Migration {
                pfn,
                dirty,
                young,
                none,
                soft_dirty,
                ..
            } => {
                let shared = Pte::Migration {
                    pfn,
                    kind: MigrationKind::Read,
                    dirty,
                    young,
                    none,
                    soft_dirty,
                };
                (shared, shared)
            }
        };
        if let Some(pfn) = copied.pfn() {
            frames.with_run(pfn, entry.pages(), |n, frame| {
                *theirs.rss.of(frame) += 1;
                match copied {
                    Pte::Migration { .. } => frame.add_migration(child.place(page + n)),
                    _ => {
                        frame.map(child.place(page + n));
                        frame.refs += 1;
                    }
                }
            });
        }
        ours.replace(entry, kept);
        theirs.replace(entry, copied);
        Ok(())
    }

    /// A huge page of the child's own with the contents of one that is never split.
    fn copy_pinned_huge(
        &self,
        child: &Mm,
        theirs: &mut PageTable,
        present: PresentPte,
        page: u64,
    ) -> Result<(), VmFault> {
        let reserve = Reserve::new(&self.sys, 0).ok_or(VmFault::Oom)?;
        let first = reserve.take().ok_or(VmFault::Oom)?;
        for n in 0..HUGE_PAGES {
            self.sys.phys().copy_page(first + n, present.pfn + n);
        }
        self.sys.frames.with_run(first, HUGE_PAGES, |n, frame| {
            frame.exclusive = true;
            frame.dirty = true;
            frame.map(child.place(page + n));
        });
        let copy = PresentPte {
            pfn: first,
            young: false,
            ..present
        };
        theirs.set_huge(page, Pte::Present(copy));
        theirs.rss.hugetlb += HUGE_PAGES;
        Ok(())
    }

    /// A page of the child's own with the contents of a pinned page.
    fn copy_pinned(&self, child: &Mm, present: PresentPte, page: u64) -> Result<Pte, VmFault> {
        let copy: Pfn = self.sys.alloc_user_page(child.memcg())?;
        if let Err(error) = self.sys.copy_page(copy, present.pfn) {
            self.sys.frames.put(copy);
            return Err(error);
        }
        self.sys.frames.with(copy, |frame| {
            frame.map_own(child.place(page));
            frame.dirty = true;
        });
        Ok(Pte::Present(PresentPte {
            pfn: copy,
            young: false,
            ..present
        }))
    }
}
