//! mmap and munmap.

use crate::addr::{PAGE_SIZE, Va};
use crate::errno::Errno;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::shmem::Shmem;
use crate::vma::{MmapOptions, Prot};
use crate::vma_tree::{Backing, Vma, VmaTree, user_range};

impl Mm {
    /// Maps `len` bytes (rounded up to pages) of zeros.
    ///
    /// # Errors
    /// EINVAL for a length of 0 or a fixed address that is not aligned or outside of the user half, ENOMEM
    /// when there is no place, ESRCH for a dead process.
    pub fn mmap(&self, len: u64, prot: Prot, options: MmapOptions) -> Result<Va, Errno> {
        let len = len
            .checked_next_multiple_of(PAGE_SIZE)
            .filter(|&l| l > 0)
            .ok_or(Errno::EINVAL)?;
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        let start = match options.at {
            Some(at) => {
                let end = user_range(at, len)?;
                self.unmap_locked(&mut vmas, at, end);
                at
            }
            None => vmas.find_free(len, options.huge)?,
        };
        let backing = if options.share {
            Backing::Shmem(Shmem::new(&self.sys), 0)
        } else {
            Backing::Anon
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
            backing,
        });
        self.sys
            .event("mmap", &[("mm", self.id), ("addr", start.0), ("len", len)]);
        Ok(start)
    }

    /// Unmaps `len` bytes (rounded up to pages); holes are no error.
    ///
    /// # Errors
    /// EINVAL for a start that is not aligned, a length of 0, or a range beyond the user half; ESRCH for a
    /// dead process.
    pub fn munmap(&self, start: Va, len: u64) -> Result<(), Errno> {
        let end = user_range(start, len)?;
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        self.unmap_locked(&mut vmas, start, end);
        Ok(())
    }

    /// Unmaps a range whose mappings the caller holds for writing.
    pub(crate) fn unmap_locked(&self, vmas: &mut VmaTree, start: Va, end: Va) {
        for vma in vmas.take(start, end) {
            self.sys.event(
                "munmap",
                &[
                    ("mm", self.id),
                    ("addr", vma.start.0),
                    ("len", vma.end - vma.start),
                ],
            );
            self.zap(vma.start, vma.end, MmuNotifyEvent::Unmap);
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
