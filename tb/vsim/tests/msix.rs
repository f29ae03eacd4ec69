//! `msix`: table, masks, pending bits, and one message for each interrupt.

mod pcie;

use hmmu_regs as regs;
use hmmu_vsim::Block;
use pcie::{TestRng, chance, get128, rng};

const TABLE: u64 = 0x8000;
const PBA: u64 = 0x9000;

struct Bench {
    b: Block,
    rng: TestRng,
    stall: u32,
    /// Messages: address and data.
    sent: Vec<(u64, u32)>,
    held: Option<(u64, u128, u64)>,
    counted: usize,
}

impl Bench {
    fn new(seed: u64, stall: u32) -> Self {
        let mut b = Block::new("msix").expect("block msix");
        b.set("cfg_msix_en_i", 1);
        b.reset();
        Self {
            b,
            rng: rng(seed),
            stall,
            sent: Vec::new(),
            held: None,
            counted: 0,
        }
    }

    fn step(&mut self, irqs: u64) {
        self.b.set("irq_i", irqs);
        let ready = !chance(&mut self.rng, self.stall);
        self.b.set("req_ready_i", ready.into());
        self.b.eval();
        self.counted += self.b.get("cnt_interrupts_o") as usize;
        if self.b.get("req_valid_o") == 1 {
            let (addr, strb) = (
                self.b.get_bits("req_o", 152, 56),
                self.b.get_bits("req_o", 136, 16),
            );
            let data = get128(&mut self.b, "req_o", 8);
            if let Some(held) = self.held.take() {
                assert_eq!(
                    held,
                    (addr, data, strb),
                    "a message changed while it waited"
                );
            }
            assert_eq!(self.b.get_bits("req_o", 208, 3), 2, "a write");
            assert_eq!(strb, 0xf << (addr & 12), "four bytes at {addr:x}");
            if ready {
                self.sent.push((addr, (data >> (8 * (addr & 15))) as u32));
            } else {
                self.held = Some((addr, data, strb));
            }
        } else {
            assert!(self.held.is_none(), "a message was withdrawn");
        }
        self.b.clock();
        self.b.set("irq_i", 0);
    }

    fn write(&mut self, addr: u64, value: u64, strb: u64) {
        self.b.set("reg_valid_i", 1);
        self.b.set("reg_write_i", 1);
        self.b.set("reg_addr_i", addr);
        self.b.set("reg_wdata_i", value);
        self.b.set("reg_wstrb_i", strb);
        self.step(0);
        self.b.set("reg_valid_i", 0);
    }

    fn read(&mut self, addr: u64) -> u64 {
        self.b.set("reg_valid_i", 1);
        self.b.set("reg_write_i", 0);
        self.b.set("reg_addr_i", addr);
        self.step(0);
        self.b.set("reg_valid_i", 0);
        self.b.get("reg_rdata_o")
    }

    /// Vector v: address and data of its message, not masked.
    fn program(&mut self, v: u64) {
        self.write(TABLE + 16 * v, message_addr(v), 0xff);
        self.write(TABLE + 16 * v + 8, message_data(v), 0xff);
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            self.step(0);
        }
    }
}

fn message_addr(v: u64) -> u64 {
    0xfee0_0000 + 4 * v + (v & 1) * 0x10_0000_0000
}

fn message_data(v: u64) -> u64 {
    0xabcd_0000 + v
}

#[test]
fn the_table_reads_back_and_starts_masked() {
    assert_eq!(
        (regs::MSIX_TABLE, regs::MSIX_PBA),
        (TABLE, PBA),
        "the register source agrees"
    );
    let mut t = Bench::new(1, 0);
    for v in 0..8 {
        assert_eq!(
            t.read(TABLE + 16 * v + 8),
            1 << 32,
            "vector {v} starts masked"
        );
        t.write(TABLE + 16 * v, 0x1122_3344_5566_7788 + v, 0xff);
        t.write(TABLE + 16 * v + 8, 0xffff_fffe_0000_0000 | v, 0xff);
    }
    t.write(TABLE + 0x10, 0xff << 16, 0x04);
    for v in 0..8 {
        let expected = 0x1122_3344_5566_7788 + v;
        let expected = if v == 1 {
            expected | 0xff_0000
        } else {
            expected
        };
        assert_eq!(t.read(TABLE + 16 * v), expected, "address of vector {v}");
        assert_eq!(
            t.read(TABLE + 16 * v + 8),
            v,
            "data and control of vector {v}"
        );
    }
    assert_eq!(t.read(TABLE + 0x80), 0, "behind the table");
    assert_eq!(t.read(PBA), 0);
    assert!(t.sent.is_empty());
}

#[test]
fn a_masked_interrupt_waits_and_shows_as_pending() {
    let mut t = Bench::new(2, 30);
    for v in 0..8 {
        t.write(TABLE + 16 * v, message_addr(v), 0xff);
        t.write(TABLE + 16 * v + 8, message_data(v), 0x0f);
    }
    t.step(0b0010_1000);
    t.step(0b0000_1000);
    t.settle();
    assert!(t.sent.is_empty(), "masked");
    assert_eq!(t.read(PBA), 0b0010_1000);
    t.write(TABLE + 16 * 3 + 8, 0, 0x10);
    t.settle();
    assert_eq!(
        t.sent,
        [(message_addr(3), message_data(3) as u32)],
        "pulses while masked share a message"
    );
    assert_eq!(t.read(PBA), 0b0010_0000);
    // MSI-X off: nothing goes out, nothing is lost.
    t.b.set("cfg_msix_en_i", 0);
    t.write(TABLE + 16 * 5 + 8, 0, 0x10);
    t.settle();
    assert_eq!(t.sent.len(), 1);
    t.b.set("cfg_msix_en_i", 1);
    t.settle();
    assert_eq!(t.sent[1], (message_addr(5), message_data(5) as u32));
    assert_eq!((t.sent.len(), t.counted), (2, 2));
}

/// Random pulses: after each one its vector sends at least once; never more messages than pulses.
#[test]
fn every_interrupt_is_followed_by_its_message() {
    for seed in 0..20 {
        let mut t = Bench::new(seed, [0, 50, 90][seed as usize % 3]);
        for v in 0..8 {
            t.program(v);
        }
        let (mut pulses, mut unheard) = ([0; 8], [false; 8]);
        for _ in 0..3000 {
            let irqs: u64 = (0..8).map(|v| u64::from(chance(&mut t.rng, 3)) << v).sum();
            let before = t.sent.len();
            t.step(irqs);
            for &(addr, data) in &t.sent[before..] {
                let v = u64::from(data) & 7;
                assert_eq!(
                    (addr, u64::from(data)),
                    (message_addr(v), message_data(v)),
                    "seed {seed}"
                );
                unheard[v as usize] = false;
            }
            // A pulse in the cycle of a message is later than what that message announces.
            for v in (0..8).filter(|v| irqs >> v & 1 == 1) {
                pulses[v] += 1;
                unheard[v] = true;
            }
        }
        let last = t.sent.len();
        t.settle();
        for &(_, data) in &t.sent[last..] {
            unheard[data as usize & 7] = false;
        }
        assert_eq!(unheard, [false; 8], "seed {seed}: an interrupt was lost");
        for (v, &most) in pulses.iter().enumerate() {
            let count = t.sent.iter().filter(|m| m.1 as usize & 7 == v).count();
            assert!(
                count <= most && count > 0,
                "seed {seed}: vector {v}: {count} messages for {most} pulses"
            );
        }
        assert_eq!(t.counted, t.sent.len(), "seed {seed}: counter");
    }
}
