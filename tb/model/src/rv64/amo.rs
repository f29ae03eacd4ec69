//! The operations of AMO instructions.

use super::Width;

/// What an AMO writes, from the old value and the operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmoOp {
    /// The operand.
    Swap,
    /// The sum.
    Add,
    /// Exclusive or.
    Xor,
    /// And.
    And,
    /// Or.
    Or,
    /// The smaller one, signed.
    Min,
    /// The larger one, signed.
    Max,
    /// The smaller one, unsigned.
    MinU,
    /// The larger one, unsigned.
    MaxU,
}

impl AmoOp {
    /// The operation with this funct5 encoding (LR and SC are not among them).
    #[must_use]
    pub fn from_funct5(funct5: u32) -> Option<Self> {
        match funct5 {
            0b00001 => Some(Self::Swap),
            0b00000 => Some(Self::Add),
            0b00100 => Some(Self::Xor),
            0b01100 => Some(Self::And),
            0b01000 => Some(Self::Or),
            0b10000 => Some(Self::Min),
            0b10100 => Some(Self::Max),
            0b11000 => Some(Self::MinU),
            0b11100 => Some(Self::MaxU),
            _ => None,
        }
    }

    /// The new value, zero-extended from `width`.
    #[must_use]
    pub fn apply(self, width: Width, old: u64, operand: u64) -> u64 {
        let (uo, ur) = (width.truncate(old), width.truncate(operand));
        let (so, sr) = (
            width.sign_extend(old) as i64,
            width.sign_extend(operand) as i64,
        );
        width.truncate(match self {
            Self::Swap => ur,
            Self::Add => uo.wrapping_add(ur),
            Self::Xor => uo ^ ur,
            Self::And => uo & ur,
            Self::Or => uo | ur,
            Self::Min => so.min(sr) as u64,
            Self::Max => so.max(sr) as u64,
            Self::MinU => uo.min(ur),
            Self::MaxU => uo.max(ur),
        })
    }
}
