//! The compute unit: whole programs against the interpreter, throughput, threads.

mod cu_bench;

use cu_bench::scene::*;
use cu_bench::{Bench, Thread, Timing, WARPS};
use hmmu_model::rv64::enc;
use hmmu_regs::WarpState;
use hmmu_vsim::COMPACT;

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
    let alu = looped(
        &[
            enc::addi(5, 5, 1),
            enc::xor(6, 5, 9),
            enc::slt(7, 6, 5),
            enc::auipc(28, 0),
        ],
        2000,
    );
    let mul = looped(
        &[enc::mul(5, 5, 9), enc::mulhu(6, 5, 9), enc::mulw(7, 6, 5)],
        2000,
    );
    let rates = [
        throughput(&alu, 8),
        throughput(&alu, 4),
        throughput(&alu, 1),
        throughput(&mul, 8),
    ];
    println!("instructions per 1000 cycles: ALU with 8, 4, 1 warps and multiply with 8: {rates:?}");
    // In the form for FPGAs an instruction takes 5 cycles, not 4.
    let (four, one) = if COMPACT { (795, 195) } else { (995, 245) };
    assert!(
        rates[0] >= 995 && rates[1] >= four && rates[2] >= one && rates[3] >= 900,
        "{rates:?}"
    );
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
        // The loop adds 8 cycles to 16 loads. The form for FPGAs takes one more for the instruction, three for the access.
        let own = if COMPACT { 13 } else { 9 };
        let most = ((latency + own) * 10 + 6) / warps;
        assert!(
            tenths <= most.max(16),
            "latency {latency}, {warps} warps: {tenths} tenths per load"
        );
    }
}

#[test]
fn registers_start_as_promised() {
    // Number of the unit's first warp in the device.
    // The first threads fill all registers; the next must see none of it.
    let mut fill: Vec<u32> = (1..32)
        .filter(|r| *r != 11)
        .map(|r| enc::addi(r, 0, -1))
        .collect();
    let mut code = vec![
        enc::slti(5, 11, WARPS as i32),
        enc::beq(5, 0, 4 * (fill.len() as i32 + 2)),
    ];
    fill.push(enc::ECALL);
    code.append(&mut fill);
    // The others add up all that should be zero (x5 is), and store a0, a1, a2, sp.
    code.extend(
        (1..32)
            .filter(|r| ![2, 5, 10, 11, 12].contains(r))
            .map(|r| enc::or(5, 5, r)),
    );
    code.extend([enc::slli(6, 11, 6), enc::add(6, 6, 10)]);
    code.extend([
        enc::sd(5, 6, 0),
        enc::sd(11, 6, 8),
        enc::sd(12, 6, 16),
        enc::sd(2, 6, 24),
    ]);
    code.extend([enc::csrr(10, 0xcc2), enc::sd(10, 6, 32), enc::ECALL]);
    let mut bench = with_program(Timing::rough(), 3, &code);
    let stack = Thread {
        threads: 40,
        stack_base: 0x12_3456_7000,
        stack_size: 0x3_1230,
        ..thread(0)
    };
    bench.queue.extend((0..40).map(|index| Thread {
        index,
        place: 63 - index,
        ..stack
    }));
    bench.run(100_000);
    for index in u64::from(WARPS)..40 {
        let at = (0x200 << 12) + 64 * index;
        let word = |k: u64| bench.memory.value(at + 8 * k, 8);
        assert_eq!(
            (word(0), word(1), word(2)),
            (0, index, 40),
            "thread {index}"
        );
        let place = 63 - index;
        assert_eq!(
            (word(3), word(4)),
            (stack.stack_base + (place + 1) * stack.stack_size, place),
            "stack and place"
        );
    }
    assert!(bench.ends.iter().all(|e| e.status == OK));
}

#[test]
fn eight_warps_count_in_one_word() {
    // AMOs of both sizes and LR/SC loops, all on one 16-byte line.
    let mut body = vec![
        enc::amoadd_d(5, 10, 11),
        enc::addi(6, 10, 8),
        enc::addi(7, 0, 1),
        enc::amoadd_w(5, 6, 7),
    ];
    body.extend([
        enc::addi(6, 10, 12),
        enc::lr_w(28, 6, 0),
        enc::addi(28, 28, 2),
        enc::sc_w(29, 6, 28),
    ]);
    body.push(enc::bne(29, 0, -12));
    for seed in 0..4 {
        let timing = if seed == 0 {
            Timing::fixed(3)
        } else {
            Timing::rough()
        };
        let mut bench = with_program(timing, seed, &looped(&body, 50));
        bench.queue.extend((0..8).map(thread));
        bench.run(400_000);
        let at = 0x200 << 12;
        let sums = [
            bench.memory.value(at, 8),
            bench.memory.value(at + 8, 4),
            bench.memory.value(at + 12, 4),
        ];
        assert_eq!(sums, [28 * 50, 8 * 50, 8 * 50 * 2], "seed {seed}");
    }
}

#[test]
fn an_end_waits_for_its_taker() {
    let mut bench = with_program(Timing::fixed(2), 1, &[enc::addi(10, 11, 100), enc::ECALL]);
    bench.queue.extend((0..8).map(thread));
    bench.b.set("end_ready_i", 0);
    bench.steps(300);
    let shown = bench.b.get_bits("end_o", 56, 64);
    assert!(
        (0..8).all(|w| bench.warp(w).0 == WarpState::Report as u64),
        "{}",
        bench.states()
    );
    bench.b.set("end_ready_i", 1);
    bench.run(100);
    assert_eq!(bench.ends[0].result, shown);
    let mut results: Vec<u64> = bench.ends.iter().map(|e| e.result).collect();
    results.sort_unstable();
    assert_eq!(results, (100..108).collect::<Vec<_>>());
}
