//! Memory as the device addresses it, read and written by the driver.

use crate::config::TablePlace;
use crate::error::DriverError;
use crate::hw::{DmaAddr, Hardware, HwError, VramAddr};
use crate::pool::{PagePool, Use};
use hmm_core::PAGE_SIZE;
use std::sync::Arc;

/// A physical address as page tables and copy descriptors hold it: bit 55 tells VRAM from system memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DevPa(pub u64);

const VRAM_BIT: u64 = 1 << 55;

/// How often a read that was refused is tried again.
const READ_TRIES: u32 = 8;
/// Pauses before the second of these; more each time.
const PAUSES: u32 = 32;

impl DevPa {
    /// The address of a byte of VRAM.
    pub fn vram(addr: VramAddr) -> Self {
        Self(addr.0 | VRAM_BIT)
    }

    /// The address of a byte of system memory.
    pub fn system(addr: DmaAddr) -> Self {
        Self(addr.0)
    }

    /// Page number, as in a page-table entry.
    pub fn ppn(self) -> u64 {
        self.0 / PAGE_SIZE
    }

    /// True for device memory.
    pub fn is_vram(self) -> bool {
        self.0 & VRAM_BIT != 0
    }

    /// The address `bytes` further on.
    pub fn add(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }
}

/// Reads, writes and allocates the memory that the device uses.
pub(crate) struct DevMem {
    hw: Hardware,
    pool: Arc<PagePool>,
}

impl DevMem {
    /// Access through `hw`, pages from `pool`.
    pub fn new(hw: Hardware, pool: Arc<PagePool>) -> Self {
        Self { hw, pool }
    }

    /// Writes. Posted: never waits for the device.
    pub fn write(&self, at: DevPa, data: &[u8]) -> Result<(), HwError> {
        if at.is_vram() {
            self.hw.bar.vram_write(VramAddr(at.0 & !VRAM_BIT), data)
        } else {
            self.hw.dma.write(DmaAddr(at.0), data);
            Ok(())
        }
    }

    /// Reads. Waits for the link when the address is in VRAM.
    pub fn read(&self, at: DevPa, buf: &mut [u8]) -> Result<(), HwError> {
        if at.is_vram() {
            self.hw.bar.vram_read(VramAddr(at.0 & !VRAM_BIT), buf)
        } else {
            self.hw.dma.read(DmaAddr(at.0), buf);
            Ok(())
        }
    }

    /// As [`DevMem::read`], and tries again for some time when the link fails. What it has read came from the device.
    pub fn read_surely(&self, at: DevPa, buf: &mut [u8]) -> Result<(), HwError> {
        let mut tries = 0;
        loop {
            let result = self.read(at, buf);
            if at.is_vram() && !self.hw.bar.present() {
                // An empty slot reads as ones.
                return Err(HwError::Refused {
                    what: "a device that was taken out".to_owned(),
                });
            }
            match result {
                Err(HwError::Refused { .. }) if tries < READ_TRIES => {}
                // One that timed out has taken long: once more, a completion may have been lost.
                Err(HwError::Timeout { .. }) if tries == 0 => {}
                other => return other,
            }
            // The first time at once: a completion may have been lost. A link that is down takes some time.
            for _ in 0..tries * PAUSES {
                self.hw.clock.pause()?;
            }
            tries += 1;
        }
    }

    /// A zeroed page in VRAM, or in system memory when that is asked for or VRAM is full.
    pub fn alloc_page(&self, place: TablePlace, what: Use) -> Result<DevPa, DriverError> {
        let vram = if place == TablePlace::Vram {
            self.pool.alloc(what)
        } else {
            None
        };
        match vram {
            Some(addr) => {
                let at = DevPa::vram(addr);
                self.write(at, &[0; PAGE_SIZE as usize])?;
                Ok(at)
            }
            None => Ok(DevPa::system(self.hw.dma.alloc(PAGE_SIZE, PAGE_SIZE)?)),
        }
    }

    /// Gives back a page of [`DevMem::alloc_page`].
    pub fn free_page(&self, at: DevPa, what: Use) {
        if at.is_vram() {
            self.pool.free(VramAddr(at.0 & !VRAM_BIT), what);
        } else {
            self.hw.dma.free(DmaAddr(at.0), PAGE_SIZE);
        }
    }
}
