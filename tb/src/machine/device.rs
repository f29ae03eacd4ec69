//! What a machine needs of a device, however it is made.

use std::sync::Arc;

use thiserror::Error;

use super::host::HostSide;
use crate::log::EventLog;
use crate::rc::{
    Direction, Injection, LinkBytes, ReadFault, RootComplex, Struck, TlpCounts, TlpKind,
};
use crate::wave::{Recording, WaveTime};

/// The device's simulation failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct DeviceFailure(pub String);

/// What the driver is doing, for the waves: shown beside the device's own signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostMark {
    /// What it does.
    pub state: HostState,
    /// Virtual page number that it is about.
    pub page: u64,
    /// Number of the fault record that it is about.
    pub fault: u32,
}

/// States of the driver that waves show: `host_state_e` of `rtl/hmmu_sim_top.sv`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum HostState {
    /// Nothing for this device.
    #[default]
    Idle = 0,
    /// Takes records from the fault ring.
    FaultFetch = 1,
    /// Writes page-table entries.
    MapPages = 3,
    /// Moves pages.
    Migrate = 4,
    /// Takes a mapping away.
    Invalidate = 5,
    /// Ends a fault with an error.
    Cancel = 7,
    /// Starts a job.
    Launch = 8,
    /// Copies.
    Copy = 9,
}

/// A link whose TLPs can be counted, and be told to fail.
pub trait Tlps {
    /// Adds errors to come.
    fn inject(&mut self, plan: &[Injection]);
    /// TLPs that have arrived so far.
    fn counts(&self) -> TlpCounts;
    /// The errors that have struck so far.
    fn struck(&self) -> Vec<Struck>;
    /// From now on keeps the kind of each TLP that arrives.
    fn record(&mut self);
    /// The kinds of the TLPs that have arrived since [`Tlps::record`].
    fn recorded(&self, direction: Direction) -> Vec<TlpKind>;
}

impl Tlps for RootComplex {
    fn inject(&mut self, plan: &[Injection]) {
        RootComplex::inject(self, plan);
    }

    fn counts(&self) -> TlpCounts {
        RootComplex::counts(self)
    }

    fn struck(&self) -> Vec<Struck> {
        RootComplex::struck(self).to_vec()
    }

    fn record(&mut self) {
        RootComplex::record(self);
    }

    fn recorded(&self, direction: Direction) -> Vec<TlpKind> {
        RootComplex::recorded(self, direction).to_vec()
    }
}

/// A device on the bus.
pub trait Device: Send {
    /// Lets clocks pass: at most `cycles`, fewer once the host was told something. Returns how many passed.
    ///
    /// # Errors
    /// The simulation failed (an assertion of the design).
    fn run(&mut self, cycles: u64, host: &mut HostSide) -> Result<u64, DeviceFailure>;

    /// Reads device memory beside the bus: no time passes. Beyond it there are zeros.
    fn peek(&mut self, at: u64, buf: &mut [u8]);

    /// Writes device memory beside the bus: no time passes. What lies beyond it is lost.
    fn poke(&mut self, at: u64, data: &[u8]);

    /// Bytes over the link so far.
    fn link_bytes(&self) -> LinkBytes;

    /// Lets one of its reads over the link to come fail.
    fn fail_read(&mut self, fault: ReadFault);

    /// From now on it answers nothing.
    fn hang(&mut self);

    /// Resets it over the link: it forgets all but the bytes in its memory.
    ///
    /// # Errors
    /// The simulation failed.
    fn reset(&mut self, host: &mut HostSide) -> Result<(), DeviceFailure>;

    /// Notes its steps in the log from now on, if it can tell them. `number`: which of the machine's devices it is.
    fn attach(&mut self, log: &Arc<EventLog>, number: usize) {
        let _ = (log, number);
    }

    /// Its link as TLPs, if it has one.
    fn tlps(&mut self) -> Option<&mut dyn Tlps> {
        None
    }

    /// What the driver does now.
    fn mark(&mut self, mark: HostMark);

    /// Writes waves of some cycles to come.
    ///
    /// # Errors
    /// This device has none, or the file cannot be written.
    fn open_wave(&mut self, recording: &Recording) -> Result<(), DeviceFailure>;

    /// Ends the waves.
    ///
    /// # Errors
    /// The file could not be written.
    fn close_wave(&mut self) -> Result<(), DeviceFailure>;

    /// Where its cycles are in its waves.
    fn wave_time(&self) -> WaveTime {
        WaveTime::default()
    }

    /// The cycle in which its simulation failed.
    fn failed_at(&self) -> Option<u64> {
        None
    }
}
