//! What commands that run one job on a machine of their own share.

use std::sync::Arc;

use crate::machine::Machine;
use crate::rc::LinkBytes;
use crate::warps;
use crate::world::World;

/// Why a run ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// What was asked for cannot be done.
    Unusable(String),
    /// It went wrong.
    Failed(String),
}

/// An error with what was tried.
pub fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> RunError + '_ {
    move |error| RunError::Failed(format!("{what}: {error}"))
}

/// Ends a world, and turns a run over the cycle limit into a report.
///
/// # Errors
/// The run's own, the limit, or what was not as at the start.
pub fn close<T>(world: &World, result: Result<T, RunError>) -> Result<T, RunError> {
    let result = if world.machine.over_limit() {
        Err(RunError::Failed(over_limit(&world.machine)))
    } else {
        result
    };
    if result.is_err() {
        world.failed();
    }
    let ended = world.end().map_err(RunError::Failed);
    let value = result?;
    ended?;
    Ok(value)
}

fn over_limit(machine: &Arc<Machine>) -> String {
    machine.lift_limit();
    format!(
        "cycle limit of {} cycles reached\n{}",
        machine.config().max_cycles,
        warps::report(machine)
    )
}

/// Counters of the device and the driver by their names, as of one moment or between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats(pub Vec<(&'static str, u64)>);

impl Stats {
    /// A counter by name; 0 if there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, value)| *value)
    }

    /// What was counted since an earlier reading. Those that are states (pages in use, the worst so far) keep
    /// their last value.
    #[must_use]
    pub fn since(self, before: &Self) -> Self {
        let counted = |(name, value): (&'static str, u64)| {
            let state = name.starts_with("vram_pages") || name == "invalidate_worst";
            let old = if state { 0 } else { before.get(name) };
            (name, value.saturating_sub(old))
        };
        Self(self.0.into_iter().map(counted).collect())
    }

    /// One as a share of another; 0 of nothing.
    #[must_use]
    pub fn share(&self, part: &str, whole: &str) -> f64 {
        match self.get(whole) {
            0 => 0.0,
            whole => self.get(part) as f64 / whole as f64,
        }
    }
}

/// What a piece of work took.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Device cycles.
    pub cycles: u64,
    /// Bytes over the link.
    pub link: LinkBytes,
    /// What the first device and the driver counted.
    pub stats: Stats,
}

/// Does something and says what it took. Reading the counters is not part of it.
///
/// # Errors
/// The work's own, and a device that does not answer.
pub fn measured<T>(
    world: &World,
    work: impl FnOnce() -> Result<T, RunError>,
) -> Result<(T, Taken), RunError> {
    let counters = || {
        let stats = world.device().stats().map(Stats);
        stats.map_err(|e| failed("reading the counters")(&e))
    };
    let machine = &world.machine;
    let before = counters()?;
    let (start, link) = (machine.now(), machine.link_bytes());
    let value = work()?;
    let taken = Taken {
        cycles: machine.now() - start,
        link: machine.link_bytes().since(link),
        stats: counters()?.since(&before),
    };
    Ok((value, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_keep_their_value_and_counters_are_subtracted() {
        let before = Stats(vec![("walks", 3), ("vram_pages", 8), ("faults", 0)]);
        let after = Stats(vec![("walks", 10), ("vram_pages", 9), ("faults", 7)]);
        let stats = after.since(&before);
        assert_eq!(stats.get("walks"), 7);
        assert_eq!(stats.get("vram_pages"), 9);
        assert_eq!(stats.get("nothing"), 0);
        assert_eq!(stats.share("walks", "faults"), 1.0);
        assert_eq!(stats.share("walks", "nothing"), 0.0);
    }
}
