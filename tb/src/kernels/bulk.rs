//! Ranges of 64-bit words, shared out over the threads word by word: thread i takes words i, i + threads, ...

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use super::{Asm, KernelError, assemble};

/// `t0` = first address of the thread, `t1` = end of the range, `t2` = value of its first word, `t3` = step in
/// bytes, `a2` stays the step in words.
fn setup(ops: &mut Asm) {
    dynasm!(ops
        ; .arch riscv64 ; .feature ma
        ; ld t0, [a0, 0]
        ; ld t1, [a0, 8]
        ; ld t2, [a0, 16]
        ; add t1, t1, t0
        ; add t2, t2, a1
        ; slli t3, a1, 3
        ; add t0, t0, t3
        ; slli t3, a2, 3
    );
}

/// Writes word k of a range as `first + k`. Arguments: address, bytes, first. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn fill() -> Result<Program, KernelError> {
    assemble("fill", |ops| {
        setup(ops);
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; next:
            ; bgeu t0, t1, >done
            ; sd t2, [t0, 0]
            ; add t0, t0, t3
            ; add t2, t2, a2
            ; jal zero, <next
            ; done:
            ; addi a0, zero, 0
            ; ecall
        );
    })
}

/// Compares word k of a range with `first + k`. Arguments: address, bytes, first. The result is the address of
/// the first word that differs, or all ones.
///
/// # Errors
/// The assembler refused it.
pub fn check() -> Result<Program, KernelError> {
    assemble("check", |ops| {
        setup(ops);
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; next:
            ; bgeu t0, t1, >good
            ; ld t4, [t0, 0]
            ; bne t4, t2, >bad
            ; add t0, t0, t3
            ; add t2, t2, a2
            ; jal zero, <next
            ; bad:
            ; addi a0, t0, 0
            ; ecall
            ; good:
            ; addi a0, zero, -1
            ; ecall
        );
    })
}
