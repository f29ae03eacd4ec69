//! Faults on pages in swap space.

use std::sync::Arc;

use crate::addr::Va;
use crate::fault::FaultFlags;
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::pagetable::PageTable;
use crate::pte::{PresentPte, Pte};
use crate::swap::SwapSlot;
use crate::sync::MutexGuard;
use crate::vma_tree::Vma;

/// Reads the page in. `pt` is locked and names `slot` at `va`.
///
/// Each reader gets a page of its own, also when others share the slot, so the page is exclusive. The
/// reference to the slot keeps its number from being used again while the table is not locked.
pub(super) fn fault(
    mm: &Arc<Mm>,
    vma: &Vma,
    va: Va,
    slot: SwapSlot,
    flags: FaultFlags,
    pt: MutexGuard<'_, PageTable>,
) -> Result<(), VmFault> {
    let sys = mm.system();
    sys.swap.get(slot);
    drop(pt);
    let result = read(mm, vma, va, slot, flags);
    sys.swap.put(slot);
    result
}

fn read(mm: &Arc<Mm>, vma: &Vma, va: Va, slot: SwapSlot, flags: FaultFlags) -> Result<(), VmFault> {
    let sys = mm.system();
    let pfn = sys.alloc_user_page(mm.memcg())?;
    sys.swap.load(slot, |data| sys.phys().write(pfn, 0, data));
    let mut pt = mm.pt.lock();
    let soft_dirty = match pt.get(va.page()) {
        Pte::Swap {
            slot: now,
            soft_dirty,
        } if now == slot => soft_dirty,
        // Another thread was faster.
        _ => {
            drop(pt);
            sys.frames.put(pfn);
            return Ok(());
        }
    };
    sys.frames.with(pfn, |frame| {
        frame.map_own(mm.place(va.page()));
        frame.dirty = true;
    });
    // A page that was not written since the bits were cleared shows its next store by a fault.
    let write = vma.prot.write && (soft_dirty || flags.write);
    let present = PresentPte {
        pfn,
        write,
        dirty: flags.write,
        young: true,
        none: false,
        soft_dirty: soft_dirty || write,
    };
    pt.set(va.page(), Pte::Present(present));
    pt.rss.anon += 1;
    sys.swap.put(slot);
    sys.event(
        "swap_in",
        &[
            ("mm", mm.id()),
            ("addr", va.0),
            ("slot", slot.0),
            ("pfn", pfn.0),
        ],
    );
    Ok(())
}
