//! Memory as a process sees it, and nothing else: bytes by address, what may be done with them, and who shares them.
//! Knows no page tables, no devices and no migration, so it cannot share a mistake with what it is compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hmm_core::Prot;
use hmm_core::addr::TASK_SIZE;

use super::op::PAGE;

/// Contents of a page; none is all zeros.
pub type Bytes = Option<Arc<Vec<u8>>>;

/// What is behind a page of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The process's own bytes.
    Own(Bytes),
    /// A page of a file that becomes the process's own when it stores there.
    Copy {
        /// Which object.
        object: u64,
        /// Page in it.
        index: u64,
        /// The process's own bytes, once it has some.
        bytes: Bytes,
    },
    /// A page of something shared.
    Shared {
        /// Which object.
        object: u64,
        /// Page in it.
        index: u64,
    },
}

/// What was advised about a mapping: mappings that differ in it are not one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advised {
    /// Huge pages, or none.
    pub huge: Option<bool>,
    /// The pages stay in memory.
    pub locked: bool,
    /// Equal pages may become one.
    pub mergeable: bool,
}

/// One mapped page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// What is allowed.
    pub prot: Prot,
    /// What was advised.
    pub advised: Advised,
    /// The memory.
    pub behind: Behind,
    /// The contents may be thrown away, until the next store.
    pub lazy: bool,
}

/// Why an access cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nothing is mapped, or it may not be read.
    NoAccess,
    /// It may be read only.
    ReadOnly,
    /// It lies behind the end of its file.
    PastEnd,
}

/// Something that several mappings show.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Contents by page.
    pub pages: BTreeMap<u64, Bytes>,
    /// Pages; none for memory without an end.
    pub len: Option<u64>,
}

/// An address space.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// By page number.
    pub pages: BTreeMap<u64, Slot>,
    /// Pages stored to since the process last forgot what was written, but for what was thrown away.
    pub written: BTreeSet<u64>,
    /// The process has ended.
    pub dead: bool,
}

/// All memory of the processes of one lane.
#[derive(Debug, Default)]
pub struct Plain {
    /// By slot of the program.
    pub spaces: BTreeMap<usize, Space>,
    pub(super) objects: BTreeMap<u64, Object>,
    /// The object of each file, by slot of the program.
    pub(super) files: BTreeMap<usize, u64>,
    pub(super) next_object: u64,
}

impl Slot {
    /// Does the page `next` behind this one belong to the same mapping?
    pub fn joins(&self, next: &Slot) -> bool {
        let alike = match (&self.behind, &next.behind) {
            (Behind::Own(_), Behind::Own(_)) => true,
            (
                Behind::Shared { object, index },
                Behind::Shared {
                    object: other,
                    index: after,
                },
            ) => object == other && index + 1 == *after,
            (
                Behind::Copy { object, index, .. },
                Behind::Copy {
                    object: other,
                    index: after,
                    ..
                },
            ) => object == other && index + 1 == *after,
            _ => false,
        };
        alike && self.prot == next.prot && self.advised == next.advised
    }

    /// Do stores of others never show here?
    pub fn is_private(&self) -> bool {
        !matches!(self.behind, Behind::Shared { .. })
    }

    /// What a device or a CPU may do.
    pub fn allows(&self, write: bool) -> Result<(), Denied> {
        if !self.prot.read {
            Err(Denied::NoAccess)
        } else if write && !self.prot.write {
            Err(Denied::ReadOnly)
        } else {
            Ok(())
        }
    }
}

fn zeros() -> Arc<Vec<u8>> {
    Arc::new(vec![0; PAGE as usize])
}

impl Plain {
    /// The living process in a slot.
    pub fn living(&self, p: usize) -> Option<&Space> {
        self.spaces.get(&p).filter(|space| !space.dead)
    }

    /// A page of a process.
    pub fn slot(&self, p: usize, page: u64) -> Option<&Slot> {
        self.spaces.get(&p)?.pages.get(&page)
    }

    /// The contents of a mapped page.
    pub fn contents(&self, slot: &Slot) -> Bytes {
        match &slot.behind {
            Behind::Own(bytes) => bytes.clone(),
            Behind::Copy {
                bytes: Some(bytes), ..
            } => Some(Arc::clone(bytes)),
            Behind::Shared { object, index } | Behind::Copy { object, index, .. } => self
                .objects
                .get(object)?
                .pages
                .get(index)
                .cloned()
                .flatten(),
        }
    }

    fn past_end(&self, slot: &Slot) -> bool {
        match &slot.behind {
            Behind::Own(_) => false,
            Behind::Shared { object, index } | Behind::Copy { object, index, .. } => self
                .objects
                .get(object)
                .and_then(|object| object.len)
                .is_some_and(|len| *index >= len),
        }
    }

    /// Why the page may not be accessed, if so.
    pub fn page_allows(&self, p: usize, page: u64, write: bool) -> Result<(), Denied> {
        match self.slot(p, page) {
            None => Err(Denied::NoAccess),
            Some(slot) => {
                slot.allows(write)?;
                if self.past_end(slot) {
                    return Err(Denied::PastEnd);
                }
                Ok(())
            }
        }
    }

    /// How many of `len` bytes from `at` can be accessed, and what stops an access there.
    pub fn reach(&self, p: usize, at: u64, len: u64, write: bool) -> (u64, Result<(), Denied>) {
        let mut done = 0;
        while done < len {
            let here = at.saturating_add(done);
            if here >= TASK_SIZE {
                return (done, Err(Denied::NoAccess));
            }
            if let Err(denied) = self.page_allows(p, here / PAGE, write) {
                return (done, Err(denied));
            }
            done += (PAGE - here % PAGE).min(len - done);
        }
        (len, Ok(()))
    }

    /// Bytes of a range that can be read.
    pub fn read(&self, p: usize, at: u64, len: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len as usize);
        while (bytes.len() as u64) < len {
            let here = at + bytes.len() as u64;
            let take = (PAGE - here % PAGE).min(len - bytes.len() as u64) as usize;
            let from = (here % PAGE) as usize;
            match self
                .slot(p, here / PAGE)
                .and_then(|slot| self.contents(slot))
            {
                Some(page) => bytes.extend_from_slice(&page[from..from + take]),
                None => bytes.resize(bytes.len() + take, 0),
            }
        }
        bytes
    }

    /// The little-endian number in up to 8 bytes at an address.
    pub fn number(&self, p: usize, at: u64, size: usize) -> u64 {
        let mut raw = [0; 8];
        raw[..size].copy_from_slice(&self.read(p, at, size as u64));
        u64::from_le_bytes(raw)
    }

    /// Writes bytes of a range that can be written.
    pub fn write(&mut self, p: usize, at: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let here = at + done as u64;
            let take = ((PAGE - here % PAGE) as usize).min(data.len() - done);
            let from = (here % PAGE) as usize;
            if let Some(page) = self.page_mut(p, here / PAGE) {
                page[from..from + take].copy_from_slice(&data[done..done + take]);
            }
            done += take;
        }
    }

    fn page_mut(&mut self, p: usize, page: u64) -> Option<&mut Vec<u8>> {
        let space = self.spaces.get_mut(&p)?;
        space.written.insert(page);
        let slot = space.pages.get_mut(&page)?;
        slot.lazy = false;
        let bytes = match &mut slot.behind {
            Behind::Own(bytes) => bytes,
            Behind::Copy {
                object,
                index,
                bytes,
            } => {
                if bytes.is_none() {
                    *bytes = self
                        .objects
                        .get(object)?
                        .pages
                        .get(index)
                        .cloned()
                        .flatten();
                }
                bytes
            }
            Behind::Shared { object, index } => self
                .objects
                .get_mut(object)?
                .pages
                .entry(*index)
                .or_default(),
        };
        Some(Arc::make_mut(bytes.get_or_insert_with(zeros)))
    }

    /// Whether two ranges of a process have a byte in common, under whatever addresses.
    pub fn overlap(&self, p: usize, a: u64, b: u64, len: u64) -> bool {
        if a < b.saturating_add(len) && b < a.saturating_add(len) {
            return true;
        }
        let shared = |at: u64| {
            let pages = at / PAGE..at.saturating_add(len).div_ceil(PAGE);
            pages.filter_map(|page| match self.slot(p, page)?.behind {
                Behind::Shared { object, index } | Behind::Copy { object, index, .. } => {
                    Some((object, index))
                }
                Behind::Own(_) => None,
            })
        };
        let first: BTreeSet<(u64, u64)> = shared(a).collect();
        shared(b).any(|page| first.contains(&page))
    }

    /// Pages that a process has mapped.
    pub fn slot_count(&self, p: usize) -> usize {
        self.spaces.get(&p).map_or(0, |space| space.pages.len())
    }

    /// Pages mapped in all living processes.
    pub fn mapped(&self) -> usize {
        self.spaces.values().map(|space| space.pages.len()).sum()
    }

    /// Mapped runs of a process: first address, bytes.
    pub fn runs(&self, p: usize) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for &page in self.spaces.get(&p).into_iter().flat_map(|s| s.pages.keys()) {
            match runs.last_mut() {
                Some((at, len)) if *at + *len == page * PAGE => *len += PAGE,
                _ => runs.push((page * PAGE, PAGE)),
            }
        }
        runs
    }
}
