//! What a hart needs of the world: memory by virtual address, and time.

use super::AmoOp;

/// Size of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Half,
    /// 4 bytes.
    Word,
    /// 8 bytes.
    Double,
}

impl Width {
    /// Size in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
            Self::Double => 8,
        }
    }

    /// Is `addr` a multiple of the size?
    #[must_use]
    pub fn aligns(self, addr: u64) -> bool {
        addr & (self.bytes() as u64 - 1) == 0
    }

    /// `value` with the bits above the size cleared.
    #[must_use]
    pub fn truncate(self, value: u64) -> u64 {
        match self {
            Self::Byte => value & 0xff,
            Self::Half => value & 0xffff,
            Self::Word => value & 0xffff_ffff,
            Self::Double => value,
        }
    }

    /// `value`'s low bits of this size, sign-extended.
    #[must_use]
    pub fn sign_extend(self, value: u64) -> u64 {
        match self {
            Self::Byte => value as u8 as i8 as i64 as u64,
            Self::Half => value as u16 as i16 as i64 as u64,
            Self::Word => value as u32 as i32 as i64 as u64,
            Self::Double => value,
        }
    }
}

/// Why an access did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// Not now: nothing happened, and the whole instruction is to be tried again later.
    Park,
    /// Never: the thread ends with this status (enum `JobStatus` or the code of a Cancel).
    Error(u8),
}

/// Memory and time as a hart sees them. Addresses are virtual and naturally aligned; values hold the accessed
/// bytes in their low bits, zero-extended. A call that answers [`Stall`] has had no effect.
pub trait Bus {
    /// Reads the instruction at `addr` (a multiple of 4).
    ///
    /// # Errors
    /// [`Stall`]: the instruction parks or its thread ends. The same holds for the other accesses.
    fn fetch(&mut self, addr: u64) -> Result<u32, Stall>;

    /// Reads data.
    ///
    /// # Errors
    /// As [`Bus::fetch`].
    fn load(&mut self, addr: u64, width: Width) -> Result<u64, Stall>;

    /// Writes data.
    ///
    /// # Errors
    /// As [`Bus::fetch`].
    fn store(&mut self, addr: u64, width: Width, value: u64) -> Result<(), Stall>;

    /// Reads data for LR: translated as an atomic, so that the SC that follows is allowed too.
    ///
    /// # Errors
    /// As [`Bus::fetch`].
    fn load_reserved(&mut self, addr: u64, width: Width) -> Result<u64, Stall>;

    /// Atomically replaces `expected` by `new` and returns the old value; it happened if that equals `expected`.
    ///
    /// # Errors
    /// As [`Bus::fetch`].
    fn compare_and_swap(
        &mut self,
        addr: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<u64, Stall>;

    /// Atomically replaces the old value by `op.apply(width, old, operand)` and returns the old value.
    ///
    /// # Errors
    /// As [`Bus::fetch`].
    fn amo(&mut self, addr: u64, width: Width, op: AmoOp, operand: u64) -> Result<u64, Stall>;

    /// Device time in cycles, for the counters `cycle` and `time`.
    fn time(&self) -> u64;

    /// FENCE.I: fetches that follow must see earlier stores.
    fn fence_i(&mut self) {}
}
