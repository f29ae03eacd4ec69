//! Options that say what of a run is recorded.

use std::path::PathBuf;

use clap::Args;

use super::{Mark, Recording, Trigger, Watch, WaveFile, Window};
use crate::complain;
use crate::world::Outputs;

/// Waves, and which part of the run they show.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Waves (--backend rtl)")]
pub struct WaveArgs {
    /// Writes waves to this file, FILE.fst or FILE.vcd.
    #[arg(long, value_name = "FILE")]
    pub wave: Option<PathBuf>,
    /// Records from this cycle on.
    #[arg(long, value_name = "CYCLE", requires = "wave")]
    wave_from: Option<u64>,
    /// Records up to this cycle.
    #[arg(long, value_name = "CYCLE", requires = "wave")]
    wave_to: Option<u64>,
    /// Records around the first such event: first-fault, failed-check (the run fails), error (that, or the device or
    /// the driver reports one), va:ADDRESS (the device asks for its page), fault:NUMBER (of its record) or event:NAME
    /// (of the log). The run is made twice: once to find the cycle.
    #[arg(long, value_name = "EVENT", requires = "wave", conflicts_with_all = ["wave_from", "wave_to"])]
    wave_on: Option<Trigger>,
    /// Cycles before the event (or the failure).
    #[arg(long, value_name = "N", default_value_t = 2000)]
    wave_before: u64,
    /// Cycles after it.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    wave_after: u64,
    /// Records only so many levels of the design, from 1: what the driver does and the bus; by default all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    wave_depth: Option<u32>,
}

impl WaveArgs {
    /// Opens the file that is asked for.
    ///
    /// # Errors
    /// One line: it cannot be written, or no cycle is asked for.
    pub fn file(&self) -> Result<Option<WaveFile>, String> {
        let window = self.window();
        if window.from > window.to {
            let (from, to) = (window.from, window.to);
            return Err(format!("--wave-from {from} is behind --wave-to {to}"));
        }
        self.wave.as_deref().map(WaveFile::new).transpose()
    }

    fn window(&self) -> Window {
        Window {
            from: self.wave_from.unwrap_or(Window::ALL.from),
            to: self.wave_to.unwrap_or(Window::ALL.to),
        }
    }

    /// What a run records into a file, as far as it is known before it.
    #[must_use]
    pub fn recording(&self, file: &WaveFile) -> Recording {
        self.recording_of(file, self.window())
    }

    fn recording_of(&self, file: &WaveFile, window: Window) -> Recording {
        Recording::new(
            file.fst().to_path_buf(),
            window,
            self.wave_depth.unwrap_or_default(),
        )
    }

    /// What is recorded around one moment.
    #[must_use]
    pub fn around(&self, file: &WaveFile, mark: Mark) -> Recording {
        let window = Window::around(mark.cycle, self.wave_before, self.wave_after);
        let mut recording = self.recording_of(file, window);
        recording.mark = Some(mark);
        recording
    }

    /// Finds the cycles to record if that takes a run. `first` makes it, with these outputs.
    pub fn aim(
        &self,
        file: Option<&WaveFile>,
        outputs: &mut Outputs,
        first: impl FnOnce(&Outputs),
    ) {
        let (Some(trigger), Some(file)) = (&self.wave_on, file) else {
            return;
        };
        let watch = Watch::new(trigger.clone());
        first(&Outputs {
            quiet: true,
            no_checks: outputs.no_checks,
            watch: Some(watch.clone()),
            ..Outputs::default()
        });
        outputs.wave = watch.seen().map(|cycle| {
            let name = trigger.to_string();
            self.around(file, Mark { name, cycle })
        });
        if outputs.wave.is_none() {
            complain!("hmmu: no waves: {trigger} did not happen");
        }
    }
}
