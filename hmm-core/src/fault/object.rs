//! Faults where there is no entry yet, in a mapping of a file or of shared memory.

use std::sync::Arc;

use crate::addr::{Pfn, Va};
use crate::fault::FaultFlags;
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::pte::{PresentPte, Pte};
use crate::vma_tree::Vma;

/// The object's page, or for a store to a private mapping a copy of it.
pub(super) fn fault(mm: &Arc<Mm>, vma: &Vma, va: Va, flags: FaultFlags) -> Result<(), VmFault> {
    let Some((object, index)) = vma.object_page(va) else {
        return Err(VmFault::Sigbus);
    };
    let pfn = object.page(index, mm.memcg())?;
    if vma.is_private() && (flags.write || flags.unshare) {
        let result = copy(mm, vma, va, pfn, flags);
        mm.system().frames.put(pfn);
        result
    } else {
        map(mm, vma, va, pfn, flags);
        Ok(())
    }
}

/// Maps `pfn`, whose reference the entry takes over, if it still is what belongs there.
fn map(mm: &Arc<Mm>, vma: &Vma, va: Va, pfn: Pfn, flags: FaultFlags) {
    let frames = &mm.system().frames;
    let mut pt = mm.pt.lock();
    if !belongs(vma, va, pfn, pt.get(va.page())) {
        drop(pt);
        frames.put(pfn);
        return;
    }
    // A load makes shared memory writable at once, unless stores have to be noticed.
    let write = vma.prot.write && !vma.is_private() && (flags.write || vma.soft_dirty);
    let present = PresentPte {
        pfn,
        write,
        dirty: false,
        young: true,
        none: false,
        soft_dirty: write,
    };
    pt.set(va.page(), Pte::Present(present));
    frames.with(pfn, |frame| {
        frame.map(mm.place(va.page()));
        *pt.rss.of(frame) += 1;
    });
}

/// Maps a copy of `pfn`.
fn copy(mm: &Arc<Mm>, vma: &Vma, va: Va, pfn: Pfn, flags: FaultFlags) -> Result<(), VmFault> {
    let sys = mm.system();
    let new = sys.alloc_user_page(mm.memcg())?;
    sys.phys().copy_page(new, pfn);
    let mut pt = mm.pt.lock();
    if !belongs(vma, va, pfn, pt.get(va.page())) {
        drop(pt);
        sys.frames.put(new);
        return Ok(());
    }
    sys.frames.with(new, |frame| {
        frame.map_own(mm.place(va.page()));
        frame.dirty = true;
    });
    let write = flags.write && vma.prot.write;
    let present = PresentPte {
        pfn: new,
        write,
        dirty: write,
        young: true,
        none: false,
        soft_dirty: true,
    };
    pt.set(va.page(), Pte::Present(present));
    pt.rss.anon += 1;
    Ok(())
}

/// Asked with the page table locked: whoever takes the page out of the object afterwards finds the entry.
fn belongs(vma: &Vma, va: Va, pfn: Pfn, now: Pte) -> bool {
    now.is_none()
        && vma
            .object_page(va)
            .is_some_and(|(object, index)| object.holds(index, pfn))
}
