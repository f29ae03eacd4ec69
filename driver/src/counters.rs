//! What the driver counts.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! ticks {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// One of the driver's counters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Tick {
            $(#[doc = $doc] $variant,)*
        }

        const NAMES: &[&str] = &[$($name),*];
    };
}

ticks! {
    Rounds = "driver_rounds", "Batches of fault records served.";
    FaultRecords = "driver_fault_records", "Fault records taken from the ring.";
    FaultRanges = "driver_fault_ranges", "Ranges that the records were merged into.";
    FaultsStale = "driver_faults_stale", "Records whose page had become usable before they were served.";
    FaultsCancelled = "driver_faults_cancelled", "Faults answered with an error.";
    WalkRetries = "driver_walk_retries", "Page walks tried again because a table could not be read.";
    UserFaults = "driver_user_faults", "Faults handed over to a wait for a thread of the process.";
    RangeRetries = "driver_range_retries", "Lookups begun again because an invalidation came between.";
    PtesWritten = "driver_ptes_written", "Pages mapped (512 by an entry of 2 MiB).";
    LargeMapped = "driver_large_mapped", "Entries of 2 MiB installed.";
    TakenDown = "driver_taken_down", "Ranges taken away for entries of another size or kind.";
    Exclusive = "driver_exclusive", "Pages made device-exclusive.";
    Invalidations = "driver_invalidations", "Notifier callbacks that had entries to take away.";
    InvalidationsEmpty = "driver_invalidations_empty", "Notifier callbacks with nothing to take away.";
    PtesRevoked = "driver_ptes_revoked", "Leaf entries taken away.";
    PagesAccessed = "driver_pages_accessed", "Of these, found accessed by the device.";
    PagesDirty = "driver_pages_dirty", "Of these, found written by the device.";
    AccessedHarvested = "driver_accessed_harvested", "Leaf entries whose A bit was found set and cleared by a harvest.";
    DirtyRecords = "driver_dirty_records", "Records taken from the dirty log.";
    PagesToDevice = "driver_pages_to_device", "Pages migrated to device memory.";
    PagesToSystem = "driver_pages_to_system", "Pages migrated to system memory.";
    CpuFaults = "driver_cpu_faults", "CPU faults on pages in device memory.";
    CpuAccesses = "driver_cpu_accesses", "CPU loads and stores in coherent device memory, by page.";
    ForeignHome = "driver_foreign_home", "Pages in other devices' coherent memory that were sent home for a fault.";
    MigrateFailed = "driver_migrate_failed", "Pages that were to move and stayed.";
    PageCopies = "driver_page_copies", "Descriptors that moved pages.";
    PagesByCpu = "driver_pages_by_cpu", "Pages moved by the CPU instead of the copy channel.";
    Jobs = "driver_jobs", "Jobs launched.";
    JobSaves = "driver_job_saves", "Jobs saved to memory to make room for others.";
    Copies = "driver_copies", "Translated copies asked for.";
}

/// The counters.
#[derive(Debug)]
pub(crate) struct Counters {
    values: Vec<AtomicU64>,
}

impl Counters {
    /// All zero.
    pub fn new() -> Self {
        Self {
            values: NAMES.iter().map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Counts.
    pub fn add(&self, tick: Tick, count: u64) {
        self.values[tick as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// The value of one.
    pub fn get(&self, tick: Tick) -> u64 {
        self.values[tick as usize].load(Ordering::Relaxed)
    }

    /// All, with their names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        NAMES
            .iter()
            .zip(&self.values)
            .map(|(name, value)| (*name, value.load(Ordering::Relaxed)))
    }
}
