//! System memory as the device reaches it over the link.

use crate::addr::BusAddr;
use hmmu_regs::ErrorCode;
use thiserror::Error;

/// Why a read or an atomic of the device over the link failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// No completion came in time.
    #[error("no completion in time")]
    Timeout,
    /// Completion status Unsupported Request: no such memory.
    #[error("unsupported request")]
    Unsupported,
    /// Completion status Completer Abort.
    #[error("completer abort")]
    Abort,
    /// The completion's data was poisoned.
    #[error("poisoned data")]
    Poisoned,
}

impl LinkError {
    /// Its code in ERROR_INFO.
    #[must_use]
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Timeout => ErrorCode::CplTimeout,
            Self::Unsupported => ErrorCode::CplUr,
            Self::Abort => ErrorCode::CplCa,
            Self::Poisoned => ErrorCode::CplPoisoned,
        }
    }
}

/// System memory on the other side of the link. No access crosses a 4 KiB page; none is longer than 256 bytes.
/// The device makes its accesses one after another, so a write is seen by every later access.
pub trait HostMemory: Send {
    /// Reads `buf.len()` bytes.
    ///
    /// # Errors
    /// How the read completed, if not successfully.
    fn read(&mut self, addr: BusAddr, buf: &mut [u8]) -> Result<(), LinkError>;

    /// Writes; posted, so that nothing comes back.
    fn write(&mut self, addr: BusAddr, data: &[u8]);

    /// PCIe CAS, 8 bytes, `addr` aligned: replaces `expected` by `new`, atomically for the CPUs too, and returns
    /// the old value. The swap happened if that equals `expected`.
    ///
    /// # Errors
    /// How the AtomicOp completed, if not successfully.
    fn cas64(&mut self, addr: BusAddr, expected: u64, new: u64) -> Result<u64, LinkError>;

    /// The same for 4 bytes.
    ///
    /// # Errors
    /// How the AtomicOp completed, if not successfully.
    fn cas32(&mut self, addr: BusAddr, expected: u32, new: u32) -> Result<u32, LinkError>;
}
