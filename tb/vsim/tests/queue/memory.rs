//! Physical memory of a test: system memory and VRAM (bit 55), sparse, with known first contents.

use std::collections::BTreeMap;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Set in physical addresses of VRAM.
pub const VRAM: u64 = 1 << 55;

/// Memory that holds, until it is written, a byte that depends on its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pages: BTreeMap<u64, Vec<u8>>,
}

/// First content of a byte.
fn first(addr: u64) -> u8 {
    let mixed = addr.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (addr >> 13);
    (mixed >> 29) as u8
}

impl Memory {
    /// Reads bytes.
    pub fn read(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut data = Vec::with_capacity(len);
        let mut at = addr;
        while data.len() < len {
            let part = (len - data.len()).min((PAGE - at % PAGE) as usize);
            let from = (at % PAGE) as usize;
            match self.pages.get(&(at / PAGE)) {
                Some(page) => data.extend(&page[from..from + part]),
                None => data.extend((at..at + part as u64).map(first)),
            }
            at += part as u64;
        }
        data
    }

    /// One byte.
    pub fn byte(&self, addr: u64) -> u8 {
        self.pages
            .get(&(addr / PAGE))
            .map_or_else(|| first(addr), |page| page[(addr % PAGE) as usize])
    }

    /// Writes bytes.
    pub fn write(&mut self, addr: u64, data: &[u8]) {
        let (mut at, mut rest) = (addr, data);
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min((PAGE - at % PAGE) as usize));
            let from = (at % PAGE) as usize;
            self.page(at / PAGE)[from..from + part.len()].copy_from_slice(part);
            at += part.len() as u64;
            rest = after;
        }
    }

    /// Writes a little-endian word.
    pub fn write_u64(&mut self, addr: u64, value: u64) {
        self.write(addr, &value.to_le_bytes());
    }

    /// Reads a little-endian word.
    pub fn read_u64(&self, addr: u64) -> u64 {
        let bytes = self.read(addr, 8);
        bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte))
    }

    /// Writes 64-bit words one after the other.
    pub fn write_words(&mut self, addr: u64, words: &[u64]) {
        for (a, &word) in (addr..).step_by(8).zip(words) {
            self.write_u64(a, word);
        }
    }

    fn page(&mut self, number: u64) -> &mut Vec<u8> {
        self.pages
            .entry(number)
            .or_insert_with(|| (number * PAGE..(number + 1) * PAGE).map(first).collect())
    }
}
