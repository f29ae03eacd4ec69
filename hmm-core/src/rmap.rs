//! Working on a page wherever it is mapped.

mod huge;

pub(crate) use huge::{
    install_migration_entries, remove_migration_entries_huge, try_to_migrate_huge,
};

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::frame::Place;
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::PageTable;
use crate::pte::{MigrationKind, PresentPte, Pte};
use crate::sync;
use crate::system::System;

/// Replaces the entry of `pfn` at `place` by a migration entry. The page's reference that the entry held
/// is dropped (the caller has one of its own). False if the page is pinned: then nothing changed.
/// `pt` is the table of `place`, and `pte` what it holds there.
pub(crate) fn install_migration_entry(
    sys: &System,
    pt: &mut PageTable,
    place: Place,
    pte: Pte,
) -> bool {
    let soft_dirty = pte.is_soft_dirty();
    let (pfn, write, dirty, young, none) = match pte {
        Pte::Present(PresentPte {
            pfn,
            write,
            dirty,
            young,
            none,
            ..
        }) => (pfn, write, dirty, young, none),
        Pte::Device {
            pfn, write, none, ..
        } => (pfn, write, false, false, none),
        // Back from the migration it is a plain page, that the next store makes writable.
        Pte::Exclusive { pfn, none, .. } => (pfn, false, true, true, none),
        Pte::None | Pte::Migration { .. } | Pte::Swap { .. } | Pte::Poison => return false,
    };
    let kind = sys.frames.with(pfn, |frame| {
        let exclusive = frame.exclusive;
        if frame.anon && !frame.try_share() {
            return None;
        }
        frame.dirty |= dirty;
        frame.unmap(place);
        frame.add_migration(place);
        frame.refs -= 1;
        Some(match (write, exclusive) {
            (true, _) => MigrationKind::Write,
            (false, true) => MigrationKind::ReadExclusive,
            (false, false) => MigrationKind::Read,
        })
    });
    let Some(kind) = kind else { return false };
    pt.set(
        place.page,
        Pte::Migration {
            pfn,
            kind,
            dirty,
            young,
            none,
            soft_dirty,
        },
    );
    true
}

/// What a page is unmapped for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmap {
    /// It moves.
    Migrate,
    /// It leaves memory: not from a mapping that is locked.
    Reclaim,
    /// It is lost: from everywhere, pinned or not.
    Poison,
}

/// Unmaps a locked page everywhere, leaving migration entries (try_to_migrate). Mappings that a pin
/// protects stay.
pub(crate) fn try_to_migrate(sys: &System, pfn: Pfn) {
    unmap(sys, pfn, Unmap::Migrate);
}

/// Unmaps a locked page, leaving migration entries. False if some mappings stay.
pub(crate) fn unmap(sys: &System, pfn: Pfn, why: Unmap) -> bool {
    let mut refused: Vec<Place> = Vec::new();
    loop {
        let next = sys.frames.with(pfn, |f| {
            f.mapped
                .iter()
                .copied()
                .filter(|p| !refused.contains(p))
                .min()
        });
        let Some(place) = next else {
            return refused.is_empty();
        };
        let Some(mm) = sys.mm(place.mm) else {
            // Its last handle is just being dropped, which takes the mapping away.
            sync::yield_now();
            continue;
        };
        let va = Va::of_page(place.page);
        let invalidation = mm.invalidate(va, va + PAGE_SIZE, MmuNotifyEvent::Clear);
        {
            let mut pt = mm.pt.lock();
            let pte = pt.get(place.page);
            let still = !matches!(pte, Pte::Migration { .. }) && pte.pfn() == Some(pfn);
            if still && why == Unmap::Poison {
                // What the pin protected is lost.
                sys.frames.with(pfn, |frame| frame.exclusive = false);
            }
            let stays = why == Unmap::Reclaim && pt.is_locked(place.page);
            if still && (stays || !install_migration_entry(sys, &mut pt, place, pte)) {
                refused.push(place);
            }
        }
        drop(invalidation);
    }
}

/// Replaces all migration entries of a locked page, which then is in no page table any more.
pub(crate) fn replace_migration_entries(sys: &System, pfn: Pfn, mut new: impl FnMut(Pte) -> Pte) {
    loop {
        let next = sys.frames.with(pfn, |f| f.migrating.iter().copied().min());
        let Some(place) = next else { return };
        let Some(mm) = sys.mm(place.mm) else {
            sync::yield_now();
            continue;
        };
        let mut pt = mm.pt.lock();
        let old = pt.get(place.page);
        if matches!(old, Pte::Migration { .. }) && old.pfn() == Some(pfn) {
            sys.frames.with(pfn, |frame| {
                frame.remove_migration(place);
                *pt.rss.of(frame) -= 1;
            });
            pt.set(place.page, new(old));
        }
    }
}

/// Replaces all migration entries of `from` by mappings of `to`, which may be the same page. Both are
/// locked by the caller.
pub(crate) fn remove_migration_entries(sys: &System, from: Pfn, to: Pfn) {
    loop {
        let next = sys.frames.with(from, |f| f.migrating.iter().copied().min());
        let Some(place) = next else { return };
        let Some(mm) = sys.mm(place.mm) else {
            sync::yield_now();
            continue;
        };
        let mut pt = mm.pt.lock();
        let Pte::Migration {
            pfn,
            kind,
            dirty,
            young,
            none,
            soft_dirty,
        } = pt.get(place.page)
        else {
            continue;
        };
        if pfn != from {
            continue;
        }
        sys.frames.with(from, |f| f.remove_migration(place));
        sys.frames.with(to, |f| {
            f.map(place);
            f.refs += 1;
            if kind != MigrationKind::Read {
                f.exclusive = f.anon;
            }
        });
        let write = kind == MigrationKind::Write;
        let pte = if sys.is_device_private(to) {
            Pte::Device {
                pfn: to,
                write,
                none,
                soft_dirty,
            }
        } else {
            Pte::Present(PresentPte {
                pfn: to,
                write,
                dirty,
                young,
                none,
                soft_dirty,
            })
        };
        pt.set(place.page, pte);
    }
}
