//! Random programs of process and device operations, compared with plain memory: `hmmu fuzz`.
//!
//! A [`Program`] is made from a seed. It runs on a machine of its own, with every outcome and every byte compared with
//! a model of memory that knows nothing of page tables and devices, and the rules that always hold checked after
//! every operation. A program that fails is shrunk. [`compare`] runs one on both devices and compares what they did.

mod compare;
mod device_lane;
mod generate;
mod kernel;
mod lane;
mod maps;
mod memory_lane;
mod op;
mod plain;
mod predict;
mod program;
mod rhai;
mod shape;
mod shrink;

pub use compare::{Difference, compare};
pub use op::{BASE, Kind, Op, PAGE, Tip};
pub use program::{Failure, FaultSeen, Program, Record};
pub use rhai::script;
pub use shape::Shape;
pub use shrink::{Shrunk, shrink};
