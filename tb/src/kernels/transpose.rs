//! Matrix transpose, word by word.

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use super::{KernelError, assemble};

/// Transposes a band of columns: word (i, j) of a matrix whose rows are `1 << pitch` bytes apart goes to word
/// (j, i) of one whose rows follow each other. Neighbouring threads take neighbouring words of the result, so
/// they read from neighbouring rows. Arguments: from, to, log2 of the rows, pitch, words. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn transpose() -> Result<Program, KernelError> {
    assemble("transpose", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; ld t3, [a0, 24]
            ; ld t4, [a0, 32]
            ; addi t5, zero, 1
            ; sll t5, t5, t2
            ; addi t5, t5, -1
            ; next:
            ; bgeu a1, t4, >done
            ; and s0, a1, t5
            ; sll s0, s0, t3
            ; srl s1, a1, t2
            ; slli s1, s1, 3
            ; add s0, s0, s1
            ; add s0, s0, t0
            ; ld s0, [s0, 0]
            ; slli s1, a1, 3
            ; add s1, s1, t1
            ; sd s0, [s1, 0]
            ; add a1, a1, a2
            ; jal zero, <next
            ; done:
            ; addi a0, zero, 0
            ; ecall
        );
    })
}
