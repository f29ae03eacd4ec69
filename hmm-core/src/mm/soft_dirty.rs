//! Which pages were written since somebody last asked (soft-dirty bits).

use crate::addr::{TASK_SIZE, Va};
use crate::errno::Errno;
use crate::mm::{Mm, PagemapBits};
use crate::notifier::MmuNotifyEvent;
use crate::pte::{MigrationKind, PresentPte, Pte};

impl Mm {
    /// Whether the page of `va` was written, by the CPU or a device, since [`Mm::clear_soft_dirty`], or
    /// its mapping is newer than that or has grown or moved since. May say so for a page that only could
    /// have been written. False where nothing is mapped.
    pub fn soft_dirty(&self, va: Va) -> bool {
        self.pagemap_bits(va).has(PagemapBits::SOFT_DIRTY)
    }

    /// Forgets what was written (4 into clear_refs): all entries lose the bit and their permission to write, so
    /// that the next store of the CPU or a device faults, and is seen. Pages stay where they are.
    ///
    /// # Errors
    /// ESRCH for a dead process.
    pub fn clear_soft_dirty(&self) -> Result<(), Errno> {
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        self.sys.event("clear_soft_dirty", &[("mm", self.id)]);
        let invalidation = self.invalidate(Va(0), Va(TASK_SIZE), MmuNotifyEvent::SoftDirty);
        vmas.clear_soft_dirty();
        let mut pt = self.pt.lock();
        for entry in pt.range_sized(0, u64::MAX) {
            pt.replace(entry, cleared(entry.pte));
        }
        drop(pt);
        drop(invalidation);
        Ok(())
    }
}

fn cleared(pte: Pte) -> Pte {
    match pte {
        Pte::None | Pte::Poison => pte,
        Pte::Swap { slot, .. } => Pte::Swap {
            slot,
            soft_dirty: false,
        },
        Pte::Present(present) => Pte::Present(PresentPte {
            write: false,
            soft_dirty: false,
            ..present
        }),
        Pte::Device { pfn, none, .. } => Pte::Device {
            pfn,
            write: false,
            none,
            soft_dirty: false,
        },
        Pte::Migration {
            pfn,
            kind,
            dirty,
            young,
            none,
            ..
        } => Pte::Migration {
            pfn,
            kind: match kind {
                MigrationKind::Write => MigrationKind::ReadExclusive,
                kind => kind,
            },
            dirty,
            young,
            none,
            soft_dirty: false,
        },
        Pte::Exclusive {
            pfn, owner, none, ..
        } => Pte::Exclusive {
            pfn,
            owner,
            none,
            soft_dirty: false,
        },
    }
}
