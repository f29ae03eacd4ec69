//! Memory that costs only what was written: leaves of 1 GiB want room.

use std::collections::BTreeMap;
use std::ops::Range;

const PAGE: usize = 4096;

/// Bytes from address 0; zero where nothing was written.
pub struct Memory {
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    bytes: u64,
}

impl Memory {
    pub fn new(bytes: u64) -> Self {
        let pages = BTreeMap::new();
        Self { pages, bytes }
    }

    /// Are these addresses all in it?
    fn holds(&self, at: u64, len: usize) -> bool {
        at.checked_add(len as u64)
            .is_some_and(|end| end <= self.bytes)
    }

    /// Reads, if there is such memory.
    pub fn read(&self, at: u64, buf: &mut [u8]) -> Option<()> {
        let mut at = self.holds(at, buf.len()).then_some(at)?;
        let mut rest = buf;
        while !rest.is_empty() {
            let (page, first) = (at / PAGE as u64, at as usize % PAGE);
            let count = rest.len().min(PAGE - first);
            let (now, later) = rest.split_at_mut(count);
            match self.pages.get(&page) {
                Some(bytes) => now.copy_from_slice(&bytes[first..first + count]),
                None => now.fill(0),
            }
            at += count as u64;
            rest = later;
        }
        Some(())
    }

    /// Writes, if there is such memory.
    pub fn write(&mut self, at: u64, data: &[u8]) -> Option<()> {
        let mut at = self.holds(at, data.len()).then_some(at)?;
        let mut rest = data;
        while !rest.is_empty() {
            let (page, first) = (at / PAGE as u64, at as usize % PAGE);
            let count = rest.len().min(PAGE - first);
            let (now, later) = rest.split_at(count);
            let bytes = self
                .pages
                .entry(page)
                .or_insert_with(|| Box::new([0; PAGE]));
            bytes[first..first + count].copy_from_slice(now);
            at += count as u64;
            rest = later;
        }
        Some(())
    }

    pub fn word(&self, at: u64) -> u64 {
        let mut raw = [0; 8];
        self.read(at, &mut raw).expect("in memory");
        u64::from_le_bytes(raw)
    }

    /// Addresses of the pages of a range that were ever written.
    pub fn written(&self, range: Range<u64>) -> Vec<u64> {
        let pages = range.start / PAGE as u64..range.end.div_ceil(PAGE as u64);
        self.pages
            .range(pages)
            .map(|(page, _)| page * PAGE as u64)
            .collect()
    }
}
