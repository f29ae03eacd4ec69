//! Transaction layer packets: their headers to and from bits (specification sections 2.2.1 to 2.2.9).
//!
//! A header is a `u128` with DW0 in bits 127:96 and byte 0 of each DW in its top bits, as the
//! specification draws it; a 3-DW header leaves bits 31:0 zero. Data is in address order.

use thiserror::Error;

use super::AtomicOp;

/// Completion status (specification table 2-34).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Successful completion.
    Success,
    /// Unsupported request.
    Unsupported,
    /// Configuration retry: never legal for memory requests.
    Retry,
    /// Completer abort.
    Abort,
}

/// A memory read request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReq {
    /// Who asks.
    pub requester: u16,
    /// Names the request.
    pub tag: u8,
    /// Address of the first DW (4-byte aligned).
    pub addr: u64,
    /// DWs, 1..=1024.
    pub dwords: u16,
    /// Byte enables of the first DW.
    pub first_be: u8,
    /// Byte enables of the last DW; 0 for one DW.
    pub last_be: u8,
}

/// A memory write request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteReq {
    /// Who asks.
    pub requester: u16,
    /// Void for a posted request; carried for the record.
    pub tag: u8,
    /// Address of the first DW (4-byte aligned).
    pub addr: u64,
    /// Byte enables of the first DW.
    pub first_be: u8,
    /// Byte enables of the last DW; 0 for one DW.
    pub last_be: u8,
    /// Whole DWs.
    pub data: Vec<u8>,
    /// The sender says that the data is bad.
    pub poisoned: bool,
}

/// An AtomicOp request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtomicReq {
    /// Which.
    pub op: AtomicOp,
    /// Who asks.
    pub requester: u16,
    /// Names the request.
    pub tag: u8,
    /// Naturally aligned address.
    pub addr: u64,
    /// One operand (two for CAS) of 4 or 8 bytes.
    pub data: Vec<u8>,
}

/// A completion, with data (CplD) or without (Cpl).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Who answers.
    pub completer: u16,
    /// Who asked.
    pub requester: u16,
    /// Tag of the request.
    pub tag: u8,
    /// How it went.
    pub status: Status,
    /// Bytes still to come, those of this one included (1..=4096).
    pub byte_count: u16,
    /// Low seven bits of the address of the first enabled byte.
    pub lower_addr: u8,
    /// Whole DWs; empty for a Cpl.
    pub data: Vec<u8>,
    /// The sender says that the data is bad.
    pub poisoned: bool,
}

/// A transaction layer packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tlp {
    /// MRd.
    Read(ReadReq),
    /// MWr.
    Write(WriteReq),
    /// FetchAdd, Swap, CAS.
    Atomic(AtomicReq),
    /// Cpl, CplD.
    Completion(Completion),
}

/// Why a packet is malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlpError {
    /// A format and type that no memory device sends.
    #[error("format {fmt:#05b} type {kind:#07b} is not a memory request or a completion")]
    Kind {
        /// Fmt field.
        fmt: u8,
        /// Type field.
        kind: u8,
    },
    /// The payload is not as long as the header says.
    #[error("the header says {header} bytes of data, {payload} came")]
    Length {
        /// By the Length field.
        header: usize,
        /// As received.
        payload: usize,
    },
    /// The byte enables break a rule of section 2.2.5.
    #[error("byte enables first {first:#06b} last {last:#06b} of {dwords} DWs")]
    ByteEnables {
        /// First DW.
        first: u8,
        /// Last DW.
        last: u8,
        /// Length.
        dwords: usize,
    },
    /// The request crosses a 4 KiB boundary (section 2.2.7).
    #[error("{dwords} DWs from {addr:#x} cross a 4 KiB boundary")]
    Crosses {
        /// Address.
        addr: u64,
        /// Length.
        dwords: usize,
    },
    /// A four-DW header with an address that three DWs hold, or an AtomicOp of another size or alignment.
    #[error("address {addr:#x} does not fit the request")]
    Address {
        /// Address.
        addr: u64,
    },
}

const KIND_MEM: u8 = 0b0_0000;
const KIND_CPL: u8 = 0b0_1010;
const KIND_FETCH_ADD: u8 = 0b0_1100;
const KIND_SWAP: u8 = 0b0_1101;
const KIND_CAS: u8 = 0b0_1110;
const POISON: u32 = 1 << 14;

/// Address of the first DW, DWs, and the byte enables of a run of bytes within 4 KiB.
#[must_use]
pub fn byte_enables(addr: u64, len: usize) -> (u64, u16, u8, u8) {
    let base = addr & !3;
    let skip = (addr - base) as usize;
    if len == 0 {
        return (base, 1, 0, 0);
    }
    let dwords = (skip + len).div_ceil(4);
    let head = (0xf << skip) & 0xf;
    let tail = 0xf >> (dwords * 4 - skip - len);
    if dwords == 1 {
        (base, 1, (head & tail) as u8, 0)
    } else {
        (base, dwords as u16, head as u8, tail as u8)
    }
}

/// Address of the first enabled byte and number of bytes from it to the last enabled one.
#[must_use]
pub fn enabled_span(addr: u64, dwords: u16, first_be: u8, last_be: u8) -> (u64, usize) {
    if first_be == 0 && dwords == 1 {
        return (addr, 0);
    }
    let skip = first_be.trailing_zeros() as usize;
    let last = if dwords == 1 { first_be } else { last_be };
    let end = usize::from(dwords) * 4 - (last.leading_zeros() as usize - 4);
    (addr + skip as u64, end - skip)
}

impl Tlp {
    /// Header bytes on the link: 12 or 16.
    #[must_use]
    pub fn header_bytes(&self) -> u64 {
        match self {
            Self::Read(r) => 12 + 4 * u64::from(needs_4dw(r.addr)),
            Self::Write(r) => 12 + 4 * u64::from(needs_4dw(r.addr)),
            Self::Atomic(r) => 12 + 4 * u64::from(needs_4dw(r.addr)),
            Self::Completion(_) => 12,
        }
    }

    /// The data it carries.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match self {
            Self::Read(_) => &[],
            Self::Write(r) => &r.data,
            Self::Atomic(r) => &r.data,
            Self::Completion(c) => &c.data,
        }
    }

    /// The header's bits.
    #[must_use]
    pub fn header(&self) -> u128 {
        match self {
            Self::Read(r) => {
                let be = (u32::from(r.last_be) << 4) | u32::from(r.first_be);
                request(KIND_MEM, false, r.dwords, 0, r.requester, r.tag, be, r.addr)
            }
            Self::Write(r) => {
                let be = (u32::from(r.last_be) << 4) | u32::from(r.first_be);
                let flags = if r.poisoned { POISON } else { 0 };
                request(
                    KIND_MEM,
                    true,
                    (r.data.len() / 4) as u16,
                    flags,
                    r.requester,
                    r.tag,
                    be,
                    r.addr,
                )
            }
            Self::Atomic(r) => {
                let kind = match r.op {
                    AtomicOp::FetchAdd => KIND_FETCH_ADD,
                    AtomicOp::Swap => KIND_SWAP,
                    AtomicOp::Cas => KIND_CAS,
                };
                // Byte enables are reserved for AtomicOps (section 2.2.5).
                request(
                    kind,
                    true,
                    (r.data.len() / 4) as u16,
                    0,
                    r.requester,
                    r.tag,
                    0,
                    r.addr,
                )
            }
            Self::Completion(c) => {
                let fmt = if c.data.is_empty() { 0b000 } else { 0b010 };
                let length = ((c.data.len() / 4) as u32) & 0x3ff;
                let flags = if c.poisoned { POISON } else { 0 };
                let status = match c.status {
                    Status::Success => 0b000,
                    Status::Unsupported => 0b001,
                    Status::Retry => 0b010,
                    Status::Abort => 0b100,
                };
                let dw0 = (fmt << 29) | (u32::from(KIND_CPL) << 24) | flags | length;
                let dw1 = (u32::from(c.completer) << 16)
                    | (status << 13)
                    | (u32::from(c.byte_count) & 0xfff);
                let dw2 = (u32::from(c.requester) << 16)
                    | (u32::from(c.tag) << 8)
                    | (u32::from(c.lower_addr) & 0x7f);
                words(dw0, dw1, dw2, 0)
            }
        }
    }

    /// Reads a packet.
    ///
    /// # Errors
    /// It is malformed by the rules of section 2.2.
    pub fn decode(header: u128, payload: &[u8]) -> Result<Self, TlpError> {
        let dw = [
            (header >> 96) as u32,
            (header >> 64) as u32,
            (header >> 32) as u32,
            header as u32,
        ];
        let fmt = (dw[0] >> 29) as u8;
        let kind = ((dw[0] >> 24) & 0x1f) as u8;
        let length = match dw[0] & 0x3ff {
            0 => 1024,
            n => n as usize,
        };
        let poisoned = dw[0] & POISON != 0;
        let with_data = fmt & 0b010 != 0;
        let expected = if with_data { length * 4 } else { 0 };
        if fmt & 0b100 != 0
            || !matches!(
                kind,
                KIND_MEM | KIND_CPL | KIND_FETCH_ADD | KIND_SWAP | KIND_CAS
            )
        {
            return Err(TlpError::Kind { fmt, kind });
        }
        if payload.len() != expected {
            return Err(TlpError::Length {
                header: expected,
                payload: payload.len(),
            });
        }
        if kind == KIND_CPL {
            if fmt & 0b001 != 0 {
                return Err(TlpError::Kind { fmt, kind });
            }
            return Ok(Self::Completion(completion(&dw, payload, poisoned)));
        }
        let long = fmt & 0b001 != 0;
        let addr = if long {
            (u64::from(dw[2]) << 32) | u64::from(dw[3] & !3)
        } else {
            u64::from(dw[2] & !3)
        };
        if long && !needs_4dw(addr) {
            return Err(TlpError::Address { addr });
        }
        let requester = (dw[1] >> 16) as u16;
        let tag = (dw[1] >> 8) as u8;
        if kind != KIND_MEM {
            return atomic(kind, fmt, requester, tag, addr, payload);
        }
        let first_be = (dw[1] & 0xf) as u8;
        let last_be = ((dw[1] >> 4) & 0xf) as u8;
        check_enables(first_be, last_be, length)?;
        if (addr & 0xfff) + length as u64 * 4 > 4096 {
            return Err(TlpError::Crosses {
                addr,
                dwords: length,
            });
        }
        Ok(if with_data {
            Self::Write(WriteReq {
                requester,
                tag,
                addr,
                first_be,
                last_be,
                data: payload.to_vec(),
                poisoned,
            })
        } else {
            Self::Read(ReadReq {
                requester,
                tag,
                addr,
                dwords: length as u16,
                first_be,
                last_be,
            })
        })
    }
}

fn needs_4dw(addr: u64) -> bool {
    addr >> 32 != 0
}

fn words(dw0: u32, dw1: u32, dw2: u32, dw3: u32) -> u128 {
    (u128::from(dw0) << 96) | (u128::from(dw1) << 64) | (u128::from(dw2) << 32) | u128::from(dw3)
}

#[allow(clippy::too_many_arguments)] // the fields of one header, in its order
fn request(
    kind: u8,
    data: bool,
    dwords: u16,
    flags: u32,
    requester: u16,
    tag: u8,
    be: u32,
    addr: u64,
) -> u128 {
    let long = needs_4dw(addr);
    let fmt = (u32::from(data) << 1) | u32::from(long);
    let dw0 = (fmt << 29) | (u32::from(kind) << 24) | flags | (u32::from(dwords) & 0x3ff);
    let dw1 = (u32::from(requester) << 16) | (u32::from(tag) << 8) | be;
    let low = addr as u32 & !3;
    if long {
        words(dw0, dw1, (addr >> 32) as u32, low)
    } else {
        words(dw0, dw1, low, 0)
    }
}

fn completion(dw: &[u32; 4], payload: &[u8], poisoned: bool) -> Completion {
    let status = match (dw[1] >> 13) & 0x7 {
        0b000 => Status::Success,
        0b010 => Status::Retry,
        0b100 => Status::Abort,
        // Reserved values count as Unsupported Request (section 2.2.9).
        _ => Status::Unsupported,
    };
    let byte_count = match dw[1] & 0xfff {
        0 => 4096,
        n => n as u16,
    };
    Completion {
        completer: (dw[1] >> 16) as u16,
        requester: (dw[2] >> 16) as u16,
        tag: (dw[2] >> 8) as u8,
        status,
        byte_count,
        lower_addr: (dw[2] & 0x7f) as u8,
        data: payload.to_vec(),
        poisoned,
    }
}

fn atomic(
    kind: u8,
    fmt: u8,
    requester: u16,
    tag: u8,
    addr: u64,
    payload: &[u8],
) -> Result<Tlp, TlpError> {
    if fmt & 0b010 == 0 {
        return Err(TlpError::Kind { fmt, kind });
    }
    let (op, operands) = match kind {
        KIND_FETCH_ADD => (AtomicOp::FetchAdd, 1),
        KIND_SWAP => (AtomicOp::Swap, 1),
        _ => (AtomicOp::Cas, 2),
    };
    let size = payload.len() / operands;
    if size != 4 && size != 8 {
        return Err(TlpError::Length {
            header: 8 * operands,
            payload: payload.len(),
        });
    }
    if !addr.is_multiple_of(size as u64) {
        return Err(TlpError::Address { addr });
    }
    Ok(Tlp::Atomic(AtomicReq {
        op,
        requester,
        tag,
        addr,
        data: payload.to_vec(),
    }))
}

fn check_enables(first: u8, last: u8, dwords: usize) -> Result<(), TlpError> {
    let error = TlpError::ByteEnables {
        first,
        last,
        dwords,
    };
    if dwords == 1 {
        return if last == 0 { Ok(()) } else { Err(error) };
    }
    if first == 0 || last == 0 {
        return Err(error);
    }
    // Holes are allowed only in requests of one DW, or of two that start on eight bytes; nobody here makes any.
    let first_contiguous = matches!(first, 0b1111 | 0b1110 | 0b1100 | 0b1000);
    let last_contiguous = matches!(last, 0b1111 | 0b0111 | 0b0011 | 0b0001);
    if dwords > 2 && !(first_contiguous && last_contiguous) {
        Err(error)
    } else {
        Ok(())
    }
}
