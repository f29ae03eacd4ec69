//! `launch_unit` with a model of the compute unit around it.

pub mod save;

use std::collections::{BTreeMap, BTreeSet};

use crate::queue::layout::ring_cfg;
use crate::queue::mem_port::{MEM, MemPort, word};
use crate::queue::memory::Memory;
use crate::queue::{TestRng, chance, rng};
use hmmu_regs::{JobStatus, LaunchEntry};
use hmmu_vsim::Block;
use rand::Rng;

pub const RING: u64 = 0x2_0000;
pub const RING_LOG2: u64 = 4;
/// Completions, one every 32 bytes by job id.
pub const COMPLETIONS: u64 = 0x8_0000;
pub const WARPS: usize = 8;
/// The block's own parameter.
pub const PLACES: u64 = 32;
pub const OK: u64 = JobStatus::Ok as u64;

/// A thread in the model of the compute unit.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub slot: u64,
    pub job: u64,
    pub due: u64,
    pub index: u64,
    pub place: u64,
    /// A saved one whose words have not all come.
    pub loading: bool,
}

/// What is known of a job.
#[derive(Clone, Debug, Default)]
pub struct Job {
    pub threads: u64,
    pub ctx: u64,
    pub dealt: u64,
    pub ended: u64,
    pub result: u64,
    pub status: u64,
    pub info: u64,
    pub completed: bool,
    pub irqs: u64,
    /// Saved threads of it do not come back.
    pub lost: bool,
}

/// Result, status and info of a thread, from its job and index.
pub type Outcome = fn(u64, u64) -> (u64, u64, u64);

pub struct Bench {
    pub b: Block,
    pub port: MemPort,
    pub memory: Memory,
    pub rng: TestRng,
    pub prod: u64,
    pub cycle: u64,
    pub jobs: BTreeMap<u64, Job>,
    pub running: Vec<Running>,
    pub outcome: Outcome,
    /// Percent of cycles in which a free warp takes a thread.
    pub eager: u32,
    /// Longest run of a thread in cycles.
    pub slowest: u64,
    pub kill: Option<(bool, u64)>,
    /// A hold, or its end, that is asked for: the job, and which.
    pub hold: Option<(u64, bool)>,
    /// With a hold: the job is saved, and this is where.
    pub area: Option<u64>,
    pub units: save::Units,
    /// The last cycle in which each slot was not held.
    since: [u64; 4],
    /// Jobs that are held.
    pub held: BTreeSet<u64>,
    /// Jobs in the order of their dealt threads.
    pub order: Vec<u64>,
    pub errors: Vec<u64>,
    pub half: BTreeMap<u64, u64>,
    pub finished: u64,
    /// Highest place of any thread.
    pub highest: u64,
    /// The job that completed last.
    pub last: Option<u64>,
}

pub fn fine(job: u64, index: u64) -> (u64, u64, u64) {
    (
        (job << 32 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        OK,
        0,
    )
}

pub fn mixed(job: u64, index: u64) -> (u64, u64, u64) {
    let (result, _, _) = fine(job, index);
    if result % 7 == 0 {
        (result, 3 + result % 50, index * 8)
    } else {
        (result, OK, 0)
    }
}

impl Bench {
    pub fn new(seed: u64, outcome: Outcome) -> Self {
        let mut b = Block::new("launch_unit").expect("the block launch_unit is not built");
        b.reset();
        ring_cfg::BASE.set(&mut b, "ring_i", RING);
        ring_cfg::SIZE_LOG2.set(&mut b, "ring_i", RING_LOG2);
        b.set("enable_i", 1);
        let mut port = MemPort::new(MEM);
        if seed % 2 == 1 {
            (port.ready, port.latency) = (60, (1, 30));
        }
        Self {
            b,
            port,
            memory: Memory::default(),
            rng: rng(seed),
            prod: 0,
            cycle: 0,
            jobs: BTreeMap::new(),
            running: Vec::new(),
            outcome,
            eager: 50,
            slowest: 60,
            kill: None,
            hold: None,
            area: None,
            units: save::Units::default(),
            since: [0; 4],
            held: BTreeSet::new(),
            order: Vec::new(),
            errors: Vec::new(),
            half: BTreeMap::new(),
            finished: 0,
            highest: 0,
            last: None,
        }
    }

    /// Puts an entry into the ring.
    pub fn submit(&mut self, entry: LaunchEntry) {
        let slot = self.prod & ((1 << RING_LOG2) - 1);
        self.memory.write_words(RING + 64 * slot, &entry.0);
        self.prod += 1;
        ring_cfg::INDEX.set(&mut self.b, "ring_i", self.prod);
    }

    /// Launches a job that is known from here on.
    pub fn launch(&mut self, id: u64, ctx: u64, threads: u64) {
        self.jobs.insert(
            id,
            Job {
                threads,
                ctx,
                result: u64::MAX,
                ..Job::default()
            },
        );
        self.submit(entry(id, ctx, threads));
    }

    pub fn step(&mut self) {
        self.cycle += 1;
        self.b.set("time_i", self.cycle);
        self.port.drive(&mut self.b, &mut self.rng);
        let ready = self.running.len() < WARPS && chance(&mut self.rng, self.eager);
        self.b.set("thread_ready_i", u64::from(ready));
        let ending = self.offer_end();
        let (by_ctx, victim) = self.kill.unwrap_or_default();
        self.b.set("kill_valid_i", u64::from(self.kill.is_some()));
        self.b.set("kill_by_ctx_i", u64::from(by_ctx));
        self.b
            .set("kill_job_i", self.hold.map_or(victim, |(id, _)| id));
        self.b.set("hold_valid_i", u64::from(self.hold.is_some()));
        let on = self.hold.is_some_and(|(_, on)| on);
        self.b.set("hold_on_i", u64::from(on));
        self.b.set("hold_save_i", u64::from(self.area.is_some()));
        self.b.set("hold_area_i", self.area.unwrap_or_default());
        // Held threads stand still some cycles after they are told.
        let mask = self.b.get("held_mask_o");
        for (slot, since) in self.since.iter_mut().enumerate() {
            if mask >> slot & 1 == 0 {
                *since = self.cycle;
            }
        }
        let moving = |t: &&Running| self.cycle - self.since[t.slot as usize] <= t.index % 7;
        let busy = self.running.iter().filter(moving);
        let busy = busy.fold(ending, |busy, t| busy | 1 << t.slot);
        // What is being saved has come to rest.
        self.b.set("busy_i", busy & !self.units.saving);
        self.drive_units();
        self.b.set("kill_ctx_i", victim & 15);
        self.b.eval();
        self.sample_units();
        if ready && self.b.get("thread_valid_o") == 1 {
            self.take_thread();
        }
        if let Some((id, on)) = self.hold
            && self.b.get("hold_done_o") == 1
        {
            self.hold = None;
            if self.area.take().is_some() {
                self.held.remove(&id);
            } else if on {
                self.held.insert(id);
            } else {
                self.held.remove(&id);
            }
        }
        if self.b.get("kill_done_o") == 1 {
            self.kill = None;
            let mine = |j: &Running| {
                if by_ctx {
                    self.jobs[&j.job].ctx == victim
                } else {
                    j.job == victim
                }
            };
            assert!(!self.running.iter().any(mine), "a killed job still runs");
        }
        self.take_write();
        if self.b.get("irq_job_o") == 1 {
            let last = self.last.expect("an interrupt before any completion");
            self.jobs.get_mut(&last).expect("known").irqs += 1;
        }
        if self.b.get("err_valid_o") == 1 {
            let code = self.b.get("err_code_o");
            self.errors.push(code);
        }
        self.finished += self.b.get("cnt_jobs_o");
        self.b.clock();
    }

    /// Shows the end of a thread, if one is due; the slot of its job, as a mask.
    pub fn offer_end(&mut self) -> u64 {
        let mask = self.b.get("kill_mask_o");
        let cycle = self.cycle;
        let over =
            |t: &Running| t.due <= cycle || mask >> t.slot & 1 == 1 && cycle.is_multiple_of(4);
        // What stands still does not end but by a kill.
        let held = self.b.get("held_mask_o");
        let since = &self.since;
        let rests = |t: &Running| {
            let long = cycle - since[t.slot as usize] > t.index % 7;
            long && (held & !mask) >> t.slot & 1 == 1
        };
        let saving = self.units.saving;
        let free = |t: &Running| saving >> t.slot & 1 == 0 && !t.loading && !rests(t);
        let index = self.running.iter().position(|t| over(t) && free(t));
        self.b.set("end_valid_i", u64::from(index.is_some()));
        let Some(index) = index else { return 0 };
        let t = self.running.remove(index);
        let killed = mask >> t.slot & 1 == 1;
        let (result, status, info) = if killed {
            (u64::MAX, JobStatus::Killed as u64, 0)
        } else {
            (self.outcome)(t.job, t.index)
        };
        self.b.set_bits("end_i", 0, 48, info);
        self.b.set_bits("end_i", 48, 8, status);
        self.b.set_bits("end_i", 56, 64, result);
        self.b.set_bits("end_i", 120, 4, t.slot);
        self.b.set_bits("end_i", 124, 6, t.place);
        let job = self.jobs.get_mut(&t.job).expect("known");
        job.ended += 1;
        if status == OK {
            job.result = job.result.min(result);
        } else if !killed && job.status == OK {
            (job.status, job.info) = (status, info);
        }
        1 << t.slot
    }

    /// The compute unit takes a thread: its fields must be those of its job.
    pub fn take_thread(&mut self) {
        let mut get = |lsb, width| self.b.get_bits("thread_o", lsb, width);
        let restored = get(334, 1) == 1;
        let id = get(256, 64) >> 16;
        let expected = entry(id, self.jobs[&id].ctx, self.jobs[&id].threads);
        assert_eq!(
            [get(0, 64), get(64, 64)],
            [expected.stack_size(), expected.stack_base()]
        );
        assert_eq!(
            [get(128, 32), get(192, 64), get(320, 4)],
            [expected.threads(), expected.arg(), expected.ctx()]
        );
        let (index, slot, place) = (get(160, 32), get(324, 4), get(328, 6));
        let others = self.running.iter().filter(|t| t.slot == slot);
        let taken: Vec<u64> = others.map(|t| t.place).collect();
        // One that has ended since the deal may have had a lower one.
        assert!(!taken.contains(&place), "job {id}: a place for two");
        assert!(place < PLACES, "job {id}: place {place}");
        self.highest = self.highest.max(place);
        assert!(
            !self.held.contains(&id),
            "job {id}: a thread while it is held"
        );
        let job = self.jobs.get_mut(&id).expect("known");
        if !restored {
            assert_eq!(index, job.dealt, "job {id}: threads come in order");
            job.dealt += 1;
        }
        assert!(!job.completed, "job {id}: a thread after its completion");
        self.order.push(id);
        let due = self.cycle + self.rng.random_range(1..=self.slowest);
        self.running.push(Running {
            slot,
            job: id,
            due,
            index,
            place,
            loading: restored,
        });
    }

    /// Takes a write of this cycle: half of a completion.
    pub fn take_write(&mut self) {
        let Some(access) = self
            .port
            .sample(&mut self.b, &mut self.memory, &mut self.rng)
        else {
            return;
        };
        if !access.write {
            return;
        }
        assert_eq!(
            access.strb, 0xffff,
            "a completion is written in whole beats"
        );
        if access.addr >= save::AREAS {
            return self.units.wrote(access.addr, &access.data);
        }
        let id = (access.addr - COMPLETIONS) / 32;
        let words = [word(&access.data[..8]), word(&access.data[8..])];
        if access.addr & 16 != 0 {
            self.half.insert(id, words[0]);
            let job = &self.jobs[&id];
            assert!(
                job.lost || job.ended == job.dealt,
                "job {id}: completed before its threads ended"
            );
            assert_eq!(
                (words[0], words[1] & 0xff, words[1] >> 16),
                (job.result, job.status, job.info),
                "job {id}"
            );
            return;
        }
        assert!(
            self.half.contains_key(&id),
            "job {id}: words 0 and 1 came first"
        );
        assert_eq!(words[0], id ^ 0xf00d, "fence value");
        assert!(words[1] <= self.cycle, "stamp in the future");
        let job = self.jobs.get_mut(&id).expect("known");
        assert!(!job.completed, "job {id}: completed twice");
        job.completed = true;
        self.last = Some(id);
    }

    pub fn run_until(&mut self, limit: u64, what: &str, done: impl Fn(&Self) -> bool) {
        let last = self.cycle + limit;
        while !done(self) {
            assert!(self.cycle < last, "{what} does not come: {:?}", self.jobs);
            self.step();
        }
    }

    pub fn all_done(&self) -> bool {
        self.jobs.values().all(|j| j.completed)
    }
}

/// The entry of a job; all its fields follow from its id.
pub fn entry(id: u64, ctx: u64, threads: u64) -> LaunchEntry {
    LaunchEntry([0; 8])
        .with_version(1)
        .with_irq(id & 1)
        .with_ctx(ctx)
        .with_threads(threads)
        .with_entry(id << 16)
        .with_arg(id.wrapping_mul(0x1_0001_0001))
        .with_stack_base(id << 40)
        .with_stack_size(id * 4096 + 16)
        .with_fence_addr(COMPLETIONS + 32 * id)
        .with_fence_value(id ^ 0xf00d)
        .with_job(id)
}
