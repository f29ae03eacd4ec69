//! The machine as the driver's hardware.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hmm_core::{PAGE_SIZE, Pfn};
use hmmu_driver::Hardware;
use hmmu_driver::hw::{Bar, Clock, DmaAddr, DmaMemory, HwError, Interrupts, VramAddr};

use super::Machine;
use crate::rc::Window;

/// One device of a machine behind the driver's four traits.
struct Port {
    machine: Arc<Machine>,
    device: usize,
}

/// A device of the machine as the driver's hardware. One that the machine does not have refuses everything.
#[must_use]
pub fn hardware(machine: &Arc<Machine>, device: usize) -> Hardware {
    let port = || {
        Arc::new(Port {
            machine: Arc::clone(machine),
            device,
        })
    };
    Hardware {
        bar: port(),
        dma: port(),
        irq: port(),
        clock: port(),
    }
}

impl Bar for Port {
    fn read(&self, offset: u64) -> Result<u64, HwError> {
        let mut raw = [0; 8];
        self.machine
            .read(self.device, Window::Registers, offset, &mut raw)?;
        Ok(u64::from_le_bytes(raw))
    }

    fn write(&self, offset: u64, value: u64) -> Result<(), HwError> {
        self.machine
            .post(self.device, Window::Registers, offset, &value.to_le_bytes())
    }

    fn vram_read(&self, addr: VramAddr, buf: &mut [u8]) -> Result<(), HwError> {
        self.machine.read(self.device, Window::Vram, addr.0, buf)
    }

    fn vram_write(&self, addr: VramAddr, data: &[u8]) -> Result<(), HwError> {
        self.machine.post(self.device, Window::Vram, addr.0, data)
    }

    fn port_errors(&self) -> u64 {
        self.machine.port_errors(self.device)
    }

    fn present(&self) -> bool {
        self.machine.present(self.device)
    }

    fn reset(&self) -> Result<(), HwError> {
        self.machine.reset(self.device)
    }
}

impl DmaMemory for Port {
    fn alloc(&self, bytes: u64, align: u64) -> Result<DmaAddr, HwError> {
        self.machine
            .memory
            .alloc(bytes, align)
            .map(DmaAddr)
            .ok_or(HwError::OutOfDmaMemory { bytes })
    }

    fn free(&self, addr: DmaAddr, bytes: u64) {
        self.machine.memory.free(addr.0, bytes);
    }

    fn read(&self, addr: DmaAddr, buf: &mut [u8]) {
        // Addresses come from `alloc` and `page_addr`: there is memory.
        let read = self.machine.memory.bus_read(addr.0, buf);
        debug_assert_eq!(read, Ok(()));
    }

    fn write(&self, addr: DmaAddr, data: &[u8]) {
        let written = self.machine.memory.bus_write(addr.0, data);
        debug_assert_eq!(written, Ok(()));
    }

    fn page_addr(&self, pfn: Pfn) -> DmaAddr {
        DmaAddr(pfn.0 * PAGE_SIZE)
    }
}

impl Interrupts for Port {
    fn wait(&self, vector: u16) -> bool {
        let Some(line) = self.machine.lines.get(self.device) else {
            return false;
        };
        let mut interrupts = line.interrupts.lock();
        loop {
            if interrupts.shutdown {
                return false;
            }
            match interrupts.pending.get_mut(usize::from(vector)) {
                Some(pending) if *pending => {
                    *pending = false;
                    return true;
                }
                Some(_) => interrupts = line.raised.wait(interrupts),
                None => return false,
            }
        }
    }

    fn take(&self, vector: u16) -> bool {
        let line = self.machine.lines.get(self.device);
        let seen = line.and_then(|line| line.seen.get(usize::from(vector)));
        seen.is_some_and(|seen| seen.swap(false, Ordering::Relaxed))
    }

    fn shutdown(&self) {
        if let Some(line) = self.machine.lines.get(self.device) {
            line.interrupts.lock().shutdown = true;
            line.raised.notify_all();
        }
    }
}

impl Clock for Port {
    fn now(&self) -> u64 {
        self.machine.now()
    }

    fn pause(&self) -> Result<(), HwError> {
        self.machine.pause()
    }
}
