//! Which pages the device has written.

use crate::context::Context;
use crate::error::DriverError;
use crate::lookup::{read_range, requests};
use crate::notifier::read_entries;
use crate::policy::PageRange;
use crate::pte;
use crate::range::{ATTEMPTS, chunks};
use hmm_core::{Errno, HmmPfn, PAGE_SIZE, Va};

impl Context {
    /// Which pages of `[start, start + len)` (bytes, whole pages) have been written by the device: those whose page
    /// flags say so, from entries taken away earlier (any write that went through a page's reverse mappings counts
    /// too), and those whose entry has its D bit set now. All pages of a 2 MiB entry count as written when one was.
    /// Nothing is invalidated.
    ///
    /// # Errors
    /// EINVAL for an unaligned or empty range; EBUSY when invalidations never stop coming between; EIO when the
    /// entries cannot be read.
    pub fn dirty(&self, start: Va, len: u64) -> Result<Vec<bool>, DriverError> {
        let range = Self::user_range(start, len)?;
        self.check_open()?;
        let mut dirty = Vec::new();
        for chunk in chunks(range) {
            dirty.extend(self.dirty_chunk(chunk)?);
        }
        Ok(dirty)
    }

    fn dirty_chunk(&self, range: PageRange) -> Result<Vec<bool>, DriverError> {
        let notifier = self.notifier().ok_or(DriverError::Closed)?;
        let failed =
            |errno| DriverError::errno_of(errno, format!("dirty pages at {}", range.start));
        for _ in 0..ATTEMPTS {
            let seq = notifier.read_begin();
            let mut pfns: Vec<HmmPfn> = requests(range, |_| None);
            match read_range(&self.core, self, range, seq, &mut pfns) {
                Err(Errno::EBUSY) => continue,
                Err(errno) => return Err(failed(errno)),
                Ok(()) => {}
            }
            let runs = match &self.space.lock().table {
                Some(table) => table.live_runs(range),
                None => return Err(DriverError::Closed),
            };
            let mut dirty: Vec<bool> = pfns
                .iter()
                .map(|pfn| pfn.is_valid() && self.core.sys.is_page_dirty(pfn.pfn()))
                .collect();
            for run in runs {
                let entries = read_entries(&self.core, run).ok_or_else(|| failed(Errno::EIO))?;
                // One entry may tell of many pages, also of some out of the range.
                for (n, entry) in (0..).zip(entries) {
                    let start = run.va + n * run.pages_each() * PAGE_SIZE;
                    for i in 0..run.pages_each() {
                        let page = (start + i * PAGE_SIZE).0.checked_sub(range.start.0);
                        let place =
                            page.and_then(|page| dirty.get_mut((page / PAGE_SIZE) as usize));
                        if let Some(place) = place {
                            *place |= entry & pte::D != 0;
                        }
                    }
                }
            }
            if !notifier.read_retry(seq) {
                return Ok(dirty);
            }
        }
        Err(failed(Errno::EBUSY))
    }
}
