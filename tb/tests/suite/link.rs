//! The link: rates, overhead, latency, credits, ordering.

use hmmu::rc::tlp::{Completion, ReadReq, Status, Tlp, WriteReq};
use hmmu::rc::{
    Amount, CreditLimits, Dllp, FlowClass, Link, LinkConfig, LinkSpec, RcConfig, payload_share,
};

/// A clock at which a lane of the first generation carries a byte a cycle.
const CLOCK: u64 = 250_000_000;

fn spec(text: &str) -> LinkSpec {
    text.parse().expect("a link")
}

fn config(link: &str, latency: u64) -> LinkConfig {
    LinkConfig {
        spec: spec(link),
        clock_hz: CLOCK,
        latency,
        jitter: 0,
        credits: CreditLimits::LARGEST,
        mps: 256,
        seed: 1,
    }
}

fn write(n: u8, bytes: usize) -> Tlp {
    Tlp::Write(WriteReq {
        requester: 0,
        tag: n,
        addr: 0,
        first_be: 0xf,
        last_be: if bytes == 4 { 0 } else { 0xf },
        data: vec![0; bytes],
        poisoned: false,
    })
}

fn read(n: u8) -> Tlp {
    Tlp::Read(ReadReq {
        requester: 0,
        tag: n,
        addr: 0,
        dwords: 1,
        first_be: 0xf,
        last_be: 0,
    })
}

fn completion(n: u8) -> Tlp {
    Tlp::Completion(Completion {
        completer: 0,
        requester: 0,
        tag: n,
        status: Status::Success,
        byte_count: 64,
        lower_addr: 0,
        data: vec![0; 64],
        poisoned: false,
    })
}

fn number(tlp: &Tlp) -> u8 {
    match tlp {
        Tlp::Write(req) => req.tag,
        Tlp::Read(req) => req.tag,
        Tlp::Atomic(req) => req.tag,
        Tlp::Completion(cpl) => cpl.tag,
    }
}

/// What arrives until cycle `end`, and when.
fn arrivals(link: &mut Link, from: u64, end: u64) -> Vec<(u64, u8)> {
    let mut all = Vec::new();
    for now in from..end {
        link.pump(now);
        while let Some(tlp) = link.receive(now) {
            all.push((now, number(&tlp)));
        }
    }
    all
}

#[test]
fn links_have_their_names_and_rates() {
    for bad in [
        "gen3", "3x8", "gen0x8", "gen6x1", "gen3x3", "genx", "gen3x8 ",
    ] {
        assert!(bad.parse::<LinkSpec>().is_err(), "{bad}");
    }
    // GT/s, and bits that carry ten or 130.
    for (generation, giga, coded) in [
        (1, 2.5, 0.8),
        (2, 5.0, 0.8),
        (3, 8.0, 128.0 / 130.0),
        (4, 16.0, 128.0 / 130.0),
        (5, 32.0, 128.0 / 130.0),
    ] {
        for lanes in [1, 2, 4, 8, 16] {
            let spec = spec(&format!("gen{generation}x{lanes}"));
            let want = giga * 1e9 * coded / 8.0 * f64::from(lanes);
            let have = spec.bytes_per_second() as f64;
            assert!((have / want - 1.0).abs() < 1e-6, "{spec}: {have} {want}");
        }
    }
}

#[test]
fn packets_take_their_time_on_the_wire_and_then_the_latency() {
    // Four bytes a cycle: 64 bytes of data, a header of 12 and 8 of framing take 21 cycles.
    let mut link = Link::new(&config("gen1x4", 100));
    link.send(0, write(1, 64));
    link.send(0, write(2, 64));
    assert_eq!(arrivals(&mut link, 0, 500), [(121, 1), (142, 2)]);
    assert_eq!(link.bytes(), 2 * 76);
    assert_eq!(link.wire_bytes(), 2 * 84);
    assert!(link.is_idle());
}

/// Payload bytes that a direction carries in `cycles` when its sender always has more.
fn carried(link: &mut Link, cycles: u64, payload: usize) -> u64 {
    let mut bytes = 0;
    for now in 0..cycles {
        while link.ready(now) {
            link.send(now, write(0, payload));
        }
        link.pump(now);
        while let Some(tlp) = link.receive(now) {
            bytes += tlp.payload().len() as u64;
            link.free(now, FlowClass::Posted, Amount::of(&tlp));
        }
        // The other direction is idle: what the receiver tells is there at once.
        for dllp in link.due(now) {
            link.told(dllp);
        }
    }
    bytes
}

#[test]
fn one_direction_carries_what_the_overhead_leaves() {
    for link in ["gen1x1", "gen2x4", "gen3x8", "gen4x8", "gen5x16"] {
        for mps in [128, 256, 512] {
            let cycles = 200_000;
            let bytes = carried(
                &mut Link::new(&LinkConfig {
                    mps,
                    ..config(link, 10)
                }),
                cycles,
                mps as usize,
            );
            let theory = spec(link).payload_rate(CLOCK, mps, 12) * cycles as f64;
            let share = bytes as f64 / theory;
            assert!((0.995..=1.001).contains(&share), "{link} {mps}: {share}");
        }
    }
    assert_eq!(payload_share(128, 12), 128.0 / 148.0);
    assert_eq!(payload_share(512, 16), 512.0 / 536.0);
}

/// What the receiver of one direction tells goes over the other.
fn exchange(now: u64, from: &mut Link, to: &mut Link) {
    for dllp in from.due(now) {
        to.send_dllp(dllp);
    }
    while let Some(dllp) = to.receive_dllp(now) {
        from.told(dllp);
    }
}

/// Two directions that tell each other what their receivers have to tell; payload bytes of each.
fn both(config: &LinkConfig, cycles: u64) -> [u64; 2] {
    let mut links = [Link::new(config), Link::new(config)];
    let mut bytes = [0; 2];
    for now in 0..cycles {
        for (link, bytes) in links.iter_mut().zip(&mut bytes) {
            while link.ready(now) {
                link.send(now, write(0, config.mps as usize));
            }
            link.pump(now);
            while let Some(tlp) = link.receive(now) {
                *bytes += tlp.payload().len() as u64;
                link.free(now, FlowClass::Posted, Amount::of(&tlp));
            }
        }
        let [a, b] = &mut links;
        exchange(now, a, b);
        exchange(now, b, a);
    }
    bytes
}

#[test]
fn both_directions_carry_what_dllps_leave() {
    for link in ["gen1x4", "gen3x8", "gen3x16"] {
        for mps in [128, 256, 512] {
            let config = LinkConfig {
                mps,
                ..config(link, 20)
            };
            let cycles = 200_000;
            let alone = spec(link).payload_rate(CLOCK, mps, 12) * cycles as f64;
            let theory = alone * (1.0 - spec(link).dllp_share(mps));
            for bytes in both(&config, cycles) {
                let share = bytes as f64 / theory;
                assert!((0.99..=1.01).contains(&share), "{link} {mps}: {share}");
                assert!((bytes as f64) < 0.999 * alone, "DLLPs take their part");
            }
        }
    }
}

#[test]
fn acknowledgements_come_at_the_specifications_intervals() {
    // Table of section 3.6.3.1, 2.5 GT/s, in symbol times.
    for (link, mps, want) in [
        ("gen1x1", 128, 237),
        ("gen1x4", 256, 118),
        ("gen1x8", 128, 67),
        ("gen1x8", 512, 86),
        ("gen1x16", 256, 72),
        ("gen1x16", 512, 86),
    ] {
        assert_eq!(spec(link).ack_limit(mps), want, "{link} {mps}");
    }
}

/// Credits of one class for `header` TLPs and `data` units; all others without end.
fn limited(class: FlowClass, header: u32, data: u32) -> CreditLimits {
    let mut limits = CreditLimits {
        posted: None,
        non_posted: None,
        completion: None,
    };
    let of = match class {
        FlowClass::Posted => &mut limits.posted,
        FlowClass::NonPosted => &mut limits.non_posted,
        FlowClass::Completion => &mut limits.completion,
    };
    *of = Some(Amount { header, data });
    limits
}

#[test]
fn a_packet_waits_for_the_credits_of_its_class() {
    let make = |class, n| match class {
        FlowClass::Posted => write(n, 64),
        FlowClass::NonPosted => read(n),
        FlowClass::Completion => completion(n),
    };
    for class in FlowClass::ALL {
        // Two headers; then four units of data, as much as one packet has.
        for (header, data, first) in [(2, 100, 2), (100, 4, 1)] {
            if class == FlowClass::NonPosted && data == 4 {
                continue;
            }
            let mut link = Link::new(&LinkConfig {
                credits: limited(class, header, data),
                ..config("gen3x8", 5)
            });
            for n in 0..4 {
                link.send(0, make(class, n));
            }
            let came = arrivals(&mut link, 0, 1000);
            assert_eq!(
                came.len(),
                first,
                "{class:?}, {header} headers, {data} units"
            );
            // The receiver has room for one more.
            link.free(1000, class, Amount::of(&make(class, 0)));
            let mut told = None;
            for now in 1000..2000 {
                for dllp in link.due(now) {
                    if matches!(dllp, Dllp::UpdateFc(..)) {
                        told = told.or(Some(now));
                    }
                    link.told(dllp);
                }
                link.pump(now);
            }
            let interval =
                spec("gen3x8").ack_limit(256) * CLOCK / spec("gen3x8").lane_bytes_per_second();
            assert_eq!(
                told,
                Some(1000 + interval),
                "UpdateFC comes after its interval"
            );
            assert_eq!(arrivals(&mut link, 2000, 2100).len(), 1);
            assert!(!link.is_idle());
        }
    }
}

#[test]
fn an_update_of_credits_takes_the_way_back() {
    let config = LinkConfig {
        credits: limited(FlowClass::Posted, 1, 100),
        ..config("gen3x8", 50)
    };
    let (mut there, mut back) = (Link::new(&config), Link::new(&config));
    there.send(0, write(0, 64));
    there.send(0, write(1, 64));
    let mut came = Vec::new();
    for now in 0..1000 {
        there.pump(now);
        while let Some(tlp) = there.receive(now) {
            came.push(now);
            there.free(now, FlowClass::Posted, Amount::of(&tlp));
        }
        for dllp in there.due(now) {
            back.send_dllp(dllp);
        }
        back.pump(now);
        while let Some(dllp) = back.receive_dllp(now) {
            there.told(dllp);
        }
    }
    let [first, second] = came[..] else {
        panic!("{came:?}")
    };
    let interval = spec("gen3x8").ack_limit(256) * CLOCK / spec("gen3x8").lane_bytes_per_second();
    // The way back, the way there; a cycle each on the wire, and the packet's three.
    let way = 50 + 50 + interval;
    assert!((first + way..first + way + 8).contains(&second), "{came:?}");
}

#[test]
fn packets_pass_each_other_as_the_ordering_table_says() {
    let order = |class, sent: &[Tlp]| {
        let mut link = Link::new(&LinkConfig {
            credits: limited(class, 0, 0),
            ..config("gen3x8", 5)
        });
        for tlp in sent {
            link.send(0, tlp.clone());
        }
        let came = arrivals(&mut link, 0, 500);
        came.iter().map(|(_, n)| *n).collect::<Vec<_>>()
    };
    // Posted requests and completions pass a non-posted request that is held up.
    let all = [read(0), write(1, 64), completion(2), write(3, 4)];
    assert_eq!(order(FlowClass::NonPosted, &all), [1, 2, 3]);
    // Nothing passes a posted request, and what came before it goes.
    let all = [read(0), write(1, 64), completion(2), read(3), write(4, 4)];
    assert_eq!(order(FlowClass::Posted, &all), [0]);
    // A completion that is held up holds up its kind alone: requests may pass it.
    let all = [completion(0), write(1, 64), read(2), completion(3)];
    assert_eq!(order(FlowClass::Completion, &all), [1, 2]);
    // Nobody passes anybody while there is room.
    let mut link = Link::new(&config("gen3x8", 5));
    for n in 0..30 {
        let tlp = match n % 3 {
            0 => read(n),
            1 => write(n, 128),
            _ => completion(n),
        };
        link.send(0, tlp);
    }
    let came: Vec<u8> = arrivals(&mut link, 0, 500).iter().map(|a| a.1).collect();
    assert_eq!(came, (0..30).collect::<Vec<u8>>());
}

#[test]
fn requests_without_credits_do_not_close_the_sender() {
    let mut link = Link::new(&LinkConfig {
        credits: limited(FlowClass::NonPosted, 0, 0),
        ..config("gen1x1", 5)
    });
    for n in 0..200 {
        link.send(0, read(n));
    }
    assert!(
        link.ready(0),
        "a posted request must get to where it can pass"
    );
    let mut link = Link::new(&LinkConfig {
        credits: limited(FlowClass::Posted, 0, 0),
        ..config("gen1x1", 5)
    });
    link.send(0, write(0, 256));
    assert!(!link.ready(0));
}

#[test]
fn jitter_is_bounded_and_keeps_the_order() {
    let mut link = Link::new(&LinkConfig {
        jitter: 40,
        credits: limited(FlowClass::Completion, 1, 4),
        ..config("gen3x16", 100)
    });
    let mut came = Vec::new();
    for now in 0..40_200 {
        if now % 200 == 0 && now < 40_000 {
            link.send(now, read((now / 200) as u8));
        }
        link.pump(now);
        while let Some(tlp) = link.receive(now) {
            came.push((now % 200, number(&tlp)));
        }
    }
    assert!(came.iter().map(|c| c.1).eq(0..200));
    let (least, most) = (
        came.iter().map(|c| c.0).min().expect("some"),
        came.iter().map(|c| c.0).max().expect("some"),
    );
    assert!(
        least >= 101 && most <= 142 && most - least > 30,
        "{least}..{most}"
    );
    // Packets that follow each other closely wait for the slowest.
    for n in 0..100 {
        link.send(50_000, read(n));
    }
    let came = arrivals(&mut link, 50_000, 51_000);
    assert!(came.iter().map(|c| c.1).eq(0..100));
}

#[test]
fn what_a_receiver_cannot_take_is_refused() {
    let small = limited(FlowClass::Posted, 4, 15);
    assert!(small.check(256).is_err(), "256 bytes are 16 units");
    assert!(limited(FlowClass::Posted, 1, 16).check(256).is_ok());
    assert!(limited(FlowClass::NonPosted, 0, 4).check(256).is_err());
    assert!(CreditLimits::LARGEST.check(4096).is_ok());
    assert!(RcConfig::default().device_credits.check(256).is_ok());
}
