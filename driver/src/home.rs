//! What hmm-core asks of the owner of device memory: pages home on CPU faults, and pages that became free.

use crate::core::Core;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::hw::VramAddr;
use crate::migrate::{self, Direction};
use crate::pool::Use;
use hmm_core::{
    DevFault, DevPagemapOps, Errno, HUGE_PAGES, Pfn, VmFault, lose_device_range,
    migrate_device_finalize, migrate_device_pages, migrate_device_range,
    migrate_device_range_compound,
};
use std::sync::{Arc, Weak};

/// How often pages that could not be moved at once are tried again when all must go.
const RELEASE_ROUNDS: u32 = 64;

/// The owner of the device's pages.
pub(crate) struct Owner {
    /// The device. Its pages cannot be used without it.
    pub core: Weak<Core>,
}

impl Owner {
    /// Where a byte of a coherent page is.
    fn place(&self, pfn: Pfn, offset: usize) -> Result<(Arc<Core>, VramAddr), VmFault> {
        let core = self.core.upgrade().ok_or(VmFault::Sigbus)?;
        let page = core.pfn_vram(pfn).ok_or(VmFault::Sigbus)?;
        Ok((core, VramAddr(page.0 + offset as u64)))
    }
}

impl DevPagemapOps for Owner {
    fn migrate_to_ram(&self, fault: &DevFault<'_>) -> Result<(), VmFault> {
        let core = self.core.upgrade().ok_or(VmFault::Sigbus)?;
        core.counters.add(Tick::CpuFaults, 1);
        core.trace(
            "cpu_fault",
            &[
                ("mm", fault.mm().id()),
                ("addr", fault.va.0),
                ("pfn", fault.pfn.0),
            ],
        );
        // When the page was busy nothing moved: the access faults again.
        migrate::home(&core, fault).map_err(|errno| match errno {
            Errno::ENOMEM => VmFault::Oom,
            _ => VmFault::Sigbus,
        })
    }

    fn cpu_read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) -> Result<(), VmFault> {
        let (core, at) = self.place(pfn, offset)?;
        core.counters.add(Tick::CpuAccesses, 1);
        core.hw
            .bar
            .vram_read(at, buf)
            .map_err(|_| VmFault::Sigbus)?;
        there(&core)
    }

    fn cpu_write(&self, pfn: Pfn, offset: usize, data: &[u8]) -> Result<(), VmFault> {
        let (core, at) = self.place(pfn, offset)?;
        core.counters.add(Tick::CpuAccesses, 1);
        let bar = &core.hw.bar;
        bar.vram_write(at, data).map_err(|_| VmFault::Sigbus)?;
        // The write is posted, and what the CPU stores to system memory next does not wait for it. Reading back does.
        let mut last = [0; 1];
        let end = VramAddr(at.0 + data.len().saturating_sub(1) as u64);
        bar.vram_read(end, &mut last).map_err(|_| VmFault::Sigbus)?;
        there(&core)
    }

    fn folio_free(&self, pfn: Pfn) {
        if let Some(core) = self.core.upgrade()
            && let Some(addr) = core.pfn_vram(pfn)
        {
            core.pool.free(addr, Use::Folio);
        }
    }
}

/// Was the device there until now? An empty slot gives ones to whoever reads.
fn there(core: &Core) -> Result<(), VmFault> {
    if core.hw.bar.present() {
        Ok(())
    } else {
        Err(VmFault::Sigbus)
    }
}

/// Sends every page in device memory home; returns how many moved. Those of a device that was taken out are lost.
pub(crate) fn release(core: &Core) -> Result<usize, DriverError> {
    // First, so that no page is given out again behind our back.
    core.pool.close_to_folios(true);
    let result = release_all(core);
    core.pool.close_to_folios(false);
    result
}

/// Sends every page home and takes the memory out of the system.
pub(crate) fn unplug(core: &Core) -> Result<usize, DriverError> {
    core.pool.close_to_folios(true);
    let moved = release_all(core).inspect_err(|_| core.pool.close_to_folios(false))?;
    if let Some(pagemap) = core.pagemap.get() {
        pagemap.remove();
    }
    Ok(moved)
}

fn release_all(core: &Core) -> Result<usize, DriverError> {
    let Some(pagemap) = core.pagemap.get() else {
        return Ok(0);
    };
    let large = core.config.large_pages;
    let batch = if large {
        HUGE_PAGES
    } else {
        core.config.migrate_batch.max(1) as u64
    };
    let mut moved = 0;
    for _ in 0..RELEASE_ROUNDS {
        let mut first = 0;
        while first < pagemap.pages() && pagemap.used() > 0 {
            let count = batch.min(pagemap.pages() - first);
            let start = pagemap.base() + first;
            first += count;
            if !core.hw.bar.present() {
                // Nobody can read them any more.
                lose_device_range(&core.sys, start, count);
                continue;
            }
            let mut args = if large {
                migrate_device_range_compound(&core.sys, start, count)
            } else {
                migrate_device_range(&core.sys, start, count)
            };
            let asked = migrate::asked(&args.src);
            let filled = migrate::fill(core, &args.src, Direction::ToSystem, |_| true);
            args.dst = filled.0;
            migrate_device_pages(&core.sys, &mut args);
            let now = migrate::count(&args.src, &args.dst);
            migrate::note(core, Direction::ToSystem, asked, now);
            migrate_device_finalize(&core.sys, &mut args);
            moved += now as usize;
        }
        if pagemap.used() == 0 {
            return Ok(moved);
        }
        if core.sys.free_pages() == 0 {
            return Err(DriverError::errno_of(
                Errno::ENOMEM,
                "release: no system memory for the device's pages",
            ));
        }
        // Somebody works on the pages that are left: let them finish.
        core.hw.clock.pause()?;
    }
    Err(DriverError::errno_of(
        Errno::EBUSY,
        format!("release: {} pages stayed in use", pagemap.used()),
    ))
}
