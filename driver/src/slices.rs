//! Time slices: when jobs want more slots or warps than the device has, one that had its time is saved to memory and
//! goes on later, wherever there is room.
//!
//! Nobody waits for a save here. It is asked for, and a later look at memory finds it done; meanwhile the job counts
//! as running. A job that ends just then is not found by the device, and its area stays void.

use crate::core::Core;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::hw::DmaAddr;
use crate::job::JobState;
use crate::ring::Index;
use hmmu_regs::{FORMAT_VERSION, JobSave, LaunchEntry, ThreadRegs, ThreadSave};
use std::sync::Arc;

/// Memory for the state of one job: two areas, used in turn, because the device may still be reading one of them when
/// the job is saved again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SaveAreas {
    at: DmaAddr,
    /// Of each.
    bytes: u64,
    /// The one that is written next.
    next: u64,
    /// The state is in the other one.
    full: bool,
}

impl SaveAreas {
    fn new(core: &Core, places: u64) -> Result<Self, DriverError> {
        let header = LaunchEntry::BYTES + JobSave::BYTES;
        let record = ThreadSave::BYTES + ThreadRegs::BYTES;
        let bytes = header as u64 + places * record as u64;
        Ok(Self {
            at: core.hw.dma.alloc(2 * bytes, 64)?,
            bytes,
            next: 0,
            full: false,
        })
    }

    fn area(&self, number: u64) -> DmaAddr {
        DmaAddr(self.at.0 + number * self.bytes)
    }

    fn head(&self) -> DmaAddr {
        DmaAddr(self.area(self.next).0 + LaunchEntry::BYTES as u64)
    }

    /// Makes the next area void.
    fn clear(&self, core: &Core) {
        core.hw.dma.write(self.head(), &[0; JobSave::BYTES]);
    }

    /// What the device has written to the next area, if it has written it all.
    fn written(&self, core: &Core) -> Option<JobSave> {
        let mut bytes = [0; JobSave::BYTES];
        core.hw.dma.read(self.head(), &mut bytes);
        Some(JobSave::from_bytes(&bytes)).filter(|save| save.version() == FORMAT_VERSION)
    }

    fn turn(&mut self) {
        self.next ^= 1;
        self.full = true;
    }

    /// Gives the memory back. The device must have forgotten the job.
    pub fn free(self, core: &Core) {
        core.hw.dma.free(self.at, 2 * self.bytes);
    }
}

/// A job that was handed to the device.
pub(crate) struct Running {
    pub job: Arc<JobState>,
    /// When it was.
    since: u64,
    saving: Option<Saving>,
}

/// A save that was asked for.
struct Saving {
    fence: Index,
    since: u64,
}

impl Running {
    /// A job that is handed out now.
    pub fn new(core: &Core, job: Arc<JobState>) -> Self {
        Self {
            job,
            since: core.hw.clock.now(),
            saving: None,
        }
    }

    /// True when the job's state has come to memory: the device does not have it any more.
    pub fn saved(&mut self, core: &Core) -> bool {
        let Some(saving) = &self.saving else {
            return false;
        };
        let now = core.hw.clock.now();
        if !core.commands.completed(saving.fence) {
            let limit = core.config.timeouts.command;
            if now.saturating_sub(saving.since) > limit {
                core.health.lose(&DriverError::NoAnswer {
                    what: format!("job {}, which was to be saved,", self.job.id),
                    cycles: limit,
                });
            }
            return false;
        }
        let asked = saving.since;
        self.saving = None;
        self.since = now;
        let mut areas = self.job.areas.lock();
        let Some((areas, save)) = areas
            .as_mut()
            .and_then(|areas| areas.written(core).map(|save| (areas, save)))
        else {
            // It has ended, or the device had not taken it yet.
            return false;
        };
        areas.turn();
        core.counters.add(Tick::JobSaves, 1);
        let fields = [
            ("job", u64::from(self.job.id)),
            ("threads", save.records()),
            ("cycles", now - asked),
        ];
        core.trace("job_save", &fields);
        true
    }

    fn save(&mut self, core: &Core) {
        let mut areas = self.job.areas.lock();
        let areas = match &mut *areas {
            Some(areas) => areas,
            // Without memory for it the job just runs on.
            none => match SaveAreas::new(core, self.job.places) {
                Ok(made) => none.insert(made),
                Err(_) => return,
            },
        };
        areas.clear(core);
        let area = areas.area(areas.next);
        match core.commands.try_save_job(self.job.ctx, self.job.id, area) {
            Ok(Some(fence)) => {
                self.saving = Some(Saving {
                    fence,
                    since: core.hw.clock.now(),
                });
            }
            // A full ring: another time.
            Ok(None) => {}
            Err(error) => core.health.lose(&error),
        }
    }
}

impl JobState {
    /// What to put in the launch ring: the job as it was launched, or where it stands.
    pub fn launch_entry(&self) -> LaunchEntry {
        let areas = self.areas.lock();
        match areas.as_ref().filter(|areas| areas.full) {
            None => self.entry,
            Some(areas) => LaunchEntry::default()
                .with_version(FORMAT_VERSION)
                .with_restore(1)
                .with_arg(areas.area(areas.next ^ 1).0),
        }
    }
}

/// Asks for the state of a job that others wait for, if one has had its time: first of those that are suspended, then
/// of the one that has run longest. `waiting`: a job could run if it had a slot.
pub(crate) fn slice(core: &Core, running: &mut [Running], waiting: bool) {
    let Some(slice) = core.config.slice else {
        return;
    };
    let wanted: u64 = running.iter().map(|running| running.job.places).sum();
    let enough = !waiting && wanted <= core.warps;
    if enough || core.health.is_lost() || running.iter().any(|r| r.saving.is_some()) {
        return;
    }
    let now = core.hw.clock.now();
    let runs = |running: &Running| !running.job.hold.lock().on;
    let victim = running
        .iter_mut()
        .map(|running| (runs(running), running))
        .filter(|(runs, running)| !runs || now.saturating_sub(running.since) >= slice)
        .min_by_key(|(runs, running)| (*runs, running.since));
    if let Some((_, running)) = victim {
        running.save(core);
    }
}
