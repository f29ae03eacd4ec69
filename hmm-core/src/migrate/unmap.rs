//! Unmapping what was collected, and giving up on pages that somebody uses.

use crate::addr::{HUGE_PAGES, Pfn};
use crate::migrate::compound::{pages, span, split};
use crate::migrate::types::MigratePfn;
use crate::rmap::{remove_migration_entries, try_to_migrate, try_to_migrate_huge};
use crate::system::System;

/// Unmaps the sources wherever else they are mapped and drops those that have references nobody
/// accounts for: a pin, or a user in passing (migrate_device_unmap). A compound source with such a page is
/// split, and the others go on.
pub(super) fn unmap_sources(sys: &System, src: &mut [MigratePfn], fault_page: Option<Pfn>) {
    let mut restore = Vec::new();
    let mut i = 0;
    while i < src.len() {
        let entry = src[i];
        if let Some(first) = entry.pfn() {
            if entry.is_compound() {
                try_to_migrate_huge(sys, first);
            } else {
                try_to_migrate(sys, first);
            }
            let before = restore.len();
            restore.extend(
                (i..)
                    .zip(pages(first, entry))
                    .filter(|&(_, pfn)| !free_to_go(sys, pfn, fault_page)),
            );
            if entry.is_compound() && restore.len() > before {
                split(src, i);
                sys.event("migrate_split", &[("pfn", first.0), ("pages", HUGE_PAGES)]);
            }
        }
        i += span(entry);
    }
    for (i, pfn) in restore {
        src[i] = MigratePfn::default();
        remove_migration_entries(sys, pfn, pfn);
        if fault_page != Some(pfn) {
            sys.frames.unlock(pfn);
        }
        sys.frames.put(pfn);
        sys.event("migrate_busy", &[("pfn", pfn.0)]);
    }
}

fn free_to_go(sys: &System, pfn: Pfn, fault_page: Option<Pfn>) -> bool {
    sys.frames.with(pfn, |frame| {
        frame.mapped.is_empty() && frame.refs == frame.expected_refs(fault_page == Some(pfn))
    })
}
