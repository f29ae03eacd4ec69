//! Accesses that are under way.

use std::collections::{BTreeMap, BTreeSet};

use super::page::ByteSet;

/// Names an access from its start to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// What an access writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Nobody knows.
    Unknown,
}

impl Data {
    /// The pattern of `fill`: 64-bit word k is `first + k`, little endian, cut to `len` bytes.
    #[must_use]
    pub fn pattern(len: u64, first: u64) -> Self {
        let words = len.div_ceil(8);
        let mut bytes: Vec<u8> = (0..words)
            .flat_map(|k| first.wrapping_add(k).to_le_bytes())
            .collect();
        bytes.truncate(len as usize);
        Self::Bytes(bytes)
    }

    pub(super) fn at(&self, index: usize) -> ByteSet {
        match self {
            Self::Bytes(bytes) => ByteSet::one(bytes[index]),
            Self::Unknown => ByteSet::ALL,
        }
    }
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it was done.
    Done,
    /// All of it was done, and only now it is known what was written.
    Wrote(Data),
    /// Not a byte changed.
    Nothing,
    /// Some of it may have been done.
    Partial,
}

/// A run of bytes in one shadow page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub page: u64,
    /// Offset in the page.
    pub at: u16,
    /// Offset in the access.
    pub index: usize,
    pub len: usize,
}

impl Segment {
    pub fn covers(&self, page: u64, at: u16) -> Option<usize> {
        let inside =
            self.page == page && at >= self.at && usize::from(at) < usize::from(self.at) + self.len;
        inside.then(|| self.index + usize::from(at - self.at))
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.page == other.page
            && usize::from(self.at) < usize::from(other.at) + other.len
            && usize::from(other.at) < usize::from(self.at) + self.len
    }
}

/// An access under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub mm: u64,
    pub addr: u64,
    pub len: usize,
    pub segments: Vec<Segment>,
    /// None for a read.
    pub data: Option<Data>,
    /// Bytes that another write touched meanwhile.
    pub tainted: BTreeSet<(u64, u16)>,
    /// Read: values that were there at some time since it began and are gone.
    pub gone: BTreeMap<(u64, u16), ByteSet>,
    /// The mapping below it changed: nothing can be said.
    pub moved: bool,
    /// Pages of private file mappings that the write makes the process's own.
    pub copies: Vec<Copied>,
}

/// A page of a private file mapping that becomes the process's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    pub vpn: u64,
    /// The file's page.
    pub from: u64,
    /// The process's.
    pub to: u64,
    /// It may have been so before.
    pub unsure: bool,
}

impl Flight {
    /// The position in the access of a byte of a page.
    pub fn position(&self, page: u64, at: u16) -> Option<usize> {
        self.segments
            .iter()
            .find_map(|segment| segment.covers(page, at))
    }

    pub fn overlaps(&self, other: &[Segment]) -> bool {
        self.segments
            .iter()
            .any(|mine| other.iter().any(|theirs| mine.overlaps(theirs)))
    }

    /// Does it touch `[addr, addr + len)` of process `mm`?
    pub fn touches(&self, mm: u64, addr: u64, len: u64) -> bool {
        self.mm == mm
            && self.addr < addr.saturating_add(len)
            && addr < self.addr.saturating_add(self.len as u64)
    }
}
