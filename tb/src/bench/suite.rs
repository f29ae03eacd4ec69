//! Everything that `hmmu bench mmu` measures, in one run.

use super::events::Events;
use super::host::{BareHost, BenchError, Caps};
use super::measure::{Measured, Mode, Run, measure};
use super::tables::PageSize;
use super::workload::Size;
use super::workloads::Workload;
use crate::machine::MachineConfig;

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
    /// Also faults, invalidations and a second context.
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
}

/// All of them.
pub const ABLATIONS: &[Ablation] = &[Ablation {
    name: "pages_2m",
    about: "pages of 2 MiB",
    pages: PageSize::Large,
}];

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
        self.workloads.len() as u64 * rounds as u64 + events
    }

    /// Measures all of it; `step` hears what comes next.
    ///
    /// # Errors
    /// No device, a job that fails, a wrong result.
    pub fn run(&self, mut step: impl FnMut(&str)) -> Result<Results, BenchError> {
        let caps = BareHost::new(&self.machine)?.caps();
        let run = |mode, workload: &Workload| {
            let run = Run {
                mode,
                size: self.size,
            };
            measure(&self.machine, workload, run)
        };
        let mut pairs = Vec::new();
        for &workload in &self.workloads {
            step(&format!("{}, ideal", workload.name));
            let ideal = run(Mode::Bypass, workload)?;
            step(workload.name);
            let translated = run(Mode::Translate(PageSize::Base), workload)?;
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
                let real = run(Mode::Translate(ablation.pages), pair.workload)?;
                let share = share(&pair.ideal, &real);
                runs.push((real, share));
            }
            ablations.push(Changed { ablation, runs });
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
        })
    }
}
