//! The operations that random programs are made of.

use std::fmt;

use hmm_core::Prot;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Where programs map: also the first address that the memory manager chooses by itself.
pub const BASE: u64 = 0x7f00_0000_0000;

/// What a mapping is backed by.
#[allow(missing_docs)] // `f` is the file's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Private memory of zeros.
    Private,
    /// Memory shared with the children of a fork.
    Shared,
    /// A file from page `page` on, shared with everybody who maps it.
    File { f: usize, page: u64 },
    /// A file from page `page` on; stores go to copies of the process's own.
    Copy { f: usize, page: u64 },
}

/// Advice to madvise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tip {
    /// Throw the contents away.
    DontNeed,
    /// Use huge pages.
    HugePage,
    /// Use none.
    NoHugePage,
    /// The contents may be thrown away when memory is short.
    Free,
    /// Equal pages may become one.
    Mergeable,
    /// They may not any more.
    Unmergeable,
}

impl Tip {
    /// Its name in scenario scripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DontNeed => "dontneed",
            Self::HugePage => "hugepage",
            Self::NoHugePage => "nohugepage",
            Self::Free => "free",
            Self::Mergeable => "mergeable",
            Self::Unmergeable => "unmergeable",
        }
    }
}

/// One operation. Addresses and lengths are bytes and stand for themselves: leaving operations out of a program
/// never changes what the others ask for. Processes and devices are slots; an operation on a slot that is empty, or on
/// a device that was never opened, is passed over.
///
/// Fields: `p` the process's slot, `d` the device, `at` an address, `len` bytes, `size` bytes of one access, `first`
/// the first word of a pattern.
#[allow(missing_docs)] // The fields are told above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A new process, if the slot has no living one.
    Spawn { p: usize },
    /// A copy of process `p` in slot `child`, if that has no living one.
    Fork { p: usize, child: usize },
    /// The process ends.
    Exit { p: usize },
    /// A file of zeros, if the slot has none.
    File { f: usize, len: u64 },
    /// Maps `len` bytes, at `at` if given.
    Mmap {
        p: usize,
        at: Option<u64>,
        len: u64,
        prot: Prot,
        kind: Kind,
        huge: bool,
    },
    /// Unmaps.
    Munmap { p: usize, at: u64, len: u64 },
    /// Changes what is allowed.
    Protect {
        p: usize,
        at: u64,
        len: u64,
        prot: Prot,
    },
    /// Gives advice.
    Advise {
        p: usize,
        at: u64,
        len: u64,
        tip: Tip,
    },
    /// Resizes or moves a mapping; `keep` leaves an empty one behind.
    Remap {
        p: usize,
        at: u64,
        len: u64,
        new_len: u64,
        to: Option<u64>,
        keep: bool,
    },
    /// A CPU load of `size` bytes.
    Load { p: usize, at: u64, size: usize },
    /// A CPU store of the low `size` bytes.
    Store {
        p: usize,
        at: u64,
        size: usize,
        value: u64,
    },
    /// CPU stores of 64-bit words `first`, `first + 1`, ...
    Fill {
        p: usize,
        at: u64,
        len: u64,
        first: u64,
    },
    /// CPU loads of a whole range.
    Read { p: usize, at: u64, len: u64 },
    /// A long-term pin.
    Pin { p: usize, at: u64, len: u64 },
    /// References for a short operation.
    Get { p: usize, at: u64, len: u64 },
    /// Takes pages out of memory.
    SwapOut { p: usize, at: u64, len: u64 },
    /// Takes pages of anybody out of memory.
    Reclaim { pages: u64 },
    /// Merges equal pages.
    Merge,
    /// Keeps pages in memory.
    Lock { p: usize, at: u64, len: u64 },
    /// Does so no longer.
    Unlock { p: usize, at: u64, len: u64 },
    /// Writes 64-bit words `first`, `first + 1`, ... into a file.
    FileWrite {
        f: usize,
        at: u64,
        len: u64,
        first: u64,
    },
    /// Reads a file.
    FileRead { f: usize, at: u64, len: u64 },
    /// Sets a file's length.
    Truncate { f: usize, len: u64 },
    /// Checks that what was written counts as soft-dirty, and forgets it.
    ClearSoft { p: usize },
    /// Lets one of the pins go, chosen by `n`.
    Unpin { n: usize },
    /// Opens device `d` for the process, if it is not open.
    Open { p: usize, d: usize },
    /// Closes it.
    Close { p: usize, d: usize },
    /// A device load.
    DevLoad {
        p: usize,
        d: usize,
        at: u64,
        size: usize,
    },
    /// A device store.
    DevStore {
        p: usize,
        d: usize,
        at: u64,
        size: usize,
        value: u64,
    },
    /// An atomic add by the device.
    DevAdd {
        p: usize,
        d: usize,
        at: u64,
        size: usize,
        value: u64,
    },
    /// The fill of a range by many device threads.
    DevFill {
        p: usize,
        d: usize,
        at: u64,
        len: u64,
        first: u64,
    },
    /// The comparison of a range with the pattern of a fill by many device threads.
    DevCheck {
        p: usize,
        d: usize,
        at: u64,
        len: u64,
        first: u64,
    },
    /// A sum over words of a range by one device thread, `stride` bytes apart.
    DevSum {
        p: usize,
        d: usize,
        at: u64,
        words: u64,
        stride: u64,
    },
    /// The copy engine.
    Copy {
        p: usize,
        d: usize,
        to: u64,
        from: u64,
        len: u64,
    },
    /// Migration to device memory.
    ToDevice {
        p: usize,
        d: usize,
        at: u64,
        len: u64,
    },
    /// Migration home.
    ToSystem {
        p: usize,
        d: usize,
        at: u64,
        len: u64,
    },
    /// What the device would find.
    Snapshot {
        p: usize,
        d: usize,
        at: u64,
        len: u64,
    },
    /// The pages are for the device alone, until the CPU touches them.
    Exclusive {
        p: usize,
        d: usize,
        at: u64,
        len: u64,
    },
    /// Everything in the device's memory goes home.
    Release { d: usize },
    /// The next `n` allocations of device memory fail.
    FailAlloc { d: usize, n: u64 },
}

/// An address as text: pages from the base of the programs where that is short.
pub(super) struct At(pub u64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(from) = self.0.checked_sub(BASE).filter(|from| *from < 1 << 32) else {
            return write!(f, "{:#x}", self.0);
        };
        let (page, rest) = (from / PAGE, from % PAGE);
        f.write_str("B")?;
        if page > 0 {
            write!(f, " + {page}*PAGE")?;
        }
        if rest > 0 {
            write!(f, " + {rest}")?;
        }
        Ok(())
    }
}

/// A length as text.
pub(super) struct Len(pub u64);

impl fmt::Display for Len {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / PAGE, self.0 % PAGE) {
            (1, 0) => f.write_str("PAGE"),
            (pages, 0) if pages > 0 => write!(f, "{pages}*PAGE"),
            _ => write!(f, "{}", signed(self.0)),
        }
    }
}

/// A protection as scripts write it.
pub(super) fn prot_name(prot: Prot) -> &'static str {
    match (prot.read, prot.write) {
        (_, true) => "rw",
        (true, false) => "r",
        (false, false) => "none",
    }
}

/// A value as scripts write it: they have signed integers only.
pub(super) fn signed(value: u64) -> i64 {
    value as i64
}

impl fmt::Display for Op {
    /// As a call in a scenario script.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::File { f: slot, len } => write!(f, "f{slot} = file({})", Len(len)),
            Self::Spawn { p } => write!(f, "p{p} = process()"),
            Self::Fork { p, child } => write!(f, "p{child} = p{p}.fork()"),
            Self::Exit { p } => write!(f, "p{p}.exit()"),
            Self::Mmap {
                p,
                at,
                len,
                prot,
                kind,
                huge,
            } => {
                let mut options = Vec::new();
                if let Some(at) = at {
                    options.push(format!("at: {}", At(at)));
                }
                match kind {
                    Kind::Private => {}
                    Kind::Shared => options.push("share: true".into()),
                    Kind::File { f, page } => options.push(format!(
                        "share: true, file: f{f}, offset: {}",
                        Len(page * PAGE)
                    )),
                    Kind::Copy { f, page } => {
                        options.push(format!("file: f{f}, offset: {}", Len(page * PAGE)));
                    }
                }
                if huge {
                    options.push("huge: true".into());
                }
                write!(f, "p{p}.mmap({}, \"{}\"", Len(len), prot_name(prot))?;
                if !options.is_empty() {
                    write!(f, ", #{{{}}}", options.join(", "))?;
                }
                f.write_str(")")
            }
            Self::Munmap { p, at, len } => write!(f, "p{p}.munmap({}, {})", At(at), Len(len)),
            Self::Protect { p, at, len, prot } => write!(
                f,
                "p{p}.mprotect({}, {}, \"{}\")",
                At(at),
                Len(len),
                prot_name(prot)
            ),
            Self::Advise { p, at, len, tip } => write!(
                f,
                "p{p}.madvise({}, {}, \"{}\")",
                At(at),
                Len(len),
                tip.name()
            ),
            Self::Remap {
                p,
                at,
                len,
                new_len,
                to,
                keep,
            } => {
                write!(f, "p{p}.mremap({}, {}, {}", At(at), Len(len), Len(new_len))?;
                match (to, keep) {
                    (None, false) => f.write_str(")"),
                    (Some(to), false) => write!(f, ", #{{at: {}}})", At(to)),
                    (None, true) => f.write_str(", #{dontunmap: true})"),
                    (Some(to), true) => write!(f, ", #{{at: {}, dontunmap: true}})", At(to)),
                }
            }
            Self::Load { p, at, size } => write!(f, "p{p}.load({}, {size})", At(at)),
            Self::Store { p, at, size, value } => {
                write!(f, "p{p}.store({}, {}, {size})", At(at), signed(value))
            }
            Self::Fill { p, at, len, first } => {
                write!(f, "p{p}.fill({}, {}, {})", At(at), Len(len), signed(first))
            }
            Self::Read { p, at, len } => write!(f, "p{p}.read({}, {})", At(at), Len(len)),
            Self::Pin { p, at, len } => write!(f, "p{p}.pin({}, {})", At(at), Len(len)),
            Self::Get { p, at, len } => write!(f, "p{p}.get({}, {})", At(at), Len(len)),
            Self::SwapOut { p, at, len } => {
                write!(f, "p{p}.swap_out({}, {})", At(at), Len(len))
            }
            Self::Reclaim { pages } => write!(f, "reclaim({pages})"),
            Self::Merge => f.write_str("merge()"),
            Self::Lock { p, at, len } => write!(f, "p{p}.mlock({}, {})", At(at), Len(len)),
            Self::Unlock { p, at, len } => write!(f, "p{p}.munlock({}, {})", At(at), Len(len)),
            Self::FileWrite {
                f: slot,
                at,
                len,
                first,
            } => write!(
                f,
                "f{slot}.fill({}, {}, {})",
                Len(at),
                Len(len),
                signed(first)
            ),
            Self::FileRead { f: slot, at, len } => {
                write!(f, "f{slot}.read({}, {})", Len(at), Len(len))
            }
            Self::Truncate { f: slot, len } => write!(f, "f{slot}.truncate({})", Len(len)),
            Self::ClearSoft { p } => write!(f, "p{p}.clear_soft_dirty()"),
            Self::Unpin { n } => write!(f, "unpin({n})"),
            Self::Open { p, d } => write!(f, "p{p}d{d} = p{p}.open({d})"),
            Self::Close { p, d } => write!(f, "p{p}d{d}.close()"),
            Self::DevLoad { p, d, at, size } => write!(f, "p{p}d{d}.load({}, {size})", At(at)),
            Self::DevStore {
                p,
                d,
                at,
                size,
                value,
            } => write!(f, "p{p}d{d}.store({}, {}, {size})", At(at), signed(value)),
            Self::DevAdd {
                p,
                d,
                at,
                size,
                value,
            } => write!(
                f,
                "p{p}d{d}.fetch_add({}, {}, {size})",
                At(at),
                signed(value)
            ),
            Self::DevFill {
                p,
                d,
                at,
                len,
                first,
            } => write!(
                f,
                "p{p}d{d}.fill({}, {}, {})",
                At(at),
                Len(len),
                signed(first)
            ),
            Self::DevCheck {
                p,
                d,
                at,
                len,
                first,
            } => write!(
                f,
                "p{p}d{d}.check({}, {}, {})",
                At(at),
                Len(len),
                signed(first)
            ),
            Self::DevSum {
                p,
                d,
                at,
                words,
                stride,
            } => write!(f, "p{p}d{d}.sum({}, {words}, {stride})", At(at)),
            Self::Copy {
                p,
                d,
                to,
                from,
                len,
            } => write!(f, "p{p}d{d}.copy({}, {}, {})", At(to), At(from), Len(len)),
            Self::ToDevice { p, d, at, len } => {
                write!(f, "p{p}d{d}.migrate_to_device({}, {})", At(at), Len(len))
            }
            Self::ToSystem { p, d, at, len } => {
                write!(f, "p{p}d{d}.migrate_to_system({}, {})", At(at), Len(len))
            }
            Self::Snapshot { p, d, at, len } => {
                write!(f, "p{p}d{d}.snapshot({}, {})", At(at), Len(len))
            }
            Self::Exclusive { p, d, at, len } => {
                write!(f, "p{p}d{d}.exclusive({}, {})", At(at), Len(len))
            }
            Self::Release { d } => write!(f, "release({d})"),
            Self::FailAlloc { d, n } => write!(f, "fail_alloc({d}, {n})"),
        }
    }
}
