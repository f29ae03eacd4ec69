//! Invalidation: stale until told, exact after.

use crate::rig::Rig;
use hmmu_model::rv64::enc::*;
use hmmu_model::{BusAddr, DeviceConfig, Latency, PhysAddr};
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;
const FLAG: u64 = 0x10_0000;

/// Loads *a0 into s0 for ever until FLAG's word is set; result: the last value loaded.
const WATCH: [u32; 6] = [
    lui(6, (FLAG >> 12) as u32),
    ld(8, 10, 0),
    ld(7, 6, 0),
    beq(7, 0, -8),
    addi(10, 8, 0),
    ECALL,
];

#[test]
fn a_forgotten_invalidation_shows_as_stale_data() {
    let mut rig = Rig::new();
    rig.load(0, &WATCH);
    let flag = rig.map_ram(0, FLAG, "r");
    let old = rig.map_ram(0, DATA, "r");
    rig.ram.write64(old, 1);
    let fence = rig.launch(0, DATA, 1);
    rig.tick(5000);
    let new = rig.map_ram(0, DATA, "r");
    rig.ram.write64(new, 2);
    rig.tick(5000);
    rig.ram.write64(flag, 1);
    assert_eq!(
        rig.completion(fence).result(),
        1,
        "no invalidation, so the old page is still read"
    );
}

#[test]
fn after_an_invalidation_only_the_new_page_is_read() {
    let mut rig = Rig::new();
    rig.load(0, &WATCH);
    let flag = rig.map_ram(0, FLAG, "r");
    let old = rig.map_ram(0, DATA, "r");
    rig.ram.write64(old, 1);
    let fence = rig.launch(0, DATA, 1);
    rig.tick(5000);
    let new = rig.map_ram(0, DATA, "r");
    rig.ram.write64(new, 2);
    rig.invalidate(0, DATA);
    rig.ram.write64(old, 3);
    rig.tick(1000);
    rig.ram.write64(flag, 1);
    assert_eq!(rig.completion(fence).result(), 2);
    assert_eq!(rig.count(Counter::Invalidations), 1);
    assert!(rig.count(Counter::InvalidateWorst) > 0);
    assert_eq!(
        rig.count(Counter::InvalidateWorst),
        rig.count(Counter::InvalidateCycles)
    );
}

#[test]
fn an_invalidation_of_another_page_or_context_keeps_the_translation() {
    let mut rig = Rig::new();
    rig.load(0, &WATCH);
    let flag = rig.map_ram(0, FLAG, "r");
    rig.map_ram(0, DATA, "r");
    let fence = rig.launch(0, DATA, 1);
    rig.tick(5000);
    let walks = rig.count(Counter::Walks);
    rig.invalidate(0, DATA + 4096);
    rig.invalidate(1, DATA);
    rig.control(CtrlOp::Invalidate, 0, DATA, 0, 0, 0);
    rig.tick(1000);
    assert_eq!(rig.count(Counter::Walks), walks);
    // A range that wraps counts as everything.
    rig.control(CtrlOp::Invalidate, 0, 0x1000, u64::MAX, 0, 0);
    rig.tick(1000);
    assert_eq!(rig.count(Counter::Walks), walks + 3);
    rig.ram.write64(flag, 1);
    assert_eq!(rig.completion(fence).status(), 0);
}

/// A store loop of one warp: *a0 = counter, for ever. Revokes the page at every cycle offset of the loop's life
/// and checks that no store lands after the fence.
#[test]
fn no_store_lands_after_the_acknowledgement_whatever_the_moment() {
    for offset in (0..400).step_by(crate::STEP) {
        let latency = Latency {
            jitter: 3,
            seed: offset,
            ..Latency::default()
        };
        let mut rig = Rig::with(DeviceConfig {
            latency,
            ..DeviceConfig::default()
        });
        rig.load(0, &[addi(5, 5, 1), sd(5, 10, 0), jal(0, -8)]);
        let page = rig.map_ram(0, DATA, "rw");
        let fence = rig.launch(0, DATA, 2);
        rig.tick(offset);
        rig.revoke(0, DATA);
        rig.invalidate(0, DATA);
        let stored = rig.ram.read64(page);
        let entry = rig.pte(0, DATA);
        let (dirty, changed) = (entry.d() == 1, stored != 0);
        assert!(
            dirty == changed || (dirty && !crate::DIRTY_IS_EXACT),
            "offset {offset}: dirty {dirty}, stored {stored}"
        );
        let record = rig.fault();
        assert_eq!(
            (record.addr(), record.access()),
            (DATA, Access::Write as u64),
            "offset {offset}"
        );
        rig.tick(2000);
        assert_eq!(rig.ram.read64(page), stored, "offset {offset}");
        assert_eq!(
            rig.pte(0, DATA),
            entry,
            "offset {offset}: a revoked entry is not touched"
        );
        // A new page; the loop goes on there.
        let page = rig.map_ram(0, DATA, "rw");
        rig.replay(0, DATA);
        rig.tick(2000);
        assert!(rig.ram.read64(page) > stored, "offset {offset}");
        assert!(!rig.done(fence));
    }
}

#[test]
fn a_parked_fault_stays_parked_through_an_invalidation() {
    let mut rig = Rig::new();
    rig.load(0, &[ld(10, 10, 0), ECALL]);
    let fence = rig.launch(0, DATA, 1);
    rig.fault();
    rig.map_ram(0, DATA, "r");
    rig.invalidate(0, DATA);
    rig.tick(3000);
    assert!(!rig.done(fence));
    rig.replay(0, DATA);
    assert_eq!(rig.completion(fence).status(), 0);
}

#[test]
fn a_walk_does_not_go_on_through_a_table_that_was_taken_away() {
    // Table reads so slow that a whole invalidation happens between two of them.
    let latency = Latency {
        vram: 150,
        link: 10,
        ..Latency::default()
    };
    for offset in (0..1700).step_by(10 * crate::STEP) {
        let mut rig = Rig::with(DeviceConfig {
            latency,
            ..DeviceConfig::default()
        });
        // Threads 0.. load from their own page of one table.
        rig.load(0, &[slli(5, 11, 12), add(5, 5, 10), ld(10, 5, 0), ECALL]);
        let pages: Vec<u64> = (0..4)
            .map(|page| rig.map_ram(0, DATA + 4096 * page, "r"))
            .collect();
        let poison = rig.ram_page();
        rig.ram.write64(poison, 0);
        for page in pages {
            rig.ram.write64(page, 7);
        }
        let (level1, old) = (rig.pte_at(0, DATA, 1), rig.pte_at(0, DATA, 0));
        let fence = rig.launch(0, DATA, 4);
        rig.tick(offset);
        // Another table with the same leaves takes the place of the first, which is used for something else.
        let new = rig.vram_page();
        let leaves = rig.phys_bytes(old, 4096);
        rig.phys_set(PhysAddr(PhysAddr::VRAM | new), &leaves);
        let pointer = Pte::default()
            .with_v(1)
            .with_ppn((PhysAddr::VRAM | new) >> 12);
        rig.phys_write64(level1, pointer.0[0]);
        rig.control(CtrlOp::Invalidate, 0, DATA, 4 * 4096, 0, 0);
        let leaf = Rig::leaf(PhysAddr::system(BusAddr(poison)), "rw");
        let all = leaf.0[0].to_le_bytes().repeat(512);
        rig.phys_set(old, &all);
        assert_eq!(rig.completion(fence).result(), 7, "offset {offset}");
        assert!(
            rig.phys_bytes(old, 4096) == all,
            "offset {offset}: A set in memory that is no table any more"
        );
    }
}
