//! A machine without RTL: the functional device, system memory, and the driver's hardware traits over them.

pub mod board;
pub mod programs;
pub mod ram;

pub use board::Board;
use hmm_core::sync;
use hmm_core::{Mm, NoTrace, Pfn, Prot, System, SystemConfig, Va};
use hmmu_driver::hw::{Clock, DmaAddr};
use hmmu_driver::{Context, Device, DeviceConfig, DriverError, Hardware, Job, JobError, Timeouts};
use hmmu_model::{DeviceConfig as ModelConfig, Latency};
use programs::Program;
use ram::{Dma, Ram};
use std::sync::Arc;

pub const PAGE: u64 = hmm_core::PAGE_SIZE;

/// No test passes as many scheduling points, unless something goes round for ever.
const MOST_POINTS: u64 = 20_000_000;

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
            look: 50_000,
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
    dma: Arc<Dma>,
    pub free_at_start: u64,
    seed: u64,
}

/// One more device of a machine.
pub struct Unit {
    pub device: Arc<Device>,
    pub board: Arc<Board>,
}

/// Builds a device on shared memory.
fn build(ram: &Arc<Ram>, dma: &Arc<Dma>, setup: &Setup) -> (Arc<Board>, Hardware) {
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
    let board = Board::new(model, Box::new(ram::Link(Arc::clone(ram))), setup.seed);
    let hw = Hardware {
        bar: board.clone(),
        dma: dma.clone(),
        irq: board.clone(),
        clock: board.clone(),
    };
    (board, hw)
}

/// Builds a device on shared memory and probes it.
fn probe(sys: &Arc<System>, ram: &Arc<Ram>, dma: &Arc<Dma>, setup: Setup) -> Unit {
    let (board, hw) = build(ram, dma, &setup);
    let device = Device::probe(hw, Arc::clone(sys), setup.config).expect("probe");
    Unit { device, board }
}

impl Machine {
    pub fn new(setup: Setup) -> Self {
        let seed = setup.seed;
        let ram = Arc::new(Ram::new(setup.ram_pages));
        let dma = Arc::new(Dma::new(Arc::clone(&ram)));
        let sys = System::new(
            SystemConfig::new(setup.ram_pages),
            Arc::new(ram::Phys(Arc::clone(&ram))),
            Arc::new(NoTrace),
        );
        let free_at_start = sys.free_pages();
        let Unit { device, board } = probe(&sys, &ram, &dma, setup);
        Self {
            sys,
            device,
            board,
            ram,
            dma,
            free_at_start,
            seed,
        }
    }

    /// One more device on the same system. Its owner must be set. It must be shut down before the machine's end.
    pub fn add(&self, setup: Setup) -> Unit {
        probe(&self.sys, &self.ram, &self.dma, setup)
    }

    /// One more device that nobody has probed.
    pub fn bare_board(&self, setup: Setup) -> Hardware {
        build(&self.ram, &self.dma, &setup).1
    }

    /// A process with the device open.
    pub fn process(&self) -> Process {
        self.attach(self.sys.create_mm())
    }

    /// The device opened for a process.
    pub fn attach(&self, mm: Arc<Mm>) -> Process {
        let context = self.device.open(&mm).expect("open");
        Process { mm, context }
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
            self.sys.free_pages() + self.sys.poisoned_pages(),
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

impl Unit {
    /// The device opened for a process.
    pub fn attach(&self, mm: &Arc<Mm>) -> Process {
        Process {
            mm: Arc::clone(mm),
            context: self.device.open(mm).expect("open"),
        }
    }

    /// A driver or device counter.
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.device.stats().expect("stats");
        let found = stats.iter().find(|(n, _)| *n == name);
        found.unwrap_or_else(|| panic!("no counter {name}")).1
    }

    /// Ends the device; nothing may be left in its memory.
    pub fn finish(self) {
        self.device.shutdown();
        assert_eq!(self.device.vram_in_use(), 0, "pages of VRAM are left");
    }
}

/// A process and its view of the device.
#[derive(Clone)]
pub struct Process {
    pub mm: Arc<Mm>,
    pub context: Arc<Context>,
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
            ..Default::default()
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

    /// The rules between the device's tables and the process's.
    pub fn mirrors(&self) {
        self.context.check_mirror().expect("the mirror");
    }

    /// Closes the device and ends the process.
    pub fn end(self) {
        self.mirrors();
        self.context.close().expect("close");
        self.mm.exit();
    }
}

/// Runs a test under one schedule.
pub fn run(setup: Setup, body: impl FnOnce(&Machine) + Send + 'static) {
    run_switching(setup, 8, body);
}

/// As [`run`], with a switch at one scheduling point in so many.
pub fn run_switching(setup: Setup, one_in: u32, body: impl FnOnce(&Machine) + Send + 'static) {
    let seed = setup.seed;
    let schedule = sync::Schedule::seeded(seed)
        .switch_one_in(one_in)
        .most_points(MOST_POINTS);
    let result = sync::run_with(schedule, move || {
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
