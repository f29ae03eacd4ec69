//! Pages of system memory that the device has to itself for a while, for its atomics.

use crate::context::Context;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::policy::PageRange;
use crate::pte;
use crate::range::chunks;
use crate::table::Mapping;
use hmm_core::{Errno, PAGE_SIZE, Pfn, Pte, Va, make_device_exclusive};

/// How often a page is tried again that others keep changing.
const ATTEMPTS: u32 = 16;

impl Context {
    /// Makes the pages of `[start, start + len)` (bytes, whole pages) device-exclusive: the device may do atomics on
    /// them, and the first access of a CPU (a fork, a migration) takes them away from it first. Pages come home from
    /// device memory and are copied when they are shared. Returns how many pages the device has so now: fewer than
    /// asked when a CPU has been there again.
    ///
    /// # Errors
    /// EINVAL for an unaligned or empty range; EFAULT where nothing writable is mapped or a page cannot be had;
    /// EOPNOTSUPP for shared memory; EBUSY when others keep changing a page. Pages before it are exclusive by then.
    pub fn exclusive(&self, start: Va, len: u64) -> Result<usize, DriverError> {
        let range = Self::user_range(start, len)?;
        self.check_open()?;
        self.core.health.check()?;
        for chunk in chunks(range) {
            for page in 0..(chunk.end - chunk.start) / PAGE_SIZE {
                let va = chunk.start + page * PAGE_SIZE;
                self.make_exclusive(va).map_err(|errno| {
                    DriverError::errno_of(errno, format!("exclusive access to {va}"))
                })?;
            }
        }
        let pages = (0..len / PAGE_SIZE).map(|page| start + page * PAGE_SIZE);
        let space = self.space.lock();
        let table = space.table.as_ref().ok_or(DriverError::Closed)?;
        Ok(pages.filter(|va| table.is_exclusive(*va)).count())
    }

    /// Whether the device has the page of `va` to itself.
    ///
    /// # Errors
    /// EBADF when the context is closed.
    pub fn is_exclusive(&self, va: Va) -> Result<bool, DriverError> {
        let space = self.space.lock();
        let table = space.table.as_ref().ok_or(DriverError::Closed)?;
        Ok(table.is_exclusive(va.align_down()))
    }

    /// Makes one page exclusive and maps it.
    pub(crate) fn make_exclusive(&self, va: Va) -> Result<(), Errno> {
        let core = &self.core;
        let notifier = self.notifier().ok_or(Errno::EBADF)?;
        for _ in 0..ATTEMPTS {
            let guard = self.mm.mmap_read_lock();
            let pfn = make_device_exclusive(&guard, va, core.owner())?;
            // Locked, nobody gives the page back to the CPU; but it may be unmapped. Whoever does that from here on
            // changes the sequence, and whoever did it before has changed the entry.
            let seq = notifier.read_begin();
            let there = matches!(self.mm.pte(va), Pte::Exclusive { pfn: now, .. } if now == pfn);
            let installed = there.then(|| self.install_exclusive(va, pfn, seq));
            core.sys.unlock_page(pfn);
            core.sys.put_page(pfn);
            drop(guard);
            match installed {
                Some(Ok(true)) => {
                    core.counters.add(Tick::Exclusive, 1);
                    core.trace(
                        "exclusive",
                        &[("ctx", u64::from(self.id)), ("addr", va.0), ("pfn", pfn.0)],
                    );
                    return Ok(());
                }
                Some(Err(errno)) => return Err(errno),
                Some(Ok(false)) | None => {}
            }
        }
        Err(Errno::EBUSY)
    }

    /// Maps a page that the process has given up, if nothing came between since `seq`. What is in the way is taken
    /// down, and false returned.
    fn install_exclusive(&self, va: Va, pfn: Pfn, seq: u64) -> Result<bool, Errno> {
        let core = &self.core;
        let page = core.page_pa(pfn).ok_or(Errno::EFAULT)?;
        let mapping = Mapping {
            page,
            flags: pte::R | pte::W | pte::ATOMIC,
            pfn: Some(pfn),
            exclusive: true,
        };
        let installed = {
            let mut space = self.space.lock();
            let changed = self.notifier().is_none_or(|n| n.read_retry(seq));
            if space.closing || changed {
                return if space.closing {
                    Err(Errno::EBADF)
                } else {
                    Ok(false)
                };
            }
            let table = space.table.as_mut().ok_or(Errno::EBADF)?;
            table.install(va, &[Some(mapping)])
        };
        match installed {
            Ok(done) => {
                core.counters.add(Tick::PtesWritten, done.written);
                if done.blocked.is_some() {
                    self.take_down(PageRange {
                        start: va,
                        end: va + PAGE_SIZE,
                    });
                }
                Ok(done.blocked.is_none())
            }
            Err(error) => {
                core.health.lose(&error);
                Err(error.errno())
            }
        }
    }
}
