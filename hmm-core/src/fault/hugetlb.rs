//! Faults in hugetlb mappings: always 2 MiB.

use std::sync::Arc;

use crate::addr::{HUGE_PAGES, HUGE_SIZE, Pfn, Va};
use crate::fault::FaultFlags;
use crate::hugetlb::Reserve;
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::{Entry, PageTable};
use crate::pte::{PresentPte, Pte};
use crate::vma_tree::Vma;

/// Maps a cleared huge page at `va`, where there was none.
pub(super) fn fill(
    mm: &Arc<Mm>,
    vma: &Vma,
    reserve: &Reserve,
    va: Va,
    flags: FaultFlags,
) -> Result<(), VmFault> {
    let sys = mm.system();
    let page = va.huge_align_down().page();
    let first = reserve.take().ok_or(VmFault::Sigbus)?;
    for n in 0..HUGE_PAGES {
        sys.phys().zero_page(first + n);
    }
    let mut pt = mm.pt.lock();
    let empty = pt.is_area_empty(page);
    if empty {
        map(mm, &mut pt, page, first, flags.write && vma.prot.write);
        pt.rss.hugetlb += HUGE_PAGES;
    }
    drop(pt);
    if !empty {
        sys.frames.put_run(first, HUGE_PAGES);
    }
    Ok(())
}

/// A copy of the shared huge page of `entry` takes its place.
pub(super) fn copy(
    mm: &Arc<Mm>,
    vma: &Vma,
    reserve: &Reserve,
    entry: Entry,
    flags: FaultFlags,
) -> Result<(), VmFault> {
    let sys = mm.system();
    let Some(old) = entry.pte.pfn() else {
        return Ok(());
    };
    let first = reserve.take().ok_or(VmFault::Sigbus)?;
    for n in 0..HUGE_PAGES {
        sys.phys().copy_page(first + n, old + n);
    }
    let va = Va::of_page(entry.page);
    let invalidation = mm.invalidate(va, va + HUGE_SIZE, MmuNotifyEvent::Clear);
    let mut pt = mm.pt.lock();
    let same = matches!(
        pt.get(entry.page),
        Pte::Present(now) if now.pfn == old && !now.write && !now.none
    );
    if same {
        sys.frames.with_run(old, HUGE_PAGES, |n, frame| {
            frame.unmap(mm.place(entry.page + n));
        });
        map(
            mm,
            &mut pt,
            entry.page,
            first,
            flags.write && vma.prot.write,
        );
    }
    drop(pt);
    drop(invalidation);
    sys.frames
        .put_run(if same { old } else { first }, HUGE_PAGES);
    Ok(())
}

fn map(mm: &Mm, pt: &mut PageTable, page: u64, first: Pfn, write: bool) {
    mm.system().frames.with_run(first, HUGE_PAGES, |n, frame| {
        frame.exclusive = true;
        frame.map(mm.place(page + n));
    });
    let pte = PresentPte {
        pfn: first,
        write,
        dirty: write,
        young: true,
        none: false,
        soft_dirty: write,
    };
    pt.set_huge(page, Pte::Present(pte));
}
