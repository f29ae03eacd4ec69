//! Loops: waiting, following pointers, counting.

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use super::{KernelError, assemble};

/// Spins. Argument: rounds, 0 for ever. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn spin() -> Result<Program, KernelError> {
    assemble("spin", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; again:
            ; addi t0, t0, -1
            ; bne t0, zero, <again
            ; addi a0, zero, 0
            ; ecall
        );
    })
}

/// Follows pointers: argument 1 times from argument 0. The result is where it ends.
///
/// # Errors
/// The assembler refused it.
pub fn chase() -> Result<Program, KernelError> {
    assemble("chase", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; again:
            ; beq t1, zero, >done
            ; ld t0, [t0, 0]
            ; addi t1, t1, -1
            ; jal zero, <again
            ; done:
            ; addi a0, t0, 0
            ; ecall
        );
    })
}

/// Each thread follows pointers of its own: `steps` (at least 1) of them from its word of `starts`, and stores
/// where it ends in its word of `out`. Arguments: starts, steps, out. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn chases() -> Result<Program, KernelError> {
    assemble("chases", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; slli t3, a1, 3
            ; add t0, t0, t3
            ; add t2, t2, t3
            ; ld t0, [t0, 0]
            ; again:
            ; ld t0, [t0, 0]
            ; addi t1, t1, -1
            ; bne t1, zero, <again
            ; sd t0, [t2, 0]
            ; addi a0, zero, 0
            ; ecall
        );
    })
}

/// Every thread adds 1 to its word, `rounds` times: word `index * stride` bytes after the address.
/// Arguments: address, rounds, stride. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn count() -> Result<Program, KernelError> {
    assemble("count", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; mul t2, t2, a1
            ; add t0, t0, t2
            ; addi t3, zero, 1
            ; again:
            ; beq t1, zero, >done
            ; amoadd.d t4, t3, [t0]
            ; addi t1, t1, -1
            ; jal zero, <again
            ; done:
            ; addi a0, zero, 0
            ; ecall
        );
    })
}
