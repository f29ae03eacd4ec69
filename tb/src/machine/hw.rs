//! The machine as the driver's hardware.

use std::sync::Arc;

use hmm_core::{PAGE_SIZE, Pfn};
use hmmu_driver::Hardware;
use hmmu_driver::hw::{Bar, Clock, DmaAddr, DmaMemory, HwError, Interrupts, VramAddr};

use super::Machine;
use crate::rc::Window;

/// One machine behind the driver's four traits.
struct Port(Arc<Machine>);

/// The machine as the driver's hardware.
#[must_use]
pub fn hardware(machine: &Arc<Machine>) -> Hardware {
    Hardware {
        bar: Arc::new(Port(Arc::clone(machine))),
        dma: Arc::new(Port(Arc::clone(machine))),
        irq: Arc::new(Port(Arc::clone(machine))),
        clock: Arc::new(Port(Arc::clone(machine))),
    }
}

impl Bar for Port {
    fn read(&self, offset: u64) -> Result<u64, HwError> {
        let mut raw = [0; 8];
        self.0.read(Window::Registers, offset, &mut raw)?;
        Ok(u64::from_le_bytes(raw))
    }

    fn write(&self, offset: u64, value: u64) -> Result<(), HwError> {
        self.0.post(Window::Registers, offset, &value.to_le_bytes());
        Ok(())
    }

    fn vram_read(&self, addr: VramAddr, buf: &mut [u8]) -> Result<(), HwError> {
        self.0.read(Window::Vram, addr.0, buf)
    }

    fn vram_write(&self, addr: VramAddr, data: &[u8]) -> Result<(), HwError> {
        self.0.post(Window::Vram, addr.0, data);
        Ok(())
    }
}

impl DmaMemory for Port {
    fn alloc(&self, bytes: u64, align: u64) -> Result<DmaAddr, HwError> {
        self.0
            .memory
            .alloc(bytes, align)
            .map(DmaAddr)
            .ok_or(HwError::OutOfDmaMemory { bytes })
    }

    fn free(&self, addr: DmaAddr, bytes: u64) {
        self.0.memory.free(addr.0, bytes);
    }

    fn read(&self, addr: DmaAddr, buf: &mut [u8]) {
        // Addresses come from `alloc` and `page_addr`: there is memory.
        let read = self.0.memory.bus_read(addr.0, buf);
        debug_assert_eq!(read, Ok(()));
    }

    fn write(&self, addr: DmaAddr, data: &[u8]) {
        let written = self.0.memory.bus_write(addr.0, data);
        debug_assert_eq!(written, Ok(()));
    }

    fn page_addr(&self, pfn: Pfn) -> DmaAddr {
        DmaAddr(pfn.0 * PAGE_SIZE)
    }
}

impl Interrupts for Port {
    fn wait(&self, vector: u16) -> bool {
        let mut interrupts = self.0.interrupts.lock();
        loop {
            if interrupts.shutdown {
                return false;
            }
            match interrupts.pending.get_mut(usize::from(vector)) {
                Some(pending) if *pending => {
                    *pending = false;
                    return true;
                }
                Some(_) => interrupts = self.0.raised.wait(interrupts),
                None => return false,
            }
        }
    }

    fn shutdown(&self) {
        self.0.interrupts.lock().shutdown = true;
        self.0.raised.notify_all();
    }
}

impl Clock for Port {
    fn now(&self) -> u64 {
        self.0.now()
    }

    fn pause(&self) -> Result<(), HwError> {
        self.0.pause()
    }
}
