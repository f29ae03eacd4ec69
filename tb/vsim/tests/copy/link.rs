//! The link side of the burst ports: split, reordered completions and random back-pressure.

use std::collections::VecDeque;

use hmmu_vsim::Block;
use rand::Rng;

use super::space::Space;
use crate::queue::layout::{burst, burst_rsp};
use crate::queue::mem_port::word;
use crate::queue::{TestRng, chance};

struct Read {
    tag: u64,
    addr: u64,
    len: u64,
    due: u64,
    /// Bytes delivered.
    done: u64,
    fails: bool,
}

struct Write {
    addr: u64,
    len: u64,
    data: Vec<u8>,
}

/// Link model. Each cycle: `drive`, evaluate, `sample`, clock.
pub struct Link {
    reads: Vec<Read>,
    /// The write whose data comes, and one behind it.
    writes: VecDeque<Write>,
    waiting_read: Option<(u64, u64, u64)>,
    waiting_write: Option<(u64, u64, u64)>,
    waiting_data: Option<(u64, u64)>,
    cycle: u64,
    /// Percent of cycles in which a request or a data beat is taken.
    pub ready: u32,
    /// Percent of cycles in which a data beat comes, if one can.
    pub pace: u32,
    /// Cycles to the first data of a read: from, to.
    pub latency: (u64, u64),
    /// Completions overtake each other.
    pub reorder: bool,
    /// Percent of beats that come in two parts.
    pub split: u32,
    /// Percent of reads that fail somewhere on the way.
    pub errors: u32,
    /// Most bytes of reads seen in flight.
    pub most_bytes: u64,
    /// Reads taken.
    pub reads_taken: u64,
    /// Start addresses of reads that were made to fail.
    pub failed: Vec<u64>,
}

impl Link {
    /// A link that answers at once.
    pub fn new() -> Self {
        Self {
            reads: Vec::new(),
            writes: VecDeque::new(),
            waiting_read: None,
            waiting_write: None,
            waiting_data: None,
            cycle: 0,
            ready: 100,
            pace: 100,
            latency: (1, 1),
            reorder: false,
            split: 0,
            errors: 0,
            most_bytes: 0,
            reads_taken: 0,
            failed: Vec::new(),
        }
    }

    /// Sets the inputs of this cycle.
    pub fn drive(&mut self, block: &mut Block, space: &Space, rng: &mut TestRng, seed: u64) {
        self.cycle += 1;
        block.set("brd_ready_i", u64::from(chance(rng, self.ready)));
        block.set(
            "bwr_ready_i",
            u64::from(self.writes.len() < 2 && chance(rng, self.ready)),
        );
        block.set(
            "bwr_data_ready_i",
            u64::from(!self.writes.is_empty() && chance(rng, self.ready)),
        );
        let due: Vec<usize> = (0..self.reads.len())
            .filter(|&i| self.reads[i].due <= self.cycle && (self.reorder || i == 0))
            .collect();
        let come = !due.is_empty() && chance(rng, self.pace);
        block.set("brd_rsp_valid_i", u64::from(come));
        if come {
            let at = due[rng.random_range(0..due.len())];
            self.deliver(at, block, space, rng, seed);
        }
    }

    fn deliver(
        &mut self,
        at: usize,
        block: &mut Block,
        space: &Space,
        rng: &mut TestRng,
        seed: u64,
    ) {
        let split = chance(rng, self.split);
        let read = &mut self.reads[at];
        let from = read.addr + read.done;
        let lane = from % 16;
        let mut bytes = (16 - lane).min(read.len - read.done);
        if bytes > 4 && split {
            bytes = 4;
        }
        space.check(from, false, seed);
        let mut data = [0x55; 16];
        let content = space.memory.read(from, bytes as usize);
        data[lane as usize..(lane + bytes) as usize].copy_from_slice(&content);
        let beat = (from / 16) - (read.addr / 16);
        read.done += bytes;
        let fails = read.fails && (read.done == read.len || chance(rng, 20));
        let last = fails || read.done == read.len;
        let port = "brd_rsp_i";
        burst_rsp::TAG.set(block, port, read.tag);
        burst_rsp::ERR.set(block, port, u64::from(fails));
        burst_rsp::LAST.set(block, port, u64::from(last));
        burst_rsp::BEAT.set(block, port, beat);
        burst_rsp::STRB.set(block, port, ((1 << bytes) - 1) << lane);
        burst_rsp::DATA_LO.set(block, port, word(&data[..8]));
        burst_rsp::DATA_HI.set(block, port, word(&data[8..]));
        if last {
            self.reads.remove(at);
        }
    }

    /// Takes what the engine shows in this cycle.
    pub fn sample(&mut self, block: &mut Block, space: &mut Space, rng: &mut TestRng, seed: u64) {
        self.sample_read(block, space, rng, seed);
        self.sample_write(block, space, seed);
    }

    fn sample_read(&mut self, block: &mut Block, space: &Space, rng: &mut TestRng, seed: u64) {
        let shown = (block.get("brd_valid_o") == 1).then(|| self.shown(block, "brd_o"));
        if let Some(before) = self.waiting_read.take() {
            assert_eq!(
                Some(before),
                shown,
                "seed {seed}: a read changed while it waited"
            );
        }
        let Some((addr, len, tag)) = shown else {
            return;
        };
        if block.get("brd_ready_i") == 0 {
            self.waiting_read = shown;
            return;
        }
        self.check_burst(addr, len, seed);
        space.check(addr, false, seed);
        assert!(
            self.reads.iter().all(|r| r.tag != tag),
            "seed {seed}: tag {tag} is used twice at once"
        );
        let due = self.cycle + rng.random_range(self.latency.0..=self.latency.1);
        let fails = chance(rng, self.errors);
        if fails {
            self.failed.push(addr);
        }
        self.reads.push(Read {
            tag,
            addr,
            len,
            due,
            done: 0,
            fails,
        });
        self.reads_taken += 1;
        let bytes = self.reads.iter().map(|read| read.len).sum();
        self.most_bytes = self.most_bytes.max(bytes);
    }

    fn sample_write(&mut self, block: &mut Block, space: &mut Space, seed: u64) {
        self.sample_data(block, space, seed);
        let shown = (block.get("bwr_valid_o") == 1).then(|| self.shown(block, "bwr_o"));
        if let Some(before) = self.waiting_write.take() {
            assert_eq!(
                Some(before),
                shown,
                "seed {seed}: a write changed while it waited"
            );
        }
        let Some((addr, len, _)) = shown else { return };
        if block.get("bwr_ready_i") == 0 {
            self.waiting_write = shown;
            return;
        }
        self.check_burst(addr, len, seed);
        space.check(addr, true, seed);
        self.writes.push_back(Write {
            addr,
            len,
            data: Vec::new(),
        });
    }

    fn sample_data(&mut self, block: &mut Block, space: &mut Space, seed: u64) {
        let beat = (block.get("bwr_data_valid_o") == 1).then(|| {
            (
                block.get_bits("bwr_data_o", 0, 64),
                block.get_bits("bwr_data_o", 64, 64),
            )
        });
        if let Some(before) = self.waiting_data.take() {
            assert_eq!(
                Some(before),
                beat,
                "seed {seed}: data changed while it waited"
            );
        }
        let Some((low, high)) = beat else { return };
        if block.get("bwr_data_ready_i") == 0 {
            self.waiting_data = beat;
            return;
        }
        let write = self.writes.front_mut().expect("data follows its burst");
        write.data.extend(low.to_le_bytes());
        write.data.extend(high.to_le_bytes());
        let offset = write.addr % 16;
        if write.data.len() as u64 >= offset + write.len {
            space.check(write.addr, true, seed);
            space.memory.write(
                write.addr,
                &write.data[offset as usize..(offset + write.len) as usize],
            );
            self.writes.pop_front();
        }
    }

    fn shown(&self, block: &mut Block, port: &str) -> (u64, u64, u64) {
        (
            burst::ADDR.get(block, port),
            burst::LEN.get(block, port),
            burst::TAG.get(block, port),
        )
    }

    fn check_burst(&self, addr: u64, len: u64, seed: u64) {
        assert!(
            len > 0 && (addr + len).div_ceil(16) - addr / 16 <= 32,
            "seed {seed}: burst of {len} bytes at {addr:#x}"
        );
        assert_eq!(
            addr / 4096,
            (addr + len - 1) / 4096,
            "seed {seed}: burst at {addr:#x} crosses a page"
        );
        assert_eq!(addr >> 55, 0, "seed {seed}: VRAM address on the link");
    }

    /// Nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.reads.is_empty() && self.writes.is_empty()
    }
}
