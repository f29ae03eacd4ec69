//! `pcie_ep` between a root complex, a device and a VRAM, cycle by cycle.

use std::collections::{BTreeMap, VecDeque};

use hmmu_vsim::Block;
use rand::Rng;

use super::agents::{BurstAgent, SysAgent, SysReq, WRITE};
use super::host::{Host, MALFORMED};
use super::mmio::{LITMUS, Mmio};
use super::stream::{RxDriver, TxMonitor, beats};
use super::tlp::Tlp;
use super::vram::Vram;
use super::{Bytes, TestRng, chance, rng};

/// How the link is set up.
#[derive(Clone, Debug)]
pub struct Config {
    pub bdf: u32,
    pub rc_id: u32,
    /// Encodings of the specification: 0 = 128 bytes.
    pub mps: u32,
    pub mrrs: u32,
    pub rcb: bool,
    pub bar0: u64,
    pub bar2: u64,
    pub bar2_size: u64,
    pub timeout: u64,
    /// Tags of the device: 64, or 256 as in the whole device.
    pub tags: u32,
    /// The TLP streams have 256 bits of payload a beat, else 128.
    pub wide: bool,
    /// Chance that a source pauses, and that a sink is not ready.
    pub idle_percent: u32,
    pub stall_percent: u32,
    /// Names the run in messages.
    pub who: String,
}

impl Config {
    /// A configuration drawn from a seed.
    pub fn random(seed: u64) -> Self {
        let mut r = rng(seed ^ 0x5eed);
        Self {
            bdf: r.random_range(1..0x1_0000),
            rc_id: 0,
            mps: r.random_range(0..3),
            mrrs: r.random_range(0..6),
            rcb: chance(&mut r, 50),
            bar0: [0xf000_0000, 0x60_0001_0000][r.random_range(0..2)],
            bar2: [0xe000_0000, 0x70_0000_0000][r.random_range(0..2)],
            bar2_size: 1 << 20,
            timeout: 100_000,
            tags: 64,
            wide: seed % 2 == 1,
            idle_percent: [0, 30, 80][r.random_range(0..3)],
            stall_percent: [0, 30, 80][r.random_range(0..3)],
            who: format!("seed {seed}"),
        }
    }
}

enum Accepted {
    Single(SysReq),
    Burst(u64, Vec<u8>),
}

/// The bench.
pub struct Bench {
    pub b: Block,
    pub cfg: Config,
    pub rng: TestRng,
    pub host: Host,
    pub mmio: Mmio,
    pub vram: Vram,
    pub sys: SysAgent,
    pub burst: BurstAgent,
    pub rx: RxDriver,
    tx: TxMonitor,
    regs: Bytes,
    reg_read: Option<u64>,
    /// What was accepted and has not been seen on the link, in order; posted writes accepted so far.
    accepted: VecDeque<Accepted>,
    accepted_writes: u64,
    /// Error reports so far, by code.
    pub errors: BTreeMap<u64, u64>,
    pub dropped: u64,
    /// TLPs that the test sent and that the device must count as dropped.
    pub hostile_drops: u64,
    pub counted: [u64; 6],
    sent: [u64; 6],
    pub irqs: u64,
    pub cycle: u64,
    /// Messages that have arrived: vector data and the posted writes before it.
    pub messages: Vec<(u32, u64)>,
    /// The register bus takes nothing.
    pub hold_registers: bool,
    /// Addresses that are interrupt messages.
    pub message_addr: Option<u64>,
}

const COUNTS: [&str; 6] = [
    "cnt_link_rx_bytes_o",
    "cnt_link_tx_bytes_o",
    "cnt_link_reads_o",
    "cnt_link_writes_o",
    "cnt_link_atomics_o",
    "cnt_interrupts_o",
];

impl Bench {
    pub fn new(cfg: Config, seed: u64) -> Self {
        let block = match (cfg.tags, cfg.wide) {
            (64, false) => "pcie_ep",
            (64, true) => "pcie_ep_256",
            _ => "pcie_ep_wide",
        };
        let wide = block == "pcie_ep_256";
        let mut b = Block::new(block).expect(block);
        b.set("cfg_bdf_i", cfg.bdf.into());
        b.set("cfg_mps_i", cfg.mps.into());
        b.set("cfg_mrrs_i", cfg.mrrs.into());
        b.set("cfg_rcb_i", cfg.rcb.into());
        b.set("cfg_msix_en_i", 1);
        b.set("cfg_bar0_i", cfg.bar0);
        b.set("cfg_bar2_i", cfg.bar2);
        b.set("cfg_bar2_size_i", cfg.bar2_size);
        b.set("cpl_timeout_i", cfg.timeout);
        b.reset();
        let mut vram = Vram::new();
        vram.stall_percent = cfg.stall_percent;
        vram.latency = 1 + seed % 40;
        Self {
            b,
            cfg,
            rng: rng(seed),
            host: Host::new(),
            mmio: Mmio::new(),
            vram,
            sys: SysAgent::default(),
            burst: BurstAgent::default(),
            rx: RxDriver::new(wide),
            tx: TxMonitor::new(wide),
            regs: Bytes::default(),
            reg_read: None,
            accepted: VecDeque::new(),
            accepted_writes: 0,
            errors: BTreeMap::new(),
            dropped: 0,
            hostile_drops: 0,
            counted: [0; 6],
            sent: [0; 6],
            irqs: 0,
            cycle: 0,
            messages: Vec::new(),
            hold_registers: false,
            message_addr: None,
        }
    }

    /// Sends a request of the host.
    pub fn send(&mut self, tlp: &Tlp) {
        self.sent[0] += tlp.link_bytes();
        self.rx.push(beats(tlp));
    }

    /// One cycle.
    pub fn step(&mut self) {
        let (idle, now) = (self.cfg.idle_percent, self.cycle);
        self.mmio.now = now;
        if self.rx.is_idle()
            && let Some(out) = self.host.complete(&self.cfg, now, &mut self.rng)
        {
            self.rx.push(out);
        }
        self.rx.drive(&mut self.b, &mut self.rng, idle);
        self.sys.drive(&mut self.b, &mut self.rng, idle);
        self.burst
            .drive(&mut self.b, &mut self.rng, idle, self.accepted_writes);
        self.vram.drive(&mut self.b, now, &mut self.rng);
        let ready = !chance(&mut self.rng, self.cfg.stall_percent);
        self.b.set("tx_ready_i", ready.into());
        let ready = !chance(&mut self.rng, self.cfg.stall_percent);
        self.b
            .set("reg_ready_i", (ready && !self.hold_registers).into());
        if let Some(value) = self.reg_read.take() {
            self.b.set("reg_rdata_i", value);
        } else {
            self.b.set("reg_rdata_i", 0xdead_dead_dead_dead);
        }
        self.b.set("irq_i", std::mem::take(&mut self.irqs));
        self.b.eval();
        self.sys.settle(&mut self.b);
        self.b.eval();
        self.sample(now);
        self.b.clock();
        self.cycle += 1;
    }

    fn sample(&mut self, now: u64) {
        let who = format!("{}, cycle {now}", self.cfg.who);
        if let Some(req) = self.sys.sample(&mut self.b, &who) {
            self.accepted_writes += u64::from(req.op == WRITE);
            self.accepted.push_back(Accepted::Single(req));
        }
        if let Some((addr, bytes)) = self.burst.sample(&mut self.b, &who) {
            self.accepted_writes += 1;
            self.accepted.push_back(Accepted::Burst(addr, bytes));
        }
        self.rx.sample(&mut self.b);
        self.vram.sample(&mut self.b, now, &mut self.rng);
        self.sample_regs();
        for (count, port) in self.counted.iter_mut().zip(COUNTS) {
            *count += self.b.get(port);
        }
        self.dropped += self.b.get("cnt_dropped_tlps_o");
        if self.b.get("err_valid_o") == 1 {
            *self.errors.entry(self.b.get("err_code_o")).or_default() += 1;
        }
        if let Some(tlp) = self.tx.sample(&mut self.b) {
            self.arrived(&tlp, now, &who);
        }
    }

    fn sample_regs(&mut self) {
        if self.b.get("reg_valid_o") == 0 || self.b.get("reg_ready_i") == 0 {
            return;
        }
        let addr = self.b.get("reg_addr_o");
        assert!(
            addr.is_multiple_of(8) && addr < 0x8000,
            "register bus address {addr:x}"
        );
        if self.b.get("reg_write_o") == 1 {
            let (data, strb) = (self.b.get("reg_wdata_o"), self.b.get("reg_wstrb_o"));
            for lane in (0..8).filter(|l| strb >> l & 1 == 1) {
                self.regs.set(addr + lane, (data >> (8 * lane)) as u8);
            }
        } else if addr == LITMUS {
            self.reg_read = Some(self.accepted_writes);
        } else {
            self.reg_read = Some(self.regs.read128(addr) as u64);
        }
    }

    fn arrived(&mut self, tlp: &Tlp, now: u64, who: &str) {
        self.sent[1] += tlp.link_bytes();
        if tlp.is_completion() {
            self.mmio.completion(&self.cfg, tlp);
            if let Some(writes) = self.mmio.litmus.take() {
                assert!(
                    self.host.writes >= writes,
                    "{who}: a completion passed earlier writes"
                );
            }
            return;
        }
        self.sent[if tlp.is_write() {
            3
        } else if tlp.has_data() {
            4
        } else {
            2
        }] += 1;
        if tlp.is_write() && Some(tlp.addr()) == self.message_addr {
            self.messages.push((
                u32::from_le_bytes([tlp.data[0], tlp.data[1], tlp.data[2], tlp.data[3]]),
                self.host.writes,
            ));
            self.sent[5] += 1;
        }
        let (bytes, fate) = self.host.accept(&self.cfg, tlp, now, &mut self.rng);
        // Burst reads are known by their sender alone; all else is the oldest accepted request.
        if !tlp.has_data() && !is_single(tlp) {
            self.burst.sent(tlp, bytes, fate, self.host.writes, who);
            return;
        }
        match self.accepted.front_mut() {
            Some(Accepted::Single(req)) => {
                let req = *req;
                req.check(tlp, who);
                self.sys.sent(&req, bytes, fate);
                self.accepted.pop_front();
            }
            Some(Accepted::Burst(addr, rest)) => {
                let written = tlp.written();
                let expected: Vec<(u64, u8)> = (*addr..)
                    .zip(rest.iter().copied())
                    .take(written.len())
                    .collect();
                assert_eq!(written, expected, "{who}: piece of a burst write");
                *addr += written.len() as u64;
                rest.drain(..written.len());
                if rest.is_empty() {
                    self.accepted.pop_front();
                } else {
                    // Pieces count as one write: when the burst is whole.
                    self.host.writes -= 1;
                }
            }
            None => panic!("{who}: nobody sent {:032x}", tlp.header),
        }
    }

    /// Runs until everything that was asked for has come back.
    pub fn drain(&mut self) {
        let mut left = 100_000;
        while !(self.accepted.is_empty()
            && self.sys.is_idle()
            && self.burst.is_idle()
            && self.host.is_idle()
            && self.rx.is_idle()
            && !self.rx.is_open()
            && self.mmio.is_idle())
        {
            // Something follows, so that a TLP that was cut short ends.
            if left % 500 == 1
                && let Some(tlp) = self.mmio.read(&self.cfg, self.cfg.bar0 + LITMUS, 8)
            {
                self.send(&tlp);
            }
            self.step();
            left -= 1;
            assert!(left > 0, "{}: it does not come to an end", self.cfg.who);
        }
        // Posted writes have no answer.
        for _ in 0..400 {
            self.step();
        }
    }

    /// The counters and reports against what happened.
    pub fn check_counts(&self) {
        let who = &self.cfg.who;
        assert_eq!(self.counted[1..], self.sent[1..], "{who}: link counters");
        assert_eq!(
            self.dropped,
            self.host.drops + self.mmio.drops + self.hostile_drops,
            "{who}: dropped TLPs"
        );
        let mut errors = self.errors.clone();
        let malformed = errors.remove(&MALFORMED).unwrap_or(0);
        assert_eq!(errors, self.host.errors, "{who}: error reports by code");
        assert_eq!(
            malformed > 0,
            self.dropped > 0,
            "{who}: dropped TLPs are reported"
        );
    }

    /// Are the registers and VRAM as the host's requests leave them?
    pub fn check_memories(&self) {
        let who = &self.cfg.who;
        assert_eq!(
            self.regs.difference(&self.mmio.regs),
            None,
            "{who}: a register byte"
        );
        assert_eq!(
            self.vram.mem.difference(&self.mmio.vram),
            None,
            "{who}: a byte of VRAM"
        );
    }

    /// Posted writes that the device has accepted.
    pub fn accepted_writes(&self) -> u64 {
        self.accepted_writes
    }

    /// Does the device wait for nothing?
    pub fn is_quiet(&self) -> bool {
        self.accepted.is_empty()
            && self.sys.is_idle()
            && self.burst.is_idle()
            && self.host.is_idle()
    }

    /// Beats that have left the device.
    pub fn tx_beats(&self) -> u64 {
        self.tx.beats
    }
}

/// Is a read one of the single-beat port? Tests ask for no burst with such a piece.
fn is_single(tlp: &Tlp) -> bool {
    tlp.addr().is_multiple_of(16) && tlp.dws() == 4 && tlp.first_be() == 0xf && tlp.last_be() == 0xf
}
