//! The device's tests on the verilated design: the bodies of `tb/model/tests/device`, driven over the link.
//!
//! Left out are `exact.rs` (what only the functional device offers, and what it counts in another way) and
//! `time.rs` (that it can pass over idle time and draws its latencies from a seed).
#![cfg(feature = "rtl")]

mod litmus;
mod matrix;
mod rtl;

#[path = "../suite/common/sizes.rs"]
mod link_sizes;

#[path = "../../model/tests/device/dut.rs"]
mod dut;
#[path = "../../model/tests/device/ram.rs"]
mod ram;
#[path = "../../model/tests/device/rig.rs"]
mod rig;

#[path = "../../model/tests/device/accessed.rs"]
mod accessed;
#[path = "../../model/tests/device/atomics.rs"]
mod atomics;
#[path = "../../model/tests/device/copy.rs"]
mod copy;
#[path = "../../model/tests/device/copy_channels.rs"]
mod copy_channels;
#[path = "../../model/tests/device/dirty.rs"]
mod dirty;
#[path = "../../model/tests/device/dirty_log.rs"]
mod dirty_log;
#[path = "../../model/tests/device/dirty_storm.rs"]
mod dirty_storm;
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
#[path = "../../model/tests/device/restore.rs"]
mod restore;
#[path = "../../model/tests/device/rings.rs"]
mod rings;
#[path = "../../model/tests/device/save.rs"]
mod save;
#[path = "../../model/tests/device/sizes.rs"]
mod sizes;
#[path = "../../model/tests/device/suspend.rs"]
mod suspend;

pub use rtl::make;

/// See `tb/model/tests/device/main.rs`.
pub const DIRTY_IS_EXACT: bool = false;
/// Of many like cases the tests take every so many.
pub const STEP: usize = 17;

/// See `tb/model/tests/device/main.rs`. Another size of the device was asked for as `HMMU_RTL` (`tb/rtl/build.rs`).
pub fn caps() -> [u8; 8] {
    // The lines of the configuration `small`, or parameters in one line.
    let sizes = match option_env!("HMMU_RTL").unwrap_or_default() {
        "small" => include_str!("../../../rtl/config/small"),
        given => given,
    };
    let size = |name: &str, default: u32| {
        let of = sizes.split_whitespace().find_map(|s| s.strip_prefix(name));
        of.map_or(default, |value| value.parse().expect("a number"))
    };
    let log2_sets = size("L2Sets=", 256).ilog2() as u8;
    let [units, warps] = [size("NumCu=", 2), size("Warps=", 16)].map(|n| n as u8);
    let [walkers, faults] = [size("Walkers=", 16), size("FaultEntries=", 64)].map(|n| n as u8);
    let [jobs, channels] = [size("JobSlots=", 4), size("CopyChannels=", 4)].map(|n| n as u8);
    [units, warps, 16, walkers, faults, channels, log2_sets, jobs]
}
