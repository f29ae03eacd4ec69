//! The functional device under test.

use crate::dut::{Dut, Message};
use crate::ram::SharedRam;
use hmmu_model::{BusAddr, Device, DeviceConfig, HostMemory, LinkError, VramAddr};
use hmmu_regs::Counter;

/// The device that the rig drives.
pub fn make(config: DeviceConfig, ram: &SharedRam) -> Box<dyn Dut> {
    Box::new(Functional(Device::new(config, Box::new(ram.clone()))))
}

pub struct Functional(pub Device);

impl Dut for Functional {
    fn time(&self) -> u64 {
        self.0.time()
    }

    fn tick(&mut self, cycles: u64) {
        self.0.tick(cycles);
    }

    fn read_register(&mut self, offset: u64) -> u64 {
        self.0.read_register(offset)
    }

    fn write_register_bytes(&mut self, offset: u64, value: u64, strobe: u8) {
        self.0.write_register_bytes(offset, value, strobe);
    }

    fn vram_read(&mut self, addr: VramAddr, buf: &mut [u8]) {
        self.0.vram_read(addr, buf).unwrap();
    }

    fn vram_write(&mut self, addr: VramAddr, data: &[u8]) {
        self.0.vram_write(addr, data).unwrap();
    }

    fn take_message(&mut self) -> Option<Message> {
        self.0
            .take_message()
            .map(|message| (message.addr.0, message.data))
    }

    fn counter(&mut self, counter: Counter) -> u64 {
        self.0.counter(counter)
    }
}

impl HostMemory for SharedRam {
    fn read(&mut self, addr: BusAddr, buf: &mut [u8]) -> Result<(), LinkError> {
        self.bus_read(addr.0, buf)
    }

    fn write(&mut self, addr: BusAddr, data: &[u8]) {
        self.bus_write(addr.0, data);
    }

    fn cas64(&mut self, addr: BusAddr, expected: u64, new: u64) -> Result<u64, LinkError> {
        self.bus_cas(addr.0, 8, expected, new)
    }

    fn cas32(&mut self, addr: BusAddr, expected: u32, new: u32) -> Result<u32, LinkError> {
        let old = self.bus_cas(addr.0, 4, u64::from(expected), u64::from(new))?;
        Ok(old as u32)
    }
}
