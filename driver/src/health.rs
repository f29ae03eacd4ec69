//! Bounded waits, and what happens when one of them ends without an answer.

use crate::error::DriverError;
use crate::hw::{Hardware, HwError};
use hmm_core::sync::Mutex;
use hmmu_regs::reg;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the device still answers. After the first wait that ended without an answer the device is lost: its
/// queues are switched off and everything else fails at once instead of waiting again.
pub(crate) struct Health {
    hw: Hardware,
    lost: AtomicBool,
    reason: Mutex<Option<String>>,
    /// Looks after rings that the device has stopped.
    nurse: OnceLock<Box<dyn Fn() -> Result<(), HwError> + Send + Sync>>,
}

/// While it is waited for, the device is asked this often for a sign of life and for stopped rings, in cycles.
pub(crate) const LOOK_EVERY: u64 = 50_000;

impl Health {
    /// A device that answers.
    pub fn new(hw: Hardware) -> Self {
        Self {
            hw,
            lost: AtomicBool::new(false),
            reason: Mutex::new(None),
            nurse: OnceLock::new(),
        }
    }

    /// Sets what [`Health::look`] does.
    pub fn set_nurse(&self, nurse: impl Fn() -> Result<(), HwError> + Send + Sync + 'static) {
        let _ = self.nurse.set(Box::new(nurse));
    }

    /// Asks the device whether it lives, and starts its queues again that it has stopped. Waits for the link.
    pub fn look(&self) -> Result<(), HwError> {
        self.nurse.get().map_or(Ok(()), |nurse| nurse())
    }

    /// An error when the device is lost.
    pub fn check(&self) -> Result<(), DriverError> {
        if !self.lost.load(Ordering::Relaxed) {
            return Ok(());
        }
        let reason = self
            .reason
            .lock()
            .clone()
            .unwrap_or_else(|| "an earlier wait failed".to_owned());
        Err(DriverError::Lost(reason))
    }

    /// True when the device is lost.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Gives the device up.
    pub fn lose(&self, reason: &DriverError) {
        let mut first = self.reason.lock();
        if first.is_none() {
            *first = Some(reason.to_string());
            self.lost.store(true, Ordering::Relaxed);
            drop(first);
            // Nothing may start any more. A device that hears nothing does not hear this either.
            let _ = self.hw.bar.write(reg::CONTROL, 0);
        }
    }

    /// Waits until `ready`, at most `cycles`. A device that does not get ready in time is lost.
    pub fn wait(
        &self,
        what: impl Fn() -> String,
        cycles: u64,
        ready: impl FnMut() -> bool,
    ) -> Result<(), DriverError> {
        self.wait_unless(what, cycles, ready, || false)
    }

    /// As [`Health::wait`]. Time in which the device is `excused`, because it waits for the process itself, does not
    /// count.
    pub fn wait_unless(
        &self,
        what: impl Fn() -> String,
        cycles: u64,
        mut ready: impl FnMut() -> bool,
        excused: impl Fn() -> bool,
    ) -> Result<(), DriverError> {
        let mut deadline = self.hw.clock.now().saturating_add(cycles);
        let mut next_look = self.hw.clock.now().saturating_add(LOOK_EVERY);
        loop {
            if ready() {
                return Ok(());
            }
            self.check()?;
            if self.hw.clock.now() >= deadline && excused() {
                deadline = self.hw.clock.now().saturating_add(cycles);
            } else if self.hw.clock.now() >= deadline {
                let error = DriverError::NoAnswer {
                    what: what(),
                    cycles,
                };
                self.lose(&error);
                return Err(error);
            }
            if self.hw.clock.now() >= next_look {
                // A device that does not answer this either runs into the deadline, which names what is waited for.
                let _ = self.look();
                next_look = self.hw.clock.now().saturating_add(LOOK_EVERY);
            }
            if let Err(error) = self.hw.clock.pause() {
                let error = DriverError::from(error);
                self.lose(&error);
                return Err(error);
            }
        }
    }
}
