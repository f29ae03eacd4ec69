//! The memory behind a `mem_req_t`/`mem_rsp_t` port, with random latency, order and back-pressure.

use hmmu_vsim::Block;
use rand::Rng;

use super::layout::{mem_req, mem_rsp};
use super::memory::Memory;
use super::{TestRng, chance};

/// What a memory port was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// A write, else a read.
    pub write: bool,
    /// Byte address.
    pub addr: u64,
    /// Byte lanes of a write.
    pub strb: u16,
    /// Data of a write.
    pub data: [u8; 16],
    /// Tag.
    pub tag: u8,
}

struct Pending {
    due: u64,
    tag: u8,
    err: bool,
    data: [u8; 16],
}

/// Names of a port's signals.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    pub req_valid: &'static str,
    pub req_ready: &'static str,
    pub req: &'static str,
    pub rsp_valid: &'static str,
    pub rsp: &'static str,
}

/// The usual names.
pub const MEM: Names = Names {
    req_valid: "mem_req_valid_o",
    req_ready: "mem_req_ready_i",
    req: "mem_req_o",
    rsp_valid: "mem_rsp_valid_i",
    rsp: "mem_rsp_i",
};

/// A memory behind a port. Each cycle: `drive`, evaluate the block, `sample`, clock.
pub struct MemPort {
    names: Names,
    pending: Vec<Pending>,
    waiting: Option<Access>,
    cycle: u64,
    /// Percent of cycles in which a request is taken.
    pub ready: u32,
    /// Cycles from a read's acceptance to its response: from, to (at least 1).
    pub latency: (u64, u64),
    /// Responses come in the order of their requests.
    pub in_order: bool,
    /// Percent of reads that end in an error.
    pub errors: u32,
    /// Reads that have ended in one.
    pub failed: u64,
}

impl MemPort {
    /// A port that takes requests at once and answers after one cycle.
    pub fn new(names: Names) -> Self {
        Self {
            names,
            pending: Vec::new(),
            waiting: None,
            cycle: 0,
            ready: 100,
            latency: (1, 1),
            in_order: false,
            errors: 0,
            failed: 0,
        }
    }

    /// Tags of the reads under way.
    pub fn tags(&self) -> impl Iterator<Item = u8> {
        self.pending.iter().map(|p| p.tag)
    }

    /// Sets the inputs of this cycle.
    pub fn drive(&mut self, block: &mut Block, rng: &mut TestRng) {
        self.cycle += 1;
        block.set(self.names.req_ready, u64::from(chance(rng, self.ready)));
        let due: Vec<usize> = (0..self.pending.len())
            .filter(|&i| self.pending[i].due <= self.cycle && (!self.in_order || i == 0))
            .collect();
        block.set(self.names.rsp_valid, u64::from(!due.is_empty()));
        if !due.is_empty() {
            let rsp = self.pending.remove(due[rng.random_range(0..due.len())]);
            self.failed += u64::from(rsp.err);
            let words = if rsp.err { [0xaa; 16] } else { rsp.data };
            mem_rsp::TAG.set(block, self.names.rsp, u64::from(rsp.tag));
            mem_rsp::ERR.set(block, self.names.rsp, u64::from(rsp.err));
            mem_rsp::DATA_LO.set(block, self.names.rsp, word(&words[..8]));
            mem_rsp::DATA_HI.set(block, self.names.rsp, word(&words[8..]));
        }
    }

    /// Takes the request of this cycle, if there is one, and carries it out.
    pub fn sample(
        &mut self,
        block: &mut Block,
        memory: &mut Memory,
        rng: &mut TestRng,
    ) -> Option<Access> {
        let names = self.names;
        if block.get(names.req_valid) == 0 {
            assert!(
                self.waiting.is_none(),
                "{} fell while a request waited",
                names.req_valid
            );
            return None;
        }
        let request = read_request(block, names.req);
        if let Some(before) = &self.waiting {
            assert_eq!(*before, request, "{} changed while it waited", names.req);
        }
        self.waiting = None;
        if block.get(names.req_ready) == 0 {
            self.waiting = Some(request);
            return None;
        }
        let base = request.addr & !15;
        if request.write {
            for (lane, byte) in request.data.iter().enumerate() {
                if request.strb >> lane & 1 == 1 {
                    memory.write(base + lane as u64, &[*byte]);
                }
            }
        } else {
            assert!(
                self.pending.iter().all(|p| p.tag != request.tag),
                "tag {} is used twice at once",
                request.tag
            );
            let mut data = [0; 16];
            data.copy_from_slice(&memory.read(base, 16));
            let due = self.cycle + rng.random_range(self.latency.0..=self.latency.1);
            self.pending.push(Pending {
                due,
                tag: request.tag,
                err: chance(rng, self.errors),
                data,
            });
        }
        Some(request)
    }

    /// Nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.waiting.is_none()
    }
}

fn read_request(block: &mut Block, port: &str) -> Access {
    let op = mem_req::OP.get(block, port);
    assert!(op < 2, "the queue side makes no compare-and-swap");
    let mut data = [0; 16];
    data[..8].copy_from_slice(&mem_req::DATA_LO.get(block, port).to_le_bytes());
    data[8..].copy_from_slice(&mem_req::DATA_HI.get(block, port).to_le_bytes());
    // Void for a read, and not even stable.
    let strb = if op == 1 {
        mem_req::STRB.get(block, port) as u16
    } else {
        0
    };
    if op == 0 {
        data = [0; 16];
    }
    Access {
        write: op == 1,
        addr: mem_req::ADDR.get(block, port),
        strb,
        data,
        tag: mem_req::TAG.get(block, port) as u8,
    }
}

/// A little-endian word of eight bytes.
pub fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u64::from(byte))
}
