//! Order on the whole device, at the place where it counts: what arrives at the host, TLP by TLP, on links of random
//! rate, latency, jitter and credits, whose completions are split and reordered.
//!
//! Copies on all channels, jobs in two contexts, faults, invalidations, suspended jobs, a dirty log and register reads go
//! on at once. A [`Witness`] looks at memory whenever something arrives:
//!
//! - a fence finds all data of its descriptor, job or command in memory, and so does a register that tells of its end,
//! - a message finds the fence or record that it announces, and each of these gets one,
//! - the second half of a fault record was there before the first; a record of the dirty log finds D set,
//! - D is set in the table before a store arrives,
//! - after the acknowledgement of an invalidation no store arrives at the old page, and D tells of those before it;
//!   nothing arrives from a held job.

mod counts;
mod link;
mod program;
mod witness;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use hmmu_model::{BusAddr, PhysAddr, VramAddr};
use hmmu_regs::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::rig::{LOG2, Rig};
use counts::Counts;
use link::link;
use program::{PAGES, ROUNDS, THREADS, program};
use witness::{Promise, Witness};

/// Virtual addresses: of a job whose pages are taken away, of jobs that are left alone, and of copies.
const VICTIM: u64 = 0x7f00_0000_0000;
const QUIET: u64 = 0x7e00_0000_0000;
const COPIES: u64 = 0x7d00_0000_0000;
/// The context whose tables are in system memory and which is logged.
const LOGGED: u64 = 1;
/// Longest that everything may take to end once nothing new begins, in cycles: with one credit of each kind on Gen1 x2
/// some 600 000.
const PATIENCE: u64 = 3_000_000;
const RING: u64 = 1 << LOG2;

/// A copy channel's ring and what it is to do next.
struct Channel {
    base: u64,
    registers: u64,
    produced: u64,
    fences: VecDeque<(u64, u64)>,
}

/// What becomes of a page of a victim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Missing,
    Mapped(u64),
    /// Until a fence: the frame that it leaves.
    Closing(u64, (u64, u64)),
}

/// A job whose pages come and go.
struct Victim {
    pages: [At; PAGES as usize],
    fence: (u64, u64),
    /// Suspended by a command with this fence, or running.
    held: Option<(u64, u64)>,
}

struct Storm {
    rig: Rig,
    rng: Pcg64Mcg,
    witness: Rc<RefCell<Witness>>,
    channels: Vec<Channel>,
    /// Destinations of copies, physical and virtual ones, each with the fence of its last one.
    places: Vec<(u64, Option<u64>, (u64, u64))>,
    victims: [Victim; 2],
    /// Jobs left alone, so far.
    quiet: u64,
    jobs: Vec<(u64, u64)>,
    commands: VecDeque<(u64, u64)>,
    log: u64,
    logged: u64,
    moves: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let ram = crate::ram::SharedRam::new();
        let witness = Rc::new(RefCell::new(Witness::new(&ram)));
        let device = crate::rtl::on_link(&link(seed), &ram, Some(witness.clone()));
        // Slow links are slow, and not broken.
        let mut rig = Rig::on(device, ram, 100_000);
        let log = rig.ram_page();
        rig.device.write_register(reg::DIRTY_BASE, log);
        rig.device.write_register(reg::DIRTY_SIZE, LOG2);
        let root = rig.roots[LOGGED as usize].0;
        let mode = CtxMode::Translate as u64 | 4;
        rig.control(CtrlOp::CtxSet, LOGGED, 0, 0, root, mode);
        let rings = ((rig.faults, 1 << rig.fault_log2), (log, RING));
        witness.borrow_mut().rings(rings.0, rings.1);
        for ctx in 0..2 {
            rig.load(ctx, &program());
        }
        let caps = rig.device.read_register(reg::CAPS).to_le_bytes();
        let channels = (0..u64::from(caps[5]))
            .map(|n| {
                let (base, registers) = (rig.ram_page(), reg::COPY_BASE + 64 * n);
                rig.device.write_register(registers, base);
                rig.device.write_register(registers + 8, LOG2);
                Channel {
                    base,
                    registers,
                    produced: 0,
                    fences: VecDeque::new(),
                }
            })
            .collect();
        // Sources: in VRAM and in system memory.
        let bytes: Vec<u8> = (0..8192).map(pattern).collect();
        rig.device.vram_write(VramAddr(0x10_0000), &bytes[..4096]);
        rig.device.vram_write(VramAddr(0x10_1000), &bytes[4096..]);
        let mut storm = Self {
            places: Vec::new(),
            rng: Pcg64Mcg::seed_from_u64(seed),
            witness,
            channels,
            victims: std::array::from_fn(|_| Victim {
                pages: [At::Missing; PAGES as usize],
                fence: (0, 0),
                held: None,
            }),
            quiet: 0,
            jobs: Vec::new(),
            commands: VecDeque::new(),
            log,
            logged: 0,
            moves: 0,
            rig,
        };
        for n in 0..24 {
            let va = COPIES + 4096 * n;
            let place = if n % 2 == 0 {
                (storm.map(LOGGED, va, false), Some(va), (0, 0))
            } else {
                (storm.rig.ram_page(), None, (0, 0))
            };
            storm.places.push(place);
        }
        for ctx in 0..2 {
            let fence = storm.job(ctx, VICTIM, Vec::new());
            storm.victims[ctx as usize].fence = fence;
        }
        storm
    }

    /// A new page of system memory at `va`, mapped when the device may use it.
    fn map(&mut self, ctx: u64, va: u64, held: bool) -> u64 {
        let frame = self.rig.ram_page();
        self.map_frame(ctx, va, frame, held);
        frame
    }

    fn map_frame(&mut self, ctx: u64, va: u64, frame: u64, held: bool) {
        let entry = self.rig.pte_at(ctx as usize, va, 0);
        let logged = (ctx == LOGGED).then_some((va, entry.0));
        self.witness.borrow_mut().mapped(frame, logged, held);
        let leaf = Rig::leaf(PhysAddr::system(BusAddr(frame)), "rw");
        self.rig.phys_write64(entry, leaf.0[0]);
    }

    fn job(&mut self, ctx: u64, va: u64, pieces: Vec<(u64, Vec<u8>)>) -> (u64, u64) {
        let (entry, fence) = self.rig.launch_entry(ctx, va, THREADS);
        let promise = Promise::Bytes(pieces);
        let expected = (Some(Vector::Job), None);
        let mut witness = self.witness.borrow_mut();
        witness.expect(fence, expected.0, expected.1, promise);
        drop(witness);
        self.rig.push(reg::LAUNCH_BASE, entry.0);
        self.jobs.push(fence);
        fence
    }

    /// A job on pages of its own, which nobody touches.
    fn quiet_job(&mut self) {
        self.jobs.retain(|&fence| !self.rig.done(fence));
        if self.quiet == 12 || self.jobs.len() > 3 {
            return;
        }
        let (ctx, va) = (self.quiet % 2, QUIET + 4096 * PAGES * self.quiet);
        self.quiet += 1;
        let words: Vec<u8> = (0..THREADS).flat_map(|_| ROUNDS.to_le_bytes()).collect();
        let pieces = (0..PAGES)
            .map(|page| (self.map(ctx, va + 4096 * page, false), words.clone()))
            .collect();
        self.job(ctx, va, pieces);
    }

    fn command(
        &mut self,
        op: CtrlOp,
        ctx: u64,
        addr: u64,
        arg0: u64,
        promise: Promise,
    ) -> (u64, u64) {
        let (at, value) = self.rig.new_fence();
        let irq = self.rng.random_bool(0.3);
        let vector = irq.then_some(Vector::Ctrl);
        let mut witness = self.witness.borrow_mut();
        witness.expect((at, value), vector, None, promise);
        drop(witness);
        let entry = Rig::control_entry(op, ctx, addr, 4096, arg0, 0)
            .with_irq(irq.into())
            .with_fence_addr(at)
            .with_fence_value(value);
        self.rig.push(reg::CTRL_BASE, entry.0);
        self.commands.push_back((at, value));
        (at, value)
    }

    fn may_command(&mut self) -> bool {
        while self.commands.front().is_some_and(|&f| self.rig.done(f)) {
            self.commands.pop_front();
        }
        self.commands.len() < RING as usize - 3
    }

    fn copy(&mut self) {
        let n = self.rng.random_range(0..self.channels.len());
        let rig = &self.rig;
        let channel = &mut self.channels[n];
        while channel.fences.front().is_some_and(|&f| rig.done(f)) {
            channel.fences.pop_front();
        }
        let place = self.rng.random_range(0..self.places.len());
        let (frame, va, last) = self.places[place];
        if channel.fences.len() as u64 == RING || (last.1 != 0 && !self.rig.done(last)) {
            return;
        }
        let fence = self.rig.new_fence();
        let fill = self.rng.random_bool(0.2);
        let to = self.rng.random_range(0..2000) & if fill { !7 } else { !0 };
        let len = 1 + self.rng.random_range(0..2000);
        let len = if fill { len * 8 % 2000 } else { len };
        let from = self.rng.random_range(0..4000u64);
        let value = self.rng.random::<u64>();
        let mut bytes: Vec<u8> = (from..from + len).map(pattern).collect();
        let mut entry = CopyEntry::default()
            .with_version(FORMAT_VERSION)
            .with_op(CopyOp::Copy as u64)
            .with_src(PhysAddr::vram(VramAddr(0x10_0000 + from)).0)
            .with_dst(va.unwrap_or(frame) + to)
            .with_dst_va(va.is_some().into())
            .with_ctx(LOGGED)
            .with_len(len)
            .with_fence_addr(fence.0)
            .with_fence_value(fence.1);
        if fill {
            entry = entry.with_op(CopyOp::Fill as u64).with_src(value);
            bytes = value.to_le_bytes().repeat(len as usize / 8);
        }
        let irq = self.rng.random_bool(0.5);
        let vector = irq.then_some(Vector::Copy);
        let mut witness = self.witness.borrow_mut();
        witness.expect(
            fence,
            vector,
            Some(n),
            Promise::Bytes(vec![(frame + to, bytes)]),
        );
        drop(witness);
        let channel = &mut self.channels[n];
        let at = channel.base + 64 * (channel.produced % RING);
        self.rig.ram.set(at, &entry.with_irq(irq.into()).to_bytes());
        channel.produced += 1;
        channel.fences.push_back(fence);
        self.rig
            .device
            .write_register(channel.registers + 0x10, channel.produced);
        self.places[place].2 = fence;
    }

    /// Takes a page of a victim away.
    fn take_page(&mut self) {
        let (ctx, page) = (self.rng.random_range(0..2), self.rng.random_range(0..PAGES));
        let va = VICTIM + 4096 * page;
        if let At::Mapped(frame) = self.victims[ctx as usize].pages[page as usize]
            && self.moves < 60
        {
            self.moves += 1;
            self.rig.revoke(ctx as usize, va);
            let fence = self.command(CtrlOp::Invalidate, ctx, va, 0, Promise::Closed(frame));
            self.victims[ctx as usize].pages[page as usize] = At::Closing(frame, fence);
        }
    }

    /// Suspends a victim, or lets it go on.
    fn hold(&mut self) {
        let ctx = self.rng.random_range(0..2);
        let victim = &self.victims[ctx];
        let (job, frames) = (victim.fence.1, frames(victim));
        match victim.held {
            None => {
                let promise = Promise::Held(frames);
                let fence = self.command(CtrlOp::Suspend, ctx as u64, 0, job, promise);
                self.victims[ctx].held = Some(fence);
            }
            Some(fence) if self.rig.done(fence) => self.resume(ctx),
            Some(_) => {}
        }
    }

    fn resume(&mut self, ctx: usize) {
        let (job, frames) = (self.victims[ctx].fence.1, frames(&self.victims[ctx]));
        self.witness.borrow_mut().release(&frames);
        self.command(CtrlOp::Resume, ctx as u64, 0, job, Promise::None);
        self.victims[ctx].held = None;
    }

    /// The host's part: faults, pages that have left their place, records.
    fn serve(&mut self) {
        if let Some(record) = self.rig.take_fault() {
            let slot = self.rig.fault_seen.wrapping_sub(1) % (1 << self.rig.fault_log2);
            let at = self.rig.faults + 32 * u64::from(slot);
            self.rig.ram.set(at + 16, &[0; 16]);
            let (ctx, va) = (record.ctx(), record.addr());
            assert!((VICTIM..VICTIM + 4096 * PAGES).contains(&va), "{va:#x}");
            let page = ((va - VICTIM) / 4096) as usize;
            if self.victims[ctx as usize].pages[page] == At::Missing {
                let frame = self.map(ctx, va, false);
                self.victims[ctx as usize].pages[page] = At::Mapped(frame);
            }
            if let At::Mapped(_) = self.victims[ctx as usize].pages[page] {
                self.command(CtrlOp::Replay, ctx, va, 0, Promise::None);
            }
        }
        for ctx in 0..2 {
            for page in 0..PAGES {
                let place = self.victims[ctx as usize].pages[page as usize];
                let At::Closing(old, fence) = place else {
                    continue;
                };
                if !self.rig.done(fence) || !self.may_command() {
                    continue;
                }
                let va = VICTIM + 4096 * page;
                if ctx == LOGGED {
                    self.witness.borrow_mut().retire(va);
                }
                let new = self.rig.ram_page();
                let content = self.rig.ram.bytes(old, 4096);
                self.rig.ram.set(new, &content);
                // A suspended job must not reach the new one either, unless its suspension is not over yet.
                let held = self.victims[ctx as usize].held;
                let held = held.is_some_and(|fence| self.rig.done(fence));
                self.map_frame(ctx, va, new, held);
                self.command(CtrlOp::Replay, ctx, va, 0, Promise::None);
                self.victims[ctx as usize].pages[page as usize] = At::Mapped(new);
            }
        }
        let at = self.log + 16 * (self.logged % RING);
        let record = DirtyRecord([self.rig.ram.read64(at), 0]);
        let phase = 1 - (self.logged / RING & 1);
        if record.version() == FORMAT_VERSION && record.phase() == phase {
            self.logged += 1;
            self.rig.device.write_register(reg::DIRTY_CONS, self.logged);
        }
    }

    /// Reads one of the registers that tell how far the device is.
    fn look(&mut self) {
        let n = self.rng.random_range(0..self.channels.len() + 2);
        let offset = match n {
            0 => reg::FAULT_PROD,
            1 => reg::DIRTY_PROD,
            _ => self.channels[n - 2].registers + 0x18,
        };
        self.rig.device.read_register(offset);
    }

    fn run(mut self, seed: u64, steps: u64) -> Counts {
        let label = format!("seed {seed}");
        for _ in 0..steps {
            let pause = self.rng.random_range(1..60);
            self.rig.tick(pause);
            if !self.may_command() {
                continue;
            }
            self.serve();
            match self.rng.random_range(0..12) {
                0..5 => self.copy(),
                5..8 => self.take_page(),
                8 => self.quiet_job(),
                9 => self.hold(),
                _ => self.look(),
            }
        }
        let end = self.rig.device.time() + PATIENCE;
        loop {
            for ctx in 0..2 {
                let held = self.victims[ctx].held;
                if held.is_some_and(|fence| self.rig.done(fence)) {
                    self.resume(ctx);
                }
            }
            self.rig.tick(20);
            if self.may_command() {
                self.serve();
            }
            if self.witness.borrow().is_done() && self.victims.iter().all(|v| v.held.is_none()) {
                break;
            }
            assert!(self.rig.device.time() < end, "{label}: it does not end");
        }
        self.rig.tick(20_000);
        for _ in 0..=RING {
            self.serve();
        }
        self.check(&label)
    }

    fn check(&mut self, label: &str) -> Counts {
        for (ctx, victim) in self.victims.iter().enumerate() {
            for (page, place) in victim.pages.iter().enumerate() {
                let At::Mapped(frame) = place else {
                    panic!("{label}: page {page} of context {ctx} is not there");
                };
                for t in 0..THREADS {
                    let word = self.rig.ram.read64(frame + 8 * t);
                    assert_eq!(word, ROUNDS, "{label}: context {ctx}, page {page}");
                }
            }
        }
        let witness = self.witness.borrow();
        witness.check_log(label);
        let told: u64 = witness.told.values().sum();
        Counts {
            fences: witness.arrived[0] + witness.arrived[2] + witness.arrived[3],
            messages: witness.messages.iter().sum(),
            faults: witness.arrived[Vector::Fault as usize],
            records: told,
            stores: witness.stores,
            answers: witness.answers,
            moves: self.moves,
            cycles: self.rig.device.time(),
        }
    }
}

fn frames(victim: &Victim) -> Vec<u64> {
    let mapped = victim.pages.iter().filter_map(|place| match place {
        At::Mapped(frame) => Some(*frame),
        _ => None,
    });
    mapped.collect()
}

fn pattern(at: u64) -> u8 {
    (at * 13 + at / 256) as u8
}

/// Seeds of storms: a few, or one for each ten thousand operations of `HMMU_SOAK`.
fn seeds() -> u64 {
    std::env::var("HMMU_SOAK").map_or(3, |text| {
        let operations: u64 = text.parse().expect("HMMU_SOAK is a number of operations");
        operations.div_ceil(10_000)
    })
}

#[test]
fn what_arrives_finds_what_must_be_there() {
    let mut sum = Counts::default();
    let count = seeds();
    for seed in 0..count {
        println!("seed {seed}");
        let counts = Storm::new(seed).run(seed, 500);
        println!("{counts:?}");
        sum.add(&counts);
    }
    println!("{count} seeds: {sum:?}");
    assert!(sum.fences > 40 * count && sum.messages > 40 * count && sum.faults > 10 * count);
    assert!(sum.moves > 10 * count && sum.records > 10 * count && sum.stores > 100 * count);
}
