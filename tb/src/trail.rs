//! What a run leaves for those who tell of it: its events and its machine.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::machine::MachineConfig;
use crate::schema;
use crate::trace::{Event, explained};

/// A place where a run leaves its events at its end. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct Trail(Arc<Mutex<Left>>);

/// What was left there.
#[derive(Clone, Debug, Default)]
pub struct Left {
    /// The machine; `None` if the run made none, or did not come to its end.
    pub machine: Option<MachineConfig>,
    /// Its events, in the order in which they were noted.
    pub events: Vec<Event>,
}

impl Trail {
    /// The end of a run.
    pub fn leave(&self, machine: &MachineConfig, events: Vec<Event>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Left {
            machine: Some(machine.clone()),
            events,
        };
    }

    /// What was left, once.
    #[must_use]
    pub fn take(&self) -> Left {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A run as it is told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Its machine, for `--json`; null if it made none.
    pub config: Value,
    /// What its events say, for `--json`; null as well.
    pub explained: Value,
    /// The events.
    pub events: Vec<Event>,
}

impl From<Left> for Told {
    fn from(left: Left) -> Self {
        let Some(machine) = &left.machine else {
            return Self::default();
        };
        Self {
            config: schema::machine(machine),
            explained: explained(&left.events, schema::link_rate(machine)),
            events: left.events,
        }
    }
}
