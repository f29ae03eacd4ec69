//! BAR0: the registers of `regs/hmmu.toml`, the MSI-X table and its pending bits.

use crate::config::{COPY_CHANNELS, JOB_SLOTS, L2_SETS, UNITS, WARPS};
use crate::device::Device;
use crate::mmu::Limits;
use crate::ring::Ring;
use crate::strobe::merge;
use hmmu_regs::{CONTEXTS, ID, MSIX_PBA, MSIX_TABLE, MSIX_VECTORS, reg};

/// Registers of a ring, relative to its base register.
const BASE: u64 = 0x00;
const SIZE: u64 = 0x08;
const PRODUCER: u64 = 0x10;
const CONSUMER: u64 = 0x18;

impl Device {
    /// Reads the 64-bit word at byte `offset` of BAR0 (bits 2:0 are ignored). Where nothing is, 0.
    #[must_use]
    pub fn read_register(&self, offset: u64) -> u64 {
        let offset = offset & !7;
        match offset {
            reg::ID => ID,
            reg::CAPS => self.caps(),
            reg::VRAM_SIZE => self.board.config.vram_bytes,
            reg::CONTROL => u64::from(self.board.enabled),
            reg::STATUS => self.status(),
            reg::TIME => self.board.time,
            reg::ERROR_INFO => self.board.error_info,
            reg::CPL_TIMEOUT => self.cpl_timeout,
            reg::XLAT_LIMITS => self.mmu.limits.0,
            reg::CTRL_BASE..=reg::CTRL_CONS => {
                ring_register(&self.control.ring, offset - reg::CTRL_BASE)
            }
            _ if copy_word(offset).is_some_and(|(chan, _)| chan < COPY_CHANNELS) => {
                copy_word(offset).map_or(0, |(chan, word)| self.copy.channels[chan].register(word))
            }
            reg::LAUNCH_BASE..=reg::LAUNCH_CONS => {
                ring_register(&self.launch.ring, offset - reg::LAUNCH_BASE)
            }
            reg::FAULT_BASE..=reg::FAULT_CONS => {
                self.mmu.fault_ring_words()[((offset - reg::FAULT_BASE) / 8) as usize]
            }
            reg::DIRTY_BASE..=reg::DIRTY_CONS => {
                self.mmu.dirty_log_words()[((offset - reg::DIRTY_BASE) / 8) as usize]
            }
            reg::DIRTY_NEXT => u64::from(self.mmu.dirty_log_next()),
            _ if (reg::WARP_STATE..reg::WARP_STATE + 8 * (UNITS * WARPS) as u64)
                .contains(&offset) =>
            {
                self.cu
                    .warp_state(((offset - reg::WARP_STATE) / 8) as usize)
            }
            _ if (reg::JOB_STATE..reg::JOB_STATE + 8 * JOB_SLOTS as u64).contains(&offset) => self
                .launch
                .job_state(((offset - reg::JOB_STATE) / 8) as usize),
            _ if (reg::COUNTER..reg::COUNTER + 8 * 64).contains(&offset) => self
                .board
                .counters
                .shadow(((offset - reg::COUNTER) / 8) as usize),
            _ if (MSIX_TABLE..MSIX_TABLE + 16 * MSIX_VECTORS).contains(&offset) => {
                self.board.msix.read(offset - MSIX_TABLE)
            }
            MSIX_PBA => self.board.msix.pending(),
            _ => 0,
        }
    }

    /// Writes the 64-bit word at byte `offset` of BAR0 (bits 2:0 are ignored). Writes to what cannot be written
    /// do nothing.
    pub fn write_register(&mut self, offset: u64, value: u64) {
        self.write_register_bytes(offset, value, 0xff);
    }

    /// The same for the bytes whose bit in `strobe` is set (bit 0: bits 7:0).
    pub fn write_register_bytes(&mut self, offset: u64, value: u64, strobe: u8) {
        let offset = offset & !7;
        self.board
            .host_write(offset, u64::from(strobe.count_ones()));
        let merged = merge(self.read_register(offset), value, strobe);
        match offset {
            _ if strobe == 0 => {}
            reg::CONTROL => self.board.enabled = merged & 1 != 0,
            reg::ERROR_INFO => self.board.error_info = 0,
            reg::CPL_TIMEOUT => self.cpl_timeout = merged & 0xffff_ffff,
            reg::XLAT_LIMITS => self.mmu.limits = Limits(merged & Limits::BITS),
            reg::SNAPSHOT => self.board.counters.snapshot(),
            reg::CTRL_BASE..=reg::CTRL_CONS => write_ring(
                &mut self.control.ring,
                offset - reg::CTRL_BASE,
                merged,
                strobe,
            ),
            _ if copy_word(offset).is_some_and(|(chan, _)| chan < COPY_CHANNELS) => {
                if let Some((chan, word)) = copy_word(offset) {
                    self.copy.channels[chan].set_register(word, merged, strobe);
                }
            }
            reg::LAUNCH_BASE..=reg::LAUNCH_CONS => write_ring(
                &mut self.launch.ring,
                offset - reg::LAUNCH_BASE,
                merged,
                strobe,
            ),
            reg::FAULT_BASE => self.mmu.fault_ring().base = merged,
            reg::FAULT_SIZE if strobe & 1 != 0 => self.mmu.resize_fault_ring(merged),
            reg::FAULT_CONS => self.mmu.fault_ring().consumer = merged as u32,
            reg::DIRTY_BASE => self.mmu.dirty_log().base = merged,
            reg::DIRTY_SIZE if strobe & 1 != 0 => self.mmu.resize_dirty_log(merged),
            reg::DIRTY_CONS => self.mmu.dirty_log().consumer = merged as u32,
            _ if (MSIX_TABLE..MSIX_TABLE + 16 * MSIX_VECTORS).contains(&offset) => {
                self.board.msix.write(offset - MSIX_TABLE, value, strobe);
            }
            _ => {}
        }
    }

    fn caps(&self) -> u64 {
        let fields = [
            UNITS as u64,
            WARPS as u64,
            CONTEXTS as u64,
            self.board.config.walkers as u64,
            self.board.config.fault_entries as u64,
            COPY_CHANNELS as u64,
            u64::from(L2_SETS.trailing_zeros()),
            JOB_SLOTS as u64,
        ];
        fields
            .iter()
            .rev()
            .fold(0, |caps, field| caps << 8 | field & 0xff)
    }

    fn status(&self) -> u64 {
        let bits = [
            (0, self.control.idle()),
            (1, self.copy.idle()),
            (2, self.launch.idle()),
            (3, self.mmu.fault_ring_full()),
            (4, self.mmu.dirty_log_full()),
            (8, self.control.ring.stopped),
            (9, self.copy.stopped()),
            (10, self.launch.ring.stopped),
        ];
        bits.iter()
            .fold(0, |status, &(bit, set)| status | u64::from(set) << bit)
    }
}

/// The copy channel and the word of its registers that an offset names.
fn copy_word(offset: u64) -> Option<(usize, u64)> {
    let from = offset.checked_sub(reg::COPY_BASE)?;
    Some(((from / 64) as usize, from % 64))
}

pub(crate) fn ring_register(ring: &Ring, offset: u64) -> u64 {
    match offset {
        BASE => ring.base,
        SIZE => ring.log2,
        PRODUCER => u64::from(ring.producer),
        CONSUMER => u64::from(ring.consumer),
        _ => 0,
    }
}

pub(crate) fn write_ring(ring: &mut Ring, offset: u64, value: u64, strobe: u8) {
    match offset {
        BASE => ring.base = value,
        SIZE if strobe & 1 != 0 => ring.resize(value),
        PRODUCER => ring.producer = value as u32,
        _ => {}
    }
}
