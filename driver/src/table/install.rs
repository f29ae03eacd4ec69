//! Making entries.

use super::node::{ENTRIES, Leaf, Node, TOP_LEVEL, canonical, index, low48, pages_of, span};
use super::{Installed, Mapping, PageTable, flush_run};
use crate::error::DriverError;
use crate::mem::DevPa;
use crate::policy::PageRange;
use crate::pool::Use;
use crate::pte;
use hmm_core::{PAGE_SIZE, Va};
use std::sync::Arc;

/// What is to be done with an entry.
enum Step {
    /// It is right as it is.
    Keep,
    /// It is written.
    Write(Leaf),
    /// Something else is there.
    Blocked,
}

/// An entry that is there already is only ever widened, and only one that the device cannot have written through:
/// rewriting it would lose a D bit that the device set.
fn step(old: Leaf, page: &Mapping) -> Step {
    let new = pte::leaf(page.page, page.flags);
    let leaf = Leaf {
        pte: old.pte | new,
        pfn: page.pfn,
        exclusive: page.exclusive,
        epoch: 0,
        used: old.used,
    };
    if old.is_empty() {
        return Step::Write(leaf);
    }
    if !old.is_live() || old.pte >> 10 != new >> 10 || old.exclusive && !page.exclusive {
        return Step::Blocked;
    }
    if old.pte | new == old.pte && old.exclusive == page.exclusive {
        return Step::Keep;
    }
    if old.pte & pte::W != 0 {
        return Step::Blocked;
    }
    Step::Write(leaf)
}

/// The range that the entry at `va` (48 bits) of a level covers.
fn area(va: u64, level: u32) -> PageRange {
    let start = va & !(span(level) - 1);
    PageRange {
        start: canonical(start),
        end: Va(canonical(start).0.wrapping_add(span(level))),
    }
}

impl PageTable {
    /// The table of `level` that covers an address; tables are made on the way. None where a large leaf is.
    pub(super) fn node(&mut self, va: u64, level: u32) -> Result<Option<&mut Node>, DriverError> {
        let mut node = &mut self.root;
        for above in (level + 1..=TOP_LEVEL).rev() {
            let i = index(va, above);
            if !node.leaf(i).is_empty() {
                return Ok(None);
            }
            if !node.kids.contains_key(&i) {
                let kid = Node::new(&self.mem, self.place)?;
                let entry = pte::pointer(kid.at).to_le_bytes();
                if let Err(error) = self.mem.write(node.entry(i), &entry) {
                    kid.free(&self.mem);
                    return Err(error.into());
                }
                node.kids.insert(i, kid);
            }
            node = node.kids.get_mut(&i).ok_or(DriverError::Closed)?;
        }
        Ok(Some(node))
    }

    /// Maps pages of 4 KiB from `start` on; `None` leaves a place as it is.
    pub fn install(
        &mut self,
        start: Va,
        pages: &[Option<Mapping>],
    ) -> Result<Installed, DriverError> {
        let mut result = Installed::default();
        let mut at = 0;
        while at < pages.len() {
            let va = low48(start) + at as u64 * PAGE_SIZE;
            let first = index(va, 0);
            let count = (pages.len() - at).min(ENTRIES - first);
            let part = &pages[at..at + count];
            at += count;
            if part.iter().any(Option::is_some) {
                result = result.and(self.install_part(va, part)?);
            }
        }
        Ok(result)
    }

    /// As [`PageTable::install`], within one lowest table.
    fn install_part(
        &mut self,
        va: u64,
        part: &[Option<Mapping>],
    ) -> Result<Installed, DriverError> {
        let mut result = Installed::default();
        let mem = Arc::clone(&self.mem);
        let first = index(va, 0);
        let Some(node) = self.node(va, 0)? else {
            if !self.covered(va, part) {
                result.blocked = Some(area(va, 1));
            }
            return Ok(result);
        };
        let table = node.at;
        let mut run: Vec<u8> = Vec::new();
        for (i, page) in (first..).zip(part) {
            let old = node.leaf(i);
            let mut written = false;
            match page.as_ref().map_or(Step::Keep, |page| step(old, page)) {
                Step::Keep => {}
                Step::Blocked => {
                    let here = Installed {
                        blocked: Some(area(va + (i - first) as u64 * PAGE_SIZE, 0)),
                        ..Installed::default()
                    };
                    result = result.and(here);
                }
                Step::Write(leaf) => {
                    node.used += usize::from(old.is_empty());
                    node.leaves_mut()[i] = leaf;
                    result.written += 1;
                    run.extend_from_slice(&leaf.pte.to_le_bytes());
                    written = true;
                }
            }
            if !written {
                flush_run(&mem, table, i, &mut run)?;
            }
        }
        flush_run(&mem, table, first + part.len(), &mut run)?;
        Ok(result)
    }

    /// Whether the large leaf over these pages already gives all that is asked.
    fn covered(&self, va: u64, part: &[Option<Mapping>]) -> bool {
        let wanted = part.iter().enumerate();
        wanted.into_iter().all(|(n, page)| {
            let Some(page) = page else { return true };
            let va = canonical(va + n as u64 * PAGE_SIZE);
            self.page(va) == Some(page.page) && self.allows(va, page.flags) && !page.exclusive
        })
    }

    /// Maps 2 MiB at `start` (aligned) to consecutive pages from `page` on, which begin at a multiple of 2 MiB. Where
    /// 4 KiB pages are mapped already nothing is done: `None`.
    pub fn install_large(
        &mut self,
        start: Va,
        page: &Mapping,
    ) -> Result<Option<Installed>, DriverError> {
        let va = low48(start);
        let mut result = Installed::default();
        let i = index(va, 1);
        let Some(node) = self.node(va, 1)? else {
            return Ok(None);
        };
        if node.kids.get(&i).is_some_and(|kid| kid.used > 0) {
            return Ok(None);
        }
        // A walk may be reading the empty table still, so it is not free until the device has been asked.
        let gone = node.kids.remove(&i);
        let old = node.leaf(i);
        let at = node.entry(i);
        match step(old, page) {
            Step::Keep => {}
            Step::Blocked => result.blocked = Some(area(va, 1)),
            Step::Write(leaf) => {
                node.used += usize::from(old.is_empty());
                node.leaves_mut()[i] = leaf;
                result.written = pages_of(1);
                self.mem.write(at, &leaf.pte.to_le_bytes())?;
            }
        }
        if let Some(kid) = gone {
            self.retired.push(kid.at);
            result.retired.push(kid.at);
        }
        Ok(Some(result))
    }

    /// Frees tables of [`Installed::retired`]. The device must have been told since to forget everything that they
    /// covered.
    pub fn free_retired(&mut self, tables: &[DevPa]) {
        let mem = &self.mem;
        self.retired.retain(|table| {
            let gone = tables.contains(table);
            if gone {
                mem.free_page(*table, Use::Table);
            }
            !gone
        });
    }
}
