//! Loads, stores, atomics, and instructions that park.

#[path = "common/flat.rs"]
mod flat;

use flat::Flat;
use hmmu_model::rv64::{AmoOp, Hart, Stall, Step, Width, enc::*};

const DATA: u64 = 0x800;

/// A hart with x6 = DATA + offset and x7 = value, and memory with `old` at DATA.
fn setup(word: u32, offset: u64, value: u64, old: u64) -> (Hart, Flat) {
    let mut bus = Flat::new(&[word, word, word]);
    bus.write(DATA, Width::Double, old);
    let mut hart = Hart::new(0);
    hart.x[6] = DATA + offset;
    hart.x[7] = value;
    (hart, bus)
}

#[test]
fn loads_extend_as_named() {
    let old = 0x8182_8384_8586_8788;
    let cases = [
        (lb(5, 6, 0), 0xffff_ffff_ffff_ff88),
        (lbu(5, 6, 0), 0x88),
        (lh(5, 6, 2), 0xffff_ffff_ffff_8586),
        (lhu(5, 6, 2), 0x8586),
        (lw(5, 6, 4), 0xffff_ffff_8182_8384),
        (lwu(5, 6, 4), 0x8182_8384),
        (ld(5, 6, 0), old),
    ];
    for (word, want) in cases {
        let (mut hart, mut bus) = setup(word, 0, 0, old);
        assert_eq!(hart.step(&mut bus), Step::Retired);
        assert_eq!(hart.x[5], want, "{word:08x}");
    }
}

#[test]
fn stores_write_their_bytes_only() {
    let cases = [
        (sb(7, 6, 3), 0xffff_ffff_88ff_ffff),
        (sh(7, 6, 2), 0xffff_ffff_7788_ffff),
        (sw(7, 6, 4), 0x5566_7788_ffff_ffff),
        (sd(7, 6, 0), 0x1122_3344_5566_7788),
    ];
    for (word, want) in cases {
        let (mut hart, mut bus) = setup(word, 0, 0x1122_3344_5566_7788, u64::MAX);
        assert_eq!(hart.step(&mut bus), Step::Retired);
        assert_eq!(bus.read(DATA, Width::Double), want, "{word:08x}");
    }
    let (mut hart, mut bus) = setup(sd(7, 6, -8), 16, 9, 0);
    hart.step(&mut bus);
    assert_eq!(bus.read(DATA + 8, Width::Double), 9);
}

#[test]
fn misaligned_accesses_end_the_thread() {
    for (word, offset) in [
        (lh(5, 6, 0), 1),
        (lw(5, 6, 0), 2),
        (ld(5, 6, 0), 4),
        (sh(7, 6, 0), 1),
        (sw(7, 6, 0), 2),
        (sd(7, 6, 0), 4),
        (lr_w(5, 6, 0), 2),
        (lr_d(5, 6, 0), 4),
        (sc_d(5, 6, 7), 4),
        (amoadd_w(5, 6, 7), 2),
        (amoadd_d(5, 6, 7), 4),
    ] {
        let (mut hart, mut bus) = setup(word, offset, 1, 7);
        assert_eq!(
            hart.step(&mut bus),
            Step::Misaligned(DATA + offset),
            "{word:08x}"
        );
        assert_eq!(
            (hart.pc, hart.x[5], bus.read(DATA, Width::Double)),
            (0, 0, 7)
        );
    }
}

#[test]
fn atomics_return_the_old_value_and_write_the_new() {
    let m2 = (-2_i64) as u64;
    let cases = [
        (amoswap_d(5, 6, 7), 3, 5, 3),
        (amoadd_d(5, 6, 7), 3, 5, 8),
        (amoxor_d(5, 6, 7), 3, 5, 6),
        (amoand_d(5, 6, 7), 3, 5, 1),
        (amoor_d(5, 6, 7), 3, 5, 7),
        (amomin_d(5, 6, 7), m2, 5, m2),
        (amomax_d(5, 6, 7), m2, 5, 5),
        (amominu_d(5, 6, 7), m2, 5, 5),
        (amomaxu_d(5, 6, 7), m2, 5, m2),
        (amomin_d(5, 6, 7), 5, m2, m2),
        (amomaxu_d(5, 6, 7), 5, m2, m2),
    ];
    for (word, operand, old, new) in cases {
        let (mut hart, mut bus) = setup(word, 0, operand, old);
        assert_eq!(hart.step(&mut bus), Step::Retired);
        assert_eq!(
            (hart.x[5], bus.read(DATA, Width::Double)),
            (old, new),
            "{word:08x}"
        );
    }
    // The word forms leave the upper half alone, compare 32 bits and sign-extend the result.
    let old = 0x1111_1111_8000_0000;
    let cases = [
        (
            amoadd_w(5, 6, 7),
            0xffff_ffff_8000_0001,
            0x1111_1111_0000_0001,
        ),
        (amomin_w(5, 6, 7), 1, old),
        (amomax_w(5, 6, 7), 1, 0x1111_1111_0000_0001),
        (amominu_w(5, 6, 7), 0x1_0000_0001, 0x1111_1111_0000_0001),
        (amomaxu_w(5, 6, 7), 1, old),
        (amoswap_w(5, 6, 7), u64::MAX, 0x1111_1111_ffff_ffff),
    ];
    for (word, operand, new) in cases {
        let (mut hart, mut bus) = setup(word, 0, operand, old);
        assert_eq!(hart.step(&mut bus), Step::Retired);
        assert_eq!(
            (hart.x[5], bus.read(DATA, Width::Double)),
            (0xffff_ffff_8000_0000, new),
            "{word:08x}"
        );
    }
}

#[test]
fn amo_ops_decode_from_all_encodings() {
    let known = (0..32)
        .filter(|&funct5| AmoOp::from_funct5(funct5).is_some())
        .count();
    assert_eq!(known, 9);
}

#[test]
fn sc_succeeds_iff_memory_still_equals_what_lr_loaded() {
    let program = [lr_d(5, 6, 0), sc_d(8, 6, 7), sc_d(9, 6, 7)];
    let mut bus = Flat::new(&program);
    bus.write(DATA, Width::Double, 1);
    let mut hart = Hart::new(0);
    (hart.x[6], hart.x[7]) = (DATA, 2);
    hart.step(&mut bus);
    // A value that went away and came back does not disturb it.
    bus.write(DATA, Width::Double, 9);
    bus.write(DATA, Width::Double, 1);
    hart.step(&mut bus);
    assert_eq!((hart.x[8], bus.read(DATA, Width::Double)), (0, 2));
    // The reservation is used up.
    hart.step(&mut bus);
    assert_eq!((hart.x[9], hart.pc), (1, 12));

    let mut hart = Hart::new(0);
    (hart.x[6], hart.x[7]) = (DATA, 3);
    hart.step(&mut bus);
    bus.write(DATA, Width::Double, 77);
    hart.step(&mut bus);
    assert_eq!((hart.x[8], bus.read(DATA, Width::Double)), (1, 77));
}

#[test]
fn sc_to_another_address_or_size_fails_without_an_access() {
    for (sc, moved) in [(sc_w(8, 6, 7), 0), (sc_d(8, 6, 7), 8)] {
        let mut bus = Flat::new(&[lr_d(5, 6, 0), sc]);
        let mut hart = Hart::new(0);
        (hart.x[6], hart.x[7], hart.x[8]) = (DATA, 3, 5);
        hart.step(&mut bus);
        hart.x[6] += moved;
        bus.refuse = Some(Stall::Error(9));
        assert_eq!(hart.step(&mut bus), Step::Retired);
        assert_eq!((hart.x[8], hart.reservation), (1, None));
    }
}

#[test]
fn lr_w_and_sc_w_compare_32_bits() {
    let mut bus = Flat::new(&[lr_w(5, 6, 0), sc_w(8, 6, 7)]);
    bus.write(DATA, Width::Double, 0x1111_1111_8000_0000);
    let mut hart = Hart::new(0);
    (hart.x[6], hart.x[7]) = (DATA, u64::MAX);
    hart.step(&mut bus);
    hart.step(&mut bus);
    assert_eq!(hart.x[5], 0xffff_ffff_8000_0000);
    assert_eq!(
        (hart.x[8], bus.read(DATA, Width::Double)),
        (0, 0x1111_1111_ffff_ffff)
    );
}

#[test]
fn a_parked_instruction_changes_nothing_and_runs_later() {
    for word in [ld(5, 6, 0), sd(7, 6, 0), amoadd_d(5, 6, 7), lr_d(5, 6, 0)] {
        let (mut hart, mut bus) = setup(word, 0, 3, 4);
        let before = hart.clone();
        bus.refuse = Some(Stall::Park);
        assert_eq!(hart.step(&mut bus), Step::Parked);
        assert_eq!(hart, before);
        bus.refuse = None;
        assert_eq!((hart.step(&mut bus), hart.pc), (Step::Retired, 4));
    }
}

#[test]
fn a_parked_sc_keeps_its_reservation() {
    let mut bus = Flat::new(&[lr_d(5, 6, 0), sc_d(8, 6, 7)]);
    let mut hart = Hart::new(0);
    (hart.x[6], hart.x[7]) = (DATA, 3);
    hart.step(&mut bus);
    bus.refuse = Some(Stall::Park);
    assert_eq!(hart.step(&mut bus), Step::Parked);
    bus.refuse = None;
    assert_eq!(hart.step(&mut bus), Step::Retired);
    assert_eq!((hart.x[8], bus.read(DATA, Width::Double)), (0, 3));
}

#[test]
fn an_error_names_the_address_of_the_access() {
    let (mut hart, mut bus) = setup(ld(5, 6, 16), 0, 0, 0);
    bus.refuse = Some(Stall::Error(29));
    assert_eq!(
        hart.step(&mut bus),
        Step::Error {
            code: 29,
            addr: DATA + 16
        }
    );
    let mut hart = Hart::new(0x1000);
    assert_eq!(
        hart.step(&mut bus),
        Step::Error {
            code: 6,
            addr: 0x1000
        }
    );
}
