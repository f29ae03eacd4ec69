//! Running one device program out of an ELF file: its arguments and memory, its job, its figures.

mod args;
mod run;

pub use args::{KernelArg, SaveArg};
pub use run::{KernelFigures, KernelPlan, run};
