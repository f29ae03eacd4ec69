//! A context's page tables and the driver's shadow of them.
//!
//! The shadow holds what the driver wrote; only the A and D bits have to be read from the tables. A leaf goes
//! through three states: empty, live (the device may use it) and revoked (the device can make no new use of it;
//! its A and D bits are still to be read). The lock around the tables is never held while hardware is waited for:
//! everything here is posted.

use crate::config::TablePlace;
use crate::error::DriverError;
use crate::mem::{DevMem, DevPa};
use crate::policy::PageRange;
use crate::pool::Use;
use crate::pte;
use hmm_core::{PAGE_SIZE, Pfn, Va};
use std::collections::BTreeMap;
use std::sync::Arc;

const ENTRIES: usize = 512;
const TOP_LEVEL: u32 = 3;

/// A leaf's shadow.
#[derive(Clone, Copy, Default)]
struct Leaf {
    /// As last written; 0 is empty. With REVOKED when it was taken away and not yet harvested.
    pte: u64,
    /// The page, when hmm-core knows it.
    pfn: Option<Pfn>,
}

impl Leaf {
    fn is_live(self) -> bool {
        self.pte & (pte::V | pte::REVOKED) == pte::V
    }
    fn is_revoked(self) -> bool {
        self.pte & pte::REVOKED != 0
    }
}

struct Node {
    at: DevPa,
    kids: BTreeMap<usize, Node>,
    leaves: Option<Box<[Leaf; ENTRIES]>>,
    /// Leaves that are not empty.
    used: usize,
}

/// A page to be mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    /// Where the device finds it.
    pub page: DevPa,
    /// Its entry's flags.
    pub flags: u64,
    /// Its number, when hmm-core knows it.
    pub pfn: Option<Pfn>,
}

/// Revoked entries that follow each other in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RevokedRun {
    /// Address of the first page.
    pub va: Va,
    /// Where the first entry is.
    pub at: DevPa,
    /// How many.
    pub count: usize,
}

/// What the device did to a page while it was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Harvest {
    /// The page.
    pub pfn: Pfn,
    /// It was read or written.
    pub accessed: bool,
    /// It was written.
    pub dirty: bool,
}

/// Result of [`PageTable::install`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    /// Entries written.
    pub written: u64,
    /// Places that hold another page still: they must be torn down first.
    pub conflicts: u64,
}

/// Page tables of one context.
pub(crate) struct PageTable {
    mem: Arc<DevMem>,
    place: TablePlace,
    root: Node,
}

fn index(va: u64, level: u32) -> usize {
    (va >> (12 + 9 * level)) as usize & (ENTRIES - 1)
}

/// Bytes that one entry of a level covers.
fn span(level: u32) -> u64 {
    1 << (12 + 9 * level)
}

/// Addresses without their sign extension: the tables see 48 bits.
fn low48(va: Va) -> u64 {
    va.0 & ((1 << 48) - 1)
}

fn canonical(low: u64) -> Va {
    Va(((low << 16) as i64 >> 16) as u64)
}

impl Node {
    fn new(mem: &DevMem, place: TablePlace, level: u32) -> Result<Self, DriverError> {
        let at = mem.alloc_page(place, Use::Table)?;
        let leaves = (level == 0).then(|| Box::new([Leaf::default(); ENTRIES]));
        Ok(Self {
            at,
            kids: BTreeMap::new(),
            leaves,
            used: 0,
        })
    }

    fn free(&self, mem: &DevMem) {
        for kid in self.kids.values() {
            kid.free(mem);
        }
        mem.free_page(self.at, Use::Table);
    }
}

impl PageTable {
    /// An empty table.
    pub fn new(mem: Arc<DevMem>, place: TablePlace) -> Result<Self, DriverError> {
        let root = Node::new(&mem, place, TOP_LEVEL)?;
        Ok(Self { mem, place, root })
    }

    /// The root table's address.
    pub fn root(&self) -> DevPa {
        self.root.at
    }

    /// Gives all tables back. The device must have stopped using them.
    pub fn free(self) {
        self.root.free(&self.mem);
    }

    fn leaf_table(&mut self, va: u64) -> Result<&mut Node, DriverError> {
        let mut node = &mut self.root;
        for level in (1..=TOP_LEVEL).rev() {
            let i = index(va, level);
            if !node.kids.contains_key(&i) {
                let kid = Node::new(&self.mem, self.place, level - 1)?;
                let entry = pte::pointer(kid.at).to_le_bytes();
                if let Err(error) = self.mem.write(node.at.add(i as u64 * 8), &entry) {
                    kid.free(&self.mem);
                    return Err(error.into());
                }
                node.kids.insert(i, kid);
            }
            node = node.kids.get_mut(&i).ok_or(DriverError::Closed)?;
        }
        Ok(node)
    }

    fn leaf(&self, va: Va) -> Leaf {
        let va = low48(va);
        let mut node = &self.root;
        for level in (1..=TOP_LEVEL).rev() {
            match node.kids.get(&index(va, level)) {
                Some(kid) => node = kid,
                None => return Leaf::default(),
            }
        }
        node.leaves
            .as_ref()
            .map_or_else(Leaf::default, |leaves| leaves[index(va, 0)])
    }

    /// True when the device can access the page with all of `flags`.
    pub fn allows(&self, va: Va, flags: u64) -> bool {
        let leaf = self.leaf(va);
        leaf.is_live() && leaf.pte & flags == flags
    }

    /// The page that a live entry names.
    pub fn page(&self, va: Va) -> Option<DevPa> {
        let leaf = self.leaf(va);
        leaf.is_live().then(|| pte::target(leaf.pte))
    }

    /// The pages of `range` that the device may use, in order: address, entry and page number.
    pub fn live(&self, range: PageRange) -> Vec<(Va, u64, Option<Pfn>)> {
        let mut found = Vec::new();
        let (low, high) = (low48(range.start), limit(range));
        visit(
            &self.root,
            TOP_LEVEL,
            0,
            low,
            high,
            &mut |node, base, first, last| {
                let Some(leaves) = node.leaves.as_ref() else {
                    return;
                };
                for (i, leaf) in leaves.iter().enumerate().take(last + 1).skip(first) {
                    if leaf.is_live() {
                        let va = canonical(base + i as u64 * PAGE_SIZE);
                        found.push((va, leaf.pte, leaf.pfn));
                    }
                }
            },
        );
        found
    }

    /// Maps pages from `start` on; `None` leaves a place as it is. An entry that is there already is only ever
    /// widened: rewriting it would lose a D bit that the device set.
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
            if part.iter().all(Option::is_none) {
                continue;
            }
            let mem = Arc::clone(&self.mem);
            let node = self.leaf_table(va)?;
            let table = node.at;
            let Some(leaves) = node.leaves.as_mut() else {
                continue;
            };
            let mut run: Vec<u8> = Vec::new();
            for (i, page) in (first..).zip(part) {
                let write = page.and_then(|page| {
                    let old = leaves[i];
                    let new = pte::leaf(page.page, page.flags);
                    if old.pte == 0 {
                        node.used += 1;
                    } else if !old.is_live() || old.pte >> 10 != new >> 10 {
                        result.conflicts += 1;
                        return None;
                    } else if old.pte | new == old.pte {
                        return None;
                    }
                    leaves[i] = Leaf {
                        pte: old.pte | new,
                        pfn: page.pfn,
                    };
                    Some(old.pte | new)
                });
                match write {
                    Some(entry) => {
                        result.written += 1;
                        run.extend_from_slice(&entry.to_le_bytes());
                    }
                    None => flush_run(&mem, table, i, &mut run)?,
                }
            }
            flush_run(&mem, table, first + count, &mut run)?;
        }
        Ok(result)
    }

    /// The smallest range that holds all entries of `range` that are not empty.
    pub fn used_span(&self, range: PageRange) -> Option<PageRange> {
        let mut found: Option<(u64, u64)> = None;
        visit(
            &self.root,
            TOP_LEVEL,
            0,
            low48(range.start),
            limit(range),
            &mut |node, base, first, last| {
                let Some(leaves) = node.leaves.as_ref() else {
                    return;
                };
                for (i, leaf) in leaves.iter().enumerate().take(last + 1).skip(first) {
                    if leaf.pte != 0 {
                        let va = base + i as u64 * PAGE_SIZE;
                        found = Some(found.map_or((va, va), |(low, _)| (low, va)));
                    }
                }
            },
        );
        found.map(|(low, high)| PageRange {
            start: canonical(low),
            end: Va(canonical(high).0.wrapping_add(PAGE_SIZE)),
        })
    }

    /// Revokes all live entries of `range`; returns how many. Posted.
    pub fn revoke(&mut self, range: PageRange) -> Result<u64, DriverError> {
        let mut count = 0;
        let mut failed = Ok(());
        let mem = Arc::clone(&self.mem);
        visit_mut(
            &mut self.root,
            TOP_LEVEL,
            0,
            low48(range.start),
            limit(range),
            &mut |node, _, first, last| {
                let table = node.at;
                let Some(leaves) = node.leaves.as_mut() else {
                    return;
                };
                for (i, leaf) in leaves.iter_mut().enumerate().take(last + 1).skip(first) {
                    if leaf.is_live() {
                        leaf.pte |= pte::REVOKED;
                        count += 1;
                        if let Err(error) =
                            mem.write(table.add(i as u64 * 8 + 7), &[pte::REVOKE_BYTE])
                        {
                            failed = Err(error.into());
                        }
                    }
                }
            },
        );
        failed.map(|()| count)
    }

    /// Where the revoked entries of `range` are.
    pub fn revoked_runs(&self, range: PageRange) -> Vec<RevokedRun> {
        self.runs(range, Leaf::is_revoked)
    }

    /// Where the entries of `range` are that the device may use.
    pub fn live_runs(&self, range: PageRange) -> Vec<RevokedRun> {
        self.runs(range, Leaf::is_live)
    }

    fn runs(&self, range: PageRange, wanted: impl Fn(Leaf) -> bool) -> Vec<RevokedRun> {
        let mut runs: Vec<RevokedRun> = Vec::new();
        visit(
            &self.root,
            TOP_LEVEL,
            0,
            low48(range.start),
            limit(range),
            &mut |node, base, first, last| {
                let Some(leaves) = node.leaves.as_ref() else {
                    return;
                };
                let mut open: Option<RevokedRun> = None;
                for (i, leaf) in leaves.iter().enumerate().take(last + 1).skip(first) {
                    if wanted(*leaf) {
                        let va = canonical(base + i as u64 * PAGE_SIZE);
                        let at = node.at.add(i as u64 * 8);
                        open.get_or_insert(RevokedRun { va, at, count: 0 }).count += 1;
                    } else {
                        runs.extend(open.take());
                    }
                }
                runs.extend(open);
            },
        );
        runs
    }

    /// Empties the entries of a run that are still revoked, and tells what their A and D bits in `entries` (as read
    /// from the table) say. Without `entries` the worst is assumed.
    pub fn clear(
        &mut self,
        run: RevokedRun,
        entries: Option<&[u64]>,
    ) -> Result<Vec<Harvest>, DriverError> {
        let low = low48(run.va);
        let mut harvest = Vec::new();
        let mem = Arc::clone(&self.mem);
        let node = self.leaf_table(low)?;
        let table = node.at;
        let first = index(low, 0);
        let Some(leaves) = node.leaves.as_mut() else {
            return Ok(harvest);
        };
        let mut zeros: Vec<u8> = Vec::new();
        for (n, i) in (first..(first + run.count).min(ENTRIES)).enumerate() {
            let leaf = leaves[i];
            if !leaf.is_revoked() {
                flush_run(&mem, table, i, &mut zeros)?;
                continue;
            }
            let found = match entries {
                Some(entries) => entries.get(n).copied().unwrap_or(0),
                None => leaf.pte | pte::A | if leaf.pte & pte::W != 0 { pte::D } else { 0 },
            };
            if let Some(pfn) = leaf.pfn {
                harvest.push(Harvest {
                    pfn,
                    accessed: found & pte::A != 0,
                    dirty: found & pte::D != 0,
                });
            }
            leaves[i] = Leaf::default();
            node.used -= 1;
            zeros.extend_from_slice(&[0; 8]);
        }
        flush_run(&mem, table, (first + run.count).min(ENTRIES), &mut zeros)?;
        Ok(harvest)
    }
}

/// The last address of a range, low 48 bits.
fn limit(range: PageRange) -> u64 {
    low48(Va(range.end.0.wrapping_sub(1)))
}

/// Writes the collected entries, which end before index `end`.
fn flush_run(mem: &DevMem, table: DevPa, end: usize, run: &mut Vec<u8>) -> Result<(), DriverError> {
    if !run.is_empty() {
        let first = end as u64 - run.len() as u64 / 8;
        mem.write(table.add(first * 8), run)?;
        run.clear();
    }
    Ok(())
}

/// Calls `f` with each leaf table that overlaps `low..=high`: its node, its first address, and the first and last
/// index inside.
fn visit(
    node: &Node,
    level: u32,
    base: u64,
    low: u64,
    high: u64,
    f: &mut impl FnMut(&Node, u64, usize, usize),
) {
    let (first, last) = bounds(level, base, low, high);
    if level == 0 {
        if node.used > 0 {
            f(node, base, first, last);
        }
        return;
    }
    for (i, kid) in node.kids.range(first..=last) {
        visit(kid, level - 1, base + *i as u64 * span(level), low, high, f);
    }
}

fn visit_mut(
    node: &mut Node,
    level: u32,
    base: u64,
    low: u64,
    high: u64,
    f: &mut impl FnMut(&mut Node, u64, usize, usize),
) {
    let (first, last) = bounds(level, base, low, high);
    if level == 0 {
        if node.used > 0 {
            f(node, base, first, last);
        }
        return;
    }
    for (i, kid) in node.kids.range_mut(first..=last) {
        visit_mut(kid, level - 1, base + *i as u64 * span(level), low, high, f);
    }
}

/// Indices of the entries of a table at `base` that overlap `low..=high` (which the table does).
fn bounds(level: u32, base: u64, low: u64, high: u64) -> (usize, usize) {
    let first = low.saturating_sub(base) >> (12 + 9 * level);
    let last = (high.saturating_sub(base) >> (12 + 9 * level)).min(ENTRIES as u64 - 1);
    (first as usize, last as usize)
}
