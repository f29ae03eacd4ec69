//! Page-table entries (RISC-V privileged specification, Sv48; layout `Pte` of the register source).

use crate::mem::DevPa;

/// Valid.
pub(crate) const V: u64 = 1 << 0;
/// Readable.
pub(crate) const R: u64 = 1 << 1;
/// Writable.
pub(crate) const W: u64 = 1 << 2;
/// Executable.
pub(crate) const X: u64 = 1 << 3;
/// User: set in every leaf.
pub(crate) const U: u64 = 1 << 4;
/// Accessed, set by hardware.
pub(crate) const A: u64 = 1 << 6;
/// Dirty, set by hardware.
pub(crate) const D: u64 = 1 << 7;
/// Device atomics are allowed on this system page.
pub(crate) const ATOMIC: u64 = 1 << 8;
/// All flags that a leaf is made with.
pub(crate) const FLAGS: u64 = R | W | X | A | D | ATOMIC;
/// Byte 7 of a revoked entry: reserved bits 60:56, so that the entry is invalid whatever the rest says.
pub(crate) const REVOKE_BYTE: u8 = 0x1f;
/// The same in the whole entry.
pub(crate) const REVOKED: u64 = (REVOKE_BYTE as u64) << 56;

const PPN_SHIFT: u32 = 10;

/// A pointer to the next table.
pub(crate) fn pointer(table: DevPa) -> u64 {
    (table.ppn() << PPN_SHIFT) | V
}

/// A leaf. `flags` are any of R, W, X, A, D and ATOMIC.
pub(crate) fn leaf(page: DevPa, flags: u64) -> u64 {
    (page.ppn() << PPN_SHIFT) | flags | V | U
}

/// Where an entry points.
pub(crate) fn target(entry: u64) -> DevPa {
    DevPa((entry >> PPN_SHIFT & ((1 << 44) - 1)) * hmm_core::PAGE_SIZE)
}
