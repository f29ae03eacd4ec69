//! A failed scenario is run again, with waves around its failure.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::complain;
use crate::machine::{Backend, MachineConfig};
use crate::script::ScenarioResult;
use crate::wave::{Mark, WaveArgs, WaveFile};
use crate::world::Outputs;

/// Where the waves of failures go unless told otherwise.
const FOLDER: &str = "hmmu-failures";

/// Options of `hmmu run`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Waves (--backend rtl)")]
pub struct RerunArgs {
    /// Does not run a failed scenario again for waves around its failure.
    #[arg(long)]
    no_rerun: bool,
    /// The folder for those waves [default: beside --wave's file as NAME.failure.fst, else in hmmu-failures]
    #[arg(long, value_name = "FOLDER", conflicts_with = "no_rerun")]
    rerun_dir: Option<PathBuf>,
}

/// Runs failed scenarios again.
pub struct Rerun<'a> {
    args: &'a RerunArgs,
    waves: &'a WaveArgs,
    written: Vec<PathBuf>,
}

impl<'a> Rerun<'a> {
    /// As these options say.
    #[must_use]
    pub fn new(args: &'a RerunArgs, waves: &'a WaveArgs) -> Self {
        Self {
            args,
            waves,
            written: Vec::new(),
        }
    }

    /// After the run of a scenario: if it failed and its waves do not show where, `run` runs it again.
    ///
    /// # Errors
    /// One line: the waves cannot be written.
    pub fn after(
        &mut self,
        result: &ScenarioResult,
        machine: &MachineConfig,
        outputs: &Outputs,
        run: impl FnOnce(&Outputs) -> ScenarioResult,
    ) -> Result<(), String> {
        let Some(cycle) = result.failed_at else {
            return Ok(());
        };
        let shown = outputs.wave.as_ref();
        if self.args.no_rerun
            || machine.backend != Backend::Rtl
            || shown.is_some_and(|waves| waves.window.contains(cycle))
        {
            return Ok(());
        }
        let path = self.path(result, machine.seed)?;
        let file = WaveFile::new(&path)?;
        complain!(
            "hmmu: failed at cycle {cycle}: running it again for waves (--no-rerun does not)"
        );
        let mark = Mark {
            name: "failure".to_string(),
            cycle,
        };
        let recording = self.waves.around(&file, mark);
        let again = run(&Outputs {
            wave: Some(recording.clone()),
            quiet: true,
            no_checks: outputs.no_checks,
            ..Outputs::default()
        });
        file.finish(Some(&recording))?;
        if again.error != result.error {
            let how = again.error.unwrap_or_else(|| "it passed".to_string());
            return Err(format!("the second run ended in another way: {how}"));
        }
        let (from, to) = (recording.window.from, again.cycles.min(recording.window.to));
        complain!("hmmu: waves of cycles {from} to {to}: {}", path.display());
        Ok(())
    }

    fn path(&mut self, result: &ScenarioResult, seed: u64) -> Result<PathBuf, String> {
        let beside = self.waves.wave.as_deref().map(failure_beside);
        let path = match (&self.args.rerun_dir, beside) {
            (None, Some(path)) => path,
            (folder, _) => {
                let folder = folder.as_deref().unwrap_or(Path::new(FOLDER));
                std::fs::create_dir_all(folder)
                    .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
                let stem = result.file.file_stem().unwrap_or_default();
                let mut name = stem.to_string_lossy().into_owned();
                if let Some(variant) = result.variant {
                    name += &format!("-{variant}");
                }
                name += &format!("-seed{seed}");
                // Scripts of several folders may have the same name.
                let numbered = |number: u32| match number {
                    1 => folder.join(format!("{name}.fst")),
                    _ => folder.join(format!("{name}-{number}.fst")),
                };
                let mut free = (1..).map(numbered);
                free.find(|path| !self.written.contains(path))
                    .unwrap_or_else(|| numbered(1))
            }
        };
        self.written.push(path.clone());
        Ok(path)
    }
}

/// `out.fst` becomes `out.failure.fst`.
fn failure_beside(wave: &Path) -> PathBuf {
    let ending = wave.extension().unwrap_or_default().to_string_lossy();
    wave.with_extension(format!("failure.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_of_a_failure_keep_their_form() {
        let beside = failure_beside(Path::new("a/out.vcd"));
        assert_eq!(beside, Path::new("a/out.failure.vcd"));
    }
}
