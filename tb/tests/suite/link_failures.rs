//! Reads of the device over the link that fail: the operation ends with an error or is done again, the device stays
//! usable, no byte is lost.

use crate::common::backends;
use hmm_core::{Errno, MmapOptions, PAGE_SIZE, Prot, Va, sync};
use hmmu::kernels;
use hmmu::machine::{Backend, MachineConfig, hardware};
use hmmu::rc::{ReadFailure, ReadFault};
use hmmu::world::{Outputs, World};
use hmmu_driver::{Context, DeviceConfig, JobError, TablePlace, Timeouts};
use hmmu_regs::{Client, ErrorCode, reg};
use std::sync::Arc;

const KINDS: [(ReadFailure, ErrorCode); 3] = [
    (ReadFailure::Lost, ErrorCode::CplTimeout),
    (ReadFailure::Unsupported, ErrorCode::CplUr),
    (ReadFailure::Poisoned, ErrorCode::CplPoisoned),
];

/// A process with some memory on a machine whose page tables are behind the link.
struct Bench {
    world: Arc<World>,
    mm: Arc<hmm_core::Mm>,
    context: Arc<Context>,
    /// Bytes of system memory that processes can have; the driver's window is above.
    ram: u64,
    /// Pages of the window that are taken before a context is set up: the rings.
    rings_end: u64,
}

impl Bench {
    fn new(backend: Backend) -> Self {
        let config = MachineConfig {
            ram: 4 << 20,
            vram: 1 << 20,
            ..MachineConfig::new(backend, 5)
        };
        let ram = config.ram;
        let driver = DeviceConfig {
            tables: TablePlace::System,
            timeouts: Timeouts {
                completion: 4000,
                ..Timeouts::default()
            },
            ..DeviceConfig::default()
        };
        let world = World::new(config, &Outputs::default(), driver).expect("a machine");
        let bar = hardware(&world.machine, 0).bar;
        let base = |register| bar.read(register).expect("a register");
        let rings = [
            reg::CTRL_BASE,
            reg::COPY_BASE,
            reg::LAUNCH_BASE,
            reg::FAULT_BASE,
        ];
        let last = rings.map(base).into_iter().max().expect("four rings");
        let mm = world.process();
        let context = world.open(0, &mm).expect("a context");
        Self {
            world,
            mm,
            context,
            ram,
            rings_end: last + PAGE_SIZE,
        }
    }

    fn map(&self, pages: u64, first: u64) -> Va {
        let va = self
            .mm
            .mmap(pages * PAGE_SIZE, Prot::READ_WRITE, MmapOptions::default())
            .expect("memory");
        for word in 0..pages * PAGE_SIZE / 8 {
            let bytes = (first + word).to_le_bytes();
            self.mm.store(va + 8 * word, &bytes).expect("a store");
        }
        va
    }

    fn check(&self, va: Va, pages: u64, first: u64) {
        for word in 0..pages * PAGE_SIZE / 8 {
            let mut raw = [0; 8];
            self.mm.load(va + 8 * word, &mut raw).expect("a load");
            assert_eq!(u64::from_le_bytes(raw), first + word, "word {word}");
        }
    }

    fn load(&self, va: Va) -> Result<u64, JobError> {
        let program = kernels::load(8).expect("a program");
        let job = self.context.launch(&program, &[va.0], 1).expect("a job");
        job.wait()
    }

    fn arm(&self, failure: ReadFailure, within: std::ops::Range<u64>) {
        self.world
            .machine
            .fail_read(0, ReadFault { failure, within });
    }

    /// The error that the device noted, and whose read it was; it is acknowledged.
    fn noted(&self) -> (u64, u64) {
        let info = self.world.device().take_error().unwrap_or_default();
        (info & 0xff, info >> 8 & 0xff)
    }

    fn stat(&self, name: &str) -> u64 {
        let stats = self.context.stats().expect("counters");
        let found = stats.iter().find(|(n, _)| *n == name);
        found.map_or_else(|| panic!("no counter {name}"), |(_, value)| *value)
    }

    fn end(self) {
        assert_eq!(self.world.lost(), None);
        self.world.sweep().expect("a whole system");
        self.world.end().expect("an end");
    }
}

/// Runs a test on a fresh machine for each backend and kind of failure.
fn each(test: fn(&Bench, ReadFailure, ErrorCode)) {
    for backend in backends() {
        for (failure, code) in KINDS {
            println!("{} {failure}", backend.name());
            sync::run(3, move || {
                let bench = Bench::new(backend);
                test(&bench, failure, code);
                bench.end();
            })
            .expect("a run");
        }
    }
}

#[test]
fn a_programs_load_ends_its_job_with_eio() {
    each(|bench, failure, code| {
        let va = bench.map(1, 100);
        bench.arm(failure, 0..bench.ram);
        let error = bench.load(va + 16).expect_err("the load fails");
        assert_eq!((error.errno, error.addr), (Errno::EIO, va.0 + 16));
        assert_eq!(bench.noted(), (code as u64, Client::CuData as u64));
        assert_eq!(bench.load(va + 16), Ok(102), "the failure was for once");
        bench.check(va, 1, 100);
    });
}

#[test]
fn a_walk_is_tried_once_more() {
    each(|bench, failure, code| {
        let va = bench.map(2, 100);
        let tables = || bench.rings_end..u64::MAX;
        bench.arm(failure, tables());
        assert_eq!(bench.load(va), Ok(100));
        assert_eq!(bench.noted(), (code as u64, Client::Walker as u64));
        assert_eq!(bench.stat("driver_walk_retries"), 1);
        assert_eq!(bench.stat("driver_faults_cancelled"), 0);
        // A table that cannot be read twice in a row: the access ends.
        bench.arm(failure, tables());
        bench.arm(failure, tables());
        let error = bench.load(va + PAGE_SIZE).expect_err("the walk fails");
        assert_eq!((error.errno, error.addr), (Errno::EIO, va.0 + PAGE_SIZE));
        assert_eq!(bench.stat("driver_walk_retries"), 2);
        assert_eq!(bench.load(va + PAGE_SIZE), Ok(100 + PAGE_SIZE / 8));
    });
}

#[test]
fn a_ring_that_could_not_be_read_is_started_again() {
    each(|bench, failure, code| {
        let bar = hardware(&bench.world.machine, 0).bar;
        let ring = |register| {
            let base = bar.read(register).expect("a register");
            base..base + PAGE_SIZE
        };
        let va = bench.map(2, 100);
        bench.arm(failure, ring(reg::LAUNCH_BASE));
        assert_eq!(bench.load(va), Ok(100));
        assert_eq!(bench.noted(), (code as u64, Client::Launch as u64));
        // One kind is enough for the others: they fetch in the same way.
        if failure == ReadFailure::Unsupported {
            bench.arm(failure, ring(reg::CTRL_BASE));
            bench.mm.munmap(va, PAGE_SIZE).expect("an invalidation");
            assert_eq!(bench.noted(), (code as u64, Client::Ctrl as u64));
            bench.arm(failure, ring(reg::COPY_BASE));
            let moved = bench.context.migrate_to_device(va + PAGE_SIZE, PAGE_SIZE);
            assert_eq!(moved, Ok(1));
            assert_eq!(bench.noted(), (code as u64, Client::Copy as u64));
            assert_eq!(bench.load(va + PAGE_SIZE), Ok(100 + PAGE_SIZE / 8));
        }
    });
}

#[test]
fn a_page_that_the_copy_engine_could_not_read_moves_all_the_same() {
    each(|bench, failure, code| {
        let va = bench.map(4, 100);
        bench.arm(failure, 0..bench.ram);
        let moved = bench.context.migrate_to_device(va, 4 * PAGE_SIZE);
        assert_eq!(moved, Ok(4));
        assert_eq!(bench.noted(), (code as u64, Client::Copy as u64));
        assert!(bench.stat("driver_pages_by_cpu") > 0);
        assert_eq!(bench.load(va + PAGE_SIZE), Ok(100 + PAGE_SIZE / 8));
        bench.check(va, 4, 100);
    });
}

#[test]
fn a_programs_copy_ends_with_eio_and_can_be_done_again() {
    each(|bench, failure, code| {
        let (src, dst) = (bench.map(3, 100), bench.map(3, 7000));
        bench.arm(failure, 0..bench.ram);
        let copied = bench.context.copy(dst, src, 3 * PAGE_SIZE);
        assert_eq!(copied.map_err(|e| e.errno()), Err(Errno::EIO));
        assert_eq!(bench.noted(), (code as u64, Client::Copy as u64));
        bench.check(src, 3, 100);
        assert_eq!(bench.context.copy(dst, src, 3 * PAGE_SIZE), Ok(()));
        bench.check(dst, 3, 100);
    });
}
