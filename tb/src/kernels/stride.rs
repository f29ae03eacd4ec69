//! One word of each page: what a column of a large matrix is.

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use super::{KernelError, assemble};

/// Each thread sums one word of each of its pages (t, t + threads, ... of 4 KiB) in several rounds, each one 64
/// bytes further in the page, and stores the sum in its word of `out`. Arguments: address, pages, rounds, out.
/// Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn stride() -> Result<Program, KernelError> {
    assemble("stride", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; ld t3, [a0, 24]
            ; slli t4, a1, 12
            ; add t0, t0, t4
            ; slli t5, a2, 12
            ; slli t4, a1, 3
            ; add t3, t3, t4
            ; addi s0, zero, 0
            ; round:
            ; beq t2, zero, >done
            ; addi s1, a1, 0
            ; addi s2, t0, 0
            ; page:
            ; bgeu s1, t1, >last
            ; ld s3, [s2, 0]
            ; add s0, s0, s3
            ; add s2, s2, t5
            ; add s1, s1, a2
            ; jal zero, <page
            ; last:
            ; addi t0, t0, 64
            ; addi t2, t2, -1
            ; jal zero, <round
            ; done:
            ; sd s0, [t3, 0]
            ; addi a0, zero, 0
            ; ecall
        );
    })
}
