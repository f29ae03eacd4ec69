//! A host without an operating system: rings, commands and jobs of one device, and nothing else.

use std::sync::Arc;

use hmmu_regs::{
    Completion, CopyEntry, Counter, CtrlEntry, CtrlOp, CtxMode, FORMAT_VERSION, FaultRecord,
    JobStatus, LaunchEntry, reg,
};
use thiserror::Error;

use super::counts::Counts;
use crate::machine::{Device, HostSide, MachineConfig, SystemMemory, make_device};
use crate::rc::Window;

/// Entries of each ring (log2).
const RING_LOG2: u64 = 8;
const RING: u64 = 1 << RING_LOG2;
/// Bytes from one fence to the next: a completion.
const FENCE_BYTES: u64 = Completion::BYTES as u64;
/// An answer of the device, or the end of a command, takes no longer.
const PATIENCE: u64 = 200_000;

/// Why a measurement has no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BenchError {
    /// What was asked for cannot be had.
    #[error("{0}")]
    Unusable(String),
    /// It went wrong.
    #[error("{0}")]
    Failed(String),
}

impl BenchError {
    /// The same, with what was being done.
    #[must_use]
    pub fn during(self, what: &str) -> Self {
        match self {
            Self::Unusable(text) => Self::Unusable(format!("{what}: {text}")),
            Self::Failed(text) => Self::Failed(format!("{what}: {text}")),
        }
    }
}

/// What a device holds, by its register CAPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Compute units.
    pub units: u64,
    /// Hardware warps of each.
    pub warps: u64,
    /// Walks in flight at most.
    pub walkers: u64,
    /// Faults parked at most.
    pub faults: u64,
    /// Copy channels.
    pub channels: u64,
    /// Sets of the L2 TLB.
    pub l2_sets: u64,
}

impl Caps {
    fn new(word: u64) -> Self {
        let byte = |lsb: u32| word >> lsb & 0xff;
        Self {
            units: byte(0),
            warps: byte(8),
            walkers: byte(24),
            faults: byte(32),
            channels: byte(40),
            l2_sets: 1 << (byte(48) & 31),
        }
    }

    /// Warps of all units: as many threads run at once.
    #[must_use]
    pub fn threads(&self) -> u64 {
        self.units * self.warps
    }
}

/// A command or a job that was given to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    at: u64,
    value: u64,
}

/// One of the rings that the host fills, with the place where its entries' ends are told.
struct Ring {
    base: u64,
    doorbell: u64,
    fences: u64,
    given: u64,
}

/// Which ring.
#[derive(Clone, Copy)]
enum Queue {
    Ctrl,
    Launch,
    Copy(usize),
}

/// One device and its host.
pub struct BareHost {
    device: Box<dyn Device>,
    port: HostSide,
    memory: Arc<SystemMemory>,
    caps: Caps,
    now: u64,
    limit: u64,
    ctrl: Ring,
    launch: Ring,
    copies: Vec<Ring>,
    faults: u64,
    faults_taken: u64,
}

impl BareHost {
    /// A device of the machine with its rings set up, running.
    ///
    /// # Errors
    /// The configuration cannot be used, or the device does not answer.
    pub fn new(config: &MachineConfig) -> Result<Self, BenchError> {
        config.check().map_err(BenchError::Unusable)?;
        let memory = Arc::new(SystemMemory::new(config.ram));
        let device = make_device(config, &memory, 0).map_err(BenchError::Unusable)?;
        let alloc = |bytes: u64| {
            memory
                .alloc(bytes, 4096)
                .ok_or_else(|| BenchError::Unusable("no room for the rings".into()))
        };
        let ring = |doorbell: u64| -> Result<Ring, BenchError> {
            Ok(Ring {
                base: alloc(RING * CtrlEntry::BYTES as u64)?,
                doorbell,
                fences: alloc(RING * FENCE_BYTES)?,
                given: 0,
            })
        };
        let (ctrl, launch) = (ring(reg::CTRL_PROD)?, ring(reg::LAUNCH_PROD)?);
        let faults = alloc(RING * FaultRecord::BYTES as u64)?;
        let mut host = Self {
            device,
            port: HostSide::new(Arc::clone(&memory)),
            memory,
            caps: Caps::new(0),
            now: 0,
            limit: config.max_cycles,
            ctrl,
            launch,
            copies: Vec::new(),
            faults,
            faults_taken: 0,
        };
        for (register, base) in [
            (reg::CTRL_BASE, host.ctrl.base),
            (reg::LAUNCH_BASE, host.launch.base),
            (reg::FAULT_BASE, host.faults),
        ] {
            host.write(register, base);
            host.write(register + 8, RING_LOG2);
        }
        host.write(reg::CONTROL, 1);
        host.caps = Caps::new(host.read(reg::CAPS)?);
        Ok(host)
    }

    /// What the device holds.
    #[must_use]
    pub fn caps(&self) -> Caps {
        self.caps
    }

    /// Device cycles since reset.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Lets up to `cycles` pass, fewer once the device has told something.
    ///
    /// # Errors
    /// The simulation failed, or the limit of cycles is reached.
    pub fn run(&mut self, cycles: u64) -> Result<(), BenchError> {
        if self.now >= self.limit {
            return Err(BenchError::Failed(format!(
                "cycle limit of {} cycles reached",
                self.limit
            )));
        }
        self.port.clear_notice();
        let cycles = cycles.min(self.limit - self.now);
        let ran = self.device.run(cycles, &mut self.port);
        self.now += ran.map_err(|failure| BenchError::Failed(failure.0))?;
        Ok(())
    }

    /// Posts a write of a register.
    pub fn write(&mut self, register: u64, value: u64) {
        self.port
            .post(Window::Registers, register, &value.to_le_bytes());
    }

    /// Posts a write of device memory, in order with those of registers.
    pub fn post(&mut self, at: u64, data: &[u8]) {
        self.port.post(Window::Vram, at, data);
    }

    /// Reads a register.
    ///
    /// # Errors
    /// The device does not answer.
    pub fn read(&mut self, register: u64) -> Result<u64, BenchError> {
        Ok(self.read_all(&[register])?[0])
    }

    /// Reads registers, all under way at once.
    fn read_all(&mut self, registers: &[u64]) -> Result<Vec<u64>, BenchError> {
        let asked: Vec<u64> = registers
            .iter()
            .map(|&register| self.port.ask(Window::Registers, register, 8))
            .collect();
        let start = self.now;
        let mut values = Vec::with_capacity(asked.len());
        for (id, register) in asked.into_iter().zip(registers) {
            loop {
                if let Some(answer) = self.port.answer(id) {
                    let data = answer.map_err(|error| {
                        BenchError::Failed(format!("register {register:#06x}: {error}"))
                    })?;
                    let mut raw = [0; 8];
                    for (to, from) in raw.iter_mut().zip(data) {
                        *to = from;
                    }
                    values.push(u64::from_le_bytes(raw));
                    break;
                }
                if self.now - start > PATIENCE {
                    return Err(BenchError::Failed(format!(
                        "no answer to a read of register {register:#06x}"
                    )));
                }
                self.run(64)?;
            }
        }
        Ok(values)
    }

    /// All counters as of one cycle.
    ///
    /// # Errors
    /// The device does not answer.
    pub fn counts(&mut self) -> Result<Counts, BenchError> {
        self.write(reg::SNAPSHOT, 1);
        let registers: Vec<u64> = (0..Counter::ALL.len() as u64)
            .map(|k| reg::COUNTER + 8 * k)
            .collect();
        self.read_all(&registers).map(Counts::new)
    }

    /// Writes device memory beside the bus. No time passes.
    pub fn poke(&mut self, at: u64, data: &[u8]) {
        self.device.poke(at, data);
    }

    /// Reads device memory beside the bus. No time passes.
    pub fn peek(&mut self, at: u64, buf: &mut [u8]) {
        self.device.peek(at, buf);
    }

    /// Gives a command to the control ring.
    ///
    /// # Errors
    /// The ring is full and does not move.
    pub fn command(&mut self, entry: CtrlEntry, op: CtrlOp) -> Result<Ticket, BenchError> {
        let ticket = self.ctrl.next();
        if let Some(oldest) = self.ctrl.reuses() {
            self.wait(oldest, PATIENCE)?;
        }
        let entry = entry
            .with_version(FORMAT_VERSION)
            .with_op(op as u64)
            .with_fence_addr(ticket.at)
            .with_fence_value(ticket.value);
        self.give(Queue::Ctrl, &entry.to_bytes());
        Ok(ticket)
    }

    /// Gives a command and waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub fn obey(&mut self, entry: CtrlEntry, op: CtrlOp) -> Result<(), BenchError> {
        let ticket = self.command(entry, op)?;
        self.wait(ticket, PATIENCE)
            .map_err(|error| error.during(op.name()))
    }

    /// Sets a context.
    ///
    /// # Errors
    /// The command does not end.
    pub fn set_context(&mut self, ctx: u64, root: u64, mode: CtxMode) -> Result<(), BenchError> {
        let entry = CtrlEntry::default()
            .with_ctx(ctx)
            .with_arg0(root)
            .with_arg1(mode as u64);
        self.obey(entry, CtrlOp::CtxSet)
    }

    /// Starts a job.
    ///
    /// # Errors
    /// The ring is full and does not move.
    pub fn launch(&mut self, entry: LaunchEntry) -> Result<Ticket, BenchError> {
        let ticket = self.launch.next();
        if let Some(oldest) = self.launch.reuses() {
            self.wait(oldest, PATIENCE)?;
        }
        let entry = entry
            .with_version(FORMAT_VERSION)
            .with_job(ticket.value)
            .with_fence_addr(ticket.at)
            .with_fence_value(ticket.value);
        self.give(Queue::Launch, &entry.to_bytes());
        Ok(ticket)
    }

    /// Allocates system memory that the device reaches.
    ///
    /// # Errors
    /// There is no room.
    pub fn alloc(&self, bytes: u64) -> Result<u64, BenchError> {
        let at = self.memory.alloc(bytes, 4096);
        at.ok_or_else(|| BenchError::Unusable(format!("no room for {bytes} bytes")))
    }

    /// Writes system memory. No time passes.
    ///
    /// # Errors
    /// There is none.
    pub fn system_write(&self, at: u64, data: &[u8]) -> Result<(), BenchError> {
        let written = self.memory.bus_write(at, data);
        written.map_err(|_| BenchError::Failed(format!("no system memory at {at:#x}")))
    }

    /// Sets up the rings of all copy channels.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn add_copy_rings(&mut self) -> Result<(), BenchError> {
        let stride = reg::COPY_ERROR_ADDR + 8 - reg::COPY_BASE;
        for channel in 0..self.caps.channels {
            let ring = Ring {
                base: self.alloc(RING * CopyEntry::BYTES as u64)?,
                doorbell: reg::COPY_PROD + channel * stride,
                fences: self.alloc(RING * FENCE_BYTES)?,
                given: 0,
            };
            self.write(reg::COPY_BASE + channel * stride, ring.base);
            self.write(reg::COPY_SIZE + channel * stride, RING_LOG2);
            self.copies.push(ring);
        }
        Ok(())
    }

    /// Gives a descriptor to a copy channel.
    ///
    /// # Errors
    /// There is no such channel, or its ring is full and does not move.
    pub fn copy(&mut self, channel: usize, entry: CopyEntry) -> Result<Ticket, BenchError> {
        let none = || BenchError::Unusable(format!("no copy channel {channel}"));
        let ring = self.copies.get(channel).ok_or_else(none)?;
        let ticket = ring.next();
        if let Some(oldest) = ring.reuses() {
            self.wait(oldest, PATIENCE)?;
        }
        let entry = entry
            .with_version(FORMAT_VERSION)
            .with_fence_addr(ticket.at)
            .with_fence_value(ticket.value);
        self.give(Queue::Copy(channel), &entry.to_bytes());
        Ok(ticket)
    }

    fn give(&mut self, queue: Queue, entry: &[u8]) {
        let ring = match queue {
            Queue::Ctrl => &mut self.ctrl,
            Queue::Launch => &mut self.launch,
            Queue::Copy(channel) => &mut self.copies[channel],
        };
        let at = ring.base + (ring.given % RING) * entry.len() as u64;
        ring.given += 1;
        let (doorbell, given) = (ring.doorbell, ring.given);
        // The rings lie in memory that was allocated above.
        let written = self.memory.bus_write(at, entry);
        debug_assert_eq!(written, Ok(()));
        self.write(doorbell, given);
    }

    fn host_words<const N: usize>(&self, at: u64) -> [u64; N] {
        let mut words = [0; N];
        for (at, word) in (at..).step_by(8).zip(&mut words) {
            let mut raw = [0; 8];
            let read = self.memory.bus_read(at, &mut raw);
            debug_assert_eq!(read, Ok(()));
            *word = u64::from_le_bytes(raw);
        }
        words
    }

    /// Has this ended?
    #[must_use]
    pub fn ended(&self, ticket: Ticket) -> bool {
        let [value] = self.host_words(ticket.at);
        value >= ticket.value
    }

    /// When a command or job that has ended did so, in device cycles.
    #[must_use]
    pub fn stamp(&self, ticket: Ticket) -> u64 {
        let [_, stamp] = self.host_words(ticket.at);
        stamp
    }

    /// Waits for the end of a command or job.
    ///
    /// # Errors
    /// It does not end within `patience` cycles.
    pub fn wait(&mut self, ticket: Ticket, patience: u64) -> Result<(), BenchError> {
        let start = self.now;
        while !self.ended(ticket) {
            if self.now - start >= patience {
                return Err(BenchError::Failed(format!(
                    "no end after {patience} cycles"
                )));
            }
            self.run(4096.min(patience))?;
        }
        Ok(())
    }

    /// How a job that has ended did.
    ///
    /// # Errors
    /// It did not end well.
    pub fn completion(&self, job: Ticket) -> Result<Completion, BenchError> {
        let end = Completion(self.host_words(job.at));
        if end.status() == JobStatus::Ok as u64 {
            return Ok(end);
        }
        let status = u8::try_from(end.status()).unwrap_or(u8::MAX);
        let name = JobStatus::from_raw(end.status()).map_or("a cancelled access", JobStatus::name);
        Err(BenchError::Failed(format!(
            "the job ended with status {status} ({name}), info {:#x}",
            end.info()
        )))
    }

    /// The oldest fault record not yet taken.
    pub fn take_fault(&mut self) -> Option<FaultRecord> {
        let at = self.faults + (self.faults_taken % RING) * FaultRecord::BYTES as u64;
        let record = FaultRecord(self.host_words(at));
        let phase = 1 - ((self.faults_taken >> RING_LOG2) & 1);
        if record.version() == 0 || record.phase() != phase {
            return None;
        }
        self.faults_taken += 1;
        self.write(reg::FAULT_CONS, self.faults_taken);
        Some(record)
    }
}

impl Ring {
    /// Where the end of the next entry will be told.
    fn next(&self) -> Ticket {
        Ticket {
            at: self.fences + (self.given % RING) * FENCE_BYTES,
            value: self.given + 1,
        }
    }

    /// The entry whose place the next one takes.
    fn reuses(&self) -> Option<Ticket> {
        let value = (self.given + 1).checked_sub(RING).filter(|&v| v > 0)?;
        Some(Ticket {
            at: self.fences + ((value - 1) % RING) * FENCE_BYTES,
            value,
        })
    }
}
