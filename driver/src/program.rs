//! Device programs.

/// A program for the compute units: position-independent RV64IMA code.
///
/// A thread starts at `entry` with `a0` = address of the arguments, `a1` = its index, `a2` = number of threads and
/// `sp` = top of its stack; it ends with `ECALL`, its result in `a0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Machine code and constants.
    pub code: Vec<u8>,
    /// Byte offset of the first instruction in `code`.
    pub entry: u64,
}
