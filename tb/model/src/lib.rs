//! A functional model of the hmmu device: the registers, queues and rules of `regs/hmmu.toml`, without timing.
//!
//! [`rv64`] is the reference interpreter of the compute unit's instruction set.

#![forbid(unsafe_code)]

pub mod rv64;
