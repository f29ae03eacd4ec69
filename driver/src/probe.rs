//! Bringing a device up.

use crate::commands::Commands;
use crate::config::DeviceConfig;
use crate::copier::Copier;
use crate::core::{Core, Slot};
use crate::counters::Counters;
use crate::dirty_log::DirtyLog;
use crate::error::DriverError;
use crate::faults::FaultRing;
use crate::health::Health;
use crate::home::Owner;
use crate::hw::{Hardware, HwError};
use crate::launcher::Launcher;
use crate::mem::DevMem;
use crate::pool::PagePool;
use crate::retries::WalkRetries;
use crate::waiters::Waiters;
use hmm_core::sync::Mutex;
use hmm_core::{DevPagemap, DeviceMemory, PAGE_SIZE, System};
use hmmu_regs::{MSIX_TABLE, MSIX_VECTORS, reg};
use std::sync::{Arc, OnceLock};

/// Where MSI-X messages go: the interrupt controller's window; the data is the vector's number.
const MSIX_ADDRESS: u64 = 0xfee0_0000;

/// Bit ENABLE of register CONTROL.
const ENABLE: u64 = 1;

fn check(config: &DeviceConfig) -> Result<(), DriverError> {
    let refuse = |text: &str| Err(DriverError::Config(text.to_owned()));
    if !(2..=15).contains(&config.ring_log2) {
        return refuse("ring_log2 must be 2 to 15");
    }
    if config
        .dirty_log
        .is_some_and(|log2| !(1..=15).contains(&log2))
    {
        return refuse("dirty_log must be 1 to 15");
    }
    if config.stack_bytes == 0 || !config.stack_bytes.is_multiple_of(PAGE_SIZE) {
        return refuse("stack_bytes must be a multiple of 4096");
    }
    if config.slice == Some(0) {
        return refuse("slice must be at least 1");
    }
    if config.migrate_batch == 0 {
        return refuse("migrate_batch must be at least 1");
    }
    if config.translation.walkers > 63 {
        return refuse("walkers must be at most 63");
    }
    if config.owner == 0 {
        return refuse("owner must not be 0");
    }
    Ok(())
}

/// Bits `low..low + 8` of register CAPS.
fn cap(caps: u64, low: u32) -> u64 {
    (caps >> low) & 0xff
}

/// Sets the registers that are not those of a ring. The device is disabled.
fn program(hw: &Hardware, config: &DeviceConfig) -> Result<(), HwError> {
    hw.bar.write(reg::CONTROL, 0)?;
    hw.bar.write(reg::CPL_TIMEOUT, config.timeouts.completion)?;
    hw.bar.write(reg::XLAT_LIMITS, config.translation.word())?;
    hw.bar.write(reg::ERROR_INFO, 1)?;
    for vector in 0..MSIX_VECTORS {
        let entry = MSIX_TABLE + vector * 16;
        hw.bar.write(entry, MSIX_ADDRESS)?;
        // Message data below, vector control (0: not masked) above.
        hw.bar.write(entry + 8, vector)?;
    }
    Ok(())
}

/// Brings a device back that was given up: resets it, ends all contexts, and sets everything up anew.
pub(crate) fn reset(core: &Core) -> Result<(), DriverError> {
    let asked = DriverError::Link("the device is being reset".to_owned());
    core.health.lose(&asked);
    for context in core.contexts() {
        // All that it has on the device is gone.
        let _ = context.close();
    }
    core.hw.bar.reset()?;
    answers(core)?;
    program(&core.hw, &core.config)?;
    core.commands.rearm()?;
    core.copier.rearm()?;
    core.launcher.rearm(core)?;
    core.faults.lock().rearm()?;
    if let Some(log) = core.dirty_log.get() {
        log.rearm()?;
    }
    core.health.revive();
    core.hw.bar.write(reg::CONTROL, ENABLE)?;
    // The writes may have been lost like any other.
    let enabled = core.hw.bar.read(reg::CONTROL);
    core.health.verify()?;
    match enabled {
        Ok(ENABLE) => Ok(()),
        Ok(_) | Err(_) => {
            let error = DriverError::Link("the device could not be set up again".to_owned());
            core.health.lose(&error);
            Err(error)
        }
    }
}

/// Waits until the device answers after a reset.
fn answers(core: &Core) -> Result<(), DriverError> {
    let deadline = core
        .hw
        .clock
        .now()
        .saturating_add(core.config.timeouts.command);
    loop {
        if !core.hw.bar.present() {
            return Err(DriverError::Lost("the device was taken out".to_owned()));
        }
        match core.hw.bar.read(reg::ID) {
            Ok(id) if id == hmmu_regs::ID => return Ok(()),
            Err(error) if core.hw.clock.now() >= deadline => return Err(error.into()),
            Ok(id) if core.hw.clock.now() >= deadline => {
                return Err(DriverError::NotOurs {
                    id,
                    expected: hmmu_regs::ID,
                });
            }
            Ok(_) | Err(_) => core.hw.clock.pause()?,
        }
    }
}

/// Sets a device up and enables it.
pub(crate) fn probe(
    hw: Hardware,
    sys: Arc<System>,
    config: DeviceConfig,
) -> Result<Arc<Core>, DriverError> {
    check(&config)?;
    let id = hw.bar.read(reg::ID)?;
    if id != hmmu_regs::ID {
        return Err(DriverError::NotOurs {
            id,
            expected: hmmu_regs::ID,
        });
    }
    // Pages of the same owner count as this device's own, wherever they are: it could neither reach them nor have
    // them sent home.
    if sys.has_device_owner(config.owner) {
        return Err(DriverError::Config(format!(
            "another device has the owner {}",
            config.owner
        )));
    }
    let caps = hw.bar.read(reg::CAPS)?;
    let vram = hw.bar.read(reg::VRAM_SIZE)? / PAGE_SIZE;
    let pages = config.vram_pages.map_or(vram, |pages| pages.min(vram));
    if pages == 0 {
        return Err(DriverError::Config("the device has no memory".to_owned()));
    }
    program(&hw, &config)?;
    let health = Arc::new(Health::new(hw.clone(), config.timeouts.look));
    let counters = Arc::new(Counters::new());
    let pool = Arc::new(PagePool::new(pages));
    let mem = Arc::new(DevMem::new(hw.clone(), Arc::clone(&pool)));
    let limits = config.timeouts;
    let log2 = config.ring_log2;
    let faults = FaultRing::new(&hw, log2)?;
    let commands = Commands::new(&hw, Arc::clone(&health), log2, limits.ring, limits.command)?;
    let copier = Copier::new(
        &hw,
        Arc::clone(&mem),
        Arc::clone(&health),
        Arc::clone(&counters),
        cap(caps, 40).min(config.copy_channels),
        log2,
        limits.ring,
        limits.copy,
    )?;
    let launcher = Launcher::new(&hw, log2, cap(caps, 56) as usize)?;
    let walk_retries = WalkRetries::new(config.timeouts.completion);
    let core = Arc::new(Core {
        warps: (cap(caps, 0) * cap(caps, 8)).max(1),
        slots: Mutex::new(vec![Slot::Free; cap(caps, 16) as usize]),
        pagemap: OnceLock::new(),
        dirty_log: OnceLock::new(),
        hw,
        sys,
        config,
        health,
        counters,
        pool,
        mem,
        commands,
        copier,
        launcher,
        faults: Mutex::new(faults),
        waiters: Waiters::default(),
        walk_retries,
    });
    if let Some(log2) = core.config.dirty_log {
        let log = DirtyLog::new(&core.hw, log2)?;
        let _ = core.dirty_log.set(Arc::new(log));
    }
    let ward = Arc::downgrade(&core);
    core.health
        .set_nurse(move || ward.upgrade().map_or(Ok(()), |core| core.look()));
    let owner = Arc::new(Owner {
        core: Arc::downgrade(&core),
    });
    core.hw.bar.write(reg::CONTROL, ENABLE)?;
    let kind = if core.config.coherent {
        DeviceMemory::Coherent
    } else {
        DeviceMemory::Private
    };
    // Last: what fails before leaves nothing behind in hmm-core.
    let pagemap = DevPagemap::new(&core.sys, kind, pages, core.owner(), owner)
        .map_err(|errno| DriverError::errno_of(errno, "adding the device's memory"))?;
    let _ = core.pagemap.set(pagemap);
    Ok(core)
}
