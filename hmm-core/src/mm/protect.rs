//! mprotect.

use crate::addr::Va;
use crate::errno::Errno;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::pte::{MigrationKind, PresentPte, Pte};
use crate::vma::Prot;
use crate::vma_tree::{Vma, user_range};

impl Mm {
    /// Changes the allowed accesses of `len` bytes (rounded up to pages).
    ///
    /// # Errors
    /// EINVAL for a bad range, ENOMEM when part of it is not mapped (nothing is changed then), ESRCH for a
    /// dead process.
    pub fn mprotect(&self, start: Va, len: u64, prot: Prot) -> Result<(), Errno> {
        let end = user_range(start, len)?;
        let prot = Prot {
            read: prot.read || prot.write,
            ..prot
        };
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        if !vmas.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        vmas.check_huge_edges(start, end)?;
        self.sys.event(
            "mprotect",
            &[("mm", self.id), ("addr", start.0), ("len", end - start)],
        );
        for vma in vmas.take(start, end) {
            let vma = Vma { prot, ..vma };
            vmas.insert(vma.clone());
            let invalidation = self.invalidate(vma.start, vma.end, MmuNotifyEvent::ProtectionVma);
            self.change_entries(&vma);
            drop(invalidation);
        }
        Ok(())
    }

    fn change_entries(&self, vma: &Vma) {
        let mut pt = self.pt.lock();
        // A huge entry lies in one mapping.
        pt.split_before(vma.start.page());
        pt.split_before(vma.end.page());
        for entry in pt.range_sized(vma.start.page(), vma.end.page()) {
            let new = match entry.pte {
                Pte::Present(present) => Pte::Present(self.changed(present, entry.pages(), vma)),
                Pte::Device {
                    pfn,
                    write,
                    soft_dirty,
                    ..
                } => Pte::Device {
                    pfn,
                    write: write && vma.prot.write,
                    none: !vma.prot.read,
                    soft_dirty,
                },
                // The device has lost it by the notification, all the same it stays exclusive.
                Pte::Exclusive {
                    pfn,
                    owner,
                    soft_dirty,
                    ..
                } => Pte::Exclusive {
                    pfn,
                    owner,
                    none: !vma.prot.read,
                    soft_dirty,
                },
                Pte::Migration {
                    pfn,
                    kind,
                    dirty,
                    young,
                    soft_dirty,
                    ..
                } => {
                    let kind = match kind {
                        MigrationKind::Write if !vma.prot.write => MigrationKind::ReadExclusive,
                        kind => kind,
                    };
                    Pte::Migration {
                        pfn,
                        kind,
                        dirty,
                        young,
                        none: !vma.prot.read,
                        soft_dirty,
                    }
                }
                Pte::None | Pte::Swap { .. } | Pte::Poison => continue,
            };
            pt.replace(entry, new);
        }
    }

    /// A page that is dirty already, and that only this process has, becomes writable at once; all others
    /// get there by a write fault (can_change_pte_writable).
    fn changed(&self, old: PresentPte, pages: u64, vma: &Vma) -> PresentPte {
        let ours = !self.sys.is_zero_page(old.pfn)
            && self
                .sys
                .frames
                .all(old.pfn, pages, |_, frame| frame.is_own(vma.is_private()));
        // Where writes have to be noticed they fault.
        let seen = old.soft_dirty || vma.soft_dirty;
        let write = vma.prot.write && (old.write || (ours && old.dirty && seen));
        PresentPte {
            write,
            soft_dirty: old.soft_dirty || write,
            none: !vma.prot.read,
            ..old
        }
    }
}
