//! The compute units: barrels of hardware warps.

mod bus;
mod cluster;
mod icache;
mod unit;

pub(crate) use cluster::Cluster;
pub(crate) use unit::{Thread, ThreadEnd};
