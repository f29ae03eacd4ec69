//! Jobs that come back from memory: while warps are scarce, from areas that are none, and in parts.

use crate::rig::Rig;
use crate::save::{DATA, HEADER, area, busy, check_busy, in_slot, records, restore, save, saved};
use hmmu_model::PhysAddr;
use hmmu_model::rv64::enc::*;
use hmmu_regs::*;

/// A job of a thread for each warp, saved, and another one that holds all warps but `free` until its flag is set.
fn crowded(rig: &mut Rig, free: u64, area: PhysAddr) -> ((u64, u64), (u64, u64), u64) {
    // Adds its index to a word when a flag is set.
    rig.load(
        0,
        &[
            ld(5, 10, 8),
            beq(5, 0, -4),
            amoadd_d(0, 10, 11),
            addi(10, 11, 1),
            ECALL,
        ],
    );
    let page = rig.map_ram(0, DATA, "rwa");
    rig.load(1, &[ld(5, 10, 0), beq(5, 0, -4), ECALL]);
    let flag = rig.map_ram(1, DATA, "r");
    let warps = rig.warps();
    let job = rig.launch(0, DATA, warps);
    rig.tick(2000);
    assert!(save(rig, job, area));
    assert_eq!(saved(rig, area).records(), warps);
    let other = rig.launch(1, DATA, warps - free);
    rig.tick(2000);
    restore(rig, area);
    rig.tick(2000);
    assert!(in_slot(rig, job));
    rig.ram.write64(page + 8, 1);
    (job, other, flag)
}

#[test]
fn a_job_that_waits_for_warps_is_saved_with_all_its_threads() {
    for same in [false, true] {
        let mut rig = Rig::new();
        let first = area(&mut rig, false);
        let second = if same { first } else { area(&mut rig, true) };
        let warps = rig.warps();
        let free = warps / 4;
        let (job, other, flag) = crowded(&mut rig, free, first);
        // Threads that have a warp come to their ends, one after the other in the same few warps.
        rig.until("a thread", |rig| rig.count(Counter::Threads) > 1);
        assert!(save(&mut rig, job, second));
        let ended = rig.count(Counter::Threads);
        let left = records(&mut rig, second);
        assert_eq!(left.len() as u64, warps - ended, "none is lost");
        let mut indices: Vec<_> = left.iter().map(|r| r.index()).collect();
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len() as u64, warps - ended, "none comes twice");
        rig.ram.write64(flag, 1);
        assert_eq!(rig.completion(other).status(), 0);
        restore(&mut rig, second);
        let end = rig.completion(job);
        assert_eq!((end.status(), end.result()), (0, 1));
        let at = rig.pte(0, DATA).ppn() << 12;
        assert_eq!(rig.ram.read64(at), warps * (warps - 1) / 2);
    }
}

#[test]
fn suspend_kill_and_stop_reach_a_job_that_waits_for_warps() {
    for op in [CtrlOp::KillJob, CtrlOp::Stop] {
        let mut rig = Rig::new();
        let area = area(&mut rig, true);
        let (job, other, flag) = crowded(&mut rig, 0, area);
        rig.control(CtrlOp::Suspend, 0, 0, 0, job.1, 0);
        rig.ram.write64(flag, 1);
        assert_eq!(rig.completion(other).status(), 0);
        let ended = rig.count(Counter::Threads);
        rig.tick(2000);
        assert_eq!(rig.count(Counter::Threads), ended, "it is suspended");
        let states = rig.warp_states();
        assert!(states.iter().all(|s| *s == WarpState::Idle as u64));
        rig.control(op, 0, 0, 0, job.1, 0);
        let status = if op == CtrlOp::Stop {
            JobStatus::Stopped
        } else {
            JobStatus::Killed
        };
        assert!(rig.done(job));
        assert_eq!(rig.completion(job).status(), status as u64);
        assert!(!in_slot(&mut rig, job));
    }
}

#[test]
fn a_bad_area_stops_the_ring() {
    let good = |rig: &mut Rig, area: PhysAddr| {
        rig.load(0, &busy());
        let page = rig.map_ram(0, DATA, "rwa");
        let job = rig.launch(0, DATA, 2);
        rig.tick(500);
        assert!(save(rig, job, area));
        (job, page)
    };
    // Word, and what is wrong in it.
    let wrong: [(u64, u64); 4] = [(0, 0xff), (8, 2), (8, 0xff << 16), (8, 0xff << 32)];
    for (word, bits) in wrong {
        let mut rig = Rig::new();
        let area = area(&mut rig, false);
        let (job, page) = good(&mut rig, area);
        let at = PhysAddr(area.0 + 8 * word);
        let before = rig.phys_read64(at);
        rig.phys_write64(at, before ^ bits);
        restore(&mut rig, area);
        rig.until("a stopped ring", |rig| {
            rig.device.read_register(reg::STATUS) >> 10 & 1 == 1
        });
        let error = rig.device.read_register(reg::ERROR_INFO);
        assert_eq!(error & 0xff, ErrorCode::BadEntry as u64);
        assert_eq!(rig.device.read_register(reg::LAUNCH_CONS), 1);
        rig.phys_write64(at, before);
        rig.restart(reg::LAUNCH_BASE);
        restore(&mut rig, area);
        assert_eq!(rig.completion(job).status(), 0);
        check_busy(&rig, page, 2, "after a bad area");
    }
    // Nothing there to read.
    let mut rig = Rig::new();
    restore(&mut rig, PhysAddr(PhysAddr::VRAM | 1 << 40));
    rig.until("a stopped ring", |rig| {
        rig.device.read_register(reg::STATUS) >> 10 & 1 == 1
    });
    assert_ne!(rig.device.read_register(reg::ERROR_INFO), 0);
}

#[test]
fn a_thread_that_cannot_be_restored_fails_the_job() {
    let mut rig = Rig::new();
    let area = area(&mut rig, false);
    rig.load(0, &[ld(5, 10, 0), beq(5, 0, -4), addi(10, 11, 5), ECALL]);
    let page = rig.map_ram(0, DATA, "r");
    let job = rig.launch(0, DATA, 2);
    rig.tick(1000);
    assert!(save(&mut rig, job, area));
    let bad = PhysAddr(area.0 + HEADER);
    let first = records(&mut rig, area)[0];
    rig.phys_write64(bad, first.with_place(64).0[0]);
    rig.ram.write64(page, 1);
    restore(&mut rig, area);
    let end = rig.completion(job);
    assert_eq!(
        (end.status(), end.info()),
        (JobStatus::BadEntry as u64, bad.0 & 0xffff_ffff_ffff)
    );
    assert_eq!(end.result(), 5 + u64::from(first.index() == 0));
}
