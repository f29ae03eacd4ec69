//! Merging of equal pages (KSM).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::frame::{Frame, Place};
use crate::memremap::VmFault;
use crate::mm::{Mm, MmapReadGuard};
use crate::notifier::MmuNotifyEvent;
use crate::pte::{PresentPte, Pte};
use crate::system::System;

/// A page that others can be merged into, and where it was seen.
#[derive(Clone, Copy)]
struct Candidate {
    pfn: Pfn,
    place: Place,
}

impl System {
    /// Merges equal private pages of mappings with [`crate::Advice::Mergeable`]: one page, mapped read-only,
    /// serves all of them until one is written. Goes through the processes by age and through their
    /// memory by address, pages that are merged already first. Pages that are pinned, in device memory or
    /// busy stay. Returns how many entries of page tables got another page. Hold no mmap_lock.
    pub fn ksm_scan(&self) -> u64 {
        let places = self.mergeable_pages();
        let mut known: BTreeMap<u64, Vec<Candidate>> = BTreeMap::new();
        for candidate in places.iter().filter(|c| self.is_merged(c.pfn)) {
            let same = known.entry(self.checksum(candidate.pfn)).or_default();
            if same.iter().all(|other| other.pfn != candidate.pfn) {
                same.push(*candidate);
            }
        }
        let mut merged = 0;
        for candidate in places {
            let same = known.entry(self.checksum(candidate.pfn)).or_default();
            if same.iter().any(|other| other.pfn == candidate.pfn) {
                continue;
            }
            if same.iter().any(|&into| self.merge(candidate, into)) {
                merged += 1;
            } else {
                same.push(candidate);
            }
        }
        merged
    }

    /// Every page that may take part, by process and address.
    fn mergeable_pages(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        let mut last_id = 0;
        while let Some(mm) = self.next_mm_after(last_id) {
            last_id = mm.id();
            let guard = mm.mmap_read_lock();
            for vma in guard.vmas.iter().filter(|vma| vma.flags.mergeable) {
                let entries = mm.pt.lock().range(vma.start.page(), vma.end.page());
                for (page, pte) in entries {
                    let Some(present) = mergeable(self, pte) else {
                        continue;
                    };
                    let pfn = present.pfn;
                    let place = mm.place(page);
                    found.push(Candidate { pfn, place });
                }
            }
        }
        found
    }

    fn is_merged(&self, pfn: Pfn) -> bool {
        self.frames.with(pfn, |frame| frame.merged)
    }

    fn contents(&self, pfn: Pfn) -> Vec<u8> {
        let mut data = vec![0; PAGE_SIZE as usize];
        self.phys().read(pfn, 0, &mut data);
        data
    }

    /// Only a hint: a page may change or be freed at any time until it is held.
    fn checksum(&self, pfn: Pfn) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.contents(pfn).hash(&mut hasher);
        hasher.finish()
    }

    /// Replaces the page at one place by another with the same contents. False if they differ, or one of
    /// them cannot be used.
    fn merge(&self, page: Candidate, into: Candidate) -> bool {
        // A page that changed is not worth the loss of write permission.
        if self.contents(page.pfn) != self.contents(into.pfn) || !self.prepare(into) {
            return false;
        }
        let Some(mm) = self.mm(page.place.mm) else {
            return false;
        };
        let guard = mm.mmap_read_lock();
        let va = Va::of_page(page.place.page);
        if !is_mergeable(&guard, va) || !self.hold(&mm, page) {
            return false;
        }
        let done = self.hold_merged(into.pfn) && {
            let done = self.contents(page.pfn) == self.contents(into.pfn)
                && self.replace(&mm, va, page.pfn, into.pfn);
            self.let_go(into.pfn);
            done
        };
        self.let_go(page.pfn);
        done
    }

    /// Makes a page one that others are merged into.
    fn prepare(&self, page: Candidate) -> bool {
        let Some(mm) = self.mm(page.place.mm) else {
            return false;
        };
        let guard = mm.mmap_read_lock();
        if !is_mergeable(&guard, Va::of_page(page.place.page)) || !self.hold(&mm, page) {
            return false;
        }
        self.frames.with(page.pfn, |frame| {
            frame.merged = true;
            // Others rely on the contents now.
            frame.lazyfree = false;
            frame.dirty = true;
        });
        self.let_go(page.pfn);
        true
    }

    /// Locks a page that still is where it was seen and makes it read-only, so that its contents stay as
    /// they are until [`System::let_go`]: a store finds it shared, and copies.
    fn hold(&self, mm: &Arc<Mm>, page: Candidate) -> bool {
        let is_there = |pte: Pte| mergeable(self, pte).filter(|p| p.pfn == page.pfn);
        {
            let pt = mm.pt.lock();
            let there = is_there(pt.get(page.place.page)).is_some();
            if !there || !self.frames.try_get_locked(page.pfn) {
                return false;
            }
        }
        let va = Va::of_page(page.place.page);
        let mut held = self.frames.with(page.pfn, |frame| !frame.exclusive);
        if !held {
            let invalidation = mm.invalidate(va, va + PAGE_SIZE, MmuNotifyEvent::Clear);
            let mut pt = mm.pt.lock();
            if let Some(present) = is_there(pt.get(page.place.page))
                && self.frames.with(page.pfn, |frame| frame.try_share())
            {
                let write = false;
                pt.set(
                    page.place.page,
                    Pte::Present(PresentPte { write, ..present }),
                );
                held = true;
            }
            drop(pt);
            drop(invalidation);
        }
        if !held {
            self.let_go(page.pfn);
        }
        held
    }

    /// As [`System::hold`] for a page that [`System::prepare`] has made read-only, if it still is.
    fn hold_merged(&self, pfn: Pfn) -> bool {
        let held = self.frames.try_get_locked(pfn);
        let can = |f: &mut Frame| f.merged && !f.exclusive && !f.mapped.is_empty();
        if held && !self.frames.with(pfn, can) {
            self.let_go(pfn);
            return false;
        }
        held
    }

    fn let_go(&self, pfn: Pfn) {
        self.frames.unlock(pfn);
        self.frames.put(pfn);
    }

    /// Both pages are held and equal.
    fn replace(&self, mm: &Arc<Mm>, va: Va, old: Pfn, new: Pfn) -> bool {
        let invalidation = mm.invalidate(va, va + PAGE_SIZE, MmuNotifyEvent::Clear);
        let mut pt = mm.pt.lock();
        let place = mm.place(va.page());
        let there = mergeable(self, pt.get(va.page())).filter(|p| p.pfn == old && !p.write);
        if let Some(present) = there {
            self.frames.with(old, |frame| frame.unmap(place));
            self.frames.with(new, |frame| {
                frame.map(place);
                frame.refs += 1;
            });
            pt.set(
                va.page(),
                Pte::Present(PresentPte {
                    pfn: new,
                    ..present
                }),
            );
        }
        drop(pt);
        drop(invalidation);
        if there.is_some() {
            self.frames.put(old);
            let (from, to) = (("from", old.0), ("to", new.0));
            self.event("ksm_merge", &[("mm", mm.id()), ("addr", va.0), from, to]);
        }
        there.is_some()
    }
}

/// A private page in system memory that no pin holds.
fn mergeable(sys: &System, pte: Pte) -> Option<PresentPte> {
    let Pte::Present(present) = pte else {
        return None;
    };
    let pfn = present.pfn;
    let can = !present.none
        && !sys.is_zero_page(pfn)
        && !pfn.is_device()
        && sys.frames.with(pfn, |frame| frame.anon && frame.pins == 0);
    can.then_some(present)
}

fn is_mergeable(guard: &MmapReadGuard<'_>, va: Va) -> bool {
    guard.mm().is_alive() && guard.vma(va).is_some_and(|vma| vma.flags.mergeable)
}

impl Mm {
    /// Gives the process pages of its own where pages of `start..end` were merged.
    pub(crate) fn unmerge(self: &Arc<Mm>, start: Va, end: Va) -> Result<(), Errno> {
        let guard = self.mmap_read_lock();
        let pages = self.pt.lock().range(start.page(), end.page());
        for (page, _) in pages {
            let va = Va::of_page(page);
            while self.is_merged_at(va) {
                let Some(vma) = guard.vma(va).filter(|vma| !vma.flags.mergeable) else {
                    break;
                };
                let flags = FaultFlags {
                    write: false,
                    unshare: true,
                };
                match handle_mm_fault(&guard, vma, va, flags) {
                    Ok(()) => {}
                    Err(VmFault::Oom) => return Err(Errno::ENOMEM),
                    Err(VmFault::Sigbus | VmFault::Retry) => break,
                }
            }
        }
        Ok(())
    }

    fn is_merged_at(&self, va: Va) -> bool {
        match self.pt.lock().get(va.page()) {
            Pte::Present(present) => self.system().is_merged(present.pfn),
            _ => false,
        }
    }
}
