//! What to do with the pages of a device fault: the decision, apart from the mechanism.

use hmm_core::{PAGE_SIZE, Va};

/// A range of pages (bytes, page-aligned, half open).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// First byte.
    pub start: Va,
    /// One past the last byte.
    pub end: Va,
}

/// One device fault, as a policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultInfo {
    /// The page.
    pub addr: Va,
    /// The access writes (store or atomic).
    pub write: bool,
    /// The access is an atomic.
    pub atomic: bool,
}

/// What is to be done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Pages to migrate to device memory first; what cannot move is mapped where it is.
    pub migrate: Option<PageRange>,
    /// Pages to map along when they are present (must contain the fault).
    pub around: PageRange,
}

/// Decides about device faults. Called by the fault worker with no lock held.
pub trait Policy: Send + Sync {
    /// The decision for one fault.
    fn on_fault(&self, fault: &FaultInfo) -> Decision;
}

/// The aligned block of `pages` pages (a power of two) around `addr`.
fn block(addr: Va, pages: u64) -> PageRange {
    let bytes = pages.max(1).next_power_of_two() * PAGE_SIZE;
    let start = addr.0 & !(bytes - 1);
    PageRange {
        start: Va(start),
        end: Va(start + bytes),
    }
}

/// Leaves pages where they are and maps them over the link; pages of the same aligned block that are present
/// are mapped along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRemote {
    /// Size of the block in pages (a power of two).
    pub around_pages: u64,
}

impl Default for MapRemote {
    fn default() -> Self {
        Self { around_pages: 16 }
    }
}

impl Policy for MapRemote {
    fn on_fault(&self, fault: &FaultInfo) -> Decision {
        Decision {
            migrate: None,
            around: block(fault.addr, self.around_pages),
        }
    }
}

/// Migrates the aligned block around the fault to device memory, then maps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrateOnFault {
    /// Size of the block in pages (a power of two).
    pub block_pages: u64,
}

impl Default for MigrateOnFault {
    fn default() -> Self {
        Self { block_pages: 16 }
    }
}

impl Policy for MigrateOnFault {
    fn on_fault(&self, fault: &FaultInfo) -> Decision {
        let range = block(fault.addr, self.block_pages);
        Decision {
            migrate: Some(range),
            around: range,
        }
    }
}
