//! mmap and munmap.

use std::sync::Arc;

use crate::addr::{HUGE_SIZE, PAGE_SIZE, Va};
use crate::errno::Errno;
use crate::file::File;
use crate::hugetlb::Reserve;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::page_cache::PageCache;
use crate::vma::{HugeAdvice, MmapOptions, Prot, VmaFlags};
use crate::vma_tree::{Backing, Vma, VmaTree, user_range};

impl Mm {
    /// Maps `len` bytes (rounded up to pages) of zeros.
    ///
    /// # Errors
    /// EINVAL for a length of 0, a fixed address that is not aligned or outside of the user half, a change of
    /// part of a hugetlb page, or hugetlb that is shared; ENOMEM when there is no place, or no free huge page
    /// for hugetlb; ESRCH for a dead process.
    pub fn mmap(&self, len: u64, prot: Prot, options: MmapOptions) -> Result<Va, Errno> {
        let mut len = len;
        let backing = if options.hugetlb {
            len = len
                .checked_next_multiple_of(HUGE_SIZE)
                .ok_or(Errno::EINVAL)?;
            if options.share || options.at.is_some_and(|at| !at.is_huge_aligned()) {
                return Err(Errno::EINVAL);
            }
            let reserve = Reserve::new(&self.sys, len / HUGE_SIZE).ok_or(Errno::ENOMEM)?;
            Backing::Hugetlb(reserve)
        } else if options.share {
            Backing::Object {
                object: PageCache::shmem(&self.sys),
                offset: 0,
                private: false,
            }
        } else {
            Backing::Anon
        };
        self.map_backing(len, prot, options, VmaFlags::default(), backing)
    }

    /// Maps `len` bytes (rounded up to pages) of a file from byte `offset` on; with `options.share` stores go
    /// to the file, else to copies of the process's own. An access to a page that is wholly beyond the
    /// file's end is a SIGBUS.
    ///
    /// # Errors
    /// As [`Mm::mmap`]; EINVAL for hugetlb and for an offset that is not a multiple of the page size, EOVERFLOW when
    /// `offset + len` is no file position.
    pub fn mmap_file(
        &self,
        len: u64,
        prot: Prot,
        options: MmapOptions,
        file: &Arc<File>,
        offset: u64,
    ) -> Result<Va, Errno> {
        if options.hugetlb || !offset.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        len.checked_next_multiple_of(PAGE_SIZE)
            .and_then(|len| offset.checked_add(len))
            .filter(|&end| end <= File::MAX_LEN)
            .ok_or(Errno::EOVERFLOW)?;
        let backing = Backing::Object {
            object: Arc::clone(&file.cache),
            offset: offset / PAGE_SIZE,
            private: !options.share,
        };
        self.map_backing(len, prot, options, VmaFlags::default(), backing)
    }

    pub(super) fn map_backing(
        &self,
        len: u64,
        prot: Prot,
        options: MmapOptions,
        flags: VmaFlags,
        backing: Backing,
    ) -> Result<Va, Errno> {
        let len = len
            .checked_next_multiple_of(PAGE_SIZE)
            .filter(|&l| l > 0)
            .ok_or(Errno::EINVAL)?;
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        let start = match options.at {
            Some(at) => {
                let end = user_range(at, len)?;
                vmas.check_huge_edges(at, end)?;
                self.unmap_locked(&mut vmas, at, end);
                at
            }
            None => vmas.find_free(len, options.huge || options.hugetlb)?,
        };
        // The hardware has no way to allow stores alone.
        let prot = Prot {
            read: prot.read || prot.write,
            ..prot
        };
        vmas.insert(Vma {
            start,
            end: start + len,
            prot,
            flags: VmaFlags {
                huge: if options.huge {
                    HugeAdvice::Always
                } else {
                    HugeAdvice::None
                },
                ..flags
            },
            backing,
            soft_dirty: true,
            userfault: None,
        });
        self.sys
            .event("mmap", &[("mm", self.id), ("addr", start.0), ("len", len)]);
        Ok(start)
    }

    /// Unmaps `len` bytes (rounded up to pages); holes are no error.
    ///
    /// # Errors
    /// EINVAL for a start that is not aligned, a length of 0, a range beyond the user half, or part of a
    /// hugetlb page; ESRCH for a dead process.
    pub fn munmap(&self, start: Va, len: u64) -> Result<(), Errno> {
        let end = user_range(start, len)?;
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        vmas.check_huge_edges(start, end)?;
        self.unmap_locked(&mut vmas, start, end);
        Ok(())
    }

    /// Unmaps a range whose mappings the caller holds for writing.
    pub(crate) fn unmap_locked(&self, vmas: &mut VmaTree, start: Va, end: Va) {
        let taken = vmas.take(start, end);
        if taken.iter().any(|vma| vma.flags.locked) {
            self.note_locked(vmas);
        }
        for vma in taken {
            self.sys.event(
                "munmap",
                &[
                    ("mm", self.id),
                    ("addr", vma.start.0),
                    ("len", vma.end - vma.start),
                ],
            );
            if let Some(reserve) = vma.reserve() {
                let areas = (vma.end - vma.start) / HUGE_SIZE;
                let pt = self.pt.lock();
                let used = pt.range_sized(vma.start.page(), vma.end.page()).len() as u64;
                drop(pt);
                reserve.give_back(areas - used);
            }
            self.zap(vma.start, vma.end, MmuNotifyEvent::Unmap);
            self.userfault_unmapped(&vma);
        }
    }

    pub(crate) fn check_alive(&self) -> Result<(), Errno> {
        if self.is_alive() {
            Ok(())
        } else {
            Err(Errno::ESRCH)
        }
    }
}
