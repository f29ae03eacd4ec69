//! Faults on huge entries, and where there could be one.

use std::sync::Arc;

use crate::addr::{HUGE_ORDER, HUGE_PAGES, HUGE_SIZE, Pfn, Va};
use crate::fault::{FaultFlags, cow, device, hugetlb};
use crate::memremap::VmFault;
use crate::mm::{Mm, MmapReadGuard};
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::{Entry, PageTable};
use crate::pte::{PresentPte, Pte};
use crate::sync::MutexGuard;
use crate::system::System;
use crate::vma_tree::Vma;

/// Maps the area at `base`, which was empty: a fresh huge page, or the huge zero page for a read. False
/// when that cannot be, for lack of memory or because somebody else was there: try a single page.
pub(super) fn fill(mm: &Arc<Mm>, vma: &Vma, base: Va, flags: FaultFlags) -> bool {
    if flags.write || flags.unshare {
        return fill_fresh(mm, vma, base, flags);
    }
    let Some(first) = mm.use_huge_zero_page() else {
        return false;
    };
    let mut pt = mm.pt.lock();
    let empty = pt.is_area_empty(base.page());
    if empty {
        let zero = PresentPte {
            pfn: first,
            write: false,
            dirty: false,
            young: true,
            none: false,
            soft_dirty: false,
        };
        pt.set_huge(base.page(), Pte::Present(zero));
    }
    empty
}

fn fill_fresh(mm: &Arc<Mm>, vma: &Vma, base: Va, flags: FaultFlags) -> bool {
    let Some(first) = fresh(mm) else { return false };
    let mut pt = mm.pt.lock();
    let empty = pt.is_area_empty(base.page());
    if empty {
        map_fresh(mm, &mut pt, base, first, flags.write && vma.prot.write);
    }
    drop(pt);
    if !empty {
        free(mm.system(), first);
    }
    empty
}

/// A cleared huge page, charged to the process.
fn fresh(mm: &Mm) -> Option<Pfn> {
    let sys = mm.system();
    let first = sys.alloc_user_huge(mm.memcg()).ok()?;
    for n in 0..HUGE_PAGES {
        sys.phys().zero_page(first + n);
    }
    Some(first)
}

fn free(sys: &System, first: Pfn) {
    sys.frames
        .put_all((0..HUGE_PAGES).map(|n| first + n).collect());
}

/// Maps a huge page of the process's own in an area that has no pages.
fn map_fresh(mm: &Mm, pt: &mut PageTable, base: Va, first: Pfn, write: bool) {
    let sys = mm.system();
    sys.frames.with_run(first, HUGE_PAGES, |n, frame| {
        frame.map_own(mm.place(base.page() + n));
    });
    let pte = PresentPte {
        pfn: first,
        write,
        dirty: write,
        young: true,
        none: false,
        soft_dirty: write,
    };
    pt.set_huge(base.page(), Pte::Present(pte));
    pt.rss.anon += HUGE_PAGES;
    sys.event(
        "huge_fault",
        &[("mm", mm.id()), ("addr", base.0), ("to", first.0)],
    );
}

/// A fault at `va` on the huge `entry`.
pub(super) fn fault<'a>(
    guard: &'a MmapReadGuard<'_>,
    vma: &Vma,
    va: Va,
    entry: Entry,
    flags: FaultFlags,
    mut pt: MutexGuard<'a, PageTable>,
) -> Result<(), VmFault> {
    let mm = guard.mm();
    match entry.at(va.page()) {
        Pte::Present(present) if cow::needed(mm.system(), vma, present, flags) => {
            write_fault(mm, vma, va, entry, flags, pt)
        }
        Pte::Present(_) => {
            // Nothing to do: another thread was faster.
            if let Pte::Present(first) = entry.pte {
                let young = PresentPte {
                    young: true,
                    ..first
                };
                pt.replace(entry, Pte::Present(young));
            }
            Ok(())
        }
        Pte::Device { pfn, .. } => device::fault(guard, vma, va, pfn, HUGE_ORDER, pt),
        // All others are single ones.
        _ => Err(VmFault::Sigbus),
    }
}

/// Makes the whole entry writable if all of it is this process's own; else the one page gets a copy, which
/// splits the entry.
fn write_fault<'a>(
    mm: &'a Arc<Mm>,
    vma: &Vma,
    va: Va,
    entry: Entry,
    flags: FaultFlags,
    mut pt: MutexGuard<'a, PageTable>,
) -> Result<(), VmFault> {
    let sys = mm.system();
    let (Pte::Present(first), Pte::Present(present)) = (entry.pte, entry.at(va.page())) else {
        return Ok(());
    };
    if sys.is_zero_page(first.pfn) {
        drop(pt);
        if replace_zero(mm, vma, entry, flags) {
            return Ok(());
        }
        pt = mm.pt.lock();
        if pt.get(va.page()) != Pte::Present(present) {
            return Ok(());
        }
        return cow::write_fault(mm, vma, va, present, flags, pt);
    }
    let ours = sys.frames.all(first.pfn, HUGE_PAGES, |_, frame| {
        !frame.anon || frame.exclusive || frame.sole_user()
    });
    if !ours && let Some(reserve) = vma.reserve() {
        sys.frames
            .with_run(first.pfn, HUGE_PAGES, |_, frame| frame.refs += 1);
        drop(pt);
        let copied = hugetlb::copy(mm, vma, reserve, entry, flags);
        sys.frames.put_run(first.pfn, HUGE_PAGES);
        return copied;
    }
    if !ours {
        return cow::write_fault(mm, vma, va, present, flags, pt);
    }
    sys.frames.with_run(first.pfn, HUGE_PAGES, |_, frame| {
        frame.exclusive = frame.anon;
    });
    let write = flags.write && vma.prot.write;
    let pte = PresentPte {
        write: first.write || write,
        dirty: first.dirty || write,
        young: true,
        soft_dirty: first.soft_dirty || write,
        ..first
    };
    pt.replace(entry, Pte::Present(pte));
    Ok(())
}

/// Replaces the huge zero page by a fresh huge page. False without memory for it; true also when the entry
/// has changed meanwhile.
fn replace_zero(mm: &Arc<Mm>, vma: &Vma, entry: Entry, flags: FaultFlags) -> bool {
    let Some(first) = fresh(mm) else { return false };
    let base = Va::of_page(entry.page);
    let invalidation = mm.invalidate(base, base + HUGE_SIZE, MmuNotifyEvent::Clear);
    let mut pt = mm.pt.lock();
    let same = matches!(
        (pt.get_sized(entry.page), entry.pte),
        (Entry { pte: Pte::Present(now), order: HUGE_ORDER, .. }, Pte::Present(old))
            if now.pfn == old.pfn && !now.none
    );
    if same {
        map_fresh(mm, &mut pt, base, first, flags.write && vma.prot.write);
    }
    drop(pt);
    drop(invalidation);
    if !same {
        free(mm.system(), first);
    }
    true
}
