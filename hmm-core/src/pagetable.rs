//! Page tables of four levels, with huge entries (2 MiB) one level above the lowest.

use crate::addr::{HUGE_ORDER, HUGE_PAGES};
use crate::mm::Rss;
use crate::pte::Pte;

const BITS: u32 = 9;
const FANOUT: usize = 1 << BITS;
/// Levels above the lowest.
const UPPER_LEVELS: u32 = 3;

#[derive(Debug)]
enum Child {
    Empty,
    Table(Box<Node>),
    /// One entry for all pages below: the entry of the first. Only at level 1.
    Huge(Pte),
}

#[derive(Debug)]
enum Node {
    Upper {
        children: Vec<Child>,
        used: usize,
    },
    Leaf {
        entries: Vec<Pte>,
        used: usize,
        /// Made of a huge entry, and no mapping begins or ends inside since.
        was_huge: bool,
    },
}

impl Node {
    fn upper() -> Node {
        let mut children = Vec::new();
        children.resize_with(FANOUT, || Child::Empty);
        Node::Upper { children, used: 0 }
    }

    fn leaf() -> Node {
        Node::Leaf {
            entries: vec![Pte::None; FANOUT],
            used: 0,
            was_huge: false,
        }
    }

    /// The lowest table that says the same as a huge entry.
    fn split(huge: Pte) -> Node {
        Node::Leaf {
            entries: (0..HUGE_PAGES).map(|n| huge.nth(n)).collect(),
            used: FANOUT,
            was_huge: true,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Node::Upper { used, .. } | Node::Leaf { used, .. } => *used == 0,
        }
    }
}

fn index(page: u64, level: u32) -> usize {
    (page >> (BITS * level)) as usize & (FANOUT - 1)
}

/// The first page of the huge area that holds `page`.
pub(crate) fn huge_base(page: u64) -> u64 {
    page & !(HUGE_PAGES - 1)
}

/// An entry as the table holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The first page that it covers.
    pub page: u64,
    /// The entry of that page; the next page's is [`Pte::nth`] of it.
    pub pte: Pte,
    /// log2 of the pages that it covers.
    pub order: u32,
}

impl Entry {
    pub fn is_huge(self) -> bool {
        self.order > 0
    }

    /// How many pages it covers.
    pub fn pages(self) -> u64 {
        1 << self.order
    }

    /// The entry of `page`, one of those that it covers.
    pub fn at(self, page: u64) -> Pte {
        self.pte.nth(page - self.page)
    }
}

/// The entries of one address space, by virtual page number, and the counts that change with them.
///
/// A huge entry stands for 512 single ones: who asks for a page sees the single entry, and who sets a page
/// replaces the huge entry by single ones first. Only code that asks for sizes sees a difference.
#[derive(Debug)]
pub(crate) struct PageTable {
    root: Node,
    /// Pages by kind; kept under the same lock as the entries.
    pub rss: Rss,
    /// Where the mappings are locked (mlock), for reclaim, which cannot look at the mappings: first page and
    /// one past the last, in order.
    locked: Vec<(u64, u64)>,
}

impl PageTable {
    pub fn new() -> PageTable {
        PageTable {
            root: Node::upper(),
            rss: Rss::default(),
            locked: Vec::new(),
        }
    }

    /// Whether the page is in a locked mapping.
    pub fn is_locked(&self, page: u64) -> bool {
        let after = self.locked.partition_point(|&(start, _)| start <= page);
        after > 0 && page < self.locked[after - 1].1
    }

    /// Notes where the mappings are locked.
    pub fn set_locked(&mut self, locked: Vec<(u64, u64)>) {
        self.locked = locked;
    }

    /// The entry of one page.
    pub fn get(&self, page: u64) -> Pte {
        let entry = self.get_sized(page);
        entry.at(page)
    }

    /// The entry that covers a page. A page without entry has a single one, [`Pte::None`].
    pub fn get_sized(&self, page: u64) -> Entry {
        let single = |pte| Entry {
            page,
            pte,
            order: 0,
        };
        let mut node = &self.root;
        let mut level = UPPER_LEVELS;
        loop {
            match node {
                Node::Leaf { entries, .. } => return single(entries[index(page, 0)]),
                Node::Upper { children, .. } => match &children[index(page, level)] {
                    Child::Table(child) => node = child,
                    Child::Empty => return single(Pte::None),
                    Child::Huge(pte) => {
                        return Entry {
                            page: huge_base(page),
                            pte: *pte,
                            order: HUGE_ORDER,
                        };
                    }
                },
            }
            level = level.saturating_sub(1);
        }
    }

    /// Sets the entry of one page and returns what was there. A huge entry is split, unless it says the
    /// same already. Tables without entries are freed.
    pub fn set(&mut self, page: u64, pte: Pte) -> Pte {
        set_in(&mut self.root, UPPER_LEVELS, page, pte)
    }

    /// Replaces everything in the huge area of `page` by one entry; [`Pte::None`] empties it.
    pub fn set_huge(&mut self, page: u64, pte: Pte) {
        let child = match pte {
            Pte::None => Child::Empty,
            pte => Child::Huge(pte),
        };
        set_huge_in(&mut self.root, UPPER_LEVELS, page, child);
    }

    /// Sets an entry of the size of `entry`, at the same place.
    pub fn replace(&mut self, entry: Entry, pte: Pte) {
        if entry.is_huge() {
            self.set_huge(entry.page, pte);
        } else {
            self.set(entry.page, pte);
        }
    }

    /// A mapping begins or ends at `page`: splits a huge entry that covers pages on both sides.
    pub fn split_before(&mut self, page: u64) {
        if page != huge_base(page)
            && let Some(was_huge) = split_in(&mut self.root, UPPER_LEVELS, page)
        {
            *was_huge = false;
        }
    }

    /// Splits the huge entry that covers `page`, if there is one.
    pub fn split(&mut self, page: u64) {
        split_in(&mut self.root, UPPER_LEVELS, page);
    }

    /// Whether the single entries around `page` come from one huge entry, and one mapping still covers
    /// them all. They may have changed.
    pub fn was_huge(&self, page: u64) -> bool {
        let mut node = &self.root;
        let mut level = UPPER_LEVELS;
        loop {
            match node {
                Node::Leaf { was_huge, .. } => return *was_huge,
                Node::Upper { children, .. } => match &children[index(page, level)] {
                    Child::Table(child) => node = child,
                    Child::Empty | Child::Huge(_) => return false,
                },
            }
            level = level.saturating_sub(1);
        }
    }

    /// Whether the huge area of `page` has no entry at all. Costs no more than looking one up.
    pub fn is_area_empty(&self, page: u64) -> bool {
        let mut node = &self.root;
        let mut level = UPPER_LEVELS;
        while let Node::Upper { children, .. } = node {
            match &children[index(page, level)] {
                Child::Empty => return true,
                Child::Table(child) if level > 1 => node = child,
                Child::Table(_) | Child::Huge(_) => return false,
            }
            level -= 1;
        }
        false
    }

    /// The single entries of `start..end` (page numbers) that are not none, in order.
    pub fn range(&self, start: u64, end: u64) -> Vec<(u64, Pte)> {
        let mut found = Vec::new();
        visit(&self.root, UPPER_LEVELS, 0, start, end, &mut |entry| {
            let first = entry.page.max(start);
            let last = (entry.page + entry.pages()).min(end);
            found.extend((first..last).map(|page| (page, entry.at(page))));
        });
        found
    }

    /// The entries of `start..end` that are not none, in order. A huge entry that reaches out of the
    /// range comes as the single ones that are inside.
    pub fn range_sized(&self, start: u64, end: u64) -> Vec<Entry> {
        let mut found = Vec::new();
        visit(&self.root, UPPER_LEVELS, 0, start, end, &mut |entry| {
            let first = entry.page.max(start);
            let last = (entry.page + entry.pages()).min(end);
            if last - first == entry.pages() {
                found.push(entry);
            } else {
                found.extend((first..last).map(|page| Entry {
                    page,
                    pte: entry.at(page),
                    order: 0,
                }));
            }
        });
        found
    }
}

fn set_in(node: &mut Node, level: u32, page: u64, pte: Pte) -> Pte {
    match node {
        Node::Leaf { entries, used, .. } => {
            let old = std::mem::replace(&mut entries[index(page, 0)], pte);
            *used += usize::from(!pte.is_none());
            *used -= usize::from(!old.is_none());
            old
        }
        Node::Upper { children, used } => {
            let slot = &mut children[index(page, level)];
            match slot {
                Child::Empty if pte.is_none() => return Pte::None,
                Child::Empty => {
                    *slot = Child::Table(Box::new(new_table(level)));
                    *used += 1;
                }
                Child::Huge(huge) if huge.nth(page - huge_base(page)) == pte => return pte,
                Child::Huge(huge) => *slot = Child::Table(Box::new(Node::split(*huge))),
                Child::Table(_) => {}
            }
            let Child::Table(child) = slot else {
                return Pte::None;
            };
            let old = set_in(child, level - 1, page, pte);
            if child.is_empty() {
                *slot = Child::Empty;
                *used -= 1;
            }
            old
        }
    }
}

/// A table below an upper one of `level`.
fn new_table(level: u32) -> Node {
    if level == 1 {
        Node::leaf()
    } else {
        Node::upper()
    }
}

fn set_huge_in(node: &mut Node, level: u32, page: u64, new: Child) {
    let Node::Upper { children, used } = node else {
        return;
    };
    let slot = &mut children[index(page, level)];
    if level == 1 {
        *used += usize::from(!matches!(new, Child::Empty));
        *used -= usize::from(!matches!(slot, Child::Empty));
        *slot = new;
        return;
    }
    if matches!(slot, Child::Empty) {
        if matches!(new, Child::Empty) {
            return;
        }
        *slot = Child::Table(Box::new(new_table(level)));
        *used += 1;
    }
    let Child::Table(child) = slot else { return };
    set_huge_in(child, level - 1, page, new);
    if child.is_empty() {
        *slot = Child::Empty;
        *used -= 1;
    }
}

/// Splits, and gives the mark of the lowest table around `page`, if there is one.
fn split_in(node: &mut Node, level: u32, page: u64) -> Option<&mut bool> {
    match node {
        Node::Leaf { was_huge, .. } => Some(was_huge),
        Node::Upper { children, .. } => {
            let slot = &mut children[index(page, level)];
            if let Child::Huge(huge) = slot {
                *slot = Child::Table(Box::new(Node::split(*huge)));
            }
            match slot {
                Child::Table(child) => split_in(child, level.saturating_sub(1), page),
                Child::Empty | Child::Huge(_) => None,
            }
        }
    }
}

/// Calls `f` with each entry that covers a page of `start..end` and is not none, in order.
fn visit(node: &Node, level: u32, base: u64, start: u64, end: u64, f: &mut dyn FnMut(Entry)) {
    let span = 1u64 << (BITS * level);
    let first = if start > base {
        ((start - base) / span).min(FANOUT as u64) as usize
    } else {
        0
    };
    let last = if end > base {
        (end - base).div_ceil(span).min(FANOUT as u64) as usize
    } else {
        0
    };
    for i in first..last {
        let page = base + i as u64 * span;
        match node {
            Node::Leaf { entries, .. } => {
                if !entries[i].is_none() {
                    f(Entry {
                        page,
                        pte: entries[i],
                        order: 0,
                    });
                }
            }
            Node::Upper { children, .. } => match &children[i] {
                Child::Empty => {}
                Child::Table(child) => visit(child, level - 1, page, start, end, f),
                Child::Huge(pte) => f(Entry {
                    page,
                    pte: *pte,
                    order: HUGE_ORDER,
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests;
