//! The end of a migration.

use crate::addr::Pfn;
use crate::migrate::types::{MigratePfn, MigrateVma};
use crate::mm::MmapReadGuard;
use crate::rmap::{remove_migration_entries, remove_migration_entries_huge};
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
    for (&src, &dst) in src.iter().zip(dst) {
        if let Some(old) = src.pfn() {
            let moved = src.is_migrate() && src.is_compound() == dst.is_compound();
            let to = dst.pfn().filter(|_| moved).unwrap_or(old);
            if src.is_compound() {
                remove_migration_entries_huge(sys, old, to);
            } else {
                remove_migration_entries(sys, old, to);
            }
            sys.frames.unlock_run(old, src.pages(), fault_page);
            sys.frames.put_run(old, src.pages());
        }
        if let Some(new) = dst.pfn() {
            sys.frames.unlock_run(new, dst.pages(), None);
            sys.frames.put_run(new, dst.pages());
        }
    }
}
