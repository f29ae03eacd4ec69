//! A context's page tables and the driver's shadow of them.
//!
//! The shadow holds what the driver wrote; only the A and D bits have to be read from the tables. A leaf goes
//! through three states: empty, live (the device may use it) and revoked (the device can make no new use of it;
//! its A and D bits are still to be read). The lock around the tables is never held while hardware is waited for:
//! everything here is posted.
//!
//! A leaf of 2 MiB lies where otherwise a table of 4 KiB leaves is. It is taken away whole, whatever part of it
//! goes; and neither size comes before the other one is gone from the device.

mod accessed;
mod install;
mod node;
mod revoke;

use crate::config::TablePlace;
use crate::error::DriverError;
use crate::mem::{DevMem, DevPa};
use crate::policy::PageRange;
use crate::pool::Use;
use crate::pte;
use hmm_core::{PAGE_SIZE, Pfn, Va};
use node::{Leaf, Node, TOP_LEVEL, canonical, index, low48, pages_of, span, visit};
use std::sync::Arc;

pub(crate) use accessed::Piece;
pub(crate) use revoke::{Harvest, Run};

/// A page to be mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    /// Where the device finds it.
    pub page: DevPa,
    /// Its entry's flags.
    pub flags: u64,
    /// Its number, when hmm-core knows it.
    pub pfn: Option<Pfn>,
    /// The device has it to itself.
    pub exclusive: bool,
}

/// Result of installing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    /// Entries written.
    pub written: u64,
    /// Entries that are in the way: these have to be torn down first. What could be installed is.
    pub blocked: Option<PageRange>,
    /// Tables that were taken out: the device has to forget them ([`PageTable::free_retired`]).
    pub retired: Vec<DevPa>,
}

impl Installed {
    /// Both results.
    pub fn and(mut self, other: Self) -> Self {
        self.retired.extend(other.retired);
        let blocked = match (self.blocked, other.blocked) {
            (Some(a), Some(b)) => Some(PageRange {
                start: a.start.min(b.start),
                end: a.end.max(b.end),
            }),
            (a, b) => a.or(b),
        };
        Self {
            written: self.written + other.written,
            blocked,
            retired: self.retired,
        }
    }
}

/// A page that the device may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LivePage {
    /// Its address.
    pub va: Va,
    /// Where the device finds it.
    pub page: DevPa,
    /// Its entry's flags.
    pub flags: u64,
    /// Its number, when hmm-core knows it.
    pub pfn: Option<Pfn>,
    /// The device has it to itself.
    pub exclusive: bool,
}

/// Page tables of one context.
pub(crate) struct PageTable {
    mem: Arc<DevMem>,
    place: TablePlace,
    root: Node,
    /// Counts the calls of revoke.
    epoch: u64,
    /// Tables that are in the tree no more, but that the device may still read.
    retired: Vec<DevPa>,
}

impl PageTable {
    /// An empty table.
    pub fn new(mem: Arc<DevMem>, place: TablePlace) -> Result<Self, DriverError> {
        let root = Node::new(&mem, place)?;
        Ok(Self {
            mem,
            place,
            root,
            epoch: 0,
            retired: Vec::new(),
        })
    }

    /// The root table's address.
    pub fn root(&self) -> DevPa {
        self.root.at
    }

    /// Gives all tables back. The device must have stopped using them.
    pub fn free(self) {
        self.root.free(&self.mem);
        for table in self.retired {
            self.mem.free_page(table, Use::Table);
        }
    }

    /// The leaf of a page, and the first address that it covers.
    fn leaf(&self, va: Va) -> (Leaf, u64, u32) {
        let va = low48(va);
        let mut node = &self.root;
        for level in (1..=TOP_LEVEL).rev() {
            let i = index(va, level);
            let leaf = node.leaf(i);
            if !leaf.is_empty() {
                return (leaf, va & !(span(level) - 1), level);
            }
            match node.kids.get(&i) {
                Some(kid) => node = kid,
                None => return (Leaf::default(), va, 0),
            }
        }
        (node.leaf(index(va, 0)), va & !(PAGE_SIZE - 1), 0)
    }

    /// True when the device can access the page with all of `flags`.
    pub fn allows(&self, va: Va, flags: u64) -> bool {
        let (leaf, ..) = self.leaf(va);
        leaf.is_live() && leaf.pte & flags == flags
    }

    /// The page that a live entry names.
    pub fn page(&self, va: Va) -> Option<DevPa> {
        let (leaf, base, _) = self.leaf(va);
        let offset = low48(va.align_down()) - base;
        leaf.is_live().then(|| pte::target(leaf.pte).add(offset))
    }

    /// True when the device has the page to itself.
    pub fn is_exclusive(&self, va: Va) -> bool {
        let (leaf, ..) = self.leaf(va);
        leaf.is_live() && leaf.exclusive
    }

    /// The pages of `range` that the device may use, in order; those of a 2 MiB leaf singly, also where it reaches
    /// out of the range.
    pub fn live(&self, range: PageRange) -> Vec<LivePage> {
        let mut found = Vec::new();
        visit(&self.root, range, &mut |node, part| {
            for i in part.first..=part.last {
                let leaf = node.leaf(i);
                if !leaf.is_live() {
                    continue;
                }
                found.extend((0..pages_of(part.level)).map(|n| LivePage {
                    va: canonical(part.va(i) + n * PAGE_SIZE),
                    page: pte::target(leaf.pte).add(n * PAGE_SIZE),
                    flags: leaf.pte & pte::FLAGS,
                    pfn: leaf.pfn.map(|pfn| pfn + n),
                    exclusive: leaf.exclusive,
                }));
            }
        });
        found.sort_by_key(|page| page.va);
        found
    }

    /// The smallest range that holds all entries of `range` that are not empty, whole.
    pub fn used_span(&self, range: PageRange) -> Option<PageRange> {
        let mut found: Option<(u64, u64)> = None;
        visit(&self.root, range, &mut |node, part| {
            for i in part.first..=part.last {
                if !node.leaf(i).is_empty() {
                    let (low, high) = (part.va(i), part.va(i) + span(part.level) - PAGE_SIZE);
                    found = Some(found.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
                }
            }
        });
        found.map(|(low, high)| PageRange {
            start: canonical(low),
            end: Va(canonical(high).0.wrapping_add(PAGE_SIZE)),
        })
    }
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
