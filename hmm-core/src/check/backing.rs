//! Rules of what keeps contents outside of page tables: swap space, and the pages of objects.

use std::collections::BTreeMap;

use crate::pagetable::PageTable;
use crate::pte::Pte;
use crate::swap::SwapSlot;
use crate::system::System;

/// Adds up which slots a table names.
pub(super) fn count_slots(pt: &PageTable, seen: &mut BTreeMap<SwapSlot, u32>) {
    for (_, pte) in pt.range(0, u64::MAX) {
        if let Pte::Swap { slot, .. } = pte {
            *seen.entry(slot).or_default() += 1;
        }
    }
}

/// A slot's references are the entries that name it, and at other times than quiet ones its readers.
pub(super) fn check_swap(
    sys: &System,
    seen: &BTreeMap<SwapSlot, u32>,
    quiescent: bool,
) -> Result<(), String> {
    let mut found = 0;
    let mut result = Ok(());
    sys.swap.for_each(|slot, refs, shared| {
        let entries = seen.get(&slot).copied().unwrap_or(0);
        found += u64::from(entries > 0);
        let holds = match (shared, quiescent) {
            (true, _) => refs == 1 && entries == 0,
            (false, true) => refs == entries,
            (false, false) => refs >= entries,
        };
        if !holds && result.is_ok() {
            result = Err(format!("{slot:?} has {refs} references, {entries} entries"));
        }
    });
    result?;
    if found != seen.len() as u64 {
        return Err("an entry names a free swap slot".into());
    }
    Ok(())
}

/// The pages that are marked as an object's are those that the objects have.
pub(super) fn check_caches(sys: &System) -> Result<(), String> {
    let mut listed = 0;
    for cache in sys.caches() {
        for (index, pfn) in cache.pages() {
            listed += 1;
            let holds = sys
                .frames
                .with(pfn, |f| f.cached && !f.anon && f.file == cache.is_file());
            if !holds {
                return Err(format!(
                    "{pfn} is page {index} of an object, but is not its"
                ));
            }
        }
    }
    let mut marked = 0;
    sys.frames.for_each(|_, f| marked += u64::from(f.cached));
    if listed != marked {
        return Err(format!(
            "{marked} pages are marked as an object's, objects have {listed}"
        ));
    }
    Ok(())
}
