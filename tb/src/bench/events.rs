//! Figures that need something to happen: faults, invalidations, another context.

use std::collections::{BTreeMap, BTreeSet};

use hmmu_regs::{Access, Counter, CtrlEntry, CtrlOp, Pte};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use super::harvest::HarvestFigures;
use super::host::{BareHost, BenchError, Caps};
use super::measure::{CTX, Scene, kernel};
use super::tables::{PageSize, TRANSLATED, VRAM, resident};
use super::workload::Size;
use super::workloads::{WORKLOADS, Workload, triad};
use crate::kernels;
use crate::machine::MachineConfig;

/// The context that faults without end.
const OTHER: u64 = 2;
/// The workload that runs under invalidations and beside another context.
const VICTIM: &str = "gups";
/// A replay of everything comes so many cycles after the last one.
const REPLAY_EVERY: u64 = 400;
/// Of invalidations: most cycles from the end of one to the next.
const GAP: u64 = 64;
/// The host looks this often, in cycles.
const LOOK: u64 = 16;

/// Faults of a job whose pages come on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultFigures {
    /// Records in the fault ring.
    pub records: u64,
    /// Pages and kinds of access that they were about.
    pub needed: u64,
    /// Invalidations meanwhile.
    pub invalidations: u64,
}

/// A workload beside a context that faults without end, in cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherFigures {
    /// Alone, with the same threads.
    pub alone: u64,
    /// Nobody answers the faults.
    pub unanswered: u64,
    /// All faults are replayed again and again, and nothing is mapped.
    pub replayed: u64,
    /// Records of the context that faults, with replays.
    pub records: u64,
}

impl FaultFigures {
    /// Records for each that was needed.
    #[must_use]
    pub fn per_page(&self) -> f64 {
        self.records as f64 / self.needed.max(1) as f64
    }
}

impl OtherFigures {
    /// The smaller throughput, as a share of that alone.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        self.alone as f64 / self.unanswered.max(self.replayed).max(1) as f64
    }
}

/// Invalidations of a workload's pages while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidateFigures {
    /// How many.
    pub commands: u64,
    /// Cycles of all of them.
    pub cycles: u64,
    /// Cycles of the longest.
    pub worst: u64,
    /// What the device promises.
    pub bound: u64,
}

/// All of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Events {
    /// Without and with an invalidation storm.
    pub faults: [FaultFigures; 2],
    /// Another context.
    pub other: OtherFigures,
    /// Invalidations.
    pub invalidate: InvalidateFigures,
    /// Accessed bits.
    pub harvest: HarvestFigures,
}

impl Events {
    /// Steps that [`Events::measure`] reports.
    pub const STEPS: u64 = 5;

    /// Measures all; `step` hears what comes next.
    ///
    /// # Errors
    /// No device, a job that fails, a wrong result.
    pub fn measure(
        config: &MachineConfig,
        size: Size,
        mut step: impl FnMut(&str),
    ) -> Result<Self, BenchError> {
        step("faults");
        let calm = faults(config, size, false).map_err(|e| e.during("faults"))?;
        step("faults under invalidations");
        let storm =
            faults(config, size, true).map_err(|e| e.during("faults under invalidations"))?;
        step("a context that faults without end");
        let other =
            other(config, size).map_err(|e| e.during("a context that faults without end"))?;
        step("invalidations");
        let invalidate = invalidate(config, size).map_err(|e| e.during("invalidations"))?;
        step("accessed bits");
        let harvest = HarvestFigures::measure(config).map_err(|e| e.during("accessed bits"))?;
        Ok(Self {
            faults: [calm, storm],
            other,
            invalidate,
            harvest,
        })
    }
}

fn victim() -> Result<&'static Workload, BenchError> {
    WORKLOADS
        .iter()
        .find(|workload| workload.name == VICTIM)
        .ok_or_else(|| BenchError::Failed(format!("no workload {VICTIM}")))
}

fn range(ctx: u64, at: u64, bytes: u64) -> CtrlEntry {
    CtrlEntry::default()
        .with_ctx(ctx)
        .with_addr(at)
        .with_len(bytes)
}

/// Invalidations of a range's parts, one after the other as long as the job runs.
struct Storm {
    rng: Pcg32,
    ctx: u64,
    at: u64,
    pages: u64,
    under_way: Option<super::Ticket>,
    next: u64,
    count: u64,
}

impl Storm {
    fn new(seed: u64, ctx: u64, (at, pages): (u64, u64)) -> Self {
        Self {
            rng: Pcg32::seed_from_u64(seed),
            ctx,
            at,
            pages,
            under_way: None,
            next: 0,
            count: 0,
        }
    }

    /// Cycles until it has to be looked at.
    fn pause(&mut self) -> u64 {
        self.rng.random_range(1..=LOOK)
    }

    fn look(&mut self, host: &mut BareHost) -> Result<(), BenchError> {
        if let Some(ticket) = self.under_way {
            if !host.ended(ticket) {
                return Ok(());
            }
            self.under_way = None;
            self.next = host.now() + self.rng.random_range(0..GAP);
        }
        if host.now() < self.next {
            return Ok(());
        }
        let most = [1, 8, 64, 512, self.pages][self.rng.random_range(0..5)].min(self.pages);
        let first = self.rng.random_range(0..=self.pages - most);
        let entry = range(self.ctx, self.at + 4096 * first, 4096 * most);
        self.under_way = Some(host.command(entry, CtrlOp::Invalidate)?);
        self.count += 1;
        Ok(())
    }
}

/// Words read and written in place by all threads side by side, their pages mapped when somebody faults: for
/// reading first, for writing when somebody writes.
fn faults(config: &MachineConfig, size: Size, storm: bool) -> Result<FaultFigures, BenchError> {
    let pages: u64 = size.of(4, 32, 128);
    let mut scene = Scene::new(
        config,
        |image, shape| triad(image, shape, pages, true),
        TRANSLATED,
        size,
        |all| all,
    )?;
    scene.load();
    let (data, count) = scene.case.data;
    let absent = data - TRANSLATED..data - TRANSLATED + 4096 * count;
    let leaf = |at: u64| {
        if absent.contains(&(at & !VRAM)) {
            Pte::default()
        } else {
            resident(at)
        }
    };
    let tables = scene.context(CTX, 0, PageSize::Base, leaf)?;
    let job = scene.launch(CTX, scene.jobs[0], scene.threads)?;
    let mut storm = storm.then(|| Storm::new(config.seed, CTX, (data, count)));
    let mut seen = BTreeSet::new();
    let mut writable: BTreeMap<u64, bool> = BTreeMap::new();
    let mut records = 0;
    let host = &mut scene.host;
    while !host.ended(job) {
        host.run(storm.as_mut().map_or(LOOK, Storm::pause))?;
        while let Some(record) = host.take_fault() {
            records += 1;
            let va = record.addr();
            if record.ctx() != CTX || !absent.contains(&va.wrapping_sub(TRANSLATED)) {
                return Err(BenchError::Failed(format!(
                    "a fault at {va:#x}, which is mapped"
                )));
            }
            seen.insert((va, record.access()));
            let write = writable.entry(va).or_default();
            *write |= record.access() != Access::Read as u64;
            let entry = resident(VRAM | (va - TRANSLATED))
                .with_w(u64::from(*write))
                .with_a(0)
                .with_d(0);
            host.post(tables.entry(va), &entry.0[0].to_le_bytes());
            host.command(range(CTX, va, 4096), CtrlOp::Replay)?;
        }
        if let Some(storm) = &mut storm {
            storm.look(host)?;
        }
    }
    host.completion(job)?;
    scene.check()?;
    Ok(FaultFigures {
        records,
        needed: seen.len() as u64,
        invalidations: storm.map_or(0, |storm| storm.count),
    })
}

/// What happens to the faults of the other context.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// There is no other context.
    Alone,
    /// Nothing.
    Never,
    /// Replays without end.
    Replay,
}

fn other(config: &MachineConfig, size: Size) -> Result<OtherFigures, BenchError> {
    let (alone, _) = beside(config, size, Answer::Alone)?;
    let (unanswered, _) = beside(config, size, Answer::Never)?;
    let (replayed, records) = beside(config, size, Answer::Replay)?;
    Ok(OtherFigures {
        alone,
        unanswered,
        replayed,
        records,
    })
}

/// Cycles of a workload in half of the warps, and the fault records meanwhile. In the others, if they are not idle,
/// every thread of another context waits on a page of its own.
fn beside(config: &MachineConfig, size: Size, answer: Answer) -> Result<(u64, u64), BenchError> {
    let half = |all: u64| all / 2;
    let mut scene = Scene::new(config, victim()?.build, TRANSLATED, size, half)?;
    let (data, pages) = scene.case.data;
    let scratch = scene.image.take(8 * scene.threads, 64);
    let stride = kernels::stride().map_err(kernel)?;
    let touch = scene.job(&stride, &[data, pages, 1, scratch]);
    let waiting = scene.job(&stride, &[data, scene.threads.min(pages), 1, scratch]);
    scene.load();
    let tables = scene.context(CTX, 0, PageSize::Base, resident)?;
    let behind = (tables.bytes().len() as u64).next_multiple_of(4096);
    let absent = data - TRANSLATED..data - TRANSLATED + 4096 * pages;
    scene.context(OTHER, behind, PageSize::Base, |at| {
        if absent.contains(&(at & !VRAM)) {
            Pte::default()
        } else {
            resident(at)
        }
    })?;
    scene.run(touch)?;
    if answer != Answer::Alone {
        let parked = scene.threads.min(pages);
        let job = scene.launch(OTHER, waiting, parked)?;
        let mut records = 0;
        while records < parked {
            scene.host.run(LOOK)?;
            while scene.host.take_fault().is_some() {
                records += 1;
            }
            if scene.host.ended(job) {
                scene.host.completion(job)?;
                return Err(BenchError::Failed(
                    "the job that should wait has ended".into(),
                ));
            }
        }
    }
    let start = scene.host.now();
    let job = scene.launch(CTX, scene.jobs[0], scene.threads)?;
    let (mut records, mut replay, mut next) = (0, None, start);
    while !scene.host.ended(job) {
        scene.host.run(LOOK)?;
        while let Some(record) = scene.host.take_fault() {
            records += 1;
            if record.ctx() != OTHER {
                return Err(BenchError::Failed(format!(
                    "a fault at {:#x}, where all pages are resident",
                    record.addr()
                )));
            }
        }
        let host = &mut scene.host;
        let answered = replay.is_none_or(|ticket| host.ended(ticket));
        if answer == Answer::Replay && host.now() >= next && answered {
            let everything = range(OTHER, data, 4096 * pages);
            replay = Some(host.command(everything, CtrlOp::Replay)?);
            next = host.now() + REPLAY_EVERY;
        }
    }
    let cycles = scene.host.now() - start;
    scene.host.completion(job)?;
    scene.check()?;
    Ok((cycles, records))
}

fn invalidate(config: &MachineConfig, size: Size) -> Result<InvalidateFigures, BenchError> {
    let mut scene = Scene::new(config, victim()?.build, TRANSLATED, size, |all| all)?;
    scene.load();
    scene.context(CTX, 0, PageSize::Base, resident)?;
    let mut storm = Storm::new(config.seed, CTX, scene.case.data);
    let job = scene.launch(CTX, scene.jobs[0], scene.threads)?;
    while !scene.host.ended(job) {
        let pause = storm.pause();
        scene.host.run(pause)?;
        storm.look(&mut scene.host)?;
    }
    scene.host.completion(job)?;
    let counts = scene.host.counts()?;
    scene.check()?;
    Ok(InvalidateFigures {
        commands: counts.get(Counter::Invalidations),
        cycles: counts.get(Counter::InvalidateCycles),
        worst: counts.get(Counter::InvalidateWorst),
        bound: bound(config, scene.host.caps()),
    })
}

/// Most cycles of an invalidation here, where the tables and all data lie in device memory: the bound of
/// rtl/mmu.sv with the latencies of this machine.
fn bound(config: &MachineConfig, caps: Caps) -> u64 {
    /// Stages on the way to the memory and back.
    const STAGES: u64 = 16;
    /// Accesses of a warp that are under way at once.
    const ACCESSES: u64 = 4;
    let sweep = caps.l2_sets / 2 + 3;
    // What a unit's warps have translated goes out one after the other, each after a turn of every other client of
    // the memory: data and fetch of each unit, walker, copies, rings, host.
    let clients = 2 * caps.units + 4;
    sweep.max(config.vram_latency + ACCESSES * caps.warps * clients + STAGES)
}
