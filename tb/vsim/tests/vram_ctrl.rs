//! `vram_ctrl` against a memory model: answers in the order of acceptance, each access atomic.

mod pcie;

use std::collections::VecDeque;

use hmmu_model::rv64::{AmoOp, Width};
use hmmu_vsim::Block;
use pcie::vram::VRAM;
use pcie::{Bytes, TestRng, chance, get128, rng, set128};
use rand::Rng;

const READ: u64 = 0;
const WRITE: u64 = 1;
const CAS: u64 = 2;
const RMW: u64 = 3;
const SIZE: u64 = 0x1000;

#[derive(Clone, Copy, Debug)]
struct Req {
    op: u64,
    cas32: bool,
    addr: u64,
    strb: u16,
    data: u128,
    tag: u64,
    client: u64,
}

struct Bench {
    b: Block,
    rng: TestRng,
    who: String,
    /// Memory outside, and memory as the accepted requests leave it.
    outside: Bytes,
    shadow: Bytes,
    offer: Option<Req>,
    /// Answers that must come: client, tag, error, data and how many low bytes of it count.
    expected: VecDeque<(u64, u64, bool, u128, usize)>,
    /// Read data on its way back.
    data: VecDeque<(u64, u128)>,
    waiting_out: Option<[u64; 6]>,
    latency: u64,
    stall: u32,
    cycle: u64,
    answers: u64,
    swaps: u64,
    errors: (u64, u64),
    counted: [u64; 2],
    seen: [u64; 2],
}

impl Bench {
    fn new(seed: u64, latency: u64, stall: u32) -> Self {
        let mut b = Block::new("vram_ctrl").expect("block vram_ctrl");
        b.set("vram_size_i", SIZE);
        b.reset();
        Self {
            b,
            rng: rng(seed),
            who: format!("seed {seed}"),
            outside: Bytes::default(),
            shadow: Bytes::default(),
            offer: None,
            expected: VecDeque::new(),
            data: VecDeque::new(),
            waiting_out: None,
            latency,
            stall,
            cycle: 0,
            answers: 0,
            swaps: 0,
            errors: (0, 0),
            counted: [0; 2],
            seen: [0; 2],
        }
    }

    fn random(&mut self) -> Req {
        let r = &mut self.rng;
        // Few lines, so that accesses meet a swap under way; some beyond the end, one by far.
        let mut addr = VRAM | r.random_range(0..64);
        if chance(r, 5) {
            addr = VRAM | [SIZE, SIZE + 0x40, 1 << 40][r.random_range(0..3)];
        } else if chance(r, 10) {
            addr = VRAM | (SIZE - 8);
        }
        let op = r.random_range(0..4);
        let cas32 = op >= CAS && chance(r, 50);
        if op >= CAS {
            addr &= if cas32 { !3 } else { !7 };
        }
        // Half of the swaps succeed.
        let size = if cas32 { 4 } else { 8 };
        let mut data: u128 = r.random();
        if op == CAS && chance(r, 50) {
            let low =
                (self.shadow.read128(addr & (VRAM - 1)) as u64) & (u64::MAX >> (64 - 8 * size));
            data = data >> 64 << 64 | u128::from(low);
        }
        let strb = if op == RMW {
            const OPS: [u16; 9] = [0, 1, 4, 8, 12, 16, 20, 24, 28];
            OPS[r.random_range(0..OPS.len())]
        } else {
            r.random()
        };
        Req {
            op,
            cas32,
            addr,
            strb,
            data,
            tag: r.random_range(0..256),
            client: r.random_range(0..10),
        }
    }

    fn step(&mut self, feed: bool) {
        if self.offer.is_none() && feed && !chance(&mut self.rng, self.stall / 2) {
            self.offer = Some(self.random());
        }
        let b = &mut self.b;
        b.set("req_valid_i", self.offer.is_some().into());
        if let Some(r) = self.offer {
            b.set_bits("req_i", 0, 8, r.tag);
            set128(b, "req_i", 8, r.data);
            b.set_bits("req_i", 136, 16, r.strb.into());
            b.set_bits("req_i", 152, 56, r.addr);
            b.set_bits("req_i", 208, 1, r.cas32.into());
            b.set_bits("req_i", 209, 2, r.op);
            b.set("req_client_i", r.client);
        }
        b.set("rsp_ready_i", (!chance(&mut self.rng, self.stall)).into());
        b.set(
            "vram_req_ready_i",
            (!chance(&mut self.rng, self.stall)).into(),
        );
        let due = self.data.front().copied().filter(|d| d.0 <= self.cycle);
        b.set("vram_rsp_valid_i", due.is_some().into());
        if let Some((_, data)) = due {
            set128(b, "vram_rsp_rdata_i", 0, data);
        }
        b.eval();
        self.sample();
        self.b.clock();
        self.cycle += 1;
    }

    fn sample(&mut self) {
        let who = format!("{}, cycle {}", self.who, self.cycle);
        if self.b.get("rsp_valid_o") == 1 && self.b.get("rsp_ready_i") == 1 {
            let (client, tag, err, data, bytes) = self
                .expected
                .pop_front()
                .unwrap_or_else(|| panic!("{who}: an answer to nobody"));
            assert_eq!(
                (self.b.get("rsp_client_o"), self.b.get_bits("rsp_o", 129, 8)),
                (client, tag),
                "{who}: answers keep the order"
            );
            assert_eq!(self.b.get_bits("rsp_o", 128, 1) == 1, err, "{who}: error");
            let got = get128(&mut self.b, "rsp_o", 0).to_le_bytes();
            assert!(
                err || got[..bytes] == data.to_le_bytes()[..bytes],
                "{who}: data"
            );
            self.answers += 1;
        }
        if self.b.get("vram_rsp_valid_i") == 1 && self.b.get("vram_rsp_ready_o") == 1 {
            self.data.pop_front();
        }
        self.sample_outside(&who);
        self.counted[0] += self.b.get("cnt_vram_reads_o");
        self.counted[1] += self.b.get("cnt_vram_writes_o");
        self.errors.0 += self.b.get("err_o");
        if self.offer.is_some() && self.b.get("req_ready_o") == 1 {
            self.accept();
        }
    }

    fn sample_outside(&mut self, who: &str) {
        if self.b.get("vram_req_valid_o") == 0 {
            assert!(self.waiting_out.is_none(), "{who}: a request was withdrawn");
            return;
        }
        let write = self.b.get("vram_req_write_o");
        let (addr, strb) = (
            self.b.get("vram_req_addr_o"),
            self.b.get("vram_req_wstrb_o"),
        );
        assert!(addr % 16 == 0 && addr < SIZE, "{who}: address {addr:x}");
        if self.b.get("vram_req_ready_i") == 0 {
            return;
        }
        self.seen[write as usize] += 1;
        if write == 1 {
            let data = get128(&mut self.b, "vram_req_wdata_o", 0);
            self.outside.write_lanes(addr, strb as u16, data);
        } else {
            let due = self.cycle + self.rng.random_range(1..=self.latency);
            self.data.push_back((due, self.outside.read128(addr)));
        }
    }

    fn accept(&mut self) {
        let Some(r) = self.offer.take() else { return };
        let at = r.addr & (VRAM - 1);
        let err = at >= SIZE;
        self.errors.1 += u64::from(err);
        match r.op {
            WRITE if err => {}
            WRITE => self.shadow.write_lanes(at, r.strb, r.data),
            READ => {
                self.expected
                    .push_back((r.client, r.tag, err, self.shadow.read128(at & !15), 16))
            }
            _ if err => self.expected.push_back((r.client, r.tag, true, 0, 8)),
            RMW => {
                let (size, width) = if r.cas32 {
                    (4, Width::Word)
                } else {
                    (8, Width::Double)
                };
                let op = AmoOp::from_funct5(r.strb.into()).expect("an AMO");
                let low = self.shadow.read128(at & !15) >> (8 * (at & 15));
                let old = width.truncate(low as u64);
                let new = op.apply(width, old, r.data as u64);
                assert_eq!(self.shadow.cas(at, size, old, new), old);
                self.swaps += 1;
                self.expected
                    .push_back((r.client, r.tag, false, old.into(), 8));
            }
            _ => {
                let size = if r.cas32 { 4 } else { 8 };
                let mask = u64::MAX >> (64 - 8 * size);
                let (old_expected, new) = (r.data as u64 & mask, (r.data >> 64) as u64 & mask);
                let old = self.shadow.cas(at, size, old_expected, new);
                self.swaps += u64::from(old == old_expected);
                self.expected
                    .push_back((r.client, r.tag, false, old.into(), 8));
            }
        }
    }

    fn finish(&mut self) {
        let mut left = 20_000;
        while !(self.expected.is_empty() && self.offer.is_none()) {
            self.step(false);
            left -= 1;
            assert!(left > 0, "{}: it does not come to an end", self.who);
        }
        for _ in 0..200 {
            self.step(false);
        }
        for at in 0..SIZE {
            assert_eq!(
                self.outside.get(at),
                self.shadow.get(at),
                "{}: byte {at:x}",
                self.who
            );
        }
        assert_eq!(self.errors.0, self.errors.1, "{}: error pulses", self.who);
        assert_eq!(self.counted, self.seen, "{}: counters", self.who);
    }
}

#[test]
fn accesses_match_the_model() {
    let (mut answers, mut swaps, mut errors) = (0, 0, 0);
    for seed in 0..30 {
        let mut t = Bench::new(
            seed,
            [1, 5, 60][seed as usize % 3],
            [0, 30, 70][seed as usize / 3 % 3],
        );
        for _ in 0..3000 {
            t.step(true);
        }
        t.finish();
        answers += t.answers;
        swaps += t.swaps;
        errors += t.errors.0;
    }
    assert!(
        answers > 5000 && swaps > 300 && errors > 100,
        "{answers} answers, {swaps} swaps, {errors} errors"
    );
}

/// Reads keep the memory busy: one a cycle with 20 cycles of latency, also while a swap is under way.
#[test]
fn a_swap_holds_up_its_own_line_only() {
    let mut t = Bench::new(7, 1, 0);
    t.latency = 1;
    let read = |addr: u64, tag| Req {
        op: READ,
        cas32: false,
        addr: VRAM | addr,
        strb: 0,
        data: 0,
        tag,
        client: 1,
    };
    let swap = Req {
        op: CAS,
        cas32: false,
        addr: VRAM | 0x20,
        strb: 0,
        data: 0,
        tag: 200,
        client: 2,
    };
    t.offer = Some(swap);
    t.step(false);
    assert!(t.offer.is_none(), "the swap is taken at once");
    // Its read data stays away; a neighbour's read is accepted, one of its own line is not.
    for d in &mut t.data {
        d.0 = 50;
    }
    t.offer = Some(read(0x30, 1));
    t.step(false);
    assert!(t.offer.is_none(), "another line goes on");
    t.offer = Some(read(0x28, 2));
    for _ in 0..20 {
        t.step(false);
    }
    assert!(t.offer.is_some(), "the swap's own line waits");
    t.finish();
    assert_eq!(t.answers, 3);
}

/// Swaps of different lines are under way together, as many as there is room for, and others go on beside them.
#[test]
fn swaps_of_other_lines_do_not_wait() {
    let mut t = Bench::new(9, 1, 0);
    let request = |op, line: u64, tag| Req {
        op,
        cas32: false,
        addr: VRAM | line * 16,
        strb: 0,
        data: 0,
        tag,
        client: 1,
    };
    for line in 0..4 {
        assert_eq!(t.b.get("swap_room_o"), 1);
        t.offer = Some(request(CAS, line, line));
        t.step(false);
        assert!(t.offer.is_none(), "swap {line} is taken at once");
        for d in &mut t.data {
            d.0 = 50;
        }
    }
    assert_eq!(t.b.get("swap_room_o"), 0);
    t.offer = Some(request(READ, 7, 7));
    t.step(false);
    assert!(t.offer.is_none(), "a read goes on");
    for d in &mut t.data {
        d.0 = 50;
    }
    t.offer = Some(request(CAS, 5, 5));
    for _ in 0..20 {
        t.step(false);
    }
    assert!(t.offer.is_some(), "the fifth swap waits");
    t.finish();
    assert_eq!(t.answers, 6);
}

/// Without stalls a read is accepted in every cycle.
#[test]
fn a_read_goes_every_cycle() {
    let mut t = Bench::new(8, 20, 0);
    for n in 0..400 {
        t.offer = Some(Req {
            op: READ,
            cas32: false,
            addr: VRAM | (n % 64 * 16),
            strb: 0,
            data: 0,
            tag: n % 256,
            client: 0,
        });
        t.step(false);
        assert!(t.offer.is_none(), "cycle {n}");
    }
    t.finish();
    assert_eq!(t.answers, 400);
}
