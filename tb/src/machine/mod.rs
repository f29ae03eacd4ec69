//! The machine: system memory, the bus with its devices, the clock, interrupts.
//!
//! Time is the devices' clock (one for all) and runs only while somebody waits ([`Machine::pause`] and the reads of the
//! device). Which host thread runs next is hmm-core's scheduler's choice. No lock of `std` is held while
//! another thread may run.

mod config;
mod device;
mod host;
#[cfg(feature = "rtl")]
mod host_waves;
mod hw;
mod link_log;
mod memory;
mod model;
mod paged;
#[cfg(feature = "rtl")]
mod rtl;
#[cfg(feature = "rtl")]
mod steps;
#[cfg(feature = "rtl")]
mod vram;
mod waves;

pub use config::{Backend, MAX_CYCLES, MAX_DEVICES, MachineConfig, PcieConfig};
pub use device::{Device, DeviceFailure, HostMark, HostState, Tlps};
pub use host::HostSide;
pub use hw::hardware;
pub use memory::SystemMemory;
#[cfg(feature = "rtl")]
pub use rtl::RtlDevice;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmm_core::sync;
use hmmu_driver::hw::HwError;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use crate::log::{EventLog, Now};
use crate::rc::{LinkBytes, ReadFault, Window};
use host::VECTORS;
use link_log::LinkLog;

/// A pause lasts 1..=16 cycles while the host is at work.
const SHORT_PAUSE: u64 = 16;
/// Longest pause, cycles, when only the device can make progress.
const LONG_PAUSE: u64 = 4096;
/// Pauses without any work of the host before they get longer.
const QUIET_PAUSES: u32 = 8;
/// Several devices take turns of this many cycles.
const QUANTUM: u64 = 16;

/// Why a build without the verilated device refuses it.
pub const NO_RTL: &str = "this hmmu was built without the RTL backend: use --backend model, or build it with the feature rtl";

/// A machine with its devices.
pub struct Machine {
    config: MachineConfig,
    now: Arc<Now>,
    log: Arc<EventLog>,
    memory: Arc<SystemMemory>,
    bus: Mutex<Bus>,
    lines: Vec<Line>,
    hung: Vec<AtomicBool>,
    aborted: AtomicBool,
    limit: AtomicU64,
}

struct Bus {
    slots: Vec<Slot>,
    rng: Pcg32,
    link_log: LinkLog,
    /// Work of the host as of the last pause, and pauses since it last changed.
    work: u64,
    own_work: u64,
    quiet: u32,
}

/// A device and the host as it sees it.
struct Slot {
    device: Box<dyn Device>,
    host: HostSide,
}

/// The interrupts of one device.
struct Line {
    interrupts: sync::Mutex<Interrupts>,
    raised: sync::Condvar,
    /// Raised since somebody last asked. For those that nobody waits for.
    seen: [AtomicBool; VECTORS],
}

struct Interrupts {
    pending: [bool; VECTORS],
    shutdown: bool,
}

impl Line {
    fn new() -> Self {
        Self {
            interrupts: sync::Mutex::new(Interrupts {
                pending: [false; VECTORS],
                shutdown: false,
            }),
            raised: sync::Condvar::new(),
            seen: Default::default(),
        }
    }

    fn raise(&self, raised: [bool; VECTORS]) {
        if !raised.contains(&true) {
            return;
        }
        for (seen, raised) in self.seen.iter().zip(raised) {
            seen.fetch_or(raised, Ordering::Relaxed);
        }
        let mut interrupts = self.interrupts.lock();
        for (pending, raised) in interrupts.pending.iter_mut().zip(raised) {
            *pending |= raised;
        }
        drop(interrupts);
        self.raised.notify_all();
    }
}

impl Bus {
    fn link_bytes(&self) -> LinkBytes {
        let mut sum = LinkBytes::default();
        for slot in &self.slots {
            let bytes = slot.device.link_bytes();
            sum.to_device += bytes.to_device;
            sum.to_host += bytes.to_host;
        }
        sum
    }

    /// Lets all devices run for up to `cycles`, fewer once one of them told the host something; they keep in
    /// step. Returns how many passed.
    fn run(&mut self, cycles: u64) -> Result<u64, DeviceFailure> {
        if let [slot] = &mut self.slots[..] {
            slot.host.clear_notice();
            return slot.device.run(cycles, &mut slot.host);
        }
        let mut ran = 0;
        let mut told = false;
        while ran < cycles && !told {
            let turn = QUANTUM.min(cycles - ran);
            for slot in &mut self.slots {
                let mut done = 0;
                while done < turn {
                    slot.host.clear_notice();
                    done += slot.device.run(turn - done, &mut slot.host)?;
                    told |= slot.host.noticed();
                }
            }
            ran += turn;
        }
        Ok(ran)
    }
}

impl Machine {
    /// Builds a machine. Must be called in the run whose threads use it.
    ///
    /// # Errors
    /// The configuration cannot be used, or this build lacks the device.
    pub fn new(config: MachineConfig) -> Result<Arc<Self>, String> {
        config.check()?;
        let now = Arc::new(Now::default());
        let memory = Arc::new(SystemMemory::new(config.ram));
        let log = Arc::new(EventLog::new(Arc::clone(&now)));
        let slot = |number| {
            let mut device = make_device(&config, &memory, number)?;
            device.attach(&log, number);
            let host = HostSide::new(Arc::clone(&memory));
            Ok(Slot { device, host })
        };
        let slots = (0..config.devices)
            .map(slot)
            .collect::<Result<Vec<_>, String>>()?;
        let bus = Bus {
            slots,
            rng: Pcg32::seed_from_u64(config.seed ^ 0x7061_7573),
            link_log: LinkLog::default(),
            work: 0,
            own_work: 0,
            quiet: 0,
        };
        Ok(Arc::new(Self {
            limit: AtomicU64::new(config.max_cycles),
            lines: (0..config.devices).map(|_| Line::new()).collect(),
            hung: (0..config.devices).map(|_| AtomicBool::default()).collect(),
            config,
            log,
            now,
            memory,
            bus: Mutex::new(bus),
            aborted: AtomicBool::new(false),
        }))
    }

    /// What it is made of.
    #[must_use]
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// The device clock, in cycles.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now.get()
    }

    /// The event log.
    #[must_use]
    pub fn log(&self) -> &Arc<EventLog> {
        &self.log
    }

    /// System memory.
    #[must_use]
    pub fn memory(&self) -> &Arc<SystemMemory> {
        &self.memory
    }

    /// Bytes over all links so far.
    #[must_use]
    pub fn link_bytes(&self) -> LinkBytes {
        self.bus().link_bytes()
    }

    /// Notes in the log what went over the links so far.
    pub fn note_link(&self) {
        let mut bus = self.bus();
        let bytes = bus.link_bytes();
        bus.link_log.note(&self.log, self.now(), bytes);
    }

    /// Lets one read to come of a device over the link fail.
    pub fn fail_read(&self, device: usize, fault: ReadFault) {
        if let Some(slot) = self.bus().slots.get_mut(device) {
            slot.device.fail_read(fault);
        }
    }

    /// What the TLPs of a device's link say; `None` if it has none (the functional model).
    pub fn tlps<T>(&self, device: usize, run: impl FnOnce(&mut dyn Tlps) -> T) -> Option<T> {
        let mut bus = self.bus();
        bus.slots.get_mut(device)?.device.tlps().map(run)
    }

    /// A device answers nothing any more.
    pub fn hang(&self, device: usize) {
        if let Some(hung) = self.hung.get(device) {
            hung.store(true, Ordering::Relaxed);
        }
        if let Some(slot) = self.bus().slots.get_mut(device) {
            slot.device.hang();
        }
    }

    /// Was it told to hang?
    #[must_use]
    pub fn is_hung(&self, device: usize) -> bool {
        self.hung
            .get(device)
            .is_some_and(|hung| hung.load(Ordering::Relaxed))
    }

    /// Errors that the port above a device has logged.
    #[must_use]
    pub fn port_errors(&self, device: usize) -> u64 {
        let bus = self.bus();
        bus.slots
            .get(device)
            .map_or(0, |slot| slot.host.port_errors())
    }

    /// Is a device there? False once it was taken out.
    #[must_use]
    pub fn present(&self, device: usize) -> bool {
        let bus = self.bus();
        bus.slots.get(device).is_some_and(|slot| !slot.host.gone())
    }

    /// Resets a device over its link. One that was told to hang stays so.
    ///
    /// # Errors
    /// The simulation failed, or the device does not hear it.
    pub fn reset(&self, device: usize) -> Result<(), HwError> {
        if self.is_hung(device) || !self.present(device) {
            return Err(HwError::Refused {
                what: "the link's reset".to_owned(),
            });
        }
        let mut bus = self.bus();
        bus.own_work += 1;
        let slot = bus.slots.get_mut(device).ok_or_else(|| no_device(device))?;
        let Slot { device, host } = slot;
        device
            .reset(host)
            .map_err(|failure| HwError::Model(failure.0))
    }

    /// Shows in the waves what the driver of a device does.
    pub fn mark(&self, device: usize, mark: HostMark) {
        if let Some(slot) = self.bus().slots.get_mut(device) {
            slot.device.mark(mark);
        }
    }

    /// Ends every wait of this run with an error.
    pub fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
    }

    /// Waits work again.
    pub fn resume(&self) {
        self.aborted.store(false, Ordering::Relaxed);
    }

    /// Has the cycle limit been reached?
    #[must_use]
    pub fn over_limit(&self) -> bool {
        self.now() >= self.limit.load(Ordering::Relaxed)
    }

    /// Takes the cycle limit away, so that a run that has hit it can look at the device and clean up.
    pub fn lift_limit(&self) {
        self.limit.store(u64::MAX, Ordering::Relaxed);
    }

    /// Lets some cycles pass and other threads run.
    ///
    /// # Errors
    /// The cycle limit is reached, the run was aborted, or the simulation failed.
    pub fn pause(&self) -> Result<(), HwError> {
        if self.aborted.load(Ordering::Relaxed) {
            return Err(HwError::Model("the run was aborted".into()));
        }
        if self.over_limit() {
            return Err(HwError::Model(format!(
                "cycle limit of {} cycles reached",
                self.config.max_cycles
            )));
        }
        let cycles = self.next_pause();
        self.run(cycles)?;
        sync::yield_now();
        Ok(())
    }

    /// Waits until `cycles` more have passed.
    ///
    /// # Errors
    /// As [`Machine::pause`].
    pub fn wait(&self, cycles: u64) -> Result<(), HwError> {
        let end = self.now().saturating_add(cycles);
        while self.now() < end {
            if self.aborted.load(Ordering::Relaxed) || self.over_limit() {
                return self.pause();
            }
            let cycles = self.next_pause().min(end - self.now());
            self.run(cycles)?;
            sync::yield_now();
        }
        Ok(())
    }

    /// How long the next pause is: short while the host works, longer and longer while only the device does.
    fn next_pause(&self) -> u64 {
        let mut bus = self.bus();
        let work = self.memory.touches() + self.log.events() + bus.own_work;
        if work == bus.work {
            bus.quiet = bus.quiet.saturating_add(1);
        } else {
            bus.work = work;
            bus.quiet = 0;
        }
        let growth = bus.quiet.saturating_sub(QUIET_PAUSES).min(12);
        let most = (SHORT_PAUSE << growth).min(LONG_PAUSE);
        bus.rng.random_range(1..=most)
    }

    /// Lets the devices run for up to `cycles`, and delivers their interrupts.
    fn run(&self, cycles: u64) -> Result<(), HwError> {
        let (result, raised) = {
            let mut bus = self.bus();
            let result = bus.run(cycles);
            if let Ok(ran) = &result {
                self.now.advance(*ran);
                if bus.link_log.due(self.now()) {
                    let bytes = bus.link_bytes();
                    bus.link_log.note(&self.log, self.now(), bytes);
                }
            }
            let raised = bus.slots.iter_mut().map(|slot| slot.host.take_raised());
            (result, raised.collect::<Vec<_>>())
        };
        for (number, (line, raised)) in self.lines.iter().zip(raised).enumerate() {
            self.note_interrupts(number, raised);
            line.raise(raised);
        }
        result
            .map(|_| ())
            .map_err(|failure| HwError::Model(failure.0))
    }

    fn note_interrupts(&self, device: usize, raised: [bool; VECTORS]) {
        for vector in (0..VECTORS).filter(|vector| raised[*vector]) {
            let mut fields = vec![("vector", vector as u64)];
            if device > 0 {
                fields.push((EventLog::DEVICE, device as u64));
            }
            self.log.step(self.now(), "interrupt", &fields);
        }
    }

    fn post(&self, device: usize, window: Window, offset: u64, data: &[u8]) -> Result<(), HwError> {
        let mut bus = self.bus();
        bus.own_work += 1;
        let slot = bus.slots.get_mut(device).ok_or_else(|| no_device(device))?;
        slot.host.post(window, offset, data);
        Ok(())
    }

    fn read(
        &self,
        device: usize,
        window: Window,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(), HwError> {
        let what = || match window {
            Window::Registers => format!("register {offset:#06x}"),
            Window::Vram => format!("VRAM {offset:#x}"),
        };
        let id = {
            let mut bus = self.bus();
            bus.own_work += 1;
            let slot = bus.slots.get_mut(device).ok_or_else(|| no_device(device))?;
            slot.host.ask(window, offset, buf.len())
        };
        let start = self.now();
        loop {
            let answer = self
                .bus()
                .slots
                .get_mut(device)
                .and_then(|slot| slot.host.answer(id));
            if let Some(answer) = answer {
                let data = answer.map_err(|_| HwError::Refused { what: what() })?;
                buf.copy_from_slice(&data);
                return Ok(());
            }
            let waited = self.now() - start;
            if waited >= self.config.read_timeout {
                return Err(HwError::Timeout {
                    what: what(),
                    cycles: waited,
                });
            }
            let cycles = self.bus().rng.random_range(1..=SHORT_PAUSE);
            self.run(cycles)?;
            sync::yield_now();
        }
    }

    fn bus(&self) -> MutexGuard<'_, Bus> {
        self.bus.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_device(device: usize) -> HwError {
    HwError::Model(format!("the machine has no device {device}"))
}

/// A device of this configuration out of reset.
///
/// # Errors
/// This build lacks it, or its simulation stopped.
pub fn make_device(
    config: &MachineConfig,
    memory: &Arc<SystemMemory>,
    device: usize,
) -> Result<Box<dyn Device>, String> {
    match config.backend {
        Backend::Model => Ok(Box::new(model::ModelDevice::new(config, memory, device))),
        #[cfg(feature = "rtl")]
        Backend::Rtl => Ok(Box::new(rtl::RtlDevice::new(config, device)?)),
        #[cfg(not(feature = "rtl"))]
        Backend::Rtl => Err(NO_RTL.into()),
    }
}
