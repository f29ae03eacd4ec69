//! `pcie_ep` on the link: order between writes, messages and completions, malformed TLPs, throughput.

mod pcie;

use hmmu_vsim::COMPACT;
use pcie::agents::{READ, SysReq, WRITE};
use pcie::bench::{Bench, Config};
use pcie::chance;
use pcie::host::MALFORMED;
use pcie::stream::{Beat, beats};
use pcie::tlp::{FETCH_ADD, MEM, Tlp};
use rand::Rng;

const MESSAGE: u64 = 0xfee0_0000;

/// A link without pauses.
fn smooth(who: &str) -> Config {
    Config {
        idle_percent: 0,
        stall_percent: 0,
        mps: 1,
        mrrs: 2,
        wide: false,
        who: who.into(),
        ..Config::random(1)
    }
}

fn register_read(t: &mut Bench, len: usize) {
    let cfg = t.cfg.clone();
    let tlp = t.mmio.read(&cfg, cfg.bar0 + 0x40, len).expect("a tag");
    t.send(&tlp);
}

/// Message passing: whoever gets the interrupt, or a register's value, finds in memory every write that
/// the device had made before (the value and the count of writes are compared on arrival).
#[test]
fn messages_and_completions_follow_earlier_writes() {
    let mut messages = 0;
    for seed in 300..312 {
        let mut t = Bench::new(Config::random(seed), seed);
        t.message_addr = Some(MESSAGE);
        let cfg = t.cfg.clone();
        for v in 0..8 {
            let at = cfg.bar0 + 0x8000 + 16 * v;
            for (offset, value) in [(0, MESSAGE), (8, v)] {
                let tlp = t.mmio.write(&cfg, at + offset, &value.to_le_bytes());
                t.send(&tlp);
            }
        }
        while !t.rx.is_idle() {
            t.step();
        }
        t.drain();
        // Writes accepted up to the pulse of each vector.
        let mut pulsed: [Option<u64>; 8] = [None; 8];
        for _ in 0..4000 {
            let mut r = t.rng.clone();
            if t.sys.queue.len() < 3 {
                t.sys.queue.push_back(SysReq::random(&mut r));
            }
            if t.burst.writes.len() < 2 && chance(&mut r, 10) {
                let (addr, len) = pcie::agents::burst_span(&mut r);
                t.burst.writes.push_back((addr, vec![seed as u8; len]));
            }
            if t.rx.is_idle()
                && chance(&mut r, 20)
                && let Some(tlp) = t.mmio.read(&cfg, cfg.bar0 + pcie::mmio::LITMUS, 8)
            {
                t.send(&tlp);
            }
            let v = r.random_range(0..8);
            let pulse = chance(&mut r, 10) && pulsed[v].is_none();
            t.irqs = u64::from(pulse) << v;
            t.rng = r;
            t.step();
            if pulse {
                pulsed[v] = Some(t.accepted_writes());
            }
            for (vector, before) in std::mem::take(&mut t.messages) {
                let needed = pulsed[vector as usize]
                    .take()
                    .expect("a message without an interrupt");
                assert!(
                    before >= needed,
                    "seed {seed}: message {vector} came after {before} of {needed} writes"
                );
                messages += 1;
            }
        }
        t.sys.queue.clear();
        t.drain();
        for (vector, _) in std::mem::take(&mut t.messages) {
            pulsed[vector as usize] = None;
        }
        assert_eq!(pulsed, [None; 8], "seed {seed}: an interrupt was lost");
        t.check_counts();
    }
    assert!(messages > 500, "{messages} messages");
}

fn raw(sop: bool, eop: bool, tlp: &Tlp) -> Beat {
    Beat {
        sop,
        eop,
        header: tlp.header,
        data: 0x66,
    }
}

/// Every kind of malformed or unexpected TLP is dropped, counted and reported, and changes nothing.
#[test]
fn malformed_tlps_are_dropped() {
    let cfg = smooth("malformed");
    let (bar0, bar2, bdf) = (cfg.bar0, cfg.bar2, cfg.bdf);
    let write = |addr: u64, dws: usize, fbe: u32, lbe: u32| {
        Tlp::request(MEM, 8, 0, fbe, lbe, addr, dws, vec![0x66; dws * 4])
    };
    let good = write(bar2 + 0x100, 12, 0xf, 0xf);
    let whole = beats(&good);
    let cut = vec![whole[0], whole[1]];
    let mut early = cut.clone();
    early[1].eop = true;
    let mut long = whole.clone();
    long[2].eop = false;
    long.extend([raw(false, false, &good), raw(false, true, &good)]);
    let reply =
        |tag: u32, requester: u32| Tlp::completion(0, requester, tag, 0, 16, 0, vec![0; 16]);
    let mut cases: Vec<(&str, Vec<Beat>)> = vec![
        ("last BE of one DW", beats(&write(bar2, 1, 0xf, 0x1))),
        ("no last BE", beats(&write(bar2, 8, 0xf, 0))),
        ("no first BE", beats(&write(bar2, 8, 0, 0xf))),
        (
            "write across 4 KiB",
            beats(&write(bar2 + 0xff8, 4, 0xf, 0xf)),
        ),
        (
            "read across 4 KiB",
            beats(&Tlp::request(
                MEM,
                8,
                3,
                0xf,
                0xf,
                bar2 + 0xffc,
                2,
                Vec::new(),
            )),
        ),
        ("payload above MPS", beats(&write(bar2, 65, 0xf, 0xf))),
        ("prefix", beats(&good.clone().poke(0, 31, 1, 1))),
        ("unknown type", beats(&good.clone().poke(0, 24, 5, 0x1e))),
        (
            "completion of a locked read",
            beats(&reply(1, cfg.bdf).poke(0, 24, 5, 0xb)),
        ),
        (
            "atomic without data",
            beats(&Tlp::request(FETCH_ADD, 8, 3, 0xf, 0, bar2, 1, Vec::new())),
        ),
        ("ends early", early),
        ("ends late", long),
        ("starts nowhere", vec![raw(false, true, &good)]),
        (
            "starts nowhere, longer",
            vec![raw(false, false, &good), raw(false, true, &good)],
        ),
        ("poisoned write", beats(&good.clone().poke(0, 14, 1, 1))),
        (
            "write to nobody",
            beats(&write(bar2 + cfg.bar2_size, 12, 0xf, 0xf)),
        ),
        (
            "wide register write",
            beats(&write(bar0 + 0x40, 3, 0xf, 0xf)),
        ),
        ("completion of an idle tag", beats(&reply(5, cfg.bdf))),
        ("completion of a tag too high", beats(&reply(77, cfg.bdf))),
        (
            "completion for another function",
            beats(&reply(5, cfg.bdf ^ 8)),
        ),
        (
            "one beat of two",
            vec![raw(true, true, &write(bar2, 8, 0xf, 0xf))],
        ),
    ];
    // It fits no request, and is cut short besides.
    let long = Tlp::completion(0, bdf, 5, 0, 64, 0, vec![0; 64]);
    let mut stray = beats(&long);
    stray.truncate(2);
    cases.push(("a stray completion that is cut short", stray.clone()));
    stray[1].eop = true;
    cases.push(("a stray completion that ends early", stray));
    cases.push(("a stray completion of four beats", beats(&long)));
    // The rest of a TLP that never ends is told by the start of the next one.
    cases.push(("never ends", cut));
    let mut t = Bench::new(cfg, 5);
    for (n, (name, beats)) in cases.into_iter().enumerate() {
        let reported = t.errors.get(&MALFORMED).copied().unwrap_or(0);
        t.rx.push(beats);
        register_read(&mut t, 8);
        t.drain();
        assert_eq!(t.dropped, n as u64 + 1, "{name}: counted once");
        assert_eq!(
            t.errors.get(&MALFORMED).copied().unwrap_or(0),
            reported + 1,
            "{name}: reported"
        );
        assert_eq!(
            t.mmio.done,
            n as u64 + 1,
            "{name}: the next request is served"
        );
        t.check_memories();
    }
    assert_eq!(t.errors.len(), 1, "no other error: {:?}", t.errors);
}

/// A buffer full of writes to nobody, and broken TLPs behind them: each is counted.
#[test]
fn dropped_tlps_are_counted_one_by_one() {
    let cfg = smooth("counted");
    let mut t = Bench::new(cfg.clone(), 16);
    t.hold_registers = true;
    let first = t.mmio.write(&cfg, cfg.bar0 + 0x40, &[7; 8]);
    t.send(&first);
    for _ in 0..15 {
        let lost = t.mmio.write(&cfg, cfg.bar2 - 4096, &[1; 4]);
        t.send(&lost);
    }
    while !t.rx.is_idle() {
        t.step();
    }
    t.hold_registers = false;
    for _ in 0..200 {
        t.rx.push([raw(false, true, &first)]);
        t.hostile_drops += 1;
    }
    t.drain();
    assert_eq!(t.dropped, 215);
    t.check_counts();
    t.check_memories();
}

/// Messages are not an error.
#[test]
fn messages_of_the_host_are_ignored() {
    let mut t = Bench::new(smooth("messages"), 6);
    for data in [Vec::new(), vec![1; 8]] {
        let mut tlp = Tlp::request(0b10100, 8, 0, 0xf, 0, 1 << 40, data.len() / 4, data);
        tlp = tlp.poke(0, 29, 1, 1);
        t.send(&tlp);
        register_read(&mut t, 4);
    }
    t.drain();
    assert_eq!((t.mmio.done, t.dropped, t.errors.len()), (2, 0, 0));
}

/// Payloads of 4 KiB in one TLP, reads of 4 KiB, at the largest and the smallest limits.
#[test]
fn the_largest_requests_pass() {
    for mps in [0, 5] {
        let mut cfg = smooth("largest");
        cfg.mps = mps;
        let mut t = Bench::new(cfg.clone(), 7);
        for page in 0..3 {
            let size = 128usize << mps;
            for at in (0..4096).step_by(size) {
                let bytes: Vec<u8> = (0..size).map(|i| (i / 7 + at + page) as u8).collect();
                let tlp = t
                    .mmio
                    .write(&cfg, cfg.bar2 + page as u64 * 4096 + at as u64, &bytes);
                t.send(&tlp);
            }
            for (at, len) in [(0, 4096), (1, 4095), (0, 4095), (4093, 3), (63, 66)] {
                let tlp = t
                    .mmio
                    .read(&cfg, cfg.bar2 + page as u64 * 4096 + at, len)
                    .expect("a tag");
                t.send(&tlp);
            }
        }
        t.drain();
        assert_eq!(t.mmio.done, 15);
        t.check_memories();
        t.check_counts();
    }
}

/// The device's own completions come in while the register bus stands still.
#[test]
fn completions_do_not_wait_behind_requests() {
    let mut t = Bench::new(smooth("independent"), 8);
    t.hold_registers = true;
    for n in 0..12 {
        let cfg = t.cfg.clone();
        let tlp = t.mmio.write(&cfg, cfg.bar0 + 8 * n, &[n as u8; 8]);
        t.send(&tlp);
    }
    for tag in 0..100 {
        t.sys.queue.push_back(SysReq {
            client: 1,
            op: READ,
            cas32: false,
            addr: 0x1000 + 16 * tag,
            strb: 0,
            data: 0,
            tag,
        });
    }
    for _ in 0..600 {
        t.step();
    }
    assert_eq!(t.sys.done, 100);
    t.hold_registers = false;
    t.drain();
    t.check_memories();
}

/// Timeout 0 waits for ever; a timeout set later ends what is open.
#[test]
fn no_timeout_means_no_timeout() {
    let mut cfg = smooth("timeout");
    cfg.timeout = 0;
    let mut t = Bench::new(cfg, 9);
    t.host.latency = 1;
    t.host.fail_percent = 100;
    t.host.only = Some(pcie::host::Fate::Silent);
    t.sys.queue.push_back(SysReq {
        client: 4,
        op: READ,
        cas32: false,
        addr: 0x1000,
        strb: 0,
        data: 0,
        tag: 1,
    });
    for _ in 0..20_000 {
        t.step();
    }
    assert_eq!((t.sys.done, t.errors.len()), (0, 0));
    t.b.set("cpl_timeout_i", 800);
    let start = t.cycle;
    while t.sys.done == 0 {
        t.step();
        assert!(t.cycle < start + 1100, "the timeout is kept to an eighth");
    }
    assert!(t.cycle >= start + 800);
    assert_eq!(t.errors, [(pcie::host::TIMEOUT, 1)].into());
    // The device goes on.
    t.host.fail_percent = 0;
    t.sys.queue.push_back(SysReq {
        client: 4,
        op: READ,
        cas32: false,
        addr: 0x1000,
        strb: 0,
        data: 0,
        tag: 1,
    });
    t.drain();
    assert_eq!((t.sys.done, t.sys.failed), (2, 1));
}

/// A completion that stops in its middle holds up neither its own timeout nor that of others.
#[test]
fn a_completion_that_never_ends_holds_up_nothing() {
    let mut cfg = smooth("stuck");
    cfg.timeout = 800;
    let mut t = Bench::new(cfg.clone(), 15);
    t.host.fail_percent = 100;
    t.host.only = Some(pcie::host::Fate::Silent);
    let read = SysReq {
        client: 4,
        op: READ,
        cas32: false,
        addr: 0x1000,
        strb: 0,
        data: 0,
        tag: 1,
    };
    t.burst.reads.push_back((0x10_0000, 256));
    while t.host.free_tag() == Some(0) {
        t.step();
    }
    t.sys.queue.push_back(read);
    while t.host.free_tag() == Some(1) {
        t.step();
    }
    let start = t.cycle;
    let whole = beats(&Tlp::completion(0, cfg.bdf, 0, 0, 256, 0, vec![0x31; 128]));
    t.rx.push(whole[..3].to_vec());
    while t.sys.done + t.burst.done < 2 {
        t.step();
        assert!(t.cycle < start + 1100, "both end by timeout");
    }
    assert_eq!(t.errors, [(pcie::host::TIMEOUT, 2)].into());
    // The rest comes after all, and then an ordinary read.
    t.rx.push(whole[3..].to_vec());
    t.host.fail_percent = 0;
    t.sys.queue.push_back(read);
    t.drain();
    assert_eq!(
        (t.sys.done, t.sys.failed, t.burst.failed, t.dropped),
        (2, 1, 1, 0)
    );
}

/// Cycles that `beats` beats of the transmit stream take once it flows.
fn cycles_for(t: &mut Bench, beats: u64) -> u64 {
    let goal = t.tx_beats() + 40;
    while t.tx_beats() < goal {
        t.step();
    }
    let (start, goal) = (t.cycle, t.tx_beats() + beats);
    while t.tx_beats() < goal {
        t.step();
    }
    t.cycle - start
}

/// Bursts of 256 bytes, aligned: one beat a cycle. Single-beat requests: one a cycle.
#[test]
fn streams_run_at_one_beat_a_cycle() {
    let mut t = Bench::new(smooth("burst writes"), 10);
    for n in 0..64 {
        t.burst
            .writes
            .push_back((0x10_0000 + 256 * n, vec![n as u8; 256]));
    }
    let cycles = cycles_for(&mut t, 640);
    // The form for FPGAs takes a cycle more for each TLP that a burst or a completion is cut into, and looks at a
    // completion in a cycle of its own.
    let each = u64::from(COMPACT);
    assert!(
        cycles <= 660 + 40 * each,
        "{cycles} cycles for 640 beats of burst writes"
    );
    t.drain();

    let mut t = Bench::new(smooth("single writes"), 11);
    for n in 0..300 {
        t.sys.queue.push_back(SysReq {
            client: 0,
            op: WRITE,
            cas32: false,
            addr: 16 * n,
            strb: 0xffff,
            data: 1,
            tag: 0,
        });
    }
    let cycles = cycles_for(&mut t, 200);
    assert!(cycles <= 201, "{cycles} cycles for 200 writes");
    t.drain();

    let mut t = Bench::new(smooth("burst reads"), 12);
    t.host.latency = 1;
    for n in 0..200 {
        t.burst.reads.push_back((0x10_0000 + 256 * n, 256));
    }
    while t.burst.done < 20 {
        t.step();
    }
    let start = t.cycle;
    while t.burst.done < 180 {
        t.step();
    }
    let cycles = t.cycle - start;
    assert!(
        cycles <= 160 * (16 + 2 * each) + 60,
        "{cycles} cycles for 2560 beats of burst reads"
    );
    t.drain();

    let mut t = Bench::new(smooth("aperture reads"), 13);
    let cfg = t.cfg.clone();
    t.vram.latency = 8;
    for n in 0..8 {
        let tlp = t
            .mmio
            .read(&cfg, cfg.bar2 + 4096 * (n % 4), 4096)
            .expect("a tag");
        t.send(&tlp);
    }
    let cycles = cycles_for(&mut t, 1500);
    assert!(
        cycles <= 1600 + 100 * each,
        "{cycles} cycles for 1500 beats of aperture reads"
    );
    t.drain();

    let mut t = Bench::new(smooth("aperture writes"), 14);
    for n in 0..40 {
        let tlp = t.mmio.write(&cfg, cfg.bar2 + 256 * n, &[n as u8; 256]);
        t.send(&tlp);
    }
    let start = t.cycle;
    while !t.rx.is_idle() {
        t.step();
    }
    let cycles = t.cycle - start;
    assert!(
        cycles <= 640 + 20 + 80 * each,
        "{cycles} cycles for 640 beats of aperture writes"
    );
    t.drain();
    t.check_memories();
}
