//! Files, as far as mappings of them go.

use std::sync::Arc;

use crate::addr::{PAGE_SIZE, Va};
use crate::errno::Errno;
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::page_cache::PageCache;
use crate::sync::Mutex;
use crate::system::System;

/// A file that processes map with [`Mm::mmap_file`]. Its disk is apart from its pages in memory: a page that
/// is dropped is written back first if it is dirty, and only then.
///
/// No call may be made while holding an mmap_lock.
pub struct File {
    sys: Arc<System>,
    pub(crate) cache: Arc<PageCache>,
    /// Orders changes of the length and writes (i_rwsem). Taken before everything else.
    inode: Mutex<()>,
}

impl File {
    /// The greatest length in bytes (Linux: the greatest `off_t`).
    pub const MAX_LEN: u64 = i64::MAX as u64;

    /// A file of `len` bytes, all zero. It lives as long as this handle and the mappings of it.
    pub fn new(sys: &Arc<System>, len: u64) -> Arc<File> {
        Arc::new(File {
            sys: Arc::clone(sys),
            cache: PageCache::file(sys, len.min(File::MAX_LEN)),
            inode: Mutex::new(()),
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.cache.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pages of it in memory.
    pub fn cached_pages(&self) -> u64 {
        self.cache.pages().len() as u64
    }

    /// Copies bytes from byte `offset` on into `buf`; returns how many, fewer only at the end of the file.
    ///
    /// # Errors
    /// ENOMEM when there is no memory for its pages, EIO where a memory failure took what was written.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let left = self.len().saturating_sub(at);
            if left == 0 {
                break;
            }
            let (start, chunk) = chunk(at, (buf.len() - done).min(left as usize));
            match self.cache.page_for_io(at / PAGE_SIZE, false) {
                Ok(pfn) => {
                    let part = &mut buf[done..done + chunk];
                    self.sys.phys().read(pfn, start, part);
                    self.sys.frames.put(pfn);
                }
                // Cut off meanwhile.
                Err(VmFault::Sigbus) if at >= self.len() => break,
                Err(fault) => return Err(io_error(fault)),
            }
            done += chunk;
        }
        Ok(done)
    }

    /// Overwrites bytes from byte `offset` on; the file grows as needed.
    ///
    /// # Errors
    /// EFBIG beyond [`File::MAX_LEN`]; ENOMEM when there is no memory for its pages, EIO for part of a page
    /// that a memory failure took: what comes before it was written.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let end = offset.checked_add(data.len() as u64);
        end.filter(|&end| end <= File::MAX_LEN)
            .ok_or(Errno::EFBIG)?;
        let _inode = self.inode.lock();
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let (start, chunk) = chunk(at, data.len() - done);
            if chunk as u64 == PAGE_SIZE {
                self.cache.forget_loss(at / PAGE_SIZE);
            }
            self.write_page(at / PAGE_SIZE, start, &data[done..done + chunk])?;
            done += chunk;
        }
        Ok(())
    }

    fn write_page(&self, index: u64, start: usize, data: &[u8]) -> Result<(), Errno> {
        loop {
            let pfn = self.cache.page_for_io(index, true).map_err(io_error)?;
            self.sys.frames.lock(pfn);
            let end = index * PAGE_SIZE + (start + data.len()) as u64;
            if end > self.len() {
                self.cache.set_len(end);
            }
            let there = self.cache.holds(index, pfn);
            if there {
                self.sys.phys().write(pfn, start, data);
                self.sys.set_page_dirty(pfn);
            }
            self.sys.frames.unlock(pfn);
            self.sys.frames.put(pfn);
            if there {
                return Ok(());
            }
        }
    }

    /// Sets the length. What is cut off is unmapped everywhere, private copies too, and reads as zero if
    /// the file grows again; accesses there end in SIGBUS until then.
    ///
    /// # Errors
    /// EFBIG beyond [`File::MAX_LEN`].
    pub fn truncate(&self, len: u64) -> Result<(), Errno> {
        if len > File::MAX_LEN {
            return Err(Errno::EFBIG);
        }
        let _inode = self.inode.lock();
        let old = self.len();
        self.sys
            .event("truncate", &[("len", len), ("old_len", old)]);
        // From here on no fault maps what is cut off: each looks at the length under its page table's lock.
        self.cache.set_len(len);
        if len < old {
            let first = len.div_ceil(PAGE_SIZE);
            self.unmap_from(first);
            self.drop_from(first);
        }
        Ok(())
    }

    /// Unmaps the pages from `first` on in all processes. A child of a fork has a higher id than its parent,
    /// so it comes after it and is not missed.
    fn unmap_from(&self, first: u64) {
        let mut last_id = 0;
        while let Some(mm) = self.sys.next_mm_after(last_id) {
            last_id = mm.id();
            self.unmap_in(&mm, first);
        }
    }

    fn unmap_in(&self, mm: &Arc<Mm>, first: u64) {
        let guard = mm.mmap_read_lock();
        for vma in guard.vmas.iter() {
            let Some((object, offset)) = vma.object_page(vma.start) else {
                continue;
            };
            if !Arc::ptr_eq(object, &self.cache) {
                continue;
            }
            let start = vma.start.page() + first.saturating_sub(offset);
            if start < vma.end.page() {
                mm.zap(Va::of_page(start), vma.end, MmuNotifyEvent::Clear);
            }
        }
    }

    /// Drops the pages in memory from `first` on.
    fn drop_from(&self, first: u64) {
        while let Some((index, pfn)) = self.cache.next_page(first) {
            self.sys.frames.lock(pfn);
            self.cache.remove(index, pfn);
            self.sys.frames.unlock(pfn);
            self.sys.frames.put(pfn);
        }
    }
}

/// Where `at` is in its page, and how many of `len` bytes are in that page.
fn chunk(at: u64, len: usize) -> (usize, usize) {
    let start = Va(at).offset();
    (start, len.min(PAGE_SIZE as usize - start))
}

fn io_error(fault: VmFault) -> Errno {
    match fault {
        VmFault::Oom => Errno::ENOMEM,
        VmFault::Sigbus | VmFault::Retry => Errno::EIO,
    }
}
