//! Page tables of four levels.

use crate::mm::Rss;
use crate::pte::Pte;

const BITS: u32 = 9;
const FANOUT: usize = 1 << BITS;
/// Levels above the lowest.
const UPPER_LEVELS: u32 = 3;

#[derive(Debug)]
enum Node {
    Upper {
        children: Vec<Option<Box<Node>>>,
        used: usize,
    },
    Leaf {
        entries: Vec<Pte>,
        used: usize,
    },
}

impl Node {
    fn upper() -> Node {
        let mut children = Vec::new();
        children.resize_with(FANOUT, || None);
        Node::Upper { children, used: 0 }
    }

    fn leaf() -> Node {
        Node::Leaf {
            entries: vec![Pte::None; FANOUT],
            used: 0,
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

/// The entries of one address space, by virtual page number, and the counts that change with them.
#[derive(Debug)]
pub(crate) struct PageTable {
    root: Node,
    /// Pages by kind; kept under the same lock as the entries.
    pub rss: Rss,
}

impl PageTable {
    pub fn new() -> PageTable {
        PageTable {
            root: Node::upper(),
            rss: Rss::default(),
        }
    }

    pub fn get(&self, page: u64) -> Pte {
        let mut node = &self.root;
        let mut level = UPPER_LEVELS;
        loop {
            match node {
                Node::Leaf { entries, .. } => return entries[index(page, 0)],
                Node::Upper { children, .. } => match &children[index(page, level)] {
                    Some(child) => node = child,
                    None => return Pte::None,
                },
            }
            level = level.saturating_sub(1);
        }
    }

    /// Sets an entry and returns what was there. Tables without entries are freed.
    pub fn set(&mut self, page: u64, pte: Pte) -> Pte {
        set_in(&mut self.root, UPPER_LEVELS, page, pte)
    }

    /// The entries of `start..end` (page numbers) that are not none, in order.
    pub fn range(&self, start: u64, end: u64) -> Vec<(u64, Pte)> {
        let mut found = Vec::new();
        collect(&self.root, UPPER_LEVELS, 0, start, end, &mut found);
        found
    }
}

fn set_in(node: &mut Node, level: u32, page: u64, pte: Pte) -> Pte {
    match node {
        Node::Leaf { entries, used } => {
            let old = std::mem::replace(&mut entries[index(page, 0)], pte);
            *used += usize::from(!pte.is_none());
            *used -= usize::from(!old.is_none());
            old
        }
        Node::Upper { children, used } => {
            let slot = &mut children[index(page, level)];
            if slot.is_none() {
                if pte.is_none() {
                    return Pte::None;
                }
                *slot = Some(Box::new(if level == 1 {
                    Node::leaf()
                } else {
                    Node::upper()
                }));
                *used += 1;
            }
            let Some(child) = slot else { return Pte::None };
            let old = set_in(child, level - 1, page, pte);
            if child.is_empty() {
                *slot = None;
                *used -= 1;
            }
            old
        }
    }
}

fn collect(node: &Node, level: u32, base: u64, start: u64, end: u64, found: &mut Vec<(u64, Pte)>) {
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
        let at = base + i as u64 * span;
        match node {
            Node::Leaf { entries, .. } => {
                if !entries[i].is_none() {
                    found.push((at, entries[i]));
                }
            }
            Node::Upper { children, .. } => {
                if let Some(child) = &children[i] {
                    collect(child, level - 1, at, start, end, found);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Pfn;

    fn device(n: u64) -> Pte {
        Pte::Device {
            pfn: Pfn(n),
            write: false,
            none: false,
            soft_dirty: false,
        }
    }

    #[test]
    fn entries_are_found_in_order_and_only_in_range() {
        let mut pt = PageTable::new();
        let pages = [0, 1, 511, 512, 513, 1 << 18, (1 << 18) + 5, (1 << 35) - 1];
        for &page in pages.iter().rev() {
            assert_eq!(pt.set(page, device(page)), Pte::None);
        }
        assert_eq!(
            pt.range(0, 1 << 36).iter().map(|e| e.0).collect::<Vec<_>>(),
            pages
        );
        assert_eq!(
            pt.range(1, 513).iter().map(|e| e.0).collect::<Vec<_>>(),
            [1, 511, 512]
        );
        assert_eq!(pt.range(514, 1 << 18), []);
        assert_eq!(pt.get(513), device(513));
        assert_eq!(pt.get(514), Pte::None);
    }

    #[test]
    fn empty_tables_are_freed() {
        let mut pt = PageTable::new();
        pt.set(77, device(1));
        pt.set(1 << 30, device(2));
        assert_eq!(pt.set(77, Pte::None), device(1));
        assert_eq!(pt.set(1 << 30, Pte::None), device(2));
        assert_eq!(pt.set(5, Pte::None), Pte::None);
        assert!(pt.root.is_empty());
    }
}
