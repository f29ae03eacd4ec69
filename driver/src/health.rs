//! Bounded waits, and what happens when one of them ends without an answer or the link has lost something.

use crate::error::DriverError;
use crate::hw::{Hardware, HwError};
use hmm_core::sync::Mutex;
use hmmu_regs::{Counter, Vector, reg};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Whether the device still answers. After the first wait that ended without an answer, or once a posted write was lost,
/// the device is lost: it is switched off and reset, and everything else fails at once instead of waiting again.
pub(crate) struct Health {
    hw: Hardware,
    lost: AtomicBool,
    /// It was reset when it was lost: nothing of it is under way any more.
    quiet: AtomicBool,
    /// How often it was brought back.
    revived: AtomicU64,
    reason: Mutex<Option<String>>,
    /// Errors of the port that are known.
    port_errors: AtomicU64,
    /// TLPs that the device is known to have dropped.
    dropped: AtomicU64,
    /// What ERROR_INFO held when it was first cleared since somebody asked.
    error: Mutex<Option<u64>>,
    look_every: u64,
    /// Looks after rings that the device has stopped.
    nurse: OnceLock<Box<dyn Fn() -> Result<(), HwError> + Send + Sync>>,
}

impl Health {
    /// A device that answers. While it is waited for, it is asked every `look_every` cycles for a sign of life and for
    /// stopped rings.
    pub fn new(hw: Hardware, look_every: u64) -> Self {
        let port_errors = hw.bar.port_errors();
        Self {
            hw,
            lost: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
            revived: AtomicU64::new(0),
            reason: Mutex::new(None),
            port_errors: AtomicU64::new(port_errors),
            dropped: AtomicU64::new(0),
            error: Mutex::new(None),
            look_every: look_every.max(1),
            nurse: OnceLock::new(),
        }
    }

    /// Cycles between two looks.
    pub fn look_every(&self) -> u64 {
        self.look_every
    }

    /// Sets what [`Health::look`] does.
    pub fn set_nurse(&self, nurse: impl Fn() -> Result<(), HwError> + Send + Sync + 'static) {
        let _ = self.nurse.set(Box::new(nurse));
    }

    /// Asks the device whether it lives, and starts its queues again that it has stopped. Waits for the link.
    pub fn look(&self) -> Result<(), HwError> {
        self.nurse.get().map_or(Ok(()), |nurse| nurse())
    }

    /// How often the device was brought back: what was under way before is gone.
    pub fn revived(&self) -> u64 {
        self.revived.load(Ordering::Relaxed)
    }

    /// An error when the device is lost, or as of now is.
    pub fn check(&self) -> Result<(), DriverError> {
        if !self.is_lost() {
            let logged = self.hw.bar.port_errors();
            let known = self.port_errors.swap(logged, Ordering::Relaxed);
            if logged == known {
                return Ok(());
            }
            let what = if self.hw.bar.present() {
                format!("errors logged by the port: {}", logged - known)
            } else {
                "the device was taken out".to_owned()
            };
            let error = DriverError::Link(what);
            self.lose(&error);
            return Err(error);
        }
        let reason = self
            .reason
            .lock()
            .clone()
            .unwrap_or_else(|| "an earlier wait failed".to_owned());
        Err(DriverError::Lost(reason))
    }

    /// As [`Health::check`], and looks at what the device has reported. What was seen done before is done: no write of
    /// either side that came before it was lost. May wait for the link.
    pub fn verify(&self) -> Result<(), DriverError> {
        self.check()?;
        if !self.hw.irq.take(Vector::Error as u16) {
            return Ok(());
        }
        let dropped = self.acknowledge().and_then(|()| self.dropped_tlps());
        let error = match dropped {
            Ok(count) if count == self.dropped.swap(count, Ordering::Relaxed) => return Ok(()),
            Ok(_) => DriverError::Link("the device has dropped a write".to_owned()),
            // Nobody knows then.
            Err(error) => error.into(),
        };
        self.lose(&error);
        Err(error)
    }

    /// Notes and clears the device's error record.
    fn acknowledge(&self) -> Result<(), HwError> {
        let info = self.read(reg::ERROR_INFO)?;
        if info != 0 {
            self.error.lock().get_or_insert(info);
            self.hw.bar.write(reg::ERROR_INFO, 0)?;
        }
        Ok(())
    }

    fn dropped_tlps(&self) -> Result<u64, HwError> {
        self.hw.bar.write(reg::SNAPSHOT, 1)?;
        self.read(reg::COUNTER + 8 * Counter::DroppedTlps as u64)
    }

    /// Reads a register, twice if the first answer is lost.
    fn read(&self, register: u64) -> Result<u64, HwError> {
        let bar = &self.hw.bar;
        bar.read(register).or_else(|_| bar.read(register))
    }

    /// The first error record of the device since the last call.
    pub fn take_error(&self) -> Option<u64> {
        // What cannot be read now comes with the next call.
        let _ = self.acknowledge();
        self.error.lock().take()
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
            // What is under way there must not reach memory that is given to others. Where this cannot be done, the
            // queues run dry. A simulation that has ended stays as it is: somebody may look at it.
            let ended = matches!(reason, DriverError::Hw(HwError::Model(_)));
            let quiet = !ended && self.hw.bar.reset().is_ok();
            self.quiet.store(quiet, Ordering::Relaxed);
        }
    }

    /// True when the device is lost and does nothing any more: it writes no memory.
    pub fn is_quiet(&self) -> bool {
        self.is_lost() && self.quiet.load(Ordering::Relaxed)
    }

    /// The device has been reset and set up again.
    pub fn revive(&self) {
        let mut reason = self.reason.lock();
        *reason = None;
        let _ = self.hw.irq.take(Vector::Error as u16);
        self.dropped.store(0, Ordering::Relaxed);
        self.port_errors
            .store(self.hw.bar.port_errors(), Ordering::Relaxed);
        self.revived.fetch_add(1, Ordering::Relaxed);
        self.lost.store(false, Ordering::Relaxed);
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
        let mut next_look = self.hw.clock.now().saturating_add(self.look_every);
        let revived = self.revived();
        loop {
            if self.revived() != revived {
                return Err(DriverError::Lost("it was reset meanwhile".to_owned()));
            }
            if ready() {
                if !self.is_lost() {
                    self.verify()?;
                }
                return Ok(());
            }
            self.verify()?;
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
                next_look = self.hw.clock.now().saturating_add(self.look_every);
            }
            if let Err(error) = self.hw.clock.pause() {
                let error = DriverError::from(error);
                self.lose(&error);
                return Err(error);
            }
        }
    }
}
