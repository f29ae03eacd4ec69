//! What changes the mappings of the plain memory: the rules of the system calls.

use std::sync::Arc;

use hmm_core::addr::TASK_SIZE;
use hmm_core::{Errno, Prot};

use super::op::{BASE, Kind, PAGE, Tip};
use super::plain::{Advised, Behind, Object, Plain, Slot, Space};

/// Pages of a range that a system call takes: aligned, not empty, in the user half.
pub(super) fn pages_of(at: u64, len: u64) -> Result<std::ops::Range<u64>, Errno> {
    if !at.is_multiple_of(PAGE) || len == 0 {
        return Err(Errno::EINVAL);
    }
    let len = len.checked_next_multiple_of(PAGE).ok_or(Errno::EINVAL)?;
    match at.checked_add(len) {
        Some(end) if end <= TASK_SIZE => Ok(at / PAGE..end / PAGE),
        _ => Err(Errno::EINVAL),
    }
}

impl Plain {
    /// A new process.
    pub fn spawn(&mut self, p: usize) {
        self.spaces.insert(p, Space::default());
    }

    /// The child gets a copy of what is private and shares the rest.
    pub fn fork(&mut self, p: usize, child: usize) {
        if let Some(mut space) = self.spaces.get(&p).cloned() {
            for slot in space.pages.values_mut() {
                slot.advised.locked = false;
            }
            self.spaces.insert(child, space);
        }
    }

    /// Everything of a process goes.
    pub fn exit(&mut self, p: usize) {
        if let Some(space) = self.spaces.get_mut(&p) {
            space.dead = true;
            space.pages.clear();
            space.written.clear();
        }
    }

    /// A file of zeros.
    pub fn file(&mut self, f: usize, len: u64) {
        let object = self.object(Some(len / PAGE));
        self.files.insert(f, object);
    }

    fn object(&mut self, len: Option<u64>) -> u64 {
        let name = self.next_object;
        self.next_object += 1;
        let pages = Default::default();
        self.objects.insert(name, Object { pages, len });
        name
    }

    fn alive(&mut self, p: usize) -> Result<&mut Space, Errno> {
        self.spaces
            .get_mut(&p)
            .filter(|space| !space.dead)
            .ok_or(Errno::ESRCH)
    }

    /// What mmap must answer.
    pub fn can_map(&mut self, p: usize, at: Option<u64>, len: u64) -> Result<(), Errno> {
        let pages = len
            .checked_next_multiple_of(PAGE)
            .filter(|len| *len > 0)
            .ok_or(Errno::EINVAL)?;
        self.alive(p)?;
        match at {
            Some(at) => pages_of(at, pages).map(|_| ()),
            None if pages > TASK_SIZE => Err(Errno::ENOMEM),
            None => Ok(()),
        }
    }

    /// A mapping at `at` replaces what was there.
    pub fn map(&mut self, p: usize, at: u64, len: u64, prot: Prot, (kind, huge): (Kind, bool)) {
        let (object, start) = match kind {
            Kind::Private => (0, 0),
            Kind::Shared => (self.object(None), 0),
            Kind::File { f, page } | Kind::Copy { f, page } => {
                (self.files.get(&f).copied().unwrap_or_default(), page)
            }
        };
        let advised = Advised {
            huge: huge.then_some(true),
            ..Advised::default()
        };
        let Some(space) = self.spaces.get_mut(&p) else {
            return;
        };
        let first = at / PAGE;
        for i in 0..len.div_ceil(PAGE) {
            let index = start + i;
            let behind = match kind {
                Kind::Private => Behind::Own(None),
                Kind::Shared | Kind::File { .. } => Behind::Shared { object, index },
                Kind::Copy { .. } => Behind::Copy {
                    object,
                    index,
                    bytes: None,
                },
            };
            let slot = Slot {
                prot,
                advised,
                behind,
                lazy: false,
            };
            space.pages.insert(first + i, slot);
            space.written.remove(&(first + i));
        }
    }

    /// munmap.
    pub fn unmap(&mut self, p: usize, at: u64, len: u64) -> Result<(), Errno> {
        let pages = pages_of(at, len)?;
        let space = self.alive(p)?;
        space.pages.retain(|page, _| !pages.contains(page));
        space.written.retain(|page| !pages.contains(page));
        Ok(())
    }

    fn covered(&self, p: usize, pages: std::ops::Range<u64>) -> bool {
        let wanted = pages.end - pages.start;
        self.spaces
            .get(&p)
            .is_some_and(|space| space.pages.range(pages).count() as u64 == wanted)
    }

    /// mprotect.
    pub fn protect(&mut self, p: usize, at: u64, len: u64, prot: Prot) -> Result<(), Errno> {
        let pages = pages_of(at, len)?;
        self.alive(p)?;
        if !self.covered(p, pages.clone()) {
            return Err(Errno::ENOMEM);
        }
        let space = self.alive(p)?;
        for (_, slot) in space.pages.range_mut(pages) {
            slot.prot = prot;
        }
        Ok(())
    }

    /// mlock and munlock. The range has whole pages.
    pub fn lock(&mut self, p: usize, at: u64, len: u64, locked: bool) -> Result<(), Errno> {
        if len == 0 {
            return Ok(());
        }
        let pages = pages_of(at, len)?;
        self.alive(p)?;
        if !self.covered(p, pages.clone()) {
            return Err(Errno::ENOMEM);
        }
        for (_, slot) in self.alive(p)?.pages.range_mut(pages.clone()) {
            slot.advised.locked = locked;
        }
        let reached = |page| self.page_allows(p, page, false).is_ok();
        if locked && !pages.clone().all(reached) {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// A file gets another length, in pages. What is cut off is gone, copies of it too.
    pub fn truncate(&mut self, f: usize, len: u64) {
        let Some(name) = self.files.get(&f).copied() else {
            return;
        };
        if let Some(object) = self.objects.get_mut(&name) {
            object.pages.retain(|index, _| *index < len);
            object.len = Some(len);
        }
        for space in self.spaces.values_mut() {
            for (page, slot) in &mut space.pages {
                match &mut slot.behind {
                    Behind::Copy {
                        object,
                        index,
                        bytes,
                    } if *object == name && *index >= len => {
                        *bytes = None;
                        space.written.remove(page);
                    }
                    Behind::Shared { object, index } if *object == name && *index >= len => {
                        space.written.remove(page);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Bytes of a file; it grows as needed.
    pub fn file_write(&mut self, f: usize, at: u64, data: &[u8]) {
        let Some(object) = self
            .files
            .get(&f)
            .and_then(|name| self.objects.get_mut(name))
        else {
            return;
        };
        for (i, byte) in data.iter().enumerate() {
            let here = at + i as u64;
            let page = object.pages.entry(here / PAGE).or_default();
            let bytes = page.get_or_insert_with(|| Arc::new(vec![0; PAGE as usize]));
            Arc::make_mut(bytes)[(here % PAGE) as usize] = *byte;
        }
        let end = (at + data.len() as u64).div_ceil(PAGE);
        object.len = object.len.max(Some(end));
    }

    /// Bytes of a file: fewer at its end.
    pub fn file_read(&self, f: usize, at: u64, len: u64) -> Vec<u8> {
        let Some(object) = self.files.get(&f).and_then(|name| self.objects.get(name)) else {
            return Vec::new();
        };
        let end = (at + len).min(object.len.unwrap_or_default() * PAGE);
        (at..end)
            .map(|here| match object.pages.get(&(here / PAGE)) {
                Some(Some(bytes)) => bytes[(here % PAGE) as usize],
                _ => 0,
            })
            .collect()
    }

    /// madvise.
    pub fn advise(&mut self, p: usize, at: u64, len: u64, tip: Tip) -> Result<(), Errno> {
        let pages = pages_of(at, len)?;
        let space = self.alive(p)?;
        if tip == Tip::DontNeed {
            space.written.retain(|page| !pages.contains(page));
        }
        for (_, slot) in space.pages.range_mut(pages.clone()) {
            let locked = slot.advised.locked;
            match tip {
                Tip::DontNeed | Tip::Free if locked => return Err(Errno::EINVAL),
                Tip::DontNeed => {
                    slot.lazy = false;
                    if let Behind::Own(bytes) | Behind::Copy { bytes, .. } = &mut slot.behind {
                        *bytes = None;
                    }
                }
                Tip::Free => match slot.behind {
                    Behind::Own(_) => slot.lazy = true,
                    _ => return Err(Errno::EINVAL),
                },
                Tip::HugePage => slot.advised.huge = Some(true),
                Tip::NoHugePage => slot.advised.huge = Some(false),
                Tip::Mergeable => slot.advised.mergeable = slot.is_private(),
                Tip::Unmergeable => slot.advised.mergeable = false,
            }
        }
        if self.covered(p, pages) {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    /// What mremap must answer: an error, or whether it can stay in its place.
    pub fn can_remap(
        &mut self,
        p: usize,
        at: u64,
        len: u64,
        new_len: u64,
        to: Option<u64>,
        keep: bool,
    ) -> Result<bool, Errno> {
        let old = pages_of(at, len)?;
        let new_len = new_len
            .checked_next_multiple_of(PAGE)
            .filter(|len| *len > 0)
            .ok_or(Errno::EINVAL)?;
        let count = new_len / PAGE;
        let space = self.alive(p)?;
        let mut one = space.pages.contains_key(&old.start);
        for page in old.start..old.end - 1 {
            one = one
                && matches!(
                    (space.pages.get(&page), space.pages.get(&(page + 1))),
                    (Some(a), Some(b)) if a.joins(b)
                );
        }
        if !one {
            return Err(Errno::EFAULT);
        }
        let private = space.pages[&old.start].is_private();
        if keep && (count != old.end - old.start || !private) {
            return Err(Errno::EINVAL);
        }
        if let Some(to) = to {
            let new = pages_of(to, new_len)?;
            return if new.start < old.end && old.start < new.end {
                Err(Errno::EINVAL)
            } else {
                Ok(false)
            };
        }
        let end = old.start + count;
        if keep || end <= old.end {
            return Ok(!keep);
        }
        Ok(end <= TASK_SIZE / PAGE && space.pages.range(old.end..end).next().is_none())
    }

    /// A mapping was moved or resized: it is at `to` now.
    pub fn remap(&mut self, p: usize, at: u64, len: u64, new_len: u64, to: u64, keep: bool) {
        let (old, count) = (at / PAGE..(at + len).div_ceil(PAGE), new_len.div_ceil(PAGE));
        let target = to / PAGE;
        let Some(space) = self.spaces.get_mut(&p) else {
            return;
        };
        let gone = |page: &u64| old.contains(page) || (target..target + count).contains(page);
        space.written.retain(|page| !gone(page));
        let mut moved: Vec<Slot> = Vec::new();
        for page in old.clone() {
            if let Some(slot) = space.pages.remove(&page) {
                moved.push(slot);
            }
        }
        for page in target..target + count {
            space.pages.remove(&page);
        }
        if keep {
            for (page, slot) in old.zip(&moved) {
                let behind = match slot.behind {
                    Behind::Copy { object, index, .. } => Behind::Copy {
                        object,
                        index,
                        bytes: None,
                    },
                    _ => Behind::Own(None),
                };
                let mut left = Slot {
                    behind,
                    lazy: false,
                    ..slot.clone()
                };
                left.advised.locked = false;
                space.pages.insert(page, left);
            }
        }
        let Some(first) = moved.first().cloned() else {
            return;
        };
        for i in 0..count {
            let slot = moved.get(i as usize).cloned().unwrap_or(Slot {
                behind: match first.behind {
                    Behind::Own(_) => Behind::Own(None),
                    Behind::Shared { object, index } => Behind::Shared {
                        object,
                        index: index + i,
                    },
                    Behind::Copy { object, index, .. } => Behind::Copy {
                        object,
                        index: index + i,
                        bytes: None,
                    },
                },
                lazy: false,
                ..first
            });
            space.pages.insert(target + i, slot);
        }
    }

    /// The lowest free place for `len` bytes, for who makes programs up.
    pub fn free_place(&self, p: usize, len: u64) -> u64 {
        let mut at = BASE;
        for (start, size) in self.runs(p) {
            if start >= at && start - at >= len {
                break;
            }
            at = at.max(start + size);
        }
        at
    }
}
