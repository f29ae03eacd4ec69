//! Driver of the hmmu device.
//!
//! The driver knows the device only through the traits of [`hw`]: registers, memory shared with the device,
//! interrupts and time. It mirrors a process's address space ([`Context`]) into the device's page tables, serves
//! its page faults, moves pages between system and device memory, and runs programs on the compute units.
//!
//! Locks, outermost first: those of hmm-core (mmap_lock, page locks), the copy channel's order, a ring, a context's
//! tables, the job list, the page pool. Nobody waits for the device while holding one of the driver's.
#![forbid(unsafe_code)]

mod accessed;
mod arena;
mod check;
mod commands;
pub mod config;
pub mod context;
mod copier;
mod copy_plan;
mod core;
mod counters;
pub mod device;
mod dirty;
mod dirty_log;
pub mod error;
mod exclusive;
mod faults;
mod health;
mod hold;
mod home;
pub mod hw;
pub mod job;
mod launcher;
mod lookup;
mod mem;
mod migrate;
mod notifier;
pub mod policy;
mod pool;
mod probe;
pub mod program;
mod pte;
mod range;
mod record_ring;
mod retries;
mod ring;
pub mod slices;
mod snapshot;
mod stats;
mod table;
mod waiters;
mod worker;

pub use config::{Atomics, DeviceConfig, TablePlace, Timeouts, TranslationLimits};
pub use context::Context;
pub use device::Device;
pub use error::{DriverError, JobError};
pub use hw::Hardware;
pub use job::Job;
pub use policy::{MapRemote, MigrateOnFault, PageRange, Policy};
pub use program::Program;
pub use snapshot::{PagePlace, PageState};
