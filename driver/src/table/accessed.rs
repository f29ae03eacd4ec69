//! Which entries the device has used, as far as its A bits were harvested.

use super::PageTable;
use super::node::{ENTRIES, canonical, index, low48, pages_of, span, visit, visit_mut};
use crate::mem::DevPa;
use crate::policy::PageRange;
use hmm_core::{PAGE_SIZE, Va};

/// The device harvests whole lines of 64 bytes.
const LINE: usize = 8;
/// Most entries of one command: what waits behind it shall not wait long.
const PIECE: usize = 64;

/// Entries of one table that are harvested by one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Address of the first page.
    pub va: Va,
    /// How many entries.
    pub count: usize,
    /// Level of the table.
    level: u32,
}

impl Piece {
    /// The first address behind its pages.
    pub fn end(&self) -> Va {
        self.va + self.count as u64 * span(self.level)
    }
}

impl PageTable {
    /// What is to be harvested for the pages of `range`: the lines of the tables that hold live entries of it. They hold
    /// others too.
    pub fn pieces(&self, range: PageRange) -> Vec<Piece> {
        let mut pieces = Vec::new();
        visit(&self.root, range, &mut |node, part| {
            let mut first = part.first - part.first % LINE;
            let end = part.last - part.last % LINE + LINE;
            while first < end {
                let count = (end - first).min(PIECE);
                if (first..first + count).any(|i| node.leaf(i).is_live()) {
                    pieces.push(Piece {
                        va: canonical(part.va(first)),
                        count,
                        level: part.level,
                    });
                }
                first += count;
            }
        });
        pieces.sort_by_key(|piece| piece.va);
        pieces
    }

    /// Where the entries of a piece are; `None` when its table is there no more.
    pub fn piece_at(&self, piece: &Piece) -> Option<DevPa> {
        let va = low48(piece.va);
        let node = self.find(va, piece.level)?;
        Some(node.entry(index(va, piece.level)))
    }

    /// Notes what a harvest has found: bit i of `accessed` is of entry i. Returns how many were found used.
    pub fn note_accessed(&mut self, piece: &Piece, accessed: &[u8]) -> u64 {
        let low = low48(piece.va);
        let first = index(low, piece.level);
        let Some(node) = self.find_mut(low, piece.level) else {
            return 0;
        };
        let mut count = 0;
        for n in 0..piece.count.min(ENTRIES - first) {
            let used = accessed
                .get(n / 8)
                .is_some_and(|byte| byte >> (n % 8) & 1 == 1);
            count += u64::from(used);
            if used && node.leaf(first + n).is_live() {
                node.leaves_mut()[first + n].used = true;
            }
        }
        count
    }

    /// Tells for each page of `range` whether a harvest has found it used since it was last told of. One entry of 2 MiB
    /// tells of all its pages.
    pub fn take_accessed(&mut self, range: PageRange) -> Vec<bool> {
        let pages = (range.end - range.start) / PAGE_SIZE;
        let mut told = vec![false; pages as usize];
        let start = low48(range.start);
        visit_mut(&mut self.root, range, &mut |node, part| {
            for i in part.first..=part.last {
                if !node.leaf(i).used {
                    continue;
                }
                node.leaves_mut()[i].used = false;
                let first = part.va(i);
                for n in 0..pages_of(part.level) {
                    let page = (first + n * PAGE_SIZE).checked_sub(start);
                    let place = page.and_then(|page| told.get_mut((page / PAGE_SIZE) as usize));
                    if let Some(place) = place {
                        *place = true;
                    }
                }
            }
        });
        told
    }
}
