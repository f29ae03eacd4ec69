//! The byte oracle: what every process must read, whatever moved where.
//!
//! It is told of every access of a script before it starts and after it has ended, and knows nothing of pages
//! in tables, devices or migration: a process's memory is plain RAM to it. An access that overlaps a write of
//! another thread in time may see either value; such bytes stay "one of these" until a later access settles them.

mod discard;
mod file;
mod flight;
mod fork;
mod page;
mod remap;
mod settle;
mod shadow;
mod wild;

pub use discard::Discard;
pub use file::Resize;
pub use flight::{Data, Outcome, Ticket};
pub use remap::Moved;
pub use shadow::Oracle;
pub use wild::Wild;

use thiserror::Error;

/// A read brought something that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Mismatch {
    /// A byte of the wrong value.
    #[error("oracle: byte at {addr:#x} of {} reads {got:#04x}, must be {}", named(.mm), one_of(.allowed))]
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
    #[error("oracle: {} read {addr:#x}, where nothing is", named(.mm))]
    Unmapped {
        /// The process.
        mm: u64,
        /// First such address.
        addr: u64,
    },
}

fn named(mm: &u64) -> String {
    match mm.checked_sub(file::FIRST_FILE) {
        Some(number) => format!("file {number}"),
        None => format!("process {mm}"),
    }
}

fn one_of(allowed: &[u8]) -> String {
    let all: Vec<String> = allowed.iter().map(|b| format!("{b:#04x}")).collect();
    all.join(" or ")
}
