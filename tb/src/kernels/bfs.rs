//! Breadth-first search: over linked nodes, and over arrays for comparison.
//!
//! Both take their work from one queue in the process's memory, many threads at once. Whoever wants a vertex
//! takes a ticket and waits for its slot to fill; whoever finds a shorter way to a vertex puts it in, unless it
//! is in the queue already, so a queue with a slot for every vertex never overflows. The search is over when
//! no vertex is in the queue or in work. A vertex may be visited again when a shorter way turns up, so the
//! distances are right whatever the threads' order.

use dynasmrt::{DynasmLabelApi, dynasm};
use hmmu_driver::Program;

use super::{Asm, KernelError, assemble};

/// Where things are, in bytes.
pub mod layout {
    /// Node: distance from the root.
    pub const NODE_DIST: u64 = 0;
    /// Node: its first edge, or 0.
    pub const NODE_EDGES: u64 = 8;
    /// Node: 1 while it is in the queue.
    pub const NODE_QUEUED: u64 = 16;
    /// Node: its number in the file.
    pub const NODE_ID: u64 = 24;
    /// Size of a node.
    pub const NODE_BYTES: u64 = 32;
    /// Edge: the node it leads to.
    pub const EDGE_TO: u64 = 0;
    /// Edge: the next edge of the same node, or 0.
    pub const EDGE_NEXT: u64 = 8;
    /// Size of an edge.
    pub const EDGE_BYTES: u64 = 16;
    /// Queue: tickets of takers.
    pub const QUEUE_HEAD: u64 = 0;
    /// Queue: tickets of givers.
    pub const QUEUE_TAIL: u64 = 64;
    /// Queue: vertices in the queue or in work.
    pub const QUEUE_OPEN: u64 = 128;
    /// Queue: slots - 1, slots being a power of two.
    pub const QUEUE_MASK: u64 = 192;
    /// Queue: the first slot; 0 is empty.
    pub const QUEUE_SLOTS: u64 = 256;
}

/// The queue, for all that follows: `s0` = queue, `s1` = mask, `s2` = slots, `s3` = one, `s4` = minus one.
fn open(ops: &mut Asm) {
    dynasm!(ops
        ; .arch riscv64 ; .feature ma
        ; ld s0, [a0, 0]
        ; ld s1, [s0, 192]
        ; addi s2, s0, 256
        ; addi s3, zero, 1
        ; addi s4, zero, -1
    );
}

/// Takes an entry into `s5`; ends the thread when the search is over. Label `take`.
fn take(ops: &mut Asm) {
    dynasm!(ops
        ; .arch riscv64 ; .feature ma
        ; take:
        ; amoadd.d t0, s3, [s0]
        ; and t0, t0, s1
        ; slli t0, t0, 3
        ; add t0, t0, s2
        ; wait:
        ; ld s5, [t0, 0]
        ; bne s5, zero, >got
        ; ld t1, [s0, 128]
        ; bne t1, zero, <wait
        ; addi a0, zero, 0
        ; ecall
        ; got:
        ; sd zero, [t0, 0]
    );
}

/// Puts `t2` in, and goes to label `edge`.
fn put(ops: &mut Asm) {
    dynasm!(ops
        ; .arch riscv64 ; .feature ma
        ; addi t1, s0, 128
        ; amoadd.d zero, s3, [t1]
        ; addi t1, s0, 64
        ; amoadd.d t3, s3, [t1]
        ; and t3, t3, s1
        ; slli t3, t3, 3
        ; add t3, t3, s2
        ; full:
        ; ld t4, [t3, 0]
        ; bne t4, zero, <full
        ; sd t2, [t3, 0]
        ; jal zero, <edge
    );
}

/// The entry taken last is done with: takes the next one. Label `visited`.
fn visited(ops: &mut Asm) {
    dynasm!(ops
        ; .arch riscv64 ; .feature ma
        ; visited:
        ; addi t1, s0, 128
        ; amoadd.d zero, s4, [t1]
        ; jal zero, <take
    );
}

/// Over linked nodes (see [`layout`]). Argument: the queue. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn bfs_nodes() -> Result<Program, KernelError> {
    assemble("bfs_nodes", |ops| {
        open(ops);
        take(ops);
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            // The mark goes before the distance is read: a shorter way found from here on puts the node in again.
            ; addi t1, s5, 16
            ; amoswap.d zero, zero, [t1]
            ; ld s6, [s5, 0]
            ; addi s6, s6, 1
            ; ld s7, [s5, 8]

            ; edge:
            ; beq s7, zero, >visited
            ; ld t2, [s7, 0]
            ; ld s7, [s7, 8]
            ; ld t3, [t2, 0]
            ; bgeu s6, t3, <edge
            ; amominu.d t3, s6, [t2]
            ; bgeu s6, t3, <edge
            ; addi t1, t2, 16
            ; amoswap.d t3, s3, [t1]
            ; bne t3, zero, <edge
        );
        put(ops);
        visited(ops);
    })
}

/// Over arrays of 64-bit words: row offsets (vertices + 1), columns, distances, marks of the queued. Vertex v is
/// in the queue as v + 1. Arguments: queue, offsets, columns, distances, marks. Result 0.
///
/// # Errors
/// The assembler refused it.
pub fn bfs_arrays() -> Result<Program, KernelError> {
    assemble("bfs_arrays", |ops| {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            // s8 offsets, s9 columns, s10 distances, s11 marks
            ; ld s8, [a0, 8]
            ; ld s9, [a0, 16]
            ; ld s10, [a0, 24]
            ; ld s11, [a0, 32]
        );
        open(ops);
        take(ops);
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; addi s5, s5, -1
            ; slli s5, s5, 3
            ; add t1, s11, s5
            ; amoswap.d zero, zero, [t1]
            ; add t1, s10, s5
            ; ld s6, [t1, 0]
            ; addi s6, s6, 1
            ; add t1, s8, s5
            ; ld s7, [t1, 0]
            ; ld t6, [t1, 8]
            ; slli s7, s7, 3
            ; slli t6, t6, 3
            ; add s7, s7, s9
            ; add t6, t6, s9

            ; edge:
            ; bgeu s7, t6, >visited
            ; ld t2, [s7, 0]
            ; addi s7, s7, 8
            ; slli t5, t2, 3
            ; add t1, s10, t5
            ; ld t3, [t1, 0]
            ; bgeu s6, t3, <edge
            ; amominu.d t3, s6, [t1]
            ; bgeu s6, t3, <edge
            ; add t1, s11, t5
            ; amoswap.d t3, s3, [t1]
            ; bne t3, zero, <edge
            ; addi t2, t2, 1
        );
        put(ops);
        visited(ops);
    })
}
