//! `hmmu bench`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::bench::{
    BenchError, CopyFigures, CopyPart, CopyReport, Plan, Report, Results, Size, WORKLOADS,
};
use crate::cli::{FAILED, unusable};
use crate::complain;
use crate::machine::{Backend, MAX_CYCLES, MachineConfig};
use crate::outputs::{writable, write_figures};
use crate::schema::Schema;

/// Arguments of `hmmu bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Address translation: against an ideal MMU, others' figures and the targets.
    Mmu(MmuArgs),
    /// The copy channels: rates, latencies and shares of the link.
    Copy(CopyArgs),
}

/// Arguments of `hmmu bench copy`.
#[derive(Args, Debug)]
struct CopyArgs {
    /// The device: the verilated design or the functional model.
    #[arg(long, value_enum, default_value = "rtl")]
    backend: Backend,
    /// Only this; may be given several times.
    #[arg(long, value_enum, value_name = "PART")]
    part: Vec<CopyPart>,
    /// Seed of all latencies.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A run fails after this many device cycles.
    #[arg(long, value_name = "N", default_value_t = MAX_CYCLES)]
    max_cycles: u64,
}

/// Arguments of `hmmu bench mmu`.
#[derive(Args, Debug)]
struct MmuArgs {
    /// The device: the verilated design or the functional model.
    #[arg(long, value_enum, default_value = "rtl")]
    backend: Backend,
    /// How much the workloads do.
    #[arg(long, value_enum, default_value = "default")]
    size: Size,
    /// Only this workload; may be given several times. Leaves out the MMU alone, faults, invalidations and contexts.
    #[arg(long, value_name = "NAME", value_parser = names())]
    workload: Vec<String>,
    /// Leaves out the runs with parts of the MMU switched off and with other page sizes.
    #[arg(long)]
    no_ablations: bool,
    /// Seed of the workloads' data and of all latencies.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A run fails after this many device cycles.
    #[arg(long, value_name = "N", default_value_t = MAX_CYCLES)]
    max_cycles: u64,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(WORKLOADS.iter().map(|workload| workload.name))
}

/// Runs a benchmark; the exit status.
#[must_use]
pub fn run(args: &BenchArgs) -> u8 {
    match &args.what {
        What::Mmu(args) => run_mmu(args),
        What::Copy(args) => run_copy(args),
    }
}

/// Checks that this build has the device and that the figures can be written.
fn usable(backend: Backend, json: Option<&Path>) -> Result<(), String> {
    if cfg!(not(feature = "rtl")) && backend == Backend::Rtl {
        return Err(crate::machine::NO_RTL.into());
    }
    json.map_or(Ok(()), writable)
}

/// The exit status of a benchmark that ended without figures.
fn ended(error: &BenchError, seed: u64) -> u8 {
    match error {
        BenchError::Unusable(text) => unusable(text),
        BenchError::Failed(text) => {
            complain!("hmmu: {text} (seed {seed})");
            FAILED
        }
    }
}

/// Writes the figures; the exit status.
fn written(json: Option<&Path>, schema: Schema, figures: impl FnOnce() -> Value) -> u8 {
    match write_figures(json, schema, figures) {
        Ok(()) => 0,
        Err(text) => unusable(&text),
    }
}

fn run_copy(args: &CopyArgs) -> u8 {
    if let Err(text) = usable(args.backend, args.json.as_deref()) {
        return unusable(&text);
    }
    let machine = MachineConfig {
        max_cycles: args.max_cycles,
        ..MachineConfig::new(args.backend, args.seed)
    };
    let bar = std::io::stderr()
        .is_terminal()
        .then(ProgressBar::new_spinner);
    let progress = |what: &str| {
        if let Some(bar) = &bar {
            bar.set_message(what.to_string());
            bar.tick();
        }
    };
    let parts = match &args.part[..] {
        [] => CopyPart::value_variants(),
        some => some,
    };
    let measured = CopyFigures::measure(&machine, parts, &progress);
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let figures = match measured {
        Ok(figures) => figures,
        Err(error) => return ended(&error, args.seed),
    };
    let report = CopyReport::new(&machine, &figures);
    report.print();
    written(args.json.as_deref(), Schema::BENCH_COPY, || report.json())
}

fn run_mmu(args: &MmuArgs) -> u8 {
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(text) => return unusable(&text),
    };
    let results = match measured(&plan) {
        Ok(results) => results,
        Err(error) => return ended(&error, args.seed),
    };
    let report = Report::new(&plan, &results);
    report.print();
    written(args.json.as_deref(), Schema::BENCH_MMU, || report.json())
}

fn plan(args: &MmuArgs) -> Result<Plan, String> {
    usable(args.backend, args.json.as_deref())?;
    let all = args.workload.is_empty();
    let chosen = |name: &str| all || args.workload.iter().any(|chosen| chosen == name);
    Ok(Plan {
        machine: MachineConfig {
            max_cycles: args.max_cycles,
            ..MachineConfig::new(args.backend, args.seed)
        },
        size: args.size,
        workloads: WORKLOADS
            .iter()
            .filter(|workload| chosen(workload.name))
            .collect(),
        ablations: !args.no_ablations,
        events: all,
    })
}

fn measured(plan: &Plan) -> Result<Results, BenchError> {
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(plan.steps());
        let style = "{spinner} [{bar:30}] {pos}/{len} {msg} [{elapsed}]";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    });
    let mut begun = false;
    let results = plan.run(|what| {
        if let Some(bar) = &bar {
            if begun {
                bar.inc(1);
            }
            bar.set_message(what.to_string());
        }
        begun = true;
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    results
}
