//! The figures of a device.

use crate::core::Core;
use crate::error::DriverError;
use crate::pool::Use;
use hmmu_regs::{Counter, reg};

/// The device's counters as of one moment, then the driver's, then the use of device memory in pages. Always in the
/// same order.
pub(crate) fn read(core: &Core) -> Result<Vec<(&'static str, u64)>, DriverError> {
    let mut stats = Vec::new();
    core.hw.bar.write(reg::SNAPSHOT, 1)?;
    for counter in Counter::ALL {
        stats.push((
            counter.name(),
            core.hw.bar.read(reg::COUNTER + 8 * counter as u64)?,
        ));
    }
    stats.extend(core.counters.all());
    stats.push(("vram_pages", core.pool.pages()));
    stats.push(("vram_pages_used", core.pool.in_use()));
    stats.push(("vram_pages_tables", core.pool.used_for(Use::Table)));
    stats.push(("vram_pages_programs", core.pool.used_for(Use::Arena)));
    stats.push(("vram_pages_processes", core.pool.used_for(Use::Folio)));
    Ok(stats)
}
