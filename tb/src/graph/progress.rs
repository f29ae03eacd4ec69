//! A line that shows how far a job is, on a terminal only.

use std::io::IsTerminal;
use std::time::Duration;

use hmmu_driver::{Job, JobError};
use indicatif::{ProgressBar, ProgressStyle};

use crate::world::World;

/// Cycles between two looks at a job.
const STEP: u64 = 2000;

/// Waits for a job, showing the time on a terminal.
pub fn wait(world: &World, job: &Job, what: &str) -> Result<u64, JobError> {
    if !std::io::stderr().is_terminal() {
        return job.wait();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    // `wait` below finds out why, if time cannot go on.
    while !job.done() && world.machine.wait(STEP).is_ok() {
        let rounds = world.device.rounds();
        bar.set_message(format!(
            "{what}: cycle {}, {rounds} fault rounds",
            world.machine.now()
        ));
    }
    let ended = job.wait();
    bar.finish_and_clear();
    ended
}
