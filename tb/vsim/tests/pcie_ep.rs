//! `pcie_ep` against a root complex that takes every TLP apart by the specification.

mod pcie;
#[path = "common/soak.rs"]
mod soak;

use hmmu_vsim::COMPACT;
use pcie::agents::{READ, SysReq, WRITE, burst_span};
use pcie::bench::{Bench, Config};
use pcie::chance;
use rand::Rng;

/// A register is written and read back over TLPs.
#[test]
fn a_register_is_read_over_tlps() {
    let mut cfg = Config::random(1);
    cfg.who = "register".into();
    let mut t = Bench::new(cfg.clone(), 1);
    let write = t
        .mmio
        .write(&cfg, cfg.bar0 + 0x18, &[1, 2, 3, 4, 5, 6, 7, 8]);
    t.send(&write);
    let read = t.mmio.read(&cfg, cfg.bar0 + 0x1c, 4).expect("a tag");
    t.send(&read);
    t.drain();
    assert_eq!(t.mmio.done, 1);
    t.check_memories();
    t.check_counts();
}

/// The host's requests of every kind, length, alignment and byte enable.
#[test]
fn host_requests_match_the_model() {
    let mut done = 0;
    for seed in 0..24 {
        let mut t = Bench::new(Config::random(seed), seed);
        for _ in 0..4000 {
            if t.rx.is_idle() {
                let cfg = t.cfg.clone();
                let mut r = t.rng.clone();
                if let Some(tlp) = t.mmio.random(&cfg, &mut r) {
                    t.send(&tlp);
                }
                t.rng = r;
            }
            t.step();
        }
        t.drain();
        t.check_memories();
        t.check_counts();
        done += t.mmio.done;
    }
    assert!(done > 2000, "only {done} reads");
}

fn feed(t: &mut Bench) {
    let mut r = t.rng.clone();
    if t.sys.queue.len() < 4 {
        t.sys.queue.push_back(SysReq::random(&mut r));
    }
    if t.burst.reads.len() < 2 && chance(&mut r, 20) {
        t.burst.reads.push_back(burst_span(&mut r));
    }
    if t.burst.writes.len() < 2 && chance(&mut r, 20) {
        let (addr, len) = burst_span(&mut r);
        t.burst
            .writes
            .push_back((addr, (0..len).map(|_| r.random()).collect()));
    }
    t.rng = r;
}

/// With so many percent of chance a random request of the host, where the link is free for it.
fn ask(t: &mut Bench, percent: u32) {
    let mut r = t.rng.clone();
    if t.rx.is_idle()
        && chance(&mut r, percent)
        && let Some(tlp) = t.mmio.random(&t.cfg, &mut r)
    {
        t.send(&tlp);
    }
    t.rng = r;
}

/// The device's own requests: every TLP legal and in the order of acceptance, every byte right, with
/// completions split, reordered and delayed at random.
#[test]
fn device_requests_match_memory() {
    let (mut singles, mut bursts, mut most) = (0, 0, 0);
    for seed in 100..124 {
        let mut t = Bench::new(Config::random(seed), seed);
        t.host.latency = [10, 100, 600][seed as usize % 3];
        for _ in 0..4000 {
            feed(&mut t);
            t.step();
        }
        t.sys.queue.clear();
        t.drain();
        t.check_counts();
        assert_eq!(t.dropped, 0, "seed {seed}");
        singles += t.sys.done;
        bursts += t.burst.done;
        most = most.max(t.host.most);
    }
    assert!(
        singles > 5000 && bursts > 2000,
        "{singles} answers, {bursts} bursts"
    );
    assert_eq!(most, 64, "all tags were in use at some time");
}

/// Everything at once, with failures of every kind: each ends its request with an error, a report and a
/// count, and nothing else is touched.
#[test]
fn failures_end_their_request_and_nothing_else() {
    let (mut failed, mut bursts_failed, mut codes) = (0, 0, std::collections::BTreeMap::new());
    for seed in 200..226 {
        let mut cfg = Config::random(seed);
        // A slow link must not look like a failure.
        cfg.timeout = 8000;
        cfg.idle_percent = cfg.idle_percent.min(30);
        let mut t = Bench::new(cfg, seed);
        t.host.fail_percent = 4;
        t.host.latency = 200;
        for _ in 0..5000 {
            feed(&mut t);
            ask(&mut t, 20);
            t.step();
        }
        t.sys.queue.clear();
        t.drain();
        t.check_memories();
        t.check_counts();
        failed += t.sys.failed;
        bursts_failed += t.burst.failed;
        for (code, n) in &t.errors {
            *codes.entry(*code).or_insert(0) += n;
        }
    }
    assert!(
        failed > 50 && bursts_failed > 50,
        "{failed} and {bursts_failed} failures"
    );
    assert_eq!(
        codes.keys().copied().collect::<Vec<u64>>(),
        [1, 2, 3, 4, 5],
        "all codes were met: {codes:?}"
    );
}

/// Requests of both sides on both widths of the streams and every combination of Max_Payload_Size, Max_Read_Request_Size and read completion boundary.
#[test]
fn every_size_of_the_link_works() {
    let (mut answers, mut own) = (0, 0);
    let mut seed = 400;
    // All of them, again and again in a long run.
    for _ in 0..soak::operations(1).div_ceil(100_000) {
        let widths = [false, true].into_iter();
        for (wide, (mps, mrrs, rcb)) in widths.flat_map(|w| pcie::sizes().map(move |s| (w, s))) {
            let cfg = Config {
                wide,
                mps,
                mrrs,
                rcb,
                who: format!("wide {wide}, mps {mps}, mrrs {mrrs}, rcb {rcb}, seed {seed}"),
                ..Config::random(seed)
            };
            let mut t = Bench::new(cfg.clone(), seed);
            for _ in 0..700 {
                feed(&mut t);
                ask(&mut t, 30);
                t.step();
            }
            t.sys.queue.clear();
            t.drain();
            t.check_memories();
            t.check_counts();
            assert!(t.burst.done > 0 && t.sys.done > 0, "{}", cfg.who);
            answers += t.mmio.done;
            own += t.sys.done + t.burst.done;
            seed += 1;
        }
    }
    println!(
        "{} runs: {answers} answers to the host, {own} to the device",
        seed - 400
    );
    assert!(answers > 300 && own > 1000, "{answers}, {own}");
}

/// One read, seen from both ends.
#[test]
fn a_read_of_the_device_takes_sixteen_aligned_bytes() {
    let mut cfg = Config::random(3);
    cfg.who = "one read".into();
    let mut t = Bench::new(cfg, 3);
    for addr in [0xffff_fff3, 0x1_0000_0004] {
        t.sys.queue.push_back(SysReq {
            client: 2,
            op: READ,
            cas32: false,
            addr,
            strb: 0,
            data: 0,
            tag: 9,
        });
    }
    t.sys.queue.push_back(SysReq {
        client: 2,
        op: WRITE,
        cas32: false,
        addr: 0x2000,
        strb: 0x00f0,
        data: 0x55 << 32,
        tag: 0,
    });
    t.drain();
    assert_eq!(t.sys.done, 2);
    assert_eq!(t.counted[2..5], [2, 1, 0]);
}

/// What an unaligned copy writes: bursts up to a boundary, with the few bytes before a row's first whole beat and past
/// its last boundary between them. The short ones do not keep back the data of the long ones, and other requests have
/// their turns between.
#[test]
fn short_writes_do_not_hold_up_long_ones() {
    let cfg = Config {
        mps: 2,
        idle_percent: 0,
        stall_percent: 0,
        who: "short writes".into(),
        ..Config::random(7)
    };
    let mut t = Bench::new(cfg, 7);
    let patterns = [
        (5, &[507, 512, 5][..]),
        (5, &[11, 496, 512, 5]),
        (5, &[11, 496, 512, 512, 504, 8, 5]),
        (3, &[509, 3]),
    ];
    for (first, pattern) in patterns {
        let (start, done) = (t.cycle, t.burst.done);
        let mut beats = 0;
        for n in 0..20 {
            let mut at = 0x4000 + n * 0x1000 + first;
            for &len in pattern {
                t.burst.writes.push_back((at, vec![0x11; len as usize]));
                // The load of a burst that begins behind a beat's first DW; the cut of each in the form for FPGAs.
                beats +=
                    (at % 16 + len).div_ceil(16) + u64::from(at % 16 >= 4) + u64::from(COMPACT);
                at += len;
            }
        }
        while t.burst.done < done + 20 * pattern.len() as u64 {
            t.step();
        }
        let cycles = t.cycle - start;
        // The form for FPGAs knows four bursts at a time, and so waits for a long one behind three short ones.
        let slow = cycles * 100 > beats * if COMPACT { 120 } else { 105 };
        assert!(!slow, "{pattern:?}: {cycles} cycles for {beats} beats");
    }
    let pairs = 40;
    let before = t.sys.done;
    for pair in 0..pairs {
        let page = 0x4000 + pair * 0x1000;
        t.burst.writes.push_back((page + 3, vec![0x33; 509]));
        t.burst.writes.push_back((page + 512, vec![0x44; 3]));
        t.sys.queue.push_back(SysReq {
            client: 2,
            op: READ,
            cas32: false,
            addr: 0x2000,
            strb: 0,
            data: 0,
            tag: pair & 7,
        });
    }
    // A lock ends soon after its long burst: a read has its turn after each pair. Its answer comes later.
    let goal = t.burst.done + pairs;
    while t.burst.done < goal {
        t.step();
    }
    let reads = t.sys.done - before;
    assert!(
        reads * 4 > pairs,
        "{reads} reads in the time of {pairs} bursts"
    );
    t.drain();
    t.check_memories();
    t.check_counts();
}
