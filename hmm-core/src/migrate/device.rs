//! Migration of device pages by number, for eviction and release: no address space is named.

use crate::addr::{HUGE_PAGES, Pfn};
use crate::migrate::compound::span;
use crate::migrate::finalize::finish;
use crate::migrate::pages::switch_sources;
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

/// As [`migrate_device_range`]; 512 aligned pages that some process maps by one entry come as one compound
/// source, if none of them is busy.
pub fn migrate_device_range_compound(sys: &System, start: Pfn, npages: u64) -> MigrateDevice {
    let mut src = vec![MigratePfn::default(); npages as usize];
    let mut i = 0;
    while i < src.len() {
        let pfn = start + i as u64;
        let whole = npages - i as u64 >= HUGE_PAGES
            && pfn.is_huge_aligned()
            && is_mapped_huge(sys, pfn)
            && sys.frames.try_get_locked_run(pfn, HUGE_PAGES, None);
        src[i] = if whole {
            MigratePfn::source(pfn, false).whole()
        } else {
            collect(sys, pfn)
        };
        i += span(src[i]);
    }
    unmapped(sys, src)
}

/// Whether the first process that maps the page does so by one entry for it and the next 511.
fn is_mapped_huge(sys: &System, pfn: Pfn) -> bool {
    let place = sys
        .frames
        .with(pfn, |frame| frame.mapped.iter().copied().min());
    let mm = place.and_then(|place| Some((sys.mm(place.mm)?, place.page)));
    mm.is_some_and(|(mm, page)| {
        let entry = mm.pt.lock().get_sized(page);
        entry.is_huge() && entry.pte.pfn() == Some(pfn)
    })
}

/// As [`migrate_device_range`], for pages anywhere.
pub fn migrate_device_pfns(sys: &System, pfns: &[Pfn]) -> MigrateDevice {
    unmapped(sys, pfns.iter().map(|&pfn| collect(sys, pfn)).collect())
}

fn unmapped(sys: &System, mut src: Vec<MigratePfn>) -> MigrateDevice {
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
    switch_sources(sys, &mut args.src, &args.dst, None, |_, _, _| false);
}

/// Maps each page where it now is, unlocks and frees; see [`crate::migrate_vma_finalize`].
pub fn migrate_device_finalize(sys: &System, args: &mut MigrateDevice) {
    finish(sys, &args.src, &args.dst, None);
}
