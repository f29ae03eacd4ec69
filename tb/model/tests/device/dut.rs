//! The device under test, as the rig needs it: the tests are about what every hmmu device promises, so they do not
//! know which one they drive.

use hmmu_model::VramAddr;
use hmmu_regs::{Counter, reg};

/// An interrupt message: address and data.
pub type Message = (u64, u32);

/// A device and its link. Accesses may let time pass.
pub trait Dut {
    /// Cycles since the device was made.
    fn time(&self) -> u64;
    /// Lets cycles pass.
    fn tick(&mut self, cycles: u64);
    /// Reads a register.
    fn read_register(&mut self, offset: u64) -> u64;
    /// Writes the bytes of a register whose bit in `strobe` is set.
    fn write_register_bytes(&mut self, offset: u64, value: u64, strobe: u8);
    /// Reads VRAM through BAR2.
    fn vram_read(&mut self, addr: VramAddr, buf: &mut [u8]);
    /// Writes VRAM through BAR2.
    fn vram_write(&mut self, addr: VramAddr, data: &[u8]);
    /// The oldest interrupt not yet taken.
    fn take_message(&mut self) -> Option<Message>;

    /// Writes a register.
    fn write_register(&mut self, offset: u64, value: u64) {
        self.write_register_bytes(offset, value, 0xff);
    }

    /// The value of a counter now.
    fn counter(&mut self, counter: Counter) -> u64 {
        self.write_register(reg::SNAPSHOT, 1);
        self.read_register(reg::COUNTER + 8 * counter as u64)
    }
}
