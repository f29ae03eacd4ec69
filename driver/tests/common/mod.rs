//! A machine without RTL: the functional device, system memory, and the driver's hardware traits over them.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod programs;
pub mod ram;

use hmm_core::sync::{self, Mutex, WaitQueue};
use hmm_core::{Mm, NoTrace, Pfn, Prot, System, SystemConfig, Va};
use hmmu_driver::hw::{Bar, Clock, DmaAddr, HwError, Interrupts, VramAddr};
use hmmu_driver::{Context, Device, DeviceConfig, DriverError, Hardware, Job, JobError, Timeouts};
use hmmu_model::{Device as Model, DeviceConfig as ModelConfig, Latency};
use programs::Program;
use ram::{Dma, Ram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub const PAGE: u64 = hmm_core::PAGE_SIZE;

/// Cycles that pass in one pause, at most.
const STEP: u64 = 40;

/// The device and what surrounds it.
pub struct Board {
    model: Mutex<Model>,
    now: AtomicU64,
    steps: AtomicU64,
    raised: [AtomicBool; 8],
    waiting: WaitQueue,
    ended: AtomicBool,
    /// The device has stopped answering: time passes, but it does nothing.
    pub hung: AtomicBool,
}

impl Board {
    fn route(&self, model: &mut Model) {
        while let Some(message) = model.take_message() {
            assert_eq!(message.addr.0, 0xfee0_0000, "an MSI-X message went astray");
            self.raised[message.data as usize].store(true, Ordering::Relaxed);
            self.waiting.wake_all();
        }
    }

    fn alive(&self) -> bool {
        !self.hung.load(Ordering::Relaxed)
    }

    fn timeout(what: impl Into<String>) -> HwError {
        HwError::Timeout {
            what: what.into(),
            cycles: 1000,
        }
    }
}

impl Bar for Board {
    fn read(&self, offset: u64) -> Result<u64, HwError> {
        if !self.alive() {
            return Err(Self::timeout(format!("register {offset:#x}")));
        }
        Ok(self.model.lock().read_register(offset))
    }

    fn write(&self, offset: u64, value: u64) -> Result<(), HwError> {
        if self.alive() {
            self.model.lock().write_register(offset, value);
        }
        Ok(())
    }

    fn vram_read(&self, addr: VramAddr, buf: &mut [u8]) -> Result<(), HwError> {
        if !self.alive() {
            return Err(Self::timeout(format!("VRAM {:#x}", addr.0)));
        }
        let read = self
            .model
            .lock()
            .vram_read(hmmu_model::VramAddr(addr.0), buf);
        read.map_err(|_| HwError::Refused {
            what: format!("VRAM {:#x}", addr.0),
        })
    }

    fn vram_write(&self, addr: VramAddr, data: &[u8]) -> Result<(), HwError> {
        if self.alive() {
            let written = self
                .model
                .lock()
                .vram_write(hmmu_model::VramAddr(addr.0), data);
            written.expect("a write beyond VRAM");
        }
        Ok(())
    }
}

impl Interrupts for Board {
    fn wait(&self, vector: u16) -> bool {
        loop {
            if self.ended.load(Ordering::Relaxed) {
                return false;
            }
            if self.raised[usize::from(vector)].swap(false, Ordering::Relaxed) {
                return true;
            }
            self.waiting.wait("an interrupt");
        }
    }

    fn shutdown(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.waiting.wake_all();
    }
}

impl Clock for Board {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn pause(&self) -> Result<(), HwError> {
        // Steps of changing length, so that the host meets the device at changing moments.
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let cycles = 1 + step.wrapping_mul(0x9e37_79b9_7f4a_7c15) % STEP;
        self.now.fetch_add(cycles, Ordering::Relaxed);
        if self.alive() {
            let mut model = self.model.lock();
            model.tick(cycles);
            self.route(&mut model);
        }
        sync::yield_now();
        Ok(())
    }
}

/// What a test can choose.
#[derive(Clone)]
pub struct Setup {
    pub ram_pages: u64,
    pub vram_pages: u64,
    pub config: DeviceConfig,
    pub seed: u64,
}

impl Setup {
    pub fn new(seed: u64) -> Self {
        // Short, so that a test of a hung device does not take long.
        let timeouts = Timeouts {
            command: 200_000,
            copy: 400_000,
            ring: 400_000,
            job: Some(4_000_000),
            completion: 50_000,
        };
        let config = DeviceConfig {
            timeouts,
            ..DeviceConfig::default()
        };
        Self {
            ram_pages: 1024,
            vram_pages: 256,
            config,
            seed,
        }
    }
}

/// A machine with its device probed.
pub struct Machine {
    pub sys: Arc<System>,
    pub device: Arc<Device>,
    pub board: Arc<Board>,
    pub ram: Arc<Ram>,
    pub free_at_start: u64,
    seed: u64,
}

impl Machine {
    pub fn new(setup: Setup) -> Self {
        let ram = Arc::new(Ram::new(setup.ram_pages));
        let dma = Arc::new(Dma::new(Arc::clone(&ram)));
        let latency = Latency {
            jitter: 7,
            seed: setup.seed,
            ..Latency::default()
        };
        let model = ModelConfig {
            vram_bytes: setup.vram_pages * PAGE,
            latency,
            ..ModelConfig::default()
        };
        let board = Arc::new(Board {
            model: Mutex::new(Model::new(model, Box::new(ram::Link(Arc::clone(&ram))))),
            now: AtomicU64::new(0),
            steps: AtomicU64::new(setup.seed),
            raised: Default::default(),
            waiting: WaitQueue::new(),
            ended: AtomicBool::new(false),
            hung: AtomicBool::new(false),
        });
        let sys = System::new(
            SystemConfig::new(setup.ram_pages),
            Arc::new(ram::Phys(Arc::clone(&ram))),
            Arc::new(NoTrace),
        );
        let free_at_start = sys.free_pages();
        let hw = Hardware {
            bar: board.clone(),
            dma,
            irq: board.clone(),
            clock: board.clone(),
        };
        let device = Device::probe(hw, Arc::clone(&sys), setup.config).expect("probe");
        Self {
            sys,
            device,
            board,
            ram,
            free_at_start,
            seed: setup.seed,
        }
    }

    /// A process with the device open.
    pub fn process(&self) -> Process {
        self.attach(self.sys.create_mm())
    }

    /// The device opened for a process.
    pub fn attach(&self, mm: Arc<Mm>) -> Process {
        let context = self.device.open(&mm).expect("open");
        Process {
            mm,
            context,
            board: Arc::clone(&self.board),
        }
    }

    /// A driver or device counter.
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.device.stats().expect("stats");
        stats
            .iter()
            .find(|(n, _)| *n == name)
            .unwrap_or_else(|| panic!("no counter {name}"))
            .1
    }

    /// A counter, unless the device does not answer.
    pub fn stat_or_none(&self, name: &str) -> Option<u64> {
        let stats = self.device.stats().ok()?;
        stats
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| *value)
    }

    /// A number of pauses that changes with the seed.
    pub fn seed_steps(&self) -> usize {
        (self.seed * 7 % 60) as usize
    }

    /// Ends the machine; nothing may be left in device or system memory.
    pub fn finish(self) {
        self.device.shutdown();
        assert_eq!(self.device.vram_in_use(), 0, "pages of VRAM are left");
        self.sys.check_invariants().expect("invariants");
        assert_eq!(
            self.sys.free_pages(),
            self.free_at_start,
            "system pages are left"
        );
    }

    /// Lets time pass.
    pub fn pause(&self, times: usize) {
        for _ in 0..times {
            self.board.pause().expect("pause");
        }
    }
}

/// A process and its view of the device.
#[derive(Clone)]
pub struct Process {
    pub mm: Arc<Mm>,
    pub context: Arc<Context>,
    pub board: Arc<Board>,
}

impl Process {
    pub fn map(&self, pages: u64) -> Va {
        self.mm
            .mmap(pages * PAGE, Prot::READ_WRITE, Default::default())
            .expect("mmap")
    }

    pub fn cpu_load(&self, va: Va) -> u64 {
        let mut bytes = [0; 8];
        self.mm
            .load(va, &mut bytes)
            .unwrap_or_else(|e| panic!("CPU load at {va}: {e}"));
        u64::from_le_bytes(bytes)
    }

    pub fn cpu_store(&self, va: Va, value: u64) {
        self.mm
            .store(va, &value.to_le_bytes())
            .unwrap_or_else(|e| panic!("CPU store at {va}: {e}"));
    }

    /// One word a page is enough for most tests, and much faster than all of them.
    pub fn cpu_fill(&self, va: Va, pages: u64, first: u64) {
        for i in 0..pages {
            self.cpu_store(va + i * PAGE, first + i);
            self.cpu_store(va + i * PAGE + 4088, !(first + i));
        }
    }

    pub fn cpu_check(&self, va: Va, pages: u64, first: u64) {
        for i in 0..pages {
            assert_eq!(
                self.cpu_load(va + i * PAGE),
                first + i,
                "first word of page {i}"
            );
            assert_eq!(
                self.cpu_load(va + i * PAGE + 4088),
                !(first + i),
                "last word of page {i}"
            );
        }
    }

    pub fn start(&self, program: &Program, args: &[u64], threads: u32) -> Result<Job, DriverError> {
        let program = hmmu_driver::Program {
            code: program.code(),
            entry: 0,
        };
        self.context.launch(&program, args, threads)
    }

    pub fn run(&self, program: &Program, args: &[u64], threads: u32) -> Result<u64, JobError> {
        self.start(program, args, threads).expect("launch").wait()
    }

    pub fn load(&self, va: Va) -> Result<u64, JobError> {
        self.run(&programs::load(), &[va.0], 1)
    }

    pub fn store(&self, va: Va, value: u64) -> Result<u64, JobError> {
        self.run(&programs::store(), &[va.0, value], 1)
    }

    pub fn fetch_add(&self, va: Va, value: u64) -> Result<u64, JobError> {
        self.run(&programs::fetch_add(), &[va.0, value], 1)
    }

    /// The device writes what [`Process::cpu_check`] expects.
    pub fn fill(&self, va: Va, pages: u64, first: u64) -> Result<u64, JobError> {
        self.run(&programs::fill(), &[va.0, pages, first], 5)
    }

    /// The device reads back what [`Process::cpu_fill`] wrote.
    pub fn check(&self, va: Va, pages: u64, first: u64) {
        let found = self.run(&programs::check(), &[va.0, pages, first], 5);
        assert_eq!(found, Ok(u64::MAX), "the page that the device read wrongly");
    }

    pub fn words(&self, va: Va, pages: u64) -> Vec<String> {
        let states = self.context.snapshot(va, pages * PAGE).expect("snapshot");
        states.iter().map(ToString::to_string).collect()
    }

    pub fn to_device(&self, va: Va, pages: u64) -> usize {
        self.context
            .migrate_to_device(va, pages * PAGE)
            .expect("migrate to device")
    }

    /// Closes the device and ends the process.
    pub fn end(self) {
        self.context.close().expect("close");
        self.mm.exit();
    }
}

/// Runs a test under one schedule.
pub fn run(setup: Setup, body: impl FnOnce(&Machine) + Send + 'static) {
    let seed = setup.seed;
    let result = sync::run(seed, move || {
        let machine = Machine::new(setup);
        body(&machine);
        machine.finish();
    });
    if let Err(text) = result {
        panic!("seed {seed}: {text}");
    }
}

/// Runs a test under a few schedules.
pub fn for_seeds(
    seeds: std::ops::Range<u64>,
    body: impl Fn(&Machine) + Send + Sync + Clone + 'static,
) {
    for seed in seeds {
        let body = body.clone();
        run(Setup::new(seed), move |machine| body(machine));
    }
}

/// The bus address of a system page.
pub fn page_addr(pfn: Pfn) -> DmaAddr {
    DmaAddr(pfn.0 * PAGE)
}
