//! What migration moves: hmm-core, the driver and the device together, as a program meets them.

use std::sync::Arc;

use hmm_core::{Mm, MmapOptions, PAGE_SIZE, Prot, Va, sync};
use hmmu_driver::{Context, DeviceConfig, MigrateOnFault};

use super::host::BenchError;
use crate::kernels;
use crate::machine::{Backend, MachineConfig};
use crate::progress;
use crate::session::{RunError, close, failed};
use crate::world::{Outputs, World};

/// Bytes of the buffer that moves by request.
const REQUESTED: u64 = 16 << 20;
/// Pages that a job touches.
const TOUCHED: u64 = 1024;
/// Pages that come home one by one: a part of them.
const HOME: u64 = 256;
/// Steps of the job that jumps, in pages.
const JUMP: u64 = 389;
const VRAM_BYTES: u64 = 32 << 20;
const RAM_BYTES: u64 = 64 << 20;

/// What migration moves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MigrateFigures {
    /// To the device on the faults of a job that goes through a buffer, each page on its own fault; bytes a cycle.
    pub by_faults: f64,
    /// The same when each page is far from the one before.
    pub by_far_faults: f64,
    /// A buffer of 16 MiB to the device by request; bytes a cycle.
    pub by_request: f64,
    /// The same buffer home.
    pub home_by_request: f64,
    /// There by a device's fault and home by a CPU's, pages in a million cycles.
    pub round_trip: f64,
    /// There and home by request, pages in a million cycles.
    pub round_trip_by_request: f64,
}

impl MigrateFigures {
    /// Measures, on machines of their own.
    ///
    /// # Errors
    /// No device, a migration that fails, wrong data.
    pub fn measure(machine: &MachineConfig) -> Result<Self, BenchError> {
        let machine = MachineConfig {
            vram: VRAM_BYTES,
            ram: RAM_BYTES,
            ..machine.clone()
        };
        let (there, home) = scene(&machine, |world| touched(world, 1))?;
        let (far, _) = scene(&machine, |world| touched(world, JUMP))?;
        let [to, from] = scene(&machine, requested)?;
        let bytes = |pages: u64, cycles: u64| (pages * PAGE_SIZE) as f64 / cycles.max(1) as f64;
        let each = |pages: u64, cycles: u64| cycles as f64 / pages as f64;
        let pages = REQUESTED / PAGE_SIZE;
        Ok(Self {
            by_faults: bytes(TOUCHED, there),
            by_far_faults: bytes(TOUCHED, far),
            by_request: bytes(pages, to),
            home_by_request: bytes(pages, from),
            round_trip: 1e6 / (each(TOUCHED, there) + each(HOME, home)),
            round_trip_by_request: 1e6 / each(pages, to + from),
        })
    }
}

/// Runs something on a machine of its own under the scheduler.
fn scene<T: Send + 'static>(
    machine: &MachineConfig,
    work: impl Fn(&World) -> Result<T, RunError> + Send + Sync + 'static,
) -> Result<T, BenchError> {
    let machine = machine.clone();
    let seed = machine.seed;
    let run = move || {
        let driver = DeviceConfig {
            // No prefetch.
            policy: Arc::new(MigrateOnFault { block_pages: 1 }),
            ..DeviceConfig::default()
        };
        let made = World::new(machine.clone(), &Outputs::default(), driver);
        let world = made.map_err(RunError::Unusable)?;
        let result = work(&world);
        close(&world, result)
    };
    let result = sync::run(seed, run).unwrap_or_else(|text| Err(RunError::Failed(text)));
    result.map_err(|error| match error {
        RunError::Unusable(text) => BenchError::Unusable(text),
        RunError::Failed(text) => BenchError::Failed(text),
    })
}

/// A process with a buffer in system memory: the first word of each page is its number.
struct Process {
    mm: Arc<Mm>,
    context: Arc<Context>,
    start: Va,
}

impl Process {
    fn new(world: &World, pages: u64) -> Result<Self, RunError> {
        let mm = world.process();
        let options = MmapOptions::default();
        let start = mm
            .mmap(pages * PAGE_SIZE, Prot::READ_WRITE, options)
            .map_err(|e| failed("the buffer")(&e))?;
        for page in 0..pages {
            mm.store(start + page * PAGE_SIZE, &page.to_le_bytes())
                .map_err(|e| failed("filling the buffer")(&e))?;
        }
        let context = world
            .open(0, &mm)
            .map_err(|e| failed("opening the device")(&e))?;
        Ok(Self { mm, context, start })
    }

    /// Reads the first words of some pages by the CPU.
    fn check(&self, pages: std::ops::Range<u64>) -> Result<(), RunError> {
        for page in pages {
            let mut word = [0; 8];
            self.mm
                .load(self.start + page * PAGE_SIZE, &mut word)
                .map_err(|e| failed("reading the buffer")(&e))?;
            if u64::from_le_bytes(word) != page {
                return Err(RunError::Failed(format!(
                    "page {page} of the buffer came home with the word {word:02x?}"
                )));
            }
        }
        Ok(())
    }
}

/// Cycles in which a job's faults bring the buffer to the device, and in which the CPU's bring a part of it home.
fn touched(world: &World, factor: u64) -> Result<(u64, u64), RunError> {
    let process = Process::new(world, TOUCHED)?;
    let program = kernels::touch().map_err(|e| failed("the kernel")(&e))?;
    let machine = &world.machine;
    let start = machine.now();
    let args = [process.start.0, TOUCHED, factor];
    let job = process
        .context
        .launch(&program, &args, world.device().warps())
        .map_err(|e| failed("the launch")(&e))?;
    let good = progress::wait(world, &job, "touch").map_err(|e| failed("the job")(&e))?;
    let there = machine.now() - start;
    if good != 1 {
        return Err(RunError::Failed("the device read a wrong word".into()));
    }
    let start = machine.now();
    process.check(0..HOME)?;
    let home = machine.now() - start;
    // The others at once: they are not measured, but must be right.
    process
        .context
        .migrate_to_system(process.start, TOUCHED * PAGE_SIZE)
        .map_err(|e| failed("the rest of the way home")(&e))?;
    process.check(HOME..TOUCHED)?;
    Ok((there, home))
}

/// Cycles of a request to move the buffer to the device, and of one to move it home.
fn requested(world: &World) -> Result<[u64; 2], RunError> {
    let pages = REQUESTED / PAGE_SIZE;
    let process = Process::new(world, pages)?;
    let machine = &world.machine;
    let mut cycles = [0; 2];
    let start = machine.now();
    process
        .context
        .migrate_to_device(process.start, REQUESTED)
        .map_err(|e| failed("the migration to the device")(&e))?;
    cycles[0] = machine.now() - start;
    let start = machine.now();
    process
        .context
        .migrate_to_system(process.start, REQUESTED)
        .map_err(|e| failed("the migration home")(&e))?;
    cycles[1] = machine.now() - start;
    // On the model nothing takes time.
    if machine.config().backend == Backend::Rtl && cycles.contains(&0) {
        return Err(RunError::Failed("a migration took no time".into()));
    }
    process.check(0..pages)?;
    Ok(cycles)
}
