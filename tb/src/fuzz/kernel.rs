//! A device program that looks at every word it is told to, in order.

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use crate::kernels::{KernelError, assemble};

/// Goes over words and mixes them: h = 31 * h + word. Arguments: address, words, bytes between them. The result is h.
pub fn sum() -> Result<Program, KernelError> {
    assemble("sum", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; addi a0, zero, 0
            ; addi t3, zero, 31
            ; next:
            ; beq t1, zero, >done
            ; ld t4, [t0, 0]
            ; mul a0, a0, t3
            ; add a0, a0, t4
            ; add t0, t0, t2
            ; addi t1, t1, -1
            ; jal zero, <next
            ; done:
            ; ecall
        );
    })
}
