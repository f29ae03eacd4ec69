//! One test for each instruction of the compute unit: edge operands, against the reference interpreter.

mod cu_bench;

use cu_bench::mmu::Page;
use cu_bench::{Bench, End, Thread, Timing, program, reference};
use hmmu_model::rv64::enc;
use hmmu_regs::JobStatus;
use hmmu_vsim::COMPACT;

const CODE: u64 = 0x40_0000;
/// Operands; results go to the page after it.
const DATA: u64 = 0x7fff_ffff_0000;
const DATA_PPN: u64 = 0x77;

/// Operands at the edges of what instructions care about.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    u64::MAX,
    u64::MAX - 1,
    1 << 63,
    (1 << 63) + 1,
    (1 << 63) - 1,
    0x8000_0000,
    0xffff_ffff_8000_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x0123_4567_89ab_cdef,
    0xfedc_ba98_7654_3210,
    63,
];

/// Runs a program on the unit and the interpreter; both must end alike and leave the same memory.
/// a0 is `DATA`; its page holds `words`.
fn check(name: &str, code: &[u32], words: &[u64]) -> End {
    let mut bench = Bench::new(Timing::fixed(2), 1);
    for page in 0..(code.len() as u64 * 4).div_ceil(4096) {
        bench.map(3, CODE + page * 4096, Page::all(0x100 + page));
    }
    bench.map(3, DATA, Page::all(DATA_PPN));
    bench.map(3, DATA + 4096, Page::all(DATA_PPN + 1));
    bench.load_program(3, CODE, code);
    for (k, word) in words.iter().enumerate() {
        bench
            .memory
            .set_value((DATA_PPN << 12) + 8 * k as u64, 8, *word);
    }
    let thread = Thread {
        ctx: 3,
        entry: CODE,
        arg: DATA,
        index: 5,
        threads: 9,
        ..Thread::default()
    };
    let mut memory = bench.memory.clone();
    let expected = reference::run(&mut memory, &bench.mmu, &thread);
    bench.queue.push_back(thread);
    bench.run(200_000);
    assert_eq!(bench.ends, [expected], "{name}");
    for k in 0..1024 {
        let at = (DATA_PPN << 12) + 8 * k;
        assert_eq!(
            bench.memory.value(at, 8),
            memory.value(at, 8),
            "{name}: word {k}"
        );
    }
    expected
}

/// All pairs of edges, one after the other.
fn pairs() -> Vec<u64> {
    EDGES
        .iter()
        .flat_map(|a| EDGES.iter().flat_map(move |b| [*a, *b]))
        .collect()
}

/// A loop over `count` operand pairs (x5, x6 loaded from x8) whose results (x7) go to x9.
fn pair_loop(body: &[u32], count: i32, step: i32) -> Vec<u32> {
    let mut code = vec![
        enc::addi(8, 10, 0),
        enc::lui(9, 1),
        enc::add(9, 9, 8),
        enc::addi(13, 0, count),
        enc::ld(5, 8, 0),
        enc::ld(6, 8, 8),
    ];
    code.extend(body);
    code.extend([
        enc::sd(7, 9, 0),
        enc::addi(8, 8, step),
        enc::addi(9, 9, 8),
        enc::addi(13, 13, -1),
    ]);
    code.push(enc::bne(13, 0, -4 * (body.len() as i32 + 6)));
    code.push(enc::ECALL);
    code
}

fn reg_reg(name: &str) {
    let (_, op) = program::REG_REG
        .iter()
        .find(|(n, _)| *n == name)
        .expect("listed");
    check(name, &pair_loop(&[op(7, 5, 6)], 256, 16), &pairs());
    // x0 stays zero, and rd may be an operand.
    check(
        name,
        &pair_loop(&[op(0, 5, 6), enc::addi(7, 0, 0)], 256, 16),
        &pairs(),
    );
    check(
        name,
        &pair_loop(&[op(5, 5, 6), op(7, 5, 5)], 256, 16),
        &pairs(),
    );
}

/// All immediates on each edge; the results are mixed so that none can hide another.
fn immediate(name: &str, op: fn(u32, u32, i32) -> u32, immediates: &[i32]) {
    let mut body = vec![enc::addi(30, 0, 1657), enc::addi(7, 0, 0)];
    for imm in immediates {
        body.extend([op(28, 5, *imm), enc::mul(7, 7, 30), enc::add(7, 7, 28)]);
    }
    check(name, &pair_loop(&body, 16, 8), &EDGES);
}

fn reg_imm(name: &str) {
    if let Some((_, op)) = program::REG_IMM.iter().find(|(n, _)| *n == name) {
        immediate(name, *op, &[0, 1, -1, 2047, -2048, 0x555, -0x555]);
    } else {
        let (_, op, n) = program::SHIFT_IMM
            .iter()
            .find(|(n, ..)| *n == name)
            .expect("listed");
        immediate(name, *op, &(0..*n).collect::<Vec<_>>());
    }
}

fn load(name: &str) {
    let (_, op, size) = program::LOADS
        .iter()
        .find(|(n, ..)| *n == name)
        .expect("listed");
    let mut code = vec![enc::addi(8, 10, 1024), enc::lui(9, 1), enc::add(9, 9, 10)];
    for k in 0..128 / size {
        code.extend([
            op(7, 8, k * size - 64),
            enc::sd(7, 9, 0),
            enc::addi(9, 9, 8),
        ]);
    }
    code.extend([op(0, 8, 0), enc::sd(0, 9, 0), enc::ECALL]);
    let words: Vec<u64> = (0..512)
        .map(|k: u64| k.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect();
    check(name, &code, &words);
}

fn store(name: &str) {
    let (_, op, size) = program::STORES
        .iter()
        .find(|(n, ..)| *n == name)
        .expect("listed");
    let mut code = vec![enc::addi(8, 10, 1024)];
    for k in 0..128 / size {
        code.extend([enc::ld(7, 10, 8 * (k % 16)), op(7, 8, k * size - 64)]);
    }
    code.push(enc::ECALL);
    check(name, &code, &EDGES);
}

fn amo(name: &str) {
    let (_, op, size) = program::AMOS
        .iter()
        .find(|(n, ..)| *n == name)
        .expect("listed");
    check(name, &pair_loop(&[op(7, 8, 6)], 256, 16), &pairs());
    // The upper word of a double word, and no destination.
    let upper = [enc::addi(29, 8, 8 - size), op(0, 29, 5), op(7, 29, 6)];
    check(name, &pair_loop(&upper, 256, 16), &pairs());
}

fn branch(name: &str) {
    let (_, op) = program::BRANCHES
        .iter()
        .find(|(n, _)| *n == name)
        .expect("listed");
    let body = [
        enc::addi(7, 0, 1),
        op(5, 6, 8),
        enc::addi(7, 0, 2),
        enc::addi(7, 7, 16),
    ];
    check(name, &pair_loop(&body, 256, 16), &pairs());
    // Backwards: leaves the loop when x5 has counted to x6.
    let back = [
        enc::addi(7, 0, 0),
        enc::addi(5, 0, -3),
        enc::addi(6, 0, 1),
        enc::addi(7, 7, 1),
        enc::addi(5, 5, 1),
        enc::slti(28, 7, 9),
        enc::beq(28, 0, 8),
        op(5, 6, -16),
    ];
    check(name, &pair_loop(&back, 1, 16), &pairs());
}

/// LR and SC of one size.
fn reserved(name: &str, lr: u32, sc: u32) {
    let plain = [lr, sc, enc::addi(7, 28, 0)];
    check(name, &pair_loop(&plain, 256, 16), &pairs());
    // A store between them that changes the word, a second SC, an SC elsewhere.
    let changed = [lr, enc::sd(6, 8, 0), sc, enc::addi(7, 28, 0)];
    check(name, &pair_loop(&changed, 256, 16), &pairs());
    let twice = [lr, sc, sc, enc::addi(7, 28, 0)];
    check(name, &pair_loop(&twice, 256, 16), &pairs());
    let elsewhere = [
        lr,
        enc::addi(8, 8, 8),
        sc,
        enc::addi(8, 8, -8),
        enc::addi(7, 28, 0),
    ];
    check(name, &pair_loop(&elsewhere, 256, 16), &pairs());
    let other_size = [lr ^ 0x1000, sc, enc::addi(7, 28, 0)];
    check(name, &pair_loop(&other_size, 256, 16), &pairs());
    let loaded = [lr, enc::addi(7, 29, 0)];
    check(name, &pair_loop(&loaded, 256, 16), &pairs());
}

macro_rules! instructions {
    ($($kind:ident: $($test:ident $name:literal),* ;)*) => {
        $($(#[test] fn $test() { $kind($name); })*)*
    };
}

instructions! {
    reg_reg: add "add", sub "sub", sll "sll", slt "slt", sltu "sltu", xor "xor", srl "srl", sra "sra", or "or",
        and "and", addw "addw", subw "subw", sllw "sllw", srlw "srlw", sraw "sraw", mul "mul", mulh "mulh",
        mulhsu "mulhsu", mulhu "mulhu", div "div", divu "divu", rem "rem", remu "remu", mulw "mulw", divw "divw",
        divuw "divuw", remw "remw", remuw "remuw";
    reg_imm: addi "addi", slti "slti", sltiu "sltiu", xori "xori", ori "ori", andi "andi", addiw "addiw",
        slli "slli", srli "srli", srai "srai", slliw "slliw", srliw "srliw", sraiw "sraiw";
    load: lb "lb", lh "lh", lw "lw", ld "ld", lbu "lbu", lhu "lhu", lwu "lwu";
    store: sb "sb", sh "sh", sw "sw", sd "sd";
    amo: amoswap_w "amoswap.w", amoswap_d "amoswap.d", amoadd_w "amoadd.w", amoadd_d "amoadd.d",
        amoxor_w "amoxor.w", amoxor_d "amoxor.d", amoand_w "amoand.w", amoand_d "amoand.d", amoor_w "amoor.w",
        amoor_d "amoor.d", amomin_w "amomin.w", amomin_d "amomin.d", amomax_w "amomax.w", amomax_d "amomax.d",
        amominu_w "amominu.w", amominu_d "amominu.d", amomaxu_w "amomaxu.w", amomaxu_d "amomaxu.d";
    branch: beq "beq", bne "bne", blt "blt", bge "bge", bltu "bltu", bgeu "bgeu";
}

#[test]
fn lr_sc_w() {
    reserved("lr.w, sc.w", enc::lr_w(29, 8, 0), enc::sc_w(28, 8, 6));
}

#[test]
fn lr_sc_d() {
    reserved("lr.d, sc.d", enc::lr_d(29, 8, 0), enc::sc_d(28, 8, 6));
}

#[test]
fn lui() {
    for imm in [0, 1, 0x7_ffff, 0x8_0000, 0xf_ffff] {
        check("lui", &pair_loop(&[enc::lui(7, imm)], 1, 16), &pairs());
    }
}

#[test]
fn auipc() {
    for imm in [0, 1, 0x7_ffff, 0x8_0000, 0xf_ffff] {
        check("auipc", &pair_loop(&[enc::auipc(7, imm)], 1, 16), &pairs());
    }
}

#[test]
fn jal() {
    let body = [
        enc::jal(7, 12),
        enc::EBREAK,
        enc::jal(5, 12),
        enc::jal(6, -4),
        enc::EBREAK,
        enc::add(7, 7, 5),
    ];
    let end = check("jal", &pair_loop(&body, 2, 16), &pairs());
    assert_eq!(end.status, JobStatus::Ok as u8);
}

#[test]
fn jalr() {
    // The lowest bit of the target is dropped, the operand may be the destination.
    let body = [
        enc::auipc(7, 0),
        enc::jalr(7, 7, 13),
        enc::EBREAK,
        enc::jalr(0, 7, 13),
        enc::EBREAK,
    ];
    let end = check("jalr", &pair_loop(&body, 2, 16), &pairs());
    assert_eq!(end.status, JobStatus::Ok as u8);
}

#[test]
fn fence() {
    let end = check(
        "fence",
        &pair_loop(&[enc::FENCE, 0x8330_000f], 4, 16),
        &pairs(),
    );
    assert_eq!(end.status, JobStatus::Ok as u8);
}

#[test]
fn fence_i() {
    // Runs an instruction, replaces it in memory, runs it again after FENCE.I.
    let code = [
        enc::auipc(5, 0),
        enc::lwu(6, 10, 0),
        enc::addi(28, 0, 2),
        enc::addi(7, 7, 1), // the one that is replaced
        enc::sw(6, 5, 12),
        enc::FENCE_I,
        enc::addi(28, 28, -1),
        enc::bne(28, 0, -16),
        enc::addi(10, 7, 0),
        enc::ECALL,
    ];
    let end = check("fence.i", &code, &[u64::from(enc::addi(7, 7, 100))]);
    assert_eq!(end.result, 101);
}

#[test]
fn ecall() {
    let end = check("ecall", &[enc::addi(10, 0, 77), enc::ECALL], &[]);
    assert_eq!((end.status, end.result), (JobStatus::Ok as u8, 77));
}

#[test]
fn ebreak() {
    let end = check("ebreak", &[enc::FENCE, enc::EBREAK], &[]);
    assert_eq!(
        (end.status, end.info),
        (JobStatus::Breakpoint as u8, CODE + 4)
    );
}

#[test]
fn counters() {
    let body = [
        enc::csrr(5, 0xc02),
        enc::csrr(6, 0xcc0),
        enc::csrr(28, 0xcc1),
        0xc022_f073 & !0xf8000 | 7 << 7, // csrrci x7, instret, 0
        enc::add(7, 7, 5),
        enc::add(7, 7, 6),
        enc::mul(7, 7, 28),
    ];
    check("csrr", &pair_loop(&body, 3, 16), &pairs());
}

#[test]
fn time_and_warp_counters() {
    let mut bench = Bench::new(Timing::fixed(2), 1);
    bench.map(0, CODE, Page::all(1));
    let code = [
        enc::csrr(5, 0xc00),
        enc::csrr(6, 0xc01),
        enc::csrr(7, 0xcc2),
        enc::sub(6, 6, 5),
        enc::slli(6, 6, 8),
    ];
    bench.load_program(
        0,
        CODE,
        &[&code[..], &[enc::add(10, 6, 7), enc::ECALL]].concat(),
    );
    bench.queue.push_back(Thread {
        entry: CODE,
        ..Thread::default()
    });
    bench.run(1000);
    // One warp alone: an instruction takes 4 cycles, in the form for FPGAs 5. It is warp 0.
    let cycles = if COMPACT { 5 } else { 4 };
    assert_eq!(bench.ends[0].result, cycles << 8);
}

#[test]
fn what_is_no_instruction() {
    let word = |op: u32, f3: u32, f7: u32| enc::r(op, f3, f7, 5, 6, 7);
    let mut list = vec![0, u32::MAX, 1, 0x4501, 0x8082, 0x6705_0001];
    // Opcodes that do not exist here: floating point, vectors, custom, 48 bits and more.
    list.extend([
        0x07, 0x27, 0x43, 0x47, 0x4b, 0x4f, 0x53, 0x57, 0x0b, 0x2b, 0x5b, 0x7b, 0x1f, 0x3f, 0x5f,
        0x7f, 0x6b,
    ]);
    // Unused function codes.
    list.extend([
        word(0x67, 1, 0),
        word(0x63, 2, 0),
        word(0x63, 3, 0),
        word(0x03, 7, 0),
    ]);
    list.extend((4..8).map(|f3| word(0x23, f3, 0)));
    list.extend((2..8).map(|f3| word(0x0f, f3, 0)));
    list.extend(
        (1..128)
            .filter(|f7| *f7 != 1 && *f7 != 0x20)
            .map(|f7| word(0x33, 0, f7)),
    );
    list.extend([1, 2, 3, 4, 6, 7].map(|f3| word(0x33, f3, 0x20)));
    list.extend(
        (1..128)
            .filter(|f7| *f7 != 1 && *f7 != 0x20)
            .map(|f7| word(0x3b, 5, f7)),
    );
    list.extend([2, 3, 4, 6, 7].map(|f3| word(0x3b, f3, 0)));
    list.extend([1, 2, 3].map(|f3| word(0x3b, f3, 1)));
    list.extend([1, 4, 7].map(|f3| word(0x3b, f3, 0x20)));
    // Shifts whose amount is too long.
    list.extend([2, 4, 0x10, 0x20, 0x40].map(|f7| word(0x13, 1, f7)));
    list.extend([2, 4, 0x10, 0x21 + 1, 0x40].map(|f7| word(0x13, 5, f7)));
    list.extend([1, 2, 0x20, 0x40].map(|f7| word(0x1b, 1, f7)));
    list.extend([1, 2, 0x21, 0x40].map(|f7| word(0x1b, 5, f7)));
    list.extend([2, 3, 4, 6, 7].map(|f3| word(0x1b, f3, 0)));
    // Atomics of another size or operation; LR with rs2.
    list.extend([0, 1, 4, 5, 6, 7].map(|f3| word(0x2f, f3, 0)));
    list.extend(
        (0..32)
            .filter(|f5| ![0, 1, 2, 3, 4, 8, 12, 16, 20, 24, 28].contains(f5))
            .map(|f5| enc::amo(f5, 3, 5, 6, 7)),
    );
    list.push(enc::amo(2, 3, 5, 6, 7));
    // System: traps of other modes, CSR writes, CSRs that do not exist.
    list.extend([
        0x3020_0073,
        0x1050_0073,
        0x0020_0073,
        0x0000_00f3,
        0x0000_0073 | 1 << 15,
    ]);
    for csr in [0xc00, 0xc01, 0xc02, 0xcc0, 0xcc1, 0xcc2] {
        list.extend([1, 2, 3, 5, 6, 7].map(|f3| enc::i(0x73, f3, 5, 6, csr)));
        list.extend([1, 5, 4, 0].map(|f3| enc::i(0x73, f3, 5, 0, csr)));
    }
    list.extend([0x000, 0x001, 0x300, 0xc03, 0xc80, 0xcc3, 0xf14].map(|csr| enc::csrr(5, csr)));
    for word in list {
        let end = check(&format!("{word:#010x}"), &[enc::FENCE, word], &[]);
        assert_eq!(
            (end.status, end.info),
            (JobStatus::Illegal as u8, CODE + 4),
            "{word:#010x}"
        );
    }
}
