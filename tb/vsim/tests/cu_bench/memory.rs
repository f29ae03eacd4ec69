//! Physical memory, and a memory port with random latency and back-pressure in front of it.

use std::collections::BTreeMap;

use hmmu_model::rv64::{AmoOp, Width};
use hmmu_vsim::Block;
use rand::Rng;
use rand_pcg::Pcg64;

use super::layout::{Field, req, rsp};

/// Pages by physical page number.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Memory {
    pub pages: BTreeMap<u64, Vec<u8>>,
}

impl Memory {
    /// Adds a page, or fills it with `byte`.
    pub fn page(&mut self, ppn: u64, byte: u8) {
        self.pages.insert(ppn, vec![byte; 4096]);
    }

    /// The bytes at `addr`, which may not cross a page; `None` where there is no memory.
    pub fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
        let at = (addr & 4095) as usize;
        self.pages.get(&(addr >> 12))?.get(at..at + len)
    }

    /// As [`Memory::bytes`], to be changed.
    pub fn bytes_mut(&mut self, addr: u64, len: usize) -> Option<&mut [u8]> {
        let at = (addr & 4095) as usize;
        self.pages.get_mut(&(addr >> 12))?.get_mut(at..at + len)
    }

    /// A little-endian value of `len` bytes.
    pub fn value(&self, addr: u64, len: usize) -> u64 {
        let mut raw = [0; 8];
        raw[..len].copy_from_slice(self.bytes(addr, len).expect("no memory here"));
        u64::from_le_bytes(raw)
    }

    /// Writes the low `len` bytes of `value`.
    pub fn set_value(&mut self, addr: u64, len: usize, value: u64) {
        self.bytes_mut(addr, len)
            .expect("no memory here")
            .copy_from_slice(&value.to_le_bytes()[..len]);
    }
}

/// How slow a port is.
#[derive(Clone, Copy, Debug)]
pub struct PortTiming {
    /// Cycles from acceptance to response, smallest and largest.
    pub latency: (u64, u64),
    /// Chance in 256 that the port is busy in a cycle.
    pub busy: u32,
    /// Chance in 4096 that a read or swap answers with an error.
    pub errors: u32,
}

impl PortTiming {
    /// Always ready, answers after `latency` cycles.
    pub fn fixed(latency: u64) -> Self {
        Self {
            latency: (latency, latency),
            busy: 0,
            errors: 0,
        }
    }
}

/// A request that the compute unit made.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub op: u64,
    pub half: bool,
    pub addr: u64,
    pub strb: u64,
    pub data: u128,
    pub tag: u64,
}

/// Names of a port's signals.
struct Names {
    req_valid: String,
    req_ready: String,
    req: String,
    rsp_valid: String,
    rsp: String,
}

/// One of the two memory ports.
pub struct MemPort {
    names: Names,
    timing: PortTiming,
    waiting: Vec<(u64, Request)>,
    stalled: Option<Request>,
    ready: bool,
    /// Requests accepted.
    pub accepted: u64,
}

impl MemPort {
    pub fn new(name: &str, timing: PortTiming) -> Self {
        Self {
            names: Names {
                req_valid: format!("{name}_req_valid_o"),
                req_ready: format!("{name}_req_ready_i"),
                req: format!("{name}_req_o"),
                rsp_valid: format!("{name}_rsp_valid_i"),
                rsp: format!("{name}_rsp_i"),
            },
            timing,
            waiting: Vec::new(),
            stalled: None,
            ready: false,
            accepted: 0,
        }
    }

    /// Does an accepted request to this physical page wait for its response?
    pub fn touches(&self, ppn: u64) -> bool {
        self.waiting.iter().any(|(_, r)| r.addr >> 12 == ppn)
    }

    /// Before the clock: sets ready and the response of this cycle.
    pub fn drive(&mut self, b: &mut Block, now: u64, memory: &mut Memory, rng: &mut Pcg64) {
        self.ready = rng.random_range(0..256) >= self.timing.busy;
        b.set(&self.names.req_ready, u64::from(self.ready));
        let due: Vec<usize> = (0..self.waiting.len())
            .filter(|&i| self.waiting[i].0 <= now)
            .collect();
        let valid = &self.names.rsp_valid;
        if due.is_empty() {
            b.set(valid, 0);
            return;
        }
        let (_, r) = self
            .waiting
            .swap_remove(due[rng.random_range(0..due.len())]);
        let error =
            rng.random_range(0..4096) < self.timing.errors || memory.bytes(r.addr, 1).is_none();
        let data = if error { u128::MAX } else { answer(memory, &r) };
        let port = &self.names.rsp;
        let put = |b: &mut Block, f: Field, v: u64| b.set_bits(port, f.0, f.1, v);
        put(b, rsp::DATA_LO, data as u64);
        put(b, rsp::DATA_HI, (data >> 64) as u64);
        put(b, rsp::ERR, u64::from(error));
        put(b, rsp::TAG, r.tag);
        b.set(valid, 1);
    }

    /// After evaluation: takes the request of this cycle, if there is one. Writes take effect now.
    pub fn accept(
        &mut self,
        b: &mut Block,
        now: u64,
        memory: &mut Memory,
        rng: &mut Pcg64,
    ) -> Option<Request> {
        if b.get(&self.names.req_valid) == 0 {
            assert!(
                self.stalled.is_none(),
                "{}: a request was withdrawn",
                self.names.req
            );
            return None;
        }
        let port = &self.names.req;
        let mut get = |f: Field| b.get_bits(port, f.0, f.1);
        let r = Request {
            op: get(req::OP),
            half: get(req::CAS32) == 1,
            addr: get(req::ADDR),
            strb: get(req::STRB),
            data: u128::from(get(req::DATA_LO)) | u128::from(get(req::DATA_HI)) << 64,
            tag: get(req::TAG),
        };
        if let Some(old) = &self.stalled {
            assert_eq!(
                (old.op, old.addr, old.data),
                (r.op, r.addr, r.data),
                "{}: a waiting request changed",
                self.names.req
            );
        }
        if !self.ready {
            self.stalled = Some(r);
            return None;
        }
        self.stalled = None;
        self.accepted += 1;
        if r.op == 1 {
            let line = memory
                .bytes_mut(r.addr & !15, 16)
                .expect("a write to no memory");
            for (lane, byte) in line
                .iter_mut()
                .enumerate()
                .filter(|(lane, _)| r.strb >> lane & 1 == 1)
            {
                *byte = (r.data >> (8 * lane)) as u8;
            }
        } else {
            let (low, high) = self.timing.latency;
            self.waiting.push((now + rng.random_range(low..=high), r));
        }
        Some(r)
    }
}

/// What a read, a swap or an AMO answers; what it changes is changed now.
fn answer(memory: &mut Memory, r: &Request) -> u128 {
    if r.op == 0 {
        let line = memory.bytes(r.addr & !15, 16).expect("checked");
        return u128::from_le_bytes(line.try_into().expect("16 bytes"));
    }
    let len = if r.half { 4 } else { 8 };
    assert_eq!(r.addr % len as u64, 0, "a misaligned swap");
    let mask = if r.half {
        u64::from(u32::MAX)
    } else {
        u64::MAX
    };
    let old = memory.value(r.addr, len);
    if r.op == 3 {
        let width = if r.half { Width::Word } else { Width::Double };
        let op = AmoOp::from_funct5(r.strb as u32).expect("an AMO's operation");
        let new = op.apply(width, old, r.data as u64);
        memory.set_value(r.addr, len, new);
    } else if old == r.data as u64 & mask {
        memory.set_value(r.addr, len, (r.data >> 64) as u64);
    }
    u128::from(old)
}
