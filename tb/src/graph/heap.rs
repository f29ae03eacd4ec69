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
