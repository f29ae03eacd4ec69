//! The root complex: what stands between the host and a device that speaks PCIe TLPs.
//!
//! Everything here follows the PCI Express Base Specification 4.0, chapter 2 (transaction layer).
//! The root complex takes its requests and its memory through [`HostPort`], so that another host than
//! the modelled one (an emulator's PCI proxy, say) can stand behind it.

mod completer;
mod complex;
mod config;
mod credits;
mod inject;
mod link;
mod requester;
mod spec;
mod stream;
pub mod tlp;

pub use completer::{CompleterConfig, CompletionOrder, Split};
pub use complex::{LinkBytes, RootComplex};
pub use config::RcConfig;
pub use credits::{Advertised, Amount, CreditLimits, Dllp, FlowClass};
pub use inject::{Direction, Injection, LinkError, Position, Struck, TlpCounts, TlpKind};
pub use link::{Link, LinkConfig};
pub use spec::{DLLP_BYTES, FRAMING, LinkSpec, payload_share, tlp_bytes};
pub use stream::{Beat, Collector, Feeder};

use thiserror::Error;

/// Interrupt messages are writes to this megabyte; the data is the vector number.
const MSI_BASE: u64 = 0xfee0_0000;
const MSI_MASK: u64 = !0xf_ffff;

/// Is a write to this address an interrupt?
fn is_interrupt(addr: u64) -> bool {
    addr & MSI_MASK == MSI_BASE
}

/// A window of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// BAR0: registers.
    Registers,
    /// BAR2: device memory.
    Vram,
}

/// What the host asks of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRequest {
    /// A posted write.
    Write {
        /// Where.
        window: Window,
        /// Byte offset in the window.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// A read, answered through [`HostPort::read_done`].
    Read {
        /// Names the read in its answer.
        id: u64,
        /// Where.
        window: Window,
        /// Byte offset in the window.
        offset: u64,
        /// Bytes.
        len: usize,
    },
}

/// Why the device did not answer a read with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// Completion status Unsupported Request.
    #[error("unsupported request")]
    Unsupported,
    /// Completion status Completer Abort.
    #[error("completer abort")]
    Abort,
    /// The data is marked as poisoned.
    #[error("poisoned data")]
    Poisoned,
    /// A completion that does not fit its request.
    #[error("a malformed completion")]
    Malformed,
    /// The link is down.
    #[error("the link is down")]
    LinkDown,
}

/// What the root port logs (Advanced Error Reporting and slot events): nobody else would ever know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PortError {
    /// A TLP that breaks a rule was dropped.
    #[error("malformed TLP")]
    Malformed,
    /// A posted request with bad data was dropped.
    #[error("poisoned TLP")]
    Poisoned,
    /// A posted request that nobody takes was dropped.
    #[error("unsupported request")]
    Unsupported,
    /// A posted request was refused.
    #[error("completer abort")]
    Aborted,
    /// The link went down, and what was under way is lost.
    #[error("link down")]
    LinkDown,
    /// The device was taken out.
    #[error("device removed")]
    Removed,
}

/// No memory at this bus address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no memory at bus address {0:#x}")]
pub struct BusError(pub u64);

/// How a device's read of host memory fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadFailure {
    /// Completion status Unsupported Request: there is no such memory.
    #[error("unsupported request")]
    Unsupported,
    /// Completion status Completer Abort.
    #[error("completer abort")]
    Abort,
    /// The data comes, marked as poisoned (bit EP of the header, specification section 2.7.2).
    #[error("poisoned data")]
    Poisoned,
    /// No completion ever comes.
    #[error("no completion")]
    Lost,
}

impl From<BusError> for ReadFailure {
    fn from(_: BusError) -> Self {
        Self::Unsupported
    }
}

/// One failure of a device's read that is still to come: it strikes the first read that touches a range, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFault {
    /// How the read fails.
    pub failure: ReadFailure,
    /// Bus addresses of the reads that it may strike.
    pub within: std::ops::Range<u64>,
}

impl ReadFault {
    /// A failure of the next read, whatever it reads.
    #[must_use]
    pub fn next(failure: ReadFailure) -> Self {
        Self {
            failure,
            within: 0..u64::MAX,
        }
    }

    /// Does it strike a read of `len` bytes at `addr`?
    #[must_use]
    pub fn strikes(&self, addr: u64, len: usize) -> bool {
        addr < self.within.end && self.within.start < addr.saturating_add(len as u64)
    }
}

/// The atomic operations of PCIe (specification section 6.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomicOp {
    /// Adds the operand.
    FetchAdd,
    /// Stores the operand.
    Swap,
    /// Stores the second operand if the value equals the first.
    Cas,
}

/// The host behind a root complex.
pub trait HostPort {
    /// The next thing that the host wants of the device, if there is one.
    fn next_request(&mut self) -> Option<HostRequest>;
    /// The answer to a read.
    fn read_done(&mut self, id: u64, result: Result<Vec<u8>, ReadError>);
    /// The device reads host memory. Of a failed read with data ([`ReadFailure::Poisoned`]) `buf` is the data.
    fn mem_read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), ReadFailure>;
    /// The device writes host memory.
    fn mem_write(&mut self, addr: u64, data: &[u8]) -> Result<(), BusError>;
    /// The device raises an MSI-X vector.
    fn interrupt(&mut self, vector: u16);

    /// The root port logs an error.
    fn port_error(&mut self, error: PortError) {
        let _ = error;
    }

    /// One atomic operation on 4 or 8 bytes of host memory; returns the old value.
    fn mem_atomic(
        &mut self,
        op: AtomicOp,
        addr: u64,
        size: usize,
        operands: [u64; 2],
    ) -> Result<u64, ReadFailure> {
        let mut raw = [0; 8];
        self.mem_read(addr, &mut raw[..size])?;
        let old = u64::from_le_bytes(raw);
        let new = match op {
            AtomicOp::FetchAdd => old.wrapping_add(operands[0]),
            AtomicOp::Swap => operands[0],
            AtomicOp::Cas if old == operands[0] => operands[1],
            AtomicOp::Cas => return Ok(old),
        };
        self.mem_write(addr, &new.to_le_bytes()[..size])?;
        Ok(old)
    }
}
