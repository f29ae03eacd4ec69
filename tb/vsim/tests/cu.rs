//! The compute unit: whole programs, timing, faults, invalidations, kills.

mod cu_bench;

use cu_bench::mmu::Page;
use cu_bench::{Bench, Thread, Timing, program, reference};
use hmmu_regs::JobStatus;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

const CODE: u64 = 0xffff_8000_0001_0000;
const DATA: u64 = 0x7000_0000;
const OK: u8 = JobStatus::Ok as u8;

/// `count` threads with programs and data pages of their own; how they must end and leave memory.
fn random_programs(bench: &mut Bench, count: u64, blocks: usize) -> Vec<cu_bench::End> {
    let mut rng = Pcg64::seed_from_u64(bench.rng.random());
    let mut ends = Vec::new();
    for k in 0..count {
        let ctx = k % 3;
        let code = program::random(&mut rng, blocks);
        let entry = CODE + k * 0x1_0000;
        for page in 0..(code.len() as u64 * 4).div_ceil(4096) {
            bench.map(ctx, entry + page * 4096, Page::all(0x1000 + k * 16 + page));
        }
        bench.load_program(ctx, entry, &code);
        let arg = DATA + k * 4096;
        let ppn = if k % 2 == 0 { 0x800_0000_0000 } else { 0x5000 } + k;
        bench.map(ctx, arg, Page::all(ppn));
        let words: Vec<u64> = (0..512).map(|_| word(&mut rng)).collect();
        for (i, w) in words.iter().enumerate() {
            bench.memory.set_value(ppn << 12 | 8 * i as u64, 8, *w);
        }
        bench.queue.push_back(Thread { job: k % 4, ctx, entry, arg, index: k, threads: count, ..Thread::default() });
    }
    let mut memory = bench.memory.clone();
    for t in &bench.queue {
        ends.push(reference::run(&mut memory, &bench.mmu, t));
    }
    bench.expected = Some(memory);
    ends
}

/// A value that likes edges.
fn word(rng: &mut Pcg64) -> u64 {
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
fn sorted(ends: &[cu_bench::End]) -> Vec<(u64, u64, u8, u64)> {
    let mut list: Vec<_> = ends.iter().map(|e| (e.job, e.result, e.status, e.info)).collect();
    list.sort_unstable();
    list
}

#[test]
fn random_programs_end_as_the_interpreter_says() {
    for seed in 0..30 {
        let timing = if seed % 2 == 0 { Timing::rough() } else { Timing::fixed(seed % 5) };
        let mut bench = Bench::new(timing, seed);
        let expected = random_programs(&mut bench, 20, 25);
        assert!(expected.iter().all(|e| e.status == OK), "seed {seed}: {expected:x?}");
        bench.run(400_000);
        assert_eq!(sorted(&bench.ends), sorted(&expected), "seed {seed}");
        assert!(bench.expected.as_ref() == Some(&bench.memory), "seed {seed}: memory differs");
    }
}
