//! Taking entries away, in two steps: revoke, and after the device's invalidation clear.

use super::node::{
    ENTRIES, Leaf, Node, TOP_LEVEL, canonical, index, low48, pages_of, visit, visit_mut,
};
use super::{PageTable, flush_run};
use crate::error::DriverError;
use crate::mem::DevPa;
use crate::policy::PageRange;
use crate::pte;
use hmm_core::{Pfn, Va};
use std::sync::Arc;

/// Entries that follow each other in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Address of the first page.
    pub va: Va,
    /// Where the first entry is.
    pub at: DevPa,
    /// How many entries.
    pub count: usize,
    /// Level of the table.
    level: u32,
}

impl Run {
    /// Pages that one entry covers.
    pub fn pages_each(&self) -> u64 {
        pages_of(self.level)
    }
}

/// What the device did to a page while it was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Harvest {
    /// The page.
    pub pfn: Pfn,
    /// It, or the 2 MiB that it was mapped with, was read or written.
    pub accessed: bool,
    /// It, or the 2 MiB that it was mapped with, was written.
    pub dirty: bool,
}

impl PageTable {
    /// The mark of the last [`PageTable::revoke`]: what was revoked up to it can be cleared once an invalidation that is
    /// asked for now has been done.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Revokes all live entries of `range`; returns how many. Posted.
    pub fn revoke(&mut self, range: PageRange) -> Result<u64, DriverError> {
        self.epoch += 1;
        let epoch = self.epoch;
        let mut count = 0;
        let mut failed = Ok(());
        let mem = Arc::clone(&self.mem);
        visit_mut(&mut self.root, range, &mut |node, part| {
            for i in part.first..=part.last {
                if !node.leaf(i).is_live() {
                    continue;
                }
                let at = node.entry(i).add(7);
                let leaf = &mut node.leaves_mut()[i];
                leaf.pte |= pte::REVOKED;
                leaf.epoch = epoch;
                count += 1;
                if let Err(error) = mem.write(at, &[pte::REVOKE_BYTE]) {
                    failed = Err(error.into());
                }
            }
        });
        failed.map(|()| count)
    }

    /// Clears the D bits of all live entries that overlap `range`. Posted. A D bit that the device sets at the same time
    /// may go too: what was written before the device is made to forget the entries has to be noted by other means.
    pub fn clean(&mut self, range: PageRange) -> Result<(), DriverError> {
        let mut failed = Ok(());
        let mem = Arc::clone(&self.mem);
        visit(&self.root, range, &mut |node, part| {
            for i in part.first..=part.last {
                let leaf = node.leaf(i);
                if leaf.is_live() {
                    // A may be set or not: it was, as the entry was written through.
                    let byte = (leaf.pte & !pte::D | pte::A) as u8;
                    if let Err(error) = mem.write(node.entry(i), &[byte]) {
                        failed = Err(error.into());
                    }
                }
            }
        });
        failed
    }

    /// Where the entries of `range` are that were revoked up to the mark `epoch`.
    pub fn revoked_runs(&self, range: PageRange, epoch: u64) -> Vec<Run> {
        self.runs(range, |leaf| leaf.is_revoked() && leaf.epoch <= epoch)
    }

    /// Where the entries of `range` are that the device may use.
    pub fn live_runs(&self, range: PageRange) -> Vec<Run> {
        self.runs(range, Leaf::is_live)
    }

    /// The table of a level that covers an address.
    pub(super) fn find(&self, va: u64, level: u32) -> Option<&Node> {
        let mut node = &self.root;
        for above in (level + 1..=TOP_LEVEL).rev() {
            node = node.kids.get(&index(va, above))?;
        }
        Some(node)
    }

    pub(super) fn find_mut(&mut self, va: u64, level: u32) -> Option<&mut Node> {
        let mut node = &mut self.root;
        for above in (level + 1..=TOP_LEVEL).rev() {
            node = node.kids.get_mut(&index(va, above))?;
        }
        Some(node)
    }

    fn runs(&self, range: PageRange, wanted: impl Fn(Leaf) -> bool) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        visit(&self.root, range, &mut |node, part| {
            let mut open: Option<Run> = None;
            for i in part.first..=part.last {
                if wanted(node.leaf(i)) {
                    let run = open.get_or_insert(Run {
                        va: canonical(part.va(i)),
                        at: node.entry(i),
                        count: 0,
                        level: part.level,
                    });
                    run.count += 1;
                } else {
                    runs.extend(open.take());
                }
            }
            runs.extend(open);
        });
        runs
    }

    /// Empties the entries of a run that were revoked up to the mark `epoch` and still are, and tells what their A and
    /// D bits in `entries` (as read from the table) say. Without `entries` the worst is assumed. One entry of 2 MiB
    /// tells of all its pages.
    pub fn clear(
        &mut self,
        run: Run,
        epoch: u64,
        entries: Option<&[u64]>,
    ) -> Result<Vec<Harvest>, DriverError> {
        let low = low48(run.va);
        let mut harvest = Vec::new();
        let mem = Arc::clone(&self.mem);
        let Some(node) = self.find_mut(low, run.level) else {
            return Ok(harvest);
        };
        let table = node.at;
        let first = index(low, run.level);
        let last = (first + run.count).min(ENTRIES);
        let mut zeros: Vec<u8> = Vec::new();
        for (n, i) in (first..last).enumerate() {
            let leaf = node.leaf(i);
            if !leaf.is_revoked() || leaf.epoch > epoch {
                flush_run(&mem, table, i, &mut zeros)?;
                continue;
            }
            let found = match entries {
                Some(entries) => entries.get(n).copied().unwrap_or(0),
                None => leaf.pte | pte::A | if leaf.pte & pte::W != 0 { pte::D } else { 0 },
            };
            if let Some(pfn) = leaf.pfn {
                harvest.extend((0..pages_of(run.level)).map(|n| Harvest {
                    pfn: pfn + n,
                    accessed: found & pte::A != 0,
                    dirty: found & pte::D != 0,
                }));
            }
            node.leaves_mut()[i] = Leaf::default();
            node.used -= 1;
            zeros.extend_from_slice(&[0; 8]);
        }
        flush_run(&mem, table, last, &mut zeros)?;
        Ok(harvest)
    }
}
