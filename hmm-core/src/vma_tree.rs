//! The mappings of one address space.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::addr::{HUGE_SIZE, PAGE_SIZE, TASK_SIZE, Va};
use crate::errno::Errno;
use crate::hugetlb::Reserve;
use crate::page_cache::PageCache;
use crate::userfault::Queue;
use crate::vma::{HugeAdvice, Prot, VmaFlags, VmaInfo};

/// Where mappings without a fixed address go: the lowest free place from here on.
const MMAP_BASE: u64 = 0x7f00_0000_0000;

/// What is behind a mapping.
#[derive(Clone)]
pub(crate) enum Backing {
    /// Private memory of zeros.
    Anon,
    /// Private memory of zeros in huge pages, and those that are reserved for it.
    Hugetlb(Arc<Reserve>),
    /// An object's pages, from this one on.
    Object {
        object: Arc<PageCache>,
        offset: u64,
        /// Stores go to copies of the process's own (MAP_PRIVATE).
        private: bool,
    },
}

impl Backing {
    fn advanced(&self, pages: u64) -> Backing {
        match self {
            Backing::Anon => Backing::Anon,
            Backing::Hugetlb(reserve) => Backing::Hugetlb(Arc::clone(reserve)),
            Backing::Object {
                object,
                offset,
                private,
            } => Backing::Object {
                object: Arc::clone(object),
                offset: offset + pages,
                private: *private,
            },
        }
    }

    fn continues(&self, pages: u64, next: &Backing) -> bool {
        match (self, next) {
            (Backing::Anon, Backing::Anon) => true,
            (Backing::Hugetlb(a), Backing::Hugetlb(b)) => Arc::ptr_eq(a, b),
            (
                Backing::Object {
                    object: a,
                    offset: i,
                    private: p,
                },
                Backing::Object {
                    object: b,
                    offset: j,
                    private: q,
                },
            ) => Arc::ptr_eq(a, b) && i + pages == *j && p == q,
            _ => false,
        }
    }
}

fn same_queue(a: &Option<Arc<Queue>>, b: &Option<Arc<Queue>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// A mapping. Its bounds are page aligned.
#[derive(Clone)]
pub(crate) struct Vma {
    pub start: Va,
    pub end: Va,
    pub prot: Prot,
    pub flags: VmaFlags,
    pub backing: Backing,
    /// New, or grown or moved, since the soft-dirty bits were cleared: all its pages count as written.
    pub soft_dirty: bool,
    /// Who provides its pages, if not the kernel.
    pub userfault: Option<Arc<Queue>>,
}

impl Vma {
    /// Stores are seen by this process alone.
    pub fn is_private(&self) -> bool {
        !matches!(self.backing, Backing::Object { private: false, .. })
    }

    /// Nothing but zeros is behind it.
    pub fn is_anon(&self) -> bool {
        matches!(self.backing, Backing::Anon)
    }

    /// Its pages are huge ones that are never split (MAP_HUGETLB).
    pub fn is_hugetlb(&self) -> bool {
        self.reserve().is_some()
    }

    /// What a hugetlb mapping has reserved.
    pub fn reserve(&self) -> Option<&Arc<Reserve>> {
        match &self.backing {
            Backing::Hugetlb(reserve) => Some(reserve),
            _ => None,
        }
    }

    /// KSM may work on it.
    pub fn can_merge(&self) -> bool {
        self.is_private() && !self.flags.mixed && !self.is_hugetlb()
    }

    /// The object behind it, and which of its pages is at `va`.
    pub fn object_page(&self, va: Va) -> Option<(&Arc<PageCache>, u64)> {
        match &self.backing {
            Backing::Anon | Backing::Hugetlb(_) => None,
            Backing::Object { object, offset, .. } => {
                Some((object, offset + va.page() - self.start.page()))
            }
        }
    }

    /// The first address of the aligned 2 MiB area around `va`, if a huge page may be there.
    pub fn huge_area(&self, va: Va) -> Option<Va> {
        let base = va.huge_align_down();
        let inside = base >= self.start && self.end - base >= HUGE_SIZE;
        let free = self.is_anon() && self.userfault.is_none();
        (inside && free && self.flags.huge == HugeAdvice::Always).then_some(base)
    }

    pub fn info(&self) -> VmaInfo {
        VmaInfo {
            start: self.start,
            end: self.end,
            prot: self.prot,
            shared: !self.is_private(),
            anon: self.is_anon(),
            userfault: self.userfault.is_some(),
            hugetlb: self.is_hugetlb(),
        }
    }

    /// The part between `start` and `end`.
    fn part(&self, start: Va, end: Va) -> Vma {
        let backing = self.backing.advanced(start.page() - self.start.page());
        Vma {
            start,
            end,
            backing,
            ..self.clone()
        }
    }

    /// Whether `next`, which begins where this ends, is more of the same.
    fn continues(&self, next: &Vma) -> bool {
        let pages = self.end.page() - self.start.page();
        self.end == next.start
            && self.prot == next.prot
            && self.flags == next.flags
            && same_queue(&self.userfault, &next.userfault)
            && self.backing.continues(pages, &next.backing)
    }
}

/// Mappings by start address; they never overlap.
#[derive(Default)]
pub(crate) struct VmaTree {
    by_start: BTreeMap<Va, Vma>,
    /// From `MMAP_BASE` to here all is mapped: nobody has to look for a free place there.
    packed_to: u64,
}

impl VmaTree {
    pub fn find(&self, va: Va) -> Option<&Vma> {
        self.by_start
            .range(..=va)
            .next_back()
            .map(|(_, vma)| vma)
            .filter(|vma| va < vma.end)
    }

    /// The mappings that overlap `start..end`, in order.
    pub fn overlapping(&self, start: Va, end: Va) -> Vec<&Vma> {
        self.overlapping_iter(start, end).collect()
    }

    /// As [`VmaTree::overlapping`], looked up as they are needed.
    pub fn overlapping_iter(&self, start: Va, end: Va) -> impl Iterator<Item = &Vma> {
        let first = self.find(start).map_or(start, |vma| vma.start);
        self.by_start
            .range(first..end.max(first))
            .map(|(_, vma)| vma)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.by_start.values()
    }

    /// Fails if the range begins or ends inside of a huge page of a hugetlb mapping, which is never split.
    pub fn check_huge_edges(&self, start: Va, end: Va) -> Result<(), Errno> {
        let cut = |edge: Va| {
            let vma = self.find(edge).filter(|vma| vma.is_hugetlb());
            !edge.is_huge_aligned() && vma.is_some()
        };
        if cut(start) || cut(end) {
            Err(Errno::EINVAL)
        } else {
            Ok(())
        }
    }

    /// Whether every page of `start..end` is in a mapping.
    pub fn covers(&self, start: Va, end: Va) -> bool {
        let mut at = start;
        for vma in self.overlapping_iter(start, end) {
            if vma.start > at {
                return false;
            }
            at = vma.end;
        }
        at >= end
    }

    /// Adds a mapping at a place that is free, and joins it with its neighbours where they are alike.
    pub fn insert(&mut self, vma: Vma) {
        let mut vma = vma;
        if let Some(before) = self
            .by_start
            .range(..vma.start)
            .next_back()
            .map(|(_, v)| v.clone())
            && before.continues(&vma)
        {
            self.by_start.remove(&before.start);
            vma = Vma {
                end: vma.end,
                soft_dirty: vma.soft_dirty || before.soft_dirty,
                ..before
            };
        }
        if let Some(after) = self.by_start.get(&vma.end).cloned()
            && vma.continues(&after)
        {
            self.by_start.remove(&after.start);
            vma.end = after.end;
            vma.soft_dirty |= after.soft_dirty;
        }
        self.by_start.insert(vma.start, vma);
    }

    /// Takes what is mapped in `start..end` out, splitting mappings at the edges.
    pub fn take(&mut self, start: Va, end: Va) -> Vec<Vma> {
        let hit: Vec<Vma> = self.overlapping(start, end).into_iter().cloned().collect();
        let mut taken = Vec::new();
        self.packed_to = self.packed_to.min(start.0);
        for vma in hit {
            self.by_start.remove(&vma.start);
            if vma.start < start {
                let left = vma.part(vma.start, start);
                self.by_start.insert(left.start, left);
            }
            if vma.end > end {
                let right = vma.part(end, vma.end);
                self.by_start.insert(right.start, right);
            }
            taken.push(vma.part(vma.start.max(start), vma.end.min(end)));
        }
        taken
    }

    /// No mapping counts as written as a whole any more.
    pub fn clear_soft_dirty(&mut self) {
        for vma in self.by_start.values_mut() {
            vma.soft_dirty = false;
        }
    }

    /// The lowest free place of `len` bytes, a multiple of 2 MiB if `huge`.
    pub fn find_free(&mut self, len: u64, huge: bool) -> Result<Va, Errno> {
        let align = if huge { HUGE_SIZE } else { PAGE_SIZE };
        let mut packed = self.packed_to.max(MMAP_BASE);
        let mut at = packed.next_multiple_of(align);
        for vma in self.overlapping_iter(Va(packed), Va(TASK_SIZE)) {
            if vma.start.0 <= packed {
                packed = vma.end.0;
            }
            if vma.start.0 >= at && vma.start.0 - at >= len {
                break;
            }
            at = at.max(vma.end.0).next_multiple_of(align);
        }
        self.packed_to = packed;
        let end = at.checked_add(len).ok_or(Errno::ENOMEM)?;
        if end > TASK_SIZE {
            Err(Errno::ENOMEM)
        } else {
            Ok(Va(at))
        }
    }
}

/// Checks a range given by the user and returns its end; `len` is rounded up to whole pages.
pub(crate) fn user_range(start: Va, len: u64) -> Result<Va, Errno> {
    if !start.is_aligned() || len == 0 {
        return Err(Errno::EINVAL);
    }
    let len = len
        .checked_next_multiple_of(PAGE_SIZE)
        .ok_or(Errno::EINVAL)?;
    match start.0.checked_add(len) {
        Some(end) if end <= TASK_SIZE => Ok(Va(end)),
        _ => Err(Errno::EINVAL),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vma(start: u64, end: u64, prot: Prot) -> Vma {
        Vma {
            start: Va(start << 12),
            end: Va(end << 12),
            prot,
            flags: VmaFlags::default(),
            backing: Backing::Anon,
            soft_dirty: false,
            userfault: None,
        }
    }

    fn shape(tree: &VmaTree) -> Vec<(u64, u64, bool)> {
        tree.iter()
            .map(|v| (v.start.page(), v.end.page(), v.prot.write))
            .collect()
    }

    #[test]
    fn taking_splits_and_inserting_joins() {
        let mut tree = VmaTree::default();
        tree.insert(vma(10, 20, Prot::READ_WRITE));
        let taken = tree.take(Va(13 << 12), Va(15 << 12));
        assert_eq!(taken.len(), 1);
        assert_eq!(shape(&tree), [(10, 13, true), (15, 20, true)]);
        tree.insert(vma(13, 15, Prot::READ));
        assert_eq!(
            shape(&tree),
            [(10, 13, true), (13, 15, false), (15, 20, true)]
        );
        assert!(tree.covers(Va(10 << 12), Va(20 << 12)));
        assert!(!tree.covers(Va(9 << 12), Va(12 << 12)));
        tree.take(Va(13 << 12), Va(15 << 12));
        tree.insert(vma(13, 15, Prot::READ_WRITE));
        assert_eq!(shape(&tree), [(10, 20, true)]);
    }

    #[test]
    fn free_places_are_lowest_first_and_aligned() {
        let mut tree = VmaTree::default();
        let base = MMAP_BASE >> 12;
        assert_eq!(tree.find_free(4096, true), Ok(Va(MMAP_BASE)));
        tree.insert(vma(base + 1, base + 3, Prot::READ));
        assert_eq!(tree.find_free(4096, false), Ok(Va(MMAP_BASE)));
        assert_eq!(tree.find_free(8192, false), Ok(Va::of_page(base + 3)));
        assert_eq!(tree.find_free(8192, true), Ok(Va::of_page(base + 512)));
        assert_eq!(tree.find_free(TASK_SIZE, false), Err(Errno::ENOMEM));
    }

    #[test]
    fn a_place_that_becomes_free_below_is_found_again() {
        let mut tree = VmaTree::default();
        let base = MMAP_BASE >> 12;
        for n in 0..8 {
            assert_eq!(tree.find_free(4096, false), Ok(Va::of_page(base + n)));
            let prot = if n % 2 == 0 { Prot::READ } else { Prot::NONE };
            tree.insert(vma(base + n, base + n + 1, prot));
        }
        let changed = tree.take(Va::of_page(base + 1), Va::of_page(base + 2));
        tree.insert(Vma {
            prot: Prot::READ_WRITE,
            ..changed[0].clone()
        });
        assert_eq!(tree.find_free(4096, false), Ok(Va::of_page(base + 8)));
        tree.take(Va::of_page(base + 3), Va::of_page(base + 4));
        assert_eq!(tree.find_free(8192, false), Ok(Va::of_page(base + 8)));
        assert_eq!(tree.find_free(4096, false), Ok(Va::of_page(base + 3)));
    }

    #[test]
    fn ranges_of_users_are_checked() {
        assert_eq!(user_range(Va(4096), 1), Ok(Va(8192)));
        assert_eq!(user_range(Va(4097), 1), Err(Errno::EINVAL));
        assert_eq!(user_range(Va(4096), 0), Err(Errno::EINVAL));
        assert_eq!(user_range(Va(4096), u64::MAX), Err(Errno::EINVAL));
        assert_eq!(user_range(Va(TASK_SIZE), 4096), Err(Errno::EINVAL));
    }
}
