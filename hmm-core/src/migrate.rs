//! Moving pages between system and device memory.

use crate::addr::{Pfn, Va};
use crate::errno::Errno;
use crate::mm::MmapReadGuard;
use crate::system::System;

/// One page of a migration. Linux's layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MigratePfn(pub u64);

impl MigratePfn {
    /// The entry names a page.
    pub const VALID: u64 = 1 << 0;
    /// The page can be migrated.
    pub const MIGRATE: u64 = 1 << 1;
    /// The process may write it.
    pub const WRITE: u64 = 1 << 3;
    /// Shift of the page number.
    pub const PFN_SHIFT: u32 = 6;

    /// An entry that names a page (a destination).
    pub fn page(pfn: Pfn) -> MigratePfn {
        MigratePfn(pfn.0 << MigratePfn::PFN_SHIFT | MigratePfn::VALID)
    }
    /// The page, if it names one. A source with [`MigratePfn::MIGRATE`] without page is an empty slot.
    pub fn pfn(self) -> Option<Pfn> {
        (self.0 & MigratePfn::VALID != 0).then_some(Pfn(self.0 >> MigratePfn::PFN_SHIFT))
    }
    /// Whether it can be (or was) migrated.
    pub fn is_migrate(self) -> bool {
        self.0 & MigratePfn::MIGRATE != 0
    }
    /// Whether the process may write it.
    pub fn is_write(self) -> bool {
        self.0 & MigratePfn::WRITE != 0
    }
}

/// Which pages to migrate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MigrateSelect {
    /// Pages in system memory, and empty places.
    pub system: bool,
    /// Device-private pages of the same owner.
    pub device_private: bool,
}

/// A migration of a range inside one VMA. At most 512 pages are a good size.
#[derive(Debug, Default)]
pub struct MigrateVma {
    /// First address, page aligned.
    pub start: Va,
    /// One past the last address, page aligned.
    pub end: Va,
    /// Sources, one a page: filled by [`migrate_vma_setup`], [`MigratePfn::MIGRATE`] cleared where a page stays.
    pub src: Vec<MigratePfn>,
    /// Destinations, one a page: locked pages by the driver, or 0.
    pub dst: Vec<MigratePfn>,
    /// Which pages.
    pub select: MigrateSelect,
    /// The device that migrates.
    pub pgmap_owner: u64,
    /// The page whose CPU fault is served (already locked by the fault path).
    pub fault_page: Option<Pfn>,
    /// Pages that can be migrated, after setup.
    pub cpages: u64,
}

impl MigrateVma {
    /// A migration of `start..end` with empty arrays.
    pub fn new(start: Va, end: Va, select: MigrateSelect, pgmap_owner: u64) -> MigrateVma {
        MigrateVma { start, end, select, pgmap_owner, ..MigrateVma::default() }
    }
}

/// Collects, locks and unmaps.
pub fn migrate_vma_setup(_guard: &MmapReadGuard<'_>, _args: &mut MigrateVma) -> Result<(), Errno> {
    Err(Errno::EINVAL)
}
/// Switches the pages.
pub fn migrate_vma_pages(_guard: &MmapReadGuard<'_>, _args: &mut MigrateVma) {}
/// Maps new (or old) pages, unlocks and frees.
pub fn migrate_vma_finalize(_guard: &MmapReadGuard<'_>, _args: &mut MigrateVma) {}

/// A migration of device pages wherever they are mapped.
#[derive(Debug, Default)]
pub struct MigrateDevice {
    /// Sources, one a page of the range.
    pub src: Vec<MigratePfn>,
    /// Destinations: locked pages by the driver, or 0.
    pub dst: Vec<MigratePfn>,
}

/// Locks and unmaps the device pages `start..start + npages` that are in use.
pub fn migrate_device_range(_sys: &System, _start: Pfn, _npages: u64) -> MigrateDevice {
    MigrateDevice::default()
}
/// As [`migrate_device_range`] for single pages.
pub fn migrate_device_pfns(_sys: &System, _pfns: &[Pfn]) -> MigrateDevice {
    MigrateDevice::default()
}
/// Switches the pages.
pub fn migrate_device_pages(_sys: &System, _args: &mut MigrateDevice) {}
/// Maps new (or old) pages, unlocks and frees.
pub fn migrate_device_finalize(_sys: &System, _args: &mut MigrateDevice) {}
