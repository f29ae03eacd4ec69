//! One device: probed, with its queues running and its fault worker started.

use crate::config::DeviceConfig;
use crate::context::Context;
use crate::core::Core;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::hw::Hardware;
use hmm_core::sync::{self, JoinHandle, Mutex};
use hmm_core::{Mm, System};
use hmmu_regs::reg;
use std::sync::Arc;

/// A probed device. It must outlive the pages in its memory: see [`Device::release`].
pub struct Device {
    core: Arc<Core>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Device {
    /// Checks that the device is one of ours, sets up its rings, interrupts and memory, enables it and starts the
    /// fault worker (a thread of [`hmm_core::sync`]).
    ///
    /// # Errors
    /// [`DriverError::NotOurs`], [`DriverError::Config`], or a hardware error.
    pub fn probe(
        hw: Hardware,
        sys: Arc<System>,
        config: DeviceConfig,
    ) -> Result<Arc<Self>, DriverError> {
        let core = crate::probe::probe(hw, sys, config)?;
        let shared = Arc::clone(&core);
        let worker = sync::spawn_named("fault worker", move || crate::worker::run(&shared));
        let mut workers = vec![worker];
        if let Some(log) = core.dirty_log.get() {
            let (core, log) = (Arc::clone(&core), Arc::clone(log));
            let run = move || crate::dirty_log::run(&core, &log);
            workers.push(sync::spawn_named("dirty-log worker", run));
        }
        Ok(Arc::new(Self {
            core,
            workers: Mutex::new(workers),
        }))
    }

    /// Opens the device for a process. A context is not inherited over fork: the child opens its own.
    ///
    /// # Errors
    /// EBUSY when the device has no free context, ESRCH when the process has ended, or a hardware error.
    pub fn open(&self, mm: &Arc<Mm>) -> Result<Arc<Context>, DriverError> {
        Context::open(&self.core, mm)
    }

    /// Takes all of the device's memory away, as on unplug: every page goes home. Device memory can be used again
    /// afterwards. Returns the number of pages that moved.
    ///
    /// Those of a device that was taken out cannot: their contents are lost, and whoever had them gets SIGBUS from the CPU
    /// and EFAULT from a device.
    ///
    /// # Errors
    /// ENOMEM when system memory is full, EBUSY when pages stay in use.
    pub fn release(&self) -> Result<usize, DriverError> {
        crate::home::release(&self.core)
    }

    /// Hardware warps of all compute units: threads that can run at once.
    pub fn warps(&self) -> u32 {
        u32::try_from(self.core.warps).unwrap_or(u32::MAX)
    }

    /// Fault-service rounds so far: batches of fault records that the worker has served.
    pub fn rounds(&self) -> u64 {
        self.core.counters.get(Tick::Rounds)
    }

    /// The device's counters, then the driver's, each with its name.
    pub fn stats(&self) -> Result<Vec<(&'static str, u64)>, DriverError> {
        crate::stats::read(&self.core)
    }

    /// Makes the next `count` allocations of device memory for pages of processes fail. One of 2 MiB that fails counts
    /// once; single pages take its place.
    pub fn inject_alloc_failures(&self, count: u64) {
        self.core.pool.fail_next(count);
    }

    /// Pages of device memory in use: by tables, by programs and stacks, and by pages of processes. Those that memory
    /// failures took do not count.
    pub fn vram_in_use(&self) -> u64 {
        let lost = self.core.pagemap.get().map_or(0, |pagemap| pagemap.lost());
        self.core.pool.in_use().saturating_sub(lost)
    }

    /// Why the device was given up, if it was.
    pub fn lost(&self) -> Option<DriverError> {
        self.core.health.check().err()
    }

    /// Brings a device back that was given up, or one that works anew: resets it over the link, closes all contexts (their
    /// jobs end with EIO) and sets up its queues. Pages in its memory stay there, with their content; processes open it
    /// again.
    ///
    /// # Errors
    /// EIO when it is not there any more, does not answer, or cannot be reset. It is lost then.
    pub fn reset(&self) -> Result<(), DriverError> {
        crate::probe::reset(&self.core)
    }

    /// The first error that the device has reported (register `ERROR_INFO`: code, unit and address) since the last call.
    pub fn take_error(&self) -> Option<u64> {
        self.core.health.take_error()
    }

    /// Takes the device's memory out of the system for good, after [`Device::shutdown`]. Pages in it come home first;
    /// its owner's number can be used again afterwards.
    ///
    /// # Errors
    /// As [`Device::release`]; the memory is still there then.
    pub fn unplug(&self) -> Result<usize, DriverError> {
        crate::home::unplug(&self.core)
    }

    /// Closes all contexts, stops the workers and the device. Pages still in device memory come home when the
    /// CPU touches them, as long as this value lives.
    pub fn shutdown(&self) {
        for context in self.core.contexts() {
            // A device that does not answer is switched off below all the same.
            let _ = context.close();
        }
        self.core.hw.irq.shutdown();
        let workers = std::mem::take(&mut *self.workers.lock());
        for worker in workers {
            worker.join();
        }
        let _ = self.core.hw.bar.write(reg::CONTROL, 0);
    }
}
