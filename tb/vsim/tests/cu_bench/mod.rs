//! The compute unit with memory and a reference MMU around it.
#![allow(dead_code)] // Each test file uses its part.

pub mod layout;
pub mod memory;
pub mod mmu;
pub mod program;
pub mod reference;
pub mod scene;
pub mod state;

use std::collections::VecDeque;

use hmmu_vsim::{Block, COMPACT};
use rand::SeedableRng;
use rand_pcg::Pcg64;

use layout::{Field, end, thread};
use memory::{MemPort, Memory, PortTiming};
use mmu::{Event, Page, RefMmu};

/// Hardware warps of the block under test.
pub const WARPS: u32 = 16;
/// Cycles from a hold until `busy_o` says what has not come to rest: in its form for FPGAs a unit holds its warps a
/// cycle later, and launch_unit waits for that.
pub const HELD: u64 = if COMPACT { 3 } else { 1 };

/// A thread to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Thread {
    pub job: u64,
    pub ctx: u64,
    pub entry: u64,
    pub arg: u64,
    pub index: u64,
    pub threads: u64,
    pub stack_base: u64,
    pub stack_size: u64,
    pub place: u64,
}

/// How a thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub job: u64,
    pub result: u64,
    pub status: u8,
    pub info: u64,
}

/// Speeds of everything around the compute unit.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub data: PortTiming,
    pub fetch: PortTiming,
    /// Cycles of a translation, smallest and largest.
    pub walk: (u64, u64),
    /// Chance in 256 that a miss port is busy.
    pub busy: u32,
}

impl Timing {
    /// Fast and regular.
    pub fn fixed(latency: u64) -> Self {
        Self {
            data: PortTiming::fixed(latency),
            fetch: PortTiming::fixed(latency),
            walk: (4, 4),
            busy: 0,
        }
    }

    /// Slow, irregular, with back-pressure.
    pub fn rough() -> Self {
        let port = PortTiming {
            latency: (1, 30),
            busy: 100,
            errors: 0,
        };
        Self {
            data: port,
            fetch: port,
            walk: (1, 40),
            busy: 100,
        }
    }
}

/// The bench.
pub struct Bench {
    pub b: Block,
    pub memory: Memory,
    pub mmu: RefMmu,
    pub data: MemPort,
    pub fetch: MemPort,
    pub rng: Pcg64,
    /// Threads to start.
    pub queue: VecDeque<Thread>,
    /// Ends, in order.
    pub ends: Vec<End>,
    /// Job slots that are being killed.
    pub kill: u64,
    /// Job slots that are held.
    pub held: u64,
    pub now: u64,
    pub instructions: u64,
    pub loads: u64,
    pub stores: u64,
    /// Random programs have LR and SC.
    pub reservations: bool,
    /// When `held`, or `kill`, of job 0 rises.
    pub rises: Option<(u64, bool)>,
    /// Memory as it must be at the end.
    pub expected: Option<Memory>,
    running: [usize; 16],
    /// Places of the threads that run, by job.
    places: [Vec<u64>; 16],
}

impl Bench {
    pub fn new(timing: Timing, seed: u64) -> Self {
        let mut b = Block::new("cu").expect("the block cu is not built");
        b.set("end_ready_i", 1);
        b.reset();
        Self {
            b,
            memory: Memory::default(),
            mmu: RefMmu::new(timing.walk, timing.busy),
            data: MemPort::new("data", timing.data),
            fetch: MemPort::new("fetch", timing.fetch),
            rng: Pcg64::seed_from_u64(seed),
            queue: VecDeque::new(),
            ends: Vec::new(),
            kill: 0,
            held: 0,
            now: 0,
            instructions: 0,
            loads: 0,
            stores: 0,
            reservations: true,
            rises: None,
            expected: None,
            running: [0; 16],
            places: std::array::from_fn(|_| Vec::new()),
        }
    }

    /// Maps a page and gives it memory of its own if it has none.
    pub fn map(&mut self, ctx: u64, va: u64, page: Page) {
        if !self.memory.pages.contains_key(&page.ppn) {
            self.memory.page(page.ppn, 0);
        }
        self.mmu.table.insert((ctx, va >> 12 & 0xf_ffff_ffff), page);
    }

    /// Writes a program at `va`, in mapped pages.
    pub fn load_program(&mut self, ctx: u64, va: u64, words: &[u32]) {
        for (k, word) in words.iter().enumerate() {
            let at = va.wrapping_add(4 * k as u64);
            let page = self.mmu.table[&(ctx, at >> 12 & 0xf_ffff_ffff)];
            self.memory
                .set_value(page.ppn << 12 | at & 4095, 4, u64::from(*word));
        }
    }

    /// Threads that run or wait.
    pub fn pending(&self) -> usize {
        self.queue.len() + self.running.iter().sum::<usize>()
    }

    /// One cycle; the test's event that it carried.
    pub fn step(&mut self) -> Option<Event> {
        if let Some((_, kill)) = self.rises.take_if(|(when, _)| *when <= self.now) {
            *(if kill { &mut self.kill } else { &mut self.held }) |= 1;
        }
        let Self {
            b,
            memory,
            mmu,
            data,
            fetch,
            rng,
            now,
            ..
        } = self;
        b.set("time_i", *now);
        b.set("kill_i", self.kill);
        b.set("held_i", self.held);
        data.drive(b, *now, memory, rng);
        fetch.drive(b, *now, memory, rng);
        let sent = mmu.drive(b, *now, rng);
        b.set("thread_valid_i", u64::from(!self.queue.is_empty()));
        if let Some(t) = self.queue.front() {
            let mut put = |f: Field, v: u64| b.set_bits("thread_i", f.0, f.1, v);
            put(thread::JOB, t.job);
            put(thread::CTX, t.ctx);
            put(thread::ENTRY, t.entry);
            put(thread::ARG, t.arg);
            put(thread::INDEX, t.index);
            put(thread::THREADS, t.threads);
            put(thread::STACK_BASE, t.stack_base);
            put(thread::STACK_SIZE, t.stack_size);
            put(thread::PLACE, t.place);
        }
        b.eval();
        if b.get("thread_valid_i") == 1 && b.get("thread_ready_o") == 1 {
            let started = self.queue.pop_front().expect("offered");
            self.running[started.job as usize] += 1;
            self.places[started.job as usize].push(started.place);
        }
        if b.get("end_valid_o") == 1 && b.get("end_ready_i") == 1 {
            let mut get = |f: Field| b.get_bits("end_o", f.0, f.1);
            let (job, place) = (get(end::JOB), get(end::PLACE));
            let places = &mut self.places[job as usize];
            let known = places.iter().position(|p| *p == place);
            places.swap_remove(known.expect("the place of a thread that runs"));
            let (result, status, info) = (get(end::RESULT), get(end::STATUS) as u8, get(end::INFO));
            self.ends.push(End {
                job,
                result,
                status,
                info,
            });
            self.running[job as usize] -= 1;
        }
        self.instructions += b.get("cnt_instructions_o");
        self.loads += b.get("cnt_cu_loads_o");
        self.stores += b.get("cnt_cu_stores_o");
        data.accept(b, *now, memory, rng);
        fetch.accept(b, *now, memory, rng);
        mmu.accept(b, *now, rng);
        b.clock();
        *now += 1;
        sent
    }

    /// Threads of a job slot that run.
    pub fn running(&self, job: usize) -> usize {
        self.running[job]
    }

    /// Some cycles.
    pub fn steps(&mut self, count: u64) {
        for _ in 0..count {
            self.step();
        }
    }

    /// Runs until all threads have ended.
    pub fn run(&mut self, limit: u64) {
        let last = self.now + limit;
        while self.pending() > 0 {
            assert!(
                self.now < last,
                "{} threads did not end: {}",
                self.pending(),
                self.states()
            );
            self.step();
        }
    }

    /// State of each warp, as WARP_STATE shows it.
    pub fn warp(&mut self, warp: u32) -> (u64, u64) {
        self.b.set("warp_sel_i", u64::from(warp));
        self.b.eval();
        let word = self.b.get("warp_state_o");
        (word >> 48 & 15, word & 0xffff_ffff_ffff)
    }

    /// All warps' states as text.
    pub fn states(&mut self) -> String {
        (0..WARPS)
            .map(|w| format!("{w}: {:x?} ", self.warp(w)))
            .collect()
    }

    /// Are all accesses translated before the last event done?
    pub fn drained(&mut self) -> bool {
        self.b.get("drain_done_data_o") == 1 && self.b.get("drain_done_fetch_o") == 1
    }
}
