//! Coherent device pages that must be in system memory: the CPU itself moves them.

use crate::addr::Pfn;
use crate::errno::Errno;
use crate::migrate::device::{migrate_device_finalize, migrate_device_pages, migrate_device_pfns};
use crate::migrate::types::MigratePfn;
use crate::sync;
use crate::system::System;

/// How often somebody else may be busy with the page before we give up.
const TRIES: u32 = 64;

/// Moves a page of coherent memory to system memory, with all its mappings (migrate_device_coherent_folio).
/// Waits for the page's lock, so hold nothing but mmap_lock. Success also if the page went elsewhere meanwhile.
///
/// # Errors
/// EBUSY when references keep the page where it is, ENOMEM when memory is full, EFAULT when it cannot be read.
pub fn bring_coherent_home(sys: &System, pfn: Pfn) -> Result<(), Errno> {
    for _ in 0..TRIES {
        sys.frames.wait_unlocked(pfn);
        if sys.page_mapcount(pfn) == 0 {
            return Ok(());
        }
        match try_home(sys, pfn) {
            Err(Errno::EBUSY) => sync::yield_now(),
            result => return result,
        }
    }
    Err(Errno::EBUSY)
}

fn try_home(sys: &System, pfn: Pfn) -> Result<(), Errno> {
    let mut args = migrate_device_pfns(sys, &[pfn]);
    if !args.src[0].is_migrate() {
        return Err(Errno::EBUSY);
    }
    let result = copy(sys, pfn).map(|dst| args.dst[0] = MigratePfn::page(dst));
    migrate_device_pages(sys, &mut args);
    let moved = args.src[0].is_migrate();
    migrate_device_finalize(sys, &mut args);
    result.and(if moved { Ok(()) } else { Err(Errno::EBUSY) })
}

/// A new system page, locked, with the contents of `src`.
fn copy(sys: &System, src: Pfn) -> Result<Pfn, Errno> {
    let dst = sys.alloc_page().ok_or(Errno::ENOMEM)?;
    if sys.copy_page(dst, src).is_err() {
        sys.put_page(dst);
        return Err(Errno::EFAULT);
    }
    // Nobody else knows of it yet.
    sys.try_lock_page(dst);
    Ok(dst)
}
