//! Hash join with chains: one program builds, one probes.
//!
//! A row is a key, a value and the next row of its chain (64-bit words 0, 1 and 2). The chain of a key has the
//! number that the top bits of key * factor say: key * factor >> shift.

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use super::{KernelError, assemble};

/// Puts each row at the head of its chain, atomically. Arguments: rows' address, rows, log2 of a row's bytes,
/// chains' address, factor, shift. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn join_build() -> Result<Program, KernelError> {
    assemble("join_build", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; ld t3, [a0, 24]
            ; ld t4, [a0, 32]
            ; ld t5, [a0, 40]
            ; sll t6, a1, t2
            ; add t0, t0, t6
            ; sll t2, a2, t2
            ; next:
            ; bgeu a1, t1, >done
            ; ld t6, [t0, 0]
            ; mul t6, t6, t4
            ; srl t6, t6, t5
            ; slli t6, t6, 3
            ; add t6, t6, t3
            ; amoswap.d s0, t0, [t6]
            ; sd s0, [t0, 16]
            ; add t0, t0, t2
            ; add a1, a1, a2
            ; jal zero, <next
            ; done:
            ; addi a0, zero, 0
            ; ecall
        );
    })
}

/// Looks each probe up in its chain, to the chain's end; adds the values of all rows with its key to word 0 of
/// `sums`, and their number to word 1, atomically when the thread ends. Arguments: probes' address, probes, chains'
/// address, factor, shift, sums. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn join_probe() -> Result<Program, KernelError> {
    assemble("join_probe", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; ld t0, [a0, 0]
            ; ld t1, [a0, 8]
            ; ld t2, [a0, 16]
            ; ld t3, [a0, 24]
            ; ld t4, [a0, 32]
            ; ld t5, [a0, 40]
            ; slli t6, a1, 3
            ; add t0, t0, t6
            ; slli t6, a2, 3
            ; addi s0, zero, 0
            ; addi s1, zero, 0
            ; next:
            ; bgeu a1, t1, >done
            ; ld s2, [t0, 0]
            ; mul s3, s2, t3
            ; srl s3, s3, t4
            ; slli s3, s3, 3
            ; add s3, s3, t2
            ; ld s3, [s3, 0]
            ; row:
            ; beq s3, zero, >ended
            ; ld s4, [s3, 0]
            ; bne s4, s2, >other
            ; ld s4, [s3, 8]
            ; add s0, s0, s4
            ; addi s1, s1, 1
            ; other:
            ; ld s3, [s3, 16]
            ; jal zero, <row
            ; ended:
            ; add t0, t0, t6
            ; add a1, a1, a2
            ; jal zero, <next
            ; done:
            ; amoadd.d zero, s0, [t5]
            ; addi t5, t5, 8
            ; amoadd.d zero, s1, [t5]
            ; addi a0, zero, 0
            ; ecall
        );
    })
}
