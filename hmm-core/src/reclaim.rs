//! Taking pages out of memory.
//!
//! Reclaim works as a migration without a destination: lock the page, unmap it everywhere leaving migration
//! entries, so that nobody can use it and whoever wants to waits for the lock, look whether somebody has a
//! reference, and then turn the entries into what says where the contents went, or back into mappings.

use std::sync::Arc;

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::errno::Errno;
use crate::mm::{Mm, MmapReadGuard};
use crate::page_cache::PageCache;
use crate::pte::{PresentPte, Pte};
use crate::rmap::{Unmap, remove_migration_entries, replace_migration_entries, unmap};
use crate::system::System;
use crate::vma_tree::{Vma, user_range};

impl Mm {
    /// Takes the pages of `len` bytes (rounded up to pages) out of memory: private pages go to swap space,
    /// pages of files and shared memory to what is behind them, in all processes that map them. What is
    /// locked, pinned, in device memory, a hugetlb page, or has no room in swap space stays. Returns how many pages went.
    ///
    /// # Errors
    /// EINVAL for a bad range, ENOMEM when part of it is not mapped (the rest was done), ESRCH for a dead process.
    pub fn swap_out(self: &Arc<Mm>, start: Va, len: u64) -> Result<u64, Errno> {
        let end = user_range(start, len)?;
        let guard = self.mmap_read_lock();
        self.check_alive()?;
        let gone = reclaim_range(&guard, start, end, u64::MAX);
        if guard.vmas.covers(start, end) {
            Ok(gone)
        } else {
            Err(Errno::ENOMEM)
        }
    }
}

impl System {
    /// Takes up to `target` pages out of memory, from the lowest addresses of the oldest process on, then
    /// what nobody maps of files and shared memory; see [`Mm::swap_out`]. Returns how many went. Hold no mmap_lock.
    pub fn reclaim(&self, target: u64) -> u64 {
        let mut gone = 0;
        let mut last_id = 0;
        while gone < target
            && let Some(mm) = self.next_mm_after(last_id)
        {
            last_id = mm.id();
            let guard = mm.mmap_read_lock();
            gone += reclaim_range(&guard, Va(0), Va(u64::MAX), target - gone);
        }
        for cache in self.caches() {
            gone += self.reclaim_unmapped(&cache, target - gone);
        }
        gone
    }

    fn reclaim_unmapped(&self, cache: &PageCache, target: u64) -> u64 {
        let mut gone = 0;
        let mut from = 0;
        while gone < target
            && let Some((index, pfn)) = cache.next_page(from)
        {
            from = index + 1;
            if self.frames.try_lock(pfn) {
                gone += u64::from(cache.evict(index, pfn));
                self.frames.unlock(pfn);
            }
            self.frames.put(pfn);
        }
        gone
    }
}

/// Reclaims at most `target` pages of `start..end`.
fn reclaim_range(guard: &MmapReadGuard<'_>, start: Va, end: Va, target: u64) -> u64 {
    let mm = guard.mm();
    let mut gone = 0;
    for vma in guard.vmas.overlapping(start, end) {
        if vma.flags.locked || vma.is_hugetlb() {
            continue;
        }
        let (first, last) = (vma.start.max(start), vma.end.min(end));
        let entries = mm.pt.lock().range(first.page(), last.page());
        for (page, _) in entries {
            if gone == target {
                return gone;
            }
            gone += u64::from(reclaim_page(mm, vma, Va::of_page(page)));
        }
    }
    gone
}

/// Takes the page at `va` out of memory, if nothing speaks against it.
fn reclaim_page(mm: &Arc<Mm>, vma: &Vma, va: Va) -> bool {
    let sys = mm.system();
    let pfn = {
        let pt = mm.pt.lock();
        let Pte::Present(PresentPte { pfn, .. }) = pt.get(va.page()) else {
            return false;
        };
        let pinned = || sys.frames.with(pfn, |frame| frame.pins > 0);
        if sys.is_zero_page(pfn) || pfn.is_device() || pinned() || !sys.frames.try_get_locked(pfn) {
            return false;
        }
        pfn
    };
    let gone = unmap(sys, pfn, Unmap::Reclaim) && take_out(sys, vma, va, pfn);
    if gone {
        sys.event(
            "reclaim",
            &[("mm", mm.id()), ("addr", va.0), ("pfn", pfn.0)],
        );
    } else {
        remove_migration_entries(sys, pfn, pfn);
    }
    sys.frames.unlock(pfn);
    sys.frames.put(pfn);
    gone
}

/// `pfn` is locked and unmapped. Lets it go, and says in the entries where its contents are.
fn take_out(sys: &System, vma: &Vma, va: Va, pfn: Pfn) -> bool {
    let (anon, unused, droppable) = sys.frames.with(pfn, |frame| {
        let unused = frame.mapped.is_empty() && frame.refs == frame.expected_refs(false);
        (frame.anon, unused, frame.lazyfree && !frame.dirty)
    });
    if !anon {
        let evicted = vma
            .object_page(va)
            .is_some_and(|(object, index)| object.evict(index, pfn));
        if evicted {
            replace_migration_entries(sys, pfn, |_| Pte::None);
        }
        return evicted;
    }
    if !unused {
        return false;
    }
    if droppable {
        replace_migration_entries(sys, pfn, |_| Pte::None);
        return true;
    }
    let mut data = vec![0; PAGE_SIZE as usize].into_boxed_slice();
    sys.phys().read(pfn, 0, &mut data);
    let Some(slot) = sys.swap.store(data, false) else {
        return false;
    };
    replace_migration_entries(sys, pfn, |old| {
        sys.swap.get(slot);
        Pte::Swap {
            slot,
            soft_dirty: old.is_soft_dirty(),
        }
    });
    sys.swap.put(slot);
    true
}
