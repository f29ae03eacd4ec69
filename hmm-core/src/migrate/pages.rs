//! The switch from the old page to the new one.

use std::sync::Arc;

use crate::addr::{HUGE_PAGES, PAGE_SIZE, Pfn, Va};
use crate::migrate::compound::{span, split};
use crate::migrate::types::{MigratePfn, MigrateVma};
use crate::mm::{Mm, MmapReadGuard};
use crate::notifier::{Invalidation, MmuNotifyEvent};
use crate::pte::{PresentPte, Pte};
use crate::system::System;
use crate::vma_tree::Vma;

/// Makes each destination take its source's place: state and charge move, and where there was no page the
/// new one is mapped. Clears [`crate::MigratePfn::MIGRATE`] of sources that stay: no destination, a page that got
/// a user meanwhile, a place that the CPU touched first, shared memory, or a control group that is full. A
/// compound source goes whole or, if it got single destinations, page by page; a compound destination for
/// anything else is not used.
pub fn migrate_vma_pages(guard: &MmapReadGuard<'_>, args: &mut MigrateVma) {
    let mm = guard.mm();
    let vma = guard.vma(args.start);
    let (start, end, owner) = (args.start, args.end, args.pgmap_owner);
    // One section for all places without page, opened only if there are any.
    let mut section: Option<Invalidation<'_>> = None;
    let insert = |i, new, huge| {
        let va = start + i as u64 * PAGE_SIZE;
        section.get_or_insert_with(|| mm.invalidate_for(va, end, MmuNotifyEvent::Migrate, owner));
        vma.is_some_and(|vma| insert(mm, vma, va, new, huge))
    };
    switch_sources(
        mm.system(),
        &mut args.src,
        &args.dst,
        args.fault_page,
        insert,
    );
}

/// Goes through sources and destinations. `insert` maps the destination of entry `i` where there was no page,
/// a huge one if the flag is set.
pub(super) fn switch_sources(
    sys: &System,
    src: &mut [MigratePfn],
    dst: &[MigratePfn],
    fault_page: Option<Pfn>,
    mut insert: impl FnMut(usize, Pfn, bool) -> bool,
) {
    let mut i = 0;
    while i < src.len() {
        let whole = span(src[i]);
        if src[i].is_migrate()
            && src[i].is_compound()
            && !dst[i].is_compound()
            && dst[i..i + whole].iter().any(|dst| dst.pfn().is_some())
        {
            split(src, i);
            continue;
        }
        let source = src[i];
        let alike = source.is_compound() == dst[i].is_compound();
        let new = dst[i].pfn().filter(|&new| {
            source.is_migrate() && alike && (!source.is_compound() || new.is_huge_aligned())
        });
        let moved = match (new, source.pfn()) {
            (Some(new), Some(old)) => switch(sys, old, new, source.pages(), fault_page),
            (Some(new), None) => insert(i, new, source.is_compound()),
            (None, _) => false,
        };
        if !moved {
            src[i].refuse();
        }
        i += whole;
    }
}

/// Moves everything but the contents of `pages` pages from `old` on to those from `new` on
/// (folio_migrate_mapping): all or none. False if one of `old` has a reference too many, or belongs to an
/// object.
fn switch(sys: &System, old: Pfn, new: Pfn, pages: u64, fault_page: Option<Pfn>) -> bool {
    let can = sys.frames.all(old, pages, |n, frame| {
        // Objects other than private memory stay in system memory.
        frame.anon
            && !frame.cached
            && frame.refs == frame.expected_refs(fault_page == Some(old + n))
    });
    if can {
        for n in 0..pages {
            sys.frames.with_two(old + n, new + n, |old, new| {
                new.anon = true;
                new.dirty = old.dirty;
                new.merged = old.merged;
                new.memcg = old.memcg.take();
            });
        }
        let mut fields = vec![("from", old.0), ("to", new.0), ("pages", pages)];
        // Where it is mapped; of several places the first one.
        let place = sys.frames.with(old, |f| f.migrating.iter().copied().min());
        if let Some(place) = place {
            fields.extend([("mm", place.mm), ("addr", Va::of_page(place.page).0)]);
        }
        sys.event("migrate_page", &fields);
    }
    can
}

/// Maps cleared pages where there were none (migrate_vma_insert_page): one, or the 512 of a huge page.
fn insert(mm: &Arc<Mm>, vma: &Vma, va: Va, new: Pfn, huge: bool) -> bool {
    let sys = mm.system();
    let pages = if huge { HUGE_PAGES } else { 1 };
    if !vma.is_anon() || !mm.is_alive() || !mm.memcg().try_charge_many(pages) {
        return false;
    }
    let mut pt = mm.pt.lock();
    let entry = pt.get_sized(va.page());
    let empty = match entry.pte {
        // A user-fault handler's holes are not for us to fill.
        Pte::None => vma.userfault.is_none() && (!huge || pt.is_area_empty(va.page())),
        Pte::Present(present) => sys.is_zero_page(present.pfn) && (!huge || entry.is_huge()),
        _ => false,
    };
    if !empty {
        mm.memcg().uncharge_many(pages);
        return false;
    }
    sys.frames.with_run(new, pages, |n, frame| {
        frame.map_own(mm.place(va.page() + n));
        frame.memcg = Some(Arc::clone(mm.memcg()));
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
    if huge {
        pt.set_huge(va.page(), pte);
    } else {
        pt.set(va.page(), pte);
    }
    pt.rss.anon += pages;
    sys.event(
        "migrate_insert",
        &[
            ("mm", mm.id()),
            ("addr", va.0),
            ("to", new.0),
            ("pages", pages),
        ],
    );
    true
}
