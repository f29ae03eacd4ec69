//! Calls on ranges of a process's memory: migration by hand, and snapshots.

use crate::context::Context;
use crate::error::DriverError;
use crate::lookup::{Lookup, look_up, read_range, requests};
use crate::migrate::{self, Direction};
use crate::policy::PageRange;
use crate::snapshot::{PagePlace, PageState};
use hmm_core::addr::TASK_SIZE;
use hmm_core::{DeviceMemory, Errno, HUGE_SIZE, HmmPfn, PAGE_SIZE, Va};

/// Bytes looked at at once: no more than one large page, so that each is seen whole.
const CHUNK: u64 = HUGE_SIZE;

/// How often a look is repeated when invalidations come between.
pub(crate) const ATTEMPTS: u32 = 1024;

pub(crate) fn chunks(range: PageRange) -> impl Iterator<Item = PageRange> {
    let first = range.start.0 & !(CHUNK - 1);
    (first..range.end.0)
        .step_by(CHUNK as usize)
        .map(move |start| PageRange {
            start: range.start.max(Va(start)),
            end: range.end.min(Va(start + CHUNK)),
        })
}

impl Context {
    pub(crate) fn user_range(start: Va, len: u64) -> Result<PageRange, DriverError> {
        let end = start.0.checked_add(len).filter(|end| *end <= TASK_SIZE);
        match end {
            Some(end) if len > 0 && start.is_aligned() && len.is_multiple_of(PAGE_SIZE) => {
                Ok(PageRange {
                    start,
                    end: Va(end),
                })
            }
            _ => Err(DriverError::errno_of(
                Errno::EINVAL,
                format!("the range {start}, {len:#x} bytes"),
            )),
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), DriverError> {
        if self.is_closed() {
            Err(DriverError::Closed)
        } else {
            Ok(())
        }
    }

    /// Moves the pages of `[start, start + len)` (bytes, whole pages) to device memory and maps them for the device.
    /// Returns the number of pages of the range that are there now.
    ///
    /// # Errors
    /// ENOENT if any page is not in device memory afterwards (those that could move stay moved); EINVAL for an
    /// unaligned or empty range, a hole, a VMA without read permission or one whose pages cannot migrate.
    pub fn migrate_to_device(&self, start: Va, len: u64) -> Result<usize, DriverError> {
        let range = Self::user_range(start, len)?;
        self.check_open()?;
        self.core.health.check()?;
        migrate::range(&self.core, &self.mm, range, Direction::ToDevice).map_err(|errno| {
            DriverError::errno_of(errno, format!("migration of {len:#x} bytes at {start}"))
        })?;
        let mut there = 0;
        for chunk in chunks(range) {
            self.map_present(chunk);
            let states = self.look(chunk)?;
            let here = |state: &&PageState| {
                matches!(
                    state,
                    PageState::Page {
                        place: PagePlace::Device | PagePlace::Coherent,
                        ..
                    }
                )
            };
            there += states.iter().filter(here).count();
        }
        let pages = (len / PAGE_SIZE) as usize;
        if there < pages {
            let what = format!(
                "{} of {pages} pages at {start} are not in device memory",
                pages - there
            );
            return Err(DriverError::errno_of(Errno::ENOENT, what));
        }
        Ok(there)
    }

    /// Installs what is present. Only a saving of faults: a failure does not matter.
    fn map_present(&self, range: PageRange) {
        for _ in 0..4 {
            if !matches!(look_up(&self.core, self, range, |_| None), Lookup::Retry) {
                break;
            }
        }
    }

    /// Moves the pages of the range (bytes, whole pages) that are in device memory home. Returns the number of pages
    /// that moved.
    ///
    /// # Errors
    /// EINVAL as for [`Context::migrate_to_device`]; pages before a hole have moved by then.
    pub fn migrate_to_system(&self, start: Va, len: u64) -> Result<usize, DriverError> {
        let range = Self::user_range(start, len)?;
        self.check_open()?;
        migrate::range(&self.core, &self.mm, range, Direction::ToSystem)
            .map(|moved| moved as usize)
            .map_err(|errno| {
                DriverError::errno_of(
                    errno,
                    format!("migration home of {len:#x} bytes at {start}"),
                )
            })
    }

    /// What the device would find in `[start, start + len)` (bytes, whole pages), one state a page, without faulting.
    ///
    /// # Errors
    /// EINVAL for an unaligned or empty range; EBUSY when invalidations never stop coming between.
    pub fn snapshot(&self, start: Va, len: u64) -> Result<Vec<PageState>, DriverError> {
        let range = Self::user_range(start, len)?;
        self.check_open()?;
        let mut states = Vec::new();
        for chunk in chunks(range) {
            states.extend(self.look(chunk)?);
        }
        Ok(states)
    }

    fn look(&self, range: PageRange) -> Result<Vec<PageState>, DriverError> {
        let notifier = self.notifier().ok_or(DriverError::Closed)?;
        for _ in 0..ATTEMPTS {
            let seq = notifier.read_begin();
            let mut pfns = requests(range, |_| None);
            match read_range(&self.core, self, range, seq, &mut pfns) {
                Err(Errno::EBUSY) => continue,
                Err(errno) => {
                    return Err(DriverError::errno_of(
                        errno,
                        format!("snapshot at {}", range.start),
                    ));
                }
                Ok(()) => {}
            }
            let _space = self.space.lock();
            if !notifier.read_retry(seq) {
                return Ok(pfns.iter().map(|pfn| self.state(*pfn)).collect());
            }
        }
        Err(DriverError::errno_of(
            Errno::EBUSY,
            format!("snapshot at {}", range.start),
        ))
    }

    fn state(&self, found: HmmPfn) -> PageState {
        if found.is_error() {
            return PageState::Error;
        }
        if !found.is_valid() {
            return PageState::None;
        }
        let pfn = found.pfn();
        let coherent = self.core.sys.device_memory(pfn) == Some(DeviceMemory::Coherent);
        let place = match (pfn.is_device(), self.core.pfn_vram(pfn)) {
            (true, Some(_)) if coherent => PagePlace::Coherent,
            (true, Some(_)) => PagePlace::Device,
            (true, None) if coherent => PagePlace::CoherentRemote,
            (true, None) => return PageState::None,
            (false, _) if self.core.sys.is_zero_page(pfn) => PagePlace::Zero,
            (false, _) => PagePlace::System,
        };
        PageState::Page {
            write: found.is_write(),
            place,
            pmd: found.order() == 9,
        }
    }
}
