//! Scenario scripts: `hmmu run`.

mod api;
mod args;
mod control;
mod device;
mod error;
mod file;
mod job;
mod launch;
mod mapping;
mod memory;
mod placement;
mod process;
mod program;
mod session;
mod step;
mod threads;
mod userfault;
mod variants;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use hmm_core::sync::{self, Recording, Schedule};
use rhai::{AST, Engine, EvalAltResult, Position};

use crate::machine::MachineConfig;
use crate::warps;
use crate::world::{Outputs, World};
pub use program::Script;
use session::Session;
pub use variants::Variant;

/// Counters by name.
pub type Stats = Vec<(&'static str, u64)>;

/// How a scenario ended.
#[derive(Clone, Debug)]
pub struct ScenarioResult {
    /// The script.
    pub file: PathBuf,
    /// Which of its variants, if it names any.
    pub variant: Option<Variant>,
    /// What went wrong, one line or several; none if it passed.
    pub error: Option<String>,
    /// True if the script could not be used at all (missing, not a script, no such backend).
    pub unusable: bool,
    /// Device cycles at its end.
    pub cycles: u64,
    /// The cycle in which it failed.
    pub failed_at: Option<u64>,
    /// Events in the log.
    pub events: u64,
    /// Their hash.
    pub log_hash: u64,
    /// Counters of the first device and its driver.
    pub stats: Stats,
    /// Counters of the other devices.
    pub other_stats: Vec<Stats>,
    /// Wall time, seconds.
    pub wall_seconds: f64,
}

impl ScenarioResult {
    /// Of a script that could not be used.
    #[must_use]
    pub fn unusable(file: &Path, error: String) -> Self {
        Self {
            file: file.to_path_buf(),
            variant: None,
            error: Some(error),
            unusable: true,
            cycles: 0,
            failed_at: None,
            events: 0,
            log_hash: 0,
            stats: Stats::new(),
            other_stats: Vec::new(),
            wall_seconds: 0.0,
        }
    }

    /// The script's name, with its variant.
    #[must_use]
    pub fn name(&self) -> String {
        match self.variant {
            Some(variant) => format!("{} ({variant})", self.file.display()),
            None => self.file.display().to_string(),
        }
    }

    /// A counter as a share of another; 0 of nothing.
    #[must_use]
    pub fn share(&self, part: &str, whole: &str) -> f64 {
        crate::session::Stats(self.stats.clone()).share(part, whole)
    }

    /// Did it pass?
    #[must_use]
    pub fn passed(&self) -> bool {
        self.error.is_none()
    }
}

/// What is left of a run when its threads are gone.
#[derive(Default)]
struct Ended {
    error: Option<String>,
    unusable: bool,
    cycles: u64,
    failed_at: Option<u64>,
    events: u64,
    log_hash: u64,
    /// By device.
    stats: Vec<Stats>,
}

/// The variants that a script names.
///
/// # Errors
/// The file cannot be read, or names something else.
pub fn variants(file: &Path) -> Result<Vec<Variant>, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Variant::of_script(&text).map_err(|error| format!("{}:1: {error}", file.display()))
}

/// Runs one variant of a script; without one, as `config` says.
#[must_use]
pub fn run_variant(
    file: &Path,
    variant: Option<Variant>,
    config: &MachineConfig,
    outputs: &Outputs,
) -> ScenarioResult {
    let schedule = Schedule::seeded(config.seed);
    match Script::load(file) {
        Ok(script) => run_script(&script.as_variant(variant), config, outputs, &schedule).0,
        Err(error) => ScenarioResult {
            variant,
            ..ScenarioResult::unusable(file, error)
        },
    }
}

/// Runs one script, interleaved by the machine's seed.
#[must_use]
pub fn run_file(file: &Path, config: &MachineConfig, outputs: &Outputs) -> ScenarioResult {
    let schedule = Schedule::seeded(config.seed);
    match Script::load(file) {
        Ok(script) => run_script(&script, config, outputs, &schedule).0,
        Err(error) => ScenarioResult::unusable(file, error),
    }
}

/// Runs a script given as text; `file` names it in messages.
#[must_use]
pub fn run_text(
    file: &Path,
    text: &str,
    config: &MachineConfig,
    outputs: &Outputs,
) -> ScenarioResult {
    let schedule = Schedule::seeded(config.seed);
    match Script::compile(file, text) {
        Ok(script) => run_script(&script, config, outputs, &schedule).0,
        Err(error) => ScenarioResult::unusable(file, error),
    }
}

/// Runs a script under a schedule; tells too what the scheduler decided. The machine's seed still decides latencies
/// and pauses.
#[must_use]
pub fn run_script(
    script: &Script,
    config: &MachineConfig,
    outputs: &Outputs,
    schedule: &Schedule,
) -> (ScenarioResult, Recording) {
    let start = Instant::now();
    let seed = config.seed;
    let own = script.clone();
    let coherent = script.variant().map_or(config.coherent, Variant::coherent);
    let (config, outputs) = (config.clone().coherent(coherent), outputs.clone());
    let (ended, recording) = sync::run_recorded(schedule, move || scenario(&own, config, outputs));
    let file = script.file();
    let ended = ended.unwrap_or_else(|error| Ended {
        error: Some(format!("{}: {error} (seed {seed})", file.display())),
        ..Ended::default()
    });
    let mut stats = ended.stats.into_iter();
    let result = ScenarioResult {
        file: file.to_path_buf(),
        variant: script.variant(),
        error: ended.error,
        unusable: ended.unusable,
        cycles: ended.cycles,
        failed_at: ended.failed_at,
        events: ended.events,
        log_hash: ended.log_hash,
        stats: stats.next().unwrap_or_default(),
        other_stats: stats.collect(),
        wall_seconds: start.elapsed().as_secs_f64(),
    };
    (result, recording)
}

fn scenario(script: &Script, config: MachineConfig, outputs: Outputs) -> Ended {
    let seed = config.seed;
    let file = script.file();
    let session = Arc::new(Session::new(config, outputs));
    let engine = Arc::new(api::engine(&session));
    let error = execute(&session, &engine, script.ast()).err().map(|error| {
        let cycle = session.made().map_or(0, |world| world.machine.now());
        let text = match session.made() {
            // What the call saw was only that nothing answers any more.
            Some(world) if world.machine.over_limit() => format!(
                "{}: cycle limit of {} cycles reached",
                error::field(&error, "call").unwrap_or_default(),
                world.machine.config().max_cycles
            ),
            _ => error::text(&error),
        };
        let place = place(file, error::position(&error));
        format!("{place}: {text} (cycle {cycle}, seed {seed})")
    });
    session.set_code(None);
    let name = file.display().to_string();
    match session.made() {
        Some(world) => finish(&world, &name, error, seed),
        None => Ended {
            unusable: session.broken().is_some(),
            error,
            ..Ended::default()
        },
    }
}

/// `FILE:LINE`, or the file alone.
fn place(file: &Path, position: Position) -> String {
    match position.line() {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    }
}

fn execute(
    session: &Arc<Session>,
    engine: &Arc<Engine>,
    ast: &Arc<AST>,
) -> Result<(), Box<EvalAltResult>> {
    session.set_code(Some((Arc::clone(engine), Arc::clone(ast))));
    let done = engine.run_ast(ast);
    if done.is_err()
        && let Some(world) = session.made()
    {
        world.failed();
        if !world.machine.over_limit() {
            // The other threads' waits end too; what they throw is the echo of this error.
            world.machine.abort();
        }
    }
    let joined = session.join_all();
    if let Some(world) = session.made() {
        world.machine.resume();
    }
    done.and(joined)
}

fn finish(world: &Arc<World>, file: &str, error: Option<String>, seed: u64) -> Ended {
    let machine = &world.machine;
    let mut error = error;
    if machine.over_limit() {
        machine.lift_limit();
        let report = warps::report(machine);
        error = Some(format!(
            "{}\n{report}",
            error.unwrap_or_else(|| format!("{file}: cycle limit reached"))
        ));
    }
    let (cycles, events, log_hash) = (machine.now(), machine.log().events(), machine.log().hash());
    // A device that hangs on purpose has no counters.
    let stats = world
        .devices
        .iter()
        .map(|device| match device.lost() {
            Some(_) => Stats::new(),
            None => device.stats().unwrap_or_default(),
        })
        .collect();
    let mut note = |result: Result<(), String>| {
        if let Err(text) = result {
            error.get_or_insert_with(|| format!("{file}: {text} (cycle {cycles}, seed {seed})"));
        }
    };
    note(world.failure().map_or(Ok(()), Err));
    note(lost(world));
    if world.lost().is_none() {
        note(world.sweep());
    }
    note(world.end());
    note(lost(world));
    if error.is_some() {
        world.failed();
    }
    Ended {
        error,
        unusable: false,
        cycles,
        failed_at: world.failed_at(),
        events,
        log_hash,
        stats,
    }
}

/// Devices may be lost only when the script made one hang or took it out.
fn lost(world: &World) -> Result<(), String> {
    for (number, device) in world.devices.iter().enumerate() {
        let meant = world.machine.is_hung(number) || !world.machine.present(number);
        if let Some(error) = device.lost().filter(|_| !meant) {
            return Err(format!("device {number} was lost: {error}"));
        }
    }
    Ok(())
}
