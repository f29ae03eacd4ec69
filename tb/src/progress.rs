//! Waiting for a job, with a line that shows how far it is on a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use hmmu_driver::{Job, JobError};
use hmmu_regs::reg;
use indicatif::{ProgressBar, ProgressStyle};

use crate::machine::hardware;
use crate::world::World;

/// The device is asked for a sign of life this often, in cycles.
const LOOK_EVERY: u64 = 200_000;

/// Waits for a job. Time passes in the same way with a terminal and without.
pub fn wait(world: &World, job: &Job, what: &str) -> Result<u64, JobError> {
    let bar = std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    });
    let machine = &world.machine;
    let mut next_look = machine.now() + LOOK_EVERY;
    // When time cannot go on, or the device is silent, `Job::wait` below says so.
    while !job.done() && machine.pause().is_ok() {
        if machine.now() >= next_look {
            if hardware(machine, 0).bar.read(reg::TIME).is_err() {
                break;
            }
            next_look = machine.now() + LOOK_EVERY;
        }
        if let Some(bar) = &bar {
            let rounds = world.device().rounds();
            bar.set_message(format!(
                "{what}: cycle {}, {rounds} fault rounds",
                machine.now()
            ));
        }
    }
    let ended = job.wait();
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    ended
}
