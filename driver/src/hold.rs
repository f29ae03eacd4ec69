//! Suspending jobs and letting them go on.
//!
//! What is asked for is noted with the job first, then the device is told. Whoever has told it something looks at
//! the note again, so that of several callers at once the last one is heard.

use crate::core::Core;
use crate::error::DriverError;
use crate::health::Health;
use crate::hw::Hardware;
use crate::job::JobState;
use crate::launcher::Launcher;
use hmm_core::Errno;
use hmmu_regs::reg;
use std::sync::Arc;

/// Whether a job is to be held, and for how long it was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hold {
    /// Suspended, and not resumed since.
    pub on: bool,
    since: u64,
    total: u64,
}

impl Hold {
    fn set(&mut self, on: bool, now: u64) {
        if on && !self.on {
            self.since = now;
        }
        if !on && self.on {
            self.total += now.saturating_sub(self.since);
        }
        self.on = on;
    }

    /// Cycles for which the job was held until `now`.
    pub fn cycles(&self, now: u64) -> u64 {
        let open = if self.on {
            now.saturating_sub(self.since)
        } else {
            0
        };
        self.total + open
    }
}

/// Bits of register JOB_STATE.
const TAKEN: u64 = 1 << 32;
const HELD: u64 = 1 << 33;

/// Is the job in a slot of the device, and held there?
fn is_held(hw: &Hardware, slots: u64, id: u32) -> Result<bool, DriverError> {
    for slot in 0..slots {
        let state = hw.bar.read(reg::JOB_STATE + 8 * slot)?;
        if state & 0xffff_ffff == u64::from(id) && state & TAKEN != 0 {
            return Ok(state & HELD != 0);
        }
    }
    Ok(false)
}

fn gone() -> DriverError {
    DriverError::errno_of(Errno::ESRCH, "suspend or resume of a job that has ended")
}

impl Launcher {
    /// Holds a job (`on`) or lets it go on.
    pub fn hold(&self, core: &Core, job: &Arc<JobState>, on: bool) -> Result<(), DriverError> {
        self.pump(core);
        if job.end.lock().is_some() {
            return Err(gone());
        }
        core.health.check()?;
        let fields = [("job", u64::from(job.id)), ("on", u64::from(on))];
        core.trace("hold", &fields);
        // A job that waits here is not handed out while its note says so: nothing to tell the device.
        let waits = self.if_waiting(job, || job.hold.lock().set(on, core.hw.clock.now()));
        if waits {
            self.pump(core);
            return Ok(());
        }
        loop {
            let want = job.hold.lock().on;
            if want {
                self.hold_on_device(core, job)?;
            } else {
                core.commands.resume_job(job.ctx, job.id)?;
            }
            if job.hold.lock().on == want {
                break;
            }
        }
        if job.end.lock().is_some() {
            return Err(gone());
        }
        Ok(())
    }

    /// Returns when the device holds the job, or has saved it (it is not handed out again as long as it is to be held),
    /// or it has ended.
    fn hold_on_device(&self, core: &Core, job: &Arc<JobState>) -> Result<(), DriverError> {
        let limit = core.config.timeouts.command;
        let now = || core.hw.clock.now();
        let deadline = now().saturating_add(limit);
        loop {
            core.commands.suspend_job(job.ctx, job.id)?;
            if is_held(&core.hw, self.slots(), job.id)? {
                return Ok(());
            }
            // It has ended in this moment, or was saved, or its entry was not taken yet: then it is asked for again.
            let mut left = 64;
            let away = || job.end.lock().is_some() || self.if_waiting(job, || {});
            let health: &Health = &core.health;
            health.wait(
                || format!("job {}", job.id),
                limit,
                || {
                    self.pump(core);
                    left -= 1;
                    away() || left == 0 || now() >= deadline
                },
            )?;
            if away() {
                return Ok(());
            }
            if now() >= deadline {
                let error = DriverError::NoAnswer {
                    what: format!("job {}, which was suspended,", job.id),
                    cycles: limit,
                };
                health.lose(&error);
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_a_job_is_held_adds_up() {
        let mut hold = Hold::default();
        hold.set(true, 100);
        hold.set(true, 150);
        assert_eq!(hold.cycles(160), 60);
        hold.set(false, 200);
        hold.set(false, 300);
        assert_eq!(hold.cycles(400), 100);
        hold.set(true, 500);
        assert_eq!(hold.cycles(501), 101);
    }
}
