//! The arguments of a migration.

use crate::addr::{HUGE_PAGES, Pfn, Va};

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
    /// The entry stands for 512 pages, from an aligned one on, at aligned addresses. The 511 entries that
    /// follow it in the array are 0.
    pub const COMPOUND: u64 = 1 << 4;
    /// Shift of the page number.
    pub const PFN_SHIFT: u32 = 6;

    /// An entry that names a page (a destination).
    pub fn page(pfn: Pfn) -> MigratePfn {
        MigratePfn(pfn.0 << MigratePfn::PFN_SHIFT | MigratePfn::VALID)
    }

    /// An entry that names the 512 pages from `pfn` on (a destination): locked each, with one reference
    /// each. `pfn` is a multiple of 512.
    pub fn huge(pfn: Pfn) -> MigratePfn {
        MigratePfn(MigratePfn::page(pfn).0 | MigratePfn::COMPOUND)
    }

    /// Whether it stands for 512 pages.
    pub fn is_compound(self) -> bool {
        self.0 & MigratePfn::COMPOUND != 0
    }

    /// How many pages it stands for.
    pub fn pages(self) -> u64 {
        if self.is_compound() { HUGE_PAGES } else { 1 }
    }

    /// The page, or the first of 512, if it names one. A source with [`MigratePfn::MIGRATE`] but no page is a place that has
    /// none yet, or only the zero page: its destination is to be cleared instead of copied to.
    pub fn pfn(self) -> Option<Pfn> {
        (self.0 & MigratePfn::VALID != 0).then_some(Pfn(self.0 >> MigratePfn::PFN_SHIFT))
    }

    /// Whether it can be (or was) migrated.
    pub fn is_migrate(self) -> bool {
        self.0 & MigratePfn::MIGRATE != 0
    }

    /// Whether the process may write it at once. Never set for a source without page: there the mapping's
    /// permissions decide.
    pub fn is_write(self) -> bool {
        self.0 & MigratePfn::WRITE != 0
    }

    pub(super) fn empty() -> MigratePfn {
        MigratePfn(MigratePfn::MIGRATE)
    }

    pub(super) fn source(pfn: Pfn, write: bool) -> MigratePfn {
        let write = if write { MigratePfn::WRITE } else { 0 };
        MigratePfn(MigratePfn::page(pfn).0 | MigratePfn::MIGRATE | write)
    }

    pub(super) fn whole(self) -> MigratePfn {
        MigratePfn(self.0 | MigratePfn::COMPOUND)
    }

    pub(super) fn refuse(&mut self) {
        self.0 &= !MigratePfn::MIGRATE;
    }
}

/// Which pages to migrate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MigrateSelect {
    /// Pages in system memory, and the zero page. (Places without any page are always offered.)
    pub system: bool,
    /// Device-private pages of the same owner.
    pub device_private: bool,
    /// Coherent device pages of the same owner.
    pub device_coherent: bool,
    /// Aligned 2 MiB that are mapped by one entry, or that are empty and could be, come as one
    /// [`MigratePfn::COMPOUND`] source if the range covers them whole and nobody is busy with a page of
    /// them. The driver must be ready for single sources there, too.
    pub compound: bool,
}

impl MigrateSelect {
    /// System memory only.
    pub const SYSTEM: MigrateSelect = MigrateSelect {
        system: true,
        device_private: false,
        device_coherent: false,
        compound: false,
    };
    /// Device-private memory only.
    pub const DEVICE_PRIVATE: MigrateSelect = MigrateSelect {
        system: false,
        device_private: true,
        device_coherent: false,
        compound: false,
    };
    /// Coherent device memory only.
    pub const DEVICE_COHERENT: MigrateSelect = MigrateSelect {
        system: false,
        device_private: false,
        device_coherent: true,
        compound: false,
    };

    /// The same, 2 MiB at once where that is possible.
    pub const fn compound(self) -> MigrateSelect {
        MigrateSelect {
            compound: true,
            ..self
        }
    }
}

/// A migration of a range inside of one mapping.
#[derive(Debug, Default)]
pub struct MigrateVma {
    /// First address, page aligned.
    pub start: Va,
    /// One past the last address, page aligned.
    pub end: Va,
    /// Sources, one a page: filled by setup; [`MigratePfn::MIGRATE`] is cleared where a page stays. A
    /// compound one is split by [`crate::migrate_vma_pages`] if it gets single destinations.
    pub src: Vec<MigratePfn>,
    /// Destinations, one a page, zeroed by setup: locked pages with one reference by the driver, or 0 to
    /// leave a page where it is. A compound source takes one compound destination, or 512 single ones (0
    /// for those that stay).
    pub dst: Vec<MigratePfn>,
    /// Which pages.
    pub select: MigrateSelect,
    /// The device that migrates: whose device-private pages are meant, and what notifiers are told.
    pub pgmap_owner: u64,
    /// The page whose CPU fault is served, already locked by the fault path.
    pub fault_page: Option<Pfn>,
    /// Pages that can be migrated, after setup.
    pub cpages: u64,
}

impl MigrateVma {
    /// A migration of `start..end` for the device `pgmap_owner`.
    pub fn new(start: Va, end: Va, select: MigrateSelect, pgmap_owner: u64) -> MigrateVma {
        MigrateVma {
            start,
            end,
            select,
            pgmap_owner,
            ..MigrateVma::default()
        }
    }

    /// Number of pages of the range.
    pub fn npages(&self) -> usize {
        (self.end.page().saturating_sub(self.start.page())) as usize
    }

    /// The address of entry `i`.
    pub fn va(&self, i: usize) -> Va {
        Va::of_page(self.start.page() + i as u64)
    }
}
