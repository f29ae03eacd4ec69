//! Suspended jobs: they stand still, whatever they were doing, and go on as if nothing had been.

use crate::rig::{CODE, Rig};
use hmmu_model::rv64::{csr, enc::*};
use hmmu_model::{BusAddr, PhysAddr};
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;
/// Most cycles from a suspend's doorbell to its fence: a few accesses over the link, and eight divisions.
const BOUND: u64 = 2000;

/// Counts in its own word for ever.
const COUNT: [u32; 6] = [
    slli(5, 11, 3),
    add(5, 5, 10),
    ld(6, 5, 0),
    addi(6, 6, 1),
    sd(6, 5, 0),
    jal(0, -12),
];

/// Suspends a job; how many cycles that took.
fn suspend(rig: &mut Rig, fence: (u64, u64)) -> u64 {
    let start = rig.device.time();
    rig.control(CtrlOp::Suspend, 0, 0, 0, fence.1, 0);
    let took = rig.device.time() - start;
    assert!(took < BOUND, "{took} cycles");
    took
}

fn resume(rig: &mut Rig, fence: (u64, u64)) {
    rig.control(CtrlOp::Resume, 0, 0, 0, fence.1, 0);
}

/// JOB_STATE of the slot that holds the job, without its id.
fn state(rig: &mut Rig, fence: (u64, u64)) -> Option<u64> {
    (0..4)
        .map(|slot| rig.device.read_register(reg::JOB_STATE + 8 * slot))
        .find(|state| state >> 32 & 1 == 1 && state & 0xffff_ffff == fence.1)
        .map(|state| state >> 32)
}

#[test]
fn a_suspended_job_stands_still_while_others_run() {
    let mut rig = Rig::new();
    rig.load(0, &COUNT);
    rig.load(1, &COUNT);
    let (held, runs) = (rig.map_ram(0, DATA, "rw"), rig.map_ram(1, DATA, "rw"));
    // Each has some of the warps.
    let threads = (rig.warps() / 2).min(4);
    let job = rig.launch(0, DATA, threads);
    let other = rig.launch(1, DATA, threads - 1);
    rig.tick(3000);
    assert_eq!(state(&mut rig, job), Some(0b001));
    suspend(&mut rig, job);
    assert_eq!(state(&mut rig, job), Some(0b011));
    for _ in 0..5 {
        let (before, moving) = (rig.ram.bytes(held, 64), rig.ram.bytes(runs, 64));
        assert!(before[..8] != [0; 8]);
        rig.tick(1000);
        assert_eq!(rig.ram.bytes(held, 64), before);
        assert_ne!(rig.ram.bytes(runs, 64), moving);
    }
    let states = rig.warp_states();
    let still = states.iter().filter(|s| **s == WarpState::Held as u64);
    assert_eq!(still.count() as u64, threads, "{states:?}");
    // Again, and a job that does not exist: nothing more happens.
    suspend(&mut rig, job);
    rig.control(CtrlOp::Suspend, 0, 0, 0, 1 << 20, 0);
    rig.control(CtrlOp::Resume, 0, 0, 0, 1 << 20, 0);
    let before = rig.ram.bytes(held, 64);
    rig.tick(1000);
    assert_eq!(rig.ram.bytes(held, 64), before);
    resume(&mut rig, job);
    resume(&mut rig, job);
    rig.tick(1000);
    assert_ne!(rig.ram.bytes(held, 64), before);
    assert_eq!(state(&mut rig, job), Some(0b001));
    for fence in [job, other] {
        rig.control(CtrlOp::KillJob, 0, 0, 0, fence.1, 0);
        assert_eq!(rig.completion(fence).status(), JobStatus::Killed as u64);
        assert_eq!(state(&mut rig, fence), None);
    }
}

/// Everything that takes time: divisions, a load, a store, an AMO on a word that all share, LR and SC. Stores how
/// many instructions it took behind its own word.
const ROUNDS: i32 = 12;
fn busy() -> Vec<u32> {
    vec![
        slli(5, 11, 4),
        add(5, 5, 10),
        addi(7, 0, ROUNDS),
        addi(8, 0, 1),
        ld(6, 5, 64), // each round starts here
        addi(9, 6, 7),
        divu(9, 9, 8),
        addi(9, 9, -6),
        sd(9, 5, 64),
        amoadd_d(0, 10, 8),
        addi(12, 10, 8),
        lr_d(9, 12, 0),
        addi(9, 9, 1),
        sc_d(13, 12, 9),
        bne(13, 0, -12),
        mul(9, 9, 8),
        addi(7, 7, -1),
        bne(7, 0, -52),
        csrr(9, csr::INSTRET),
        sd(9, 5, 72),
        addi(10, 11, 0),
        ECALL,
    ]
}

#[test]
fn a_job_suspended_at_any_moment_ends_as_if_nothing_had_been() {
    let threads = 4;
    let mut worst = 0;
    let mut early = 0;
    for offset in (0..1200).step_by(3 * crate::STEP) {
        let mut rig = Rig::new();
        rig.load(0, &busy());
        let page = rig.map_ram(0, DATA, "rwa");
        let job = rig.launch(0, DATA, threads);
        rig.tick(offset);
        // More than once, so that some come close to each other.
        for pause in [500, 0, 90] {
            worst = worst.max(suspend(&mut rig, job));
            if state(&mut rig, job).is_none() && !rig.done(job) {
                early += 1;
                rig.tick(200);
                continue;
            }
            let (still, done) = (rig.ram.bytes(page, 4096), rig.done(job));
            rig.tick(pause);
            assert!(rig.ram.bytes(page, 4096) == still, "offset {offset}");
            assert_eq!(rig.done(job), done, "offset {offset}");
            resume(&mut rig, job);
            rig.tick(37);
        }
        let end = rig.completion(job);
        assert_eq!((end.status(), end.result()), (0, 0), "offset {offset}");
        let all = ROUNDS as u64 * threads;
        let words = [rig.ram.read64(page), rig.ram.read64(page + 8)];
        assert_eq!(
            words,
            [all, all],
            "offset {offset}: an atomic was done twice or not at all"
        );
        for thread in 0..threads {
            let own = page + 64 + 16 * thread;
            assert_eq!(rig.ram.read64(own), ROUNDS as u64, "offset {offset}");
            // Each failed SC costs four instructions more.
            let count = rig.ram.read64(own + 8);
            let least = 4 + 14 * ROUNDS as u64;
            assert!(
                count >= least && (count - least).is_multiple_of(4),
                "offset {offset}: {count} instructions, at least {least}"
            );
        }
    }
    println!("longest suspend: {worst} cycles, too early {early}");
}

#[test]
fn faults_and_a_full_fault_ring_do_not_delay_it() {
    let mut rig = Rig::new();
    rig.fault_log2 = 1;
    rig.device.write_register(reg::FAULT_SIZE, 1);
    // Each thread stores its index + 1 to its own page.
    rig.load(
        0,
        &[
            slli(5, 11, 12),
            add(5, 5, 10),
            addi(6, 11, 1),
            sd(6, 5, 0),
            ECALL,
        ],
    );
    let warps = rig.warps();
    let threads = warps + 12;
    let job = rig.launch(0, DATA, threads);
    rig.until("a full ring", |rig| {
        rig.device.read_register(reg::STATUS) >> 3 & 1 == 1
    });
    rig.tick(3000);
    let took = suspend(&mut rig, job);
    println!("all warps on faults, ring full: {took} cycles");
    assert_eq!(state(&mut rig, job), Some(0b011));
    // The other commands work, and so does the fault ring.
    rig.invalidate(0, DATA);
    let mut pages = Vec::new();
    for _ in 0..warps {
        let record = rig.fault();
        assert_eq!(record.access(), Access::Write as u64);
        pages.push((record.addr(), rig.map_ram(0, record.addr(), "rw")));
    }
    rig.control(CtrlOp::Replay, 0, DATA, threads * 4096, 0, 0);
    rig.tick(3000);
    assert!(!rig.done(job));
    for (_, page) in &pages {
        assert_eq!(rig.ram.read64(*page), 0, "a store of a suspended job");
    }
    assert_eq!(rig.count(Counter::Threads), 0);
    resume(&mut rig, job);
    rig.until("the first threads", |rig| {
        rig.count(Counter::Threads) >= warps
    });
    for (va, page) in pages {
        assert_eq!(rig.ram.read64(page), (va - DATA) / 4096 + 1);
    }
    assert_eq!(rig.count(Counter::Replays), 1);
    while !rig.done(job) {
        if let Some(record) = rig.take_fault() {
            rig.map_ram(0, record.addr(), "rw");
            rig.replay(0, record.addr());
        }
        rig.tick(1);
    }
    assert_eq!(rig.completion(job).status(), 0);
    assert_eq!(
        rig.count(Counter::Faults),
        threads,
        "no access faulted twice"
    );
}

#[test]
fn threads_that_have_not_started_stay_so() {
    for offset in (0..400).step_by(crate::STEP) {
        let mut rig = Rig::new();
        rig.load(0, &[amoadd_d(0, 10, 12), addi(10, 11, 3), ECALL]);
        rig.load(1, &[addi(10, 11, 3), ECALL]);
        let page = rig.map_ram(0, DATA, "rwa");
        let job = rig.launch(0, DATA, 60);
        rig.tick(500 + offset as u64);
        suspend(&mut rig, job);
        // Its warps that have none left serve others.
        let other = rig.launch(1, 0, 30);
        if rig.count(Counter::Threads) > 0 {
            let states = rig.warp_states();
            if states.iter().any(|s| *s != WarpState::Held as u64) {
                assert_eq!(rig.completion(other).result(), 3, "offset {offset}");
            }
        }
        let ended = rig.count(Counter::Threads);
        let adds = rig.ram.read64(page);
        rig.tick(1000);
        if rig.done(other) {
            assert_eq!(rig.count(Counter::Threads), ended, "offset {offset}");
        }
        assert_eq!(rig.ram.read64(page), adds, "offset {offset}");
        resume(&mut rig, job);
        assert_eq!(rig.completion(job).result(), 3, "offset {offset}");
        assert_eq!(rig.completion(other).result(), 3, "offset {offset}");
        assert_eq!(rig.ram.read64(page), 60 * 60, "offset {offset}");
        assert_eq!(rig.count(Counter::Threads), 90, "offset {offset}");
    }
}

#[test]
fn a_cancel_of_a_held_access_ends_it_when_it_faults_again() {
    let mut rig = Rig::new();
    rig.load(0, &[ld(10, 10, 16), ECALL]);
    let job = rig.launch(0, DATA, 1);
    rig.fault();
    suspend(&mut rig, job);
    let cancel = |rig: &mut Rig| {
        rig.control(CtrlOp::Cancel, 0, DATA, 4096, Access::Read as u64, 30);
    };
    cancel(&mut rig);
    rig.tick(2000);
    assert!(!rig.done(job));
    resume(&mut rig, job);
    let record = rig.fault();
    assert_eq!(record.addr(), DATA);
    cancel(&mut rig);
    let end = rig.completion(job);
    assert_eq!((end.status(), end.info()), (30, DATA + 16));
}

#[test]
fn a_record_of_before_the_suspend_stands() {
    for code in [false, true] {
        let mut rig = Rig::new();
        rig.load(0, &[ld(10, 10, 16), ECALL]);
        // Either the load or the fetch of the program faults.
        let (entry, job) = rig.launch_entry(0, DATA, 1);
        let away = CODE + 0x10_0000;
        let entry = if code { entry.with_entry(away) } else { entry };
        rig.push(reg::LAUNCH_BASE, entry.0);
        let record = rig.fault();
        assert_eq!(record.addr(), if code { away } else { DATA });
        suspend(&mut rig, job);
        resume(&mut rig, job);
        rig.tick(3000);
        assert_eq!(
            rig.count(Counter::Faults),
            1,
            "it waits for the same answer"
        );
        let page = rig.map_ram(0, record.addr(), "rx");
        if code {
            let program = bytes(&[addi(10, 0, 5), ECALL]);
            rig.ram.set(page, &program);
        } else {
            rig.ram.write64(page + 16, 5);
        }
        rig.replay(0, record.addr());
        assert_eq!(rig.completion(job).result(), 5);
    }
}

#[test]
fn kill_and_stop_end_a_held_job() {
    for stop in [false, true] {
        let mut rig = Rig::new();
        // Even threads spin, odd ones fault.
        rig.load(0, &[andi(5, 11, 1), beq(5, 0, 0), ld(6, 10, 0), ECALL]);
        let job = rig.launch(0, DATA, 20);
        rig.fault();
        suspend(&mut rig, job);
        let (op, status) = if stop {
            (CtrlOp::Stop, JobStatus::Stopped)
        } else {
            (CtrlOp::KillJob, JobStatus::Killed)
        };
        rig.control(op, 0, 0, 0, job.1, 0);
        assert!(rig.done(job));
        assert_eq!(rig.completion(job).status(), status as u64);
        // The slot and the warps serve the next one, which is not held.
        rig.load(1, &[addi(10, 11, 1), ECALL]);
        let next = rig.launch(1, 0, 20);
        assert_eq!(rig.completion(next).result(), 1);
    }
}

#[test]
fn a_page_that_moves_under_a_held_job_is_used_at_its_new_place() {
    for offset in (0..300).step_by(crate::STEP) {
        let mut rig = Rig::new();
        rig.load(0, &COUNT);
        let old = rig.map_ram(0, DATA, "rw");
        let job = rig.launch(0, DATA, 2);
        rig.tick(500 + offset as u64);
        suspend(&mut rig, job);
        rig.revoke(0, DATA);
        rig.invalidate(0, DATA);
        let new = rig.ram_page();
        let content = rig.ram.bytes(old, 4096);
        rig.ram.set(new, &content);
        rig.map(0, DATA, PhysAddr::system(BusAddr(new)), "rw");
        resume(&mut rig, job);
        rig.replay(0, DATA);
        let count = rig.ram.read64(new);
        rig.until("a count", |rig| rig.ram.read64(new) > count + 3);
        assert!(rig.ram.bytes(old, 4096) == content, "offset {offset}");
    }
}
