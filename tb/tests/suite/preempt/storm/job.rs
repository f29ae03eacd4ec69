//! What the threads of a storm do.

use std::collections::BTreeMap;

use hmmu_model::rv64::enc::{
    ECALL, add, addi, amoadd_d, andi, bne, bytes, ld, lui, mul, sd, slli, srli,
};

/// Threads of each job, and stores and atomics of each thread.
pub const THREADS: u64 = 8;
const ROUNDS: u64 = 60;
/// Addresses that are stored to, and addresses that are only read: powers of two.
pub const TARGETS: u64 = 16;
pub const SOURCES: u64 = 8;
const FACTOR: u64 = 0x3d;

/// Each round stores its number to the thread's word of a random target, loads from a random source, and adds one to
/// the thread's counter of another target. Arguments: the lists of targets and of sources.
pub fn program() -> Vec<u8> {
    let loop_start = 5;
    let mut code = vec![
        slli(5, 11, 3), // x5 = 8 t
        addi(6, 0, ROUNDS as i32),
        addi(7, 11, 1), // x7: random
        addi(8, 0, FACTOR as i32),
        addi(9, 0, 1),
        // A round.
        mul(7, 7, 8),
        addi(7, 7, 0x155),
        srli(28, 7, 5),
        andi(28, 28, TARGETS as i32 - 1),
        slli(28, 28, 3),
        add(28, 28, 10),
        ld(28, 28, 0),
        add(28, 28, 5),
        sd(6, 28, 0),
        srli(29, 7, 9),
        andi(29, 29, SOURCES as i32 - 1),
        slli(29, 29, 3),
        add(29, 29, 10),
        ld(29, 29, 8 * TARGETS as i32),
        ld(30, 29, 0),
        srli(28, 7, 13),
        andi(28, 28, TARGETS as i32 - 1),
        slli(28, 28, 3),
        add(28, 28, 10),
        ld(28, 28, 0),
        add(28, 28, 5),
        addi(28, 28, 0x200),
        amoadd_d(0, 28, 9),
        // The upper bits go, so that the sequence is that of 32 bits.
        slli(7, 7, 32),
        srli(7, 7, 32),
        addi(6, 6, -1),
    ];
    code.push(bne(6, 0, (loop_start - code.len() as i32) * 4));
    code.push(lui(10, 0));
    code.push(ECALL);
    bytes(&code)
}

/// What the words of the targets hold in the end: by index of target and offset.
pub fn expected() -> BTreeMap<(u64, u64), u64> {
    let mut words = BTreeMap::new();
    for t in 0..THREADS {
        let mut x = t + 1;
        for round in (1..=ROUNDS).rev() {
            x = x.wrapping_mul(FACTOR).wrapping_add(0x155);
            words.insert((x >> 5 & (TARGETS - 1), 8 * t), round);
            *words
                .entry((x >> 13 & (TARGETS - 1), 0x200 + 8 * t))
                .or_default() += 1;
            x &= 0xffff_ffff;
        }
    }
    words
}
