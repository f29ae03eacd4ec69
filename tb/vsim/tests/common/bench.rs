//! Drives `mmu_bench.sv`: the MMU with three L1 TLBs, memory, the fault ring and commands.
#![allow(dead_code)]

use std::collections::{BTreeMap, VecDeque};

use hmmu_regs::{CtrlOp, CtxMode, FaultRecord, Pte};
use hmmu_vsim::Block;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::memport::{MemPort, Timing};
use crate::tables::{Memory, Tables};
use crate::xlat::{Access, Ask, Event, Size, VPN_MAX, put, take, take_event};

/// Miss slots of the three clients.
pub const SLOTS: [usize; 3] = [16, 8, 2];

/// A client's answer to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rsp {
    Hit(u64),
    Miss(usize),
    Full,
}

/// A command.
#[derive(Clone, Copy, Debug)]
pub enum Cmd {
    CtxSet { ctx: u64, mode: CtxMode, root: u64 },
    Invalidate { ctx: u64, lo: u64, hi: u64 },
    Replay { ctx: u64, lo: u64, hi: u64 },
    Cancel { ask: Ask, code: u64 },
    Stop { ctx: u64 },
}

/// What one cycle brought.
#[derive(Clone, Debug)]
pub struct Cycle {
    pub number: u64,
    pub event: Event,
    pub rsp: [Option<Rsp>; 3],
    pub wake: [u64; 3],
    pub wake_err: [Option<u64>; 3],
    pub cmd_done: bool,
    pub irq: bool,
}

/// Counters summed by the bench.
const COUNTERS: [&str; 14] = [
    "l2_lookups",
    "l2_hits",
    "walks",
    "walk_reads",
    "walk_merges",
    "walk_restarts",
    "ad_updates",
    "d_updates",
    "faults",
    "fault_merges",
    "replays",
    "cancels",
    "invalidations",
    "lookup",
];

/// The bench.
pub struct Bench {
    pub b: Block,
    pub mem: Memory,
    pub tables: Tables,
    pub port: MemPort,
    pub rng: Pcg64Mcg,
    pub counts: BTreeMap<&'static str, u64>,
    /// Records in the ring, in order, as the host finds them.
    pub records: VecDeque<FaultRecord>,
    /// Chance that the fault port is ready.
    pub fault_ready: f64,
    pub ring_log2: u32,
    pub consumed: u32,
    pub produced: u32,
    pub drain_done: [bool; 3],
    /// Register XLAT_LIMITS: walkers in use, walk cache off, L2 off, merging off.
    pub limits: (u64, bool, bool, bool),
    /// Cycles of the Invalidate commands so far.
    pub inv_cycles: Vec<u64>,
    cycle: u64,
    lookups: [Option<Ask>; 3],
    cmd: Option<Cmd>,
    words: BTreeMap<u64, u64>,
}

/// Where the fault ring lies.
const RING: u64 = 0x4_0000;

impl Bench {
    /// A reset MMU with empty tables.
    pub fn new(timing: Timing, seed: u64) -> Self {
        let mut b = Block::new("mmu_bench").expect("the bench is built");
        b.reset();
        Self {
            b,
            mem: Memory::default(),
            tables: Tables::new(),
            port: MemPort::new(timing),
            rng: Pcg64Mcg::seed_from_u64(seed),
            counts: COUNTERS.iter().map(|&c| (c, 0)).collect(),
            records: VecDeque::new(),
            fault_ready: 1.0,
            ring_log2: 4,
            consumed: 0,
            produced: 0,
            drain_done: [true; 3],
            limits: (0, false, false, false),
            inv_cycles: Vec::new(),
            cycle: 0,
            lookups: [None; 3],
            cmd: None,
            words: BTreeMap::new(),
        }
    }

    /// The number of the cycle that the next step makes.
    pub fn now(&self) -> u64 {
        self.cycle
    }

    /// Maps a page.
    pub fn map(&mut self, ctx: u64, vpn: u64, size: Size, pte: Pte) {
        self.tables.map(&mut self.mem, ctx, vpn, size, pte);
    }

    /// A lookup for the next cycle.
    pub fn lookup(&mut self, client: usize, ask: Ask) {
        assert!(self.lookups[client].is_none());
        self.lookups[client] = Some(ask);
    }

    /// A command, offered from the next cycle on until it is taken.
    pub fn command(&mut self, cmd: Cmd) {
        assert!(self.cmd.is_none(), "a command is still offered");
        self.cmd = Some(cmd);
    }

    /// Is a command still offered and not taken?
    pub fn offering(&self) -> bool {
        self.cmd.is_some()
    }

    /// Runs until the command is done; returns the cycles since it was offered.
    pub fn run_command(&mut self, cmd: Cmd) -> u64 {
        self.command(cmd);
        let start = self.cycle;
        for _ in 0..5000 {
            if self.step().cmd_done {
                return self.cycle - 1 - start;
            }
        }
        panic!("a command does not end: {cmd:?}");
    }

    /// Sets a context up for translation.
    pub fn context(&mut self, ctx: u64) {
        let root = self.tables.root(ctx);
        self.run_command(Cmd::CtxSet {
            ctx,
            mode: CtxMode::Translate,
            root,
        });
    }

    /// Looks up until it hits (`Ok`: physical page) or ends with an error code. Panics after `limit` cycles.
    pub fn access(&mut self, client: usize, ask: Ask, limit: u64) -> Result<u64, u64> {
        self.try_access(client, ask, limit)
            .unwrap_or_else(|| panic!("no end of {ask:?} in {limit} cycles"))
    }

    /// As [`Bench::access`], `None` if it still waits after `limit` cycles.
    pub fn try_access(&mut self, client: usize, ask: Ask, limit: u64) -> Option<Result<u64, u64>> {
        let end = self.cycle + limit;
        while self.cycle < end {
            self.lookup(client, ask);
            self.step();
            let answer = self.step();
            let mut wake = (answer.wake[client], answer.wake_err[client]);
            match answer.rsp[client].expect("a lookup is answered in the next cycle") {
                Rsp::Hit(ppn) => return Some(Ok(ppn)),
                Rsp::Full => {}
                Rsp::Miss(slot) => {
                    while wake.0 >> slot & 1 == 0 {
                        if self.cycle >= end {
                            return None;
                        }
                        let c = self.step();
                        wake = (c.wake[client], c.wake_err[client]);
                    }
                    if let Some(code) = wake.1 {
                        return Some(Err(code));
                    }
                }
            }
        }
        None
    }

    /// Takes the oldest record out of the ring.
    pub fn take_record(&mut self) -> Option<FaultRecord> {
        let record = self.records.pop_front()?;
        self.consumed += 1;
        Some(record)
    }

    /// Runs until a record comes, and takes it.
    pub fn next_record(&mut self, limit: u64) -> FaultRecord {
        for _ in 0..limit {
            if let Some(record) = self.take_record() {
                return record;
            }
            self.step();
        }
        panic!("no fault record in {limit} cycles");
    }

    /// Runs for some cycles.
    pub fn idle(&mut self, cycles: u64) {
        for _ in 0..cycles {
            self.step();
        }
    }

    /// One cycle.
    pub fn step(&mut self) -> Cycle {
        self.drive();
        self.b.eval();
        let cycle = self.sample();
        self.b.clock();
        self.cycle += 1;
        cycle
    }

    fn drive(&mut self) {
        let b = &mut self.b;
        let mut valid = 0;
        for (client, ask) in self.lookups.iter_mut().enumerate() {
            if let Some(ask) = ask.take() {
                let c = client as u32;
                valid |= 1 << client;
                b.set_bits("lkp_ctx_i", 4 * c, 4, ask.ctx);
                b.set_bits("lkp_vpn_i", 36 * c, 36, ask.vpn);
                b.set_bits("lkp_access_i", 2 * c, 2, ask.access as u64);
            }
        }
        b.set("lkp_valid_i", valid);
        b.set("cmd_valid_i", u64::from(self.cmd.is_some()));
        if let Some(cmd) = self.cmd {
            put_cmd(b, &cmd);
        }
        let drain = self
            .drain_done
            .iter()
            .enumerate()
            .map(|(i, &d)| u64::from(d) << i)
            .sum();
        b.set("drain_done_i", drain);
        let ring = [
            (64, RING),
            (4, u64::from(self.ring_log2)),
            (1, 0),
            (32, u64::from(self.consumed)),
        ];
        put(b, "fault_ring_i", &ring);
        b.set(
            "fault_req_ready_i",
            u64::from(self.rng.random_bool(self.fault_ready)),
        );
        b.set("time_i", self.cycle);
        let (walkers, cache_off, l2_off, merge_off) = self.limits;
        let limits = [
            (1, merge_off.into()),
            (1, l2_off.into()),
            (1, cache_off.into()),
            (6, walkers),
        ];
        put(b, "limits_i", &limits);
        self.port.drive(b, &mut self.mem, &mut self.rng);
    }

    fn sample(&mut self) -> Cycle {
        self.port.sample(&mut self.b, &mut self.rng);
        self.sample_fault_port();
        let b = &mut self.b;
        if b.get("cmd_valid_i") == 1 && b.get("cmd_ready_o") == 1 {
            self.cmd = None;
        }
        for name in COUNTERS.iter().filter(|&&n| n != "lookup") {
            *self.counts.entry(name).or_default() += b.get(&format!("cnt_{name}_o"));
        }
        *self.counts.entry("lookup").or_default() += u64::from(b.get("cnt_lookup_o").count_ones());
        if b.get("inv_done_o") == 1 {
            self.inv_cycles.push(b.get("inv_cycles_o"));
        }
        let mut cycle = Cycle {
            number: self.cycle,
            event: take_event(b, "event_o"),
            rsp: [None; 3],
            wake: [0; 3],
            wake_err: [None; 3],
            cmd_done: b.get("cmd_done_o") == 1,
            irq: b.get("fault_irq_o") == 1,
        };
        for client in 0..3 {
            let c = client as u32;
            if b.get_bits("rsp_valid_o", c, 1) == 1 {
                cycle.rsp[client] = Some(match b.get_bits("rsp_status_o", 2 * c, 2) {
                    0 => Rsp::Hit(b.get_bits("rsp_ppn_o", 44 * c, 44)),
                    1 => Rsp::Miss(b.get_bits("rsp_slot_o", 4 * c, 4) as usize),
                    _ => Rsp::Full,
                });
            }
            cycle.wake[client] = b.get_bits("wake_o", 16 * c, 16);
            if b.get_bits("wake_err_o", c, 1) == 1 {
                cycle.wake_err[client] = Some(b.get_bits("wake_code_o", 8 * c, 8));
            }
        }
        assert!(
            cycle.irq || b.get("fault_prod_o") == u64::from(self.produced),
            "the index moves without an interrupt"
        );
        if cycle.irq {
            self.take_from_memory();
        }
        cycle
    }

    fn sample_fault_port(&mut self) {
        let b = &mut self.b;
        if b.get("fault_req_valid_o") == 1 && b.get("fault_req_ready_i") == 1 {
            let [op, _, addr, strb, high, low, _] =
                take(b, "fault_req_o", [2, 1, 56, 16, 64, 64, 8]);
            assert_eq!((op, strb), (1, 0xffff), "the fault unit writes whole beats");
            self.words.insert(addr, low);
            self.words.insert(addr + 8, high);
        }
    }

    /// The host's side of an interrupt: the record must be in memory and known as fresh.
    fn take_from_memory(&mut self) {
        let slot = u64::from(self.produced) & ((1 << self.ring_log2) - 1);
        let word = |i: u64| {
            self.words
                .get(&(RING + slot * 32 + i * 8))
                .copied()
                .unwrap_or(0)
        };
        let record = FaultRecord([word(0), word(1), word(2), word(3)]);
        let phase = !(self.produced >> self.ring_log2) & 1;
        assert_eq!(
            record.phase(),
            u64::from(phase),
            "phase of record {}",
            self.produced
        );
        assert_eq!(record.id(), u64::from(self.produced));
        assert!(
            self.produced - self.consumed < 1 << self.ring_log2,
            "the ring has overflowed"
        );
        self.produced += 1;
        self.records.push_back(record);
    }
}

fn put_cmd(b: &mut Block, cmd: &Cmd) {
    let op = |o: CtrlOp| o as u64;
    let (op, ctx, lo, hi, mode, root, access, code) = match *cmd {
        Cmd::CtxSet { ctx, mode, root } => (op(CtrlOp::CtxSet), ctx, 0, 0, mode as u64, root, 0, 0),
        Cmd::Invalidate { ctx, lo, hi } => (op(CtrlOp::Invalidate), ctx, lo, hi, 0, 0, 0, 0),
        Cmd::Replay { ctx, lo, hi } => (op(CtrlOp::Replay), ctx, lo, hi, 0, 0, 0, 0),
        Cmd::Cancel { ask, code } => (
            op(CtrlOp::Cancel),
            ask.ctx,
            ask.vpn,
            VPN_MAX,
            0,
            0,
            ask.access as u64,
            code,
        ),
        Cmd::Stop { ctx } => (op(CtrlOp::Stop), ctx, 0, 0, 0, 0, 0, 0),
    };
    put(
        b,
        "cmd_i",
        &[
            (8, op),
            (4, ctx),
            (36, lo),
            (36, hi),
            (1, 0),
            (2, mode),
            (44, root),
            (2, access),
            (8, code),
        ],
    );
}

/// A read, write, ... of a page.
pub fn ask(ctx: u64, vpn: u64, access: Access) -> Ask {
    Ask { ctx, vpn, access }
}
