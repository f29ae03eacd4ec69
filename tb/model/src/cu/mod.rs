//! The compute unit: a barrel of hardware warps.

mod bus;
mod icache;
mod unit;

pub(crate) use unit::{ComputeUnit, Thread, ThreadEnd};
