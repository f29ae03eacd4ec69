//! What all parts of the driver share.

use crate::commands::{Commands, CtxId};
use crate::config::DeviceConfig;
use crate::context::Context;
use crate::copier::Copier;
use crate::counters::Counters;
use crate::dirty_log::DirtyLog;
use crate::error::DriverError;
use crate::faults::FaultRing;
use crate::health::Health;
use crate::hw::{Hardware, HwError, VramAddr};
use crate::launcher::Launcher;
use crate::mem::{DevMem, DevPa};
use crate::pool::PagePool;
use crate::retries::WalkRetries;
use crate::waiters::Waiters;
use hmm_core::sync::Mutex;
use hmm_core::{DevPagemap, PAGE_SIZE, Pfn, System};
use hmmu_regs::reg;
use std::sync::{Arc, OnceLock};

/// A context number of the device.
#[derive(Clone, Default)]
pub(crate) enum Slot {
    /// Nobody has it.
    #[default]
    Free,
    /// Being set up or torn down.
    Reserved,
    /// In use.
    Open(Arc<Context>),
}

/// The device's state.
pub(crate) struct Core {
    pub hw: Hardware,
    pub sys: Arc<System>,
    pub config: DeviceConfig,
    pub health: Arc<Health>,
    pub counters: Arc<Counters>,
    pub pool: Arc<PagePool>,
    pub mem: Arc<DevMem>,
    pub commands: Commands,
    pub copier: Copier,
    pub launcher: Launcher,
    pub faults: Mutex<FaultRing>,
    pub waiters: Waiters,
    pub walk_retries: WalkRetries,
    /// Hardware warps of all compute units.
    pub warps: u64,
    pub slots: Mutex<Vec<Slot>>,
    pub pagemap: OnceLock<Arc<DevPagemap>>,
    /// Set by the probe, if there is to be one.
    pub dirty_log: OnceLock<Arc<DirtyLog>>,
}

impl Core {
    /// Notes something for the trace.
    pub fn trace(&self, name: &'static str, fields: &[(&'static str, u64)]) {
        self.config.tracer.event(name, fields);
    }

    /// Reads the device's status and starts queues again that it has stopped. Waits for the link.
    pub fn look(&self) -> Result<(), HwError> {
        let status = self.hw.bar.read(reg::STATUS)?;
        self.commands.restart(status)?;
        self.copier.restart(status)?;
        self.launcher.restart(self, status)
    }

    /// Who owns the pages in this device's memory.
    pub fn owner(&self) -> u64 {
        self.config.owner
    }

    fn pagemap_base(&self) -> u64 {
        self.pagemap.get().map_or(u64::MAX, |map| map.base().0)
    }

    /// The number of a page of VRAM.
    pub fn vram_pfn(&self, addr: VramAddr) -> Pfn {
        Pfn(self.pagemap_base().wrapping_add(addr.0 / PAGE_SIZE))
    }

    /// The place in VRAM of a page of this device's memory.
    pub fn pfn_vram(&self, pfn: Pfn) -> Option<VramAddr> {
        let page = pfn.0.checked_sub(self.pagemap_base())?;
        (page < self.pool.pages()).then_some(VramAddr(page * PAGE_SIZE))
    }

    /// Where the device finds a page; `None` for a page of another device.
    pub fn page_pa(&self, pfn: Pfn) -> Option<DevPa> {
        if pfn.is_device() {
            self.pfn_vram(pfn).map(DevPa::vram)
        } else {
            Some(DevPa::system(self.hw.dma.page_addr(pfn)))
        }
    }

    /// The context with a number.
    pub fn context(&self, id: CtxId) -> Option<Arc<Context>> {
        match self.slots.lock().get(usize::from(id)) {
            Some(Slot::Open(context)) => Some(Arc::clone(context)),
            _ => None,
        }
    }

    /// All open contexts.
    pub fn contexts(&self) -> Vec<Arc<Context>> {
        let slots = self.slots.lock();
        slots
            .iter()
            .filter_map(|slot| {
                if let Slot::Open(c) = slot {
                    Some(Arc::clone(c))
                } else {
                    None
                }
            })
            .collect()
    }

    /// Reserves a context number.
    pub fn reserve_slot(&self) -> Result<CtxId, DriverError> {
        let mut slots = self.slots.lock();
        let count = slots.len();
        let free = slots.iter().position(|slot| matches!(slot, Slot::Free));
        let id = free.ok_or(DriverError::NoContext(count))?;
        slots[id] = Slot::Reserved;
        Ok(id as CtxId)
    }

    /// Changes who has a context number.
    pub fn set_slot(&self, id: CtxId, slot: Slot) {
        // The old holder is dropped after the lock: its end may take other locks.
        let old = self
            .slots
            .lock()
            .get_mut(usize::from(id))
            .map(|place| std::mem::replace(place, slot));
        drop(old);
    }
}
