//! TLPs by the bits of their headers (PCI Express Base Specification, section 2.2).

use super::bench::Config;

/// Type field values.
pub const MEM: u32 = 0b00000;
pub const MEM_LOCKED: u32 = 0b00001;
pub const IO: u32 = 0b00010;
pub const CFG0: u32 = 0b00100;
pub const CFG1: u32 = 0b00101;
pub const CPL: u32 = 0b01010;
pub const FETCH_ADD: u32 = 0b01100;
pub const SWAP: u32 = 0b01101;
pub const CAS: u32 = 0b01110;

/// Completion status: unsupported request.
pub const UR: u32 = 1;
/// Completion status: completer abort.
pub const CA: u32 = 4;

/// A header, DW0 in the top bits, and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlp {
    pub header: u128,
    pub data: Vec<u8>,
}

fn dw0(fmt: u32, kind: u32, dws: usize) -> u32 {
    assert!((1..=1024).contains(&dws) || (dws == 0 && fmt & 2 == 0));
    fmt << 29 | kind << 24 | (dws as u32 & 0x3ff)
}

fn pack(dws: [u32; 4]) -> u128 {
    dws.iter().fold(0, |v, &d| v << 32 | u128::from(d))
}

/// First and last byte enables of the bytes `addr..addr + len`, the address of the first DW, and the DWs.
pub fn enables(addr: u64, len: usize) -> (u32, u32, u64, usize) {
    assert!(len > 0);
    let start = addr & !3;
    let end = addr + len as u64;
    let dws = (end - start).div_ceil(4) as usize;
    let first = (0xf << (addr & 3)) & 0xf;
    let last = 0xf >> ((4 - end % 4) % 4);
    if dws == 1 {
        (first & last, 0, start, 1)
    } else {
        (first, last, start, dws)
    }
}

impl Tlp {
    /// A request with an address.
    #[expect(clippy::too_many_arguments, reason = "the fields of a header")]
    pub fn request(
        kind: u32,
        requester: u32,
        tag: u32,
        fbe: u32,
        lbe: u32,
        addr: u64,
        dws: usize,
        data: Vec<u8>,
    ) -> Self {
        let fmt = u32::from(addr >> 32 != 0) | if data.is_empty() { 0 } else { 2 };
        let dw1 = requester << 16 | tag << 8 | lbe << 4 | fbe;
        let low = addr as u32 & !3;
        let (dw2, dw3) = if fmt & 1 == 1 {
            ((addr >> 32) as u32, low)
        } else {
            (low, 0)
        };
        Self {
            header: pack([dw0(fmt, kind, dws), dw1, dw2, dw3]),
            data,
        }
    }

    /// A read of bytes.
    pub fn read(requester: u32, tag: u32, addr: u64, len: usize) -> Self {
        let (fbe, lbe, start, dws) = enables(addr, len);
        Self::request(MEM, requester, tag, fbe, lbe, start, dws, Vec::new())
    }

    /// A write of bytes.
    pub fn write(requester: u32, addr: u64, bytes: &[u8]) -> Self {
        let (fbe, lbe, start, dws) = enables(addr, bytes.len());
        let mut data = vec![0xee; dws * 4];
        let offset = (addr - start) as usize;
        data[offset..offset + bytes.len()].copy_from_slice(bytes);
        Self::request(MEM, requester, 0, fbe, lbe, start, dws, data)
    }

    /// A completion.
    pub fn completion(
        completer: u32,
        requester: u32,
        tag: u32,
        status: u32,
        byte_count: usize,
        lower: u64,
        data: Vec<u8>,
    ) -> Self {
        let fmt = if data.is_empty() { 0 } else { 2 };
        let dw1 = completer << 16 | status << 13 | (byte_count as u32 & 0xfff);
        let dw2 = requester << 16 | tag << 8 | (lower as u32 & 0x7f);
        Self {
            header: pack([dw0(fmt, CPL, data.len() / 4), dw1, dw2, 0]),
            data,
        }
    }

    /// DW `n` of the header.
    pub fn dw(&self, n: u32) -> u32 {
        (self.header >> (96 - 32 * n)) as u32
    }

    /// Sets bits of a DW of the header.
    pub fn poke(mut self, n: u32, lsb: u32, width: u32, value: u32) -> Self {
        let shift = 96 - 32 * n + lsb;
        let mask = ((1u128 << width) - 1) << shift;
        self.header = self.header & !mask | u128::from(value) << shift;
        self
    }

    pub fn fmt(&self) -> u32 {
        self.dw(0) >> 29
    }
    pub fn has_data(&self) -> bool {
        self.fmt() & 2 != 0
    }
    pub fn kind(&self) -> u32 {
        self.dw(0) >> 24 & 0x1f
    }
    /// Length field in DWs.
    pub fn dws(&self) -> usize {
        let length = self.dw(0) as usize & 0x3ff;
        if length == 0 { 1024 } else { length }
    }
    pub fn poisoned(&self) -> bool {
        self.dw(0) >> 14 & 1 == 1
    }
    /// Requester ID of a request.
    pub fn requester(&self) -> u32 {
        self.dw(1) >> 16
    }
    pub fn tag(&self) -> u32 {
        self.dw(1) >> 8 & 0xff
    }
    pub fn last_be(&self) -> u32 {
        self.dw(1) >> 4 & 0xf
    }
    pub fn first_be(&self) -> u32 {
        self.dw(1) & 0xf
    }
    pub fn addr(&self) -> u64 {
        if self.fmt() & 1 == 1 {
            u64::from(self.dw(2)) << 32 | u64::from(self.dw(3))
        } else {
            u64::from(self.dw(2))
        }
    }
    pub fn status(&self) -> u32 {
        self.dw(1) >> 13 & 7
    }
    /// Byte count of a completion.
    pub fn byte_count(&self) -> usize {
        let count = self.dw(1) as usize & 0xfff;
        if count == 0 { 4096 } else { count }
    }
    pub fn cpl_requester(&self) -> u32 {
        self.dw(2) >> 16
    }
    pub fn cpl_tag(&self) -> u32 {
        self.dw(2) >> 8 & 0xff
    }
    pub fn lower(&self) -> u64 {
        u64::from(self.dw(2) & 0x7f)
    }
    pub fn is_completion(&self) -> bool {
        self.kind() == CPL
    }
    pub fn is_write(&self) -> bool {
        self.kind() == MEM && self.has_data()
    }
    /// Bytes that it takes on the link: header and payload.
    pub fn link_bytes(&self) -> u64 {
        (if self.fmt() & 1 == 1 { 16 } else { 12 }) + self.data.len() as u64
    }

    /// The enabled bytes of a memory write, with their addresses.
    pub fn written(&self) -> Vec<(u64, u8)> {
        let dws = self.dws();
        let enabled = |i: usize| {
            let be = match i / 4 {
                0 => self.first_be(),
                d if d + 1 == dws => self.last_be(),
                _ => 0xf,
            };
            be >> (i % 4) & 1 == 1
        };
        (0..dws * 4)
            .filter(|&i| enabled(i))
            .map(|i| (self.addr() + i as u64, self.data[i]))
            .collect()
    }

    /// First enabled byte's address and the bytes up to the last enabled one (table 2-39; no byte counts as one).
    pub fn span(&self) -> (u64, usize) {
        let first = if self.first_be() == 0 {
            0
        } else {
            self.first_be().trailing_zeros() as usize
        };
        let end_be = if self.dws() == 1 {
            self.first_be()
        } else {
            self.last_be()
        };
        let end = if end_be == 0 {
            1
        } else {
            32 - end_be.leading_zeros() as usize
        };
        (
            self.addr() + first as u64,
            (self.dws() - 1) * 4 + end - first,
        )
    }

    /// Panics where a request of the device breaks a rule of the specification.
    pub fn check_request(&self, cfg: &Config, who: &str) {
        let d = self.dw(0);
        assert_eq!(d >> 31, 0, "{who}: TLP prefix");
        assert_eq!(
            d & 0x00ff_fc00,
            0,
            "{who}: TC, attributes, TH, TD, EP, AT must be 0: {d:08x}"
        );
        assert_eq!(self.requester(), cfg.bdf, "{who}: requester ID");
        let (addr, dws) = (self.addr(), self.dws());
        assert_eq!(
            self.fmt() & 1 == 1,
            addr >> 32 != 0,
            "{who}: 3-DW headers below 4 GiB, 4-DW above: {addr:x}"
        );
        assert_eq!(addr & 3, 0, "{who}: reserved address bits");
        if self.fmt() & 1 == 0 {
            assert_eq!(self.dw(3), 0, "{who}: a 3-DW header has no fourth DW");
        }
        assert_eq!(
            self.data.len(),
            if self.has_data() { dws * 4 } else { 0 },
            "{who}: payload against Length"
        );
        // The payload of a CAS is twice what it touches.
        let touched = dws as u64 * if self.kind() == CAS { 2 } else { 4 };
        assert!(
            addr % 4096 + touched <= 4096,
            "{who}: crosses 4 KiB: {addr:x} + {dws} DW"
        );
        match self.kind() {
            MEM => {
                let limit = if self.has_data() { cfg.mps } else { cfg.mrrs };
                assert!(
                    dws <= 32 << limit,
                    "{who}: {dws} DW against a limit of {}",
                    32 << limit
                );
                if dws == 1 {
                    assert_eq!(self.last_be(), 0, "{who}: last BE of one DW");
                } else {
                    assert!(
                        self.first_be() != 0 && self.last_be() != 0,
                        "{who}: empty BE"
                    );
                    // No holes: first from the top, last from the bottom.
                    assert!(
                        [0xf, 0xe, 0xc, 8].contains(&self.first_be()),
                        "{who}: first BE {:x}",
                        self.first_be()
                    );
                    assert!(
                        [0xf, 7, 3, 1].contains(&self.last_be()),
                        "{who}: last BE {:x}",
                        self.last_be()
                    );
                }
            }
            CAS => {
                assert!(
                    self.has_data() && (dws == 2 || dws == 4),
                    "{who}: operand size of a CAS: {dws} DW"
                );
                assert_eq!(
                    addr % (dws as u64 * 2),
                    0,
                    "{who}: natural alignment of a CAS: {addr:x}"
                );
            }
            kind => panic!("{who}: the device never sends type {kind:05b}"),
        }
    }
}
