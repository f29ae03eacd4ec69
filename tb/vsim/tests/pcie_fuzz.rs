//! `pcie_ep` against a root complex that sends whatever comes to its mind between right requests and completions.

mod pcie;
#[path = "common/soak.rs"]
mod soak;

use pcie::agents::{SysReq, burst_span};
use pcie::bench::{Bench, Config};
use pcie::chance;
use pcie::hostile::{Hostile, KINDS};
use rand::Rng;

/// Cycles of one run, and of its parts: the device's own requests come in every other part.
const CYCLES: u64 = 6000;
const PART: u64 = 1500;
/// The longest that an answer to the host may take: everything that may be before it, on a link that pauses.
const ANSWER: u64 = 12_000;

fn feed(t: &mut Bench) {
    let mut r = t.rng.clone();
    if t.sys.queue.len() < 4 {
        t.sys.queue.push_back(SysReq::random(&mut r));
    }
    if t.burst.reads.len() < 2 && chance(&mut r, 20) {
        t.burst.reads.push_back(burst_span(&mut r));
    }
    if t.burst.writes.len() < 2 && chance(&mut r, 10) {
        let (addr, len) = burst_span(&mut r);
        let bytes = (0..len).map(|_| r.random()).collect();
        t.burst.writes.push_back((addr, bytes));
    }
    t.rng = r;
}

/// One run; hostile TLPs, answers to the host, and answers to the device's own requests.
fn run(seed: u64) -> ([u64; 3], [u64; KINDS.len()]) {
    let mut cfg = Config::random(seed);
    cfg.tags = if seed.is_multiple_of(2) { 64 } else { 256 };
    let failing = seed % 4 > 1;
    // Judged beat by beat, of which a wide one would hide what its halves are.
    cfg.wide = false;
    if failing {
        cfg.timeout = 20_000;
        cfg.idle_percent = cfg.idle_percent.min(30);
        cfg.stall_percent = cfg.stall_percent.min(30);
    }
    let mut t = Bench::new(cfg, seed);
    t.burst.lenient = true;
    t.host.latency = [20, 100, 400][seed as usize % 3];
    t.host.fail_percent = if failing { 2 } else { 0 };
    t.host.odd = true;
    let mut hostile = Hostile::default();
    let mut hold = 0u64;
    while t.cycle < CYCLES {
        if t.cycle / PART % 2 == seed % 2 {
            feed(&mut t);
        }
        let mut r = t.rng.clone();
        // Now and then the registers stand still, and requests fill the buffer.
        hold = if hold == 0 && chance(&mut r, 1) && chance(&mut r, 5) {
            200
        } else {
            hold.saturating_sub(1)
        };
        t.hold_registers = hold > 0;
        let choice = r.random_range(0..10);
        t.rng = r;
        if t.rx.is_idle() {
            match choice {
                0..6 => hostile.send(&mut t),
                6..8 => {
                    let (cfg, mut r) = (t.cfg.clone(), t.rng.clone());
                    if let Some(tlp) = t.mmio.random(&cfg, &mut r) {
                        t.send(&tlp);
                    }
                    t.rng = r;
                }
                // A turn for the completions.
                _ => {}
            }
        }
        t.step();
    }
    t.hold_registers = false;
    t.sys.queue.clear();
    t.drain();
    // Its answer comes after every write that still waits in the device.
    let cfg = t.cfg.clone();
    let last = t.mmio.read(&cfg, cfg.bar0, 4).expect("a tag");
    t.send(&last);
    t.drain();
    t.check_memories();
    t.check_counts();
    assert!(
        t.mmio.slowest < ANSWER,
        "{}: an answer took {} cycles",
        t.cfg.who,
        t.mmio.slowest
    );
    let answers = t.mmio.done;
    let own = t.sys.done + t.burst.done;
    ([hostile.total(), answers, own], hostile.sent)
}

/// Whatever comes: no assertion fails, every right request is answered in time and rightly, each broken TLP is counted
/// once, each unsupported one refused, and no byte changes that no good write named.
#[test]
fn random_hostile_tlps_change_nothing() {
    let mut kinds = [0; KINDS.len()];
    let [sent, answers, own] = {
        let mut sums = [0; 3];
        let mut seed = 1000;
        let goal = soak::operations(12_000);
        while sums[0] < goal {
            let (counts, sent) = run(seed);
            for (sum, n) in sums.iter_mut().zip(counts) {
                *sum += n;
            }
            for (sum, n) in kinds.iter_mut().zip(sent) {
                *sum += n;
            }
            seed += 1;
        }
        println!("seeds 1000..{seed}");
        sums
    };
    println!("{sent} hostile TLPs, {answers} answers to the host, {own} of the device's requests");
    for (kind, count) in KINDS.into_iter().zip(kinds) {
        println!("  {kind:?}: {count}");
        assert!(count > 100, "{kind:?}: {count}");
    }
    assert!(answers > sent / 20 && own > sent / 20);
}
