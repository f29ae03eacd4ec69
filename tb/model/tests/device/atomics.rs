//! Atomics on VRAM and on system pages.

use crate::rig::Rig;
use hmmu_model::rv64::enc::*;
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;

/// Adds 1 to *a0 fifty times.
const COUNT: [u32; 6] = [
    addi(5, 0, 50),
    addi(6, 0, 1),
    amoadd_d(0, 10, 6),
    addi(5, 5, -1),
    bne(5, 0, -8),
    ECALL,
];

/// The same with LR and SC.
const COUNT_LR: [u32; 8] = [
    addi(5, 0, 50),
    lr_d(6, 10, 0),
    addi(6, 6, 1),
    sc_d(7, 10, 6),
    bne(7, 0, -12),
    addi(5, 5, -1),
    bne(5, 0, -20),
    ECALL,
];

#[test]
fn no_increment_is_lost_in_vram() {
    for program in [&COUNT[..], &COUNT_LR] {
        let mut rig = Rig::new();
        rig.load(0, program);
        let page = rig.map_vram(0, DATA, "rw");
        let fence = rig.launch(0, DATA, 16);
        assert_eq!(rig.completion(fence).status(), 0);
        assert_eq!(rig.phys_read64(page), 16 * 50);
        assert_eq!(
            (rig.pte(0, DATA).d(), rig.count(Counter::LinkAtomics)),
            (1, 0)
        );
    }
}

#[test]
fn no_increment_is_lost_in_system_memory_that_allows_atomics() {
    for program in [&COUNT[..], &COUNT_LR] {
        let mut rig = Rig::new();
        rig.load(0, program);
        let page = rig.map_ram(0, DATA, "rwa");
        let fence = rig.launch(0, DATA, 16);
        // The CPU counts along.
        for _ in 0..100 {
            let value = rig.ram.read64(page);
            rig.ram.write64(page, value + 1);
            rig.tick(37);
        }
        assert_eq!(rig.completion(fence).status(), 0);
        assert_eq!(rig.ram.read64(page), 16 * 50 + 100);
        assert!(rig.count(Counter::LinkAtomics) >= 16 * 50);
    }
}

#[test]
fn words_leave_their_neighbours_alone() {
    let mut rig = Rig::new();
    let page = rig.map_ram(0, DATA, "rwa");
    rig.ram.write64(page, 0x1111_1111_ffff_fffe);
    let end = rig.run(0, DATA, &[addi(6, 0, 3), amoadd_w(10, 10, 6), ECALL]);
    assert_eq!(end.result(), u64::MAX - 1);
    assert_eq!(rig.ram.read64(page), 0x1111_1111_0000_0001);
}

#[test]
fn an_atomic_fault_is_served_by_allowing_atomics() {
    let mut rig = Rig::new();
    rig.load(0, &COUNT);
    let page = rig.map_ram(0, DATA, "rw");
    let fence = rig.launch(0, DATA, 1);
    let record = rig.fault();
    assert_eq!(
        (record.reason(), record.access()),
        (FaultReason::Atomic as u64, Access::Atomic as u64)
    );
    let entry = rig.pte(0, DATA).with_atomic(1);
    let at = rig.pte_at(0, DATA, 0);
    rig.phys_write64(at, entry.0[0]);
    rig.replay(0, DATA);
    assert_eq!(rig.completion(fence).status(), 0);
    assert_eq!(rig.ram.read64(page), 50);
}
