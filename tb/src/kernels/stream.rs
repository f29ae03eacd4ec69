//! Streaming: the triad of the STREAM benchmark.

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use super::{KernelError, assemble};

/// `a[i] = b[i] + factor * c[i]` over 64-bit words, shared out word by word: thread t takes t, t + threads, ...
/// Arguments: a, b, c, words, factor. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn triad() -> Result<Program, KernelError> {
    assemble("triad", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; ld t3, [a0, 24]
            ; ld t4, [a0, 32]
            ; slli t5, a1, 3
            ; add t0, t0, t5
            ; add t1, t1, t5
            ; add t2, t2, t5
            ; slli t6, a2, 3
            ; next:
            ; bgeu a1, t3, >done
            ; ld s0, [t1, 0]
            ; ld s1, [t2, 0]
            ; mul s1, s1, t4
            ; add s0, s0, s1
            ; sd s0, [t0, 0]
            ; add t0, t0, t6
            ; add t1, t1, t6
            ; add t2, t2, t6
            ; add a1, a1, a2
            ; jal zero, <next
            ; done:
            ; addi a0, zero, 0
            ; ecall
        );
    })
}
