//! What the jobs do.

use hmmu_model::rv64::enc::*;

/// Pages that a job stores to, and how often.
pub const PAGES: u64 = 4;
pub const ROUNDS: u64 = 30;
pub const THREADS: u64 = 3;

/// Thread t stores 1, 2, ... `ROUNDS` to word t of each page.
pub fn program() -> Vec<u32> {
    let mut code = vec![
        slli(5, 11, 3),
        add(5, 5, 10),
        addi(6, 0, 1),
        addi(7, 0, ROUNDS as i32 + 1),
        lui(28, 1),
    ];
    let again = code.len();
    code.push(addi(29, 5, 0));
    for _ in 0..PAGES {
        code.extend([sd(6, 29, 0), add(29, 29, 28)]);
    }
    code.push(addi(6, 6, 1));
    let back = (again as i32 - code.len() as i32) * 4;
    code.extend([bne(6, 7, back), addi(10, 0, 0), ECALL]);
    code
}
