//! Everything that `hmmu bench mmu` measures, in one run.

use super::block::Block;
use super::events::Events;
use super::host::{BareHost, BenchError, Caps};
use super::limits;
use super::measure::{Measured, Mode, Run, measure};
use super::tables::PageSize;
use super::workload::Size;
use super::workloads::Workload;
use crate::machine::{Backend, MachineConfig};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The machine.
    pub machine: MachineConfig,
    /// How much the workloads do.
    pub size: Size,
    /// The workloads.
    pub workloads: Vec<&'static Workload>,
    /// Also with parts of the MMU switched off, and with other page sizes.
    pub ablations: bool,
    /// Also faults, invalidations and a second context, and the MMU alone if the device is the verilated one.
    pub events: bool,
}

/// One change of the configuration that all workloads run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ablation {
    /// Its name in figures.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Pages of the mapping.
    pub pages: PageSize,
    /// The register XLAT_LIMITS: see [`limits`].
    pub limits: u64,
}

impl Ablation {
    const fn limits(name: &'static str, about: &'static str, limits: u64) -> Self {
        Self {
            name,
            about,
            pages: PageSize::Base,
            limits,
        }
    }

    const fn pages(name: &'static str, about: &'static str, pages: PageSize) -> Self {
        Self {
            name,
            about,
            pages,
            limits: 0,
        }
    }
}

/// All of them.
pub const ABLATIONS: &[Ablation] = &[
    Ablation::limits("walkers_1", "1 walk in flight", 1),
    Ablation::limits("walkers_2", "2 walks in flight", 2),
    Ablation::limits("walkers_4", "4 walks in flight", 4),
    Ablation::limits("walkers_8", "8 walks in flight", 8),
    Ablation::limits("walk_cache_off", "no walk cache", limits::WALK_CACHE_OFF),
    Ablation::limits("l2_off", "no L2 TLB", limits::L2_OFF),
    Ablation::limits("merging_off", "no merging", limits::MERGING_OFF),
    Ablation::pages("pages_64k", "pages of 64 KiB", PageSize::Middle),
    Ablation::pages("pages_2m", "pages of 2 MiB", PageSize::Large),
    Ablation::pages("pages_1g", "pages of 1 GiB", PageSize::Huge),
];

/// A workload in both modes.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Which one.
    pub workload: &'static Workload,
    /// With an ideal MMU.
    pub ideal: Measured,
    /// Translated.
    pub translated: Measured,
}

impl Pair {
    /// Its speed as a share of the ideal MMU's.
    #[must_use]
    pub fn share(&self) -> f64 {
        share(&self.ideal, &self.translated)
    }
}

/// The workloads with one change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The change.
    pub ablation: Ablation,
    /// Each workload, in the plan's order, with its share of the ideal.
    pub runs: Vec<(Measured, f64)>,
    /// Of the MMU alone: cycles and reads of each translation of a stream of misses.
    pub stream: Option<(f64, f64)>,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Results {
    /// What the device holds.
    pub caps: Caps,
    /// The workloads.
    pub pairs: Vec<Pair>,
    /// With changes.
    pub ablations: Vec<Changed>,
    /// Faults, invalidations, a second context.
    pub events: Option<Events>,
    /// The MMU alone.
    pub block: Option<Block>,
}

impl Results {
    /// Cycles simulated in a second of the processor, over all workloads as translated; none if it was too short.
    #[must_use]
    pub fn cycles_per_second(&self) -> Option<f64> {
        let runs = self.pairs.iter().map(|pair| pair.translated.simulated);
        let (cycles, seconds) = runs.fold((0, 0.0), |sum, run| (sum.0 + run.0, sum.1 + run.1));
        (seconds > 0.0).then(|| cycles as f64 / seconds)
    }
}

fn share(ideal: &Measured, real: &Measured) -> f64 {
    ideal.cycles as f64 / real.cycles.max(1) as f64
}

impl Plan {
    /// Steps that [`Plan::run`] reports.
    #[must_use]
    pub fn steps(&self) -> u64 {
        let rounds = 2 + if self.ablations { ABLATIONS.len() } else { 0 };
        let events = if self.events { Events::STEPS } else { 0 };
        self.workloads.len() as u64 * rounds as u64 + events + u64::from(self.block())
    }

    /// Is the MMU measured alone, too?
    fn block(&self) -> bool {
        self.events && self.machine.backend == Backend::Rtl
    }

    /// Measures all of it; `step` hears what comes next.
    ///
    /// # Errors
    /// No device, a job that fails, a wrong result.
    pub fn run(&self, mut step: impl FnMut(&str)) -> Result<Results, BenchError> {
        let caps = BareHost::new(&self.machine)?.caps();
        let block = if self.block() {
            step("the MMU alone");
            Some(Block::measure().map_err(BenchError::Failed)?)
        } else {
            None
        };
        let run = |mode, limits, workload: &Workload| {
            let run = Run {
                mode,
                size: self.size,
                limits,
            };
            measure(&self.machine, workload, run)
        };
        let mut pairs = Vec::new();
        for &workload in &self.workloads {
            step(&format!("{}, ideal", workload.name));
            let ideal = run(Mode::Bypass, 0, workload)?;
            step(workload.name);
            let translated = run(Mode::Translate(PageSize::Base), 0, workload)?;
            pairs.push(Pair {
                workload,
                ideal,
                translated,
            });
        }
        let mut ablations = Vec::new();
        for &ablation in ABLATIONS.iter().filter(|_| self.ablations) {
            let mut runs = Vec::new();
            for pair in &pairs {
                step(&format!("{}, {}", pair.workload.name, ablation.about));
                let mode = Mode::Translate(ablation.pages);
                let real = run(mode, ablation.limits, pair.workload)?;
                let share = share(&pair.ideal, &real);
                runs.push((real, share));
            }
            let limited = block.is_some() && ablation.limits != 0;
            let stream = if limited {
                Some(Block::stream(ablation.limits).map_err(BenchError::Failed)?)
            } else {
                None
            };
            ablations.push(Changed {
                ablation,
                runs,
                stream,
            });
        }
        let events = if self.events {
            Some(Events::measure(&self.machine, self.size, &mut step)?)
        } else {
            None
        };
        Ok(Results {
            caps,
            pairs,
            ablations,
            events,
            block,
        })
    }
}
