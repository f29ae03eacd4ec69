//! What is built into a device and how long its parts take.

/// Sizes of a device. The defaults are those of the RTL's simulated build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Bytes of device memory.
    pub vram_bytes: u64,
    /// Walks in flight.
    pub walkers: usize,
    /// Faults that can be parked at once.
    pub fault_entries: usize,
    /// Latencies.
    pub latency: Latency,
}

/// Latencies in device cycles. They order events and let the host race with the device; they are not the RTL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// A read or atomic of system memory.
    pub link: u64,
    /// An access to VRAM.
    pub vram: u64,
    /// From one instruction of a warp to its next one.
    pub instruction: u64,
    /// A command of the control ring, besides what it waits for.
    pub command: u64,
    /// Each of the above is longer by 0..=`jitter` cycles, drawn from `seed`.
    pub jitter: u64,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            link: 40,
            vram: 8,
            instruction: 8,
            command: 8,
            jitter: 0,
            seed: 0,
        }
    }
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            vram_bytes: 16 << 20,
            walkers: 16,
            fault_entries: 64,
            latency: Latency::default(),
        }
    }
}

/// Compute units.
pub(crate) const UNITS: usize = 2;
/// Hardware warps of each compute unit.
pub(crate) const WARPS: usize = 16;
/// Jobs that can run at once.
pub(crate) const JOB_SLOTS: usize = 4;
/// Copy channels.
pub(crate) const COPY_CHANNELS: usize = 4;
/// Sets of the L2 TLB, a power of two.
pub(crate) const L2_SETS: usize = 256;
/// Ways of the L2 TLB.
pub(crate) const L2_WAYS: usize = 4;
/// Entries of each L1 TLB.
pub(crate) const L1_ENTRIES: usize = 16;
