//! What one scenario runs on: the machine, the host's memory manager, the driver, the oracle.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hmm_core::{Mm, System, SystemConfig, Tracer};
use hmmu_driver::{Context, Device, DeviceConfig};

use crate::log::EventLog;
use crate::machine::{HostMark, HostState, Machine, MachineConfig, hardware};
use crate::oracle::{Mismatch, Oracle};
use crate::outputs::write_json;
use crate::trace::timeline;
use crate::trail::Trail;
use crate::wave::{Recording, Watch};

/// Choices for a run that are not the machine's.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// Where events go.
    pub log: Option<PathBuf>,
    /// What is recorded of the first device.
    pub wave: Option<Recording>,
    /// An event to look for.
    pub watch: Option<Watch>,
    /// Where the timeline goes.
    pub timeline: Option<PathBuf>,
    /// Where the run leaves its events.
    pub trail: Option<Trail>,
    /// Nothing that a script prints is shown.
    pub quiet: bool,
    /// Leave out the check of the rules after every call of a script; those at its end stay.
    pub no_checks: bool,
}

/// A machine with everything on it.
pub struct World {
    /// The hardware.
    pub machine: Arc<Machine>,
    /// The memory manager.
    pub system: Arc<System>,
    /// The driver's devices, at least one, by their numbers.
    pub devices: Vec<Arc<Device>>,
    /// What every byte must be.
    pub oracle: Oracle,
    start: Baseline,
    checks: bool,
    outputs: Outputs,
    alive: Mutex<Vec<Arc<Mm>>>,
    /// Contexts and the numbers of their devices.
    open: Mutex<Vec<(usize, Arc<Context>)>>,
    failure: Mutex<Option<String>>,
    failed_at: Mutex<Option<u64>>,
}

/// What must be again as it was once everybody is gone.
struct Baseline {
    /// Free system pages.
    free: u64,
    /// By device, pages of its memory in use.
    vram: Vec<u64>,
}

impl World {
    /// Builds the machine and probes its devices. Must be called in a run. `driver` is meant for all of them, but
    /// for its tracer, its owner and the kind of its memory.
    ///
    /// # Errors
    /// One line that says what cannot be used or does not work.
    pub fn new(
        config: MachineConfig,
        outputs: &Outputs,
        driver: DeviceConfig,
    ) -> Result<Arc<Self>, String> {
        let machine = Machine::new(config)?;
        let log = Arc::clone(machine.log());
        if let Some(path) = &outputs.log {
            log.open(path)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        if let Some(recording) = &outputs.wave {
            machine
                .open_wave(recording)
                .map_err(|error| error.to_string())?;
            log.listen(marker(Arc::downgrade(&machine)));
        }
        if let Some(watch) = &outputs.watch {
            log.watch(watch.clone());
        }
        if outputs.timeline.is_some() || outputs.trail.is_some() {
            log.keep();
        }
        let memory = Arc::clone(machine.memory());
        let tracer: Arc<dyn Tracer> = log;
        let system = System::new(SystemConfig::new(memory.ram_pages()), memory, tracer);
        let free = system.free_pages();
        let devices = probe(&machine, &system, &driver)?;
        let start = Baseline {
            free,
            vram: devices.iter().map(|device| device.vram_in_use()).collect(),
        };
        Ok(Arc::new(Self {
            machine,
            system,
            devices,
            oracle: Oracle::default(),
            start,
            checks: !outputs.no_checks,
            outputs: outputs.clone(),
            alive: Mutex::default(),
            open: Mutex::default(),
            failure: Mutex::default(),
            failed_at: Mutex::default(),
        }))
    }

    /// The first device.
    #[must_use]
    pub fn device(&self) -> &Arc<Device> {
        &self.devices[0]
    }

    /// The first device that was given up, and why.
    #[must_use]
    pub fn lost(&self) -> Option<(usize, hmmu_driver::DriverError)> {
        self.devices
            .iter()
            .enumerate()
            .find_map(|(number, device)| device.lost().map(|error| (number, error)))
    }

    /// A new process.
    pub fn process(&self) -> Arc<Mm> {
        let mm = self.system.create_mm();
        self.oracle.process(mm.id());
        lock(&self.alive).push(Arc::clone(&mm));
        mm
    }

    /// A process that a fork made.
    pub fn adopt(&self, mm: &Arc<Mm>) {
        lock(&self.alive).push(Arc::clone(mm));
    }

    /// Opens a device for a process.
    ///
    /// # Errors
    /// The driver's; that of a lost device for one that the machine does not have.
    pub fn open(
        &self,
        device: usize,
        mm: &Arc<Mm>,
    ) -> Result<Arc<Context>, hmmu_driver::DriverError> {
        let number = device;
        let device = self.devices.get(number).ok_or_else(|| {
            hmmu_driver::DriverError::Lost(format!("there is no device {number}"))
        })?;
        let context = device.open(mm)?;
        let mut open = lock(&self.open);
        open.push((number, Arc::clone(&context)));
        Ok(context)
    }

    /// Checks the rules that always hold, after a call of a script. The run fails even if the script goes on.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, call: &str) -> Result<(), String> {
        if !self.checks {
            return Ok(());
        }
        let checked = self.check_rules();
        if let Err(text) = &checked {
            self.note_failure(format!("after {call}: {text}"));
        }
        checked
    }

    fn check_rules(&self) -> Result<(), String> {
        self.system.check_invariants()?;
        let open = lock(&self.open).clone();
        for (number, context) in open {
            if self.devices[number].lost().is_none() {
                context
                    .check_mirror()
                    .map_err(|text| format!("device {number}: {text}"))?;
            }
        }
        Ok(())
    }

    /// The run has failed, by now. The first moment counts.
    pub fn failed(&self) {
        let now = self.machine.failed_at().unwrap_or(self.machine.now());
        let mut failed_at = lock(&self.failed_at);
        let cycle = *failed_at.get_or_insert(now);
        if let Some(watch) = &self.outputs.watch {
            watch.failed(cycle);
        }
        if let Some(recording) = &self.outputs.wave {
            recording.notes().failed = Some(cycle);
        }
    }

    /// The cycle in which it failed.
    #[must_use]
    pub fn failed_at(&self) -> Option<u64> {
        *lock(&self.failed_at)
    }

    fn note_failure(&self, text: String) {
        self.failed();
        let mut failure = lock(&self.failure);
        failure.get_or_insert_with(|| format!("{text} (cycle {})", self.machine.now()));
    }

    /// Notes what the oracle found wrong. The run fails even if the script goes on.
    pub fn fail(&self, mismatch: &Mismatch) -> String {
        let text = mismatch.to_string();
        self.note_failure(text.clone());
        text
    }

    /// The first thing that the oracle found wrong.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// Reads all memory of all live processes through their CPUs and compares it with the oracle; checks what
    /// holds between operations.
    ///
    /// # Errors
    /// What is wrong.
    pub fn sweep(&self) -> Result<(), String> {
        self.check_rules()?;
        let alive = lock(&self.alive).clone();
        for mm in alive.iter().filter(|mm| mm.is_alive()) {
            for (start, len) in self.oracle.mapped(mm.id()) {
                for addr in (start..start + len).step_by(4096) {
                    let mut page = [0; 4096];
                    let ticket = self.oracle.begin_read(mm.id(), addr, 4096);
                    if mm.load(hmm_core::Va(addr), &mut page).is_err() {
                        // Memory that may not be read (or is lost, which the scripts' own reads find).
                        self.oracle.abandon(ticket);
                        continue;
                    }
                    self.oracle
                        .end_read(ticket, &page)
                        .map_err(|mismatch| format!("final sweep: {mismatch}"))?;
                }
            }
        }
        self.check_rules()
    }

    /// Ends all processes, closes the device and checks that nothing was lost on the way.
    ///
    /// # Errors
    /// What is not as at the start.
    pub fn end(&self) -> Result<(), String> {
        let open = std::mem::take(&mut *lock(&self.open));
        for (_, context) in open {
            // A device that is lost cannot answer; what matters is checked below.
            let _ = context.close();
        }
        let alive = std::mem::take(&mut *lock(&self.alive));
        for mm in alive.iter().filter(|mm| mm.is_alive()) {
            mm.exit();
        }
        let lost = self.lost().is_some();
        let vram: Vec<u64> = self
            .devices
            .iter()
            .map(|device| device.vram_in_use())
            .collect();
        for device in &self.devices {
            device.shutdown();
        }
        self.machine.log().unlisten();
        self.machine.note_link();
        self.machine.log().flush()?;
        self.write_traces()?;
        // What a device that does not answer may still write to is kept from others; nothing is from one that is gone.
        let mut given_up = self.devices.iter().enumerate();
        if given_up.any(|(n, device)| device.lost().is_some() && self.machine.present(n)) {
            return Ok(());
        }
        self.system.check_invariants()?;
        self.check_memory(&alive)?;
        if lost {
            return Ok(());
        }
        for (device, (before, after)) in self.start.vram.iter().zip(&vram).enumerate() {
            if before != after {
                return Err(format!(
                    "{before} pages of the memory of device {device} were in use at the start, {after} are at the end"
                ));
            }
        }
        Ok(())
    }
}

impl World {
    fn write_traces(&self) -> Result<(), String> {
        let machine = &self.machine;
        let events = machine.log().take();
        if let Some(path) = &self.outputs.timeline {
            let time = machine.wave_time();
            let clock_hz = machine.config().clock_hz;
            write_json(Some(path), || {
                timeline(&events, clock_hz, &|cycle| time.find(cycle))
            })?;
        }
        if let Some(recording) = &self.outputs.wave {
            let mut notes = recording.notes();
            notes.time = machine.wave_time();
            notes.ended = machine.now();
        }
        if let Some(trail) = &self.outputs.trail {
            trail.leave(machine.config(), events);
        }
        machine.close_wave().map_err(|error| error.to_string())
    }

    /// Everybody is gone: is their memory?
    fn check_memory(&self, processes: &[Arc<Mm>]) -> Result<(), String> {
        let system = &self.system;
        let (free, poisoned) = (system.free_pages(), system.poisoned_pages());
        if free + poisoned != self.start.free {
            return Err(format!(
                "{} system pages at the start were free, {free} are at the end, and {poisoned} are lost",
                self.start.free
            ));
        }
        let swapped = system.swapped_pages();
        if swapped != 0 {
            return Err(format!(
                "{swapped} pages of swap space are in use at the end"
            ));
        }
        let charged = processes.iter().find(|mm| mm.memcg().charged() != 0);
        if let Some(mm) = charged {
            return Err(format!(
                "the control group of process {} is charged {} pages at the end",
                mm.id(),
                mm.memcg().charged()
            ));
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Probes all devices of a machine.
fn probe(
    machine: &Arc<Machine>,
    system: &Arc<System>,
    driver: &DeviceConfig,
) -> Result<Vec<Arc<Device>>, String> {
    let mut devices: Vec<Arc<Device>> = Vec::new();
    for number in 0..machine.config().devices {
        let config = DeviceConfig {
            owner: number as u64 + 1,
            coherent: machine.config().coherent,
            slice: Some(machine.config().slice).filter(|slice| *slice > 0),
            tracer: tracer(machine.log(), number),
            ..driver.clone()
        };
        match Device::probe(hardware(machine, number), Arc::clone(system), config) {
            Ok(device) => devices.push(device),
            Err(error) => {
                for device in devices {
                    device.shutdown();
                }
                return Err(format!("the driver cannot use device {number}: {error}"));
            }
        }
    }
    Ok(devices)
}

/// The log as the driver of a device writes to it: the events of all but the first device tell their number.
fn tracer(log: &Arc<EventLog>, device: usize) -> Arc<dyn Tracer> {
    if device == 0 {
        return Arc::clone(log) as Arc<dyn Tracer>;
    }
    Arc::new(DeviceTracer {
        log: Arc::clone(log),
        device: device as u64,
    })
}

struct DeviceTracer {
    log: Arc<EventLog>,
    device: u64,
}

impl Tracer for DeviceTracer {
    fn event(&self, name: &'static str, fields: &[(&'static str, u64)]) {
        let mut all = fields.to_vec();
        all.push((EventLog::DEVICE, self.device));
        self.log.event(name, &all);
    }
}

/// Shows in the waves what the driver says that it does.
fn marker(machine: Weak<Machine>) -> crate::log::Listener {
    let mark = Mutex::new(HostMark::default());
    Box::new(move |name, fields| {
        // Waves are those of the first device.
        if fields.iter().any(|(name, _)| *name == EventLog::DEVICE) {
            return;
        }
        let state = match name {
            "fault" => HostState::FaultFetch,
            "map" => HostState::MapPages,
            "migrate_to_device" | "migrate_to_system" | "cpu_fault" => HostState::Migrate,
            "invalidate" => HostState::Invalidate,
            "fault_cancel" => HostState::Cancel,
            "launch" => HostState::Launch,
            "copy" => HostState::Copy,
            "invalidate_done" | "job_end" => HostState::Idle,
            _ => return,
        };
        let field = |wanted: &str| {
            fields
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| *value)
        };
        let mut mark = lock(&mark);
        mark.state = state;
        if let Some(addr) = field("addr").or_else(|| field("start")) {
            mark.page = addr >> 12;
        }
        if name == "fault"
            && let Some(id) = field("id")
        {
            mark.fault = id as u32;
        }
        if let Some(machine) = machine.upgrade() {
            machine.mark(0, *mark);
        }
    })
}
