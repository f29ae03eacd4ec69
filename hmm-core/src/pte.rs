//! Page table entries.

use crate::addr::Pfn;
use crate::swap::SwapSlot;

/// An entry that the CPU can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentPte {
    /// The page.
    pub pfn: Pfn,
    /// Stores are allowed.
    pub write: bool,
    /// A store came through this entry.
    pub dirty: bool,
    /// An access came through this entry.
    pub young: bool,
    /// No access is allowed (PROT_NONE); the page is kept.
    pub none: bool,
    /// Written since the bits were last cleared. Set whenever `write` is, so that nothing, a device
    /// included, can store unseen.
    pub soft_dirty: bool,
}

/// How a page was mapped before its migration began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationKind {
    /// Read-only, maybe shared after a fork.
    Read,
    /// Read-only, but of this process alone.
    ReadExclusive,
    /// Writable.
    Write,
}

/// One entry of the lowest level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pte {
    /// Nothing.
    #[default]
    None,
    /// A page that the CPU reaches.
    Present(PresentPte),
    /// A page in device-private memory.
    Device {
        /// The device page.
        pfn: Pfn,
        /// The process may write it.
        write: bool,
        /// The VMA allows no access (PROT_NONE): at home it would not be accessible.
        none: bool,
        /// As in [`PresentPte`].
        soft_dirty: bool,
    },
    /// A page that is being migrated. Accesses wait.
    Migration {
        /// The page as it was.
        pfn: Pfn,
        /// What the entry allowed.
        kind: MigrationKind,
        /// Restored with the entry.
        dirty: bool,
        /// Restored with the entry.
        young: bool,
        /// The VMA allows no access.
        none: bool,
        /// As in [`PresentPte`]: set whenever `kind` is [`MigrationKind::Write`].
        soft_dirty: bool,
    },
    /// A page in system memory that a device uses alone, for atomic operations. It stays mapped here (its
    /// reference, reverse mapping and count are those of a present entry), but the CPU's next access
    /// first takes it away from the device. What the entry allows then is up to the VMA.
    Exclusive {
        /// The page, of this process alone.
        pfn: Pfn,
        /// The device, by the owner that it names itself with.
        owner: u64,
        /// The VMA allows no access.
        none: bool,
        /// As in [`PresentPte`].
        soft_dirty: bool,
    },
    /// A private page whose contents are in swap space. An access reads it in.
    Swap {
        /// Where.
        slot: SwapSlot,
        /// As in [`PresentPte`].
        soft_dirty: bool,
    },
    /// A page that a memory failure took. An access ends in SIGBUS.
    Poison,
}

impl Pte {
    /// The page it names.
    pub fn pfn(&self) -> Option<Pfn> {
        match *self {
            Pte::None | Pte::Swap { .. } | Pte::Poison => None,
            Pte::Present(PresentPte { pfn, .. })
            | Pte::Device { pfn, .. }
            | Pte::Migration { pfn, .. }
            | Pte::Exclusive { pfn, .. } => Some(pfn),
        }
    }

    /// Whether the page was written, as far as this entry tells, since the bits were last cleared.
    pub fn is_soft_dirty(&self) -> bool {
        match *self {
            Pte::None | Pte::Poison => false,
            Pte::Present(PresentPte { soft_dirty, .. })
            | Pte::Device { soft_dirty, .. }
            | Pte::Migration { soft_dirty, .. }
            | Pte::Exclusive { soft_dirty, .. }
            | Pte::Swap { soft_dirty, .. } => soft_dirty,
        }
    }

    /// The entry of the `n`-th next page, if a huge entry begins with this one: all the same, but the
    /// page's number.
    pub(crate) fn nth(self, n: u64) -> Pte {
        let mut next = self;
        match &mut next {
            Pte::None | Pte::Swap { .. } | Pte::Poison => {}
            Pte::Present(PresentPte { pfn, .. })
            | Pte::Device { pfn, .. }
            | Pte::Exclusive { pfn, .. }
            | Pte::Migration { pfn, .. } => *pfn = *pfn + n,
        }
        next
    }

    /// Whether there is nothing.
    pub fn is_none(&self) -> bool {
        *self == Pte::None
    }
}
