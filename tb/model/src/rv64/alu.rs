//! Integer arithmetic of RV64I and M as pure functions; `None` is an encoding that does not exist.

/// OP: register-register, 64 bits.
pub(super) fn op(funct7: u32, funct3: u32, a: u64, b: u64) -> Option<u64> {
    let shamt = (b & 63) as u32;
    Some(match (funct7, funct3) {
        (0x00, 0) => a.wrapping_add(b),
        (0x20, 0) => a.wrapping_sub(b),
        (0x00, 1) => a << shamt,
        (0x00, 2) => u64::from((a as i64) < b as i64),
        (0x00, 3) => u64::from(a < b),
        (0x00, 4) => a ^ b,
        (0x00, 5) => a >> shamt,
        (0x20, 5) => ((a as i64) >> shamt) as u64,
        (0x00, 6) => a | b,
        (0x00, 7) => a & b,
        (0x01, _) => muldiv(funct3, a, b),
        _ => return None,
    })
}

/// OP-32: register-register on the low 32 bits, result sign-extended.
pub(super) fn op32(funct7: u32, funct3: u32, a: u64, b: u64) -> Option<u64> {
    let (wa, wb) = (a as u32, b as u32);
    let shamt = wb & 31;
    let r = match (funct7, funct3) {
        (0x00, 0) => wa.wrapping_add(wb),
        (0x20, 0) => wa.wrapping_sub(wb),
        (0x00, 1) => wa << shamt,
        (0x00, 5) => wa >> shamt,
        (0x20, 5) => ((wa as i32) >> shamt) as u32,
        (0x01, 0) => wa.wrapping_mul(wb),
        (0x01, 4) if wb == 0 => u32::MAX,
        (0x01, 4) => (wa as i32).wrapping_div(wb as i32) as u32,
        (0x01, 5) => wa.checked_div(wb).unwrap_or(u32::MAX),
        (0x01, 6) if wb == 0 => wa,
        (0x01, 6) => (wa as i32).wrapping_rem(wb as i32) as u32,
        (0x01, 7) => wa.checked_rem(wb).unwrap_or(wa),
        _ => return None,
    };
    Some(r as i32 as i64 as u64)
}

/// OP-IMM: `imm` is the sign-extended 12-bit immediate.
pub(super) fn op_imm(funct3: u32, a: u64, imm: u64) -> Option<u64> {
    let funct6 = (imm >> 6) & 0x3f;
    match (funct3, funct6) {
        (1, 0) => op(0x00, 1, a, imm),
        (5, 0) => op(0x00, 5, a, imm),
        (5, 0x10) => op(0x20, 5, a, imm),
        (1 | 5, _) => None,
        _ => op(0, funct3, a, imm),
    }
}

/// OP-IMM-32: `imm` is the sign-extended 12-bit immediate.
pub(super) fn op_imm32(funct3: u32, a: u64, imm: u64) -> Option<u64> {
    let funct7 = ((imm >> 5) & 0x7f) as u32;
    match (funct3, funct7) {
        (0, _) => op32(0, 0, a, imm),
        (1, 0) | (5, 0 | 0x20) => op32(funct7, funct3, a, imm),
        _ => None,
    }
}

/// Is a branch with this funct3 taken?
pub(super) fn branch(funct3: u32, a: u64, b: u64) -> Option<bool> {
    Some(match funct3 {
        0 => a == b,
        1 => a != b,
        4 => (a as i64) < b as i64,
        5 => a as i64 >= b as i64,
        6 => a < b,
        7 => a >= b,
        _ => return None,
    })
}

/// M, 64 bits. Division by zero gives all ones (remainder: the dividend); overflow wraps.
fn muldiv(funct3: u32, a: u64, b: u64) -> u64 {
    let (sa, sb) = (a as i64, b as i64);
    match funct3 {
        0 => a.wrapping_mul(b),
        1 => ((i128::from(sa) * i128::from(sb)) >> 64) as u64,
        2 => (i128::from(sa).wrapping_mul(i128::from(b)) >> 64) as u64,
        3 => ((u128::from(a) * u128::from(b)) >> 64) as u64,
        4 if b == 0 => u64::MAX,
        4 => sa.wrapping_div(sb) as u64,
        5 => a.checked_div(b).unwrap_or(u64::MAX),
        6 if b == 0 => a,
        6 => sa.wrapping_rem(sb) as u64,
        _ => a.checked_rem(b).unwrap_or(a),
    }
}
