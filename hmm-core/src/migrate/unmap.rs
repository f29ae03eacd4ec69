//! Unmapping what was collected, and giving up on pages that somebody uses.

use crate::addr::Pfn;
use crate::migrate::types::MigratePfn;
use crate::rmap::{remove_migration_entries, try_to_migrate};
use crate::system::System;

/// Unmaps the sources wherever else they are mapped and drops those that have references nobody
/// accounts for: a pin, or a user in passing (migrate_device_unmap).
pub(super) fn unmap_sources(sys: &System, src: &mut [MigratePfn], fault_page: Option<Pfn>) {
    let mut restore = Vec::new();
    for (i, entry) in src.iter_mut().enumerate() {
        let Some(pfn) = entry.pfn() else { continue };
        try_to_migrate(sys, pfn);
        let free_to_go = sys.frames.with(pfn, |frame| {
            frame.mapped.is_empty() && frame.refs == frame.expected_refs(fault_page == Some(pfn))
        });
        if !free_to_go {
            restore.push((i, pfn));
        }
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
