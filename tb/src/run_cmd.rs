//! `hmmu run`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::{Common, FAILED, unusable};
use crate::junit::junit;
use crate::outputs::{outputs, writable, write, write_run};
use crate::rerun::{Rerun, RerunArgs};
use crate::schedule_args::ScheduleArgs;
use crate::schema::{Schema, command};
use crate::script::{ScenarioResult, Script, Stats, Variant, run_script, variants};
use crate::trail::{Told, Trail};
use crate::wave::WaveFile;
use crate::world::Outputs;
use crate::{complain, say, style};

/// Arguments of `hmmu run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Scripts, and folders of scripts.
    #[arg(required = true, value_name = "SCRIPT|DIR")]
    scripts: Vec<PathBuf>,
    /// Only this variant of scripts that name several (`//! variants: private, coherent`).
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    schedule: ScheduleArgs,
    /// Writes the results to this file as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    rerun: RerunArgs,
    /// Leaves out the check of the memory manager's and the mirrors' rules after every call.
    #[arg(long)]
    no_checks: bool,
}

/// Runs scripts; the exit status.
#[must_use]
pub fn run(args: &RunArgs) -> u8 {
    let files = match collect(&args.scripts) {
        Ok(files) => files,
        Err(text) => return unusable(&text),
    };
    let common = &args.common;
    let runs = match each_variant(files, args.variant) {
        Ok(runs) => runs,
        Err(text) => return unusable(&text),
    };
    let decisions = match args.schedule.decisions() {
        Ok(decisions) => decisions,
        Err(text) => return unusable(&text),
    };
    let (mut outputs, wave) = match outputs_of(common, runs.len()) {
        Ok((outputs, wave)) => (
            Outputs {
                no_checks: args.no_checks,
                ..outputs
            },
            wave,
        ),
        Err(text) => return unusable(&text),
    };
    if let Some(text) = args.junit.as_deref().and_then(|path| writable(path).err()) {
        return unusable(&text);
    }
    let mut results = Vec::new();
    let mut told: Vec<Told> = Vec::new();
    let mut rerun = Rerun::new(&args.rerun, &common.waves);
    let machine = common.machine();
    for (file, variant) in &runs {
        let script = match Script::load(file) {
            Ok(script) => script.as_variant(*variant),
            Err(error) => {
                let result = ScenarioResult::unusable(file, error);
                tell(&result);
                results.push(result);
                told.push(Told::default());
                continue;
            }
        };
        let schedule = args
            .schedule
            .schedule(&script, &machine, &outputs, decisions.as_ref());
        let run = |outputs: &Outputs| run_script(&script, &machine, outputs, &schedule).0;
        common.waves.aim(wave.as_ref(), &mut outputs, |first| {
            // How it ends, the second run tells.
            let _ = run(first);
        });
        let result = run(&outputs);
        tell(&result);
        if let Err(text) = rerun.after(&result, &machine, &outputs, run) {
            complain!("hmmu: {text}");
        }
        results.push(result);
        let mut run = outputs
            .trail
            .as_ref()
            .map(Trail::take)
            .map(Told::from)
            .unwrap_or_default();
        if common.report.is_none() {
            run.events.clear();
        }
        told.push(run);
    }
    let failed = results.iter().filter(|result| !result.passed()).count();
    say!("{} passed, {failed} failed", results.len() - failed);
    if let Some(wave) = wave
        && let Err(text) = wave.finish(outputs.wave.as_ref())
    {
        return unusable(&text);
    }
    if let (Some(result), Some(last)) = (results.last(), told.last()) {
        let title = result.name();
        let run = (title.as_str(), "scenarios.0.", &last.events[..]);
        let figures = report(common, &results, &told);
        if let Err(text) = write_run(common, Schema::RUN, figures, run) {
            return unusable(&text);
        }
    }
    if let Some(path) = &args.junit
        && let Err(text) = junit(&results, common.seed).and_then(|xml| write(path, xml))
    {
        return unusable(&text);
    }
    if results.iter().any(|result| result.unusable) {
        crate::cli::UNUSABLE
    } else if failed > 0 {
        FAILED
    } else {
        0
    }
}

fn tell(result: &ScenarioResult) {
    let name = result.name();
    match &result.error {
        None => say!(
            "{name}: {} ({} cycles)",
            style::good("passed"),
            result.cycles
        ),
        Some(error) => {
            let how = if result.unusable {
                "unusable"
            } else {
                "FAILED"
            };
            say!("{name}: {}", style::bad(how));
            complain!("{error}");
        }
    }
}

/// Every run of the scripts: once for each variant that a script names, `only` one of them if given.
///
/// # Errors
/// One line.
pub fn each_variant(
    files: Vec<PathBuf>,
    only: Option<Variant>,
) -> Result<Vec<(PathBuf, Option<Variant>)>, String> {
    let mut runs = Vec::new();
    for file in files {
        let named = variants(&file)?;
        if named.is_empty() {
            runs.push((file, None));
            continue;
        }
        let wanted = named.into_iter().filter(|v| only.is_none_or(|o| o == *v));
        runs.extend(wanted.map(|variant| (file.clone(), Some(variant))));
    }
    if runs.is_empty() {
        return Err("no script has that variant".into());
    }
    Ok(runs)
}

/// The scripts that the arguments name, folders in the order of their names.
///
/// # Errors
/// One line.
pub fn collect(named: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            if !path.is_file() {
                return Err(format!("no script {}", path.display()));
            }
            files.push(path.clone());
            continue;
        }
        let entries = std::fs::read_dir(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut inside: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "rhai"))
            .collect();
        inside.sort();
        if inside.is_empty() {
            return Err(format!("no *.rhai script in {}", path.display()));
        }
        files.extend(inside);
    }
    Ok(files)
}

/// Checks what can be checked before anything runs, and opens what is to be written.
fn outputs_of(common: &Common, runs: usize) -> Result<(Outputs, Option<WaveFile>), String> {
    let one = [
        &common.waves.wave,
        &common.log,
        &common.timeline,
        &common.report,
    ];
    if runs > 1 && one.iter().any(|file| file.is_some()) {
        return Err(format!(
            "--wave, --log, --timeline and --report take one run, these are {runs} (scripts and their variants)"
        ));
    }
    outputs(common)
}

fn counters(stats: &Stats) -> Map<String, Value> {
    stats
        .iter()
        .map(|(name, value)| ((*name).to_string(), json!(value)))
        .collect()
}

fn report(common: &Common, results: &[ScenarioResult], told: &[Told]) -> Value {
    let scenarios: Vec<Value> = results
        .iter()
        .zip(told)
        .map(|(result, told)| {
            let others: Vec<_> = result.other_stats.iter().map(counters).collect();
            json!({
                "file": result.file.display().to_string(),
                "variant": result.variant.map(|variant| variant.to_string()),
                "passed": result.passed(),
                "error": result.error,
                "backend": common.backend.name(),
                "seed": common.seed,
                "cycles": result.cycles,
                "events": result.events,
                "log_hash": format!("{:016x}", result.log_hash),
                "l1_hit_rate": result.share("l1_hits", "l1_lookups"),
                "l1_fetch_hit_rate": result.share("l1_fetch_hits", "l1_fetch_lookups"),
                "l2_hit_rate": result.share("l2_hits", "l2_lookups"),
                "config": told.config,
                "explained": told.explained,
                "stats": counters(&result.stats),
                "other_devices": others,
                "wall_seconds": result.wall_seconds,
            })
        })
        .collect();
    let passed = results.iter().filter(|result| result.passed()).count();
    json!({
        "scenarios": scenarios,
        "passed": passed,
        "failed": results.len() - passed,
        "command": command(common.seed),
    })
}
