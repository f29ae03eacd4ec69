//! Programs, threads and ends that the tests of the compute unit share.

use hmmu_model::rv64::enc;
use hmmu_regs::{Access, JobStatus};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use super::mmu::Page;
use super::{Bench, End, Thread, Timing, program, reference};

pub const CODE: u64 = 0xffff_8000_0001_0000;
pub const DATA: u64 = 0x7000_0000;
pub const OK: u8 = JobStatus::Ok as u8;

/// `count` threads with programs and data pages of their own; how they must end and leave memory.
pub fn random_programs(bench: &mut Bench, count: u64, blocks: usize) -> Vec<End> {
    let mut rng = Pcg64::seed_from_u64(bench.rng.random());
    let mut ends = Vec::new();
    for k in 0..count {
        let ctx = k % 3;
        let code = program::random(&mut rng, blocks, bench.reservations);
        let entry = CODE + k * 0x1_0000;
        for page in 0..(code.len() as u64 * 4).div_ceil(4096) {
            bench.map(ctx, entry + page * 4096, Page::all(0x1000 + k * 16 + page));
        }
        bench.load_program(ctx, entry, &code);
        // The data lies across two pages.
        let page = DATA + k * 0x2000;
        let arg = page + 0xc00;
        let ppn = if k % 2 == 0 { 0x800_0000_0000 } else { 0x5000 } + 2 * k;
        for at in 0..2 {
            bench.map(ctx, page + at * 4096, Page::all(ppn + at));
        }
        for at in (0xc00..0x1400).step_by(8) {
            bench.memory.set_value((ppn << 12) + at, 8, word(&mut rng));
        }
        bench.queue.push_back(Thread {
            job: k % 4,
            ctx,
            entry,
            arg,
            index: k,
            threads: count,
            ..Thread::default()
        });
    }
    let mut memory = bench.memory.clone();
    for t in &bench.queue {
        ends.push(reference::run(&mut memory, &bench.mmu, t));
    }
    bench.expected = Some(memory);
    ends
}

/// A value that likes edges.
pub fn word(rng: &mut Pcg64) -> u64 {
    match rng.random_range(0..8) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << 63,
        3 => u64::from(rng.random::<u32>()),
        4 => 0xffff_ffff_8000_0000,
        _ => rng.random(),
    }
}

/// Ends in any order, by job and result.
pub fn sorted(ends: &[End]) -> Vec<(u64, u64, u8, u64)> {
    let mut list: Vec<_> = ends
        .iter()
        .map(|e| (e.job, e.result, e.status, e.info))
        .collect();
    list.sort_unstable();
    list
}

pub const READ: u64 = Access::Read as u64;
pub const WRITE: u64 = Access::Write as u64;
pub const EXECUTE: u64 = Access::Execute as u64;

/// A bench with a program at `CODE` and a data page at `DATA`, both of context 1.
pub fn with_program(timing: Timing, seed: u64, code: &[u32]) -> Bench {
    let mut bench = Bench::new(timing, seed);
    for page in 0..(code.len() as u64 * 4).div_ceil(4096) {
        bench.map(1, CODE + page * 4096, Page::all(0x100 + page));
    }
    bench.map(1, DATA, Page::all(0x200));
    bench.load_program(1, CODE, code);
    bench
}

pub fn thread(index: u64) -> Thread {
    Thread {
        ctx: 1,
        entry: CODE,
        arg: DATA,
        index,
        threads: 8,
        ..Thread::default()
    }
}

/// Steps until `done`, or fails after `limit` cycles.
pub fn step_until(bench: &mut Bench, limit: u64, mut done: impl FnMut(&mut Bench) -> bool) -> u64 {
    let from = bench.now;
    while !done(bench) {
        assert!(
            bench.now < from + limit,
            "does not come: {}",
            bench.states()
        );
        bench.step();
    }
    bench.now - from
}

/// Runs one thread and returns its end.
pub fn end_of(code: &[u32]) -> End {
    let mut bench = with_program(Timing::fixed(3), 1, code);
    bench.queue.push_back(thread(0));
    bench.run(10_000);
    bench.ends[0]
}

/// A loop of `body`, `rounds` times (up to 2047), and ECALL.
pub fn looped(body: &[u32], rounds: i32) -> Vec<u32> {
    let mut code = vec![enc::addi(9, 0, rounds)];
    code.extend(body);
    code.extend([
        enc::addi(9, 9, -1),
        enc::bne(9, 0, -4 * (body.len() as i32 + 1)),
        enc::ECALL,
    ]);
    code
}
