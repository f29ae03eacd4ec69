//! Small device programs. `a0` points to the arguments, `a1` is the thread, `a2` the number of threads.

use hmmu_model::rv64::enc::*;

const SP: u32 = 2;
const A0: u32 = 10;
const A1: u32 = 11;
const A2: u32 = 12;
const T: [u32; 7] = [5, 6, 7, 28, 29, 30, 31];

/// Instructions.
pub struct Program(Vec<u32>);

impl Program {
    pub fn code(&self) -> Vec<u8> {
        bytes(&self.0)
    }
}

/// Result: the word at args[0].
pub fn load() -> Program {
    Program(vec![ld(T[0], A0, 0), ld(A0, T[0], 0), ECALL])
}

/// Writes args[1] to args[0].
pub fn store() -> Program {
    Program(vec![
        ld(T[0], A0, 0),
        ld(T[1], A0, 8),
        sd(T[1], T[0], 0),
        addi(A0, 0, 0),
        ECALL,
    ])
}

/// Adds args[1] to the word at args[0]; result: the old value.
pub fn fetch_add() -> Program {
    Program(vec![
        ld(T[0], A0, 0),
        ld(T[1], A0, 8),
        amoadd_d(A0, T[0], T[1]),
        ECALL,
    ])
}

/// Thread i adds 1 to the word 16 pages times i behind args[0].
pub fn add_far() -> Program {
    Program(vec![
        ld(T[0], A0, 0),
        slli(T[1], A1, 16),
        add(T[0], T[0], T[1]),
        addi(T[1], 0, 1),
        amoadd_d(A0, T[0], T[1]),
        ECALL,
    ])
}

/// Adds 1 to the word whose address is at byte `place` of the program; result: what it was.
pub fn add_at_word(place: i32) -> Program {
    Program(vec![
        auipc(T[0], 0),
        ld(T[0], T[0], place),
        addi(T[1], 0, 1),
        amoadd_d(A0, T[0], T[1]),
        ECALL,
    ])
}

/// Runs for ever.
pub fn spin() -> Program {
    Program(vec![jal(0, 0)])
}

/// Jumps to args[0].
pub fn jump() -> Program {
    Program(vec![ld(T[0], A0, 0), jalr(0, T[0], 0)])
}

/// Adds up 2000 arguments, keeping the sum on the stack.
pub fn sum_over_stack() -> Program {
    Program(vec![
        addi(SP, SP, -16),
        sd(0, SP, 0),
        addi(T[0], 0, 2000),
        ld(T[1], A0, 0),
        ld(T[2], SP, 0),
        add(T[2], T[2], T[1]),
        sd(T[2], SP, 0),
        addi(A0, A0, 8),
        addi(T[0], T[0], -1),
        bne(T[0], 0, -24),
        ld(A0, SP, 0),
        ECALL,
    ])
}

/// Keeps args[0] on its stack and looks at it args[1] times; result: 1 when it has changed, else 0.
pub fn keep_on_stack() -> Program {
    Program(vec![
        addi(SP, SP, -16),
        ld(T[1], A0, 0),
        ld(T[2], A0, 8),
        sd(T[1], SP, 0),
        ld(T[3], SP, 0),
        bne(T[3], T[1], 20),
        addi(T[2], T[2], -1),
        bne(T[2], 0, -12),
        addi(A0, 0, 0),
        ECALL,
        addi(A0, 0, 1),
        ECALL,
    ])
}

/// Reads the word at args[0] again and again until it is not args[1]; result: what it is then.
pub fn wait_change() -> Program {
    Program(vec![
        ld(T[0], A0, 0),
        ld(T[1], A0, 8),
        ld(T[2], T[0], 0),
        beq(T[2], T[1], -4),
        addi(A0, T[2], 0),
        ECALL,
    ])
}

/// Writes a first and a last word to each of args[1] pages at args[0]: args[2] + page, and its complement.
pub fn fill() -> Program {
    pages(&[
        sd(T[5], T[4], 0),
        xori(T[6], T[5], -1),
        addi(T[4], T[4], 2047),
        addi(T[4], T[4], 2041),
        sd(T[6], T[4], 0),
    ])
}

/// Checks what [`fill`] writes; result: the first wrong page, or all ones.
pub fn check() -> Program {
    let wrong = |ahead: i32| bne(T[5], T[6], ahead);
    // On a mismatch: to the end, with the page as the result.
    pages_checked(&[
        ld(T[6], T[4], 0),
        wrong(0),
        addi(T[4], T[4], 2047),
        addi(T[4], T[4], 2041),
        ld(T[6], T[4], 0),
        xori(T[6], T[6], -1),
        wrong(0),
    ])
}

/// Adds 1 to the first word of each of args[1] pages at args[0], args[2] times, by atomics.
pub fn count() -> Program {
    pages_repeated(&[addi(T[6], 0, 1), amoadd_d(0, T[4], T[6])])
}

fn prologue() -> Vec<u32> {
    vec![
        ld(T[0], A0, 0),
        ld(T[1], A0, 8),
        ld(T[2], A0, 16),
        addi(T[3], A1, 0),
    ]
}

/// A loop over the pages of a thread: T3 the page, T4 its address, T5 the value that belongs there.
fn pages(body: &[u32]) -> Program {
    let mut code = prologue();
    let length = body.len() as i32;
    code.push(bgeu(T[3], T[1], 4 * (length + 6)));
    code.extend([
        slli(T[4], T[3], 12),
        add(T[4], T[4], T[0]),
        add(T[5], T[2], T[3]),
    ]);
    code.extend(body);
    code.push(add(T[3], T[3], A2));
    code.push(jal(0, -4 * (length + 5)));
    code.extend([addi(A0, 0, -1), ECALL]);
    Program(code)
}

/// As [`pages`]; branches of the body with offset 0 lead to an end with the page as the result.
fn pages_checked(body: &[u32]) -> Program {
    let Program(mut code) = pages(body);
    let end = code.len();
    code.extend([addi(A0, T[3], 0), ECALL]);
    for (i, word) in code.iter_mut().enumerate() {
        if *word == bne(T[5], T[6], 0) {
            *word = bne(T[5], T[6], 4 * (end as i32 - i as i32));
        }
    }
    Program(code)
}

/// As [`pages`], args[2] times over; T5 is not what it says there.
fn pages_repeated(body: &[u32]) -> Program {
    let length = body.len() as i32;
    let mut code = prologue();
    // while T2 != 0
    code.push(beq(T[2], 0, 4 * (length + 9)));
    code.push(addi(T[3], A1, 0));
    code.push(bgeu(T[3], T[1], 4 * (length + 5)));
    code.extend([slli(T[4], T[3], 12), add(T[4], T[4], T[0])]);
    code.extend(body);
    code.push(add(T[3], T[3], A2));
    code.push(jal(0, -4 * (length + 4)));
    code.push(addi(T[2], T[2], -1));
    code.push(jal(0, -4 * (length + 8)));
    code.extend([addi(A0, 0, 0), ECALL]);
    Program(code)
}
