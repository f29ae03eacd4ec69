//! Errors of the model's own interface.

use crate::addr::VramAddr;
use thiserror::Error;

/// An access through BAR2 outside of VRAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{len} bytes at {addr:x?} are not in VRAM")]
pub struct OutOfVram {
    /// First byte of the access.
    pub addr: VramAddr,
    /// Its bytes.
    pub len: usize,
}
