//! One table of the tree, and walks over the tree.

use crate::config::TablePlace;
use crate::error::DriverError;
use crate::mem::{DevMem, DevPa};
use crate::policy::PageRange;
use crate::pool::Use;
use crate::pte;
use hmm_core::{PAGE_SIZE, Pfn, Va};
use std::collections::BTreeMap;

pub(super) const ENTRIES: usize = 512;
pub(super) const TOP_LEVEL: u32 = 3;

/// A leaf's shadow.
#[derive(Clone, Copy, Default)]
pub(super) struct Leaf {
    /// As last written; 0 is empty. With REVOKED when it was taken away and not yet harvested.
    pub pte: u64,
    /// The (first) page, when hmm-core knows it.
    pub pfn: Option<Pfn>,
    /// The device has the page to itself.
    pub exclusive: bool,
    /// Which call of revoke took it away.
    pub epoch: u64,
    /// A harvest has found it used, and nobody was told yet.
    pub used: bool,
}

impl Leaf {
    pub fn is_empty(self) -> bool {
        self.pte == 0
    }
    pub fn is_live(self) -> bool {
        self.pte & (pte::V | pte::REVOKED) == pte::V
    }
    pub fn is_revoked(self) -> bool {
        self.pte & pte::REVOKED != 0
    }
}

/// A table. Level 0 has leaves of 4 KiB, level 1 leaves of 2 MiB and tables, the others tables.
pub(super) struct Node {
    pub at: DevPa,
    pub kids: BTreeMap<usize, Node>,
    /// Made when the first leaf comes.
    pub leaves: Option<Box<[Leaf; ENTRIES]>>,
    /// Leaves that are not empty.
    pub used: usize,
}

impl Node {
    pub fn new(mem: &DevMem, place: TablePlace) -> Result<Self, DriverError> {
        Ok(Self {
            at: mem.alloc_page(place, Use::Table)?,
            kids: BTreeMap::new(),
            leaves: None,
            used: 0,
        })
    }

    pub fn free(&self, mem: &DevMem) {
        for kid in self.kids.values() {
            kid.free(mem);
        }
        mem.free_page(self.at, Use::Table);
    }

    pub fn leaf(&self, i: usize) -> Leaf {
        self.leaves
            .as_ref()
            .map_or_else(Leaf::default, |leaves| leaves[i])
    }

    pub fn leaves_mut(&mut self) -> &mut [Leaf; ENTRIES] {
        self.leaves
            .get_or_insert_with(|| Box::new([Leaf::default(); ENTRIES]))
    }

    /// The address of an entry.
    pub fn entry(&self, i: usize) -> DevPa {
        self.at.add(i as u64 * 8)
    }
}

/// The place of an address in a table of a level.
pub(super) fn index(va: u64, level: u32) -> usize {
    (va >> (12 + 9 * level)) as usize & (ENTRIES - 1)
}

/// Bytes that one entry of a level covers.
pub(super) fn span(level: u32) -> u64 {
    1 << (12 + 9 * level)
}

/// Pages that a leaf of a level covers.
pub(super) fn pages_of(level: u32) -> u64 {
    span(level) / PAGE_SIZE
}

/// Addresses without their sign extension: the tables see 48 bits.
pub(super) fn low48(va: Va) -> u64 {
    va.0 & ((1 << 48) - 1)
}

pub(super) fn canonical(low: u64) -> Va {
    Va(((low << 16) as i64 >> 16) as u64)
}

/// The last address of a range, low 48 bits.
fn limit(range: PageRange) -> u64 {
    low48(Va(range.end.0.wrapping_sub(1)))
}

/// Which leaves of a table are meant.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Level of the table.
    pub level: u32,
    /// Address of its first entry (48 bits).
    pub base: u64,
    /// First index.
    pub first: usize,
    /// Last index.
    pub last: usize,
}

impl Part {
    /// The address of a leaf (48 bits).
    pub fn va(&self, i: usize) -> u64 {
        self.base + i as u64 * span(self.level)
    }
}

/// Calls `f` with each table that has leaves and overlaps the range.
pub(super) fn visit(root: &Node, range: PageRange, f: &mut impl FnMut(&Node, Part)) {
    visit_at(root, TOP_LEVEL, 0, low48(range.start), limit(range), f);
}

fn visit_at(
    node: &Node,
    level: u32,
    base: u64,
    low: u64,
    high: u64,
    f: &mut impl FnMut(&Node, Part),
) {
    let part = part(level, base, low, high);
    if node.used > 0 {
        f(node, part);
    }
    for (i, kid) in node.kids.range(part.first..=part.last) {
        visit_at(kid, level - 1, part.va(*i), low, high, f);
    }
}

/// As [`visit`], to change the leaves.
pub(super) fn visit_mut(root: &mut Node, range: PageRange, f: &mut impl FnMut(&mut Node, Part)) {
    visit_mut_at(root, TOP_LEVEL, 0, low48(range.start), limit(range), f);
}

fn visit_mut_at(
    node: &mut Node,
    level: u32,
    base: u64,
    low: u64,
    high: u64,
    f: &mut impl FnMut(&mut Node, Part),
) {
    let part = part(level, base, low, high);
    if node.used > 0 {
        f(node, part);
    }
    for (i, kid) in node.kids.range_mut(part.first..=part.last) {
        visit_mut_at(kid, level - 1, part.va(*i), low, high, f);
    }
}

/// The entries of a table at `base` that overlap `low..=high` (which the table does).
fn part(level: u32, base: u64, low: u64, high: u64) -> Part {
    let first = low.saturating_sub(base) >> (12 + 9 * level);
    let last = (high.saturating_sub(base) >> (12 + 9 * level)).min(ENTRIES as u64 - 1);
    Part {
        level,
        base,
        first: first as usize,
        last: last as usize,
    }
}
