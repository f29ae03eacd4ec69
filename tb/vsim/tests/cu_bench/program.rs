//! Random programs: straight code, short forward branches, bounded loops, private data of one page.

use hmmu_model::rv64::enc;
use rand::Rng;
use rand_pcg::Pcg64;

/// Registers that random code may write; 8 holds the data address, 9 counts loops.
const REGS: [u32; 12] = [5, 6, 7, 10, 11, 12, 13, 14, 15, 28, 30, 31];

type RegReg = fn(u32, u32, u32) -> u32;
type RegImm = fn(u32, u32, i32) -> u32;

/// Register-register instructions.
pub const REG_REG: [(&str, RegReg); 28] = [
    ("add", enc::add),
    ("sub", enc::sub),
    ("sll", enc::sll),
    ("slt", enc::slt),
    ("sltu", enc::sltu),
    ("xor", enc::xor),
    ("srl", enc::srl),
    ("sra", enc::sra),
    ("or", enc::or),
    ("and", enc::and),
    ("addw", enc::addw),
    ("subw", enc::subw),
    ("sllw", enc::sllw),
    ("srlw", enc::srlw),
    ("sraw", enc::sraw),
    ("mul", enc::mul),
    ("mulh", enc::mulh),
    ("mulhsu", enc::mulhsu),
    ("mulhu", enc::mulhu),
    ("div", enc::div),
    ("divu", enc::divu),
    ("rem", enc::rem),
    ("remu", enc::remu),
    ("mulw", enc::mulw),
    ("divw", enc::divw),
    ("divuw", enc::divuw),
    ("remw", enc::remw),
    ("remuw", enc::remuw),
];

/// Immediate instructions with 12 bits.
pub const REG_IMM: [(&str, RegImm); 7] = [
    ("addi", enc::addi),
    ("slti", enc::slti),
    ("sltiu", enc::sltiu),
    ("xori", enc::xori),
    ("ori", enc::ori),
    ("andi", enc::andi),
    ("addiw", enc::addiw),
];

/// Shifts by an immediate, with their number of shift amounts.
pub const SHIFT_IMM: [(&str, RegImm, i32); 6] = [
    ("slli", enc::slli, 64),
    ("srli", enc::srli, 64),
    ("srai", enc::srai, 64),
    ("slliw", enc::slliw, 32),
    ("srliw", enc::srliw, 32),
    ("sraiw", enc::sraiw, 32),
];

/// Loads, with their size in bytes.
pub const LOADS: [(&str, RegImm, i32); 7] = [
    ("lb", enc::lb, 1),
    ("lh", enc::lh, 2),
    ("lw", enc::lw, 4),
    ("ld", enc::ld, 8),
    ("lbu", enc::lbu, 1),
    ("lhu", enc::lhu, 2),
    ("lwu", enc::lwu, 4),
];

/// Stores, with their size in bytes.
pub const STORES: [(&str, RegImm, i32); 4] = [
    ("sb", enc::sb, 1),
    ("sh", enc::sh, 2),
    ("sw", enc::sw, 4),
    ("sd", enc::sd, 8),
];

/// AMOs, with their size in bytes.
pub const AMOS: [(&str, RegReg, i32); 18] = [
    ("amoswap.w", enc::amoswap_w, 4),
    ("amoswap.d", enc::amoswap_d, 8),
    ("amoadd.w", enc::amoadd_w, 4),
    ("amoadd.d", enc::amoadd_d, 8),
    ("amoxor.w", enc::amoxor_w, 4),
    ("amoxor.d", enc::amoxor_d, 8),
    ("amoand.w", enc::amoand_w, 4),
    ("amoand.d", enc::amoand_d, 8),
    ("amoor.w", enc::amoor_w, 4),
    ("amoor.d", enc::amoor_d, 8),
    ("amomin.w", enc::amomin_w, 4),
    ("amomin.d", enc::amomin_d, 8),
    ("amomax.w", enc::amomax_w, 4),
    ("amomax.d", enc::amomax_d, 8),
    ("amominu.w", enc::amominu_w, 4),
    ("amominu.d", enc::amominu_d, 8),
    ("amomaxu.w", enc::amomaxu_w, 4),
    ("amomaxu.d", enc::amomaxu_d, 8),
];

/// Branches.
pub const BRANCHES: [(&str, RegImm); 6] = [
    ("beq", enc::beq),
    ("bne", enc::bne),
    ("blt", enc::blt),
    ("bge", enc::bge),
    ("bltu", enc::bltu),
    ("bgeu", enc::bgeu),
];

fn reg(rng: &mut Pcg64) -> u32 {
    REGS[rng.random_range(0..REGS.len())]
}

/// One instruction (or a pair that belongs together) that falls through.
fn straight(rng: &mut Pcg64, out: &mut Vec<u32>, reservations: bool) {
    let (rd, rs1, rs2) = (reg(rng), reg(rng), reg(rng));
    let imm = rng.random_range(-2048..2048);
    match rng.random_range(0..100) {
        0..30 => out.push(REG_REG[rng.random_range(0..REG_REG.len())].1(rd, rs1, rs2)),
        30..45 => out.push(REG_IMM[rng.random_range(0..REG_IMM.len())].1(rd, rs1, imm)),
        45..52 => {
            let (_, op, n) = SHIFT_IMM[rng.random_range(0..SHIFT_IMM.len())];
            out.push(op(rd, rs1, rng.random_range(0..n)));
        }
        52..56 => out.push(enc::lui(rd, rng.random_range(0..1 << 20))),
        56..59 => out.push(enc::auipc(rd, rng.random_range(0..1 << 20))),
        59..74 => {
            let (_, op, size) = LOADS[rng.random_range(0..LOADS.len())];
            out.push(op(rd, 8, rng.random_range(0..2040 / size) * size));
        }
        74..86 => {
            let (_, op, size) = STORES[rng.random_range(0..STORES.len())];
            out.push(op(rs2, 8, rng.random_range(0..2040 / size) * size));
        }
        86..92 => {
            let (_, op, size) = AMOS[rng.random_range(0..AMOS.len())];
            out.push(enc::addi(29, 8, rng.random_range(0..2040 / size) * size));
            out.push(op(rd, 29, rs2));
        }
        92..95 if !reservations => out.push(enc::FENCE),
        92..95 => {
            out.push(enc::addi(29, 8, rng.random_range(0..255) * 8));
            let word = rng.random_range(0..2) == 0;
            out.push(if word {
                enc::lr_w(rd, 29, 0)
            } else {
                enc::lr_d(rd, 29, 0)
            });
            // Sometimes of the wrong size, of another address, or without its reservation.
            match rng.random_range(0..6) {
                0 => out.push(enc::addi(29, 8, rng.random_range(0..255) * 8)),
                1 => out.push(enc::sd(rs1, 29, 0)),
                2 => out.push(enc::sc_d(rs1, 29, rs2)),
                _ => {}
            }
            let word = word ^ (rng.random_range(0..8) == 0);
            out.push(if word {
                enc::sc_w(rs1, 29, rs2)
            } else {
                enc::sc_d(rs1, 29, rs2)
            });
        }
        95 => out.push(enc::FENCE),
        96 => out.push(enc::FENCE_I),
        97 => out.push(enc::csrr(rd, 0xc02)),
        98 => out.push(enc::csrr(rd, 0xcc0)),
        _ => out.push(enc::csrr(rd, 0xcc1)),
    }
}

/// A program that ends with a0 = a mix of all registers. Its data page is at a0 on entry. Without `reservations` it
/// has no LR and SC, whose outcome may differ.
pub fn random(rng: &mut Pcg64, blocks: usize, reservations: bool) -> Vec<u32> {
    let mut out = vec![enc::addi(8, 10, 0)];
    for &r in &REGS {
        out.push(enc::ld(r, 8, rng.random_range(0..255) * 8));
    }
    for _ in 0..blocks {
        let mut body = Vec::new();
        for _ in 0..rng.random_range(1..8) {
            straight(rng, &mut body, reservations);
        }
        match rng.random_range(0..4) {
            0 => {
                let branch = BRANCHES[rng.random_range(0..BRANCHES.len())].1;
                out.push(branch(reg(rng), reg(rng), 4 * (body.len() as i32 + 1)));
                out.extend(body);
            }
            1 => {
                out.push(enc::addi(9, 0, rng.random_range(1..4)));
                let back = -4 * (body.len() as i32 + 1);
                out.extend(body);
                out.push(enc::addi(9, 9, -1));
                out.push(enc::bne(9, 0, back));
            }
            2 => {
                out.push(enc::jal(29, 4 * (body.len() as i32 + 1)));
                out.extend(body);
            }
            _ => {
                out.extend(body);
                // Over one instruction, by a computed address.
                out.push(enc::auipc(29, 0));
                out.push(enc::jalr(1, 29, 13));
                out.push(enc::EBREAK);
                out.push(enc::addi(1, 0, 0));
            }
        }
    }
    for &r in REGS.iter().filter(|r| **r != 10) {
        out.push(enc::slli(29, 10, 7));
        out.push(enc::srli(10, 10, 57));
        out.push(enc::or(10, 10, 29));
        out.push(enc::xor(10, 10, r));
    }
    out.push(enc::ECALL);
    out
}
