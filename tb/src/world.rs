//! What one scenario runs on: the machine, the host's memory manager, the driver, the oracle.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hmm_core::{Mm, System, SystemConfig, Tracer};
use hmmu_driver::{Context, Device, DeviceConfig};

use crate::log::EventLog;
use crate::machine::{HostMark, HostState, Machine, MachineConfig, hardware};
use crate::oracle::{Mismatch, Oracle};

/// Choices for a run that are not the machine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outputs {
    /// Where events go.
    pub log: Option<PathBuf>,
    /// Where waves go (FST).
    pub wave: Option<PathBuf>,
}

/// A machine with everything on it.
pub struct World {
    /// The hardware.
    pub machine: Arc<Machine>,
    /// The memory manager.
    pub system: Arc<System>,
    /// The driver's device.
    pub device: Arc<Device>,
    /// What every byte must be.
    pub oracle: Oracle,
    free_at_start: u64,
    alive: Mutex<Vec<Arc<Mm>>>,
    open: Mutex<Vec<Arc<Context>>>,
    failure: Mutex<Option<String>>,
}

impl World {
    /// Builds the machine and probes the device. Must be called in a run.
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
        if let Some(path) = &outputs.wave {
            machine.open_wave(path).map_err(|error| error.to_string())?;
            log.listen(marker(Arc::downgrade(&machine)));
        }
        let memory = Arc::clone(machine.memory());
        let tracer: Arc<dyn Tracer> = Arc::clone(&log) as Arc<EventLog>;
        let system = System::new(
            SystemConfig::new(memory.ram_pages()),
            memory,
            Arc::clone(&tracer),
        );
        let free_at_start = system.free_pages();
        let driver = DeviceConfig { tracer, ..driver };
        let device = Device::probe(hardware(&machine), Arc::clone(&system), driver)
            .map_err(|error| format!("the driver cannot use the device: {error}"))?;
        Ok(Arc::new(Self {
            machine,
            system,
            device,
            oracle: Oracle::default(),
            free_at_start,
            alive: Mutex::default(),
            open: Mutex::default(),
            failure: Mutex::default(),
        }))
    }

    /// A new process.
    pub fn process(&self) -> Arc<Mm> {
        let mm = self.system.create_mm();
        self.oracle.process(mm.id());
        self.alive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&mm));
        mm
    }

    /// A process that a fork made.
    pub fn adopt(&self, mm: &Arc<Mm>) {
        self.alive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(mm));
    }

    /// Opens the device for a process.
    ///
    /// # Errors
    /// The driver's.
    pub fn open(&self, mm: &Arc<Mm>) -> Result<Arc<Context>, hmmu_driver::DriverError> {
        let context = self.device.open(mm)?;
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&context));
        Ok(context)
    }

    /// Notes what the oracle found wrong. The run fails even if the script goes on.
    pub fn fail(&self, mismatch: &Mismatch) -> String {
        let text = mismatch.to_string();
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| format!("{text} (cycle {})", self.machine.now()));
        text
    }

    /// The first thing that the oracle found wrong.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads all memory of all live processes through their CPUs and compares it with the oracle; checks what
    /// holds between operations.
    ///
    /// # Errors
    /// What is wrong.
    pub fn sweep(&self) -> Result<(), String> {
        self.system.check_invariants()?;
        let alive = self
            .alive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
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
        self.system.check_invariants()
    }

    /// Ends all processes, closes the device and checks that nothing was lost on the way.
    ///
    /// # Errors
    /// What is not as at the start.
    pub fn end(&self) -> Result<(), String> {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for context in open {
            // A device that is lost cannot answer; what matters is checked below.
            let _ = context.close();
        }
        let alive = std::mem::take(&mut *self.alive.lock().unwrap_or_else(PoisonError::into_inner));
        for mm in alive.iter().filter(|mm| mm.is_alive()) {
            mm.exit();
        }
        let lost = self.device.lost().is_some();
        self.device.shutdown();
        self.machine.log().unlisten();
        self.machine.log().flush()?;
        self.machine
            .close_wave()
            .map_err(|error| error.to_string())?;
        if lost {
            return Ok(());
        }
        self.system.check_invariants()?;
        let free = self.system.free_pages();
        if free != self.free_at_start {
            return Err(format!(
                "{} system pages at the start were free, {free} are at the end",
                self.free_at_start
            ));
        }
        Ok(())
    }
}

/// Shows in the waves what the driver says that it does.
fn marker(machine: Weak<Machine>) -> crate::log::Listener {
    let mark = Mutex::new(HostMark::default());
    Box::new(move |name, fields| {
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
        let mut mark = mark.lock().unwrap_or_else(PoisonError::into_inner);
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
            machine.mark(*mark);
        }
    })
}
