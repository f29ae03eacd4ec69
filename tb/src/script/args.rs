//! Arguments of script calls.

use hmm_core::Prot;
use rhai::Dynamic;

use super::error::{Result, invalid};

/// An access size that scripts may give.
pub(super) fn size(call: &str, size: i64) -> Result<usize> {
    match size {
        1 | 2 | 4 | 8 => Ok(size as usize),
        _ => Err(invalid(call, format!("size {size}: expected 1, 2, 4 or 8"))),
    }
}

/// Most bytes that one call of a script takes: what it writes is kept in memory.
const MOST: u64 = 1 << 30;

/// A length in bytes.
pub(super) fn length(call: &str, len: i64) -> Result<u64> {
    u64::try_from(len)
        .ok()
        .filter(|len| *len <= MOST)
        .ok_or_else(|| invalid(call, format!("length {len}: expected 0..={MOST}")))
}

/// A range of whole 64-bit words.
pub(super) fn words(call: &str, a: i64, len: i64) -> Result<(u64, u64)> {
    let len = length(call, len)?;
    if !(a as u64).is_multiple_of(8) || !len.is_multiple_of(8) {
        return Err(invalid(
            call,
            format!("{len} bytes at {a:#x}: expected multiples of 8"),
        ));
    }
    Ok((a as u64, len))
}

/// The first byte that differs, as text.
pub(super) fn difference(addr: u64, want: &[u8], got: &[u8]) -> Option<String> {
    let word = want
        .chunks(8)
        .zip(got.chunks(8))
        .position(|(want, got)| want != got)?;
    let at = word * 8;
    let value = |bytes: &[u8]| {
        let mut raw = [0; 8];
        let part = &bytes[at..bytes.len().min(at + 8)];
        raw[..part.len()].copy_from_slice(part);
        u64::from_le_bytes(raw)
    };
    Some(format!(
        "word at {:#x} is {}, expected {}",
        addr + at as u64,
        value(got),
        value(want)
    ))
}

/// A protection by its name.
pub(super) fn protection(call: &str, prot: &str) -> Result<Prot> {
    match prot {
        "none" => Ok(Prot::NONE),
        "r" => Ok(Prot::READ),
        "rw" => Ok(Prot::READ_WRITE),
        _ => Err(invalid(
            call,
            format!("protection {prot:?}: expected \"none\", \"r\" or \"rw\""),
        )),
    }
}

/// An integer option.
pub(super) fn int(call: &str, name: &str, value: &Dynamic) -> Result<i64> {
    value
        .as_int()
        .map_err(|kind| invalid(call, format!("{name}: expected an integer, got {kind}")))
}

/// An option that is true or false.
pub(super) fn flag(call: &str, name: &str, value: &Dynamic) -> Result<bool> {
    value
        .as_bool()
        .map_err(|kind| invalid(call, format!("{name}: expected true or false, got {kind}")))
}
