//! Setup: which pages of the range can go, and taking them out of the page table.

use std::sync::Arc;

use crate::addr::{Pfn, Va};
use crate::errno::Errno;
use crate::migrate::types::{MigratePfn, MigrateVma};
use crate::migrate::unmap::unmap_sources;
use crate::mm::{Mm, MmapReadGuard};
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::PageTable;
use crate::pte::{PresentPte, Pte};
use crate::rmap::install_migration_entry;
use crate::vma_tree::Vma;

/// Fills `args.src`: collects the pages of the range that are selected, locks them (only trying: two
/// migrations that waited for each other's pages would never end), and unmaps them everywhere. Pages that
/// are busy, pinned, foreign or on their way are passed over. Success with `cpages == 0` is possible.
///
/// # Errors
/// EINVAL for an unaligned or empty range, a range that is not inside of one mapping, a mapping without
/// read permission or of a driver's pages, or a dead process.
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
    if args.end > vma.end || !vma.prot.read || vma.flags.mixed {
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
        for i in 0..args.src.len() {
            args.src[i] = collect(mm, vma, &mut pt, args, args.va(i));
        }
    }
    drop(invalidation);
    unmap_sources(mm.system(), &mut args.src, args.fault_page);
    args.cpages = args.src.iter().filter(|src| src.is_migrate()).count() as u64;
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
    let (pfn, write) = match pte {
        Pte::None if vma.is_anon() && vma.userfault.is_none() => return MigratePfn::empty(),
        Pte::Present(PresentPte { pfn, .. }) if sys.is_zero_page(pfn) => {
            return if args.select.system {
                MigratePfn::empty()
            } else {
                MigratePfn::default()
            };
        }
        Pte::Present(PresentPte { pfn, write, .. }) if pfn.is_device() => {
            let ours = sys.device_owner(pfn) == Some(args.pgmap_owner);
            if !args.select.device_coherent || !ours {
                return MigratePfn::default();
            }
            (pfn, write)
        }
        Pte::Present(PresentPte { pfn, write, .. }) if args.select.system => (pfn, write),
        Pte::Device { pfn, write, .. }
            if args.select.device_private && sys.frames.owner_of(pfn) == Some(args.pgmap_owner) =>
        {
            (pfn, write)
        }
        _ => return MigratePfn::default(),
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
