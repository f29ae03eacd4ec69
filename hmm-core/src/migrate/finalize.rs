//! The end of a migration.

use crate::addr::Pfn;
use crate::migrate::types::{MigratePfn, MigrateVma};
use crate::mm::MmapReadGuard;
use crate::rmap::remove_migration_entries;
use crate::system::System;

/// Maps each page where it now is (the destination where [`MigratePfn::MIGRATE`] is still set, else the
/// source), unlocks both, and frees the one that is not used. The contents must be complete by now.
pub fn migrate_vma_finalize(guard: &MmapReadGuard<'_>, args: &mut MigrateVma) {
    finish(guard.mm().system(), &args.src, &args.dst, args.fault_page);
}

pub(super) fn finish(
    sys: &System,
    src: &[MigratePfn],
    dst: &[MigratePfn],
    fault_page: Option<Pfn>,
) {
    for (src, dst) in src.iter().zip(dst) {
        if let Some(old) = src.pfn() {
            let to = dst.pfn().filter(|_| src.is_migrate()).unwrap_or(old);
            remove_migration_entries(sys, old, to);
            if fault_page != Some(old) {
                sys.frames.unlock(old);
            }
            sys.frames.put(old);
        }
        if let Some(new) = dst.pfn() {
            sys.frames.unlock(new);
            sys.frames.put(new);
        }
    }
}
