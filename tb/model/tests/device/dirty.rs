//! Accessed and dirty bits, exactly.

use crate::rig::Rig;
use hmmu_model::rv64::enc::*;
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;

/// Threads load or store one word of their own page: even threads load, odd threads store.
const MIXED: [u32; 8] = [
    slli(5, 11, 12),
    add(5, 5, 10),
    andi(6, 11, 1),
    beq(6, 0, 12),
    sd(11, 5, 0),
    ECALL,
    ld(7, 5, 0),
    ECALL,
];

fn mixed_pass(ctx: usize) {
    let mut rig = Rig::new();
    rig.load(ctx, &MIXED);
    for page in 0..32 {
        rig.map_ram(ctx, DATA + 4096 * page, "rw");
    }
    let fence = rig.launch(ctx as u64, DATA, 24);
    assert_eq!(rig.completion(fence).status(), 0);
    for page in 0..32 {
        let entry = rig.pte(ctx, DATA + 4096 * page);
        let used = page < 24;
        let stored = used && page % 2 == 1;
        assert_eq!(
            (entry.a(), entry.d()),
            (u64::from(used), u64::from(stored)),
            "page {page}"
        );
    }
    // The code page was accessed too.
    assert_eq!(rig.count(Counter::AdUpdates), 24 + 1);
    assert_eq!(rig.count(Counter::DUpdates), 12);
}

#[test]
fn a_mixed_pass_dirties_only_what_it_stores_to() {
    mixed_pass(0);
    mixed_pass(1);
}

#[test]
fn a_store_through_a_clean_cached_entry_updates_the_table_first() {
    let mut rig = Rig::new();
    rig.load(0, &[ld(5, 10, 0), sd(11, 10, 0), sd(11, 10, 8), ECALL]);
    rig.map_vram(0, DATA, "rw");
    let fence = rig.launch(0, DATA, 1);
    assert_eq!(rig.completion(fence).status(), 0);
    assert_eq!((rig.pte(0, DATA).a(), rig.pte(0, DATA).d()), (1, 1));
    // One walk for the code, one for the load, one for the first store; the second store hits.
    assert_eq!(
        (rig.count(Counter::Walks), rig.count(Counter::DUpdates)),
        (3, 1)
    );
}

#[test]
fn bits_already_set_are_not_written_again() {
    let mut rig = Rig::new();
    rig.load(0, &[sd(11, 10, 0), ECALL]);
    rig.map_ram(0, DATA, "rw");
    let at = rig.pte_at(0, DATA, 0);
    let entry = rig.pte(0, DATA).with_a(1).with_d(1);
    rig.phys_write64(at, entry.0[0]);
    let fence = rig.launch(0, DATA, 1);
    assert_eq!(rig.completion(fence).status(), 0);
    assert_eq!(
        (rig.count(Counter::AdUpdates), rig.count(Counter::DUpdates)),
        (1, 0)
    );
}

#[test]
fn software_bits_survive_the_update() {
    let mut rig = Rig::new();
    rig.load(0, &[sd(11, 10, 0), ECALL]);
    rig.map_ram(0, DATA, "rwa");
    let at = rig.pte_at(0, DATA, 0);
    let entry = rig.pte(0, DATA).with_sw(1).with_g(1);
    rig.phys_write64(at, entry.0[0]);
    let fence = rig.launch(0, DATA, 1);
    assert_eq!(rig.completion(fence).status(), 0);
    assert_eq!(rig.pte(0, DATA), entry.with_a(1).with_d(1));
}
