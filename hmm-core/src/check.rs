//! The rules that always hold, checked against the whole state.

mod backing;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::addr::{Pfn, Va};
use crate::frame::{Frame, Place};
use crate::memcg::Memcg;
use crate::mm::{Mm, Rss};
use crate::pagetable::{Entry, PageTable};
use crate::pte::{MigrationKind, PresentPte, Pte};
use crate::swap::SwapSlot;
use crate::sync::{MutexGuard, RwLockReadGuard};
use crate::system::System;
use crate::vma_tree::VmaTree;

/// What the page tables say about one page.
#[derive(Default)]
struct Seen {
    mapped: Vec<Place>,
    migrating: Vec<Place>,
    writable: bool,
    none_exclusive: bool,
}

impl System {
    /// Checks the rules that hold at every moment: each entry fits its mapping and its page, the reverse
    /// mappings and the counts (references, rss, control groups, free pages) agree with the page tables,
    /// the CPU maps no device page, what is writable is not shared, and what is pinned is mapped by the CPU
    /// or by nobody. May be called at any time outside of callbacks.
    ///
    /// # Errors
    /// Names the first rule that is broken, and where.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.check(false)
    }

    /// As [`System::check_invariants`], and that nothing is left over from an operation: no page is locked,
    /// no migration entry is left, and no reference is unaccounted for but pins and `driver_pages` (pages
    /// that the caller knows to be taken with [`System::alloc_page`]).
    ///
    /// # Errors
    /// Names the first rule that is broken, and where.
    pub fn check_quiescent(&self, driver_pages: u64) -> Result<(), String> {
        self.check(true)?;
        let mut loose = 0;
        let mut wrong = None;
        self.frames.for_each(|pfn, frame| {
            if self.is_zero_page(pfn) {
                return;
            }
            if frame.locked {
                wrong.get_or_insert_with(|| format!("{pfn} is locked"));
            }
            let known =
                frame.mapped.len() as u32 + frame.pins + frame.gets + u32::from(frame.cached);
            if known == 0 && frame.refs == 1 && !pfn.is_device() {
                loose += 1;
            } else if frame.refs != known {
                wrong.get_or_insert_with(|| {
                    format!("{pfn}: {} references, {known} accounted for", frame.refs)
                });
            }
        });
        let loose = loose - self.frames.pages_set_aside().min(loose);
        if loose != driver_pages {
            wrong.get_or_insert_with(|| {
                format!("{loose} pages belong to nobody, {driver_pages} expected")
            });
        }
        wrong.map_or(Ok(()), Err)
    }

    fn check(&self, quiescent: bool) -> Result<(), String> {
        if let Some(text) = self.first_violation() {
            return Err(text);
        }
        loop {
            let mms = self.mms();
            if let Some(result) = self.check_mms(&mms, quiescent) {
                return result;
            }
        }
    }

    /// None if there is another process by the time that all tables are locked.
    fn check_mms(&self, mms: &[Arc<Mm>], quiescent: bool) -> Option<Result<(), String>> {
        // Mappings can be compared where no thread is changing them just now.
        let vmas: Vec<_> = mms.iter().map(|mm| mm.vmas.try_read()).collect();
        // All tables at once, in order of their ids: entries and page states change under these locks.
        let tables: Vec<(&Arc<Mm>, MutexGuard<'_, PageTable>)> =
            mms.iter().map(|mm| (mm, mm.pt.lock())).collect();
        let last_id = mms.last().map_or(0, |mm| mm.id());
        if self.next_mm_after(last_id).is_some() {
            return None;
        }
        Some(self.check_locked(&tables, &vmas, quiescent))
    }

    fn check_locked(
        &self,
        tables: &[(&Arc<Mm>, MutexGuard<'_, PageTable>)],
        vmas: &[Option<RwLockReadGuard<'_, VmaTree>>],
        quiescent: bool,
    ) -> Result<(), String> {
        let mut seen: BTreeMap<Pfn, Seen> = BTreeMap::new();
        let mut swapped: BTreeMap<SwapSlot, u32> = BTreeMap::new();
        for ((mm, pt), vmas) in tables.iter().zip(vmas) {
            self.check_table(mm, pt, &mut seen)?;
            backing::count_slots(pt, &mut swapped);
            if let Some(vmas) = vmas {
                check_mappings(mm, pt, vmas)?;
            }
            if quiescent && !mm.subs.is_idle() {
                return Err(format!("mm {}: an invalidation was not ended", mm.id()));
            }
        }
        let mut result = Ok(());
        let mut charged: Vec<(Arc<Memcg>, u64)> = Vec::new();
        self.frames.for_each(|pfn, frame| {
            // Most pages are free; whether an entry names one is seen at the end.
            if frame.is_idle() {
                return;
            }
            if result.is_ok() {
                result =
                    self.check_frame(pfn, frame, seen.remove(&pfn).unwrap_or_default(), quiescent);
            }
            if let Some(memcg) = &frame.memcg {
                match charged.iter_mut().find(|(m, _)| Arc::ptr_eq(m, memcg)) {
                    Some((_, n)) => *n += 1,
                    None => charged.push((Arc::clone(memcg), 1)),
                }
            }
        });
        result?;
        if let Some(pfn) = seen.keys().next() {
            return Err(format!("{pfn}: page tables name it, but it is free"));
        }
        backing::check_swap(self, &swapped, quiescent)?;
        backing::check_caches(self)?;
        if quiescent
            && let Some((memcg, n)) = charged.iter().find(|(memcg, n)| memcg.charged() != *n)
        {
            return Err(format!(
                "a control group is charged {} pages and has {n}",
                memcg.charged()
            ));
        }
        self.frames.check_free()
    }

    fn check_table(
        &self,
        mm: &Mm,
        pt: &PageTable,
        seen: &mut BTreeMap<Pfn, Seen>,
    ) -> Result<(), String> {
        let mut rss = Rss::default();
        for entry in pt.range_sized(0, u64::MAX) {
            check_huge(entry).map_err(|rule| format!("{}: {rule}", At(mm, entry.page)))?;
        }
        for (page, pte) in pt.range(0, u64::MAX) {
            let Some(pfn) = pte.pfn() else { continue };
            let at = At(mm, page);
            if self.is_zero_page(pfn) {
                if !matches!(pte, Pte::Present(p) if !p.write && !p.dirty) {
                    return Err(format!("{at}: the zero page as {pte:?}"));
                }
                continue;
            }
            let entry = seen.entry(pfn).or_default();
            let place = mm.place(page);
            match pte {
                Pte::Present(p) => {
                    if self.is_device_private(pfn) {
                        return Err(format!("{at}: the CPU maps device-private {pfn}"));
                    }
                    if p.write && !p.soft_dirty {
                        return Err(format!("{at}: writable, but not soft-dirty"));
                    }
                    if p.none && p.write {
                        return Err(format!("{at}: writable without access"));
                    }
                    entry.mapped.push(place);
                    entry.writable |= p.write;
                }
                Pte::Device { write, .. } => {
                    if write && !pte.is_soft_dirty() {
                        return Err(format!("{at}: writable, but not soft-dirty"));
                    }
                    if !self.is_device_private(pfn) {
                        return Err(format!("{at}: a device entry with {pfn}"));
                    }
                    entry.mapped.push(place);
                    entry.writable |= write;
                }
                Pte::Migration { kind, .. } => {
                    entry.migrating.push(place);
                    entry.none_exclusive |= kind != MigrationKind::Read;
                }
                Pte::Exclusive { .. } => {
                    if pfn.is_device() {
                        return Err(format!("{at}: {pfn} in device memory is device-exclusive"));
                    }
                    entry.mapped.push(place);
                    // As much as a writable entry: the device may store.
                    entry.writable = true;
                }
                Pte::None | Pte::Swap { .. } | Pte::Poison => {}
            }
            self.frames.with(pfn, |frame| *rss.of(frame) += 1);
        }
        if rss != pt.rss {
            return Err(format!(
                "mm {}: counted {:?}, its tables have {rss:?}",
                mm.id(),
                pt.rss
            ));
        }
        Ok(())
    }

    fn check_frame(
        &self,
        pfn: Pfn,
        frame: &Frame,
        mut seen: Seen,
        quiescent: bool,
    ) -> Result<(), String> {
        let mut frame_mapped = frame.mapped.clone();
        let mut frame_migrating = frame.migrating.clone();
        for list in [
            &mut frame_mapped,
            &mut frame_migrating,
            &mut seen.mapped,
            &mut seen.migrating,
        ] {
            list.sort_unstable();
        }
        let rules = [
            (
                frame_mapped == seen.mapped,
                "the reverse mapping differs from the page tables",
            ),
            (
                frame_migrating == seen.migrating,
                "the list of migration entries differs from the page tables",
            ),
            (
                frame.refs
                    >= frame.mapped.len() as u32
                        + frame.pins
                        + frame.gets
                        + u32::from(frame.cached),
                "too few references",
            ),
            (
                !(frame.anon && seen.writable) || frame.exclusive,
                "writable, but shared",
            ),
            (
                !frame.exclusive || frame.mapped.len() == 1,
                "exclusive, but not mapped once",
            ),
            (
                !(frame.anon && seen.none_exclusive) || seen.migrating.len() == 1,
                "migrates as exclusive, but has several entries",
            ),
            (
                seen.migrating.is_empty() || frame.locked,
                "migrates without its lock",
            ),
            (
                frame.pins == 0 || !pfn.is_device(),
                "pinned in device memory",
            ),
            (
                frame.pins == 0 || seen.migrating.is_empty() || frame.refs > 0,
                "pinned and migrating",
            ),
            (
                !quiescent || seen.migrating.is_empty(),
                "a migration was not finished",
            ),
            (
                frame.mapped.is_empty() || !frame.anon || frame.hugetlb || frame.memcg.is_some(),
                "mapped without a charge",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(format!("{pfn}: {rule}: {frame:?}")),
            None => Ok(()),
        }
    }
}

/// A place in a report.
struct At<'a>(&'a Mm, u64);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mm {} at {}", self.0.id(), Va::of_page(self.1))
    }
}

/// A huge entry is of a kind that can be huge, and its pages are an aligned run. That all 512 pages agree
/// is checked page by page.
fn check_huge(entry: Entry) -> Result<(), String> {
    let holds = match entry.pte {
        _ if !entry.is_huge() => true,
        Pte::Present(PresentPte { pfn, .. }) | Pte::Device { pfn, .. } => pfn.is_huge_aligned(),
        _ => false,
    };
    if holds {
        Ok(())
    } else {
        Err(format!("{:?} cannot be huge", entry.pte))
    }
}

/// Each entry lies in a mapping and allows what the mapping allows, or less.
fn check_mappings(mm: &Mm, pt: &PageTable, vmas: &VmaTree) -> Result<(), String> {
    for entry in pt.range_sized(0, u64::MAX) {
        let Entry { page, pte, .. } = entry;
        let at = At(mm, page);
        let Some(vma) = vmas.find(Va::of_page(page)) else {
            return Err(format!("{at}: {pte:?} outside of all mappings"));
        };
        if Va::of_page(page + entry.pages()) > vma.end {
            return Err(format!("{at}: {pte:?} reaches over the end of its mapping"));
        }
        let (write, none) = match pte {
            Pte::Present(p) => (p.write, p.none),
            Pte::Device { write, none, .. } => (write, none),
            Pte::Exclusive { none, .. } => (false, none),
            Pte::Migration { kind, none, .. } => (kind == MigrationKind::Write, none),
            Pte::None | Pte::Swap { .. } | Pte::Poison => continue,
        };
        if (write && !vma.prot.write) || none == vma.prot.read {
            return Err(format!("{at}: {pte:?} in a mapping with {:?}", vma.prot));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
