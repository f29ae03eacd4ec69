//! A functional model of the hmmu device: the registers, queues and rules of `regs/hmmu.toml`, without the RTL's
//! timing.
//!
//! [`Device`] is the whole device. It reaches system memory through [`HostMemory`] and answers register and VRAM
//! accesses; time passes in [`Device::tick`], a bounded piece of work for each unit and cycle, so that the host's
//! actions really fall between the device's. [`rv64`] is the reference interpreter of the compute unit.
//!
//! What differs from the RTL: latencies (only their order is meaningful), an instruction or a walk step is one
//! indivisible action, and the link counters take each access as one request and leave out register reads.

#![forbid(unsafe_code)]

mod addr;
mod board;
mod config;
mod control;
mod copy;
mod copy_run;
mod copy_walk;
mod counters;
mod cu;
mod device;
mod error;
mod harvest;
mod host;
mod jitter;
mod launch;
mod mmu;
mod msix;
mod post;
mod registers;
mod ring;
pub mod rv64;
mod save;
mod strobe;

pub use addr::{BusAddr, PAGE_BYTES, PhysAddr, VramAddr};
pub use config::{DeviceConfig, Latency};
pub use device::Device;
pub use error::OutOfVram;
pub use host::{HostMemory, LinkError};
pub use msix::Message;
