//! What the driver does with a page on a device fault, as commands are told.

use std::sync::Arc;

use hmmu_driver::Policy;
use hmmu_driver::policy::{MapRemote, MigrateOnFault};

/// What the driver does with a page on a device fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Placement {
    /// Moves it to device memory.
    Migrate,
    /// Maps it where it is, over the link.
    Remote,
}

impl Placement {
    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Migrate => "migrate",
            Self::Remote => "remote",
        }
    }

    /// The driver's policy.
    #[must_use]
    pub fn policy(self) -> Arc<dyn Policy> {
        match self {
            Self::Migrate => Arc::new(MigrateOnFault::default()),
            Self::Remote => Arc::new(MapRemote::default()),
        }
    }
}
