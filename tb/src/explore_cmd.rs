//! `hmmu explore`.

use std::io::IsTerminal;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use hmm_core::sync::{Decision, Schedule};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::{FAILED, UNUSABLE, unusable};
use crate::explore::{
    Batch, Failure, Outcome, Plan, Shrunk, Strategies, describe, first_failure, shrink,
};
use crate::machine::{Backend, MAX_CYCLES, MachineConfig};
use crate::outputs::{writable, write, write_figures};
use crate::run_cmd::{collect, each_variant};
use crate::schedule_args::{DEPTH, Strategy, length, text};
use crate::schema::Schema;
use crate::script::{Script, Variant, run_script};
use crate::world::Outputs;
use crate::{complain, say};

/// Scheduling points of a run, at most, unless told otherwise.
const MOST_POINTS: u64 = 20_000_000;

/// Arguments of `hmmu explore`.
#[derive(Args, Debug)]
pub struct ExploreArgs {
    /// Scripts, and folders of scripts.
    #[arg(required = true, value_name = "SCRIPT|DIR")]
    scripts: Vec<PathBuf>,
    /// Only this variant of scripts that name several.
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// The device.
    #[arg(long, value_enum, default_value = "model")]
    backend: Backend,
    /// Schedules for each script: one for each seed.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// Schedules that are run at once.
    #[arg(long, value_name = "J", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// How seeds interleave host threads; both: even seeds random, odd ones pct.
    #[arg(long, value_enum, default_value = "both")]
    strategy: Strategies,
    /// Of pct: points at which priorities change.
    #[arg(long, value_name = "D", default_value_t = DEPTH)]
    depth: u32,
    /// Of pct: the scheduling points that these are drawn from (default: those of a run without preemptions).
    #[arg(long, value_name = "POINTS")]
    length: Option<u64>,
    /// A run fails after this many device cycles.
    #[arg(long, value_name = "N", default_value_t = 100_000_000)]
    max_cycles: u64,
    /// A run fails after this many scheduling points (default: 200 times those of a run without preemptions, and
    /// a million more; at most 20 million).
    #[arg(long, value_name = "N")]
    max_points: Option<u64>,
    /// Leaves out the check of the rules after every call of a script.
    #[arg(long)]
    no_checks: bool,
    /// Writes every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the shrunk schedule of a failure to this file, for hmmu run --schedule.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// One explored script.
struct Explored {
    plan: Plan,
    batch: Batch,
    seconds: f64,
}

/// Explores scripts; the exit status.
#[must_use]
pub fn run(args: &ExploreArgs) -> u8 {
    let (scripts, seeds) = match prepare(args) {
        Ok(prepared) => prepared,
        Err(text) => return unusable(&text),
    };
    let mut reports = Vec::new();
    let mut status = 0;
    for script in &scripts {
        let explored = explore(args, script, seeds.clone());
        let (name, count) = (script.name(), explored.batch.schedules);
        let rate = explored.batch.runs as f64 / explored.seconds.max(1e-9);
        let mut report = json!({
            "file": script.file().display().to_string(),
            "variant": script.variant().map(|variant| variant.to_string()),
            "backend": args.backend.name(),
            "first_seed": seeds.start,
            "schedules": count,
            "runs": explored.batch.runs,
            "jobs": args.jobs,
            "pct_depth": explored.plan.depth,
            "pct_length": explored.plan.length,
            "wall_seconds": explored.seconds,
            "schedules_per_second": rate,
            "failure": Value::Null,
        });
        match &explored.batch.failure {
            None => say!("{name}: {count} schedules, none failed ({rate:.0} a second)"),
            Some(failure) if failure.outcome.unusable => {
                complain!("{}", failure.outcome.error.clone().unwrap_or_default());
                status = UNUSABLE;
            }
            Some(failure) => {
                say!("{name}: FAILED in schedule {count}");
                match show(args, script, &explored.plan, failure) {
                    Ok(shown) => report["failure"] = shown,
                    Err(text) => return unusable(&text),
                }
                status = FAILED;
            }
        }
        reports.push(report);
        if status != 0 {
            break;
        }
    }
    if let Err(text) = write_figures(
        args.json.as_deref(),
        Schema::EXPLORE,
        || json!({ "scripts": reports }),
    ) {
        return unusable(&text);
    }
    status
}

/// Checks what can be checked before anything runs.
fn prepare(args: &ExploreArgs) -> Result<(Vec<Script>, Range<u64>), String> {
    if cfg!(not(feature = "rtl")) && args.backend == Backend::Rtl {
        return Err(crate::machine::NO_RTL.into());
    }
    let end = args.first.checked_add(args.seeds).ok_or_else(|| {
        format!(
            "--seeds {} from {} on: beyond the last seed",
            args.seeds, args.first
        )
    })?;
    for file in [&args.json, &args.out].into_iter().flatten() {
        writable(file)?;
    }
    let runs = each_variant(collect(&args.scripts)?, args.variant)?;
    let scripts: Result<Vec<Script>, String> = runs
        .iter()
        .map(|(file, variant)| Ok(Script::load(file)?.as_variant(*variant)))
        .collect();
    Ok((scripts?, args.first..end))
}

fn machine(args: &ExploreArgs, seed: u64) -> MachineConfig {
    MachineConfig {
        max_cycles: args.max_cycles,
        ..MachineConfig::new(args.backend, seed)
    }
}

fn outputs(args: &ExploreArgs) -> Outputs {
    Outputs {
        quiet: true,
        no_checks: args.no_checks,
        ..Outputs::default()
    }
}

fn run_one(args: &ExploreArgs, script: &Script, seed: u64, schedule: &Schedule) -> Outcome {
    let (result, recording) = run_script(script, &machine(args, seed), &outputs(args), schedule);
    Outcome {
        error: result.error,
        unusable: result.unusable,
        recording,
    }
}

fn explore(args: &ExploreArgs, script: &Script, seeds: Range<u64>) -> Explored {
    let start = Instant::now();
    let usual = match (args.length, args.max_points) {
        (Some(length), Some(_)) => length,
        _ => length(script, &machine(args, 0), &outputs(args)),
    };
    let most = usual
        .saturating_mul(200)
        .saturating_add(1_000_000)
        .min(MOST_POINTS);
    let plan = Plan {
        strategies: args.strategy,
        depth: args.depth,
        length: args.length.unwrap_or(usual).max(1),
        most_points: args.max_points.unwrap_or(most),
    };
    let bar = std::io::stderr()
        .is_terminal()
        .then(|| bar(args.seeds, &script.name()));
    let batch = first_failure(
        seeds,
        usize::from(args.jobs),
        |seed| run_one(args, script, seed, &plan.schedule(seed)),
        || {
            if let Some(bar) = &bar {
                bar.inc(1);
            }
        },
    );
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Explored {
        plan,
        batch,
        seconds: start.elapsed().as_secs_f64(),
    }
}

fn bar(seeds: u64, name: &str) -> ProgressBar {
    let bar = ProgressBar::new(seeds);
    let style = "{msg} [{bar:30}] {pos}/{len} schedules, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.set_message(name.to_string());
    bar
}

/// Shrinks a failure and says all about it.
fn show(
    args: &ExploreArgs,
    script: &Script,
    plan: &Plan,
    failure: &Failure,
) -> Result<Value, String> {
    let seed = failure.seed;
    let error = failure.outcome.error.clone().unwrap_or_default();
    let found = &failure.outcome.recording;
    let strategy = plan.strategy(seed);
    let options = match strategy {
        Strategy::Random => String::new(),
        Strategy::Pct => format!(
            " --strategy pct --depth {} --length {}",
            plan.depth, plan.length
        ),
    };
    let seeded = command(args, script, plan, seed, &error, &options);
    say!("{error}");
    say!(
        "seed {seed} ({}), {} decisions, {} of them preemptions; it replays with",
        strategy.name(),
        found.switches.len(),
        found.preemptions()
    );
    say!("  {seeded}");
    let replay = |decisions: &[Decision]| {
        let schedule = Schedule::replay(decisions).most_points(plan.most_points);
        run_one(args, script, seed, &schedule)
    };
    let mut value = json!({
        "seed": seed,
        "strategy": strategy.name(),
        "error": error,
        "decisions": found.switches.len(),
        "preemptions": found.preemptions(),
        "command": seeded,
        "shrunk": Value::Null,
    });
    let Some(shrunk) = shrink(&error, found, replay) else {
        say!("its decisions alone do not make it fail: not shrunk");
        return Ok(value);
    };
    let shown = show_shrunk(args, script, plan, seed, &shrunk);
    if let Some(path) = &args.out {
        write(path, format!("{shown:#}\n"))?;
    }
    value["shrunk"] = shown;
    Ok(value)
}

fn show_shrunk(
    args: &ExploreArgs,
    script: &Script,
    plan: &Plan,
    seed: u64,
    shrunk: &Shrunk,
) -> Value {
    let lines = describe(&shrunk.recording);
    let count = shrunk.recording.preemptions();
    let list = text(&shrunk.decisions);
    let options = format!(" --schedule {list}");
    let short = command(args, script, plan, seed, &shrunk.error, &options);
    if lines.is_empty() {
        say!(
            "shrunk in {} runs: it fails without any preemption",
            shrunk.runs
        );
    } else {
        say!(
            "shrunk in {} runs to {} decisions, {count} of them preemptions:",
            shrunk.runs,
            lines.len()
        );
    }
    for line in &lines {
        say!("  {line}");
    }
    say!("{}", shrunk.error);
    say!("it replays with");
    say!("  {short}");
    json!({
        "file": script.file().display().to_string(),
        "seed": seed,
        "schedule": list,
        "error": shrunk.error,
        "preemptions": count,
        "steps": lines,
        "runs": shrunk.runs,
        "command": short,
    })
}

/// The command that repeats a run.
fn command(
    args: &ExploreArgs,
    script: &Script,
    plan: &Plan,
    seed: u64,
    error: &str,
    options: &str,
) -> String {
    let file = script.file().display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:".contains(c);
    let file = if file.chars().all(plain) {
        file
    } else {
        format!("'{}'", file.replace('\'', "'\\''"))
    };
    let backend = args.backend.name();
    let mut text = format!("hmmu run {file} --backend {backend} --seed {seed}{options}");
    if let Some(variant) = script.variant() {
        text.push_str(&format!(" --variant {variant}"));
    }
    if args.no_checks {
        text.push_str(" --no-checks");
    }
    if args.max_cycles < MAX_CYCLES && error.contains("cycle limit") {
        text.push_str(&format!(" --max-cycles {}", args.max_cycles));
    }
    if error.contains("scheduling points") {
        text.push_str(&format!(" --max-points {}", plan.most_points));
    }
    text
}
