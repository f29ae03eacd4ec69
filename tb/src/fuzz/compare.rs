//! The same program on both devices.

use thiserror::Error;

use super::program::{Failure, FaultSeen, Program, Record};
use crate::machine::Backend;

/// How the devices differ.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Difference {
    /// A device differs from plain memory already.
    #[error("on the {0}: {1}")]
    Failed(&'static str, Failure),
    /// An operation gave something else.
    #[error("operation {at} gave {first} on the {} and {second} on the {}", .names.0, .names.1)]
    Outcome {
        /// Number of the operation.
        at: usize,
        /// What the first device gave.
        first: String,
        /// What the second gave.
        second: String,
        /// The devices.
        names: (&'static str, &'static str),
    },
    /// An operation faulted on other pages.
    #[error("operation {at} faulted with {first:?} on the {} and {second:?} on the {}", .names.0, .names.1)]
    Faults {
        /// Number of the operation.
        at: usize,
        /// Records of the first device that the second had not.
        first: Vec<FaultSeen>,
        /// And the other way round.
        second: Vec<FaultSeen>,
        /// The devices.
        names: (&'static str, &'static str),
    },
    /// Other pages are dirty at the end.
    #[error("dirty pages at the end: {first:?} on the {}, {second:?} on the {}", .names.0, .names.1)]
    Dirty {
        /// Of the first device.
        first: Vec<String>,
        /// Of the second.
        second: Vec<String>,
        /// The devices.
        names: (&'static str, &'static str),
    },
}

/// Runs a program on two devices and compares what every operation gave, which pages faulted in it, and which pages
/// are dirty at the end. (That the memory is the same follows: on both it is what plain memory says.)
///
/// # Errors
/// The first difference.
pub fn compare(program: &Program, first: Backend, second: Backend) -> Result<Record, Difference> {
    let names = (first.name(), second.name());
    let a = program
        .run(first)
        .map_err(|failure| Difference::Failed(names.0, failure))?;
    let b = program
        .run(second)
        .map_err(|failure| Difference::Failed(names.1, failure))?;
    for (at, (one, other)) in a.outcomes.iter().zip(&b.outcomes).enumerate() {
        if one != other {
            return Err(Difference::Outcome {
                at,
                first: one.clone(),
                second: other.clone(),
                names,
            });
        }
    }
    for (at, (one, other)) in a.faults.iter().zip(&b.faults).enumerate() {
        let only = |these: &[FaultSeen], those: &[FaultSeen]| -> Vec<FaultSeen> {
            let missing = these.iter().filter(|fault| !those.contains(fault));
            missing.copied().collect()
        };
        if one != other {
            return Err(Difference::Faults {
                at,
                first: only(one, other),
                second: only(other, one),
                names,
            });
        }
    }
    if a.dirty != b.dirty {
        return Err(Difference::Dirty {
            first: a.dirty,
            second: b.dirty,
            names,
        });
    }
    Ok(b)
}
