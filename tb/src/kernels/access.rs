//! One access.

use dynasmrt::dynasm;
use hmmu_driver::Program;

use super::{KernelError, assemble};

const SIZES: &str = "1, 2, 4 or 8";

/// Loads `size` bytes at argument 0, zero extended.
///
/// # Errors
/// No such size.
pub fn load(size: u64) -> Result<Program, KernelError> {
    if ![1, 2, 4, 8].contains(&size) {
        return Err(KernelError::Size {
            name: "load",
            size,
            expected: SIZES,
        });
    }
    assemble("load", |ops| {
        dynasm!(ops ; .arch riscv64 ; .feature ma ; ld t0, [a0, 0]);
        match size {
            1 => dynasm!(ops ; .arch riscv64 ; lbu a0, [t0, 0]),
            2 => dynasm!(ops ; .arch riscv64 ; lhu a0, [t0, 0]),
            4 => dynasm!(ops ; .arch riscv64 ; lwu a0, [t0, 0]),
            _ => dynasm!(ops ; .arch riscv64 ; ld a0, [t0, 0]),
        }
        dynasm!(ops ; .arch riscv64 ; ecall);
    })
}

/// Stores the low `size` bytes of argument 1 at argument 0. Result 0.
///
/// # Errors
/// No such size.
pub fn store(size: u64) -> Result<Program, KernelError> {
    if ![1, 2, 4, 8].contains(&size) {
        return Err(KernelError::Size {
            name: "store",
            size,
            expected: SIZES,
        });
    }
    assemble("store", |ops| {
        dynasm!(ops ; .arch riscv64 ; .feature ma ; ld t0, [a0, 0] ; ld t1, [a0, 8]);
        match size {
            1 => dynasm!(ops ; .arch riscv64 ; sb t1, [t0, 0]),
            2 => dynasm!(ops ; .arch riscv64 ; sh t1, [t0, 0]),
            4 => dynasm!(ops ; .arch riscv64 ; sw t1, [t0, 0]),
            _ => dynasm!(ops ; .arch riscv64 ; sd t1, [t0, 0]),
        }
        dynasm!(ops ; .arch riscv64 ; addi a0, zero, 0 ; ecall);
    })
}

/// Adds argument 1 to the 4 or 8 bytes at argument 0; the result is the old value, zero extended.
///
/// # Errors
/// No such size.
pub fn fetch_add(size: u64) -> Result<Program, KernelError> {
    if ![4, 8].contains(&size) {
        return Err(KernelError::Size {
            name: "fetch_add",
            size,
            expected: "4 or 8",
        });
    }
    assemble("fetch_add", |ops| {
        dynasm!(ops ; .arch riscv64 ; .feature ma ; ld t0, [a0, 0] ; ld t1, [a0, 8]);
        if size == 4 {
            dynasm!(ops
                ; .arch riscv64 ; .feature ma
                ; amoadd.w a0, t1, [t0]
                ; slli a0, a0, 32
                ; srli a0, a0, 32
            );
        } else {
            dynasm!(ops ; .arch riscv64 ; .feature ma ; amoadd.d a0, t1, [t0]);
        }
        dynasm!(ops ; .arch riscv64 ; ecall);
    })
}
