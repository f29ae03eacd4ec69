//! Looking for a schedule under which a script fails, and for the few decisions that it takes.

mod batch;
mod describe;
mod plan;
mod shrink;

pub use batch::{Batch, Failure, first_failure};
pub use describe::describe;
pub use plan::{Plan, Strategies};
pub use shrink::{Shrunk, shrink};

/// How one run ended: its error if it failed, and what its scheduler decided.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What went wrong.
    pub error: Option<String>,
    /// True if the script could not be used at all.
    pub unusable: bool,
    /// What the scheduler decided.
    pub recording: hmm_core::sync::Recording,
}
