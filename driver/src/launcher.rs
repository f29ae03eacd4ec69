//! The launch ring and the jobs in it.
//!
//! No more jobs are handed to the device than it has job slots; the others wait here, new ones and those that were
//! saved to memory to make room. So a job in the ring is taken at once, and stopping a context never leaves an entry
//! behind that would start in its successor.

use crate::commands::CtxId;
use crate::core::Core;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::hw::{DmaAddr, Hardware, HwError};
use crate::job::{JobEnd, JobState};
use crate::ring::{Entries, RESTARTS};
use crate::slices::{Running, slice};
use hmm_core::sync::Mutex;
use hmmu_regs::{Completion, JobStatus, reg};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// The launch ring's bit in register STATUS that it has stopped.
const STOPPED: u64 = 1 << 10;

/// Value of every job's fence; its memory is zero before.
const FENCE: u64 = 1;

#[derive(Default)]
struct State {
    /// Entries since the ring's last reset.
    produced: u64,
    restarts: u32,
    /// Entries taken when the ring was last seen stopped.
    stopped_at: Option<u64>,
    next_id: u32,
    running: Vec<Running>,
    waiting: VecDeque<Arc<JobState>>,
    /// Contexts that are being stopped: a job of theirs that comes back has ended.
    stopping: BTreeSet<CtxId>,
}

impl State {
    fn take_waiting(&mut self, job: &Arc<JobState>) -> bool {
        let place = self.waiting.iter().position(|w| Arc::ptr_eq(w, job));
        place.and_then(|place| self.waiting.remove(place)).is_some()
    }
}

/// Hands jobs to the device and notes their ends.
pub(crate) struct Launcher {
    entries: Entries,
    log2: u32,
    job_slots: usize,
    /// Slots of the device.
    slots: u64,
    state: Mutex<State>,
}

impl Launcher {
    /// Sets up the ring.
    pub fn new(hw: &Hardware, log2: u32, job_slots: usize) -> Result<Self, DriverError> {
        let count = 1u64 << log2;
        let entries = Entries::new(hw, log2)?;
        hw.bar.write(reg::LAUNCH_BASE, entries.base().0)?;
        hw.bar.write(reg::LAUNCH_SIZE, u64::from(log2))?;
        let slots = job_slots as u64;
        let job_slots = job_slots.clamp(1, count as usize - 1);
        Ok(Self {
            entries,
            log2,
            job_slots,
            slots,
            state: Mutex::new(State::default()),
        })
    }

    /// A new job number.
    pub fn next_id(&self) -> u32 {
        let mut state = self.state.lock();
        state.next_id = state.next_id.wrapping_add(1);
        state.next_id
    }

    /// Memory for a job's completion.
    pub fn completion(core: &Core) -> Result<(DmaAddr, u64), DriverError> {
        Ok((core.hw.dma.alloc(Completion::BYTES as u64, 32)?, FENCE))
    }

    /// Gives a completion's memory back.
    pub fn free_completion(core: &Core, completion: DmaAddr) {
        core.hw.dma.free(completion, Completion::BYTES as u64);
    }

    /// Job slots of the device.
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// Calls `note`, against the handing out of jobs, and tells whether the job still waits here.
    pub fn if_waiting(&self, job: &Arc<JobState>, note: impl FnOnce()) -> bool {
        let state = self.state.lock();
        note();
        state
            .waiting
            .iter()
            .any(|waiting| Arc::ptr_eq(waiting, job))
    }

    /// Queues a job; [`Launcher::pump`] starts it.
    pub fn enqueue(&self, core: &Core, job: Arc<JobState>) {
        core.counters.add(Tick::Jobs, 1);
        self.state.lock().waiting.push_back(job);
    }

    /// Notes jobs that have ended or were saved, starts waiting ones, and has one saved when others wait for too long.
    /// Never waits for the device.
    pub fn pump(&self, core: &Core) {
        let mut ended = Vec::new();
        let mut saved = Vec::new();
        let mut state = self.state.lock();
        state.running.retain_mut(|running| {
            let job = &running.job;
            if let Some(end) = completed(core, job) {
                ended.push((Arc::clone(job), end));
                return false;
            }
            if running.saved(core) {
                saved.push(Arc::clone(&running.job));
                return false;
            }
            true
        });
        for job in saved {
            if state.stopping.contains(&job.ctx) {
                ended.push((job, JobEnd::by_driver(JobStatus::Stopped)));
            } else {
                state.waiting.push_back(job);
            }
        }
        let next = |state: &State| state.waiting.iter().position(|job| !job.hold.lock().on);
        while state.running.len() < self.job_slots && !core.health.is_lost() {
            let Some(job) = next(&state).and_then(|place| state.waiting.remove(place)) else {
                break;
            };
            let entry = job.launch_entry();
            if entry.restore() == 1 {
                core.trace("job_restore", &[("job", u64::from(job.id))]);
            }
            self.entries
                .put(&core.hw, state.produced, &entry.to_bytes());
            state.produced += 1;
            let doorbell = core
                .hw
                .bar
                .write(reg::LAUNCH_PROD, state.produced & 0xffff_ffff);
            state.running.push(Running::new(core, job));
            if let Err(error) = doorbell {
                core.health.lose(&error.into());
            }
        }
        let waiting = next(&state).is_some();
        slice(core, &mut state.running, waiting);
        drop(state);
        for (job, end) in ended {
            finish(core, &job, end);
        }
    }

    /// Starts the ring again when register STATUS, just read as `status`, says that it has stopped (an entry could
    /// not be read), and it was stopped at the same entry at the last look. Entries that were not taken are issued
    /// once more.
    pub fn restart(&self, core: &Core, status: u64) -> Result<(), HwError> {
        if status & STOPPED == 0 {
            return Ok(());
        }
        let (restarts, log2) = (self.state.lock().restarts, u64::from(self.log2));
        let taken = core.hw.bar.read(reg::LAUNCH_CONS)?;
        let mut state = self.state.lock();
        // Another thread may have started it while this one read the register.
        if state.restarts != restarts || restarts >= RESTARTS {
            return Ok(());
        }
        if state.stopped_at != Some(taken) {
            state.stopped_at = Some(taken);
            return Ok(());
        }
        state.restarts += 1;
        state.stopped_at = None;
        // The register has 32 bits.
        let left = state.produced.wrapping_sub(taken) & 0xffff_ffff;
        core.hw.bar.write(reg::LAUNCH_SIZE, log2)?;
        self.entries
            .rewind(&core.hw, state.produced - left, state.produced);
        state.produced = left;
        core.hw.bar.write(reg::LAUNCH_PROD, left)
    }

    /// Sets the ring up again after a reset of the device, when all contexts have been closed.
    pub fn rearm(&self, core: &Core) -> Result<(), HwError> {
        let mut state = self.state.lock();
        let running = std::mem::take(&mut state.running);
        for running in running {
            abandon(core, &running.job);
        }
        state.produced = 0;
        state.restarts = 0;
        state.stopped_at = None;
        let bar = &core.hw.bar;
        bar.write(reg::LAUNCH_BASE, self.entries.base().0)?;
        bar.write(reg::LAUNCH_SIZE, u64::from(self.log2))
    }

    /// Ends a job.
    pub fn kill(&self, core: &Core, job: &Arc<JobState>) -> Result<(), DriverError> {
        let deadline = core
            .hw
            .clock
            .now()
            .saturating_add(core.config.timeouts.command);
        loop {
            // One that was handed out may come back at any time, saved.
            if self.state.lock().take_waiting(job) {
                finish(core, job, JobEnd::by_driver(JobStatus::Killed));
                return Ok(());
            }
            self.pump(core);
            if job.end.lock().is_some() {
                return Ok(());
            }
            // The entry may not have been taken yet when the first command comes: ask again until it has ended.
            core.commands.kill_job(job.ctx, job.id)?;
            let mut left = 64;
            let now = || core.hw.clock.now();
            let ended = || {
                self.pump(core);
                left -= 1;
                job.end.lock().is_some() || left == 0 || now() >= deadline
            };
            core.health.wait(
                || format!("job {}", job.id),
                core.config.timeouts.command,
                ended,
            )?;
            if now() >= deadline && job.end.lock().is_none() {
                let error = DriverError::NoAnswer {
                    what: format!("job {}, which was killed,", job.id),
                    cycles: core.config.timeouts.command,
                };
                core.health.lose(&error);
                return Err(error);
            }
        }
    }

    /// Ends all jobs of a context that wait here. Those that run must be stopped by the device; [`Launcher::drain`]
    /// waits for them.
    pub fn drop_waiting(&self, core: &Core, ctx: CtxId) {
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        state.stopping.insert(ctx);
        state.waiting.retain(|job| {
            let keep = job.ctx != ctx;
            if !keep {
                dropped.push(Arc::clone(job));
            }
            keep
        });
        drop(state);
        for job in dropped {
            finish(core, &job, JobEnd::by_driver(JobStatus::Stopped));
        }
    }

    /// Waits until no job of a stopped context is in the device. When the device does not answer, its jobs end here.
    pub fn drain(&self, core: &Core, ctx: CtxId) -> Result<(), DriverError> {
        let waited = core.health.wait(
            || format!("the jobs of context {ctx}, which was stopped,"),
            core.config.timeouts.command,
            || {
                self.pump(core);
                let state = self.state.lock();
                state.running.iter().all(|running| running.job.ctx != ctx)
            },
        );
        if waited.is_err() {
            let mut gone = Vec::new();
            self.state.lock().running.retain(|running| {
                let keep = running.job.ctx != ctx;
                if !keep {
                    gone.push(Arc::clone(&running.job));
                }
                keep
            });
            for job in gone {
                abandon(core, &job);
            }
        }
        self.state.lock().stopping.remove(&ctx);
        waited
    }
}

/// Ends a job of a lost device.
fn abandon(core: &Core, job: &JobState) {
    // Unless the device was reset it may still write what it was given: that stays allocated.
    if core.health.is_quiet() {
        Launcher::free_completion(core, job.completion);
        if let Some(areas) = job.areas.lock().take() {
            areas.free(core);
        }
    }
    *job.end.lock() = Some(JobEnd::by_driver(JobStatus::MemoryError));
}

/// How a job that was handed out has ended, if it has.
fn completed(core: &Core, job: &JobState) -> Option<JobEnd> {
    let mut bytes = [0; Completion::BYTES];
    core.hw.dma.read(job.completion, &mut bytes);
    let completion = Completion::from_bytes(&bytes);
    (completion.value() == FENCE).then(|| JobEnd {
        result: completion.result(),
        status: completion.status() as u8,
        info: completion.info(),
    })
}

fn finish(core: &Core, job: &JobState, mut end: JobEnd) {
    if end.status == JobStatus::BadAddress as u8 && job.context.is_closed() {
        // Its context was stopped before the device had taken the entry.
        end.status = JobStatus::Stopped as u8;
    }
    core.trace(
        "job_end",
        &[
            ("job", u64::from(job.id)),
            ("status", u64::from(end.status)),
            ("info", end.info),
        ],
    );
    job.context.recycle(job.memory.clone());
    Launcher::free_completion(core, job.completion);
    if let Some(areas) = job.areas.lock().take() {
        areas.free(core);
    }
    *job.end.lock() = Some(end);
}
