//! Histogram with atomics.

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use super::{KernelError, assemble};

/// Counts words by their low bits: adds 1 to the bin of each, atomically. Arguments: words' address, words, bins'
/// address, bins - 1 (bins a power of two). Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn histogram() -> Result<Program, KernelError> {
    assemble("histogram", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; ld t3, [a0, 24]
            ; slli t4, a1, 3
            ; add t0, t0, t4
            ; slli t5, a2, 3
            ; addi t6, zero, 1
            ; next:
            ; bgeu a1, t1, >done
            ; ld t4, [t0, 0]
            ; and t4, t4, t3
            ; slli t4, t4, 3
            ; add t4, t4, t2
            ; amoadd.d zero, t6, [t4]
            ; add t0, t0, t5
            ; add a1, a1, a2
            ; jal zero, <next
            ; done:
            ; addi a0, zero, 0
            ; ecall
        );
    })
}
