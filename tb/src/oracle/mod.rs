//! The byte oracle: what every process must read, whatever moved where.
//!
//! It is told of every access of a script before it starts and after it has ended, and knows nothing of pages
//! in tables, devices or migration: a process's memory is plain RAM to it. An access that overlaps a write of
//! another thread in time may see either value; such bytes stay "one of these" until a later access settles them.

mod flight;
mod fork;
mod page;
mod remap;
mod settle;
mod shadow;

pub use flight::{Data, Outcome, Ticket};
pub use remap::Moved;
pub use shadow::Oracle;

use thiserror::Error;

/// A read brought something that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// A byte of the wrong value.
    #[error("oracle: byte at {addr:#x} of process {mm} reads {got:#04x}, must be {}", one_of(.allowed))]
    Byte {
        /// The process.
        mm: u64,
        /// Address of the byte.
        addr: u64,
        /// What was read.
        got: u8,
        /// Some of the values that it may have.
        allowed: Vec<u8>,
    },
    /// A read of memory that is not mapped succeeded.
    #[error("oracle: process {mm} read {addr:#x}, which nothing maps")]
    Unmapped {
        /// The process.
        mm: u64,
        /// First such address.
        addr: u64,
    },
}

fn one_of(allowed: &[u8]) -> String {
    let all: Vec<String> = allowed.iter().map(|b| format!("{b:#04x}")).collect();
    all.join(" or ")
}
