//! `launch_unit` with a model of the compute unit: dealing, results, completions, kills, bad entries.

mod queue;

use std::collections::{BTreeMap, BTreeSet};

use hmmu_regs::{ErrorCode, JobStatus, LaunchEntry};
use hmmu_vsim::Block;
use queue::layout::ring_cfg;
use queue::mem_port::{MEM, MemPort, word};
use queue::memory::Memory;
use queue::{TestRng, chance, rng};
use rand::Rng;

const RING: u64 = 0x2_0000;
const RING_LOG2: u64 = 4;
/// Completions, one every 32 bytes by job id.
const COMPLETIONS: u64 = 0x8_0000;
const WARPS: usize = 8;
const OK: u64 = JobStatus::Ok as u64;

/// A thread in the model of the compute unit.
#[derive(Clone, Copy, Debug)]
struct Running {
    slot: u64,
    job: u64,
    due: u64,
    index: u64,
}

/// What is known of a job.
#[derive(Clone, Debug, Default)]
struct Job {
    threads: u64,
    ctx: u64,
    dealt: u64,
    ended: u64,
    result: u64,
    status: u64,
    info: u64,
    completed: bool,
    irqs: u64,
}

/// Result, status and info of a thread, from its job and index.
type Outcome = fn(u64, u64) -> (u64, u64, u64);

struct Bench {
    b: Block,
    port: MemPort,
    memory: Memory,
    rng: TestRng,
    prod: u64,
    cycle: u64,
    jobs: BTreeMap<u64, Job>,
    running: Vec<Running>,
    outcome: Outcome,
    /// Percent of cycles in which a free warp takes a thread.
    eager: u32,
    /// Longest run of a thread in cycles.
    slowest: u64,
    kill: Option<(bool, u64)>,
    /// A hold, or its end, that is asked for: the job, and which.
    hold: Option<(u64, bool)>,
    /// Jobs that are held.
    held: BTreeSet<u64>,
    /// Jobs in the order of their dealt threads.
    order: Vec<u64>,
    errors: Vec<u64>,
    half: BTreeMap<u64, u64>,
    finished: u64,
    /// The job that completed last.
    last: Option<u64>,
}

fn fine(job: u64, index: u64) -> (u64, u64, u64) {
    (
        (job << 32 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        OK,
        0,
    )
}

fn mixed(job: u64, index: u64) -> (u64, u64, u64) {
    let (result, _, _) = fine(job, index);
    if result % 7 == 0 {
        (result, 3 + result % 50, index * 8)
    } else {
        (result, OK, 0)
    }
}

impl Bench {
    fn new(seed: u64, outcome: Outcome) -> Self {
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
            held: BTreeSet::new(),
            order: Vec::new(),
            errors: Vec::new(),
            half: BTreeMap::new(),
            finished: 0,
            last: None,
        }
    }

    /// Puts an entry into the ring.
    fn submit(&mut self, entry: LaunchEntry) {
        let slot = self.prod & ((1 << RING_LOG2) - 1);
        self.memory.write_words(RING + 64 * slot, &entry.0);
        self.prod += 1;
        ring_cfg::INDEX.set(&mut self.b, "ring_i", self.prod);
    }

    /// Launches a job that is known from here on.
    fn launch(&mut self, id: u64, ctx: u64, threads: u64) {
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

    fn step(&mut self) {
        self.cycle += 1;
        self.b.set("time_i", self.cycle);
        self.port.drive(&mut self.b, &mut self.rng);
        let ready = self.running.len() < WARPS && chance(&mut self.rng, self.eager);
        self.b.set("thread_ready_i", u64::from(ready));
        self.offer_end();
        let (by_ctx, victim) = self.kill.unwrap_or_default();
        self.b.set("kill_valid_i", u64::from(self.kill.is_some()));
        self.b.set("kill_by_ctx_i", u64::from(by_ctx));
        self.b
            .set("kill_job_i", self.hold.map_or(victim, |(id, _)| id));
        self.b.set("hold_valid_i", u64::from(self.hold.is_some()));
        let on = self.hold.is_some_and(|(_, on)| on);
        self.b.set("hold_on_i", u64::from(on));
        // Held threads stand still some cycles after they are told.
        let mask = self.b.get("held_mask_o");
        let moving =
            |t: &&Running| mask >> t.slot & 1 == 0 || !(self.cycle + t.index).is_multiple_of(5);
        let busy = self.running.iter().filter(moving);
        let busy = busy.fold(0, |busy, t| busy | 1 << t.slot);
        self.b.set("busy_i", busy);
        self.b.set("kill_ctx_i", victim & 15);
        self.b.eval();
        if ready && self.b.get("thread_valid_o") == 1 {
            self.take_thread();
        }
        if let Some((id, on)) = self.hold
            && self.b.get("hold_done_o") == 1
        {
            self.hold = None;
            if on {
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

    /// Shows the end of a thread, if one is due.
    fn offer_end(&mut self) {
        let mask = self.b.get("kill_mask_o");
        let cycle = self.cycle;
        let over =
            |t: &Running| t.due <= cycle || mask >> t.slot & 1 == 1 && cycle.is_multiple_of(4);
        let index = self.running.iter().position(over);
        self.b.set("end_valid_i", u64::from(index.is_some()));
        let Some(index) = index else { return };
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
        let job = self.jobs.get_mut(&t.job).expect("known");
        job.ended += 1;
        if status == OK {
            job.result = job.result.min(result);
        } else if !killed && job.status == OK {
            (job.status, job.info) = (status, info);
        }
    }

    /// The compute unit takes a thread: its fields must be those of its job.
    fn take_thread(&mut self) {
        let mut get = |lsb, width| self.b.get_bits("thread_o", lsb, width);
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
        let (index, slot) = (get(160, 32), get(324, 4));
        assert!(
            !self.held.contains(&id),
            "job {id}: a thread while it is held"
        );
        let job = self.jobs.get_mut(&id).expect("known");
        assert_eq!(index, job.dealt, "job {id}: threads come in order");
        assert!(!job.completed, "job {id}: a thread after its completion");
        job.dealt += 1;
        self.order.push(id);
        let due = self.cycle + self.rng.random_range(1..=self.slowest);
        self.running.push(Running {
            slot,
            job: id,
            due,
            index,
        });
    }

    /// Takes a write of this cycle: half of a completion.
    fn take_write(&mut self) {
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
        let id = (access.addr - COMPLETIONS) / 32;
        let words = [word(&access.data[..8]), word(&access.data[8..])];
        if access.addr & 16 != 0 {
            self.half.insert(id, words[0]);
            let job = &self.jobs[&id];
            assert_eq!(
                job.ended, job.dealt,
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

    fn run_until(&mut self, limit: u64, what: &str, done: impl Fn(&Self) -> bool) {
        let last = self.cycle + limit;
        while !done(self) {
            assert!(self.cycle < last, "{what} does not come: {:?}", self.jobs);
            self.step();
        }
    }

    fn all_done(&self) -> bool {
        self.jobs.values().all(|j| j.completed)
    }
}

/// The entry of a job; all its fields follow from its id.
fn entry(id: u64, ctx: u64, threads: u64) -> LaunchEntry {
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

#[test]
fn random_jobs_complete_with_the_minimum_and_the_first_error() {
    for seed in 0..30 {
        let mut bench = Bench::new(seed, if seed % 3 == 0 { fine } else { mixed });
        let mut id = 1;
        while id < 40 {
            if bench.prod - bench.b.get("cons_o") < 1 << RING_LOG2 && chance(&mut bench.rng, 5) {
                let threads = bench.rng.random_range(1..30);
                bench.launch(id, id % 16, threads);
                id += 1;
            }
            bench.step();
        }
        bench.run_until(100_000, "the last completion", Bench::all_done);
        (0..20).for_each(|_| bench.step());
        assert_eq!(bench.b.get("idle_o"), 1, "seed {seed}");
        assert_eq!(
            (bench.finished, bench.b.get("cons_o")),
            (39, 39),
            "seed {seed}"
        );
        for (id, job) in &bench.jobs {
            assert_eq!(
                (job.dealt, job.ended),
                (job.threads, job.threads),
                "seed {seed}: job {id}"
            );
            assert_eq!(job.irqs, id & 1, "seed {seed}: interrupts of job {id}");
        }
        assert!(bench.errors.is_empty(), "seed {seed}: {:?}", bench.errors);
    }
}

#[test]
fn four_jobs_take_turns() {
    let mut bench = Bench::new(2, fine);
    bench.eager = 0;
    (1..=4).for_each(|id| bench.launch(id, id, 200));
    bench.run_until(1000, "the fourth job", |b| b.cycle > 200);
    (bench.eager, bench.slowest) = (100, 8);
    bench.run_until(10_000, "the last completion", Bench::all_done);
    // The first thread waited at the port; from then on each job has every fourth.
    for turn in bench.order[4..700].windows(4) {
        let mut jobs = turn.to_vec();
        jobs.sort_unstable();
        assert_eq!(jobs, [1, 2, 3, 4]);
    }
}

#[test]
fn a_kill_ends_the_jobs_it_names() {
    for seed in 0..60 {
        let mut bench = Bench::new(seed, fine);
        (1..=6).for_each(|id| bench.launch(id, id % 3, 400));
        // By then jobs 1 to 4 are in the slots; 5 and 6 wait in the ring.
        let at = bench.rng.random_range(400..1500);
        bench.run_until(at + 1, "the moment", |b| b.cycle >= at);
        let by_ctx = seed % 2 == 0;
        let victim = if by_ctx { 1 } else { 2 };
        // A warp that never ends by itself must not delay the kill.
        bench.slowest = 1_000_000;
        for (id, job) in &mut bench.jobs {
            if *id <= 4
                && if by_ctx {
                    job.ctx == victim
                } else {
                    *id == victim
                }
            {
                job.status = if by_ctx {
                    JobStatus::Stopped as u64
                } else {
                    JobStatus::Killed as u64
                };
            }
        }
        bench.kill = Some((by_ctx, victim));
        bench.run_until(300, "the end of the kill", |b| b.kill.is_none());
        for (id, job) in &bench.jobs {
            let named = if by_ctx {
                job.ctx == victim && *id <= 4
            } else {
                *id == victim
            };
            assert!(
                !named || job.completed,
                "seed {seed}: job {id} is not reported: {job:?}"
            );
        }
        // A kill that finds nothing is done at once.
        bench.kill = Some((false, 99));
        bench.step();
        assert!(bench.kill.is_none(), "seed {seed}");
        bench.slowest = 20;
        bench.running.iter_mut().for_each(|t| t.due = 0);
        bench.run_until(200_000, "the last completion", Bench::all_done);
    }
}

#[test]
fn a_kill_withdraws_a_thread_that_waits_for_a_warp() {
    let mut bench = Bench::new(0, fine);
    bench.slowest = 1_000_000;
    bench.eager = 100;
    bench.launch(1, 1, 8);
    bench.run_until(200, "eight threads", |b| b.running.len() == WARPS);
    bench.launch(2, 2, 100);
    bench.run_until(200, "a thread of job 2", |b| b.cycle > 150);
    bench.jobs.get_mut(&2).expect("launched").status = JobStatus::Killed as u64;
    bench.kill = Some((false, 2));
    bench.run_until(30, "the end of the kill", |b| b.kill.is_none());
    assert_eq!((bench.jobs[&2].dealt, bench.jobs[&2].completed), (0, true));
    bench.running.iter_mut().for_each(|t| t.due = 0);
    bench.run_until(200, "job 1", Bench::all_done);
}

#[test]
fn held_jobs_deal_no_threads_and_lose_none() {
    for seed in 0..40 {
        let mut bench = Bench::new(seed, fine);
        bench.eager = [20, 100][(seed % 2) as usize];
        (1..=4).for_each(|id| bench.launch(id, id, 60));
        bench.run_until(2000, "the first threads", |b| b.cycle > 200);
        let mut changes = 0;
        while !bench.all_done() {
            assert!(bench.cycle < 60_000, "seed {seed}: {:?}", bench.jobs);
            if bench.hold.is_none() && chance(&mut bench.rng, 8) && changes < 60 {
                let id = bench.rng.random_range(1..=5);
                let on =
                    !bench.held.contains(&id) && !bench.jobs.get(&id).is_some_and(|j| j.completed);
                bench.hold = Some((id, on));
                changes += 1;
            }
            if changes == 60 && bench.hold.is_none() {
                let held = bench.held.first().copied();
                bench.hold = held.map(|id| (id, false));
            }
            bench.step();
            let states: Vec<u64> = (0..4)
                .map(|slot| bench.b.get_bits("job_state_o", 64 * slot, 64))
                .collect();
            for state in states.iter().filter(|s| *s >> 32 & 1 == 1) {
                let id = state & 0xffff_ffff;
                assert!((1..=4).contains(&id));
                if bench.hold.is_none() && !bench.jobs[&id].completed {
                    assert_eq!(*state >> 33 & 1 == 1, bench.held.contains(&id), "job {id}");
                }
            }
        }
        for (id, job) in &bench.jobs {
            assert_eq!((job.dealt, job.ended), (60, 60), "seed {seed}: job {id}");
        }
    }
}

#[test]
fn a_kill_ends_a_held_job() {
    for by_ctx in [false, true] {
        let mut bench = Bench::new(3, fine);
        bench.launch(1, 1, 100);
        bench.run_until(300, "threads", |b| b.jobs[&1].dealt > 3);
        bench.slowest = 1_000_000;
        bench.hold = Some((1, true));
        bench.run_until(100, "the hold", |b| b.hold.is_none());
        bench.jobs.get_mut(&1).expect("launched").status = if by_ctx {
            JobStatus::Stopped as u64
        } else {
            JobStatus::Killed as u64
        };
        bench.kill = Some((by_ctx, 1));
        bench.run_until(300, "the end of the kill", |b| b.kill.is_none());
        assert!(bench.jobs[&1].completed);
        // The slot's next job is not held.
        bench.slowest = 20;
        bench.launch(2, 1, 10);
        bench.run_until(3000, "the next job", Bench::all_done);
    }
}

#[test]
fn a_bad_entry_stops_the_ring_until_it_is_reset() {
    for bad in [entry(7, 1, 5).with_version(2), entry(7, 1, 0)] {
        let mut bench = Bench::new(1, fine);
        bench.launch(1, 1, 20);
        bench.submit(bad);
        bench.launch(3, 1, 20);
        bench.run_until(2000, "the error", |b| !b.errors.is_empty());
        assert_eq!(bench.errors, [ErrorCode::BadEntry as u64]);
        assert_eq!(bench.b.get("err_addr_o"), RING + 64);
        bench.run_until(5000, "the job before it", |b| b.jobs[&1].completed);
        (0..500).for_each(|_| bench.step());
        assert_eq!(
            (
                bench.b.get("stopped_o"),
                bench.b.get("cons_o"),
                bench.jobs[&3].dealt
            ),
            (1, 1, 0)
        );
        // Restart with a new ring.
        bench.prod = 0;
        ring_cfg::INDEX.set(&mut bench.b, "ring_i", 0);
        ring_cfg::RESET.set(&mut bench.b, "ring_i", 1);
        bench.step();
        ring_cfg::RESET.set(&mut bench.b, "ring_i", 0);
        bench.launch(3, 1, 20);
        bench.run_until(5000, "the job after the reset", Bench::all_done);
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_an_error() {
    let mut bench = Bench::new(0, fine);
    bench.port.errors = 100;
    bench.launch(1, 1, 4);
    bench.run_until(200, "the error", |b| !b.errors.is_empty());
    assert_eq!(bench.errors, [ErrorCode::RingFetch as u64]);
    assert_eq!((bench.b.get("stopped_o"), bench.jobs[&1].dealt), (1, 0));
}
