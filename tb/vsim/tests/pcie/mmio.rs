//! The host's requests to the device, and what their completions must bring.

use std::collections::VecDeque;

use rand::Rng;

use super::bench::Config;
use super::tlp::{CAS, CFG0, FETCH_ADD, IO, MEM, MEM_LOCKED, SWAP, Tlp, UR};
use super::{Bytes, TestRng, chance};

/// A register whose reads are for the litmus tests: it gives the count of writes accepted so far.
pub const LITMUS: u64 = 0x7ff8;
/// From here on BAR0 is the table of MSI-X, which the bench does not model.
const MSIX: u64 = 0x8000;

enum Expect {
    Data(Vec<u8>),
    /// So many bytes, whatever they hold.
    Any(usize),
    Unsupported(usize),
    Litmus,
}

struct Outstanding {
    request: Tlp,
    /// Next byte that comes.
    at: u64,
    expect: Expect,
    /// When it was issued.
    since: u64,
}

pub struct Mmio {
    /// Registers and VRAM as the requests so far leave them.
    pub regs: Bytes,
    pub vram: Bytes,
    /// In the order of the requests: completions come in it too.
    outstanding: VecDeque<Outstanding>,
    /// TLPs that the device must count as dropped.
    pub drops: u64,
    /// Completed reads, those for litmus tests apart.
    pub done: u64,
    /// Data of the last litmus read that ended.
    pub litmus: Option<u64>,
    /// The cycle that it is, and the longest that an answer took.
    pub now: u64,
    pub slowest: u64,
}

const HOST_ID: u32 = 0x0008;

impl Mmio {
    pub fn new() -> Self {
        Self {
            regs: Bytes::default(),
            vram: Bytes::default(),
            outstanding: VecDeque::new(),
            drops: 0,
            done: 0,
            litmus: None,
            now: 0,
            slowest: 0,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    fn free_tag(&self) -> Option<u32> {
        (0..32).find(|&t| self.outstanding.iter().all(|out| out.request.tag() != t))
    }

    /// A read of registers or of VRAM.
    pub fn read(&mut self, cfg: &Config, addr: u64, len: usize) -> Option<Tlp> {
        let tag = self.free_tag()?;
        Some(self.issue(cfg, Tlp::read(HOST_ID, tag, addr, len)))
    }

    /// A write of registers or of VRAM.
    pub fn write(&mut self, cfg: &Config, addr: u64, bytes: &[u8]) -> Tlp {
        self.issue(cfg, Tlp::write(HOST_ID, addr, bytes))
    }

    /// Notes what a request must do, in the order of the calls.
    pub fn issue(&mut self, cfg: &Config, tlp: Tlp) -> Tlp {
        let addr = tlp.addr();
        let bar0 = addr & !0xffff == cfg.bar0;
        let bar2 = addr & !(cfg.bar2_size - 1) == cfg.bar2;
        let reg_ok = bar0 && (tlp.dws() == 1 || (tlp.dws() == 2 && addr.is_multiple_of(8)));
        if tlp.is_write() {
            if !(reg_ok || bar2) || tlp.poisoned() {
                self.drops += 1;
                return tlp;
            }
            for (at, byte) in tlp.written() {
                if bar2 {
                    self.vram.set(at - cfg.bar2, byte);
                } else if at - cfg.bar0 < MSIX {
                    self.regs.set(at - cfg.bar0, byte);
                }
            }
            return tlp;
        }
        let (at, len) = tlp.span();
        let expect = if tlp.kind() == MEM && reg_ok && at - cfg.bar0 + len as u64 > LITMUS {
            if at - cfg.bar0 == LITMUS && len == 8 {
                Expect::Litmus
            } else {
                Expect::Any(len)
            }
        } else if tlp.kind() == MEM && reg_ok {
            Expect::Data(self.regs.read(at - cfg.bar0, len))
        } else if tlp.kind() == MEM && bar2 {
            Expect::Data(self.vram.read(at - cfg.bar2, len))
        } else {
            Expect::Unsupported(match tlp.kind() {
                MEM | MEM_LOCKED => len,
                CAS => tlp.data.len() / 2,
                FETCH_ADD | SWAP => tlp.data.len(),
                _ => 4,
            })
        };
        self.outstanding.push_back(Outstanding {
            request: tlp.clone(),
            at,
            expect,
            since: self.now,
        });
        tlp
    }

    /// Some request; none when all tags are out.
    pub fn random(&mut self, cfg: &Config, rng: &mut TestRng) -> Option<Tlp> {
        let tag = self.free_tag()?;
        let tlp = match rng.random_range(0..20) {
            0..5 => {
                // A register, 4 or 8 bytes with any enables.
                let wide = chance(rng, 50);
                let addr = cfg.bar0 + (rng.random_range(0..0x400u64) & if wide { !7 } else { !3 });
                let dws = if wide { 2 } else { 1 };
                let (fbe, lbe) = if wide {
                    (rng.random_range(1..16), rng.random_range(1..16))
                } else {
                    (rng.random_range(0..16), 0)
                };
                let data = if chance(rng, 50) {
                    (0..dws * 4).map(|_| rng.random()).collect()
                } else {
                    Vec::new()
                };
                Tlp::request(MEM, HOST_ID, tag, fbe, lbe, addr, dws, data)
            }
            5 => Tlp::read(HOST_ID, tag, cfg.bar0 + LITMUS, 8),
            6..11 => {
                let len = length(rng, 128 << cfg.mps);
                let addr = cfg.bar2 + place(rng, len);
                // Enables and start as they fall; payload within MPS.
                let len = len.min((128 << cfg.mps) - (addr as usize & 3));
                Tlp::write(
                    HOST_ID,
                    addr,
                    &(0..len).map(|_| rng.random()).collect::<Vec<u8>>(),
                )
            }
            11..17 => {
                let len = length(rng, 4096);
                Tlp::read(HOST_ID, tag, cfg.bar2 + place(rng, len), len)
            }
            17 => {
                // One or two DWs of VRAM with any enables.
                let two = chance(rng, 50);
                let (fbe, lbe) = if two {
                    (rng.random_range(1..16), rng.random_range(1..16))
                } else {
                    (rng.random_range(0..16), 0)
                };
                let dws = if two { 2 } else { 1 };
                let data = if chance(rng, 50) {
                    (0..dws * 4).map(|_| rng.random()).collect()
                } else {
                    Vec::new()
                };
                Tlp::request(
                    MEM,
                    HOST_ID,
                    tag,
                    fbe,
                    lbe,
                    cfg.bar2 + place(rng, 8) / 8 * 8,
                    dws,
                    data,
                )
            }
            _ => self.unsupported(cfg, tag, rng),
        };
        let tlp = tlp
            .poke(0, 20, 3, rng.random_range(0..8))
            .poke(0, 12, 2, rng.random_range(0..4));
        Some(self.issue(cfg, tlp))
    }

    fn unsupported(&self, cfg: &Config, tag: u32, rng: &mut TestRng) -> Tlp {
        let word = |n: usize| vec![0x99; n];
        match rng.random_range(0..9) {
            0 => Tlp::read(HOST_ID, tag, cfg.bar2 + cfg.bar2_size + 64, 16),
            1 => Tlp::write(HOST_ID, cfg.bar0 ^ 0x10_0000, &word(24)),
            2 => Tlp::read(HOST_ID, tag, cfg.bar0 + 0x100, 16),
            3 => Tlp::write(HOST_ID, cfg.bar0 + 0x104, &word(8)),
            4 => Tlp::request(
                IO,
                HOST_ID,
                tag,
                0xf,
                0,
                0x3f8,
                1,
                if chance(rng, 50) { word(4) } else { Vec::new() },
            ),
            5 => Tlp::request(
                CFG0,
                HOST_ID,
                tag,
                0xf,
                0,
                0x40,
                1,
                if chance(rng, 50) { word(4) } else { Vec::new() },
            ),
            6 => Tlp::request(CAS, HOST_ID, tag, 0xf, 0xf, cfg.bar2, 4, word(16)),
            7 => Tlp::request(FETCH_ADD, HOST_ID, tag, 0xf, 0xf, cfg.bar2, 2, word(8)),
            _ => Tlp::write(HOST_ID, cfg.bar2 + 256, &word(16)).poke(0, 14, 1, 1),
        }
    }

    /// A completion of the device arrives.
    pub fn completion(&mut self, cfg: &Config, tlp: &Tlp) {
        let who = format!("{}: completion {:032x}", cfg.who, tlp.header);
        let out = self
            .outstanding
            .front_mut()
            .unwrap_or_else(|| panic!("{who}: nobody waits for it"));
        assert_eq!(
            (tlp.cpl_requester(), tlp.cpl_tag()),
            (out.request.requester(), out.request.tag()),
            "{who}: requester ID and tag of the oldest request"
        );
        assert_eq!(tlp.dw(1) >> 16, cfg.bdf, "{who}: completer ID");
        assert_eq!(
            tlp.dw(0) & 0x00fc_3000,
            out.request.dw(0) & 0x00fc_3000,
            "{who}: T9, T8, TC and attributes of the request"
        );
        assert_eq!(tlp.dw(0) & 0x0003_cc00, 0, "{who}: LN, TH, TD, EP, AT");
        assert_eq!(tlp.dw(1) >> 12 & 1, 0, "{who}: BCM");
        assert_eq!(tlp.dw(3), 0, "{who}: a completion has three DWs");
        assert_eq!(tlp.fmt() & 5, 0, "{who}: format");
        let memory = matches!(out.request.kind(), MEM | MEM_LOCKED);
        self.slowest = self.slowest.max(self.now - out.since);
        if let Expect::Unsupported(bytes) = out.expect {
            assert_eq!(
                (tlp.status(), tlp.has_data(), tlp.dws()),
                (UR, false, 1024),
                "{who}: unsupported request"
            );
            assert_eq!(tlp.byte_count(), bytes, "{who}: byte count");
            assert_eq!(
                tlp.lower(),
                if memory { out.at & 0x7f } else { 0 },
                "{who}: lower address"
            );
            self.outstanding.pop_front();
            return;
        }
        let left = match &out.expect {
            Expect::Data(bytes) => bytes.len(),
            Expect::Any(bytes) => *bytes,
            _ => 8,
        };
        assert_eq!(tlp.status(), 0, "{who}: status");
        assert!(tlp.has_data(), "{who}: data");
        assert_eq!(tlp.byte_count(), left, "{who}: byte count");
        assert_eq!(tlp.lower(), out.at & 0x7f, "{who}: lower address");
        assert!(tlp.data.len() <= 128 << cfg.mps, "{who}: MPS");
        let skip = (out.at & 3) as usize;
        let bytes = (tlp.data.len() - skip).min(left);
        assert!(
            skip + bytes + 3 >= tlp.data.len(),
            "{who}: more data than asked for"
        );
        if bytes < left {
            assert_eq!(
                (out.at + bytes as u64) % 128,
                0,
                "{who}: split off an RCB boundary"
            );
        }
        let data = &tlp.data[skip..skip + bytes];
        match &mut out.expect {
            Expect::Data(expected) => {
                assert!(
                    data == &expected[..bytes],
                    "{who}: {data:02x?} for {:02x?}",
                    &expected[..bytes]
                );
                expected.drain(..bytes);
            }
            Expect::Any(left) => *left -= bytes,
            _ => self.litmus = Some(data.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b))),
        }
        out.at += bytes as u64;
        if bytes == left {
            self.done += u64::from(!matches!(out.expect, Expect::Litmus));
            self.outstanding.pop_front();
        }
    }
}

/// Mostly short lengths, sometimes the longest.
fn length(rng: &mut TestRng, most: usize) -> usize {
    match rng.random_range(0..10) {
        0..5 => rng.random_range(1..=32),
        5..9 => rng.random_range(1..=most.min(700)),
        _ => most,
    }
}

/// An offset in the first 16 KiB at which `len` bytes do not cross 4 KiB; often they end at the edge.
fn place(rng: &mut TestRng, len: usize) -> u64 {
    let page = rng.random_range(0..4) * 4096;
    let room = 4096 - len as u64;
    page + if chance(rng, 20) {
        room
    } else {
        rng.random_range(0..=room)
    }
}
