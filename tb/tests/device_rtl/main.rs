//! The device's tests on the verilated design: the bodies of `tb/model/tests/device`, driven over the link.
//!
//! Left out are `exact.rs` (what only the functional device offers, and what it counts in another way) and
//! `time.rs` (that it can pass over idle time and draws its latencies from a seed).
#![cfg(feature = "rtl")]

mod rtl;

#[path = "../../model/tests/device/dut.rs"]
mod dut;
#[path = "../../model/tests/device/ram.rs"]
mod ram;
#[path = "../../model/tests/device/rig.rs"]
mod rig;

#[path = "../../model/tests/device/atomics.rs"]
mod atomics;
#[path = "../../model/tests/device/copy.rs"]
mod copy;
#[path = "../../model/tests/device/dirty.rs"]
mod dirty;
#[path = "../../model/tests/device/dirty_log.rs"]
mod dirty_log;
#[path = "../../model/tests/device/errors.rs"]
mod errors;
#[path = "../../model/tests/device/faults.rs"]
mod faults;
#[path = "../../model/tests/device/invalidate.rs"]
mod invalidate;
#[path = "../../model/tests/device/jobs.rs"]
mod jobs;
#[path = "../../model/tests/device/migration.rs"]
mod migration;
#[path = "../../model/tests/device/registers.rs"]
mod registers;
#[path = "../../model/tests/device/rings.rs"]
mod rings;
#[path = "../../model/tests/device/sizes.rs"]
mod sizes;
#[path = "../../model/tests/device/suspend.rs"]
mod suspend;

pub use rtl::make;

/// See `tb/model/tests/device/main.rs`.
pub const DIRTY_IS_EXACT: bool = false;
/// Of many like cases the tests take every so many.
pub const STEP: usize = 17;
