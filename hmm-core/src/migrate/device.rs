//! Migration of device pages by number, for eviction and release: no address space is named.

use crate::addr::Pfn;
use crate::migrate::finalize::finish;
use crate::migrate::pages::switch;
use crate::migrate::types::MigratePfn;
use crate::migrate::unmap::unmap_sources;
use crate::system::System;

/// A migration of device pages wherever they are mapped.
#[derive(Debug, Default)]
pub struct MigrateDevice {
    /// Sources, one a page; 0 where a page is free or busy.
    pub src: Vec<MigratePfn>,
    /// Destinations: locked pages with one reference by the driver, or 0.
    pub dst: Vec<MigratePfn>,
}

/// Locks and unmaps the device pages `start..start + npages` that are in use. Busy ones are passed over:
/// call again until none is in use. Needs no mmap_lock, and waits for none.
pub fn migrate_device_range(sys: &System, start: Pfn, npages: u64) -> MigrateDevice {
    let pfns: Vec<Pfn> = (0..npages).map(|i| start + i).collect();
    migrate_device_pfns(sys, &pfns)
}

/// As [`migrate_device_range`], for pages anywhere.
pub fn migrate_device_pfns(sys: &System, pfns: &[Pfn]) -> MigrateDevice {
    let mut src: Vec<MigratePfn> = pfns.iter().map(|&pfn| collect(sys, pfn)).collect();
    unmap_sources(sys, &mut src, None);
    let dst = vec![MigratePfn::default(); src.len()];
    MigrateDevice { src, dst }
}

fn collect(sys: &System, pfn: Pfn) -> MigratePfn {
    if sys.frames.try_get_locked(pfn) {
        MigratePfn::source(pfn, false)
    } else {
        MigratePfn::default()
    }
}

/// Makes each destination take its source's place; see [`crate::migrate_vma_pages`].
pub fn migrate_device_pages(sys: &System, args: &mut MigrateDevice) {
    for (src, dst) in args.src.iter_mut().zip(&args.dst) {
        if let Some(old) = src.pfn().filter(|_| src.is_migrate())
            && !dst.pfn().is_some_and(|new| switch(sys, old, new, false))
        {
            src.refuse();
        }
    }
}

/// Maps each page where it now is, unlocks and frees; see [`crate::migrate_vma_finalize`].
pub fn migrate_device_finalize(sys: &System, args: &mut MigrateDevice) {
    finish(sys, &args.src, &args.dst, None);
}
