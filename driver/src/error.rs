//! Errors of the driver.

use crate::hw::HwError;
use hmm_core::Errno;
use thiserror::Error;

/// Why the driver could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DriverError {
    /// The hardware layer failed.
    #[error(transparent)]
    Hw(#[from] HwError),
    /// The registers do not belong to a device that this driver knows.
    #[error("not a device of this driver: ID register {id:#x}, expected {expected:#x}")]
    NotOurs {
        /// What register ID holds.
        id: u64,
        /// What it should hold.
        expected: u64,
    },
    /// The device or a part of it did not answer in time.
    #[error("{what} did not answer within {cycles} cycles")]
    NoAnswer {
        /// What was waited for.
        what: String,
        /// For how long, in device cycles.
        cycles: u64,
    },
    /// A write on the link was lost, and what the device did since cannot be trusted.
    #[error("the link has lost something: {0}")]
    Link(String),
    /// An earlier failure made the device unusable.
    #[error("the device is lost: {0}")]
    Lost(String),
    /// All contexts of the device are in use.
    #[error("all {0} contexts of the device are in use")]
    NoContext(usize),
    /// The context was closed or its process has ended.
    #[error("the context is closed")]
    Closed,
    /// A configuration value cannot be used.
    #[error("unusable configuration: {0}")]
    Config(String),
    /// A call that ends with an errno.
    #[error("{errno}: {what}")]
    Errno {
        /// The errno.
        errno: Errno,
        /// What was tried.
        what: String,
    },
}

impl DriverError {
    /// An errno with a short text of what was tried.
    pub fn errno_of(errno: Errno, what: impl Into<String>) -> Self {
        Self::Errno {
            errno,
            what: what.into(),
        }
    }

    /// The errno that a system call would return for this error.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Errno { errno, .. } => *errno,
            Self::NoContext(_) => Errno::EBUSY,
            Self::Config(_) => Errno::EINVAL,
            Self::Closed => Errno::EBADF,
            Self::Hw(HwError::OutOfDmaMemory { .. }) => Errno::ENOMEM,
            Self::Hw(_)
            | Self::NotOurs { .. }
            | Self::NoAnswer { .. }
            | Self::Link(_)
            | Self::Lost(_) => Errno::EIO,
        }
    }
}

/// How a job ended when it did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{errno} at {addr:#x} (status {status})")]
pub struct JobError {
    /// The errno: that of the failed page fault, or by the job's status.
    pub errno: Errno,
    /// Virtual address or program counter of the first error; 0 when there is none.
    pub addr: u64,
    /// The status byte of the completion: enum `JobStatus`, or the code of the cancel (16 + errno).
    pub status: u8,
}
