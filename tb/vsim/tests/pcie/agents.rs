//! The device's side of `pcie_ep`: a memory client, the copy engine's bursts, and what each expects.

use std::collections::{BTreeMap, VecDeque};

use hmmu_vsim::Block;
use rand::Rng;

use super::host::Fate;
use super::tlp::{CAS, Tlp, enables};
use super::{TestRng, chance, get128, set128};

/// Clients that use the link, by their number at the fabric.
const CLIENTS: [u64; 7] = [0, 1, 2, 3, 4, 5, 6];

/// A request of the single-beat port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SysReq {
    pub client: u64,
    pub op: u64,
    pub cas32: bool,
    pub addr: u64,
    pub strb: u16,
    pub data: u128,
    pub tag: u64,
}

pub const READ: u64 = 0;
pub const WRITE: u64 = 1;
pub const SWAP: u64 = 2;

/// Some address of system memory: few lines, below and above 4 GiB, so that accesses meet.
pub fn address(rng: &mut TestRng) -> u64 {
    let bases = [
        0x1000,
        0x7fff_f000,
        0xffff_f000,
        0x1_0000_0000,
        0x40_0000_2000,
        0x7f_ffff_ffff_f000,
    ];
    bases[rng.random_range(0..bases.len())] + rng.random_range(0..4096)
}

impl SysReq {
    pub fn random(rng: &mut TestRng) -> Self {
        let client = CLIENTS[rng.random_range(0..CLIENTS.len())];
        let (addr, tag, data) = (address(rng), rng.random_range(0..256), rng.random::<u128>());
        let op = rng.random_range(0..5) / 2;
        let mut req = Self {
            client,
            op,
            cas32: false,
            addr,
            strb: 0,
            data,
            tag,
        };
        if op == WRITE {
            let first = rng.random_range(0..16);
            let len = rng.random_range(1..=16 - first);
            req.strb = (((1u32 << len) - 1) << first) as u16;
        } else if op == SWAP {
            req.cas32 = chance(rng, 50);
            req.addr &= if req.cas32 { !3 } else { !7 };
        }
        req
    }

    /// Must this TLP be the request?
    pub fn check(&self, tlp: &Tlp, who: &str) {
        let base = self.addr & !15;
        match self.op {
            READ => {
                assert!(
                    !tlp.has_data() && tlp.addr() == base && tlp.dws() == 4,
                    "{who}: {self:x?}"
                );
                assert_eq!(
                    (tlp.first_be(), tlp.last_be()),
                    (0xf, 0xf),
                    "{who}: byte enables"
                );
            }
            WRITE => {
                assert!(tlp.is_write(), "{who}: {self:x?}");
                let lanes: Vec<(u64, u8)> = (0..16)
                    .filter(|i| self.strb >> i & 1 == 1)
                    .map(|i| (base + i, (self.data >> (8 * i)) as u8))
                    .collect();
                assert_eq!(tlp.written(), lanes, "{who}: {self:x?}");
            }
            _ => {
                let size = if self.cas32 { 4 } else { 8 };
                assert!(
                    tlp.kind() == CAS && tlp.addr() == self.addr && tlp.data.len() == 2 * size,
                    "{who}: {self:x?}"
                );
                assert_eq!(
                    tlp.data[..size],
                    self.data.to_le_bytes()[..size],
                    "{who}: compare value"
                );
                assert_eq!(
                    tlp.data[size..],
                    self.data.to_le_bytes()[8..8 + size],
                    "{who}: swap value"
                );
            }
        }
    }
}

/// What a read must bring, and how it ends.
type Expected = (Vec<u8>, Fate);

/// The single-beat port, with the interrupt messages merged in as the fabric would.
#[derive(Default)]
pub struct SysAgent {
    pub queue: VecDeque<SysReq>,
    on_offer: Option<SysReq>,
    /// Requests under way: what they must bring, once the link has seen them.
    waiting: BTreeMap<(u64, u64), (SysReq, Option<Expected>)>,
    pub done: u64,
    pub failed: u64,
    from_msix: bool,
}

impl SysAgent {
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.on_offer.is_none() && self.waiting.is_empty()
    }

    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    pub fn drive(&mut self, b: &mut Block, rng: &mut TestRng, idle_percent: u32) {
        if self.on_offer.is_none() && !self.from_msix {
            self.from_msix = b.get("msix_req_valid_o") == 1 && chance(rng, 50);
            if !self.from_msix && !chance(rng, idle_percent) {
                let free = self
                    .queue
                    .iter()
                    .position(|r| r.op == WRITE || !self.waiting.contains_key(&(r.client, r.tag)));
                self.on_offer = free.and_then(|i| self.queue.remove(i));
            }
        }
        let req = if self.from_msix {
            Some(Self::message(b))
        } else {
            self.on_offer
        };
        b.set("sys_req_valid_i", req.is_some().into());
        if let Some(r) = req {
            b.set_bits("sys_req_i", 0, 8, r.tag);
            set128(b, "sys_req_i", 8, r.data);
            b.set_bits("sys_req_i", 136, 16, r.strb.into());
            b.set_bits("sys_req_i", 152, 56, r.addr);
            b.set_bits("sys_req_i", 208, 1, r.cas32.into());
            b.set_bits("sys_req_i", 209, 2, r.op);
            b.set("sys_req_client_i", r.client);
        }
    }

    fn message(b: &mut Block) -> SysReq {
        assert_eq!(
            b.get_bits("msix_req_o", 208, 3),
            WRITE << 1,
            "messages are writes"
        );
        SysReq {
            client: 7,
            op: WRITE,
            cas32: false,
            addr: b.get_bits("msix_req_o", 152, 56),
            strb: b.get_bits("msix_req_o", 136, 16) as u16,
            data: get128(b, "msix_req_o", 8),
            tag: 0,
        }
    }

    /// After evaluation: hands the ready of the port on to the message port.
    pub fn settle(&mut self, b: &mut Block) {
        let ready = b.get("sys_req_ready_o") == 1 && self.from_msix;
        b.set("msix_req_ready_i", ready.into());
    }

    /// Before the clock edge: the request accepted in this cycle.
    pub fn sample(&mut self, b: &mut Block, who: &str) -> Option<SysReq> {
        if b.get("sys_rsp_valid_o") == 1 {
            let key = (b.get("sys_rsp_client_o"), b.get_bits("sys_rsp_o", 129, 8));
            let (req, expect) = self
                .waiting
                .remove(&key)
                .unwrap_or_else(|| panic!("{who}: answer to nobody: {key:?}"));
            let (bytes, fate) = expect
                .unwrap_or_else(|| panic!("{who}: answer before the request was sent: {req:x?}"));
            let err = b.get_bits("sys_rsp_o", 128, 1) == 1;
            assert_eq!(
                err,
                fate != Fate::Good,
                "{who}: error of {req:x?} ({fate:?})"
            );
            if fate == Fate::Good {
                let data = get128(b, "sys_rsp_o", 0).to_le_bytes();
                assert_eq!(data[..bytes.len()], bytes[..], "{who}: {req:x?}");
            } else {
                self.failed += 1;
            }
            self.done += 1;
        }
        if b.get("sys_req_valid_i") == 0 || b.get("sys_req_ready_o") == 0 {
            return None;
        }
        let req = if self.from_msix {
            Self::message(b)
        } else {
            self.on_offer.take()?
        };
        self.from_msix = false;
        if req.op != WRITE {
            self.waiting.insert((req.client, req.tag), (req, None));
        }
        Some(req)
    }

    /// The link has seen the request.
    pub fn sent(&mut self, req: &SysReq, bytes: Vec<u8>, fate: Fate) {
        // A write has no answer, whatever its tag.
        if req.op != WRITE
            && let Some(w) = self.waiting.get_mut(&(req.client, req.tag))
        {
            w.1 = Some((bytes, fate));
        }
    }
}

struct BurstRead {
    addr: u64,
    len: usize,
    /// Bytes asked for so far, and what the link gave for them.
    asked: usize,
    bytes: Vec<u8>,
    failed: bool,
    got: Vec<Option<u8>>,
    /// Posted writes accepted when the burst was offered.
    writes: u64,
}

/// The burst ports.
#[derive(Default)]
pub struct BurstAgent {
    pub reads: VecDeque<(u64, usize)>,
    pub writes: VecDeque<(u64, Vec<u8>)>,
    read_offer: Option<(u64, u64)>,
    /// By burst tag.
    reading: BTreeMap<u64, BurstRead>,
    /// Tags in the order of their bursts.
    order: VecDeque<u64>,
    write_offer: bool,
    /// Bursts whose data still goes to the device: beats left, address, bytes.
    filling: VecDeque<(VecDeque<u128>, u64, Vec<u8>)>,
    data_offer: bool,
    /// Bytes of a completion that was cut short may come, and then the right ones.
    pub lenient: bool,
    pub done: u64,
    pub failed: u64,
}

impl BurstAgent {
    pub fn is_idle(&self) -> bool {
        self.reads.is_empty()
            && self.writes.is_empty()
            && self.reading.is_empty()
            && self.filling.is_empty()
            && !self.write_offer
    }

    pub fn drive(
        &mut self,
        b: &mut Block,
        rng: &mut TestRng,
        idle_percent: u32,
        accepted_writes: u64,
    ) {
        if self.read_offer.is_none() && !self.reads.is_empty() && !chance(rng, idle_percent) {
            let free: Vec<u64> = (0..16).filter(|t| !self.reading.contains_key(t)).collect();
            if !free.is_empty() {
                let tag = free[rng.random_range(0..free.len())];
                if let Some((addr, len)) = self.reads.pop_front() {
                    let read = BurstRead {
                        addr,
                        len,
                        asked: 0,
                        bytes: Vec::new(),
                        failed: false,
                        got: vec![None; len],
                        writes: accepted_writes,
                    };
                    self.reading.insert(tag, read);
                    self.order.push_back(tag);
                    self.read_offer = Some((tag, addr));
                }
            }
        }
        b.set("brd_valid_i", self.read_offer.is_some().into());
        if let Some((tag, addr)) = self.read_offer {
            put_burst(b, "brd_i", tag, self.reading[&tag].len, addr);
        }
        self.write_offer =
            !self.writes.is_empty() && (self.write_offer || !chance(rng, idle_percent));
        b.set("bwr_valid_i", self.write_offer.into());
        if self.write_offer {
            let (addr, bytes) = &self.writes[0];
            put_burst(b, "bwr_i", 0, bytes.len(), *addr);
        }
        self.data_offer =
            !self.filling.is_empty() && (self.data_offer || !chance(rng, idle_percent));
        b.set("bwr_data_valid_i", self.data_offer.into());
        if self.data_offer {
            set128(b, "bwr_data_i", 0, self.filling[0].0[0]);
        }
    }

    /// Before the clock edge: the burst write that was accepted in this cycle.
    pub fn sample(&mut self, b: &mut Block, who: &str) -> Option<(u64, Vec<u8>)> {
        if b.get("brd_rsp_valid_o") == 1 {
            self.answer(b, who);
        }
        if self.read_offer.is_some() && b.get("brd_ready_o") == 1 {
            self.read_offer = None;
        }
        let mut accepted = None;
        if self.data_offer && b.get("bwr_data_ready_o") == 1 {
            self.data_offer = false;
            self.filling[0].0.pop_front();
            if self.filling[0].0.is_empty() {
                accepted = self
                    .filling
                    .pop_front()
                    .map(|(_, addr, bytes)| (addr, bytes));
                self.done += 1;
            }
        }
        if self.write_offer && b.get("bwr_ready_o") == 1 {
            self.write_offer = false;
            if let Some((addr, bytes)) = self.writes.pop_front() {
                let first = addr & !15;
                let count = (addr + bytes.len() as u64 - first).div_ceil(16);
                let lane = |at: u64| {
                    at.checked_sub(addr)
                        .and_then(|i| bytes.get(i as usize))
                        .copied()
                        .unwrap_or(0xcc)
                };
                let beat = |n: u64| {
                    (0..16).fold(0, |v, i| {
                        v | u128::from(lane(first + 16 * n + i)) << (8 * i)
                    })
                };
                self.filling
                    .push_back(((0..count).map(beat).collect(), addr, bytes));
            }
        }
        accepted
    }

    fn answer(&mut self, b: &mut Block, who: &str) {
        let (tag, err, last) = (
            b.get_bits("brd_rsp_o", 151, 8),
            b.get_bits("brd_rsp_o", 150, 1),
            b.get_bits("brd_rsp_o", 149, 1),
        );
        let (beat, strb) = (
            b.get_bits("brd_rsp_o", 144, 5),
            b.get_bits("brd_rsp_o", 128, 16),
        );
        let data = get128(b, "brd_rsp_o", 0).to_le_bytes();
        let read = self
            .reading
            .get_mut(&tag)
            .unwrap_or_else(|| panic!("{who}: burst data for nobody: {tag}"));
        for lane in (0..16u64).filter(|l| strb >> l & 1 == 1) {
            let at = ((read.addr & !15) + 16 * beat + lane).wrapping_sub(read.addr) as usize;
            assert!(
                at < read.len,
                "{who}: tag {tag} beat {beat} strb {strb:04x} err {err} last {last} is outside of {:x} + {}, asked {}",
                read.addr,
                read.len,
                read.asked
            );
            assert!(
                read.got[at].is_none() || self.lenient,
                "{who}: byte {at} came twice"
            );
            read.got[at] = Some(data[lane as usize]);
        }
        // A beat of a poisoned completion that is cut short brings nothing, and does not end the burst.
        assert!(
            err == 0 || read.failed || (self.lenient && last == 0 && strb == 0),
            "{who}: error without cause"
        );
        if last == 0 {
            return;
        }
        assert_eq!(
            read.asked, read.len,
            "{who}: ended before all was asked for"
        );
        assert_eq!(
            err == 1,
            read.failed,
            "{who}: the last beat tells of an error"
        );
        if read.failed {
            self.failed += 1;
        } else {
            let got: Option<Vec<u8>> = read.got.iter().copied().collect();
            assert!(
                got.as_ref() == Some(&read.bytes),
                "{who}: burst {:x} + {}: {got:02x?} for {:02x?}",
                read.addr,
                read.len,
                read.bytes
            );
        }
        self.done += 1;
        self.reading.remove(&tag);
    }

    /// A read request arrived at the link that is no single beat: it must be the next piece of the next burst.
    pub fn sent(&mut self, tlp: &Tlp, bytes: Vec<u8>, fate: Fate, writes_arrived: u64, who: &str) {
        let tag = *self
            .order
            .front()
            .unwrap_or_else(|| panic!("{who}: a read that nobody asked for"));
        let read = self
            .reading
            .get_mut(&tag)
            .unwrap_or_else(|| panic!("{who}: burst {tag} ended before it was sent"));
        assert!(
            writes_arrived >= read.writes,
            "{who}: a burst read passed an earlier write"
        );
        let (addr, len) = tlp.span();
        assert_eq!(
            addr,
            read.addr + read.asked as u64,
            "{who}: next piece of a burst"
        );
        let (fbe, lbe, start, dws) = enables(addr, len);
        assert_eq!(
            (tlp.first_be(), tlp.last_be(), tlp.addr(), tlp.dws()),
            (fbe, lbe, start, dws),
            "{who}: byte enables"
        );
        read.asked += len;
        assert!(read.asked <= read.len, "{who}: more than the burst");
        read.bytes.extend(bytes);
        read.failed |= fate != Fate::Good;
        if read.asked == read.len {
            self.order.pop_front();
        }
    }
}

fn put_burst(b: &mut Block, port: &str, tag: u64, len: usize, addr: u64) {
    b.set_bits(port, 0, 8, tag);
    b.set_bits(port, 8, 10, len as u64);
    b.set_bits(port, 18, 56, addr);
}

/// An address and a length for a burst of `1..=512` bytes and at most 32 beats that does not cross 4 KiB. No piece of it
/// looks like a read of the single-beat port.
pub fn burst_span(rng: &mut TestRng) -> (u64, usize) {
    loop {
        let len = if chance(rng, 30) {
            512
        } else {
            rng.random_range(1..=512)
        };
        let mut addr = address(rng);
        match rng.random_range(0..3) {
            0 => addr &= !511,
            1 => addr = (addr & !4095) + 4096 - len as u64,
            _ => {}
        }
        let end = addr + len as u64;
        let single = |size: u64| {
            (addr / size * size..end).step_by(size as usize).any(|p| {
                let (from, to) = (addr.max(p), end.min(p + size));
                to - from == 16 && from % 16 == 0
            })
        };
        let beats = end.div_ceil(16) - addr / 16;
        let alone = len == 16 && addr.is_multiple_of(16);
        if addr % 4096 + len as u64 <= 4096
            && beats <= 32
            && !alone
            && ![128, 256, 512].into_iter().any(single)
        {
            return (addr, len);
        }
    }
}
