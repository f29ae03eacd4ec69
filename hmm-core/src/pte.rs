//! Page table entries.

use crate::addr::Pfn;

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
    },
}

impl Pte {
    /// The page it names.
    pub fn pfn(&self) -> Option<Pfn> {
        match *self {
            Pte::None => None,
            Pte::Present(PresentPte { pfn, .. })
            | Pte::Device { pfn, .. }
            | Pte::Migration { pfn, .. } => Some(pfn),
        }
    }

    /// Whether there is nothing.
    pub fn is_none(&self) -> bool {
        *self == Pte::None
    }
}
