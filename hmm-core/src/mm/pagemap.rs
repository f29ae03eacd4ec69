//! What Linux's pagemap tells of a page.

use crate::addr::Va;
use crate::errno::Errno;
use crate::mm::Mm;
use crate::pte::Pte;
use crate::vma_tree::{Vma, user_range};

/// Where a page is, in pagemap's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagemapEntry {
    /// Nothing there.
    None,
    /// In memory that the CPU reaches: system memory, or coherent device memory.
    Present,
    /// Elsewhere: in swap space, in device-private memory, device-exclusive, on its way, or lost.
    Swap,
}

/// One entry of pagemap in Linux's layout, without the page number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PagemapBits(pub u64);

impl PagemapBits {
    /// Written since the bits were cleared ([`Mm::soft_dirty`]).
    pub const SOFT_DIRTY: u64 = 1 << 55;
    /// Mapped in this place only.
    pub const MAPPED_ONCE: u64 = 1 << 56;
    /// A page of a file or of shared memory.
    pub const FILE: u64 = 1 << 61;
    /// Swapped, or in a place the CPU does not reach.
    pub const SWAP: u64 = 1 << 62;
    /// Present.
    pub const PRESENT: u64 = 1 << 63;

    /// Whether all of `bits` are set.
    pub fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }
}

impl Mm {
    /// Where pagemap says the page of `va` is.
    pub fn pagemap(&self, va: Va) -> PagemapEntry {
        place(self.pt.lock().get(va.page()))
    }

    /// All that pagemap says of the page of `va`.
    pub fn pagemap_bits(&self, va: Va) -> PagemapBits {
        let vmas = self.vmas.read();
        let pte = self.pt.lock().get(va.page());
        let vma_dirty = vmas.find(va).is_some_and(|vma| vma.soft_dirty);
        let mut bits = match place(pte) {
            PagemapEntry::None => 0,
            PagemapEntry::Present => PagemapBits::PRESENT,
            PagemapEntry::Swap => PagemapBits::SWAP,
        };
        if let Some(pfn) = pte.pfn().filter(|&pfn| !self.sys.is_zero_page(pfn)) {
            let (anon, places) = self
                .sys
                .frames
                .with(pfn, |f| (f.anon, f.mapped.len() + f.migrating.len()));
            if !anon {
                bits |= PagemapBits::FILE;
            }
            if places == 1 {
                bits |= PagemapBits::MAPPED_ONCE;
            }
        }
        if vma_dirty || pte.is_soft_dirty() {
            bits |= PagemapBits::SOFT_DIRTY;
        }
        PagemapBits(bits)
    }

    /// For each page of `len` bytes (rounded up to pages), whether an access would find it without reading
    /// it from swap space or a file (mincore). Pages in device memory, and those on their way, count.
    ///
    /// # Errors
    /// EINVAL for a bad range, ENOMEM when part of it is not mapped, ESRCH for a dead process.
    pub fn mincore(&self, start: Va, len: u64) -> Result<Vec<bool>, Errno> {
        let end = user_range(start, len)?;
        let vmas = self.vmas.read();
        self.check_alive()?;
        if !vmas.covers(start, end) {
            return Err(Errno::ENOMEM);
        }
        let pages = (start.page()..end.page()).map(Va::of_page);
        Ok(pages
            .map(|va| match self.pt.lock().get(va.page()) {
                Pte::None => vmas.find(va).is_some_and(|vma| self.is_cached(vma, va)),
                Pte::Swap { .. } => false,
                Pte::Present(_)
                | Pte::Device { .. }
                | Pte::Migration { .. }
                | Pte::Exclusive { .. }
                | Pte::Poison => true,
            })
            .collect())
    }

    /// Whether the object behind a mapping has the page of `va` in memory.
    fn is_cached(&self, vma: &Vma, va: Va) -> bool {
        let Some((object, index)) = vma.object_page(va) else {
            return false;
        };
        let Some((found, pfn)) = object.next_page(index) else {
            return false;
        };
        self.sys.frames.put(pfn);
        found == index
    }
}

fn place(pte: Pte) -> PagemapEntry {
    match pte {
        Pte::None => PagemapEntry::None,
        Pte::Present(_) => PagemapEntry::Present,
        Pte::Device { .. }
        | Pte::Migration { .. }
        | Pte::Exclusive { .. }
        | Pte::Swap { .. }
        | Pte::Poison => PagemapEntry::Swap,
    }
}
