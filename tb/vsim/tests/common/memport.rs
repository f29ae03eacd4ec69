//! The memory behind a single-beat port: random acceptance, latency and order of answers.
#![allow(dead_code)]

use hmmu_vsim::Block;
use rand::Rng;
use rand_pcg::Pcg64Mcg;

use crate::tables::Memory;
use crate::xlat::{put, take};

/// How a memory behaves.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Cycles from acceptance to response, least and most.
    pub latency: (u64, u64),
    /// Chance of `ready`.
    pub ready: f64,
}

impl Timing {
    /// Always ready, always the same latency.
    pub fn fixed(latency: u64) -> Self {
        Self {
            latency: (latency, latency),
            ready: 1.0,
        }
    }
}

struct Operation {
    tag: u64,
    cas: bool,
    addr: u64,
    expected: u64,
    new: u64,
    /// Cycle in which memory is read (and swapped).
    act_at: u64,
    answer_at: u64,
    result: Option<(u64, u64, bool)>,
    accepted: u64,
    valid_at: u64,
}

/// A port whose names start with `mem_` (`mem_req_valid_o` ...).
pub struct MemPort {
    pub timing: Timing,
    pending: Vec<Operation>,
    answering: Option<usize>,
    cycle: u64,
    /// Entries swapped so far: address, old and new value.
    pub swapped: Vec<(u64, u64, u64)>,
    /// Reads and swaps accepted so far.
    pub accepted: u64,
    /// Longest time from a request's `valid` to its response, in cycles.
    pub longest: u64,
    valid_since: Option<u64>,
}

impl MemPort {
    /// A port with nothing in flight.
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            pending: Vec::new(),
            answering: None,
            cycle: 0,
            swapped: Vec::new(),
            accepted: 0,
            longest: 0,
            valid_since: None,
        }
    }

    /// Addresses of the operations in flight that were accepted before `cycle`.
    pub fn in_flight_before(&self, cycle: u64) -> Vec<u64> {
        self.pending
            .iter()
            .filter(|o| o.accepted < cycle)
            .map(|o| o.addr)
            .collect()
    }

    /// Sets the inputs of this cycle, acting on the memory for what is due.
    pub fn drive(&mut self, b: &mut Block, mem: &mut Memory, rng: &mut Pcg64Mcg) {
        let now = self.cycle;
        for op in self
            .pending
            .iter_mut()
            .filter(|o| o.result.is_none() && o.act_at <= now)
        {
            let base = op.addr & !15;
            let err = mem.broken.contains(&op.addr);
            let (mut low, high) = (mem.read(base), mem.read(base + 8));
            if op.cas {
                low = mem.read(op.addr);
                if !err && low == op.expected {
                    mem.write(op.addr, op.new);
                    self.swapped.push((op.addr, low, op.new));
                }
            }
            op.result = Some((low, high, err));
        }
        b.set(
            "mem_req_ready_i",
            u64::from(rng.random_bool(self.timing.ready)),
        );
        let due: Vec<usize> = (0..self.pending.len())
            .filter(|&i| self.pending[i].answer_at <= now)
            .collect();
        self.answering = (!due.is_empty()).then(|| due[rng.random_range(0..due.len())]);
        b.set("mem_rsp_valid_i", u64::from(self.answering.is_some()));
        if let Some(i) = self.answering {
            let op = &self.pending[i];
            let (low, high, err) = op.result.unwrap_or_default();
            put(
                b,
                "mem_rsp_i",
                &[(8, op.tag), (1, err.into()), (64, high), (64, low)],
            );
        }
    }

    /// Takes what the settled cycle brings. Call before the clock edge.
    pub fn sample(&mut self, b: &mut Block, rng: &mut Pcg64Mcg) {
        if let Some(i) = self.answering.take() {
            let op = self.pending.remove(i);
            self.longest = self.longest.max(self.cycle - op.valid_at);
        }
        let valid = b.get("mem_req_valid_o") == 1;
        if valid {
            self.valid_since.get_or_insert(self.cycle);
        }
        if valid && b.get("mem_req_ready_i") == 1 {
            let valid_at = self.valid_since.take().unwrap_or(self.cycle);
            let [op, cas32, addr, strb, high, low, tag] =
                take(b, "mem_req_o", [2, 1, 56, 16, 64, 64, 8]);
            assert!(op == 0 || op == 2, "the walker reads and swaps only");
            assert_eq!(cas32, 0);
            assert_eq!(addr % 8, 0, "an entry is 8 bytes");
            assert_eq!(strb, if addr & 8 == 8 { 0xff00 } else { 0x00ff });
            assert!(
                self.pending.iter().all(|o| o.tag != tag),
                "tag {tag} is in use"
            );
            let (least, most) = self.timing.latency;
            let answer_at = self.cycle + rng.random_range(least..=most);
            let act_at = rng.random_range(self.cycle + 1..=answer_at);
            let accepted = self.cycle;
            let cas = op == 2;
            self.accepted += 1;
            self.pending.push(Operation {
                tag,
                cas,
                addr,
                expected: low,
                new: high,
                act_at,
                answer_at,
                result: None,
                accepted,
                valid_at,
            });
        }
        self.cycle += 1;
    }
}
