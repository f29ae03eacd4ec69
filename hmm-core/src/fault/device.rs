//! CPU faults on device-private pages: the driver brings the page home.

use crate::addr::{Pfn, Va};
use crate::memremap::{DevFault, VmFault};
use crate::mm::{Mm, MmapReadGuard};
use crate::pagetable::PageTable;
use crate::pte::Pte;
use crate::sync::{self, MutexGuard};
use crate::vma_tree::Vma;

/// `pt` is locked and maps `pfn` at `va`, by an entry of `order`.
///
/// The page lock is only tried under the table's lock, and the reference taken before the table is
/// unlocked, so the page cannot be freed in between. Who does not get the lock waits for it (a retry
/// without waiting livelocks many threads on one page) and faults again.
pub(super) fn fault(
    guard: &MmapReadGuard<'_>,
    vma: &Vma,
    va: Va,
    pfn: Pfn,
    order: u32,
    pt: MutexGuard<'_, PageTable>,
) -> Result<(), VmFault> {
    let sys = guard.mm().system();
    if !sys.frames.try_lock(pfn) {
        drop(pt);
        sys.frames.wait_unlocked(pfn);
        sync::preempt();
        return Ok(());
    }
    sys.frames.get(pfn);
    drop(pt);
    sys.event(
        "migrate_to_ram",
        &[("mm", guard.mm().id()), ("addr", va.0), ("pfn", pfn.0)],
    );
    let result = match sys.frames.ops_of(pfn) {
        Some(ops) => ops.migrate_to_ram(&DevFault {
            guard,
            va,
            pfn,
            vma_start: vma.start,
            vma_end: vma.end,
            order,
        }),
        None => Err(VmFault::Sigbus),
    };
    sys.frames.unlock(pfn);
    sys.frames.put(pfn);
    let stayed = |mm: &Mm| matches!(mm.pt.lock().get(va.page()), Pte::Device { .. });
    if result.is_ok() && stayed(guard.mm()) {
        // Somebody holds a reference in passing: a retry at once could keep that thread from dropping it.
        sync::yield_now();
    }
    result
}
