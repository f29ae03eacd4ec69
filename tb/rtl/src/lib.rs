//! The verilated hmmu device: one call per clock, with a waveform on demand.
//!
//! The ports are those of `rtl/hmmu_sim_top.sv`; docs/tlp-ports.md describes the TLP streams.

mod ffi;
mod step;

use std::path::Path;

use cxx::UniquePtr;
pub use ffi::bridge::{Config, HostSlots, In, Out};
// Verilator's FST writer calls these two C libraries.
use libz_sys as _;
use lz4_sys as _;
pub use step::{Step, StepKind};
use thiserror::Error;

/// The design stopped: an assertion failed, or a wave file could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("cycle {cycle}: {message}")]
pub struct SimError {
    /// Clock cycles since reset.
    pub cycle: u64,
    /// Where and why.
    pub message: String,
}

/// A verilated device.
pub struct Sim {
    inner: UniquePtr<ffi::bridge::Device>,
}

impl Sim {
    /// Makes a device and holds it in reset for some cycles.
    ///
    /// # Errors
    /// The design stopped in reset.
    pub fn new(config: &Config) -> Result<Self, SimError> {
        let fail = |e: cxx::Exception| SimError {
            cycle: 0,
            message: e.to_string(),
        };
        let mut inner = ffi::bridge::new_device(config).map_err(fail)?;
        inner.pin_mut().reset().map_err(fail)?;
        Ok(Self { inner })
    }

    /// Holds the device in reset for some cycles, as at its start. What is behind its memory port stays.
    ///
    /// # Errors
    /// The design stopped in reset.
    pub fn reset(&mut self) -> Result<(), SimError> {
        self.inner.pin_mut().reset().map_err(|error| SimError {
            cycle: 0,
            message: error.to_string(),
        })
    }

    /// One clock: drives `input`, samples the outputs that hold together with it before the rising edge
    /// (so valid and ready of both directions are those of this edge), then clocks.
    ///
    /// # Errors
    /// An assertion of the design failed. The device must not be used any more.
    pub fn tick(&mut self, input: &In) -> Result<Out, SimError> {
        let mut output = Out::default();
        match self.inner.pin_mut().tick(input, &mut output) {
            Ok(()) => Ok(output),
            Err(error) => Err(SimError {
                cycle: self.inner.cycle(),
                message: error.to_string(),
            }),
        }
    }

    /// The steps of address translation in the clock before the last [`Sim::tick`], which gave `out`.
    pub fn steps(&self, out: &Out) -> impl Iterator<Item = (StepKind, Step)> + '_ {
        let steps = out.steps;
        StepKind::ALL
            .into_iter()
            .filter(move |kind| steps >> *kind as u8 & 1 == 1)
            .map(|kind| (kind, Step::from_words(self.inner.step(kind as u8))))
    }

    /// Starts an FST waveform from here on; it ends with [`Sim::trace_close`] or the device. It shows signals down to
    /// `depth` levels below the top, all of them if that is 0.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn trace_open(&mut self, path: &Path, depth: u32) -> Result<(), SimError> {
        cxx::let_cxx_string!(name = path.to_string_lossy().as_bytes());
        let cycle = self.inner.cycle();
        self.inner
            .pin_mut()
            .trace_open(&name, depth)
            .map_err(|e| SimError {
                cycle,
                message: e.to_string(),
            })
    }

    /// Ends the waveform and flushes it.
    pub fn trace_close(&mut self) {
        self.inner.pin_mut().trace_close();
    }

    /// How much of the host the waves show.
    #[must_use]
    pub fn host_slots(&self) -> HostSlots {
        self.inner.host_slots()
    }

    /// Shows a line of the event log, from the next clock on; `slot` counts modulo their number.
    pub fn show_line(&mut self, slot: u32, text: &str) {
        let slot = slot % self.host_slots().lines;
        self.inner.pin_mut().show_line(slot, text);
    }

    /// Shows what a host thread did last.
    pub fn show_thread(&mut self, slot: u32, text: &str) {
        let slot = slot % self.host_slots().threads;
        self.inner.pin_mut().show_thread(slot, text);
    }

    /// Shows the page at `addr` of process `mm` where it lives (`host_home_e`).
    pub fn show_page(&mut self, slot: u32, mm: u16, addr: u64, home: u8) {
        let slot = slot % self.host_slots().pages;
        self.inner.pin_mut().show_page(slot, mm, addr, home);
    }

    /// Records what is shown now in the waves, behind the last clock; false if no more can be told apart there, or
    /// nothing is recorded.
    pub fn trace_moment(&mut self) -> bool {
        self.inner.pin_mut().trace_moment()
    }

    /// Where a wave is now, picoseconds: resets count, and the next clock rises half a period later.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.inner.time()
    }

    /// Clock cycles since reset.
    #[must_use]
    pub fn cycle(&self) -> u64 {
        self.inner.cycle()
    }
}
