//! Jumps, branches, system instructions and CSRs.

#[path = "common/flat.rs"]
mod flat;
#[path = "common/one.rs"]
mod one;

use flat::Flat;
use hmmu_model::rv64::{Hart, Step, csr, enc::*};
use one::one;

#[test]
fn branches_compare_as_named() {
    let m1 = u64::MAX;
    type Branch = fn(u32, u32, i32) -> u32;
    let cases: [(Branch, [bool; 3]); 6] = [
        (beq, [true, false, false]),
        (bne, [false, true, true]),
        (blt, [false, true, false]),
        (bge, [true, false, true]),
        (bltu, [false, false, true]),
        (bgeu, [true, true, false]),
    ];
    for (index, (encode, taken)) in cases.into_iter().enumerate() {
        for ((a, b), taken) in [(5, 5), (m1, 1), (1, m1)].into_iter().zip(taken) {
            let (hart, step) = one(encode(6, 7, 64), a, b);
            assert_eq!(step, Step::Retired);
            assert_eq!(
                hart.pc,
                if taken { 64 } else { 4 },
                "branch {index} of {a:x} and {b:x}"
            );
        }
    }
}

#[test]
fn offsets_reach_both_ends() {
    for offset in [-4096, -4, 4, 4092] {
        let mut hart = Hart::new(0x800);
        let mut bus = Flat::new(&[]);
        bus.write(
            0x800,
            hmmu_model::rv64::Width::Word,
            u64::from(beq(0, 0, offset)),
        );
        assert_eq!(hart.step(&mut bus), Step::Retired);
        assert_eq!(hart.pc, 0x800_u64.wrapping_add_signed(i64::from(offset)));
    }
    for offset in [-0x10_0000, -4, 4, 0xf_fffc] {
        let mut hart = Hart::new(0x800);
        let mut bus = Flat::new(&[]);
        bus.write(
            0x800,
            hmmu_model::rv64::Width::Word,
            u64::from(jal(1, offset)),
        );
        assert_eq!(hart.step(&mut bus), Step::Retired);
        assert_eq!(
            (hart.pc, hart.x[1]),
            (0x800_u64.wrapping_add_signed(i64::from(offset)), 0x804)
        );
    }
}

#[test]
fn jalr_clears_bit_0_and_reads_its_base_before_it_writes_the_link() {
    let (hart, step) = one(jalr(6, 6, -1), 0x102, 0);
    assert_eq!((step, hart.pc, hart.x[6]), (Step::Retired, 0x100, 4));
}

#[test]
fn misaligned_targets_end_the_thread_only_when_taken() {
    assert_eq!(
        one(jal(1, 6), 0, 0),
        (
            Hart {
                x: regs(0, 0),
                ..Hart::new(0)
            },
            Step::Misaligned(6)
        )
    );
    assert_eq!(one(jalr(1, 6, 2), 0x100, 0).1, Step::Misaligned(0x102));
    assert_eq!(one(beq(6, 7, 6), 1, 1).1, Step::Misaligned(6));
    assert_eq!(one(beq(6, 7, 6), 1, 2).1, Step::Retired);
    assert_eq!(Hart::new(2).step(&mut Flat::new(&[])), Step::Misaligned(2));
}

fn regs(a: u64, b: u64) -> [u64; 32] {
    let mut x = [0; 32];
    (x[6], x[7]) = (a, b);
    x
}

#[test]
fn ecall_and_ebreak_stay_on_their_pc() {
    let (hart, step) = one(ECALL, 0, 0);
    assert_eq!((step, hart.pc, hart.instret), (Step::Ecall, 0, 0));
    let (hart, step) = one(EBREAK, 0, 0);
    assert_eq!((step, hart.pc), (Step::Ebreak, 0));
}

#[test]
fn fences_retire() {
    let mut bus = Flat::new(&[FENCE, FENCE_I]);
    let mut hart = Hart::new(0);
    assert_eq!(hart.step(&mut bus), Step::Retired);
    assert_eq!(bus.fences, 0);
    assert_eq!(hart.step(&mut bus), Step::Retired);
    assert_eq!((bus.fences, hart.pc), (1, 8));
}

#[test]
fn csrs_are_read_only() {
    let program = [
        csrr(5, csr::CYCLE),
        csrr(6, csr::TIME),
        csrr(7, csr::INSTRET),
        csrr(8, csr::THREAD),
        csrr(9, csr::THREADS),
        csrr(10, csr::PLACE),
        i(0x73, 7, 11, 0, csr::THREAD as i32), // CSRRCI rd, csr, 0
    ];
    let mut bus = Flat::new(&program);
    bus.time = 1000;
    let mut hart = Hart {
        thread: 3,
        threads: 64,
        place: 7,
        ..Hart::new(0)
    };
    for _ in program {
        assert_eq!(hart.step(&mut bus), Step::Retired);
    }
    assert_eq!(hart.x[5..12], [1000, 1000, 2, 3, 64, 7, 3]);

    for word in [
        i(0x73, 1, 5, 0, csr::THREAD as i32), // CSRRW writes always
        i(0x73, 2, 5, 6, csr::THREAD as i32), // CSRRS with a register writes
        i(0x73, 6, 5, 1, csr::THREAD as i32), // CSRRSI with a bit writes
        i(0x73, 5, 5, 0, csr::THREAD as i32), // CSRRWI writes always
        i(0x73, 4, 5, 0, csr::THREAD as i32), // no such instruction
        csrr(5, 0xcc3),
        csrr(5, 0x300),
        csrr(5, 0xc03),
    ] {
        assert_eq!(one(word, 0, 0).1, Step::Illegal, "{word:08x}");
    }
}

#[test]
fn a_loop_runs() {
    // x5 = 10; do { x6 += x5; x5 -= 1 } while (x5 != 0); ecall
    let program = [
        addi(5, 0, 10),
        add(6, 6, 5),
        addi(5, 5, -1),
        bne(5, 0, -8),
        ECALL,
    ];
    let mut bus = Flat::new(&program);
    let mut hart = Hart::new(0);
    let mut steps = 0;
    while hart.step(&mut bus) == Step::Retired {
        steps += 1;
    }
    assert_eq!((hart.x[6], steps, hart.pc, hart.instret), (55, 31, 16, 31));
}
