//! Looking at, and faulting in, a range of an address space for a device.

use std::sync::Arc;

use crate::addr::{Pfn, Va};
use crate::errno::Errno;
use crate::mm::MmapReadGuard;
use crate::notifier::MmuIntervalNotifier;

/// One page of a range: request on the way in, result on the way out. Linux's layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HmmPfn(pub u64);

impl HmmPfn {
    /// Result: there is a page.
    pub const VALID: u64 = 1 << 63;
    /// Result: it may be written.
    pub const WRITE: u64 = 1 << 62;
    /// Result: it cannot be accessed.
    pub const ERROR: u64 = 1 << 61;
    /// Request: fault the page in.
    pub const REQ_FAULT: u64 = HmmPfn::VALID;
    /// Request: make it writable.
    pub const REQ_WRITE: u64 = HmmPfn::WRITE;
    /// Shift of the 5-bit order (log2 pages of the CPU's mapping).
    pub const ORDER_SHIFT: u32 = 52;

    /// Whether there is a page.
    pub fn is_valid(self) -> bool {
        self.0 & HmmPfn::VALID != 0
    }
    /// Whether it may be written.
    pub fn is_write(self) -> bool {
        self.0 & HmmPfn::WRITE != 0
    }
    /// Whether it cannot be accessed.
    pub fn is_error(self) -> bool {
        self.0 & HmmPfn::ERROR != 0
    }
    /// log2 of the pages that the CPU maps with one entry.
    pub fn order(self) -> u32 {
        (self.0 >> HmmPfn::ORDER_SHIFT & 0x1f) as u32
    }
    /// The page.
    pub fn pfn(self) -> Pfn {
        Pfn(self.0 & ((1 << HmmPfn::ORDER_SHIFT) - 1))
    }
}

/// Arguments of [`hmm_range_fault`].
pub struct HmmRange<'a> {
    /// The subscription that covers the range.
    pub notifier: Arc<MmuIntervalNotifier>,
    /// What its `read_begin` gave.
    pub notifier_seq: u64,
    /// First address, page aligned.
    pub start: Va,
    /// One past the last address, page aligned.
    pub end: Va,
    /// One entry a page: requests in, results out.
    pub pfns: &'a mut [HmmPfn],
    /// Requests for all pages.
    pub default_flags: u64,
    /// Which request bits of the entries count.
    pub pfn_flags_mask: u64,
    /// The caller's own device-private memory.
    pub dev_private_owner: u64,
}

/// Fills in a range.
pub fn hmm_range_fault(_guard: &MmapReadGuard<'_>, _range: &mut HmmRange<'_>) -> Result<(), Errno> {
    Err(Errno::EFAULT)
}
