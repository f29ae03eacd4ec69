//! The channels of the copy engine beside each other: who waits for whom, semaphores, priorities, suspension,
//! errors, and what the data path moves in a cycle.

mod copy;
mod queue;

use copy::bench::{Bench, CHANNELS, CONTEXTS, Ending, SEMAPHORES};
use copy::plan::segment;
use hmmu_regs::CopyEntry;
use queue::chance;
use queue::layout::{copy_ctl, copy_sta};
use queue::memory::{PAGE, VRAM};

const KILLED: u8 = 2;
const MEMORY_ERROR: u64 = 5;
const MISALIGNED: u8 = 4;

fn entry(op: u64, src: u64, dst: u64, len: u64) -> CopyEntry {
    CopyEntry::default()
        .with_version(1)
        .with_op(op)
        .with_src(src)
        .with_dst(dst)
        .with_len(len)
}

fn copy(src: u64, dst: u64, len: u64) -> CopyEntry {
    entry(1, src, dst, len)
}

/// Waits until the word is at least `value`.
fn wait(addr: u64, value: u64) -> CopyEntry {
    entry(4, addr, value, 0)
}

fn signal(addr: u64, value: u64) -> CopyEntry {
    entry(5, value, addr, 0)
}

/// A copy of a channel's own pages in system memory to its own in VRAM.
fn own(chan: usize, len: u64) -> CopyEntry {
    copy(
        Bench::address(false, false, false, 0),
        Bench::dest(chan, false, true, 0),
        len,
    )
}

fn run(bench: &mut Bench, cycles: u64) {
    for _ in 0..cycles {
        bench.step();
    }
}

#[test]
fn a_parked_channel_holds_up_no_other() {
    let mut bench = Bench::new(1);
    // Its page never comes: the driver's answer takes longer than the test.
    bench.mmu.latency = (5000, 5000);
    let page = Bench::dest(0, true, false, 0);
    let parked = copy(Bench::address(false, true, false, 0), page, 64)
        .with_src_va(1)
        .with_dst_va(1)
        .with_ctx(3);
    bench.submit_to(0, parked);
    for chan in 1..CHANNELS {
        bench.submit_to(chan, own(chan, PAGE));
    }
    run(&mut bench, 1200);
    assert!(bench.status(0, copy_sta::PARKS) && bench.status(0, copy_sta::QUIET));
    for chan in 1..CHANNELS {
        assert_eq!(
            bench.open_of(chan),
            0,
            "channel {chan} waits for another one's page"
        );
    }
    bench.finish();
}

#[test]
fn channels_synchronise_through_memory() {
    for seed in 0..20 {
        let mut bench = Bench::new(seed);
        bench.shake();
        // A ring of channels: each waits for the one before, the first one for the host.
        for round in 1..4 {
            for chan in 0..CHANNELS as u64 {
                let next = SEMAPHORES + 8 * (chan + 1);
                let gate = wait(SEMAPHORES + 8 * chan, round)
                    .with_equal(u64::from(chance(&mut bench.rng, 50)));
                bench.submit_to(chan as usize, gate);
                let work = bench.random_entry(chan as usize);
                bench.submit_to(chan as usize, work);
                bench.submit_to(chan as usize, signal(next, round));
            }
            for word in 0..=CHANNELS as u64 {
                if round == 1 {
                    bench.space.memory.write_u64(SEMAPHORES + 8 * word, 0);
                    bench.space.reference.write_u64(SEMAPHORES + 8 * word, 0);
                }
            }
            run(&mut bench, 600);
            let done: usize = (0..CHANNELS).map(|chan| bench.ends(chan).len()).sum();
            assert_eq!(
                done,
                (round as usize - 1) * 3 * CHANNELS,
                "seed {seed}: nobody has signalled yet"
            );
            bench.space.memory.write_u64(SEMAPHORES, round);
            bench.finish();
            assert_eq!(
                bench
                    .space
                    .memory
                    .read_u64(SEMAPHORES + 8 * CHANNELS as u64),
                round
            );
        }
    }
}

#[test]
fn a_wait_compares_the_whole_word_and_polls_boundedly() {
    let mut bench = Bench::new(3);
    let cases = [
        (u64::MAX, 1, false, true),
        (1 << 63, u64::MAX, false, false),
        (7, 7, true, true),
        (8, 7, true, false),
        (1 << 32 | 7, 7, true, false),
        (6, 7, false, false),
    ];
    for (chan, &(is, wanted, equal, met)) in cases.iter().enumerate() {
        let (chan, at) = (chan % CHANNELS, SEMAPHORES + 8 * chan as u64);
        bench.space.memory.write_u64(at, is);
        let reads = bench.link.reads_taken;
        let before = bench.ends(chan).len();
        bench.submit_to(chan, wait(at, wanted).with_equal(u64::from(equal)));
        run(&mut bench, 700);
        assert_eq!(
            bench.ends(chan).len() - before,
            usize::from(met),
            "{is:x} against {wanted:x}"
        );
        if !met {
            assert!(bench.status(chan, copy_sta::POLLS));
            let polls = bench.link.reads_taken - reads;
            assert!((5..=11).contains(&polls), "{polls} polls in 700 cycles");
            bench.control(chan, copy_ctl::CANCEL, 1);
            bench.step();
            bench.control(chan, copy_ctl::CANCEL, 0);
            bench.finish();
            let killed = Ending {
                status: KILLED,
                info: 0,
                result: 0,
            };
            assert_eq!(bench.ends(chan).last(), Some(&killed));
        }
    }
    bench.submit(wait(SEMAPHORES + 4, 0));
    bench.finish();
    assert_eq!(bench.ends(0).last().map(|end| end.status), Some(MISALIGNED));
}

#[test]
fn an_abort_in_every_cycle_ends_its_descriptor_within_a_bound() {
    for moment in 0..260 {
        let mut bench = Bench::new(moment);
        bench.link.latency = (30, 30);
        let list: Vec<[u64; 4]> = (0..4)
            .map(|n| {
                let src = Bench::address(false, true, false, 5000 * n);
                let dst = Bench::dest(1, true, false, 4096 * n + 7);
                segment(src, dst, 300, 2, false, 100, 50)
            })
            .collect();
        let virt = CopyEntry::default()
            .with_version(1)
            .with_src_va(1)
            .with_dst_va(1)
            .with_ctx(CONTEXTS[0]);
        let work = bench.list(virt, &list);
        bench.submit_to(1, work);
        bench.submit_to(1, own(1, 300));
        bench.submit_to(2, own(2, 2000));
        run(&mut bench, moment);
        let ended = bench.ends(1).len();
        bench.control(1, copy_ctl::CANCEL, 1);
        bench.step();
        bench.control(1, copy_ctl::CANCEL, 0);
        let from = bench.cycle;
        while bench.ends(1).len() == ended && bench.open_of(1) > 0 {
            bench.step();
            // In the first cycles the descriptor is not there yet.
            let bound = if moment < 20 { 3000 } else { 400 };
            assert!(
                bench.cycle < from + bound,
                "moment {moment}: the abort waits too long"
            );
        }
        bench.finish();
        assert!(
            bench
                .ends(1)
                .iter()
                .all(|end| [0, KILLED].contains(&end.status)),
            "moment {moment}"
        );
        assert_eq!(
            bench.ends(2)[0].status,
            0,
            "moment {moment}: another channel's"
        );
    }
}

#[test]
fn a_suspended_channel_comes_to_rest_and_goes_on() {
    for seed in 0..24 {
        let mut bench = Bench::new(seed);
        bench.shake();
        let work = bench.random_entry(0);
        bench.submit(work);
        bench.submit(own(0, 3 * PAGE));
        run(&mut bench, 40 * seed);
        bench.control(0, copy_ctl::SUSPEND, 1);
        let from = bench.cycle;
        bench.step();
        while !bench.status(0, copy_sta::QUIET) {
            bench.step();
            assert!(
                bench.cycle < from + 12_000,
                "seed {seed}: the suspension waits too long"
            );
        }
        let bytes = bench.bytes_counted;
        bench.submit_to(3, own(3, PAGE));
        while bench.open_of(3) > 0 {
            bench.step();
            assert!(bench.cycle < from + 60_000, "seed {seed}: others wait");
        }
        assert_eq!(
            bench.bytes_counted,
            bytes + PAGE,
            "seed {seed}: a suspended channel writes"
        );
        bench.control(0, copy_ctl::SUSPEND, 0);
        bench.finish();
        assert!(
            bench.ends(0).iter().all(|end| end.status == 0),
            "seed {seed}"
        );
    }
}

#[test]
fn an_error_stops_its_channel_alone_and_a_reset_starts_it_again() {
    for halt in [0, 1] {
        let mut bench = Bench::new(5);
        bench.control(0, copy_ctl::HALT, halt);
        bench.submit(own(0, 64));
        let beyond = 1 << 56;
        bench.submit(copy(beyond, Bench::dest(0, false, true, 0), 64));
        bench.submit(own(0, 64));
        bench.submit_to(1, own(1, 2 * PAGE));
        run(&mut bench, 1500);
        assert_eq!(bench.records(0), [(6, beyond & !(1 << 56))]);
        assert_eq!(bench.status(0, copy_sta::STOPPED), halt == 1);
        assert_eq!(bench.ends(0).len(), if halt == 1 { 2 } else { 3 });
        assert_eq!(bench.cons(0), bench.ends(0).len() as u64);
        assert_eq!(bench.ends(1)[0].status, 0);
        if halt == 1 {
            bench.restart(0);
            run(&mut bench, 500);
            assert_eq!((bench.ends(0).len(), bench.ends(0)[2].status), (3, 0));
            assert!(!bench.status(0, copy_sta::STOPPED));
        }
    }
}

#[test]
fn a_list_that_cannot_be_read_ends_with_its_place() {
    let mut bench = Bench::new(6);
    let segments = [segment(0x55, Bench::dest(0, false, true, 0), 64, 1, true, 0, 0); 6];
    let work = bench.list(CopyEntry::default().with_version(1), &segments);
    bench.submit(work);
    while bench.bytes_counted == 0 {
        bench.step();
    }
    bench.ring.errors = 100;
    bench.ring.latency = (3, 3);
    let work = bench.list(CopyEntry::default().with_version(1), &segments);
    bench.submit_to(2, own(2, 64));
    run(&mut bench, 600);
    assert_eq!(bench.errors.len(), 1, "the fetch of channel 2's entry");
    assert_eq!(bench.records(2)[0].0, MEMORY_ERROR);
    let _ = work;
}

#[test]
fn the_higher_priority_goes_first_and_equals_take_turns() {
    let finish_times = |priorities: [u64; CHANNELS]| {
        let mut bench = Bench::new(7);
        bench.link.latency = (8, 8);
        for (chan, priority) in priorities.into_iter().enumerate() {
            bench.control(chan, copy_ctl::PRIO, priority);
            // All of them wait for one word, so that they begin together.
            bench.submit_to(chan, wait(SEMAPHORES, 1));
            let at = |base: u64| base + 0x100 * chan as u64;
            let (sys, vram) = (at(0xa000), at(VRAM / PAGE | 0xa000));
            let (src, dst) = (opened(sys, 40, &mut bench), opened(vram, 40, &mut bench));
            bench.submit_to(chan, copy(src, dst, 40 * PAGE));
        }
        bench.space.memory.write_u64(SEMAPHORES, 0);
        run(&mut bench, 300);
        bench.space.memory.write_u64(SEMAPHORES, 1);
        bench.space.reference.write_u64(SEMAPHORES, 1);
        let mut times = [0; CHANNELS];
        while bench.open() > 0 {
            bench.step();
            for (chan, time) in times.iter_mut().enumerate() {
                if *time == 0 && bench.open_of(chan) == 0 {
                    *time = bench.cycle;
                }
            }
        }
        bench.finish();
        times
    };
    let times = finish_times([0, 1, 2, 3]);
    assert!(
        times[3] < times[2] && times[2] < times[1] && times[1] < times[0],
        "{times:?}"
    );
    // What the highest one takes besides its own work is what was under way when it began.
    let alone = 40 * PAGE / 16;
    assert!(
        times[2] - times[3] > alone / 2,
        "{times:?}: not one after the other"
    );
    let times = finish_times([1; CHANNELS]);
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(
        last - first < alone / 2,
        "{times:?}: equals do not take turns"
    );
}

/// Cycles from the moment in which the descriptor is in the engine to its last byte.
fn cycles_of(bench: &mut Bench, work: CopyEntry) -> u64 {
    bench.submit(wait(SEMAPHORES, 1));
    bench.space.memory.write_u64(SEMAPHORES, 0);
    bench.submit(work);
    run(bench, 4000);
    bench.space.memory.write_u64(SEMAPHORES, 1);
    bench.space.reference.write_u64(SEMAPHORES, 1);
    while bench.ends(0).is_empty() {
        bench.step();
    }
    let from = bench.cycle;
    let bytes = bench.bytes_counted;
    let mut last = from;
    while bench.open() > 0 {
        let before = bench.bytes_counted;
        bench.step();
        if bench.bytes_counted != before {
            last = bench.cycle;
        }
    }
    assert!(bench.bytes_counted > bytes);
    bench.finish();
    last - from
}

fn opened(base: u64, pages: u64, bench: &mut Bench) -> u64 {
    (0..pages).for_each(|page| bench.space.add_physical(base + page));
    base * PAGE
}

#[test]
fn the_data_path_moves_a_beat_a_cycle_whatever_the_alignment() {
    let (sys, vram) = (0x8000, VRAM / PAGE | 0x8000);
    for (from, to, latency) in [
        (sys, vram, 8),
        (sys, vram, 2000),
        (vram, sys, 8),
        (sys, sys, 8),
    ] {
        for (src, dst) in [(0, 0), (13, 5), (5, 13), (0, 4095)] {
            let mut bench = Bench::new(9);
            let pages = 40;
            let len = (pages - 1) * PAGE;
            bench.link.latency = (latency, latency);
            let src_at = opened(from, pages, &mut bench) + src;
            let dst_at = opened(to + 0x100, pages, &mut bench) + dst;
            let cycles = cycles_of(&mut bench, copy(src_at, dst_at, len));
            let beats = (dst % 16 + len).div_ceil(16);
            // Where a page of the source ends within a beat of the destination, that beat is written twice.
            let split = if (src ^ dst) % 16 != 0 { pages } else { 0 };
            // At the longest latency a burst's place is taken a little longer than its data needs to come, and shorter
            // bursts take as many places.
            let slack = match latency {
                ..=1000 => 0,
                _ if split == 0 => beats / 80,
                _ => beats / 7,
            };
            let bound = beats + split + slack + latency + 60;
            assert!(
                cycles <= bound,
                "{from:x}+{src} to {to:x}+{dst}, latency {latency}: {len} bytes in {cycles} cycles, bound {bound}"
            );
            if latency > 1000 {
                let (bytes, least) = (bench.link.most_bytes, if split == 0 { 32 } else { 28 });
                assert!(bytes >= least << 10, "{bytes} bytes in flight");
            }
        }
    }
}

#[test]
fn single_copies_start_up_quickly() {
    for latency in [8, 100] {
        let mut bench = Bench::new(10);
        bench.link.latency = (latency, latency);
        let read = copy(
            Bench::address(false, false, false, 0),
            Bench::dest(0, false, true, 0),
            64,
        );
        let cycles = cycles_of(&mut bench, read);
        assert!(
            cycles <= latency + 16,
            "64 bytes read in {cycles} cycles at latency {latency}"
        );
        let mut bench = Bench::new(11);
        let write = copy(
            Bench::address(false, false, true, 0),
            Bench::dest(0, false, false, 0),
            64,
        );
        let cycles = cycles_of(&mut bench, write);
        assert!(cycles <= 16, "64 bytes written in {cycles} cycles");
    }
}

#[test]
fn translation_costs_a_long_copy_next_to_nothing() {
    let mut cycles = [0; 2];
    for virt in [false, true] {
        let mut bench = Bench::new(12);
        bench.link.latency = (100, 100);
        bench.mmu.latency = (20, 20);
        let pages = 40;
        let (sys, vram) = (0x9000, VRAM / PAGE | 0x9000);
        let (src, dst) = (
            opened(sys, pages, &mut bench),
            opened(vram, pages, &mut bench),
        );
        let work = if virt {
            let (src, dst) = (0x5000 * PAGE, 0x6000 * PAGE);
            for page in 0..pages {
                bench.space.map((3, 0x5000 + page), sys + page);
                bench.space.map((3, 0x6000 + page), vram + page);
            }
            copy(src, dst, pages * PAGE)
                .with_src_va(1)
                .with_dst_va(1)
                .with_ctx(3)
        } else {
            copy(src, dst, pages * PAGE)
        };
        cycles[usize::from(virt)] = cycles_of(&mut bench, work);
    }
    assert!(
        cycles[0] * 100 >= cycles[1] * 98,
        "physical, translated: {cycles:?}"
    );
}
