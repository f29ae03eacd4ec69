//! Running a workload in one mode.

use hmmu_driver::Program;
use hmmu_regs::{Counter, CtxMode, LaunchEntry, reg};

use super::counts::Counts;
use super::cpu_time::CpuTime;
use super::host::{BareHost, BenchError, Ticket};
use super::image::{Image, word};
use super::tables::{BYPASS, PageSize, TRANSLATED, Tables, resident};
use super::workload::{Case, Shape, Size};
use super::workloads::Workload;
use crate::kernels::{self, KernelError};
use crate::machine::MachineConfig;

/// Bytes of device memory: room for every workload, its tables and its programs.
pub const VRAM_BYTES: u64 = 64 << 20;
/// The context that workloads run in.
pub const CTX: u64 = 1;
/// The host looks at least this often.
const LOOK: u64 = 4096;

/// How a context gets at its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Through tables with pages of this size.
    Translate(PageSize),
    /// As with an ideal MMU.
    Bypass,
}

impl Mode {
    /// Address of byte 0 of device memory.
    #[must_use]
    pub fn base(self) -> u64 {
        match self {
            Self::Translate(_) => TRANSLATED,
            Self::Bypass => BYPASS,
        }
    }
}

/// How to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The context's mode.
    pub mode: Mode,
    /// How much to do.
    pub size: Size,
    /// The register XLAT_LIMITS: see [`super::limits`].
    pub limits: u64,
}

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Cycles in which at least one warp was busy.
    pub cycles: u64,
    /// Pages of 4 KiB of the data.
    pub pages: u64,
    /// What was counted from the launch of the first job to the end of the last.
    pub counts: Counts,
    /// Cycles simulated in that time, and seconds of the processor that it took.
    pub simulated: (u64, f64),
}

/// A workload in device memory, ready to run.
pub struct Scene {
    /// The device and its host.
    pub host: BareHost,
    /// The workload.
    pub case: Case,
    /// The memory that it was given.
    pub image: Image,
    /// Entry and argument addresses of its jobs.
    pub jobs: Vec<(u64, u64)>,
    /// Threads of each job.
    pub threads: u64,
}

impl Scene {
    /// A device with a workload for `threads` of its threads, without tables and context.
    ///
    /// # Errors
    /// No device, or a program that does not assemble.
    pub fn new(
        config: &MachineConfig,
        workload: impl FnOnce(&mut Image, &Shape) -> Result<Case, KernelError>,
        base: u64,
        size: Size,
        threads: impl FnOnce(u64) -> u64,
    ) -> Result<Self, BenchError> {
        let config = MachineConfig {
            vram: VRAM_BYTES,
            ..config.clone()
        };
        let host = BareHost::new(&config)?;
        let shape = Shape {
            size,
            threads: threads(host.caps().threads()).max(1),
            seed: config.seed,
        };
        let mut image = Image::new(base);
        let case = workload(&mut image, &shape).map_err(kernel)?;
        // Programs and arguments have pages of their own.
        image.take(0, 4096);
        let mut scene = Self {
            host,
            case,
            image,
            jobs: Vec::new(),
            threads: shape.threads,
        };
        for phase in scene.case.phases.clone() {
            let job = scene.job(&phase.program, &phase.args);
            scene.jobs.push(job);
        }
        Ok(scene)
    }

    /// Puts one more job into the image.
    pub fn job(&mut self, program: &Program, args: &[u64]) -> (u64, u64) {
        let code = self.image.code(&program.code);
        (code + program.entry, self.image.words(args))
    }

    /// Writes the image to device memory.
    pub fn load(&mut self) {
        self.host.poke(0, self.image.bytes());
    }

    /// Writes tables behind the image, `behind` bytes after its end, and sets a context to them.
    ///
    /// # Errors
    /// The command does not end.
    pub fn context(
        &mut self,
        ctx: u64,
        behind: u64,
        size: PageSize,
        leaf: impl Fn(u64) -> hmmu_regs::Pte,
    ) -> Result<Tables, BenchError> {
        let bytes = self.image.len();
        let at = bytes.next_multiple_of(4096) + behind;
        let tables = Tables::new(at, bytes, size, leaf);
        let raw = tables.bytes();
        if at + raw.len() as u64 > VRAM_BYTES {
            return Err(BenchError::Unusable(
                "the workload does not fit device memory".into(),
            ));
        }
        self.host.poke(at, &raw);
        self.host
            .set_context(ctx, tables.root(), CtxMode::Translate)?;
        Ok(tables)
    }

    /// Starts a job.
    ///
    /// # Errors
    /// The ring does not move.
    pub fn launch(
        &mut self,
        ctx: u64,
        job: (u64, u64),
        threads: u64,
    ) -> Result<Ticket, BenchError> {
        self.host.launch(
            LaunchEntry::default()
                .with_ctx(ctx)
                .with_threads(threads)
                .with_entry(job.0)
                .with_arg(job.1),
        )
    }

    /// Runs a job of the resident context to its end.
    ///
    /// # Errors
    /// A fault, a job that fails, the limit of cycles.
    pub fn run(&mut self, job: (u64, u64)) -> Result<(), BenchError> {
        let ticket = self.launch(CTX, job, self.threads)?;
        while !self.host.ended(ticket) {
            self.host.run(LOOK)?;
            if let Some(record) = self.host.take_fault() {
                return Err(BenchError::Failed(format!(
                    "a fault at {:#x}, where all pages are resident",
                    record.addr()
                )));
            }
        }
        self.host.completion(ticket).map(|_| ())
    }

    /// Compares the result with what it should be.
    ///
    /// # Errors
    /// A word that differs.
    pub fn check(&mut self) -> Result<(), BenchError> {
        let mut bytes = vec![0; self.image.len() as usize];
        self.host.peek(0, &mut bytes);
        let base = self.image.base();
        for &(at, want) in &self.case.expected {
            let got = word(&bytes, at - base);
            if got != want {
                return Err(BenchError::Failed(format!(
                    "wrong result: {got:#x} at {at:#x}, a CPU says {want:#x}"
                )));
            }
        }
        Ok(())
    }
}

pub(super) fn kernel(error: KernelError) -> BenchError {
    BenchError::Failed(error.to_string())
}

/// Runs a workload on a device of its own, its pages resident and touched beforehand, and checks its result.
///
/// # Errors
/// No device, a job that fails, a wrong result.
pub fn measure(
    config: &MachineConfig,
    workload: &Workload,
    run: Run,
) -> Result<Measured, BenchError> {
    go(config, workload, run).map_err(|error| error.during(workload.name))
}

fn go(config: &MachineConfig, workload: &Workload, run: Run) -> Result<Measured, BenchError> {
    let mut scene = Scene::new(config, workload.build, run.mode.base(), run.size, |all| all)?;
    let (data, pages) = scene.case.data;
    let scratch = scene.image.take(8 * scene.threads, 64);
    let touch = kernels::stride().map_err(kernel)?;
    let touch = scene.job(&touch, &[data, pages, 1, scratch]);
    scene.load();
    scene.host.write(reg::XLAT_LIMITS, run.limits);
    match run.mode {
        Mode::Translate(size) => {
            scene.context(CTX, 0, size, resident)?;
        }
        Mode::Bypass => scene.host.set_context(CTX, 0, CtxMode::Bypass)?,
    }
    scene.run(touch)?;
    let before = scene.host.counts()?;
    let (start, clock) = (scene.host.now(), CpuTime::start());
    for job in scene.jobs.clone() {
        scene.run(job)?;
    }
    let simulated = (scene.host.now() - start, clock.seconds());
    let counts = scene.host.counts()?.since(&before);
    scene.check()?;
    Ok(Measured {
        cycles: counts.get(Counter::CuBusy),
        pages,
        counts,
        simulated,
    })
}
