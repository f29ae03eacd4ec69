//! `ctrl_unit` against a model of its commands: order, fields, and fences only after the work.

mod queue;

use hmmu_regs::CtrlEntry;
use hmmu_vsim::Block;
use queue::layout::{mmu_cmd, ring_cfg};
use queue::mem_port::{MEM, MemPort, word};
use queue::memory::Memory;
use queue::{TestRng, chance, rng};
use rand::Rng;

const RING: u64 = 0x1_0000;
const RING_LOG2: u64 = 3;
const FENCES: u64 = 0x9_0000;

/// What the units beside the control unit see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A command at the MMU: op, context, first and last page, mode (bit 2: logged), root, access, code.
    Command(u64, u64, u64, u64, u64, u64, u64, u64),
    /// The acknowledgement of it.
    Done,
    KillLaunch {
        by_ctx: bool,
        job: u64,
        ctx: u64,
    },
    KillCopy {
        ctx: u64,
    },
    Hold {
        on: bool,
        job: u64,
        /// The area of a Save.
        save: Option<u64>,
    },
    Fence {
        addr: u64,
        value: u64,
    },
    Interrupt,
}

struct Bench {
    block: Block,
    port: MemPort,
    memory: Memory,
    rng: TestRng,
    seed: u64,
    prod: u64,
    log: Vec<Seen>,
    command_due: Option<u64>,
    launch_due: Option<u64>,
    copy_due: Option<u64>,
    hold_due: Option<u64>,
    cycle: u64,
    slowest: u64,
    errors: Vec<(u64, u64)>,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let mut block = Block::new("ctrl_unit").expect("block");
        block.reset();
        ring_cfg::BASE.set(&mut block, "ring_i", RING);
        ring_cfg::SIZE_LOG2.set(&mut block, "ring_i", RING_LOG2);
        block.set("enable_i", 1);
        Self {
            block,
            port: MemPort::new(MEM),
            memory: Memory::default(),
            rng: rng(seed),
            seed,
            prod: 0,
            log: Vec::new(),
            command_due: None,
            launch_due: None,
            copy_due: None,
            hold_due: None,
            cycle: 0,
            slowest: 40,
            errors: Vec::new(),
        }
    }

    fn submit(&mut self, entry: CtrlEntry) {
        let slot = self.prod & ((1 << RING_LOG2) - 1);
        self.memory.write_words(RING + 64 * slot, &entry.0);
        self.prod += 1;
        ring_cfg::INDEX.set(&mut self.block, "ring_i", self.prod);
    }

    fn later(&mut self) -> u64 {
        self.cycle + self.rng.random_range(0..=self.slowest)
    }

    fn step(&mut self) {
        self.cycle += 1;
        let cycle = self.cycle;
        let due = |at: Option<u64>| at.is_some_and(|at| at <= cycle);
        let (launch, copy) = (due(self.launch_due), due(self.copy_due));
        let hold = due(self.hold_due);
        let done = due(self.command_due);
        self.block.set("time_i", cycle);
        self.block.set("kill_launch_done_i", u64::from(launch));
        self.block.set("kill_copy_done_i", u64::from(copy));
        self.block.set("hold_done_i", u64::from(hold));
        self.block.set("cmd_done_i", u64::from(done));
        let ready = self.command_due.is_none() && chance(&mut self.rng, 50);
        self.block.set("cmd_ready_i", u64::from(ready));
        self.port.drive(&mut self.block, &mut self.rng);
        self.block.eval();
        if done {
            self.command_due = None;
            self.log.push(Seen::Done);
        }
        if let Some(access) = self
            .port
            .sample(&mut self.block, &mut self.memory, &mut self.rng)
            && access.write
        {
            assert_eq!(access.strb, 0xffff, "a fence is one whole write");
            if access.addr >= FENCES {
                assert!(word(&access.data[8..]) <= cycle, "stamp in the future");
            }
            self.log.push(Seen::Fence {
                addr: access.addr,
                value: word(&access.data[..8]),
            });
        }
        self.sample_units(launch, copy, ready);
        if hold {
            self.hold_due = None;
        } else if self.block.get("hold_valid_o") == 1 && self.hold_due.is_none() {
            let on = self.block.get("hold_on_o") == 1;
            let job = self.block.get("kill_launch_job_o");
            let save = (self.block.get("hold_save_o") == 1).then(|| self.block.get("hold_area_o"));
            self.log.push(Seen::Hold { on, job, save });
            self.hold_due = Some(self.later() + 1);
        }
        if self.block.get("irq_ctrl_o") == 1 {
            self.log.push(Seen::Interrupt);
        }
        if self.block.get("err_valid_o") == 1 {
            let error = (self.block.get("err_code_o"), self.block.get("err_addr_o"));
            self.errors.push(error);
        }
        self.block.clock();
    }

    fn sample_units(&mut self, launch: bool, copy: bool, ready: bool) {
        let ctx = self.block.get("kill_ctx_o");
        if launch {
            self.launch_due = None;
        } else if self.block.get("kill_launch_valid_o") == 1 && self.launch_due.is_none() {
            let by_ctx = self.block.get("kill_launch_by_ctx_o") == 1;
            let job = self.block.get("kill_launch_job_o");
            self.log.push(Seen::KillLaunch {
                by_ctx,
                job: if by_ctx { 0 } else { job },
                ctx: if by_ctx { ctx } else { 0 },
            });
            self.launch_due = Some(self.later() + 1);
        }
        if copy {
            self.copy_due = None;
        } else if self.block.get("kill_copy_valid_o") == 1 && self.copy_due.is_none() {
            self.log.push(Seen::KillCopy { ctx });
            self.copy_due = Some(self.later() + 1);
        }
        if ready && self.block.get("cmd_valid_o") == 1 {
            let b = &mut self.block;
            let p = "cmd_o";
            let seen = Seen::Command(
                mmu_cmd::OP.get(b, p),
                mmu_cmd::CTX.get(b, p),
                mmu_cmd::LO.get(b, p),
                mmu_cmd::HI.get(b, p),
                mmu_cmd::MODE.get(b, p) | mmu_cmd::LOG.get(b, p) << 2,
                mmu_cmd::ROOT.get(b, p),
                mmu_cmd::ACCESS.get(b, p),
                mmu_cmd::CODE.get(b, p),
            );
            self.log.push(seen);
            self.command_due = Some(self.later() + 1);
        }
    }

    fn finish(&mut self) {
        let limit = self.cycle + 20_000;
        while self.block.get("cons_o") != self.prod || self.block.get("idle_o") == 0 {
            self.step();
            assert!(self.cycle < limit, "seed {}: stuck", self.seed);
        }
    }
}

/// The command as the MMU must see it.
fn command(entry: &CtrlEntry) -> Option<Seen> {
    const SPACE: u128 = 1 << 48;
    let page = |addr: u128| ((addr % SPACE) >> 12) as u64;
    let (start, len) = (u128::from(entry.addr()) % SPACE, u128::from(entry.len()));
    let (lo, hi) = match entry.op() {
        2 | 3 if len == 0 => return None,
        4 => (page(start), page(start)),
        _ if len == 0 => (page(start), page(start + SPACE - 1)),
        _ if start + len > SPACE => (0, page(SPACE - 1)),
        _ => (page(start), page(start + len - 1)),
    };
    Some(Seen::Command(
        entry.op(),
        entry.ctx(),
        lo,
        hi,
        entry.arg1() & 7,
        entry.arg0() >> 12 & 0xfff_ffff_ffff,
        entry.arg0() & 3,
        entry.arg1() & 0xff,
    ))
}

/// Everything that must be seen of an entry, in order; both kills are sorted.
fn expected(entry: &CtrlEntry) -> Vec<Seen> {
    let mut seen = Vec::new();
    match entry.op() {
        0 => {}
        6 => seen.push(Seen::KillLaunch {
            by_ctx: false,
            job: entry.arg0() & 0xffff_ffff,
            ctx: 0,
        }),
        op @ 7..=9 => seen.push(Seen::Hold {
            on: op != 8,
            job: entry.arg0() & 0xffff_ffff,
            save: (op == 9).then_some(entry.arg1() & 0xff_ffff_ffff_ffc0),
        }),
        op => {
            let kills = [
                Seen::KillLaunch {
                    by_ctx: true,
                    job: 0,
                    ctx: entry.ctx(),
                },
                Seen::KillCopy { ctx: entry.ctx() },
            ];
            let kills = if op == 5 { &kills[..] } else { &[] };
            seen.extend(kills);
            if let Some(command) = command(entry) {
                seen.extend([command, Seen::Done]);
            }
            // Once more for what began in between.
            seen.extend(kills);
        }
    }
    if entry.fence_addr() != 0 {
        seen.push(Seen::Fence {
            addr: entry.fence_addr(),
            value: entry.fence_value(),
        });
    }
    if entry.irq() == 1 {
        seen.push(Seen::Interrupt);
    }
    seen
}

fn random_entry(rng: &mut TestRng, number: u64) -> CtrlEntry {
    let len = match rng.random_range(0..6) {
        0 => 0,
        1 => 1 << 48,
        2 => 1 << rng.random_range(12..64),
        _ => 4096 * rng.random_range(1..1000),
    };
    let fence = chance(rng, 70);
    let arg1 = rng.random::<u64>();
    let op = rng.random_range(0..10);
    CtrlEntry::default()
        .with_version(1)
        .with_op(op)
        .with_irq(u64::from(chance(rng, 50)))
        .with_ctx(rng.random_range(0..16))
        .with_addr(rng.random::<u64>() & !0xfff)
        .with_len(len)
        .with_arg0(rng.random())
        // Mode 3 does not exist.
        .with_arg1(if op == 1 { arg1 & !1 } else { arg1 })
        .with_fence_addr(if fence { FENCES + 16 * number } else { 0 })
        .with_fence_value(rng.random())
}

#[test]
fn random_commands_run_in_order_and_report_when_done() {
    for seed in 0..40 {
        let mut bench = Bench::new(seed);
        bench.port.ready = [100, 40][(seed % 2) as usize];
        bench.port.latency = [(1, 3), (1, 60)][(seed / 2 % 2) as usize];
        bench.slowest = [0, 3, 80][(seed % 3) as usize];
        let mut must = Vec::new();
        for number in 0..50 {
            while bench.prod - bench.block.get("cons_o") > 6 {
                bench.step();
            }
            let entry = random_entry(&mut bench.rng, number);
            must.extend(expected(&entry));
            bench.submit(entry);
        }
        bench.finish();
        assert_eq!(bench.log.len(), must.len(), "seed {seed}");
        for (at, (is, must)) in bench.log.iter().zip(&must).enumerate() {
            assert_eq!(is, must, "seed {seed}, step {at}");
        }
        assert!(bench.errors.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_bad_entry_stops_the_ring_and_a_new_size_starts_it_again() {
    let good = CtrlEntry::default().with_version(1).with_fence_addr(FENCES);
    let bad = [
        good.with_version(0),
        good.with_version(2),
        good.with_op(11),
        good.with_op(255),
        good.with_op(1).with_arg1(3),
        // A harvest of no entries, of too many, of some that are not eight, at addresses that are not aligned.
        good.with_op(10),
        good.with_op(10).with_arg1(520),
        good.with_op(10).with_arg1(0x8008),
        good.with_op(10).with_arg1(12),
        good.with_op(10).with_arg1(8).with_arg0(32),
        good.with_op(10).with_arg1(8).with_arg2(16),
    ];
    for entry in bad {
        let mut bench = Bench::new(3);
        bench.submit(good.with_fence_value(1));
        bench.submit(entry);
        bench.submit(good.with_fence_value(2));
        (0..200).for_each(|_| bench.step());
        assert_eq!(bench.errors, [(6, RING + 64)], "{entry:?}");
        let state = ["cons_o", "stopped_o", "idle_o"].map(|port| bench.block.get(port));
        assert_eq!(state, [1, 1, 1], "{entry:?}");
        assert_eq!(
            bench.log,
            [Seen::Fence {
                addr: FENCES,
                value: 1
            }]
        );
        // The driver starts the ring anew.
        ring_cfg::RESET.set(&mut bench.block, "ring_i", 1);
        ring_cfg::INDEX.set(&mut bench.block, "ring_i", 0);
        bench.step();
        ring_cfg::RESET.set(&mut bench.block, "ring_i", 0);
        bench.prod = 0;
        bench.submit(good.with_fence_value(3));
        bench.finish();
        let fence = Seen::Fence {
            addr: FENCES,
            value: 3,
        };
        assert_eq!(bench.log.last(), Some(&fence));
    }
}

#[test]
fn a_harvest_has_its_result_before_its_fence_and_its_place_in_the_order() {
    const TABLE: u64 = 0x4_0000;
    const RESULT: u64 = 0x8_0000;
    for seed in 0..20 {
        let mut bench = Bench::new(100 + seed);
        bench.port.ready = [100, 40][(seed % 2) as usize];
        bench.port.latency = [(1, 3), (1, 60)][(seed / 2 % 2) as usize];
        let count = 8 * bench.rng.random_range(1..=64);
        let leaf = |rng: &mut TestRng| rng.random::<u64>() & 0xc1 | 2;
        let table: Vec<u64> = (0..count).map(|_| leaf(&mut bench.rng)).collect();
        bench.memory.write_words(TABLE, &table);
        let entry = CtrlEntry::default().with_version(1);
        let harvest = entry
            .with_op(10)
            .with_arg0(TABLE)
            .with_arg1(count)
            .with_arg2(RESULT)
            .with_fence_addr(FENCES)
            .with_fence_value(1);
        bench.submit(harvest);
        // What comes behind it is fetched meanwhile, and runs afterwards.
        bench.submit(entry.with_op(2).with_len(4096));
        bench.finish();
        let at = |address: u64| {
            let here = |seen: &Seen| matches!(seen, Seen::Fence { addr, .. } if *addr == address);
            bench.log.iter().position(here).expect("a write")
        };
        let writes = (0..9).map(|beat| at(RESULT + 16 * beat));
        let last = writes.max().expect("writes");
        let command = |seen: &Seen| matches!(seen, Seen::Command(2, ..));
        let next = bench
            .log
            .iter()
            .position(command)
            .expect("the next command");
        assert!(last < at(FENCES) && at(FENCES) < next, "seed {seed}");
        for (i, entry) in (0..).zip(&table) {
            for (bit, from) in [(6, 0), (7, 64)] {
                let got = bench.memory.byte(RESULT + from + i / 8) >> (i % 8) & 1;
                let want = (entry & entry >> bit & 1) as u8;
                assert_eq!(got, want, "seed {seed}, entry {i}, bit {bit}");
            }
        }
        assert_eq!(bench.memory.read_u64(RESULT + 128), 0);
    }
}

#[test]
fn an_entry_that_cannot_be_read_stops_the_ring() {
    let mut bench = Bench::new(4);
    bench.port.errors = 100;
    bench.submit(CtrlEntry::default().with_version(1));
    (0..60).for_each(|_| bench.step());
    assert_eq!(bench.errors, [(7, RING)]);
    assert_eq!(
        (bench.block.get("cons_o"), bench.block.get("stopped_o")),
        (0, 1)
    );
    assert!(bench.log.is_empty());
}

#[test]
fn a_nop_without_a_fence_takes_few_cycles() {
    let mut bench = Bench::new(5);
    for _ in 0..7 {
        bench.submit(CtrlEntry::default().with_version(1));
    }
    let mut cycles = 0;
    while bench.block.get("cons_o") < 7 {
        bench.step();
        cycles += 1;
    }
    // Four reads and their answers for each, not overlapped.
    assert!(cycles <= 7 * 10, "{cycles} cycles for 7 entries");
}
