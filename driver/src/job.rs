//! A running job.

use crate::arena::JobMemory;
use crate::commands::CtxId;
use crate::context::Context;
use crate::core::Core;
use crate::error::{DriverError, JobError};
use crate::hold::Hold;
use crate::hw::DmaAddr;
use crate::slices::SaveAreas;
use hmm_core::Errno;
use hmm_core::sync::Mutex;
use hmmu_regs::{JobStatus, LaunchEntry};
use std::sync::Arc;

/// Looks in a row that may stay without an answer.
const SILENT_LOOKS: u32 = 1;

/// Errno codes of a Cancel start here; lower status codes are the device's own.
pub(crate) const CANCEL_BASE: u8 = 16;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobEnd {
    /// The smallest result of its threads.
    pub result: u64,
    /// Status byte.
    pub status: u8,
    /// Address or program counter of the first error.
    pub info: u64,
}

impl JobEnd {
    /// An end that the driver decides.
    pub fn by_driver(status: JobStatus) -> Self {
        Self {
            result: 0,
            status: status as u8,
            info: 0,
        }
    }
}

/// What the driver keeps of a job until it has ended.
pub(crate) struct JobState {
    pub id: u32,
    pub ctx: CtxId,
    pub entry: LaunchEntry,
    pub completion: DmaAddr,
    pub memory: JobMemory,
    pub context: Arc<Context>,
    /// How many of its threads can run at once.
    pub places: u64,
    pub end: Mutex<Option<JobEnd>>,
    pub hold: Mutex<Hold>,
    /// Where its state is saved, once it was.
    pub areas: Mutex<Option<SaveAreas>>,
}

/// A launched job. Dropping it does not end it.
pub struct Job {
    core: Arc<Core>,
    state: Arc<JobState>,
    launched: u64,
}

/// The errno of a status byte of a job or a copy.
pub(crate) fn status_errno(status: u8) -> Errno {
    if status >= CANCEL_BASE {
        return Errno::from_raw(u32::from(status - CANCEL_BASE)).unwrap_or(Errno::EFAULT);
    }
    match JobStatus::from_raw(u64::from(status)) {
        Some(JobStatus::Stopped) => Errno::ESRCH,
        Some(JobStatus::Killed) => Errno::EINTR,
        Some(JobStatus::Misaligned) => Errno::SIGBUS,
        Some(JobStatus::BadAddress) => Errno::EFAULT,
        Some(JobStatus::MemoryError) => Errno::EIO,
        Some(JobStatus::Illegal | JobStatus::Breakpoint | JobStatus::BadEntry) => Errno::EINVAL,
        Some(JobStatus::Ok) | None => Errno::EIO,
    }
}

/// The code with which a Cancel carries an errno to the job's end.
pub(crate) fn cancel_code(errno: Errno) -> u8 {
    u8::try_from(errno.raw())
        .ok()
        .and_then(|raw| raw.checked_add(CANCEL_BASE))
        .unwrap_or(CANCEL_BASE + 14)
}

impl Job {
    pub(crate) fn new(core: Arc<Core>, state: Arc<JobState>) -> Self {
        let launched = core.hw.clock.now();
        Self {
            core,
            state,
            launched,
        }
    }

    fn ended(&self) -> Option<JobEnd> {
        self.core.launcher.pump(&self.core);
        *self.state.end.lock()
    }

    /// Waits for the end; the result is the smallest `a0` of its threads.
    ///
    /// # Errors
    /// The errno of the page fault that could not be served (EFAULT, EPERM, ENOMEM, ...); ESRCH when the context
    /// was closed or its process ended; EINTR after [`Job::kill`]; EIO for a memory error or a lost device;
    /// EINVAL for an instruction that the device does not have; SIGBUS for a misaligned access; ETIMEDOUT when it
    /// ran longer than the configuration allows, not counting the time for which it was suspended (it is killed
    /// then). A suspended job does not end by itself: somebody else must resume or kill it.
    pub fn wait(&self) -> Result<u64, JobError> {
        let limit = self.core.config.timeouts.job;
        let over = || {
            let now = self.core.hw.clock.now();
            let held = self.state.hold.lock().cycles(now);
            limit.is_some_and(|limit| now - self.launched >= limit.saturating_add(held))
        };
        let health = &self.core.health;
        let mut next_look = self.core.hw.clock.now().saturating_add(health.look_every());
        let mut silent = 0;
        loop {
            if let Some(mut end) = self.ended() {
                if end.status == JobStatus::Ok as u8
                    && !health.is_lost()
                    && health.verify().is_err()
                {
                    // Something that it wrote, or read, may have been lost.
                    end = JobEnd::by_driver(JobStatus::MemoryError);
                    *self.state.end.lock() = Some(end);
                }
                return if end.status == JobStatus::Ok as u8 {
                    Ok(end.result)
                } else {
                    Err(JobError {
                        errno: status_errno(end.status),
                        addr: end.info,
                        status: end.status,
                    })
                };
            }
            let lost = JobError {
                errno: Errno::EIO,
                addr: 0,
                status: JobStatus::MemoryError as u8,
            };
            if health.verify().is_err() {
                return Err(lost);
            }
            if over() {
                let _ = self.kill();
                return Err(JobError {
                    errno: Errno::ETIMEDOUT,
                    addr: 0,
                    status: JobStatus::Killed as u8,
                });
            }
            let mut passed = self.core.hw.clock.pause();
            if passed.is_ok() && self.core.hw.clock.now() >= next_look {
                // A job may run as long as it likes, but a device that hangs must not look like one that works. One
                // answer may be lost on the way.
                let look = health.look();
                silent = if look.is_ok() { 0 } else { silent + 1 };
                if silent > SILENT_LOOKS {
                    passed = look;
                }
                next_look = self.core.hw.clock.now().saturating_add(health.look_every());
            }
            if let Err(error) = passed {
                health.lose(&DriverError::from(error));
                return Err(lost);
            }
        }
    }

    /// True once it has ended.
    pub fn done(&self) -> bool {
        self.ended().is_some() || self.core.health.is_lost()
    }

    /// Ends it; returns when none of its threads runs any more. A job that has ended already keeps its result.
    pub fn kill(&self) -> Result<(), DriverError> {
        self.core.launcher.kill(&self.core, &self.state)
    }

    /// Suspends it: returns when none of its threads does anything more, with every thread before an instruction
    /// and all that they did in memory. Faults of its accesses may still be served. It keeps its slot and
    /// its warps on the device until other jobs want them (see [`crate::DeviceConfig::slice`]). Suspending twice does
    /// nothing.
    ///
    /// # Errors
    /// ESRCH when it has ended. EIO when the device does not answer.
    pub fn suspend(&self) -> Result<(), DriverError> {
        self.core.launcher.hold(&self.core, &self.state, true)
    }

    /// Lets it go on where it was suspended. A job that is not suspended runs on.
    ///
    /// # Errors
    /// As [`Job::suspend`].
    pub fn resume(&self) -> Result<(), DriverError> {
        self.core.launcher.hold(&self.core, &self.state, false)
    }

    /// Its number, as in traces.
    pub fn id(&self) -> u32 {
        self.state.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_travel_through_cancel_codes() {
        for errno in [Errno::EPERM, Errno::EFAULT, Errno::ENOMEM, Errno::EHWPOISON] {
            assert_eq!(status_errno(cancel_code(errno)), errno);
        }
        assert_eq!(status_errno(cancel_code(Errno::SIGBUS)), Errno::EFAULT);
        assert_eq!(status_errno(JobStatus::Stopped as u8), Errno::ESRCH);
    }
}
