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

/// Looks at the first word of each page of a range and says whether all are as they should be: that of page k is k. Thread
/// i takes pages `f * i`, `f * (i + threads)`, ... modulo their number: with the factor `f` 1 the threads go
/// through the range side by side, with another odd one they jump. Arguments: address, pages (a power of two), factor.
/// Result 1, or 0.
///
/// # Errors
/// The assembler refused it.
pub fn touch() -> Result<Program, KernelError> {
    assemble("touch", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; addi t3, t1, -1
            ; next:
            ; bgeu a1, t1, >good
            ; mul t4, a1, t2
            ; and t4, t4, t3
            ; slli t5, t4, 12
            ; add t5, t5, t0
            ; ld t6, [t5, 0]
            ; bne t6, t4, >bad
            ; add a1, a1, a2
            ; jal zero, <next
            ; bad:
            ; addi a0, zero, 0
            ; ecall
            ; good:
            ; addi a0, zero, 1
            ; ecall
        );
    })
}
