//! Page faults: making an access possible that a page table does not allow yet.

mod anon;
mod cow;
mod device;
pub(crate) mod exclusive;
mod huge;
mod hugetlb;
mod object;
mod swap;

use crate::addr::Va;
use crate::memremap::VmFault;
use crate::mm::MmapReadGuard;
use crate::pte::{PresentPte, Pte};
use crate::sync;
use crate::vma_tree::Vma;

/// What the access needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultFlags {
    /// A writable entry.
    pub write: bool,
    /// A page of this process alone, read-only (FAULT_FLAG_UNSHARE).
    pub unshare: bool,
}

/// Handles a fault at `va` (page aligned) in `vma`, whose permissions the caller has checked. Success
/// means that something changed or another thread is ahead: the caller looks again, and may fault again.
/// Who can drop mmap_lock answers [`VmFault::Retry`] by waiting for `MmapReadGuard::missing`.
pub(crate) fn handle_mm_fault(
    guard: &MmapReadGuard<'_>,
    vma: &Vma,
    va: Va,
    flags: FaultFlags,
) -> Result<(), VmFault> {
    let mm = guard.mm();
    let sys = mm.system();
    let mut pt = mm.pt.lock();
    let entry = pt.get_sized(va.page());
    sys.event(
        "fault",
        &[
            ("mm", mm.id()),
            ("addr", va.0),
            ("write", flags.write.into()),
        ],
    );
    if entry.is_huge() {
        return huge::fault(guard, vma, va, entry, flags, pt);
    }
    match entry.pte {
        Pte::None => {
            if vma.userfault.is_some() {
                return Err(VmFault::Retry);
            }
            let area = vma.huge_area(va).filter(|_| pt.is_area_empty(va.page()));
            drop(pt);
            if let Some(reserve) = vma.reserve() {
                return hugetlb::fill(mm, vma, reserve, va, flags);
            }
            if let Some(base) = area
                && huge::fill(mm, vma, base, flags)
            {
                return Ok(());
            }
            if vma.is_anon() {
                anon::fault(mm, vma, va, flags)
            } else {
                object::fault(mm, vma, va, flags)
            }
        }
        Pte::Present(present) => {
            if cow::needed(sys, vma, present, flags) {
                return cow::write_fault(mm, vma, va, present, flags, pt);
            }
            // Nothing to do: another thread was faster.
            pt.set(
                va.page(),
                Pte::Present(PresentPte {
                    young: true,
                    ..present
                }),
            );
            Ok(())
        }
        Pte::Device { pfn, .. } => device::fault(guard, vma, va, pfn, 0, pt),
        Pte::Exclusive { pfn, .. } => {
            exclusive::fault(guard, vma, va, pfn, pt);
            Ok(())
        }
        Pte::Migration { pfn, .. } => {
            drop(pt);
            sys.frames.wait_unlocked(pfn);
            sync::preempt();
            Ok(())
        }
        Pte::Swap { slot, .. } => swap::fault(mm, vma, va, slot, flags, pt),
        Pte::Poison => Err(VmFault::Sigbus),
    }
}
