//! A small malloc for modelled processes.

use std::sync::Arc;

use hmm_core::{Errno, Mm, MmapOptions, Prot, Va};

/// Bytes asked of the system at once.
const CHUNK: u64 = 256 << 10;
/// Alignment of every object, bytes.
const ALIGN: u64 = 16;

/// A heap that only grows.
pub struct Heap {
    mm: Arc<Mm>,
    at: u64,
    end: u64,
    used: u64,
}

impl Heap {
    /// An empty heap of a process.
    #[must_use]
    pub fn new(mm: &Arc<Mm>) -> Self {
        Self {
            mm: Arc::clone(mm),
            at: 0,
            end: 0,
            used: 0,
        }
    }

    /// Takes zeroed memory.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn alloc(&mut self, bytes: u64) -> Result<Va, Errno> {
        let bytes = bytes.max(1).next_multiple_of(ALIGN);
        if self.end - self.at < bytes {
            let chunk = bytes.next_multiple_of(4096).max(CHUNK);
            let start = self
                .mm
                .mmap(chunk, Prot::READ_WRITE, MmapOptions::default())?
                .0;
            // A new chunk that follows the old one makes it longer; what is left of another one is lost.
            if start != self.end {
                self.at = start;
            }
            self.end = start + chunk;
        }
        let addr = self.at;
        self.at += bytes;
        self.used += bytes;
        Ok(Va(addr))
    }

    /// Bytes given out.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }
}

/// Writes a 64-bit word as a CPU does.
pub fn store(mm: &Arc<Mm>, addr: u64, value: u64) -> Result<(), Errno> {
    mm.store(Va(addr), &value.to_le_bytes())
}

/// Reads a 64-bit word as a CPU does.
pub fn load(mm: &Arc<Mm>, addr: u64) -> Result<u64, Errno> {
    let mut raw = [0; 8];
    mm.load(Va(addr), &mut raw)?;
    Ok(u64::from_le_bytes(raw))
}

/// Writes many 64-bit words, a page at a time.
pub fn store_words(mm: &Arc<Mm>, addr: u64, words: &[u64]) -> Result<(), Errno> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut at = 0;
    while at < bytes.len() {
        let start = addr + at as u64;
        let end = (at + (4096 - start % 4096) as usize).min(bytes.len());
        mm.store(Va(start), &bytes[at..end])?;
        at = end;
    }
    Ok(())
}

/// Reads many 64-bit words, a page at a time.
pub fn load_words(mm: &Arc<Mm>, addr: u64, count: usize) -> Result<Vec<u64>, Errno> {
    let mut bytes = vec![0; count * 8];
    let mut at = 0;
    while at < bytes.len() {
        let start = addr + at as u64;
        let end = (at + (4096 - start % 4096) as usize).min(bytes.len());
        mm.load(Va(start), &mut bytes[at..end])?;
        at = end;
    }
    let word = |chunk: &[u8]| {
        chunk
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    Ok(bytes.chunks_exact(8).map(word).collect())
}
