//! Virtual addresses and page frame numbers.

use std::fmt;
use std::ops::{Add, Sub};

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Bytes that a huge page covers.
pub const HUGE_SIZE: u64 = 2 << 20;
/// log2 of [`HUGE_PAGES`].
pub const HUGE_ORDER: u32 = 9;
/// Pages that a huge page covers.
pub const HUGE_PAGES: u64 = 1 << HUGE_ORDER;
/// One past the last address that a process can use (47-bit user half).
pub const TASK_SIZE: u64 = 1 << 47;

/// A virtual address of a process, in bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Va(pub u64);

/// Number of a physical page: system memory from 0 on, device memory from [`DEVICE_PFN_BASE`] on.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(pub u64);

/// The first page number given to device memory. No CPU can address it.
pub const DEVICE_PFN_BASE: u64 = 1 << 36;

impl Va {
    /// Number of the page that holds this address.
    pub fn page(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }

    /// The address of page number `page`.
    pub fn of_page(page: u64) -> Va {
        Va(page << PAGE_SHIFT)
    }

    /// Offset in the page, in bytes.
    pub fn offset(self) -> usize {
        (self.0 & (PAGE_SIZE - 1)) as usize
    }

    /// The address of the page that holds this address.
    pub fn align_down(self) -> Va {
        Va(self.0 & !(PAGE_SIZE - 1))
    }

    /// The first address of the 2 MiB area that holds this address.
    pub fn huge_align_down(self) -> Va {
        Va(self.0 & !(HUGE_SIZE - 1))
    }

    /// Whether it is the first address of a 2 MiB area.
    pub fn is_huge_aligned(self) -> bool {
        self.0 & (HUGE_SIZE - 1) == 0
    }

    /// Whether it is the first address of a page.
    pub fn is_aligned(self) -> bool {
        self.offset() == 0
    }
}

impl Pfn {
    /// Whether this is a page of device memory.
    pub fn is_device(self) -> bool {
        self.0 >= DEVICE_PFN_BASE
    }

    /// Whether a huge page can begin here.
    pub fn is_huge_aligned(self) -> bool {
        self.0.is_multiple_of(HUGE_PAGES)
    }
}

impl Add<u64> for Va {
    type Output = Va;

    fn add(self, bytes: u64) -> Va {
        Va(self.0.wrapping_add(bytes))
    }
}

impl Sub<Va> for Va {
    type Output = u64;

    fn sub(self, other: Va) -> u64 {
        self.0.wrapping_sub(other.0)
    }
}

impl Add<u64> for Pfn {
    type Output = Pfn;

    fn add(self, pages: u64) -> Pfn {
        Pfn(self.0.wrapping_add(pages))
    }
}

impl Sub<Pfn> for Pfn {
    type Output = u64;

    fn sub(self, other: Pfn) -> u64 {
        self.0.wrapping_sub(other.0)
    }
}

impl fmt::Debug for Va {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Va {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}", self.0)
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}", self.0)
    }
}
