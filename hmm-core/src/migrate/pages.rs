//! The switch from the old page to the new one.

use std::sync::Arc;

use crate::addr::{Pfn, Va};
use crate::migrate::types::MigrateVma;
use crate::mm::{Mm, MmapReadGuard};
use crate::notifier::{Invalidation, MmuNotifyEvent};
use crate::pte::{PresentPte, Pte};
use crate::system::System;
use crate::vma_tree::Vma;

/// Makes each destination take its source's place: state and charge move, and where there was no page the
/// new one is mapped. Clears [`crate::MigratePfn::MIGRATE`] of sources that stay: no destination, a page that got
/// a user meanwhile, a place that the CPU touched first, shared memory, or a control group that is full.
pub fn migrate_vma_pages(guard: &MmapReadGuard<'_>, args: &mut MigrateVma) {
    let mm = guard.mm();
    let vma = guard.vma(args.start);
    // One section for all places without page, opened only if there are any.
    let mut section: Option<Invalidation<'_>> = None;
    for i in 0..args.src.len() {
        if !args.src[i].is_migrate() {
            continue;
        }
        let Some(new) = args.dst[i].pfn() else {
            args.src[i].refuse();
            continue;
        };
        let moved = match args.src[i].pfn() {
            Some(old) => switch(mm.system(), old, new, args.fault_page == Some(old)),
            None => {
                section.get_or_insert_with(|| {
                    mm.invalidate_for(
                        args.va(i),
                        args.end,
                        MmuNotifyEvent::Migrate,
                        args.pgmap_owner,
                    )
                });
                vma.is_some_and(|vma| insert(mm, vma, args.va(i), new))
            }
        };
        if !moved {
            args.src[i].refuse();
        }
    }
}

/// Moves everything but the contents from `old` to `new` (folio_migrate_mapping). False if `old` has a
/// reference too many, or belongs to an object.
pub(super) fn switch(sys: &System, old: Pfn, new: Pfn, is_fault_page: bool) -> bool {
    let moved = sys.frames.with_two(old, new, |old, new| {
        // Objects other than private memory stay in system memory.
        if !old.anon || old.cached || old.refs != old.expected_refs(is_fault_page) {
            return false;
        }
        new.anon = true;
        new.dirty = old.dirty;
        new.merged = old.merged;
        new.memcg = old.memcg.take();
        true
    });
    if moved {
        sys.event("migrate_page", &[("from", old.0), ("to", new.0)]);
    }
    moved
}

/// Maps a cleared page where there was none (migrate_vma_insert_page).
fn insert(mm: &Arc<Mm>, vma: &Vma, va: Va, new: Pfn) -> bool {
    let sys = mm.system();
    if !vma.is_anon() || !mm.is_alive() || !mm.memcg().try_charge() {
        return false;
    }
    let mut pt = mm.pt.lock();
    let empty = match pt.get(va.page()) {
        // A user-fault handler's holes are not for us to fill.
        Pte::None => vma.userfault.is_none(),
        Pte::Present(present) => sys.is_zero_page(present.pfn),
        _ => false,
    };
    if !empty {
        mm.memcg().uncharge();
        return false;
    }
    sys.frames.with(new, |frame| {
        frame.anon = true;
        frame.exclusive = true;
        frame.memcg = Some(Arc::clone(mm.memcg()));
        frame.map(mm.place(va.page()));
        frame.refs += 1;
    });
    let write = vma.prot.write;
    let pte = if sys.is_device_private(new) {
        Pte::Device {
            pfn: new,
            write,
            none: false,
            soft_dirty: true,
        }
    } else {
        Pte::Present(PresentPte {
            pfn: new,
            write,
            dirty: write,
            young: true,
            none: false,
            soft_dirty: true,
        })
    };
    pt.set(va.page(), pte);
    pt.rss.anon += 1;
    sys.event(
        "migrate_insert",
        &[("mm", mm.id()), ("addr", va.0), ("to", new.0)],
    );
    true
}
