//! Virtual memory areas.

use crate::addr::Va;

/// What a process may do with memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Prot {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
}

impl Prot {
    /// No access.
    pub const NONE: Prot = Prot {
        read: false,
        write: false,
    };
    /// Loads only.
    pub const READ: Prot = Prot {
        read: true,
        write: false,
    };
    /// Loads and stores.
    pub const READ_WRITE: Prot = Prot {
        read: true,
        write: true,
    };
}

/// How [`crate::Mm::mmap`] maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MmapOptions {
    /// The address, replacing what is there (MAP_FIXED). None: a free place is chosen.
    pub at: Option<Va>,
    /// MAP_SHARED: children of a fork share the memory instead of getting a copy.
    pub share: bool,
    /// Align a chosen place to 2 MiB, and advise huge pages as [`Advice::HugePage`] does.
    pub huge: bool,
    /// Huge pages of 2 MiB that are never split, swapped or migrated (MAP_HUGETLB). The length is rounded up
    /// to them; they are taken from free memory at once. Private memory only.
    pub hugetlb: bool,
}

/// How [`crate::Mm::mremap`] moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MremapOptions {
    /// The new address, replacing what is there (MREMAP_FIXED).
    pub at: Option<Va>,
    /// Leave an empty mapping at the old place (MREMAP_DONTUNMAP).
    pub dontunmap: bool,
}

/// Hints and orders about a range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Throw the contents away: private memory reads as zero afterwards.
    DontNeed,
    /// Use huge pages where a whole aligned 2 MiB area of private memory is first touched.
    HugePage,
    /// Do not, and do not collapse.
    NoHugePage,
    /// Gather the pages of whole aligned 2 MiB areas of private memory into huge pages now.
    Collapse,
    /// The contents are not needed: reclaim may drop private pages that are not written again, which then
    /// read as zero (MADV_FREE). Until then they keep what they hold, device pages always.
    Free,
    /// Equal pages may be merged by [`crate::System::ksm_scan`].
    Mergeable,
    /// They may not any more, and those that were get pages of their own.
    Unmergeable,
}

impl Advice {
    /// By the name that scenario scripts use; none for advice that is not known.
    pub fn from_name(name: &str) -> Option<Advice> {
        match name {
            "dontneed" => Some(Advice::DontNeed),
            "hugepage" => Some(Advice::HugePage),
            "nohugepage" => Some(Advice::NoHugePage),
            "collapse" => Some(Advice::Collapse),
            "free" => Some(Advice::Free),
            "mergeable" => Some(Advice::Mergeable),
            "unmergeable" => Some(Advice::Unmergeable),
            _ => None,
        }
    }
}

/// What was advised about huge pages. Without advice there are none, as under Linux with "madvise".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HugeAdvice {
    #[default]
    None,
    Always,
    Never,
}

/// A mapping as [`crate::MmapReadGuard::find_vma`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmaInfo {
    /// First address.
    pub start: Va,
    /// One past the last address.
    pub end: Va,
    /// Allowed accesses.
    pub prot: Prot,
    /// MAP_SHARED.
    pub shared: bool,
    /// No file or shared memory is behind it: a place without a page is zero.
    pub anon: bool,
    /// A thread of the process provides its missing pages ([`crate::Mm::userfault`]).
    pub userfault: bool,
    /// Its huge pages are never split.
    pub hugetlb: bool,
}

/// What else a mapping is; mappings that differ in it are not joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VmaFlags {
    /// Its pages stay in memory (mlock).
    pub locked: bool,
    /// Its pages may be merged with equal ones (MADV_MERGEABLE).
    pub mergeable: bool,
    /// Its pages are a driver's (VM_MIXEDMAP) and never migrate.
    pub mixed: bool,
    /// What was advised about huge pages.
    pub huge: HugeAdvice,
}
