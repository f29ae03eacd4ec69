//! The compute unit: whole programs, timing, faults, invalidations, kills.

mod cu_bench;

use cu_bench::memory::PortTiming;
use cu_bench::mmu::{Event, Page};
use cu_bench::{Bench, End, Thread, Timing, program, reference};
use hmmu_model::rv64::enc;
use hmmu_regs::{Access, JobStatus, WarpState};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

const CODE: u64 = 0xffff_8000_0001_0000;
const DATA: u64 = 0x7000_0000;
const OK: u8 = JobStatus::Ok as u8;

/// `count` threads with programs and data pages of their own; how they must end and leave memory.
fn random_programs(bench: &mut Bench, count: u64, blocks: usize) -> Vec<End> {
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
fn sorted(ends: &[End]) -> Vec<(u64, u64, u8, u64)> {
    let mut list: Vec<_> = ends
        .iter()
        .map(|e| (e.job, e.result, e.status, e.info))
        .collect();
    list.sort_unstable();
    list
}

#[test]
fn random_programs_end_as_the_interpreter_says() {
    for seed in 0..30 {
        let timing = if seed % 2 == 0 {
            Timing::rough()
        } else {
            Timing::fixed(seed % 5)
        };
        let mut bench = Bench::new(timing, seed);
        let expected = random_programs(&mut bench, 20, 25);
        assert!(
            expected.iter().all(|e| e.status == OK),
            "seed {seed}: {expected:x?}"
        );
        bench.run(400_000);
        assert_eq!(sorted(&bench.ends), sorted(&expected), "seed {seed}");
        assert!(
            bench.expected.as_ref() == Some(&bench.memory),
            "seed {seed}: memory differs"
        );
    }
}

const READ: u64 = Access::Read as u64;
const WRITE: u64 = Access::Write as u64;
const EXECUTE: u64 = Access::Execute as u64;

/// A bench with a program at `CODE` and a data page at `DATA`, both of context 1.
fn with_program(timing: Timing, seed: u64, code: &[u32]) -> Bench {
    let mut bench = Bench::new(timing, seed);
    for page in 0..(code.len() as u64 * 4).div_ceil(4096) {
        bench.map(1, CODE + page * 4096, Page::all(0x100 + page));
    }
    bench.map(1, DATA, Page::all(0x200));
    bench.load_program(1, CODE, code);
    bench
}

fn thread(index: u64) -> Thread {
    Thread { ctx: 1, entry: CODE, arg: DATA, index, threads: 8, ..Thread::default() }
}

/// Steps until `done`, or fails after `limit` cycles.
fn step_until(bench: &mut Bench, limit: u64, mut done: impl FnMut(&mut Bench) -> bool) -> u64 {
    let from = bench.now;
    while !done(bench) {
        assert!(bench.now < from + limit, "does not come: {}", bench.states());
        bench.step();
    }
    bench.now - from
}

/// Runs one thread and returns its end.
fn end_of(code: &[u32]) -> End {
    let mut bench = with_program(Timing::fixed(3), 1, code);
    bench.queue.push_back(thread(0));
    bench.run(10_000);
    bench.ends[0]
}

/// A loop of `body`, `rounds` times (up to 2047), and ECALL.
fn looped(body: &[u32], rounds: i32) -> Vec<u32> {
    let mut code = vec![enc::addi(9, 0, rounds)];
    code.extend(body);
    code.extend([enc::addi(9, 9, -1), enc::bne(9, 0, -4 * (body.len() as i32 + 1)), enc::ECALL]);
    code
}

/// Instructions per 1000 cycles in the middle of a run of `warps` threads of `code`.
fn throughput(code: &[u32], warps: u64) -> u64 {
    let mut bench = with_program(Timing::fixed(4), 1, code);
    bench.queue.extend((0..warps).map(thread));
    step_until(&mut bench, 20_000, |b| b.instructions > 1000);
    let before = bench.instructions;
    for _ in 0..2000 {
        bench.step();
    }
    assert!(bench.ends.is_empty(), "the loop is too short");
    (bench.instructions - before) / 2
}

#[test]
fn eight_warps_run_one_instruction_per_cycle() {
    let alu = looped(&[enc::addi(5, 5, 1), enc::xor(6, 5, 9), enc::slt(7, 6, 5), enc::auipc(28, 0)], 2000);
    let mul = looped(&[enc::mul(5, 5, 9), enc::mulhu(6, 5, 9), enc::mulw(7, 6, 5)], 2000);
    let rates = [throughput(&alu, 8), throughput(&alu, 4), throughput(&alu, 1), throughput(&mul, 8)];
    println!("instructions per 1000 cycles: ALU with 8, 4, 1 warps and multiply with 8: {rates:?}");
    assert!(rates[0] >= 995 && rates[1] >= 995 && rates[2] >= 245 && rates[3] >= 900, "{rates:?}");
}

#[test]
fn a_load_takes_the_memory_latency_and_nine_cycles() {
    let code = looped(&[enc::ld(5, 10, 0); 16], 200);
    let mut figures = Vec::new();
    for latency in [1, 10, 50, 100] {
        for warps in [1, 8] {
            let mut bench = with_program(Timing::fixed(latency), 1, &code);
            bench.queue.extend((0..warps).map(thread));
            step_until(&mut bench, 20_000, |b| b.loads >= 100);
            let (loads, from) = (bench.loads, bench.now);
            step_until(&mut bench, 100_000, |b| b.loads >= loads + 800);
            figures.push((latency, warps, (bench.now - from) * 10 / 800));
        }
    }
    println!("latency, warps, tenths of a cycle per load: {figures:?}");
    for (latency, warps, tenths) in figures {
        // The loop adds 8 cycles to 16 loads.
        let most = ((latency + 9) * 10 + 6) / warps;
        assert!(tenths <= most.max(13), "latency {latency}, {warps} warps: {tenths} tenths per load");
    }
}

#[test]
fn a_parked_warp_costs_the_others_nothing() {
    // Thread 0 loads from a page that is not there; the others count.
    let mut code = vec![enc::bne(11, 0, 12), enc::lui(5, 0x12345), enc::ld(10, 5, 0)];
    code.extend(looped(&[enc::addi(5, 5, 1); 8], 800));
    let mut bench = with_program(Timing::fixed(4), 1, &code);
    bench.queue.extend((0..8).map(thread));
    step_until(&mut bench, 1000, |b| !b.mmu.parked.is_empty());
    step_until(&mut bench, 20_000, |b| b.instructions > 2000);
    let before = bench.instructions;
    for _ in 0..2000 {
        bench.step();
    }
    assert!(bench.instructions - before >= 1990, "{} instructions in 2000 cycles", bench.instructions - before);
    assert_eq!(bench.warp(0), (WarpState::DataMiss as u64, (CODE & 0xffff_ffff_ffff) + 8));
    // The page comes, the driver replays.
    bench.map(1, 0x1234_5000, Page::all(0x300));
    bench.memory.set_value(0x300 << 12, 8, 0xfeed);
    bench.mmu.events.push_back(Event::Retry(1, 0, 0xf_ffff_ffff));
    bench.run(100_000);
    let mut results: Vec<u64> = bench.ends.iter().map(|e| e.result).collect();
    results.sort_unstable();
    assert_eq!(results, [[0xfeed].as_slice(), &[DATA; 7]].concat());
}

#[test]
fn a_cancel_ends_the_thread_with_its_code() {
    let code = [enc::lui(5, 0x12345), enc::addi(5, 5, 24), enc::sd(5, 5, 0), enc::ECALL];
    let mut bench = with_program(Timing::fixed(2), 1, &code);
    bench.queue.extend((0..8).map(thread));
    step_until(&mut bench, 1000, |b| (0..8).all(|w| b.warp(w).0 == WarpState::DataMiss as u64));
    assert_eq!(bench.mmu.parked, [(1, 0x12345, WRITE)]);
    // Another kind of access to the same page, and another context: nothing happens.
    bench.mmu.events.extend([Event::Cancel((1, 0x12345, READ), 99), Event::Cancel((2, 0x12345, WRITE), 98)]);
    bench.steps(50);
    assert!(bench.ends.is_empty());
    bench.mmu.events.push_back(Event::Cancel((1, 0x12345, WRITE), 77));
    bench.run(200);
    assert_eq!(bench.ends, [End { job: 0, result: u64::MAX, status: 77, info: 0x1234_5018 }; 8]);
}

#[test]
fn a_cancelled_fetch_ends_the_thread_with_its_code() {
    let code = [enc::lui(5, 0x12345), enc::jalr(1, 5, 8)];
    let mut bench = with_program(Timing::fixed(2), 1, &code);
    bench.queue.extend((0..8).map(thread));
    step_until(&mut bench, 1000, |b| b.mmu.parked == [(1, 0x12345, EXECUTE)]);
    bench.steps(100);
    bench.mmu.events.push_back(Event::Cancel((1, 0x12345, EXECUTE), 44));
    // One warp owned the miss; the others ask for themselves and are cancelled in their turn.
    step_until(&mut bench, 2000, |b| {
        if b.mmu.parked.contains(&(1, 0x12345, EXECUTE)) && b.mmu.events.is_empty() {
            b.mmu.events.push_back(Event::Cancel((1, 0x12345, EXECUTE), 44));
        }
        b.pending() == 0
    });
    assert_eq!(bench.ends, [End { job: 0, result: u64::MAX, status: 44, info: 0x1234_5008 }; 8]);
}

#[test]
fn addresses_that_cannot_be() {
    let bad = |code: &[u32], status: JobStatus, info: u64| {
        let end = end_of(code);
        assert_eq!((end.status, end.info, end.result), (status as u8, info & 0xffff_ffff_ffff, u64::MAX), "{code:x?}");
    };
    let high = [enc::addi(5, 0, 1), enc::slli(5, 5, 47)];
    let with = |tail: &[u32]| [&high[..], tail].concat();
    // Not canonical: load, store, atomics, jump.
    for op in [enc::ld(6, 5, 8), enc::sd(6, 5, 8), enc::sb(6, 5, 8)] {
        bad(&with(&[op, enc::ECALL]), JobStatus::BadAddress, (1 << 47) + 8);
    }
    for op in [enc::amoadd_d(6, 5, 6), enc::lr_w(6, 5, 0)] {
        bad(&with(&[op, enc::ECALL]), JobStatus::BadAddress, 1 << 47);
    }
    bad(&with(&[enc::jalr(0, 5, 16)]), JobStatus::BadAddress, (1 << 47) + 16);
    // The last address of the lower half is one; SC without a reservation makes no access.
    let end = end_of(&with(&[enc::sc_d(10, 5, 6), enc::ECALL]));
    assert_eq!((end.status, end.result), (OK, 1));
    // Misaligned.
    for (op, offset) in [(enc::lh(6, 10, 1), 1), (enc::lw(6, 10, 2), 2), (enc::ld(6, 10, 4), 4), (enc::lwu(6, 10, 3), 3)] {
        bad(&[op, enc::ECALL], JobStatus::Misaligned, DATA + offset);
    }
    for (op, offset) in [(enc::sh(6, 10, 1), 1), (enc::sw(6, 10, 2), 2), (enc::sd(6, 10, 4), 4)] {
        bad(&[op, enc::ECALL], JobStatus::Misaligned, DATA + offset);
    }
    for op in [enc::amoadd_d(6, 10, 6), enc::lr_d(6, 10, 0), enc::sc_d(6, 10, 6)] {
        bad(&[enc::addi(10, 10, 4), op, enc::ECALL], JobStatus::Misaligned, DATA + 4);
    }
    for jump in [enc::jal(1, 6), enc::beq(0, 0, 6)] {
        bad(&[enc::FENCE, jump, enc::ECALL], JobStatus::Misaligned, CODE + 10);
    }
    bad(&[enc::auipc(5, 0), enc::jalr(1, 5, 10), enc::ECALL], JobStatus::Misaligned, CODE + 10);
    // A branch that is not taken may point anywhere.
    assert_eq!(end_of(&[enc::bne(0, 0, 6), enc::ECALL]).status, OK);
}

#[test]
fn an_entry_that_cannot_be_ends_the_thread() {
    let mut bench = with_program(Timing::fixed(2), 1, &[enc::ECALL]);
    bench.queue.push_back(Thread { entry: CODE + 2, ..thread(0) });
    bench.queue.push_back(Thread { entry: 1 << 50, job: 2, ..thread(1) });
    bench.queue.push_back(Thread { arg: 5, ..thread(2) });
    bench.run(1000);
    let base = End { job: 0, result: u64::MAX, status: 0, info: 0 };
    let expected = [
        End { status: JobStatus::Misaligned as u8, info: (CODE + 2) & 0xffff_ffff_ffff, ..base },
        End { status: JobStatus::BadAddress as u8, job: 2, info: 0, ..base },
        End { result: 5, ..base },
    ];
    assert_eq!(sorted(&bench.ends), sorted(&expected));
}

#[test]
fn the_program_counter_may_not_run_out_of_the_lower_half() {
    let mut bench = Bench::new(Timing::fixed(2), 1);
    let page = 0x7fff_ffff_f000;
    bench.map(1, page, Page::all(0x10));
    bench.load_program(1, page + 4088, &[enc::FENCE, enc::addi(5, 0, 1)]);
    bench.queue.push_back(Thread { entry: page + 4088, ..thread(0) });
    bench.run(1000);
    assert_eq!((bench.ends[0].status, bench.ends[0].info), (JobStatus::BadAddress as u8, 1 << 47));
}

#[test]
fn registers_start_as_promised() {
    // The first eight threads fill all registers; the next must see none of it.
    let mut fill: Vec<u32> = (1..32).filter(|r| *r != 11).map(|r| enc::addi(r, 0, -1)).collect();
    let mut code = vec![enc::slti(5, 11, 8), enc::beq(5, 0, 4 * (fill.len() as i32 + 2))];
    fill.push(enc::ECALL);
    code.append(&mut fill);
    // The others add up all that should be zero (x5 is), and store a0, a1, a2, sp.
    code.extend((1..32).filter(|r| ![2, 5, 10, 11, 12].contains(r)).map(|r| enc::or(5, 5, r)));
    code.extend([enc::slli(6, 11, 5), enc::add(6, 6, 10)]);
    code.extend([enc::sd(5, 6, 0), enc::sd(11, 6, 8), enc::sd(12, 6, 16), enc::sd(2, 6, 24)]);
    code.extend([enc::csrr(10, 0xcc2), enc::ECALL]);
    let mut bench = with_program(Timing::rough(), 3, &code);
    let stack = Thread { threads: 40, stack_base: 0x12_3456_7000, stack_size: 0x3_1230, ..thread(0) };
    bench.queue.extend((0..40).map(|index| Thread { index, ..stack }));
    bench.run(100_000);
    for index in 8..40 {
        let at = (0x200 << 12) + 32 * index;
        let word = |k: u64| bench.memory.value(at + 8 * k, 8);
        assert_eq!((word(0), word(1), word(2)), (0, index, 40), "thread {index}");
        let warp = (word(3) - stack.stack_base) / stack.stack_size;
        assert!((1..=8).contains(&warp) && word(3) == stack.stack_base + warp * stack.stack_size, "sp {:#x}", word(3));
    }
    assert!(bench.ends.iter().all(|e| e.status == OK));
}

#[test]
fn memory_errors_name_the_address() {
    // Data: a page whose memory does not answer. Fetch: likewise.
    let code = [enc::lui(5, 0x12345), enc::bne(11, 0, 12), enc::lw(6, 5, 16), enc::ECALL, enc::jalr(0, 5, 32)];
    let mut bench = with_program(Timing::fixed(2), 1, &code);
    bench.mmu.table.insert((1, 0x12345), Page::all(0x666));
    bench.queue.extend([thread(0), thread(1)]);
    bench.run(1000);
    let error = JobStatus::MemoryError as u8;
    let expected = [(0, u64::MAX, error, 0x1234_5010), (0, u64::MAX, error, 0x1234_5020)];
    assert_eq!(sorted(&bench.ends), expected);
    // Errors at random: every thread ends, well or with that status.
    for seed in 0..10 {
        let port = PortTiming { errors: 40, ..Timing::rough().data };
        let mut bench = Bench::new(Timing { data: port, fetch: port, ..Timing::rough() }, seed);
        random_programs(&mut bench, 24, 10);
        bench.run(400_000);
        let failed = bench.ends.iter().filter(|e| e.status == error).count();
        assert!(failed > 0 && bench.ends.iter().all(|e| e.status == OK || e.status == error), "seed {seed}");
    }
}

#[test]
fn eight_warps_count_in_one_word() {
    // AMOs of both sizes and LR/SC loops, all on one 16-byte line.
    let mut body = vec![enc::amoadd_d(5, 10, 11), enc::addi(6, 10, 8), enc::addi(7, 0, 1), enc::amoadd_w(5, 6, 7)];
    body.extend([enc::addi(6, 10, 12), enc::lr_w(28, 6, 0), enc::addi(28, 28, 2), enc::sc_w(29, 6, 28)]);
    body.push(enc::bne(29, 0, -12));
    for seed in 0..4 {
        let timing = if seed == 0 { Timing::fixed(3) } else { Timing::rough() };
        let mut bench = with_program(timing, seed, &looped(&body, 50));
        bench.queue.extend((0..8).map(thread));
        bench.run(400_000);
        let at = 0x200 << 12;
        let sums = [bench.memory.value(at, 8), bench.memory.value(at + 8, 4), bench.memory.value(at + 12, 4)];
        assert_eq!(sums, [28 * 50, 8 * 50, 8 * 50 * 2], "seed {seed}");
    }
}

/// Where a page of an invalidation test goes while it is away.
const SPARE: u64 = 0x9_0000;

#[test]
fn no_access_uses_a_page_after_its_invalidation() {
    let mut moved = 0;
    for seed in 0..40 {
        let mut bench = Bench::new(if seed % 4 == 0 { Timing::fixed(seed % 7) } else { Timing::rough() }, seed);
        let expected = random_programs(&mut bench, 16, 12);
        let goal = bench.expected.take().expect("set");
        let mut rng = Pcg64::seed_from_u64(seed + 1000);
        let pages: Vec<(u64, u64)> = bench.mmu.table.keys().copied().collect();
        let mut spare = SPARE;
        while bench.pending() > 0 {
            assert!(bench.now < 2_000_000, "seed {seed}: {}", bench.states());
            bench.steps(rng.random_range(0..150));
            // The driver's way: revoke, invalidate, wait for the drain, move, map, replay.
            let key = pages[rng.random_range(0..pages.len())];
            let old = bench.mmu.table.remove(&key).expect("mapped");
            bench.mmu.events.push_back(Event::Invalidate(key.0, key.1, key.1));
            step_until(&mut bench, 10, |b| b.mmu.events.is_empty());
            bench.step();
            step_until(&mut bench, 500, Bench::drained);
            assert!(!bench.data.touches(old.ppn) && !bench.fetch.touches(old.ppn), "seed {seed}: an access outlives the drain");
            let bytes = bench.memory.pages.remove(&old.ppn).expect("memory");
            bench.steps(rng.random_range(0..200));
            spare += 1;
            moved += 1;
            bench.memory.pages.insert(spare, bytes);
            bench.mmu.table.insert(key, Page { ppn: spare, d: false, ..old });
            bench.mmu.events.push_back(Event::Retry(key.0, key.1, key.1));
        }
        assert_eq!(sorted(&bench.ends), sorted(&expected), "seed {seed}");
        // The reference left the data in the first places.
        let mut at_home = bench.memory.clone();
        for (_, page) in bench.mmu.table.iter().filter(|(_, page)| page.ppn > SPARE) {
            at_home.pages.remove(&page.ppn);
        }
        for (ppn, bytes) in &at_home.pages {
            assert!(goal.pages.get(ppn) == Some(bytes), "seed {seed}: page {ppn:#x}");
        }
        let homes: Vec<&Vec<u8>> = goal.pages.values().collect();
        for bytes in bench.memory.pages.values() {
            assert!(homes.contains(&bytes), "seed {seed}: a moved page differs");
        }
    }
    println!("{moved} pages moved under running programs");
    assert!(moved > 1000, "only {moved} moves");
}

/// A short program with every kind of wait: fetch, load, store, AMO, LR/SC, multiply, divide.
fn kinds() -> Vec<u32> {
    let body = [
        enc::ld(5, 10, 0),
        enc::addi(5, 5, 1),
        enc::sd(5, 10, 0),
        enc::mul(6, 5, 5),
        enc::div(6, 6, 9),
        enc::amoadd_w(7, 10, 9),
        enc::addi(28, 10, 64),
        enc::lr_d(29, 28, 0),
        enc::sc_d(30, 28, 9),
    ];
    looped(&body, 4)
}

#[test]
fn a_kill_at_every_cycle_ends_the_job_and_only_it() {
    let killed = JobStatus::Killed as u8;
    for offset in 0..500 {
        let mut bench = with_program(Timing { walk: (20, 20), ..Timing::fixed(6) }, offset, &kinds());
        bench.map(2, CODE, Page::all(0x100));
        bench.map(2, DATA, Page::all(0x201));
        // Job 1 in context 1, job 3 in context 2.
        bench.queue.extend((0..8).map(|k| Thread { job: 1 + 2 * (k % 2), ctx: 1 + k % 2, ..thread(k) }));
        step_until(&mut bench, offset + 100, |b| b.now == offset);
        bench.queue.retain(|t| t.job == 3);
        bench.kill = 1 << 1;
        // The divider may have to finish one division per warp.
        step_until(&mut bench, 700, |b| b.running(1) == 0);
        bench.kill = 0;
        let ended = std::mem::take(&mut bench.ends);
        assert!(ended.iter().filter(|e| e.job == 1).all(|e| e.status == killed || e.status == OK), "offset {offset}: {ended:x?}");
        // The slot is used again: late answers to the killed warps must do no harm.
        let others = ended.iter().filter(|e| e.job == 3).count();
        bench.queue.extend((0..8).map(|k| Thread { job: 1, ..thread(k) }));
        bench.run(20_000);
        assert!(bench.ends.iter().all(|e| e.status == OK && e.result == DATA), "offset {offset}: {:x?}", bench.ends);
        assert_eq!(bench.ends.len() + others, 12, "offset {offset}");
    }
}

#[test]
fn parked_warps_end_when_killed_or_stopped() {
    // Odd threads park in a load, even ones in a fetch.
    let code = [enc::andi(5, 11, 1), enc::lui(6, 0x55555), enc::beq(5, 0, 12), enc::ld(7, 6, 0), enc::ECALL, enc::jalr(0, 6, 0)];
    for stop in [false, true] {
        let mut bench = with_program(Timing::fixed(2), 1, &code);
        bench.queue.extend((0..8).map(|k| Thread { job: 2, ..thread(k) }));
        step_until(&mut bench, 1000, |b| b.mmu.parked.len() == 2);
        bench.steps(50);
        assert!(bench.ends.is_empty());
        let status = if stop {
            bench.mmu.events.push_back(Event::Stop(1));
            JobStatus::Stopped
        } else {
            bench.kill = 1 << 2;
            JobStatus::Killed
        };
        bench.run(60);
        assert!(bench.ends.iter().all(|e| e.status == status as u8 && e.job == 2), "{:x?}", bench.ends);
        // Late answers to faults of killed threads find nobody; the warps work again.
        bench.kill = 0;
        bench.ends.clear();
        bench.map(1, 0x5555_5000, Page::all(0x300));
        bench.load_program(1, 0x5555_5000, &[enc::ECALL]);
        bench.queue.extend((0..8).map(|k| Thread { job: 1, ..thread(k) }));
        bench.steps(30);
        bench.mmu.events.push_back(Event::Retry(1, 0, 0xf_ffff_ffff));
        bench.run(2000);
        assert_eq!(bench.ends.len(), 8);
        assert!(bench.ends.iter().all(|e| e.status == OK), "{:x?}", bench.ends);
    }
}

#[test]
fn a_stop_at_random_moments_ends_one_context() {
    for seed in 0..60 {
        let mut bench = Bench::new(Timing::rough(), seed);
        let expected = random_programs(&mut bench, 12, 8);
        let mut rng = Pcg64::seed_from_u64(seed);
        let at = rng.random_range(0..3000);
        let contexts: Vec<u64> = bench.queue.iter().map(|t| t.index % 3).collect();
        step_until(&mut bench, 5000, |b| b.now == at);
        let late: Vec<Thread> = bench.queue.iter().copied().filter(|t| t.ctx == 1).collect();
        bench.queue.retain(|t| t.ctx != 1);
        bench.mmu.events.push_back(Event::Stop(1));
        step_until(&mut bench, 10, |b| b.mmu.events.is_empty());
        bench.step();
        step_until(&mut bench, 500, Bench::drained);
        bench.run(200_000);
        assert_eq!(bench.ends.len() + late.len(), contexts.len(), "seed {seed}");
        for e in &bench.ends {
            let known = sorted(&expected).contains(&(e.job, e.result, e.status, e.info));
            assert!(known || e.status == JobStatus::Stopped as u8, "seed {seed}: {e:x?}");
        }
        let stopped = bench.ends.iter().filter(|e| e.status != OK).count();
        assert!(stopped <= 4, "seed {seed}: {stopped} threads of one context");
    }
}

#[test]
fn spurious_events_disturb_nothing() {
    for seed in 0..20 {
        let mut bench = Bench::new(Timing::rough(), seed);
        let expected = random_programs(&mut bench, 16, 15);
        let mut rng = Pcg64::seed_from_u64(seed + 7);
        while bench.pending() > 0 {
            assert!(bench.now < 1_000_000, "seed {seed}: {}", bench.states());
            bench.steps(rng.random_range(1..30));
            let ctx = rng.random_range(0..4);
            let lo = rng.random_range(0..1 << 20);
            bench.mmu.events.push_back(match rng.random_range(0..4) {
                0 => Event::Invalidate(ctx, 0, 0xf_ffff_ffff),
                1 => Event::Invalidate(ctx, lo, lo + (1 << 19)),
                2 => Event::Retry(ctx, 0, 0xf_ffff_ffff),
                _ => Event::Stop(9),
            });
        }
        assert_eq!(sorted(&bench.ends), sorted(&expected), "seed {seed}");
        assert!(bench.expected.as_ref() == Some(&bench.memory), "seed {seed}: memory differs");
    }
}

#[test]
fn an_end_waits_for_its_taker() {
    let mut bench = with_program(Timing::fixed(2), 1, &[enc::addi(10, 11, 100), enc::ECALL]);
    bench.queue.extend((0..8).map(thread));
    bench.b.set("end_ready_i", 0);
    bench.steps(300);
    let shown = bench.b.get_bits("end_o", 56, 64);
    assert!((0..8).all(|w| bench.warp(w).0 == WarpState::Report as u64), "{}", bench.states());
    bench.b.set("end_ready_i", 1);
    bench.run(100);
    assert_eq!(bench.ends[0].result, shown);
    let mut results: Vec<u64> = bench.ends.iter().map(|e| e.result).collect();
    results.sort_unstable();
    assert_eq!(results, (100..108).collect::<Vec<_>>());
}
