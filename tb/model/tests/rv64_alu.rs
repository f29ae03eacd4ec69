//! Arithmetic instructions against values worked out from the manual.

#[path = "common/flat.rs"]
mod flat;
#[path = "common/one.rs"]
mod one;

use hmmu_model::rv64::{Step, enc::*};
use one::one;

const MIN: u64 = 1 << 63;
const M1: u64 = u64::MAX;
const WMIN: u64 = 0xffff_ffff_8000_0000;

/// Runs `word` (rd = x5, rs1 = x6, rs2 = x7) and returns x5.
fn run(word: u32, a: u64, b: u64) -> u64 {
    let (hart, step) = one(word, a, b);
    assert_eq!(step, Step::Retired, "{word:08x}");
    assert_eq!((hart.pc, hart.instret, hart.x[6], hart.x[7]), (4, 1, a, b));
    hart.x[5]
}

type RegReg = fn(u32, u32, u32) -> u32;

#[test]
fn register_register() {
    let cases: &[(RegReg, u64, u64, u64)] = &[
        (add, M1, 2, 1),
        (sub, 1, 2, M1),
        (sll, 1, 63, MIN),
        (sll, 1, 64, 1),
        (slt, M1, 0, 1),
        (slt, 0, M1, 0),
        (sltu, M1, 0, 0),
        (sltu, 0, M1, 1),
        (xor, 0xf0f0, 0xff00, 0x0ff0),
        (srl, MIN, 63, 1),
        (sra, MIN, 63, M1),
        (sra, MIN, 127, M1),
        (or, 0xf0, 0x0f, 0xff),
        (and, 0xf3, 0x3f, 0x33),
        (addw, 0x7fff_ffff, 1, WMIN),
        (addw, 0xffff_ffff_0000_0001, 1, 2),
        (subw, 0, 1, M1),
        (sllw, 1, 31, WMIN),
        (sllw, 1, 32, 1),
        (srlw, 0xffff_ffff_8000_0000, 31, 1),
        (srlw, 0x8000_0000, 32, WMIN),
        (sraw, 0x8000_0000, 31, M1),
    ];
    for (index, &(encode, a, b, want)) in cases.iter().enumerate() {
        assert_eq!(run(encode(5, 6, 7), a, b), want, "case {index}");
    }
}

#[test]
fn multiply_and_divide() {
    let cases: &[(RegReg, u64, u64, u64)] = &[
        (mul, M1, M1, 1),
        (mul, 0x1_0000_0000, 0x1_0000_0000, 0),
        (mulh, M1, M1, 0),
        (mulh, MIN, MIN, 1 << 62),
        (mulh, MIN, 1, M1),
        (mulhsu, M1, M1, M1),
        (mulhsu, MIN, M1, 0x8000_0000_0000_0000),
        (mulhsu, 1, M1, 0),
        (mulhu, M1, M1, M1 - 1),
        (mulhu, MIN, 2, 1),
        (div, 7, M1 - 1, (-3_i64) as u64),
        (div, 5, 0, M1),
        (div, MIN, M1, MIN),
        (divu, MIN, M1, 0),
        (divu, 5, 0, M1),
        (divu, M1, 2, M1 >> 1),
        (rem, (-7_i64) as u64, 2, M1),
        (rem, 7, (-2_i64) as u64, 1),
        (rem, 5, 0, 5),
        (rem, MIN, M1, 0),
        (remu, MIN, M1, MIN),
        (remu, 5, 0, 5),
        (mulw, 0xffff_ffff, 0xffff_ffff, 1),
        (mulw, 0x4000_0000, 2, WMIN),
        (divw, 0x8000_0000, 0xffff_ffff, WMIN),
        (divw, 7, 0, M1),
        (divw, (-7_i64) as u64, 2, (-3_i64) as u64),
        (divuw, 0xffff_ffff, 1, M1),
        (divuw, 7, 0x1_0000_0000, M1),
        (remw, 0x8000_0000, 0xffff_ffff, 0),
        (remw, 0x8000_0000, 0, WMIN),
        (remw, (-7_i64) as u64, 2, M1),
        (remuw, 0x8000_0001, 0, 0xffff_ffff_8000_0001),
        (remuw, 0xffff_ffff, 10, 5),
    ];
    for (index, &(encode, a, b, want)) in cases.iter().enumerate() {
        assert_eq!(run(encode(5, 6, 7), a, b), want, "case {index}");
    }
}

#[test]
fn immediates() {
    assert_eq!(run(addi(5, 6, -1), 0, 0), M1);
    assert_eq!(run(slti(5, 6, -1), M1 - 1, 0), 1);
    assert_eq!(run(sltiu(5, 6, -1), 5, 0), 1);
    assert_eq!(run(sltiu(5, 6, 1), 0, 0), 1);
    assert_eq!(run(xori(5, 6, -1), 0xff, 0), !0xff);
    assert_eq!(run(ori(5, 6, -2048), 1, 0), (-2047_i64) as u64);
    assert_eq!(run(andi(5, 6, -2048), M1, 0), (-2048_i64) as u64);
    assert_eq!(run(slli(5, 6, 63), 3, 0), MIN);
    assert_eq!(run(srli(5, 6, 63), MIN, 0), 1);
    assert_eq!(run(srai(5, 6, 63), MIN, 0), M1);
    assert_eq!(run(addiw(5, 6, 1), 0x7fff_ffff, 0), WMIN);
    assert_eq!(run(slliw(5, 6, 31), 1, 0), WMIN);
    assert_eq!(run(srliw(5, 6, 1), 0x8000_0000, 0), 0x4000_0000);
    assert_eq!(run(sraiw(5, 6, 31), 0x8000_0000, 0), M1);
    assert_eq!(run(lui(5, 0x80000), 0, 0), WMIN);
    assert_eq!(run(auipc(5, 0x80000), 0, 0), WMIN);
}

#[test]
fn x0_stays_zero() {
    let (hart, step) = one(addi(0, 6, 5), 1, 0);
    assert_eq!((step, hart.x[0]), (Step::Retired, 0));
    let (hart, step) = one(jal(0, 8), 0, 0);
    assert_eq!((step, hart.x[0], hart.pc), (Step::Retired, 0, 8));
}

#[test]
fn encodings_that_do_not_exist_are_illegal() {
    let words = [
        0,
        u32::MAX,
        r(0x33, 1, 0x20, 5, 6, 7),        // SLL with funct7 of SUB
        r(0x33, 0, 0x02, 5, 6, 7),        // unknown funct7
        r(0x3b, 2, 0, 5, 6, 7),           // no SLTW
        r(0x3b, 1, 1, 5, 6, 7),           // no MULHW
        i(0x13, 1, 5, 6, 0x400),          // SLLI with bit 30
        i(0x13, 5, 5, 6, 0x800 - 0x1000), // SRLI with bit 31
        i(0x1b, 1, 5, 6, 32),             // SLLIW by 32
        i(0x1b, 5, 5, 6, 32),             // SRLIW by 32
        i(0x1b, 2, 5, 6, 0),              // no SLTIW
        i(0x03, 7, 5, 6, 0),              // no LDU
        s(4, 7, 6, 0),                    // no SQ
        b(2, 6, 7, 8),
        b(3, 6, 7, 8),
        i(0x67, 1, 5, 6, 0),      // JALR with funct3 1
        i(0x0f, 2, 0, 0, 0),      // MISC-MEM with funct3 2
        amo(0b00101, 3, 5, 6, 7), // unknown AMO
        amo(0, 1, 5, 6, 7),       // AMO on a half word
        lr_d(5, 6, 1),            // LR with rs2
        0x0020_0073,              // URET
        0x3020_0073,              // MRET
        0x1050_0073,              // WFI
        0x0000_00f3,              // ECALL with rd
        0x0000_2007,              // FLW
        0x0000_0053,              // FADD.S
    ];
    for word in words {
        let (hart, step) = one(word, 0, 0);
        assert_eq!(
            (step, hart.pc, hart.instret),
            (Step::Illegal, 0, 0),
            "{word:08x}"
        );
    }
}
