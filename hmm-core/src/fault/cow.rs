//! Write faults on pages that are mapped read-only.

use std::sync::Arc;

use crate::addr::{PAGE_SIZE, Va};
use crate::fault::FaultFlags;
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::PageTable;
use crate::pte::{PresentPte, Pte};
use crate::sync::MutexGuard;
use crate::system::System;
use crate::vma_tree::Vma;

/// Whether a present entry does not yet give what the fault asks for.
pub(super) fn needed(sys: &System, vma: &Vma, pte: PresentPte, flags: FaultFlags) -> bool {
    if flags.write {
        return !pte.write;
    }
    if !flags.unshare {
        return false;
    }
    sys.is_zero_page(pte.pfn)
        || sys
            .frames
            .with(pte.pfn, |frame| !frame.is_own(vma.is_private()))
}

/// Makes the entry writable, in place if no one else has the page, else with a copy.
pub(super) fn write_fault(
    mm: &Arc<Mm>,
    vma: &Vma,
    va: Va,
    old: PresentPte,
    flags: FaultFlags,
    mut pt: MutexGuard<'_, PageTable>,
) -> Result<(), VmFault> {
    let sys = mm.system();
    let write = flags.write && vma.prot.write;
    let zero = sys.is_zero_page(old.pfn);
    let in_place = !zero
        && sys.frames.with(old.pfn, |frame| {
            frame.try_own();
            frame.is_own(vma.is_private())
        });
    if in_place {
        let pte = PresentPte {
            write: old.write || write,
            dirty: old.dirty || write,
            soft_dirty: old.soft_dirty || write,
            young: true,
            ..old
        };
        pt.set(va.page(), Pte::Present(pte));
        return Ok(());
    }
    // Keeps the page, and so its contents, while the copy is made: with a second reference nobody can
    // start to write it in place.
    if !zero {
        sys.frames.get(old.pfn);
    }
    drop(pt);
    let result = copy(mm, va, old, write);
    if !zero {
        sys.frames.put(old.pfn);
    }
    result
}

fn copy(mm: &Arc<Mm>, va: Va, old: PresentPte, write: bool) -> Result<(), VmFault> {
    let sys = mm.system();
    let zero = sys.is_zero_page(old.pfn);
    let new = sys.alloc_user_page(mm.memcg())?;
    if zero {
        sys.phys().zero_page(new);
    } else if let Err(error) = sys.copy_page(new, old.pfn) {
        sys.frames.put(new);
        return Err(error);
    }
    // The device must lose the old page before anybody can see a change on the new one.
    let invalidation = mm.invalidate(va, va + PAGE_SIZE, MmuNotifyEvent::Clear);
    let mut pt = mm.pt.lock();
    let same = matches!(pt.get(va.page()), Pte::Present(now) if now.pfn == old.pfn && !now.write && !now.none);
    if same {
        let place = mm.place(va.page());
        sys.frames.with(new, |frame| {
            frame.map_own(place);
        });
        let pte = PresentPte {
            pfn: new,
            write,
            dirty: true,
            young: true,
            none: false,
            soft_dirty: old.soft_dirty || write,
        };
        pt.set(va.page(), Pte::Present(pte));
        pt.rss.anon += 1;
        if !zero {
            sys.frames.with(old.pfn, |frame| {
                *pt.rss.of(frame) -= 1;
                frame.dirty |= old.dirty;
                frame.unmap(place);
            });
        }
        sys.event(
            "cow",
            &[
                ("mm", mm.id()),
                ("addr", va.0),
                ("from", old.pfn.0),
                ("to", new.0),
            ],
        );
    }
    drop(pt);
    drop(invalidation);
    if !same {
        sys.frames.put(new);
    } else if !zero {
        sys.frames.put(old.pfn);
    }
    Ok(())
}
