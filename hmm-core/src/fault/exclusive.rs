//! CPU faults on device-exclusive pages: the device loses the page, the CPU gets it back.

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::mm::MmapReadGuard;
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::PageTable;
use crate::pte::{PresentPte, Pte};
use crate::sync::{self, MutexGuard};
use crate::system::System;
use crate::vma_tree::Vma;

/// `pt` is locked and has the exclusive `pfn` at `va`.
///
/// The page lock keeps out a driver that is just making the page exclusive: until it lets go, its access
/// is guaranteed. As for device pages, the lock is tried and the reference taken under the table's lock.
pub(super) fn fault(
    guard: &MmapReadGuard<'_>,
    vma: &Vma,
    va: Va,
    pfn: Pfn,
    pt: MutexGuard<'_, PageTable>,
) {
    let mm = guard.mm();
    let sys = mm.system();
    if !sys.frames.try_get_locked(pfn) {
        drop(pt);
        sys.frames.wait_unlocked(pfn);
        sync::preempt();
        return;
    }
    drop(pt);
    let invalidation = mm.invalidate(va, va + PAGE_SIZE, MmuNotifyEvent::Clear);
    let mut pt = mm.pt.lock();
    if matches!(pt.get(va.page()), Pte::Exclusive { pfn: now, .. } if now == pfn) {
        restore(sys, &mut pt, vma, va.page());
    }
    drop(pt);
    drop(invalidation);
    sys.frames.unlock(pfn);
    sys.frames.put(pfn);
}

/// Makes the exclusive entry of `page` an ordinary one and returns it. The page is locked, and the device
/// has lost it. The page is of this process alone, so it is writable where the mapping is, unless the next
/// store has to be noticed.
pub(crate) fn restore(sys: &System, pt: &mut PageTable, vma: &Vma, page: u64) -> Pte {
    let old = pt.get(page);
    let Pte::Exclusive {
        pfn, soft_dirty, ..
    } = old
    else {
        return old;
    };
    let write = vma.prot.write && (soft_dirty || vma.soft_dirty);
    let pte = Pte::Present(PresentPte {
        pfn,
        write,
        dirty: true,
        young: true,
        none: !vma.prot.read,
        soft_dirty: soft_dirty || write,
    });
    pt.set(page, pte);
    sys.event("exclusive_end", &[("page", page), ("pfn", pfn.0)]);
    pte
}
