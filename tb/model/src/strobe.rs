//! Byte enables of register writes.

/// `old` with the bytes of `new` whose bit in `strobe` is set.
pub(crate) fn merge(old: u64, new: u64, strobe: u8) -> u64 {
    let mask = (0..8)
        .filter(|byte| strobe >> byte & 1 != 0)
        .fold(0, |mask, byte| mask | 0xff << (8 * byte));
    (old & !mask) | (new & mask)
}
