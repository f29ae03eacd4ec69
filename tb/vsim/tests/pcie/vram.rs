//! Device memory behind the BAR2 port: in order, with random acceptance and latency.

use std::collections::VecDeque;

use hmmu_vsim::Block;
use rand::Rng;

use super::{Bytes, TestRng, chance, get128, set128};

/// Bit 55 of an address: VRAM.
pub const VRAM: u64 = 1 << 55;

pub struct Vram {
    pub mem: Bytes,
    pub stall_percent: u32,
    pub latency: u64,
    answers: VecDeque<(u64, u128)>,
}

impl Vram {
    pub fn new() -> Self {
        Self {
            mem: Bytes::default(),
            stall_percent: 0,
            latency: 1,
            answers: VecDeque::new(),
        }
    }

    pub fn drive(&mut self, b: &mut Block, now: u64, rng: &mut TestRng) {
        b.set(
            "bar2_req_ready_i",
            (!chance(rng, self.stall_percent)).into(),
        );
        let due = self.answers.front().is_some_and(|a| a.0 <= now);
        b.set("bar2_rsp_valid_i", due.into());
        if let Some(&(_, data)) = self.answers.front().filter(|_| due) {
            set128(b, "bar2_rsp_i", 0, data);
            b.set_bits("bar2_rsp_i", 128, 9, 0);
            self.answers.pop_front();
        }
    }

    /// Before the clock edge.
    pub fn sample(&mut self, b: &mut Block, now: u64, rng: &mut TestRng) {
        if b.get("bar2_req_valid_o") == 0 || b.get("bar2_req_ready_i") == 0 {
            return;
        }
        let op = b.get_bits("bar2_req_o", 209, 2);
        let addr = b.get_bits("bar2_req_o", 152, 56);
        assert_eq!(addr >> 40, VRAM >> 40, "BAR2 goes to VRAM: {addr:x}");
        let addr = addr & (VRAM - 1);
        if op == 1 {
            let strb = b.get_bits("bar2_req_o", 136, 16) as u16;
            self.mem.write_lanes(addr, strb, get128(b, "bar2_req_o", 8));
        } else {
            assert_eq!(op, 0, "BAR2 reads and writes");
            self.answers.push_back((
                now + rng.random_range(1..=self.latency),
                self.mem.read128(addr & !15),
            ));
        }
    }
}
