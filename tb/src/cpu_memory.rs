//! A process's memory as its CPU reads and writes it.

use std::sync::Arc;

use hmm_core::{Errno, Mm, Va};

/// The CPU's accesses keep within a page of this many bytes.
const PAGE: u64 = 4096;

/// The part of `bytes` bytes at `start` that lies in one page, from byte `at` on: where it ends.
fn page_end(start: Va, at: usize, bytes: usize) -> usize {
    let addr = start.0 + at as u64;
    (at + (PAGE - addr % PAGE) as usize).min(bytes)
}

/// Writes bytes, a page at a time.
///
/// # Errors
/// What the process would get a signal for.
pub fn store_bytes(mm: &Arc<Mm>, start: Va, bytes: &[u8]) -> Result<(), Errno> {
    let mut at = 0;
    while at < bytes.len() {
        let end = page_end(start, at, bytes.len());
        mm.store(start + at as u64, &bytes[at..end])?;
        at = end;
    }
    Ok(())
}

/// Reads bytes, a page at a time.
///
/// # Errors
/// What the process would get a signal for.
pub fn load_bytes(mm: &Arc<Mm>, start: Va, bytes: &mut [u8]) -> Result<(), Errno> {
    let mut at = 0;
    while at < bytes.len() {
        let end = page_end(start, at, bytes.len());
        mm.load(start + at as u64, &mut bytes[at..end])?;
        at = end;
    }
    Ok(())
}

/// Writes 64-bit words.
///
/// # Errors
/// As [`store_bytes`].
pub fn store_words(mm: &Arc<Mm>, start: Va, words: &[u64]) -> Result<(), Errno> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    store_bytes(mm, start, &bytes)
}

/// Reads 64-bit words.
///
/// # Errors
/// As [`load_bytes`].
pub fn load_words(mm: &Arc<Mm>, start: Va, count: usize) -> Result<Vec<u64>, Errno> {
    let mut bytes = vec![0; count * 8];
    load_bytes(mm, start, &mut bytes)?;
    let (words, _) = bytes.as_chunks();
    Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

/// Writes one 64-bit word.
///
/// # Errors
/// As [`store_bytes`].
pub fn store(mm: &Arc<Mm>, addr: Va, value: u64) -> Result<(), Errno> {
    store_words(mm, addr, &[value])
}

/// Reads one 64-bit word.
///
/// # Errors
/// As [`load_bytes`].
pub fn load(mm: &Arc<Mm>, addr: Va) -> Result<u64, Errno> {
    let mut raw = [0; 8];
    load_bytes(mm, addr, &mut raw)?;
    Ok(u64::from_le_bytes(raw))
}
