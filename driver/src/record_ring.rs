//! A ring of records that the device writes and the driver takes: faults, pages written.

use crate::error::DriverError;
use crate::hw::{DmaAddr, Hardware};

/// Registers of such a ring.
#[derive(Clone, Copy)]
pub(crate) struct RecordRegs {
    /// `*_BASE`.
    pub base: u64,
    /// `*_SIZE`.
    pub size: u64,
    /// `*_CONS`.
    pub cons: u64,
}

/// The driver's end of a ring of records of `BYTES` bytes (16 or more, a power of two). Bit 0 of a record tells the pass
/// over the ring that it belongs to: 1 in the first one.
pub(crate) struct RecordRing<const BYTES: usize> {
    hw: Hardware,
    regs: RecordRegs,
    base: DmaAddr,
    log2: u32,
    consumed: u64,
}

impl<const BYTES: usize> RecordRing<BYTES> {
    /// Allocates a ring of `1 << log2` records and tells the device.
    pub fn new(hw: &Hardware, regs: RecordRegs, log2: u32) -> Result<Self, DriverError> {
        let base = hw.dma.alloc((BYTES as u64) << log2, 4096)?;
        hw.bar.write(regs.base, base.0)?;
        hw.bar.write(regs.size, u64::from(log2))?;
        Ok(Self {
            hw: hw.clone(),
            regs,
            base,
            log2,
            consumed: 0,
        })
    }

    /// Sets the ring up again after a reset of the device, empty.
    pub fn rearm(&mut self) -> Result<(), DriverError> {
        self.hw.dma.write(self.base, &vec![0; BYTES << self.log2]);
        self.consumed = 0;
        self.hw.bar.write(self.regs.base, self.base.0)?;
        self.hw.bar.write(self.regs.size, u64::from(self.log2))?;
        Ok(())
    }

    /// The index of the next record to be taken, as the device counts.
    pub fn taken(&self) -> u32 {
        self.consumed as u32
    }

    /// Takes all records that are there, once around at most, and gives their places back to the device.
    pub fn fetch(&mut self) -> Result<Vec<[u8; BYTES]>, DriverError> {
        let mut records = Vec::new();
        while records.len() < 1 << self.log2 {
            let place = self.consumed % (1 << self.log2);
            let mut record = [0; BYTES];
            let at = DmaAddr(self.base.0 + place * BYTES as u64);
            self.hw.dma.read(at, &mut record);
            let pass = (self.consumed >> self.log2) & 1;
            if u64::from(record[0] & 1) == pass {
                break;
            }
            self.consumed += 1;
            records.push(record);
        }
        if !records.is_empty() {
            let consumed = self.consumed & 0xffff_ffff;
            self.hw.bar.write(self.regs.cons, consumed)?;
        }
        Ok(records)
    }
}
