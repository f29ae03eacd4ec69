//! Setup: which pages of the range can go, and taking them out of the page table.

use std::sync::Arc;

use crate::addr::{HUGE_PAGES, HUGE_SIZE, Pfn, Va};
use crate::errno::Errno;
use crate::migrate::compound::span;
use crate::migrate::types::{MigratePfn, MigrateVma};
use crate::migrate::unmap::unmap_sources;
use crate::mm::{Mm, MmapReadGuard};
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::PageTable;
use crate::pte::{PresentPte, Pte};
use crate::rmap::{install_migration_entries, install_migration_entry};
use crate::system::System;
use crate::vma_tree::Vma;

/// Fills `args.src`: collects the pages of the range that are selected, locks them (only trying: two
/// migrations that waited for each other's pages would never end), and unmaps them everywhere. Pages that
/// are busy, pinned, foreign or on their way are passed over. Success with `cpages == 0` is possible.
///
/// # Errors
/// EINVAL for an unaligned or empty range, a range that is not inside of one mapping, a mapping without
/// read permission, of a driver's pages or of hugetlb pages, or a dead process.
pub fn migrate_vma_setup(guard: &MmapReadGuard<'_>, args: &mut MigrateVma) -> Result<(), Errno> {
    let mm = guard.mm();
    if !args.start.is_aligned()
        || !args.end.is_aligned()
        || args.start >= args.end
        || !mm.is_alive()
    {
        return Err(Errno::EINVAL);
    }
    let vma = guard.vma(args.start).ok_or(Errno::EINVAL)?;
    if args.end > vma.end || !vma.prot.read || vma.flags.mixed || vma.is_hugetlb() {
        return Err(Errno::EINVAL);
    }
    args.src = vec![MigratePfn::default(); args.npages()];
    args.dst = vec![MigratePfn::default(); args.npages()];
    let invalidation = mm.invalidate_for(
        args.start,
        args.end,
        MmuNotifyEvent::Migrate,
        args.pgmap_owner,
    );
    {
        let mut pt = mm.pt.lock();
        let mut i = 0;
        while i < args.src.len() {
            let va = args.va(i);
            let src = collect_huge(mm, vma, &mut pt, args, va)
                .unwrap_or_else(|| collect(mm, vma, &mut pt, args, va));
            args.src[i] = src;
            i += span(src);
        }
    }
    drop(invalidation);
    unmap_sources(mm.system(), &mut args.src, args.fault_page);
    let going = args.src.iter().filter(|src| src.is_migrate());
    args.cpages = going.map(|src| src.pages()).sum();
    let (start, len) = (args.start.0, args.end - args.start);
    mm.system().event(
        "migrate_setup",
        &[
            ("mm", mm.id()),
            ("addr", start),
            ("len", len),
            ("pages", args.cpages),
        ],
    );
    Ok(())
}

fn collect(mm: &Arc<Mm>, vma: &Vma, pt: &mut PageTable, args: &MigrateVma, va: Va) -> MigratePfn {
    let sys = mm.system();
    let pte = pt.get(va.page());
    match pte {
        Pte::None if vma.is_anon() && vma.userfault.is_none() => return MigratePfn::empty(),
        Pte::Present(PresentPte { pfn, .. }) if sys.is_zero_page(pfn) => {
            return if args.select.system {
                MigratePfn::empty()
            } else {
                MigratePfn::default()
            };
        }
        _ => {}
    }
    let Some((pfn, write)) = selected(sys, args, pte) else {
        return MigratePfn::default();
    };
    if !take(mm, args.fault_page, pfn) {
        return MigratePfn::default();
    }
    if !install_migration_entry(sys, pt, mm.place(va.page()), pte) {
        release(mm, args.fault_page, pfn);
        return MigratePfn::default();
    }
    MigratePfn::source(pfn, write)
}

/// The page of an entry, and whether it may be written, if the migration wants such pages.
fn selected(sys: &System, args: &MigrateVma, pte: Pte) -> Option<(Pfn, bool)> {
    let ours = |pfn| sys.device_owner(pfn) == Some(args.pgmap_owner);
    match pte {
        Pte::Present(PresentPte { pfn, write, .. }) => {
            let wanted = if pfn.is_device() {
                args.select.device_coherent && ours(pfn)
            } else {
                args.select.system
            };
            wanted.then_some((pfn, write))
        }
        Pte::Device { pfn, write, .. } => {
            (args.select.device_private && ours(pfn)).then_some((pfn, write))
        }
        _ => None,
    }
}

/// The 2 MiB from `va` on as one source. None if they have to be looked at page by page.
fn collect_huge(
    mm: &Arc<Mm>,
    vma: &Vma,
    pt: &mut PageTable,
    args: &MigrateVma,
    va: Va,
) -> Option<MigratePfn> {
    let sys = mm.system();
    if !args.select.compound || !va.is_huge_aligned() || args.end - va < HUGE_SIZE {
        return None;
    }
    let entry = pt.get_sized(va.page());
    if !entry.is_huge() {
        let empty = entry.pte.is_none() && pt.is_area_empty(va.page());
        let huge = vma.huge_area(va).filter(|_| empty);
        return huge.map(|_| MigratePfn::empty().whole());
    }
    if entry.pte.pfn().is_some_and(|pfn| sys.is_zero_page(pfn)) {
        return args.select.system.then(|| MigratePfn::empty().whole());
    }
    let (first, write) = selected(sys, args, entry.pte)?;
    if !sys
        .frames
        .try_get_locked_run(first, HUGE_PAGES, args.fault_page)
    {
        return None;
    }
    if !install_migration_entries(sys, pt, mm, entry) {
        sys.frames.unlock_run(first, HUGE_PAGES, args.fault_page);
        sys.frames.put_run(first, HUGE_PAGES);
        return None;
    }
    Some(MigratePfn::source(first, write).whole())
}

/// References and locks a page; the page of the fault is locked by the fault path already.
fn take(mm: &Arc<Mm>, fault_page: Option<Pfn>, pfn: Pfn) -> bool {
    let frames = &mm.system().frames;
    if fault_page != Some(pfn) && !frames.try_lock(pfn) {
        return false;
    }
    frames.get(pfn);
    true
}

/// Undoes [`take`]; the page stays mapped, so this is not its last reference.
fn release(mm: &Arc<Mm>, fault_page: Option<Pfn>, pfn: Pfn) {
    let frames = &mm.system().frames;
    if fault_page != Some(pfn) {
        frames.unlock(pfn);
    }
    frames.put(pfn);
}
