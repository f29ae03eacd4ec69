//! A root complex reference for the bus side: TLPs, streams, memory, and the agents around `pcie_ep`.

// Each test binary uses its own part of these helpers.
#![allow(dead_code)]

pub mod agents;
pub mod bench;
pub mod host;
pub mod hostile;
pub mod mmio;
pub mod stream;
pub mod tlp;
pub mod vram;

use std::collections::BTreeMap;

use hmmu_vsim::Block;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Random numbers of a test.
pub type TestRng = Pcg64;

/// The generator of a seed.
pub fn rng(seed: u64) -> TestRng {
    Pcg64::seed_from_u64(seed)
}

/// True `percent` times in a hundred.
pub fn chance(rng: &mut TestRng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

/// Encoded sizes of the link: Max_Payload_Size of 128 to 512, Max_Read_Request_Size of 128 to 4096, and whether the
/// read completion boundary is 128.
pub fn sizes() -> impl Iterator<Item = (u32, u32, bool)> {
    (0..36).map(|n| (n % 3, n / 3 % 6, n / 18 == 1))
}

/// Sets 128 bits of an input.
pub fn set128(b: &mut Block, port: &str, lsb: u32, value: u128) {
    b.set_bits(port, lsb, 64, value as u64);
    b.set_bits(port, lsb + 64, 64, (value >> 64) as u64);
}

/// Reads 128 bits of a port.
pub fn get128(b: &mut Block, port: &str, lsb: u32) -> u128 {
    u128::from(b.get_bits(port, lsb, 64)) | u128::from(b.get_bits(port, lsb + 64, 64)) << 64
}

/// Bytes by address. Untouched bytes hold a pattern, so that a shifted read shows.
#[derive(Clone, Debug, Default)]
pub struct Bytes {
    written: BTreeMap<u64, u8>,
}

impl Bytes {
    /// The byte at an address.
    pub fn get(&self, addr: u64) -> u8 {
        let pattern = (addr.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        self.written.get(&addr).copied().unwrap_or(pattern)
    }

    /// Sets a byte.
    pub fn set(&mut self, addr: u64, value: u8) {
        self.written.insert(addr, value);
    }

    /// `len` bytes from an address.
    pub fn read(&self, addr: u64, len: usize) -> Vec<u8> {
        (0..len as u64).map(|i| self.get(addr + i)).collect()
    }

    /// The first byte in which two memories differ, if there is one.
    pub fn difference(&self, other: &Self) -> Option<u64> {
        let written = self.written.keys().chain(other.written.keys());
        written
            .copied()
            .filter(|&at| self.get(at) != other.get(at))
            .min()
    }

    /// Sixteen bytes as one number, the first in the low bits.
    pub fn read128(&self, addr: u64) -> u128 {
        (0..16).fold(0, |v, i| v | u128::from(self.get(addr + i)) << (8 * i))
    }

    /// Writes the lanes of the aligned 16 bytes at `addr` that `strb` names.
    pub fn write_lanes(&mut self, addr: u64, strb: u16, data: u128) {
        for lane in 0..16 {
            if strb >> lane & 1 == 1 {
                self.set((addr & !15) + lane, (data >> (8 * lane)) as u8);
            }
        }
    }

    /// Compares and swaps `size` bytes; gives the old value.
    pub fn cas(&mut self, addr: u64, size: usize, expected: u64, new: u64) -> u64 {
        let old = (0..size as u64).fold(0, |v, i| v | u64::from(self.get(addr + i)) << (8 * i));
        if old == expected {
            for i in 0..size as u64 {
                self.set(addr + i, (new >> (8 * i)) as u8);
            }
        }
        old
    }
}
