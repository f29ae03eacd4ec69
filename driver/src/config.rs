//! What can be chosen when a device is probed.

use crate::policy::{MapRemote, Policy};
use hmm_core::{NoTrace, Tracer};
use std::sync::Arc;

/// Where a context's page tables live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TablePlace {
    /// In device memory; in system memory when no VRAM page is free.
    Vram,
    /// In system memory, read by the walker over the link.
    System,
}

/// How the device does atomics on pages of system memory. On its own memory it always can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atomics {
    /// PCIe AtomicOps are atomic against the CPUs too: every writable page takes them.
    Link,
    /// AtomicOps work, but not against the CPUs' accesses: the page is made device-exclusive first, until the CPU
    /// touches it. Shared memory takes none (EOPNOTSUPP).
    Exclusive,
    /// The link has no AtomicOps: the page moves to device memory first. Pages that cannot move take none
    /// (EOPNOTSUPP).
    Migrate,
}

/// How long the driver waits for the device before it calls it lost. All in device clock cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A control command (invalidate, stop, context set-up, kill), from its doorbell to its fence.
    pub command: u64,
    /// Progress of the copy channel: one batch of physical copies, or one piece of a translated copy.
    pub copy: u64,
    /// A free entry in a full ring.
    pub ring: u64,
    /// A job, from its launch to its completion. `None`: as long as it runs (it can be killed).
    pub job: Option<u64>,
    /// The device's own reads over the link (register `CPL_TIMEOUT`).
    pub completion: u64,
    /// How often a device that is waited for is looked at: whether it lives, and whether it has stopped a queue.
    pub look: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            command: 2_000_000,
            copy: 20_000_000,
            ring: 20_000_000,
            job: None,
            completion: 50_000,
            look: 50_000,
        }
    }
}

/// Which of the device's means of address translation are in use, to measure what each of them buys. All by default;
/// none changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranslationLimits {
    /// Page walks in flight, at most 63; 0: as many as the device can.
    pub walkers: u8,
    /// Walks start from what the walk cache holds of the upper levels.
    pub walk_cache: bool,
    /// Misses of the L1 TLBs look into the L2 TLB.
    pub l2: bool,
    /// Requests of several clients for one page share a walk.
    pub merging: bool,
}

impl Default for TranslationLimits {
    fn default() -> Self {
        Self {
            walkers: 0,
            walk_cache: true,
            l2: true,
            merging: true,
        }
    }
}

impl TranslationLimits {
    /// The value of register `XLAT_LIMITS`.
    pub(crate) fn word(self) -> u64 {
        u64::from(self.walkers)
            | u64::from(!self.walk_cache) << 8
            | u64::from(!self.l2) << 9
            | u64::from(!self.merging) << 10
    }
}

/// Choices for one device.
#[derive(Clone)]
pub struct DeviceConfig {
    /// Pages of device memory to use; `None` uses all that the device reports.
    pub vram_pages: Option<u64>,
    /// Where page tables go.
    pub tables: TablePlace,
    /// True adds the device's memory as coherent: the CPU uses pages there in place, through the VRAM window.
    pub coherent: bool,
    /// What is done with a page on a device fault.
    pub policy: Arc<dyn Policy>,
    /// Limits on waits.
    pub timeouts: Timeouts,
    /// Limits on the device's address translation.
    pub translation: TranslationLimits,
    /// How the device does atomics on system memory.
    pub atomics: Atomics,
    /// True maps 2 MiB at once where the process does.
    pub large_pages: bool,
    /// Bytes of stack of one place, of which there are as many as hardware warps (a multiple of 4096).
    pub stack_bytes: u64,
    /// Cycles (at least 1) for which a job runs when others want its slot or its warps: then its state is saved to
    /// memory, and it goes on in its turn. A suspended one makes room at once. `None`: jobs run to their ends.
    pub slice: Option<u64>,
    /// Pages moved by one round of migration (at least 1).
    pub migrate_batch: usize,
    /// log2 of the entries of each ring (2..=15).
    pub ring_log2: u32,
    /// Copy channels that are used, at most: one to the device, one home, one for programs. With a single one the CPU
    /// moves pages while a program's copy is in it.
    pub copy_channels: u64,
    /// log2 of the records of the device's dirty log (1..=15), for [`crate::Context::harvest_written`]; `None`: no log.
    pub dirty_log: Option<u32>,
    /// Tells this device from others of the same system (not 0, and no other device's): pages in its memory belong to
    /// it.
    pub owner: u64,
    /// Receives what the driver does, for traces.
    pub tracer: Arc<dyn Tracer>,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self {
            vram_pages: None,
            tables: TablePlace::Vram,
            coherent: false,
            policy: Arc::new(MapRemote::default()),
            timeouts: Timeouts::default(),
            translation: TranslationLimits::default(),
            atomics: Atomics::Link,
            large_pages: true,
            stack_bytes: 4096,
            slice: Some(100_000),
            migrate_batch: 64,
            ring_log2: 7,
            copy_channels: 3,
            dirty_log: None,
            owner: 1,
            tracer: Arc::new(NoTrace),
        }
    }
}
