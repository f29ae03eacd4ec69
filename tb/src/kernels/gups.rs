//! Random access: giant updates per second, the HPC Challenge's RandomAccess.

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use super::{KernelError, assemble};

/// Each thread draws `updates` numbers (xorshift64 from its word of `seeds`) and exclusive-ors each into the word
/// of the table that it chooses among the thread's own, of which every line has some: word number * threads + index.
/// Arguments: table, numbers - 1 (a power of two less 1), updates, seeds. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn gups() -> Result<Program, KernelError> {
    assemble("gups", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; ld t3, [a0, 24]
            ; slli t4, a1, 3
            ; add t3, t3, t4
            ; ld t3, [t3, 0]
            ; again:
            ; slli t4, t3, 13
            ; xor t3, t3, t4
            ; srli t4, t3, 7
            ; xor t3, t3, t4
            ; slli t4, t3, 17
            ; xor t3, t3, t4
            ; and t4, t3, t1
            ; mul t4, t4, a2
            ; add t4, t4, a1
            ; slli t4, t4, 3
            ; add t4, t4, t0
            ; ld t5, [t4, 0]
            ; xor t5, t5, t3
            ; sd t5, [t4, 0]
            ; addi t2, t2, -1
            ; bne t2, zero, <again
            ; addi a0, zero, 0
            ; ecall
        );
    })
}

/// The numbers that a thread draws: each from the one before it, the first from its seed.
#[must_use]
pub fn gups_next(number: u64) -> u64 {
    let number = number ^ number << 13;
    let number = number ^ number >> 7;
    number ^ number << 17
}
