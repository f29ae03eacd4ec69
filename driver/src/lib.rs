//! Driver of the hmmu device.
//!
//! The driver knows the device only through the traits of [`hw`]: registers, memory shared with the device,
//! interrupts and time. It mirrors a process's address space ([`Context`]) into the device's page tables, serves
//! its page faults, moves pages between system and device memory, and runs programs on the compute units.
#![forbid(unsafe_code)]

pub mod config;
pub mod context;
pub mod device;
pub mod error;
pub mod hw;
pub mod job;
pub mod policy;
pub mod program;
pub mod snapshot;

pub use config::{DeviceConfig, TablePlace, Timeouts};
pub use context::Context;
pub use device::Device;
pub use error::{DriverError, JobError};
pub use hw::Hardware;
pub use job::Job;
pub use policy::Policy;
pub use program::Program;
pub use snapshot::{PagePlace, PageState};
