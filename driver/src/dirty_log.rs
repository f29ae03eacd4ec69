//! What the device has written, by its dirty log: without a look at the tables.

use crate::context::Context;
use crate::core::Core;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::hw::Hardware;
use crate::policy::PageRange;
use crate::record_ring::{RecordRegs, RecordRing};
use hmm_core::sync::Mutex;
use hmm_core::{PAGE_SIZE, Va};
use hmmu_regs::{DirtyRecord, Vector, reg};
use std::collections::BTreeMap;

const REGS: RecordRegs = RecordRegs {
    base: reg::DIRTY_BASE,
    size: reg::DIRTY_SIZE,
    cons: reg::DIRTY_CONS,
};

/// The driver's end of the log.
pub(crate) struct DirtyLog {
    ring: Mutex<RecordRing<{ DirtyRecord::BYTES }>>,
}

/// Entries that the device has made dirty since the last harvest: bytes that each covers, by its first address.
#[derive(Default)]
pub(crate) struct Written(Mutex<BTreeMap<Va, u64>>);

impl DirtyLog {
    /// Sets up a log of `1 << log2` records.
    pub fn new(hw: &Hardware, log2: u32) -> Result<Self, DriverError> {
        let ring = Mutex::new(RecordRing::new(hw, REGS, log2)?);
        Ok(Self { ring })
    }

    /// Sets the log up again after a reset of the device.
    pub fn rearm(&self) -> Result<(), DriverError> {
        self.ring.lock().rearm()
    }

    /// Sorts the records that are there to their contexts. A context that is gone needs its own no more.
    pub fn collect(&self, core: &Core) -> Result<(), DriverError> {
        // Under the lock to the end: what counts as taken is with its context.
        let mut ring = self.ring.lock();
        let records = ring.fetch()?;
        core.counters.add(Tick::DirtyRecords, records.len() as u64);
        for record in records {
            let record = DirtyRecord::from_bytes(&record);
            if let Some(context) = core.context(record.ctx() as u8) {
                let bytes = PAGE_SIZE << record.order();
                context.written.0.lock().insert(Va(record.addr()), bytes);
            }
        }
        Ok(())
    }

    /// The same, and of all records that the device has still to write for stores made until now.
    fn catch_up(&self, core: &Core) -> Result<(), DriverError> {
        let next = core.hw.bar.read(reg::DIRTY_NEXT)? as u32;
        let mut end = Ok(());
        core.health.wait(
            || "the dirty log".to_owned(),
            core.config.timeouts.command,
            || {
                end = self.collect(core);
                let left = next.wrapping_sub(self.ring.lock().taken()) as i32;
                end.is_err() || left <= 0
            },
        )?;
        end
    }
}

/// Keeps the log from filling up, until interrupts are shut down or the device is lost.
pub(crate) fn run(core: &Core, log: &DirtyLog) {
    while core.hw.irq.wait(Vector::Dirty as u16) {
        if let Err(error) = log.collect(core) {
            core.health.lose(&error);
        }
    }
}

impl Context {
    /// The pages that the device has written since the last call, or since the context was opened. All stores that were made
    /// before the call are told of; one that is made meanwhile is told of now or by the next call, none is left out.
    /// What is told of here is complete: a store that comes after the
    /// call gives a new record. Pages of one entry are told of together (512 of a 2 MiB one), pages that were unmapped
    /// meanwhile too. The pages stay mapped; their flags say that they were written. Takes one invalidation per run of
    /// neighbouring pages and reads no table.
    ///
    /// # Errors
    /// EOPNOTSUPP without [`crate::DeviceConfig::dirty_log`], EBADF when the context is closed, EIO when the device does
    /// not answer.
    pub fn harvest_written(&self) -> Result<Vec<PageRange>, DriverError> {
        self.check_open()?;
        let core = &self.core;
        let Some(log) = core.dirty_log.get() else {
            return Err(DriverError::errno_of(
                hmm_core::Errno::EOPNOTSUPP,
                "a harvest without a dirty log",
            ));
        };
        log.catch_up(core)?;
        let written = std::mem::take(&mut *self.written.0.lock());
        let ranges = join(&written);
        for (va, bytes) in &written {
            self.clean(*va, *bytes)?;
        }
        // Only then is a store that found D set before it was cleared over, and the next one sets it anew.
        for range in &ranges {
            core.commands
                .invalidate(self.id, range.start, range.end.0 - range.start.0)?;
        }
        Ok(ranges)
    }

    /// Marks the pages of an entry as written and clears its D bit, if it still maps them. First the mark: who takes the
    /// entry away from now on need not find D.
    fn clean(&self, va: Va, bytes: u64) -> Result<(), DriverError> {
        let mut space = self.space.lock();
        let Some(table) = space.table.as_mut() else {
            return Err(DriverError::Closed);
        };
        let range = PageRange {
            start: va,
            end: va + bytes,
        };
        for page in table.live(range) {
            if let Some(pfn) = page.pfn {
                self.core.sys.set_page_dirty(pfn);
            }
        }
        table.clean(range)
    }
}

/// Neighbours become one range.
fn join(written: &BTreeMap<Va, u64>) -> Vec<PageRange> {
    let mut ranges: Vec<PageRange> = Vec::new();
    for (&start, &bytes) in written {
        let end = start + bytes;
        match ranges.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => ranges.push(PageRange { start, end }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_joined_and_others_are_not() {
        let page = |n: u64| Va(n * PAGE_SIZE);
        let written = BTreeMap::from([
            (page(1), PAGE_SIZE),
            (page(2), PAGE_SIZE),
            (page(512), 512 * PAGE_SIZE),
            (page(600), PAGE_SIZE),
            (page(1024), PAGE_SIZE),
            (page(1026), PAGE_SIZE),
        ]);
        let shape: Vec<(u64, u64)> = join(&written)
            .iter()
            .map(|range| (range.start.page(), range.end.page()))
            .collect();
        assert_eq!(shape, [(1, 3), (512, 1025), (1026, 1027)]);
    }
}
