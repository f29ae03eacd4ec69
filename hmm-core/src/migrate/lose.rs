//! Device pages whose contents nobody can read any more: the device was taken out.

use crate::addr::Pfn;
use crate::pte::Pte;
use crate::rmap::{Unmap, replace_migration_entries, unmap};
use crate::system::System;

/// Gives up the contents of the device pages `start..start + npages` that are in use: they are taken out of all page
/// tables, and whoever had them there gets SIGBUS from the CPU and EFAULT from a device, as after a memory failure. The
/// pages themselves become free once nobody holds a reference. Busy ones are passed over: call again until none is in
/// use. Returns how many were unmapped. Needs no mmap_lock, and waits for none.
///
/// Only for a device that is gone: a page that can still be read is to be migrated.
pub fn lose_device_range(sys: &System, start: Pfn, npages: u64) -> u64 {
    let mut lost = 0;
    for pfn in (0..npages).map(|n| start + n) {
        if !sys.frames.try_get_locked(pfn) {
            continue;
        }
        unmap(sys, pfn, Unmap::Poison);
        let mapped = sys.frames.with(pfn, |frame| !frame.migrating.is_empty());
        replace_migration_entries(sys, pfn, |_| Pte::Poison);
        lost += u64::from(mapped);
        sys.frames.unlock(pfn);
        sys.frames.put(pfn);
    }
    if lost > 0 {
        sys.event("device_pages_lost", &[("pfn", start.0), ("pages", lost)]);
    }
    lost
}
