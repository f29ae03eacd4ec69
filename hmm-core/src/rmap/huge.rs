//! Huge pages: unmapped and mapped again as a whole where that is possible.
//!
//! Migration entries are single ones. A table made of them remembers that it stood for a huge entry
//! ([`PageTable::was_huge`]), so that the migration's end can join them again.

use crate::addr::{HUGE_PAGES, HUGE_SIZE, Pfn, Va};
use crate::frame::Place;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::{Entry, PageTable, huge_base};
use crate::pte::{MigrationKind, PresentPte, Pte};
use crate::rmap::{install_migration_entry, remove_migration_entries, try_to_migrate};
use crate::sync;
use crate::system::System;

/// As [`install_migration_entry`] for all pages of a huge entry. False if one of them is pinned: then
/// nothing changed.
pub(crate) fn install_migration_entries(
    sys: &System,
    pt: &mut PageTable,
    mm: &Mm,
    entry: Entry,
) -> bool {
    let Some(first) = entry.pte.pfn() else {
        return false;
    };
    let free = sys.frames.all(first, entry.pages(), |_, frame| {
        !frame.anon || frame.can_share()
    });
    // The pages are of this process alone or shared, so no pin can come while its table is locked.
    free && (entry.page..entry.page + entry.pages())
        .all(|page| install_migration_entry(sys, pt, mm.place(page), entry.at(page)))
}

/// As [`try_to_migrate`] for the 512 locked pages from `first` on. A process that maps them by one entry is
/// told once.
pub(crate) fn try_to_migrate_huge(sys: &System, first: Pfn) {
    let mut tried: Vec<Place> = Vec::new();
    loop {
        let next = sys.frames.with(first, |f| {
            let places = f.mapped.iter().copied();
            places.filter(|place| !tried.contains(place)).min()
        });
        let Some(place) = next else { break };
        let Some(mm) = sys.mm(place.mm) else {
            // Its last handle is just being dropped, which takes the mapping away.
            sync::yield_now();
            continue;
        };
        tried.push(place);
        let whole = |pt: &PageTable| {
            let entry = pt.get_sized(place.page);
            Some(entry).filter(|entry| entry.is_huge() && entry.pte.pfn() == Some(first))
        };
        if whole(&mm.pt.lock()).is_none() {
            continue;
        }
        let va = Va::of_page(place.page);
        let invalidation = mm.invalidate(va, va + HUGE_SIZE, MmuNotifyEvent::Clear);
        {
            let mut pt = mm.pt.lock();
            if let Some(entry) = whole(&pt) {
                install_migration_entries(sys, &mut pt, &mm, entry);
            }
        }
        drop(invalidation);
    }
    for n in 0..HUGE_PAGES {
        try_to_migrate(sys, first + n);
    }
}

/// As [`remove_migration_entries`] for the 512 pages from `from` on, which become those from `to` on. What
/// was mapped by one entry is again, unless it changed meanwhile.
pub(crate) fn remove_migration_entries_huge(sys: &System, from: Pfn, to: Pfn) {
    let places = sys.frames.with(from, |f| f.migrating.clone());
    for place in places {
        if let Some(mm) = sys.mm(place.mm) {
            join(sys, &mm, place.page, from, to);
        }
    }
    for n in 0..HUGE_PAGES {
        remove_migration_entries(sys, from + n, to + n);
    }
}

/// Makes one entry of 512 migration entries, if they are alike and once were one.
fn join(sys: &System, mm: &Mm, page: u64, from: Pfn, to: Pfn) {
    let mut pt = mm.pt.lock();
    if page != huge_base(page) || !pt.was_huge(page) {
        return;
    }
    let entries = pt.range(page, page + HUGE_PAGES);
    let mut kinds = Vec::new();
    let (mut any_dirty, mut any_young, mut any_soft_dirty) = (false, false, false);
    let mut no_access = Vec::new();
    for (n, (_, pte)) in (0..).zip(entries) {
        let Pte::Migration {
            pfn,
            kind,
            dirty,
            young,
            none,
            soft_dirty,
        } = pte
        else {
            return;
        };
        if pfn != from + n {
            return;
        }
        kinds.push(kind);
        no_access.push(none);
        any_dirty |= dirty;
        any_young |= young;
        any_soft_dirty |= soft_dirty;
    }
    let alike = |kind: MigrationKind| kind == MigrationKind::Write;
    let (Some(&kind), Some(&none)) = (kinds.first(), no_access.first()) else {
        return;
    };
    if kinds.len() as u64 != HUGE_PAGES
        || kinds.iter().any(|&k| alike(k) != alike(kind))
        || no_access.iter().any(|&n| n != none)
    {
        return;
    }
    sys.frames.with_run(from, HUGE_PAGES, |n, frame| {
        frame.remove_migration(mm.place(page + n));
    });
    sys.frames.with_run(to, HUGE_PAGES, |n, frame| {
        frame.map(mm.place(page + n));
        frame.refs += 1;
        if kinds[n as usize] != MigrationKind::Read {
            frame.exclusive = frame.anon;
        }
    });
    let write = alike(kind);
    let pte = if sys.is_device_private(to) {
        Pte::Device {
            pfn: to,
            write,
            none,
            soft_dirty: any_soft_dirty,
        }
    } else {
        Pte::Present(PresentPte {
            pfn: to,
            write,
            dirty: any_dirty,
            young: any_young,
            none,
            soft_dirty: any_soft_dirty,
        })
    };
    pt.set_huge(page, pte);
}
