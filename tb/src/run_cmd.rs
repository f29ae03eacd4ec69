//! `hmmu run`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::{Common, FAILED, unusable};
use crate::machine::Backend;
use crate::script::{ScenarioResult, Stats, run_file};
use crate::wave::WaveFile;
use crate::world::Outputs;
use crate::{complain, say};

/// Arguments of `hmmu run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Scripts, and folders of scripts.
    #[arg(required = true, value_name = "SCRIPT|DIR")]
    scripts: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Runs scripts; the exit status.
#[must_use]
pub fn run(args: &RunArgs) -> u8 {
    let files = match collect(&args.scripts) {
        Ok(files) => files,
        Err(text) => return unusable(&text),
    };
    let common = &args.common;
    let outputs = match outputs(common, files.len()) {
        Ok(outputs) => outputs,
        Err(text) => return unusable(&text),
    };
    let wave = match common.wave.as_deref().map(WaveFile::new).transpose() {
        Ok(wave) => wave,
        Err(text) => return unusable(&text),
    };
    let outputs = Outputs {
        wave: wave.as_ref().map(|wave| wave.fst().to_path_buf()),
        ..outputs
    };
    let mut results = Vec::new();
    for file in &files {
        let result = run_file(file, &common.machine(), &outputs);
        match &result.error {
            None => say!("{}: passed ({} cycles)", file.display(), result.cycles),
            Some(error) => {
                say!(
                    "{}: {}",
                    file.display(),
                    if result.unusable {
                        "unusable"
                    } else {
                        "FAILED"
                    }
                );
                complain!("{error}");
            }
        }
        results.push(result);
    }
    let failed = results.iter().filter(|result| !result.passed()).count();
    say!("{} passed, {failed} failed", results.len() - failed);
    if let Some(wave) = wave
        && let Err(text) = wave.finish()
    {
        return unusable(&text);
    }
    if let Some(path) = &common.json
        && let Err(error) = std::fs::write(path, format!("{:#}\n", report(common, &results)))
    {
        return unusable(&format!("cannot write {}: {error}", path.display()));
    }
    if results.iter().any(|result| result.unusable) {
        crate::cli::UNUSABLE
    } else if failed > 0 {
        FAILED
    } else {
        0
    }
}

/// The scripts that the arguments name, folders in the order of their names.
fn collect(named: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
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

/// Checks what can be checked before anything runs.
fn outputs(common: &Common, scripts: usize) -> Result<Outputs, String> {
    if cfg!(not(feature = "rtl")) && common.backend == Backend::Rtl {
        return Err(crate::machine::NO_RTL.into());
    }
    if common.wave.is_some() && common.backend == Backend::Model {
        return Err("the functional model has no waves: use --backend rtl".into());
    }
    if scripts > 1 && (common.wave.is_some() || common.log.is_some()) {
        return Err(format!(
            "--wave and --log take one script, {scripts} were given"
        ));
    }
    if let Some(log) = &common.log {
        writable(log)?;
    }
    if let Some(path) = &common.json {
        writable(path)?;
    }
    Ok(Outputs {
        log: common.log.clone(),
        wave: None,
    })
}

/// Checks that a file can be written.
///
/// # Errors
/// One line.
pub fn writable(path: &Path) -> Result<(), String> {
    std::fs::File::create(path)
        .map(|_| ())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn counters(stats: &Stats) -> Map<String, Value> {
    stats
        .iter()
        .map(|(name, value)| ((*name).to_string(), json!(value)))
        .collect()
}

fn report(common: &Common, results: &[ScenarioResult]) -> Value {
    let scenarios: Vec<Value> = results
        .iter()
        .map(|result| {
            let others: Vec<_> = result.other_stats.iter().map(counters).collect();
            json!({
                "file": result.file.display().to_string(),
                "passed": result.passed(),
                "error": result.error,
                "backend": common.backend.name(),
                "seed": common.seed,
                "cycles": result.cycles,
                "events": result.events,
                "log_hash": format!("{:016x}", result.log_hash),
                "stats": counters(&result.stats),
                "other_devices": others,
                "wall_seconds": result.wall_seconds,
            })
        })
        .collect();
    let passed = results.iter().filter(|result| result.passed()).count();
    json!({ "scenarios": scenarios, "passed": passed, "failed": results.len() - passed })
}
