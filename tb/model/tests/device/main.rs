//! The functional device through its registers, rings and memories, as a driver sees it.

mod dut;
mod functional;
mod ram;
mod rig;

// What every device promises.
mod atomics;
mod copy;
mod dirty;
mod errors;
mod faults;
mod invalidate;
mod jobs;
mod migration;
mod registers;
mod rings;

// What only this one does.
mod exact;
mod time;

pub use functional::make;
