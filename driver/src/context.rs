//! A process's view of the device.

use crate::error::DriverError;
use crate::job::Job;
use crate::program::Program;
use crate::snapshot::PageState;
use hmm_core::Va;
use std::sync::Arc;

/// A device opened for one process: its address space, mirrored.
pub struct Context {}

impl Context {
    /// Starts `threads` threads (at least 1) of a program. `args` is copied to device memory; `a0` points to it.
    pub fn launch(self: &Arc<Self>, _program: &Program, _args: &[u64], _threads: u32) -> Result<Job, DriverError> {
        Err(DriverError::Closed)
    }

    /// Copies `len` bytes from `src` to `dst`, both addresses of the process, with the copy engine.
    pub fn copy(&self, _dst: Va, _src: Va, _len: u64) -> Result<(), DriverError> {
        Err(DriverError::Closed)
    }

    /// Moves the pages of `[start, start + len)` to device memory. Returns the number of pages of the range that
    /// are there now.
    ///
    /// # Errors
    /// ENOENT if any page is not in device memory afterwards (those that could move stay moved); EINVAL for an
    /// unaligned or empty range, a hole, a VMA without read permission or one whose pages cannot migrate.
    pub fn migrate_to_device(&self, _start: Va, _len: u64) -> Result<usize, DriverError> {
        Err(DriverError::Closed)
    }

    /// Moves the pages of the range that are in device memory home. Returns the number of pages that moved.
    ///
    /// # Errors
    /// EINVAL as for [`Context::migrate_to_device`]; pages before a hole have moved by then.
    pub fn migrate_to_system(&self, _start: Va, _len: u64) -> Result<usize, DriverError> {
        Err(DriverError::Closed)
    }

    /// What the device would find in `[start, start + len)`, one state a page, without faulting.
    pub fn snapshot(&self, _start: Va, _len: u64) -> Result<Vec<PageState>, DriverError> {
        Err(DriverError::Closed)
    }

    /// The device's counters, the driver's, and this context's.
    pub fn stats(&self) -> Result<Vec<(&'static str, u64)>, DriverError> {
        Err(DriverError::Closed)
    }

    /// The context's number on the device (PASID).
    pub fn id(&self) -> u8 {
        0
    }

    /// Ends the context: its jobs are stopped, its tables and programs freed. Pages in device memory stay there
    /// until the CPU touches them. Closing twice does nothing.
    pub fn close(&self) -> Result<(), DriverError> {
        Ok(())
    }
}
