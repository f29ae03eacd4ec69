//! The launch ring: jobs, their threads and their completions.

use crate::addr::PhysAddr;
use crate::board::Board;
use crate::config::JOB_SLOTS;
use crate::cu::{Cluster, Thread, ThreadEnd};
use crate::post::{End, Post};
use crate::ring::Ring;
use crate::rv64::Hart;
use crate::save::{self, Header, Record};
use hmmu_regs::{
    Client, Counter, ErrorCode, FORMAT_VERSION, JobSave, JobStatus, LaunchEntry, Vector,
};

/// What a kill names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Job(u32),
    Context(u8),
}

/// Bits of a Completion's info.
const INFO: u64 = (1 << 48) - 1;

struct Job {
    entry: LaunchEntry,
    /// Index of the next thread to start.
    next: u32,
    running: u32,
    /// Places of the threads that run.
    places: u64,
    /// No more threads are started.
    killed: bool,
    /// Suspended.
    held: bool,
    end: End,
    post: Option<Post>,
    /// Saved threads that are not in a warp yet: how many, and where the next one's record is.
    saved: (u64, PhysAddr),
}

impl Job {
    fn ctx(&self) -> u8 {
        self.entry.ctx() as u8
    }

    fn threads(&self) -> u32 {
        self.entry.threads() as u32
    }

    /// No thread runs and none will.
    fn over(&self) -> bool {
        self.running == 0 && (!self.waits() || self.killed)
    }

    /// Threads of it are in no warp yet.
    fn waits(&self) -> bool {
        self.saved.0 != 0 || self.next != self.threads()
    }

    /// The next saved thread, whose record is then done with. One that cannot be read, or that no device has
    /// written, is the job's failure.
    fn unpack(&mut self, board: &mut Board) -> Option<Hart> {
        let at = self.saved.1;
        self.saved = (self.saved.0 - 1, save::next_record(at, 1));
        let Ok(record) = Record::read(board, at) else {
            self.fail(JobStatus::MemoryError as u8, at.0 & INFO);
            return None;
        };
        let hart = record.hart(self.threads());
        if hart.is_none() {
            self.fail(JobStatus::BadEntry as u8, at.0 & INFO);
        }
        hart
    }

    /// Records how a part of it ended; the first failure stays. The other threads go on.
    fn fail(&mut self, status: u8, info: u64) {
        if self.end.status == JobStatus::Ok as u8 {
            self.end.status = status;
            self.end.info = info;
        }
    }

    fn thread(&self, slot: usize) -> Thread {
        Thread {
            slot,
            ctx: self.ctx(),
            entry: self.entry.entry(),
            arg: self.entry.arg(),
            index: self.next,
            threads: self.threads(),
            stack_base: self.entry.stack_base(),
            stack_size: self.entry.stack_size(),
            place: (!self.places).trailing_zeros(),
        }
    }
}

pub(crate) struct LaunchUnit {
    pub(crate) ring: Ring,
    slots: [Option<Job>; JOB_SLOTS],
    /// The slot that may start the next thread.
    turn: usize,
    /// A kill is under way: no entry is taken.
    killing: bool,
}

impl LaunchUnit {
    pub(crate) fn new() -> Self {
        Self {
            ring: Ring::new(Client::Launch),
            slots: [const { None }; JOB_SLOTS],
            turn: 0,
            killing: false,
        }
    }

    pub(crate) fn idle(&self) -> bool {
        self.ring.idle() && self.slots.iter().all(Option::is_none)
    }

    /// A job that may start a thread now.
    fn ready(&self) -> Option<usize> {
        (0..JOB_SLOTS)
            .map(|k| (self.turn + k) % JOB_SLOTS)
            .find(|&slot| {
                self.slots[slot]
                    .as_ref()
                    .is_some_and(|job| !job.killed && !job.held && job.waits())
            })
    }

    pub(crate) fn next(&self, board: &Board, cu: &Cluster) -> u64 {
        let now = board.time + 1;
        let mut next = if !self.killing && self.slots.iter().any(Option::is_none) {
            self.ring.next(board)
        } else {
            u64::MAX
        };
        if cu.has_idle_warp() && self.ready().is_some() {
            next = now;
        }
        for job in self.slots.iter().flatten().filter(|job| job.over()) {
            next = next.min(job.post.as_ref().map_or(now, Post::next));
        }
        next
    }

    pub(crate) fn thread_ended(&mut self, end: &ThreadEnd) {
        if let Some(job) = &mut self.slots[end.slot] {
            job.running -= 1;
            job.places &= !(1 << end.place);
            if end.status == JobStatus::Ok as u8 {
                job.end.result = job.end.result.min(end.result);
            } else {
                job.fail(end.status, end.info);
            }
        }
    }

    /// Ends the jobs that `victim` names: their warps, and the threads not yet started. To be called every cycle
    /// until it returns true: their completions are written then. A job that is still in the ring is not found,
    /// and none is taken meanwhile.
    pub(crate) fn kill(&mut self, cu: &mut Cluster, victim: Victim) -> bool {
        self.killing = false;
        for (slot, job) in self.slots.iter_mut().enumerate() {
            let Some(job) = job else { continue };
            let status = match victim {
                Victim::Job(id) if job.entry.job() == u64::from(id) => JobStatus::Killed,
                Victim::Context(ctx) if job.ctx() == ctx => JobStatus::Stopped,
                _ => continue,
            };
            self.killing = true;
            // A job whose completion is under way has ended already.
            if !job.killed && job.post.is_none() {
                job.killed = true;
                job.running -= cu.kill(slot);
                job.fail(status as u8, 0);
            }
        }
        !self.killing
    }

    /// Suspends the job with this id, or lets it go on. One that is in no slot is not found.
    pub(crate) fn hold(&mut self, cu: &mut Cluster, id: u32, held: bool, now: u64) {
        for (slot, job) in self.slots.iter_mut().enumerate() {
            if let Some(job) = job
                && job.entry.job() == u64::from(id)
            {
                job.held = held;
                cu.hold(slot, held, now);
            }
        }
    }

    /// Register JOB_STATE of a slot.
    pub(crate) fn job_state(&self, slot: usize) -> u64 {
        self.slots[slot].as_ref().map_or(0, |job| {
            job.entry.job() | 1 << 32 | u64::from(job.held) << 33 | u64::from(job.killed) << 34
        })
    }

    pub(crate) fn tick(&mut self, board: &mut Board, cu: &mut Cluster) {
        self.finish(board);
        if !self.killing
            && let Some(slot) = self.slots.iter().position(Option::is_none)
            && let Some(words) = self.ring.poll(board)
        {
            self.take(board, slot, LaunchEntry(words));
        }
        if let Some(slot) = self.ready()
            && let Some(job) = &mut self.slots[slot]
            && cu.has_idle_warp()
        {
            self.turn = (slot + 1) % JOB_SLOTS;
            if job.saved.0 != 0 {
                let at = job.saved.1;
                if let Some(hart) = job.unpack(board) {
                    job.places |= 1 << hart.place;
                    job.running += 1;
                    let ready = board.after(board.latency(at));
                    cu.restore(slot, job.ctx(), hart, ready);
                }
            } else {
                cu.start(board, &job.thread(slot));
                job.places |= job.places + 1;
                job.next += 1;
                job.running += 1;
            }
        }
    }

    /// Puts an entry into a job slot. One without threads stops the ring.
    fn take(&mut self, board: &mut Board, slot: usize, entry: LaunchEntry) {
        let area = PhysAddr(entry.arg() & !63);
        let header = if entry.restore() == 0 {
            let job = JobSave::default()
                .with_version(FORMAT_VERSION)
                .with_result(u64::MAX);
            Ok(Header { entry, job })
        } else {
            Header::read(board, area)
        };
        let Ok(Header { entry, job }) = header else {
            self.ring.stop(board, ErrorCode::RingFetch);
            return;
        };
        if !(Header { entry, job }).good() {
            self.ring.stop(board, ErrorCode::BadEntry);
            return;
        }
        self.slots[slot] = Some(Job {
            entry: entry.with_restore(0),
            next: job.next() as u32,
            running: 0,
            places: 0,
            killed: false,
            held: false,
            end: End {
                status: job.status() as u8,
                info: job.info(),
                result: job.result(),
            },
            post: None,
            saved: (job.records(), save::record_at(area, 0)),
        });
        self.ring.pop();
    }

    /// Saves the job with this id to `area`, once it is held and what has ended is told. To be called every cycle
    /// until it answers how many beats were written. A job that ends instead, or is in no slot, is not found.
    pub(crate) fn save(
        &mut self,
        board: &mut Board,
        cu: &mut Cluster,
        id: u32,
        area: PhysAddr,
    ) -> Option<u64> {
        self.hold(cu, id, true, board.time);
        let named = |job: &Job| job.entry.job() == u64::from(id);
        let found = |job: &Option<Job>| job.as_ref().is_some_and(named);
        let Some(slot) = self.slots.iter().position(found) else {
            return Some(0);
        };
        while let Some(end) = cu.take_end(board, slot) {
            self.thread_ended(&end);
        }
        if self.slots[slot].as_ref().is_some_and(Job::over) {
            return None;
        }
        let mut job = self.slots[slot].take()?;
        let mut records = 0;
        while let Some(hart) = cu.take(slot) {
            Record::new(&hart).write(board, save::record_at(area, records));
            records += 1;
        }
        // Those that have not come back since the last time. In the same area they lie behind the others.
        for k in 0..job.saved.0 {
            let at = save::next_record(job.saved.1, k);
            match Record::read(board, at) {
                Ok(record) => {
                    record.write(board, save::record_at(area, records));
                    records += 1;
                }
                Err(_) => job.fail(JobStatus::MemoryError as u8, at.0 & INFO),
            }
        }
        let header = Header {
            entry: job.entry,
            job: JobSave::default()
                .with_version(FORMAT_VERSION)
                .with_status(u64::from(job.end.status))
                .with_records(records)
                .with_next(u64::from(job.next))
                .with_result(job.end.result)
                .with_info(job.end.info),
        };
        header.write(board, area);
        Some(save::beats(records))
    }

    /// Reports the jobs that are over.
    fn finish(&mut self, board: &mut Board) {
        for place in &mut self.slots {
            let Some(job) = place.as_mut().filter(|job| job.over()) else {
                continue;
            };
            let done = match &mut job.post {
                Some(post) => post.tick(board),
                None => {
                    let irq = (job.entry.irq() == 1).then_some(Vector::Job);
                    let (addr, value) = (job.entry.fence_addr(), job.entry.fence_value());
                    job.post = Some(Post::new(board, Client::Launch, addr, value, job.end, irq));
                    false
                }
            };
            if done {
                board.count(Counter::Jobs);
                *place = None;
            }
        }
    }
}
