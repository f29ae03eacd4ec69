//! The life of a fault: parked, merged, reported, replayed, cancelled, stopped.

use crate::rig::{CODE, Rig};
use hmmu_model::rv64::enc::*;
use hmmu_model::{BusAddr, PhysAddr};
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;

/// a0 = *a0
const LOAD: [u32; 2] = [ld(10, 10, 0), ECALL];
/// *a0 = 5; a0 = 0
const STORE: [u32; 4] = [addi(5, 0, 5), sd(5, 10, 0), addi(10, 0, 0), ECALL];

#[test]
pub fn a_fault_is_reported_replayed_and_the_access_goes_on() {
    let mut rig = Rig::new();
    rig.load(0, &LOAD);
    let fence = rig.launch(0, DATA + 8, 1);
    let record = rig.fault();
    assert_eq!((record.addr(), record.ctx()), (DATA, 0));
    assert_eq!(record.access(), Access::Read as u64);
    assert_eq!(record.reason(), FaultReason::NotPresent as u64);
    assert_eq!(record.client(), Client::CuData as u64);
    assert!(record.stamp() <= rig.device.time());
    assert_eq!(rig.device.read_register(reg::FAULT_PROD), 1);
    rig.tick(10);
    assert!(rig.irqs.contains(&(Vector::Fault as u32)));
    assert_eq!(
        rig.device.read_register(reg::WARP_STATE) >> 48 & 15,
        WarpState::DataMiss as u64
    );
    // A warp may go on after a load to what needs its register.
    let pc = rig.device.read_register(reg::WARP_STATE) & 0xffff_ffff_ffff;
    let load = CODE & 0xffff_ffff_ffff;
    assert!((load..=load + 4).contains(&pc), "{pc:#x}");

    rig.tick(5000);
    assert!(!rig.done(fence), "the access must wait for the replay");
    let page = rig.map_ram(0, DATA, "r");
    rig.ram.write64(page + 8, 1234);
    rig.tick(5000);
    assert!(!rig.done(fence), "a new entry alone does not wake it");
    rig.replay(0, DATA);
    let end = rig.completion(fence);
    assert_eq!((end.status(), end.result()), (0, 1234));
    assert_eq!(rig.count(Counter::Faults), 1);
}

#[test]
fn a_replay_without_a_new_entry_faults_again_with_a_new_record() {
    let mut rig = Rig::new();
    rig.load(0, &LOAD);
    let fence = rig.launch(0, DATA, 1);
    let first = rig.fault();
    rig.replay(0, DATA);
    let second = rig.fault();
    assert_eq!((second.addr(), second.id()), (first.addr(), first.id() + 1));
    rig.map_ram(0, DATA, "r");
    // A replay of another page or context changes nothing.
    rig.replay(0, DATA + 4096);
    rig.replay(1, DATA);
    rig.tick(5000);
    assert!(!rig.done(fence));
    rig.replay(0, DATA);
    assert_eq!(rig.completion(fence).status(), 0);
}

#[test]
fn faults_on_one_page_merge_by_kind_and_an_upgrade_costs_one_more() {
    let mut rig = Rig::new();
    // Thread index in a1: all load one page, then all store to it.
    rig.load(0, &[ld(5, 10, 0), sd(11, 10, 0), ECALL]);
    let fence = rig.launch(0, DATA, 8);
    let read = rig.fault();
    assert_eq!(read.access(), Access::Read as u64);
    rig.tick(5000);
    assert_eq!(rig.count(Counter::Faults), 1);
    rig.map_ram(0, DATA, "r");
    rig.replay(0, DATA);
    let write = rig.fault();
    assert_eq!(
        (write.access(), write.reason()),
        (Access::Write as u64, FaultReason::Protection as u64)
    );
    rig.tick(5000);
    assert_eq!(rig.count(Counter::Faults), 2);
    rig.map_ram(0, DATA, "rw");
    rig.replay(0, DATA);
    assert_eq!(rig.completion(fence).status(), 0);
    assert_eq!(rig.count(Counter::Faults), 2);
}

#[test]
fn other_warps_run_while_one_is_parked() {
    let mut rig = Rig::new();
    // Thread 0 loads a page that is not there; the others end at once.
    rig.load(0, &[bne(11, 0, 8), ld(10, 10, 0), addi(10, 11, 0), ECALL]);
    let fence = rig.launch(0, DATA, 6);
    rig.fault();
    rig.until("threads", |rig| rig.count(Counter::Threads) == 5);
    assert!(!rig.done(fence));
    rig.map_ram(0, DATA, "r");
    rig.replay(0, DATA);
    assert_eq!(rig.completion(fence).result(), 0);
}

#[test]
fn a_cancel_ends_exactly_its_page_and_kind() {
    let mut rig = Rig::new();
    rig.load(0, &STORE);
    let fence = rig.launch(0, DATA + 16, 1);
    rig.fault();
    let write = Access::Write as u64;
    rig.control(CtrlOp::Cancel, 0, DATA, 4096, Access::Read as u64, 30);
    rig.control(CtrlOp::Cancel, 0, DATA + 4096, 4096, write, 30);
    rig.control(CtrlOp::Cancel, 1, DATA, 4096, write, 30);
    rig.tick(3000);
    assert!(!rig.done(fence));
    rig.control(CtrlOp::Cancel, 0, DATA, 4096, write, 30);
    let end = rig.completion(fence);
    assert_eq!((end.status(), end.info()), (30, DATA + 16));
    assert_eq!(rig.count(Counter::Cancels), 4);
    // It is over: a replay brings nothing back.
    rig.replay(0, DATA);
    rig.tick(3000);
    assert_eq!(rig.count(Counter::Faults), 1);
}

#[test]
fn every_reason_is_told() {
    let cases: [(&str, &[u32], Access, FaultReason); 6] = [
        ("", &LOAD, Access::Read, FaultReason::Protection),
        ("r", &STORE, Access::Write, FaultReason::Protection),
        ("x", &LOAD, Access::Read, FaultReason::Protection),
        (
            "r",
            &[jalr(0, 10, 0)],
            Access::Execute,
            FaultReason::Protection,
        ),
        (
            "rw",
            &[amoadd_d(5, 10, 10), ECALL],
            Access::Atomic,
            FaultReason::Atomic,
        ),
        (
            "r",
            &[amoadd_d(5, 10, 10), ECALL],
            Access::Atomic,
            FaultReason::Protection,
        ),
    ];
    for (rights, program, access, reason) in cases {
        let mut rig = Rig::new();
        let page = rig.ram_page();
        // No right at all would be a pointer to a table: take the user bit away instead.
        let leaf = Rig::leaf(PhysAddr::system(BusAddr(page)), rights);
        let leaf = if rights.is_empty() {
            leaf.with_r(1).with_u(0)
        } else {
            leaf
        };
        let at = rig.pte_at(0, DATA, 0);
        rig.phys_write64(at, leaf.0[0]);
        rig.load(0, program);
        rig.launch(0, DATA, 1);
        let record = rig.fault();
        assert_eq!(
            (record.access(), record.reason()),
            (access as u64, reason as u64),
            "{rights:?} {access:?}"
        );
        let client = if access == Access::Execute {
            Client::CuFetch
        } else {
            Client::CuData
        };
        assert_eq!(record.client(), client as u64);
        // A faulted access leaves A and D alone.
        assert_eq!((rig.pte(0, DATA).a(), rig.pte(0, DATA).d()), (0, 0));
    }
}

#[test]
fn entries_that_may_not_be_are_not_present() {
    let leaf = Rig::leaf(PhysAddr::system(BusAddr(0x1000)), "rw");
    let bad = [
        leaf.with_v(0),
        leaf.with_revoked(1),
        leaf.with_revoked(0x40),
        leaf.with_pbmt(1),
        leaf.with_n(1),
        leaf.with_r(0),           // W without R
        leaf.with_r(0).with_w(0), // a pointer at the last level
    ];
    for entry in bad {
        let mut rig = Rig::new();
        let at = rig.pte_at(0, DATA, 0);
        rig.phys_write64(at, entry.0[0]);
        rig.load(0, &LOAD);
        rig.launch(0, DATA, 1);
        assert_eq!(
            rig.fault().reason(),
            FaultReason::NotPresent as u64,
            "{entry:x?}"
        );
    }
    // A leaf at level 3, and leaves of 1 GiB and 2 MiB whose address is not a multiple of that.
    for (level, page) in [(3, 0), (2, 512), (1, 1)] {
        let mut rig = Rig::new();
        let at = rig.pte_at(0, DATA, level);
        rig.phys_write64(at, Rig::leaf(PhysAddr(page << 12), "rw").0[0]);
        rig.load(0, &LOAD);
        rig.launch(0, DATA, 1);
        assert_eq!(
            rig.fault().reason(),
            FaultReason::NotPresent as u64,
            "level {level}"
        );
    }
}

#[test]
fn a_full_ring_holds_records_back_and_loses_none() {
    let mut rig = Rig::new();
    rig.fault_log2 = 1;
    rig.device.write_register(reg::FAULT_SIZE, 1);
    // Each thread loads its own page.
    rig.load(0, &[slli(5, 11, 12), add(5, 5, 10), ld(10, 5, 0), ECALL]);
    let threads = rig.warps().min(6);
    let fence = rig.launch(0, DATA, threads);
    rig.tick(5000);
    assert_eq!(rig.device.read_register(reg::FAULT_PROD), 2);
    assert_eq!(rig.device.read_register(reg::STATUS) >> 3 & 1, 1);
    // Commands do not wait for the ring.
    rig.invalidate(0, DATA);
    let mut pages: Vec<u64> = (0..threads).map(|_| rig.fault().addr()).collect();
    pages.sort_unstable();
    assert_eq!(
        pages,
        (0..threads)
            .map(|page| DATA + 4096 * page)
            .collect::<Vec<_>>()
    );
    for page in pages {
        rig.map_ram(0, page, "r");
    }
    rig.control(CtrlOp::Replay, 0, DATA, threads * 4096, 0, 0);
    assert_eq!(rig.completion(fence).status(), 0);
    assert_eq!(rig.count(Counter::Faults), threads);
}

#[test]
fn a_new_fault_ring_reports_what_is_still_parked() {
    let mut rig = Rig::new();
    rig.load(0, &[slli(5, 11, 12), add(5, 5, 10), ld(10, 5, 0), ECALL]);
    let fence = rig.launch(0, DATA, 3);
    let first: Vec<_> = (0..3).map(|_| rig.fault()).collect();
    rig.ram.set(rig.faults, &[0; 4096]);
    rig.fault_seen = 0;
    rig.fault_log2 = 2;
    rig.device.write_register(reg::FAULT_SIZE, 2);
    let again: Vec<_> = (0..3).map(|_| rig.fault()).collect();
    for (old, new) in first.iter().zip(&again) {
        assert_eq!((old.addr(), old.stamp()), (new.addr(), new.stamp()));
        rig.map_ram(0, new.addr(), "r");
    }
    rig.control(CtrlOp::Replay, 0, DATA, 3 * 4096, 0, 0);
    assert_eq!(rig.completion(fence).status(), 0);
}

#[test]
fn a_translation_that_allows_a_parked_access_wakes_it_without_a_replay() {
    let mut rig = Rig::new();
    // Thread 0 loads; thread 1 waits for a flag and then stores to the same page.
    rig.load(
        0,
        &[
            bne(11, 0, 12),
            ld(10, 10, 0),
            ECALL,
            lui(6, 0x100),
            ld(7, 6, 0),
            beq(7, 0, -4),
            sd(7, 10, 0),
            ECALL,
        ],
    );
    let flag = rig.map_ram(0, 0x10_0000, "r");
    let fence = rig.launch(0, DATA, 2);
    assert_eq!(rig.fault().access(), Access::Read as u64);
    rig.map_ram(0, DATA, "rw");
    rig.ram.write64(flag, 1);
    assert_eq!(rig.completion(fence).status(), 0);
    // The fault is gone: its replay has nothing to do, and no more records come.
    rig.replay(0, DATA);
    assert_eq!(rig.count(Counter::Faults), 1);
}

#[test]
fn two_contexts_with_the_same_addresses_stay_apart() {
    let mut rig = Rig::new();
    for ctx in 0..2 {
        rig.load(ctx, &LOAD);
        let page = rig.map_ram(ctx, DATA, "r");
        rig.ram.write64(page, 100 + ctx as u64);
    }
    let fences = [rig.launch(0, DATA, 1), rig.launch(1, DATA, 1)];
    assert_eq!(
        fences.map(|fence| rig.completion(fence).result()),
        [100, 101]
    );
}

#[test]
fn large_pages_translate() {
    let mut rig = Rig::new();
    let base = 8 << 20;
    let at = rig.pte_at(0, DATA, 1);
    rig.phys_write64(at, Rig::leaf(PhysAddr(PhysAddr::VRAM | base), "rw").0[0]);
    rig.phys_write64(PhysAddr(PhysAddr::VRAM | (base + 0x1f_0008)), 99);
    assert_eq!(rig.run(0, DATA + 0x1f_0008, &LOAD).result(), 99);
    assert_eq!(Pte([rig.phys_read64(at)]).a(), 1);
}
