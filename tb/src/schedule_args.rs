//! Options that choose how a scenario's threads are interleaved.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use hmm_core::sync::{Decision, Schedule};
use serde_json::Value;

use crate::machine::MachineConfig;
use crate::script::{Script, run_script};
use crate::world::Outputs;

/// Ways to interleave by a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// Any scheduling point may switch to any thread.
    Random,
    /// Random priorities that change at a few points.
    Pct,
}

impl Strategy {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Pct => "pct",
        }
    }
}

/// Points of a run at which priorities change, unless told otherwise.
pub const DEPTH: u32 = 3;

/// A run that learns the usual number of scheduling points ends after so many.
const LEARN_POINTS: u64 = 2_000_000;

/// The text of an empty list of decisions.
pub const NO_DECISIONS: &str = "none";

/// Options of `hmmu run`.
#[derive(Args, Clone, Debug)]
pub struct ScheduleArgs {
    /// How the seed interleaves host threads.
    #[arg(long, value_enum, default_value = "random")]
    strategy: Strategy,
    /// Of --strategy pct: points at which priorities change.
    #[arg(long, value_name = "D", default_value_t = DEPTH)]
    depth: u32,
    /// Of --strategy pct: the scheduling points that these are drawn from (default: those of a run without
    /// preemptions).
    #[arg(long, value_name = "POINTS")]
    length: Option<u64>,
    /// Replays decisions: a list as `hmmu explore` prints it, or the file that it wrote.
    #[arg(long, value_name = "LIST|FILE", conflicts_with_all = ["strategy", "depth", "length"])]
    schedule: Option<String>,
    /// Ends the run with an error after this many scheduling points.
    #[arg(long, value_name = "N")]
    max_points: Option<u64>,
}

impl ScheduleArgs {
    /// The decisions to replay, if that is asked for.
    ///
    /// # Errors
    /// One line: neither a list nor a file with one.
    pub fn decisions(&self) -> Result<Option<Arc<[Decision]>>, String> {
        self.schedule.as_deref().map(decisions).transpose()
    }

    /// The schedule of one run of a script.
    #[must_use]
    pub fn schedule(
        &self,
        script: &Script,
        machine: &MachineConfig,
        outputs: &Outputs,
        decisions: Option<&Arc<[Decision]>>,
    ) -> Schedule {
        let schedule = match (decisions, self.strategy) {
            (Some(decisions), _) => Schedule::replay(Arc::clone(decisions)),
            (None, Strategy::Random) => Schedule::seeded(machine.seed),
            (None, Strategy::Pct) => {
                let length = self
                    .length
                    .unwrap_or_else(|| length(script, machine, outputs));
                Schedule::pct(machine.seed, self.depth, length)
            }
        };
        match self.max_points {
            Some(most) => schedule.most_points(most),
            None => schedule,
        }
    }
}

/// Scheduling points of a run of the script without preemptions: the same for every seed that is explored.
#[must_use]
pub fn length(script: &Script, machine: &MachineConfig, outputs: &Outputs) -> u64 {
    let machine = MachineConfig {
        seed: 0,
        ..machine.clone()
    };
    let outputs = Outputs {
        quiet: true,
        no_checks: outputs.no_checks,
        ..Outputs::default()
    };
    let schedule = Schedule::round_robin().most_points(LEARN_POINTS);
    let (_, recording) = run_script(script, &machine, &outputs, &schedule);
    recording.points.max(1)
}

fn list(text: &str) -> Result<Arc<[Decision]>, String> {
    if text == NO_DECISIONS {
        return Ok(Arc::from([]));
    }
    let parts = text.split(',');
    parts
        .map(|part| part.trim().parse().map_err(|error| format!("{error}")))
        .collect()
}

fn decisions(text: &str) -> Result<Arc<[Decision]>, String> {
    let path = Path::new(text);
    if !path.is_file() {
        return list(text).map_err(|error| format!("--schedule: no file {text:?}, and {error}"));
    }
    let bad = |what: String| format!("{text}: {what}");
    let content = std::fs::read_to_string(path).map_err(|e| bad(format!("cannot read: {e}")))?;
    let value: Value =
        serde_json::from_str(&content).map_err(|e| bad(format!("no schedule: {e}")))?;
    let decisions = value["schedule"]
        .as_str()
        .ok_or_else(|| bad("no schedule: expected an object with a text \"schedule\"".into()))?;
    list(decisions).map_err(bad)
}

/// A list of decisions as `--schedule` takes it.
#[must_use]
pub fn text(decisions: &[Decision]) -> String {
    if decisions.is_empty() {
        return NO_DECISIONS.into();
    }
    let parts: Vec<String> = decisions.iter().map(ToString::to_string).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_are_written() {
        for written in ["none", "3p57-1", "3p57-1h20,0w4-2"] {
            assert_eq!(text(&list(written).expect("a list")), written);
        }
        let error = decisions("3p57").expect_err("no decision");
        assert!(
            error.contains("no file") && error.contains("3p57"),
            "{error}"
        );
    }
}
