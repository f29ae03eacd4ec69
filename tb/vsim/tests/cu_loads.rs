//! The compute unit: several loads of a warp under way at once, their order, and how they end.

mod cu_bench;

use cu_bench::memory::PortTiming;
use cu_bench::mmu::{Event, Page};
use cu_bench::scene::*;
use cu_bench::{Bench, HELD, Thread, Timing, WARPS};
use hmmu_model::rv64::enc;
use hmmu_regs::{JobStatus, WarpState};
use hmmu_vsim::COMPACT;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Pages that are not there at first.
const AWAY: u64 = 0x4000_0000;
const ALL: (u64, u64) = (0, 0xf_ffff_ffff);

/// Cycles of a loop round in the middle of a run of one warp.
fn round(body: &[u32], latency: u64) -> u64 {
    let code = looped(body, 400);
    let mut bench = with_program(Timing::fixed(latency), 1, &code);
    bench.queue.push_back(thread(0));
    let per_round = body.len() as u64 + 2;
    step_until(&mut bench, 100_000, |b| b.instructions >= 20 * per_round);
    let from = bench.now;
    step_until(&mut bench, 1_000_000, |b| b.instructions >= 120 * per_round);
    (bench.now - from) / 100
}

#[test]
fn loads_of_a_warp_hide_one_another() {
    // Sums of 16 words: each load used at once, and four loads before their uses.
    let mut one_by_one = Vec::new();
    let mut in_fours = Vec::new();
    for k in 0..16 {
        one_by_one.extend([enc::ld(12, 10, 8 * k), enc::add(5, 5, 12)]);
    }
    for group in 0..4 {
        in_fours.extend((0..4).map(|k| enc::ld(12 + k as u32, 10, 8 * (4 * group + k))));
        in_fours.extend((0..4).map(|k| enc::add(5, 5, 12 + k)));
    }
    let mut figures = Vec::new();
    for latency in [10, 50, 100, 200] {
        figures.push((
            latency,
            round(&one_by_one, latency),
            round(&in_fours, latency),
        ));
    }
    println!("latency, cycles for 16 words one by one, and in fours: {figures:?}");
    // An instruction takes one cycle more in the form for FPGAs, an access three.
    let more = if COMPACT { 1 } else { 0 };
    for (latency, one_by_one, in_fours) in figures {
        assert!(
            one_by_one <= 16 * (latency + 12 + 5 * more) + 16,
            "{one_by_one}"
        );
        // Four loads leave four cycles apart; then the additions.
        assert!(
            in_fours <= 4 * (latency + 9 + 4 * more + 7 * (4 + more)) + 16,
            "{in_fours}"
        );
    }
}

#[test]
fn sixteen_warps_fill_the_pipeline_at_long_latencies() {
    // A word of work for each load.
    let mut body: Vec<u32> = (0..4).map(|k| enc::ld(12 + k as u32, 10, 8 * k)).collect();
    body.extend((0..4).flat_map(|k| [enc::add(5, 5, 12 + k), enc::xor(6, 6, 5)]));
    let mut figures = Vec::new();
    for latency in [10, 50, 100] {
        let mut bench = with_program(Timing::fixed(latency), 1, &looped(&body, 1000));
        bench.queue.extend((0..u64::from(WARPS)).map(thread));
        step_until(&mut bench, 100_000, |b| b.instructions > 4000);
        let before = bench.instructions;
        bench.steps(4000);
        figures.push((latency, (bench.instructions - before) / 4));
    }
    println!("latency, instructions per 1000 cycles with {WARPS} warps: {figures:?}");
    let first = if COMPACT { 930 } else { 950 };
    assert!(
        figures[0].1 > first && figures[1].1 > 900 && figures[2].1 > 850,
        "{figures:?}"
    );
}

/// Two loads from pages that are away, a store to one that is there, and the sum.
fn two_loads() -> Vec<u32> {
    vec![
        enc::lui(5, (AWAY >> 12) as u32),
        enc::lui(6, (AWAY >> 12) as u32 + 1),
        enc::ld(12, 5, 8),
        enc::ld(13, 6, 16),
        enc::sd(10, 10, 0),
        enc::add(10, 12, 13),
        enc::ECALL,
    ]
}

/// A bench whose one thread waits for both loads.
fn both_parked(seed: u64) -> Bench {
    let mut bench = with_program(Timing::fixed(seed % 7), seed, &two_loads());
    bench.queue.push_back(thread(0));
    step_until(&mut bench, 1000, |b| b.mmu.parked.len() == 2);
    bench.steps(30);
    bench
}

#[test]
fn the_oldest_load_that_fails_ends_the_thread() {
    let vpn = AWAY >> 12;
    for younger_first in [false, true] {
        for older_fails in [false, true] {
            let mut bench = both_parked(3);
            let older = if older_fails {
                Event::Cancel((1, vpn, READ), 70)
            } else {
                bench.map(1, AWAY, Page::all(0x300));
                Event::Retry(1, vpn, vpn)
            };
            let younger = Event::Cancel((1, vpn + 1, READ), 71);
            let (first, second) = if younger_first {
                (younger, older)
            } else {
                (older, younger)
            };
            bench.mmu.events.push_back(first);
            bench.steps(100);
            // The younger one's failure waits for the older one.
            let over = !younger_first && older_fails;
            assert_eq!(bench.ends.len(), usize::from(over));
            bench.mmu.events.push_back(second);
            bench.run(500);
            let (code, at) = if older_fails {
                (70, AWAY + 8)
            } else {
                (71, AWAY + 4096 + 16)
            };
            assert_eq!((bench.ends[0].status, bench.ends[0].info), (code, at));
            assert_eq!(
                (bench.stores, bench.memory.value(0x200 << 12, 8)),
                (0, 0),
                "a store after a load that failed"
            );
        }
    }
}

#[test]
fn earlier_loads_come_before_every_other_end() {
    // What comes after a load that waits: each ends the thread in its own way.
    let tails: [(&[u32], JobStatus, u64); 6] = [
        (&[enc::EBREAK], JobStatus::Breakpoint, CODE + 8),
        (&[0], JobStatus::Illegal, CODE + 8),
        (&[enc::lw(6, 10, 2)], JobStatus::Misaligned, DATA + 2),
        (&[enc::jal(1, 6)], JobStatus::Misaligned, CODE + 14),
        (
            &[enc::slli(6, 10, 20), enc::ld(6, 6, 0)],
            JobStatus::BadAddress,
            DATA << 20,
        ),
        (&[enc::ECALL], JobStatus::Ok, 0),
    ];
    for (tail, status, info) in tails {
        for fails in [false, true] {
            let code = [&[enc::lui(5, (AWAY >> 12) as u32), enc::ld(12, 5, 8)], tail].concat();
            let mut bench = with_program(Timing::fixed(2), 1, &code);
            bench.queue.push_back(thread(0));
            step_until(&mut bench, 1000, |b| !b.mmu.parked.is_empty());
            bench.steps(100);
            assert!(bench.ends.is_empty(), "{tail:x?}");
            let answer = if fails {
                Event::Cancel((1, AWAY >> 12, READ), 70)
            } else {
                bench.map(1, AWAY, Page::all(0x300));
                Event::Retry(1, ALL.0, ALL.1)
            };
            bench.mmu.events.push_back(answer);
            bench.run(500);
            let want = if fails {
                (70, AWAY + 8)
            } else {
                (status as u8, info & 0xffff_ffff_ffff)
            };
            assert_eq!(
                (bench.ends[0].status, bench.ends[0].info),
                want,
                "{tail:x?}"
            );
        }
    }
}

#[test]
fn a_program_that_runs_out_of_the_address_space_ends_after_its_loads() {
    // The last instruction of the lower half is a load that waits; the next one has no address.
    let last = 0x7fff_ffff_f000;
    let mut bench = with_program(Timing::fixed(2), 1, &[enc::ECALL]);
    bench.map(1, last, Page::all(0x180));
    let code = [enc::lui(5, (AWAY >> 12) as u32), enc::ld(12, 5, 8)];
    bench.load_program(1, last + 4096 - 8, &code);
    bench.queue.push_back(Thread {
        entry: last + 4096 - 8,
        ..thread(0)
    });
    step_until(&mut bench, 500, |b| !b.mmu.parked.is_empty());
    bench.steps(50);
    bench.map(1, AWAY, Page::all(0x300));
    bench.mmu.events.push_back(Event::Retry(1, ALL.0, ALL.1));
    bench.run(500);
    let end = bench.ends[0];
    let bad = JobStatus::BadAddress as u8;
    assert_eq!((end.status, end.info), (bad, 0x8000_0000_0000));
}

#[test]
fn four_waiting_loads_of_every_warp_are_held_and_killed_at_once() {
    // Each thread loads from four pages of its own.
    let code = [
        enc::slli(5, 11, 14),
        enc::lui(6, (AWAY >> 12) as u32),
        enc::add(5, 5, 6),
        enc::lui(7, 1),
        enc::ld(12, 5, 0),
        enc::add(5, 5, 7),
        enc::ld(13, 5, 0),
        enc::add(5, 5, 7),
        enc::ld(14, 5, 0),
        enc::add(5, 5, 7),
        enc::ld(15, 5, 0),
        enc::add(12, 12, 13),
        enc::add(14, 14, 15),
        enc::add(10, 12, 14),
        enc::ECALL,
    ];
    for kill in [false, true] {
        let mut bench = with_program(Timing::fixed(3), 1, &code);
        bench.queue.extend((0..u64::from(WARPS)).map(thread));
        bench.steps(1500);
        assert_eq!(bench.mmu.parked.len(), 16, "as many as the L1 has slots");
        for warp in 0..WARPS {
            assert_eq!(bench.warp(warp).0, WarpState::DataMiss as u64);
        }
        bench.held = 1;
        bench.steps(HELD);
        let took = step_until(&mut bench, 100, |b| b.b.get("busy_o") == 0);
        assert!(took <= 4, "{took} cycles");
        bench.steps(2);
        for warp in 0..WARPS {
            assert_eq!(bench.warp(warp).0, WarpState::Held as u64);
        }
        // Pages come while nobody waits; the accesses are made after the hold.
        for k in 0..4 * u64::from(WARPS) {
            bench.map(1, AWAY + k * 4096, Page::all(0x300 + k));
            bench.memory.set_value((0x300 + k) << 12, 8, k + 1);
        }
        bench.mmu.events.push_back(Event::Retry(1, ALL.0, ALL.1));
        bench.steps(300);
        assert_eq!((bench.loads, bench.ends.len()), (0, 0));
        if kill {
            bench.kill = 1;
            let took = step_until(&mut bench, 300, |b| b.pending() == 0);
            println!("{took} cycles to kill {WARPS} held warps");
            assert!(
                bench
                    .ends
                    .iter()
                    .all(|e| e.status == JobStatus::Killed as u8)
            );
            continue;
        }
        bench.held = 0;
        bench.run(20_000);
        let mut results: Vec<u64> = bench.ends.iter().map(|e| e.result).collect();
        results.sort_unstable();
        let sums: Vec<u64> = (0..u64::from(WARPS)).map(|t| 16 * t + 10).collect();
        assert_eq!(results, sums);
    }
}

#[test]
fn loads_of_the_same_bytes_stay_in_order() {
    // Somebody counts up a word; of two loads of it the second never sees less. The second also goes
    // through another address of the same page, or to a part of the word.
    let seconds = [enc::ld(6, 10, 0), enc::ld(6, 12, 0), enc::lwu(6, 12, 0)];
    for (k, second) in seconds.into_iter().enumerate() {
        let mut code = vec![enc::lui(12, (AWAY >> 12) as u32)];
        code.extend(looped(
            &[
                enc::ld(5, 10, 0),
                enc::ld(7, 12, 512),
                second,
                enc::bgeu(6, 5, 8),
                enc::EBREAK,
            ],
            300,
        ));
        let timing = Timing {
            data: PortTiming {
                latency: (1, 60),
                busy: 40,
                errors: 0,
            },
            ..Timing::fixed(3)
        };
        let mut bench = with_program(timing, k as u64, &code);
        bench.map(1, AWAY, Page::all(0x200));
        bench.queue.extend((0..4).map(thread));
        while bench.pending() > 0 {
            assert!(bench.now < 400_000, "{}", bench.states());
            let count = bench.memory.value(0x200 << 12, 8);
            bench.memory.set_value(0x200 << 12, 8, count + 1);
            bench.step();
        }
        assert!(
            bench.ends.iter().all(|e| e.status == OK),
            "{k}: {:x?}",
            bench.ends
        );
    }
}

#[test]
fn a_store_waits_for_earlier_loads_of_its_bytes() {
    // Each round loads the word, through either address, and stores one more: through the other.
    for (from, to) in [(10, 12), (12, 10), (10, 10)] {
        let mut code = vec![enc::lui(12, (AWAY >> 12) as u32), enc::addi(7, 0, 0)];
        code.extend(looped(
            &[
                enc::ld(5, from, 8),
                enc::addi(7, 7, 1),
                enc::sd(7, to, 8),
                enc::addi(6, 7, -1),
                enc::beq(5, 6, 8),
                enc::EBREAK,
            ],
            300,
        ));
        for seed in 0..4 {
            let mut bench = with_program(Timing::rough(), seed, &code);
            bench.map(1, AWAY, Page::all(0x200));
            bench.queue.push_back(thread(0));
            bench.run(100_000);
            assert_eq!(bench.ends[0].status, OK, "from x{from} to x{to}");
        }
    }
}

/// Random programs, whose pages come late, under holds, moves and kills of one job.
#[test]
fn random_programs_among_faults_holds_and_kills() {
    let mut faults = 0;
    for seed in 0..24 {
        let mut bench = Bench::new(Timing::rough(), seed);
        let expected = random_programs(&mut bench, 24, 12);
        let goal = bench.expected.take().expect("set");
        let mut rng = Pcg64::seed_from_u64(seed + 77);
        // All pages are away at first.
        let home = std::mem::take(&mut bench.mmu.table);
        let victim = rng.random_range(0..4);
        let when = rng.random_range(500..6000);
        while bench.pending() > 0 {
            assert!(bench.now < 1_000_000, "seed {seed}: {}", bench.states());
            bench.steps(rng.random_range(1..60));
            if bench.now >= when && bench.kill == 0 {
                bench.kill = 1 << victim;
                bench.queue.retain(|t| t.job != victim);
            }
            match rng.random_range(0..8) {
                // A fault is served.
                0..=3 => {
                    if let Some(&(ctx, vpn, _)) = bench.mmu.parked.first() {
                        faults += 1;
                        bench.mmu.table.insert((ctx, vpn), home[&(ctx, vpn)]);
                        bench.mmu.events.push_back(Event::Retry(ctx, vpn, vpn));
                    }
                }
                // A page goes away.
                4 => {
                    let keys: Vec<(u64, u64)> = bench.mmu.table.keys().copied().collect();
                    if !keys.is_empty() {
                        let key = keys[rng.random_range(0..keys.len())];
                        bench.mmu.table.remove(&key);
                        bench
                            .mmu
                            .events
                            .push_back(Event::Invalidate(key.0, key.1, key.1));
                    }
                }
                // Some jobs are held for a while.
                5 => {
                    bench.held = rng.random_range(0..16);
                    let mask = bench.held;
                    let waiting = std::mem::take(&mut bench.queue);
                    let (back, on): (Vec<_>, Vec<_>) =
                        waiting.into_iter().partition(|t| mask >> t.job & 1 == 1);
                    bench.queue.extend(on);
                    bench.steps(HELD);
                    step_until(&mut bench, 700, |b| b.b.get("busy_o") & mask == 0);
                    bench.steps(rng.random_range(0..100));
                    bench.queue.extend(back);
                    bench.held = 0;
                }
                _ => {}
            }
        }
        let good = sorted(&expected);
        for end in &bench.ends {
            let known = good.contains(&(end.job, end.result, end.status, end.info));
            let killed = end.job == victim && end.status == JobStatus::Killed as u8;
            assert!(known || killed, "seed {seed}: {end:x?}");
        }
        // Memory of the jobs that were left alone. Threads run in jobs by their number.
        for k in (0..24).filter(|k| k % 4 != victim) {
            let ppn = if k % 2 == 0 { 0x800_0000_0000 } else { 0x5000 } + 2 * k;
            for at in 0..2 {
                assert!(
                    bench.memory.pages[&(ppn + at)] == goal.pages[&(ppn + at)],
                    "seed {seed}: thread {k}"
                );
            }
        }
    }
    println!("{faults} faults served");
    assert!(faults > 1000);
}
