//! The block `mmu_bench` with page tables in a memory that takes a read every cycle and answers after a fixed time.

use std::collections::{HashMap, VecDeque};

use hmmu_regs::{CtrlOp, CtxMode, Pte};

use super::Limits;
use crate::{Block, Port};

/// Clients of the bench: data, fetch, copy.
const CLIENTS: usize = 3;
/// Where the fault ring lies, and log2 of its entries.
const RING: u64 = 0x4_0000;
const RING_LOG2: u64 = 8;
/// Kinds of access, as `access_e`.
pub(super) const READ: u64 = 0;
pub(super) const WRITE: u64 = 1;
/// `mem_op_e` of a compare-and-swap.
const CAS: u64 = 2;

/// Answer to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Hit,
    Miss(u32),
    Full,
}

/// Size of a page: its level, and whether it is one of 64 KiB.
#[derive(Clone, Copy)]
pub(super) enum Leaf {
    Page4K,
    Page64K,
    Page2M,
    Page1G,
}

/// What a cycle brought.
pub(super) struct Cycle {
    pub answers: [Option<Answer>; CLIENTS],
    pub wakes: [u64; CLIENTS],
    pub command_done: bool,
}

struct Operation {
    due: u64,
    tag: u64,
    low: u64,
    high: u64,
}

/// Bits of a port, by handle: the first bit and the width.
type Field = (u32, u32);

struct Ports {
    lookup: [Port; 4],
    answer: [Port; 3],
    wake: Port,
    request: [Port; 2],
    response: [Port; 2],
    command_done: Port,
    command_ready: Port,
    command_valid: Port,
    irq: Port,
}

/// The bench.
pub(super) struct Rig {
    block: Block,
    ports: Ports,
    latency: u64,
    words: HashMap<u64, u64>,
    operations: VecDeque<Operation>,
    roots: HashMap<u64, u64>,
    next_table: u64,
    /// Lookups of the coming cycle: context, page, access.
    pub lookups: [Option<(u64, u64, u64)>; CLIENTS],
    command: bool,
    now: u64,
    /// Reads and swaps of the walker so far.
    pub reads: u64,
    /// Most of them in flight at once.
    pub most_in_flight: usize,
    /// Fault records so far.
    pub records: u64,
    /// Cycles of the Invalidate commands so far.
    pub invalidations: Vec<u64>,
}

impl Rig {
    /// A reset MMU whose contexts 1 to `contexts` have empty tables.
    pub fn new(latency: u64, limits: &Limits, contexts: u64) -> Result<Self, String> {
        let mut block = Block::new("mmu_bench")?;
        let mut port = |name: &str| block.port(name).0;
        let ports = Ports {
            lookup: ["lkp_valid_i", "lkp_ctx_i", "lkp_vpn_i", "lkp_access_i"].map(&mut port),
            answer: ["rsp_valid_o", "rsp_status_o", "rsp_slot_o"].map(&mut port),
            wake: port("wake_o"),
            request: ["mem_req_valid_o", "mem_req_o"].map(&mut port),
            response: ["mem_rsp_valid_i", "mem_rsp_i"].map(&mut port),
            command_done: port("cmd_done_o"),
            command_ready: port("cmd_ready_o"),
            command_valid: port("cmd_valid_i"),
            irq: port("fault_irq_o"),
        };
        block.set("mem_req_ready_i", 1);
        block.set("fault_req_ready_i", 1);
        block.set("drain_done_i", 7);
        let limits = [
            (limits.walkers.into(), (0, 6)),
            ((!limits.walk_cache).into(), (6, 1)),
            ((!limits.l2).into(), (7, 1)),
            ((!limits.merging).into(), (8, 1)),
        ];
        put(&mut block, "limits_i", &limits);
        block.reset();
        let mut rig = Self {
            block,
            ports,
            latency,
            words: HashMap::new(),
            operations: VecDeque::new(),
            roots: HashMap::new(),
            next_table: 0x1000,
            lookups: [None; CLIENTS],
            command: false,
            now: 0,
            reads: 0,
            most_in_flight: 0,
            records: 0,
            invalidations: Vec::new(),
        };
        for ctx in 1..=contexts {
            let root = rig.table();
            rig.roots.insert(ctx, root);
            let mode = CtxMode::Translate as u64;
            rig.offer(CtrlOp::CtxSet, ctx, (0, 0), (mode, root));
            rig.finish();
        }
        Ok(rig)
    }

    /// The number of the coming cycle.
    pub fn now(&self) -> u64 {
        self.now
    }

    fn table(&mut self) -> u64 {
        self.next_table += 1;
        self.next_table
    }

    /// Maps a page to the physical page of the same number, A and D as given.
    pub fn map(&mut self, ctx: u64, vpn: u64, leaf: Leaf, marked: bool) {
        let (level, mask) = match leaf {
            Leaf::Page4K => (0, 0),
            Leaf::Page64K => (0, 15),
            Leaf::Page2M => (1, 511),
            Leaf::Page1G => (2, (1 << 18) - 1),
        };
        let mut table = self.roots[&ctx];
        let place = |table: u64, level: u32| table << 12 | (vpn >> (9 * level) & 511) << 3;
        for above in (level + 1..=3).rev() {
            let at = place(table, above);
            table = match self.words.get(&at) {
                Some(&entry) => Pte([entry]).ppn(),
                None => {
                    let next = self.table();
                    self.words
                        .insert(at, Pte([0]).with_v(1).with_ppn(next).0[0]);
                    next
                }
            };
        }
        let marked = u64::from(marked);
        let pte = Pte([0])
            .with_v(1)
            .with_u(1)
            .with_r(1)
            .with_w(1)
            .with_ppn(vpn & !mask)
            .with_a(marked)
            .with_d(marked);
        let at = place(table, level);
        if matches!(leaf, Leaf::Page64K) {
            let pte = pte.with_n(1).with_ppn(pte.ppn() | 8);
            for i in 0..16 {
                self.words.insert((at & !127) + 8 * i, pte.0[0]);
            }
        } else {
            self.words.insert(at, pte.0[0]);
        }
    }

    /// Offers a command from the coming cycle on.
    pub fn offer(&mut self, op: CtrlOp, ctx: u64, pages: (u64, u64), config: (u64, u64)) {
        let fields = [
            (config.1, (10, 44)),
            (config.0, (54, 2)),
            (pages.1, (57, 36)),
            (pages.0, (93, 36)),
            (ctx, (129, 4)),
            (op as u64, (133, 8)),
        ];
        put(&mut self.block, "cmd_i", &fields);
        self.command = true;
    }

    /// Runs until the command under way is done.
    pub fn finish(&mut self) {
        while !self.step().command_done {}
    }

    /// Looks up once; returns the answer (which comes in the next cycle).
    pub fn look(&mut self, client: usize, ctx: u64, vpn: u64, access: u64) -> Option<Answer> {
        self.lookups[client] = Some((ctx, vpn, access));
        self.step();
        self.step().answers[client]
    }

    /// Looks up and waits until the page is there. Returns the cycles from the lookup to the wake, 0 if it hit.
    pub fn miss(&mut self, client: usize, ctx: u64, vpn: u64, access: u64) -> u64 {
        let start = self.now;
        self.lookups[client] = Some((ctx, vpn, access));
        self.step();
        let mut cycle = self.step();
        let Some(Answer::Miss(slot)) = cycle.answers[client] else {
            return 0;
        };
        while cycle.wakes[client] >> slot & 1 == 0 {
            cycle = self.step();
        }
        self.now - 1 - start
    }

    /// One cycle.
    pub fn step(&mut self) -> Cycle {
        self.drive();
        self.block.eval();
        let cycle = self.sample();
        self.block.clock();
        self.now += 1;
        cycle
    }

    fn drive(&mut self) {
        let b = &mut self.block;
        let [valid, ctx, vpn, access] = self.ports.lookup;
        let mut mask = 0;
        for (client, lookup) in (0u32..).zip(&mut self.lookups) {
            if let Some(ask) = lookup.take() {
                mask |= 1 << client;
                b.set_port(ctx, 4 * client, 4, ask.0);
                b.set_port(vpn, 36 * client, 36, ask.1);
                b.set_port(access, 2 * client, 2, ask.2);
            }
        }
        b.set_port(valid, 0, 3, mask);
        b.set_port(self.ports.command_valid, 0, 1, self.command.into());
        let due = self.operations.front().is_some_and(|o| o.due <= self.now);
        b.set_port(self.ports.response[0], 0, 1, due.into());
        if due && let Some(op) = self.operations.pop_front() {
            let response = self.ports.response[1];
            b.set_port(response, 0, 64, op.low);
            b.set_port(response, 64, 64, op.high);
            b.set_port(response, 129, 8, op.tag);
        }
        let ring = [
            (RING, (37, 64)),
            (RING_LOG2, (33, 4)),
            (self.records & 0xffff_ffff, (0, 32)),
        ];
        put(b, "fault_ring_i", &ring);
    }

    fn sample(&mut self) -> Cycle {
        let b = &self.block;
        let get = |port: Port, field: Field| b.get_port(port, field.0, field.1);
        if get(self.ports.request[0], (0, 1)) == 1 {
            let request = self.ports.request[1];
            let (tag, addr) = (get(request, (0, 8)), get(request, (152, 56)));
            let word = |at: u64| self.words.get(&at).copied().unwrap_or(0);
            let mut low = word(addr & !15);
            let high = word(addr & !15 | 8);
            if get(request, (209, 2)) == CAS {
                low = word(addr);
                if low == get(request, (8, 64)) {
                    self.words.insert(addr, get(request, (72, 64)));
                }
            }
            self.operations.push_back(Operation {
                due: self.now + self.latency,
                tag,
                low,
                high,
            });
            self.reads += 1;
            self.most_in_flight = self.most_in_flight.max(self.operations.len());
        }
        let answer = self.ports.answer;
        let mut cycle = Cycle {
            answers: [None; CLIENTS],
            wakes: [0; CLIENTS],
            command_done: get(self.ports.command_done, (0, 1)) == 1,
        };
        for (client, (found, wake)) in (0u32..).zip(cycle.answers.iter_mut().zip(&mut cycle.wakes))
        {
            if get(answer[0], (client, 1)) == 1 {
                *found = Some(match get(answer[1], (2 * client, 2)) {
                    0 => Answer::Hit,
                    1 => Answer::Miss(get(answer[2], (4 * client, 4)) as u32),
                    _ => Answer::Full,
                });
            }
            *wake = get(self.ports.wake, (16 * client, 16));
        }
        self.records += get(self.ports.irq, (0, 1));
        let taken = self.command && get(self.ports.command_ready, (0, 1)) == 1;
        if self.block.get("inv_done_o") == 1 {
            let cycles = self.block.get("inv_cycles_o");
            self.invalidations.push(cycles);
        }
        self.command &= !taken;
        cycle
    }
}

/// Sets fields of a port: value, first bit and width.
fn put(block: &mut Block, port: &str, fields: &[(u64, Field)]) {
    for &(value, (lsb, width)) in fields {
        block.set_bits(port, lsb, width, value);
    }
}
