//! MSI-X: table, pending bits, messages (PCIe Base Specification, section 7.7.2).

use crate::addr::BusAddr;
use crate::strobe::merge;
use hmmu_regs::{MSIX_VECTORS, Vector};
use std::collections::VecDeque;

/// An interrupt message: the device writes `data` to `addr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it is written.
    pub addr: BusAddr,
    /// What is written.
    pub data: u32,
}

const VECTORS: usize = MSIX_VECTORS as usize;

/// The table, what is pending, and the messages sent but not yet taken by the machine.
pub(crate) struct Msix {
    /// Two words a vector: address; data (31:0) and vector control (63:32, bit 32 masks).
    table: [u64; 2 * VECTORS],
    pending: u64,
    enabled: bool,
    sent: VecDeque<Message>,
}

impl Msix {
    pub(crate) fn new() -> Self {
        let mut table = [0; 2 * VECTORS];
        for control in table.iter_mut().skip(1).step_by(2) {
            *control = 1 << 32; // masked at reset
        }
        Self {
            table,
            pending: 0,
            enabled: true,
            sent: VecDeque::new(),
        }
    }

    /// MSI-X Enable of the function's capability.
    pub(crate) fn enable(&mut self, on: bool) {
        self.enabled = on;
    }

    pub(crate) fn raise(&mut self, vector: Vector) {
        self.pending |= 1 << vector as u8;
    }

    /// Sends what is pending and not masked; returns how many.
    pub(crate) fn send(&mut self) -> u64 {
        if self.pending == 0 || !self.enabled {
            return 0;
        }
        let mut count = 0;
        for vector in 0..VECTORS {
            let control = self.table[2 * vector + 1];
            if self.pending >> vector & 1 != 0 && control >> 32 & 1 == 0 {
                self.pending &= !(1 << vector);
                let addr = BusAddr(self.table[2 * vector]);
                self.sent.push_back(Message {
                    addr,
                    data: control as u32,
                });
                count += 1;
            }
        }
        count
    }

    pub(crate) fn idle(&self) -> bool {
        self.pending == 0
    }

    pub(crate) fn take(&mut self) -> Option<Message> {
        self.sent.pop_front()
    }

    /// The table's word at byte `offset`, a multiple of 8; 0 outside.
    pub(crate) fn read(&self, offset: u64) -> u64 {
        self.table.get((offset / 8) as usize).copied().unwrap_or(0)
    }

    pub(crate) fn write(&mut self, offset: u64, value: u64, strobe: u8) {
        if let Some(word) = self.table.get_mut((offset / 8) as usize) {
            *word = merge(*word, value, strobe);
        }
    }

    pub(crate) fn pending(&self) -> u64 {
        self.pending
    }
}
