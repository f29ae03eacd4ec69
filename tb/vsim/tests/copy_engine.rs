//! The copy engine against memcpy: every alignment, length and kind of address, while pages fault, move
//! and fail under it.

mod copy;
mod queue;

use copy::bench::{Bench, CHANNELS, Ending};
use copy::space::Space;
use hmmu_regs::CopyEntry;
use queue::chance;
use queue::layout::copy_sta;
use queue::memory::PAGE;
use rand::Rng;

const MEMORY_ERROR: u8 = 5;
const MISALIGNED: u8 = 4;
const BAD_ADDRESS: u8 = 6;
const STOPPED: u8 = 1;

fn plain(src: u64, dst: u64, len: u64) -> CopyEntry {
    CopyEntry::default()
        .with_version(1)
        .with_op(1)
        .with_src(src)
        .with_dst(dst)
        .with_len(len)
}

fn virtual_copy(ctx: u64, from: u64, to: u64, len: u64) -> CopyEntry {
    let (src, dst) = (
        Bench::address(false, true, false, from),
        Bench::address(true, true, false, to),
    );
    plain(src, dst, len)
        .with_src_va(1)
        .with_dst_va(1)
        .with_ctx(ctx)
}

/// Ends of all channels.
fn all_ends(bench: &Bench) -> impl Iterator<Item = &Ending> {
    (0..CHANNELS).flat_map(|chan| bench.ends(chan))
}

/// Runs `count` random descriptors of random channels, some of them in the rings at once.
fn run_random(bench: &mut Bench, count: usize) {
    for _ in 0..count {
        let chan = bench.rng.random_range(0..CHANNELS);
        while bench.open_of(chan) >= 4 {
            bench.step();
        }
        let entry = bench.random_entry(chan);
        bench.submit_to(chan, entry);
        for _ in 0..bench.rng.random_range(0..30) {
            bench.step();
        }
    }
    bench.finish();
}

#[test]
fn every_alignment_between_every_pair_of_memories() {
    let mut bench = Bench::new(1);
    for pair in 0..4 {
        for from in 0..16 {
            for to in 0..16 {
                let (src_vram, dst_vram) = (pair & 1 == 1, pair & 2 == 2);
                let len = [1, 15, 16, 17, 255, 256, 300][(from * 3 + to) % 7];
                let src = Bench::address(false, false, src_vram, 100 + from as u64);
                let dst = Bench::address(true, false, dst_vram, 3000 + to as u64);
                bench.submit(plain(src, dst, len));
                while bench.open() > 2 {
                    bench.step();
                }
            }
        }
    }
    bench.finish();
    assert!(bench.ends(0).iter().all(|e| e.status == 0));
}

#[test]
fn random_copies_equal_memcpy_under_faults_and_back_pressure() {
    let mut faults = 0;
    for seed in 0..12 {
        let mut bench = Bench::new(seed);
        bench.shake();
        run_random(&mut bench, 25);
        assert!(all_ends(&bench).all(|e| e.status == 0), "seed {seed}");
        faults += bench.mmu.faults;
    }
    assert!(faults > 60, "too few faults to tell: {faults}");
}

#[test]
fn random_copies_equal_memcpy_while_pages_move() {
    let mut moved = 0;
    for seed in 100..112 {
        let mut bench = Bench::new(seed);
        bench.shake();
        bench.invalidate = [1, 3, 10][(seed % 3) as usize];
        run_random(&mut bench, 20);
        assert!(all_ends(&bench).all(|e| e.status == 0), "seed {seed}");
        moved += bench.mmu.invalidations;
    }
    assert!(moved > 200, "too few moves to tell: {moved}");
}

#[test]
fn an_invalidation_in_every_cycle_of_a_copy() {
    for side in 0..2 {
        for moment in 0..160 {
            let mut bench = Bench::new(moment);
            bench.link.latency = (20, 20);
            // Bursts meet within beats of the source.
            bench.submit(virtual_copy(3, 45, 1000, 700));
            for _ in 0..moment {
                bench.step();
            }
            let vpn = (Bench::address(side == 1, true, false, 1000) >> 12) & 0xf_ffff_ffff;
            bench.mmu.invalidate((3, vpn), &mut bench.space);
            let from = bench.cycle;
            while bench.mmu.is_draining() {
                bench.step();
                assert!(
                    bench.cycle < from + 120,
                    "moment {moment}: the drain waits too long"
                );
            }
            bench.finish();
            assert_eq!(bench.ends(0)[0].status, 0, "moment {moment}");
        }
    }
}

/// Two bursts meet within a beat of the source. The first one reads all of the beat; when the page goes away before the
/// second one is translated, what was read of it then must not be used any more.
#[test]
fn what_was_read_ahead_for_the_next_burst_goes_with_its_page() {
    let first = 200;
    for from in [45, 46, 56] {
        let mut bench = Bench::new(from);
        // Time enough: the second burst waits for the walk and the fault of its destination.
        bench.mmu.latency = (600, 600);
        let page = |write| {
            let offset = if write { PAGE } else { 0 };
            let vpn = Bench::address(write, true, false, offset) >> 12 & 0xf_ffff_ffff;
            (3, vpn)
        };
        bench
            .space
            .pages
            .get_mut(&page(true))
            .expect("page")
            .present = false;
        bench.submit(virtual_copy(3, from, PAGE - first, 700));
        while bench.bytes_counted < first {
            bench.step();
        }
        bench.mmu.invalidate(page(false), &mut bench.space);
        while bench.mmu.is_draining() {
            bench.step();
        }
        // The process writes to the page, which is elsewhere now.
        let place = bench.space.pages[&page(false)].ppn * PAGE;
        for at in from + first..PAGE {
            let byte = !bench.space.memory.byte(place + at);
            bench.space.memory.write(place + at, &[byte]);
            let key = Space::key(3, page(false).1 * PAGE + at);
            bench.space.reference.write(key, &[byte]);
        }
        bench.finish();
        assert_eq!(bench.ends(0)[0].status, 0, "from {from}");
    }
}

#[test]
fn a_failed_read_ends_its_descriptor_only() {
    let mut failed = 0;
    for seed in 200..212 {
        let mut bench = Bench::new(seed);
        bench.shake();
        bench.link.errors = 4;
        bench.vram.errors = u32::from(seed % 2 == 0);
        run_random(&mut bench, 25);
        for end in all_ends(&bench) {
            assert!(
                end.status == 0 || end.status == MEMORY_ERROR,
                "seed {seed}: {end:?}"
            );
        }
        failed += all_ends(&bench)
            .filter(|e| e.status == MEMORY_ERROR)
            .count();
    }
    assert!(failed > 20, "too few failures to tell: {failed}");
}

#[test]
fn the_first_failed_burst_is_named() {
    for seed in 300..312 {
        let mut bench = Bench::new(seed);
        bench.link.latency = (1, 60);
        bench.link.reorder = true;
        bench.link.errors = 15;
        let src = Bench::address(false, false, false, 0);
        bench.submit(plain(src, Bench::address(true, false, true, 0), 5 * PAGE));
        bench.finish();
        let first = bench.link.failed.iter().min().copied();
        let expected = first.map_or(
            Ending {
                status: 0,
                info: 0,
                result: 5 * PAGE,
            },
            |at| Ending {
                status: MEMORY_ERROR,
                info: at,
                result: at - src,
            },
        );
        assert_eq!(bench.ends(0)[0], expected, "seed {seed}");
    }
}

#[test]
fn a_cancel_ends_the_descriptor_with_its_code_behind_what_was_written() {
    for seed in 400..430 {
        let mut bench = Bench::new(seed);
        bench.shake();
        bench.invalidate = 3;
        let write = chance(&mut bench.rng, 50);
        let page = bench.rng.random_range(0..3);
        let start = bench.rng.random_range(0..PAGE);
        let area = Bench::address(write, true, false, page * PAGE);
        bench.mmu.cancel.insert((9, area >> 12 & 0xf_ffff_ffff), 30);
        bench.submit(virtual_copy(9, start, start, 4 * PAGE));
        bench.submit(virtual_copy(3, start, start, 100));
        bench.finish();
        let bytes = (page * PAGE).saturating_sub(start);
        let info = Bench::address(write, true, false, start + bytes) & 0xffff_ffff_ffff;
        assert_eq!(
            bench.ends(0)[0],
            Ending {
                status: 30,
                info,
                result: bytes
            },
            "seed {seed}"
        );
        assert_eq!(bench.ends(0)[1].status, 0, "seed {seed}");
    }
}

#[test]
fn a_stopped_context_leaves_no_access_behind() {
    let mut stopped = 0;
    for seed in 500..600 {
        let mut bench = Bench::new(seed);
        bench.shake();
        for _ in 0..3 {
            let len = bench.rng.random_range(1..3 * PAGE);
            bench.submit(virtual_copy(3, 77, 1234, len));
        }
        for _ in 0..bench.rng.random_range(0..500) {
            bench.step();
        }
        bench.kill = Some(3);
        let from = bench.cycle;
        while bench.kill.is_some() {
            bench.step();
            assert!(
                bench.cycle < from + 4000,
                "seed {seed}: kill waits too long"
            );
        }
        bench.mmu.stop(3);
        // From the acknowledgement on, any access to a page of the context panics.
        bench.submit(virtual_copy(9, 5, 6, 700));
        bench.finish();
        for end in &bench.ends(0)[..3] {
            assert!(
                [0, STOPPED, BAD_ADDRESS].contains(&end.status),
                "seed {seed}: {end:?}"
            );
        }
        stopped += bench.ends(0).iter().filter(|e| e.status == STOPPED).count();
        assert_eq!(bench.ends(0)[3].status, 0, "seed {seed}");
    }
    assert!(stopped > 30, "too few stops to tell: {stopped}");
}

#[test]
fn addresses_and_fills_that_cannot_be_are_refused_one_by_one() {
    let mut bench = Bench::new(7);
    let (src, dst) = (
        Bench::address(false, false, false, 0),
        Bench::address(true, false, true, 0),
    );
    let far = 0x0000_8000_0000_0000;
    let cases = [
        (plain(far, dst, 64).with_src_va(1), BAD_ADDRESS, far),
        (plain(src, far - 64, 64).with_dst_va(1).with_len(0), 0, 0),
        (plain(src, 1 << 56, 64), BAD_ADDRESS, 0),
        (
            plain(0x55, dst + 4, 64).with_op(2),
            MISALIGNED,
            (dst + 4) & 0xffff_ffff_ffff,
        ),
        (
            plain(0x55, dst, 63).with_op(2),
            MISALIGNED,
            dst & 0xffff_ffff_ffff,
        ),
        (plain(src, dst, 640), 0, 0),
        (plain(0x1234_5678, dst + 8, 1000).with_op(2), 0, 0),
        (plain(src, dst, 99).with_op(0).with_len(0), 0, 0),
    ];
    for (entry, _, _) in cases {
        bench.submit(entry);
    }
    bench.finish();
    for (end, (entry, status, info)) in bench.ends(0).iter().zip(cases) {
        assert_eq!((end.status, end.info), (status, info), "{entry:?}");
    }
    assert!(bench.errors.is_empty());
}

#[test]
fn a_bad_entry_stops_the_ring_and_is_named() {
    for bad in [plain(0, 0, 0).with_op(9), plain(0, 0, 0).with_version(2)] {
        let mut bench = Bench::new(8);
        let dst = Bench::address(true, false, true, 0);
        bench.submit(plain(Bench::address(false, false, false, 0), dst, 64));
        bench.submit(bad);
        bench.submit(plain(Bench::address(false, false, false, 0), dst, 64));
        for _ in 0..400 {
            bench.step();
        }
        assert_eq!(
            bench.errors,
            [(6, 0x2_0040)],
            "BadEntry at the second entry"
        );
        assert_eq!(
            (
                bench.cons(0),
                bench.status(0, copy_sta::STOPPED),
                bench.ends(0).len()
            ),
            (1, true, 1)
        );
    }
}
