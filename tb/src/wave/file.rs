//! Wave files: FST from the verilated device, VCD converted from it.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use wellen::simple::Waveform;

use super::Recording;
use super::groups::{Group, groups};
use super::save::{Moment, gtkwave, surfer};
use super::vcd::to_vcd;
use crate::complain;
use crate::outputs::write;

/// Where waves go, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveFile {
    /// What the user asked for.
    wanted: PathBuf,
    /// What the device writes.
    fst: PathBuf,
}

impl WaveFile {
    /// Checks that a wave file can be written there.
    ///
    /// # Errors
    /// One line: another ending, or a place that cannot be written.
    pub fn new(path: &Path) -> Result<Self, String> {
        let ending = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        let fst = match ending {
            "fst" => path.to_path_buf(),
            "vcd" => path.with_extension("vcd.fst"),
            _ => {
                return Err(format!(
                    "wave file {}: expected a name that ends in .fst or .vcd",
                    path.display()
                ));
            }
        };
        for file in [path, &fst] {
            File::create(file)
                .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        }
        Ok(Self {
            wanted: path.to_path_buf(),
            fst,
        })
    }

    /// The file that was asked for.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.wanted
    }

    /// The FST file that the device writes.
    #[must_use]
    pub fn fst(&self) -> &Path {
        &self.fst
    }

    /// Brings the file into the form that was asked for, after the run with this recording; without one, or if the
    /// run ended before it, nothing is left of the file.
    ///
    /// # Errors
    /// One line: the waves cannot be read back, or the file cannot be written.
    pub fn finish(&self, recording: Option<&Recording>) -> Result<(), String> {
        let empty = std::fs::metadata(&self.fst).is_ok_and(|file| file.len() == 0);
        let Some(recording) = recording.filter(|_| !empty) else {
            if let Some(recording) = recording {
                let (from, ended) = (recording.window.from, recording.notes().ended);
                complain!("hmmu: no waves: the run ended at cycle {ended}, before cycle {from}");
            }
            return self.remove();
        };
        let fail = |text: String| format!("cannot write {}: {text}", self.wanted.display());
        let mut waves = wellen::simple::read(&self.fst).map_err(|error| fail(error.to_string()))?;
        self.save_groups(&waves, recording)?;
        if self.wanted == self.fst {
            return Ok(());
        }
        let file = File::create(&self.wanted).map_err(|error| fail(error.to_string()))?;
        to_vcd(&mut waves, BufWriter::new(file)).map_err(|error| fail(error.to_string()))?;
        std::fs::remove_file(&self.fst).map_err(|error| fail(error.to_string()))
    }

    /// The files that open the waves in viewers, beside them.
    fn save_groups(&self, waves: &Waveform, recording: &Recording) -> Result<(), String> {
        let mut groups = groups(waves.hierarchy());
        if self.wanted != self.fst {
            groups = groups.into_iter().map(Group::in_vcd).collect();
        }
        let time = recording.notes().time.clone();
        let marks = recording.marks().into_iter();
        let moments: Vec<Moment> = marks.map(|mark| (mark.name, time.of(mark.cycle))).collect();
        let start = waves.time_table().first().copied().unwrap_or_default();
        write(
            &self.wanted.with_extension("gtkw"),
            gtkwave(&self.wanted, &groups, start, &moments),
        )?;
        write(
            &self.wanted.with_extension("sucl"),
            surfer(&groups, &moments),
        )
    }

    fn remove(&self) -> Result<(), String> {
        let mut files = vec![&self.wanted, &self.fst];
        files.dedup();
        for file in files {
            std::fs::remove_file(file)
                .map_err(|error| format!("cannot remove {}: {error}", file.display()))?;
        }
        Ok(())
    }
}
