//! Errors on purpose: what each does to each kind of TLP, in both directions. The device is played by the test.

use crate::common::bench::{BAR0, Bench, DEVICE};
use hmmu::rc::tlp::{AtomicReq, Completion, ReadReq, Status, Tlp, TlpError, WriteReq};
use hmmu::rc::{
    AtomicOp, Direction, HostRequest, Injection, LinkError, PortError, Position, ReadError,
    TlpKind, Window,
};

const LONG: u64 = 300;

fn first(direction: Direction, kind: TlpKind, error: LinkError) -> Injection {
    Injection {
        at: Position {
            direction,
            kind: Some(kind),
            n: 0,
        },
        error,
    }
}

fn bench(injection: Injection) -> Bench {
    let mut bench = Bench::new(7);
    bench.complex.inject(&[injection]);
    bench
}

fn device_read(tag: u8) -> Tlp {
    Tlp::Read(ReadReq {
        requester: DEVICE,
        tag,
        addr: 0x1000,
        dwords: 16,
        first_be: 0xf,
        last_be: 0xf,
    })
}

fn device_write(addr: u64) -> Tlp {
    Tlp::Write(WriteReq {
        requester: DEVICE,
        tag: 0,
        addr,
        first_be: 0xf,
        last_be: 0xf,
        data: vec![0xee; 64],
        poisoned: false,
    })
}

/// What arrives at the device in so many cycles, and when.
fn arrivals(bench: &mut Bench, cycles: u64) -> Vec<(u64, Result<Tlp, TlpError>)> {
    (0..cycles)
        .filter_map(|cycle| bench.clock_any().map(|packet| (cycle, packet)))
        .collect()
}

/// The device reads 64 bytes; what it gets, and when.
fn read_completes(bench: &mut Bench, tag: u8) -> Vec<(u64, Result<Tlp, TlpError>)> {
    bench.out.push_back(device_read(tag));
    arrivals(bench, 1000)
}

fn good(tag: u8) -> Completion {
    let bench = Bench::new(0);
    Completion {
        completer: 0,
        requester: DEVICE,
        tag,
        status: Status::Success,
        byte_count: 64,
        lower_addr: 0,
        data: bench.host.memory[0x1000..0x1040].to_vec(),
        poisoned: false,
    }
}

fn refused(tag: u8, status: Status) -> Completion {
    Completion {
        status,
        data: Vec::new(),
        ..good(tag)
    }
}

/// One read, and another one, which must come through whatever happened to the first.
fn device_reads(at: Direction, kind: TlpKind, error: LinkError) -> Vec<Result<Tlp, TlpError>> {
    let mut bench = bench(first(at, kind, error));
    let came = read_completes(&mut bench, 5);
    let next = read_completes(&mut bench, 6);
    let next: Vec<_> = next.into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(next, [Ok(Tlp::Completion(good(6)))], "after {error}");
    let struck = bench.complex.struck();
    assert_eq!(struck.len(), 1);
    assert!(struck[0].applied && struck[0].kind == kind && struck[0].injection.error == error);
    assert!(bench.complex.is_idle());
    came.into_iter().map(|(_, packet)| packet).collect()
}

#[test]
fn a_devices_read_meets_each_error() {
    let reads = |kind, error| {
        let at = if kind == TlpKind::Read {
            Direction::ToHost
        } else {
            Direction::ToDevice
        };
        device_reads(at, kind, error)
    };
    for kind in [TlpKind::Read, TlpKind::Completion] {
        assert_eq!(reads(kind, LinkError::Drop), []);
        assert_eq!(
            reads(kind, LinkError::Unsupported),
            [Ok(Tlp::Completion(refused(5, Status::Unsupported)))]
        );
        assert_eq!(
            reads(kind, LinkError::Abort),
            [Ok(Tlp::Completion(refused(5, Status::Abort)))]
        );
        let Ok(Tlp::Completion(cpl)) = &reads(kind, LinkError::WrongTag)[0] else {
            panic!("no completion")
        };
        assert_eq!(cpl.tag, 5 | 0x80);
    }
    let poisoned = Completion {
        poisoned: true,
        ..good(5)
    };
    assert_eq!(
        reads(TlpKind::Completion, LinkError::Poison),
        [Ok(Tlp::Completion(poisoned))]
    );
    // The stream ends a beat before the Length that the header tells.
    let broken = &reads(TlpKind::Completion, LinkError::WrongLength)[0];
    assert!(matches!(broken, Err(TlpError::Length { .. })), "{broken:?}");
    // A request for more than was meant: completions say so in their byte count.
    let Ok(Tlp::Completion(cpl)) = &reads(TlpKind::Read, LinkError::WrongLength)[0] else {
        panic!("no completion")
    };
    assert_eq!(cpl.byte_count, 80);
}

#[test]
fn an_atomicop_meets_each_error() {
    for (error, status) in [
        (LinkError::Unsupported, Status::Unsupported),
        (LinkError::Abort, Status::Abort),
        (LinkError::Poison, Status::Unsupported),
    ] {
        let mut bench = bench(first(Direction::ToHost, TlpKind::Atomic, error));
        let before = bench.host.memory.clone();
        bench.out.push_back(Tlp::Atomic(AtomicReq {
            op: AtomicOp::FetchAdd,
            requester: DEVICE,
            tag: 9,
            addr: 64,
            data: vec![1; 8],
        }));
        let came = arrivals(&mut bench, 500);
        let Ok(Tlp::Completion(cpl)) = &came[0].1 else {
            panic!("{came:?}")
        };
        assert_eq!((cpl.status, cpl.tag, cpl.byte_count), (status, 9, 8));
        assert_eq!(bench.host.memory, before, "{error}: nothing was added");
    }
}

#[test]
fn a_devices_write_that_fails_is_dropped_and_logged() {
    for (error, logged) in [
        (LinkError::Unsupported, PortError::Unsupported),
        (LinkError::Abort, PortError::Aborted),
        (LinkError::Poison, PortError::Poisoned),
        (LinkError::WrongLength, PortError::Malformed),
    ] {
        let mut bench = bench(first(Direction::ToHost, TlpKind::Write, error));
        let before = bench.host.memory.clone();
        bench.out.push_back(device_write(0x2000));
        bench.out.push_back(device_write(0x3000));
        arrivals(&mut bench, 300);
        assert_eq!(bench.host.port_errors, [logged]);
        assert_eq!(bench.host.memory[..0x3000], before[..0x3000], "{error}");
        assert_eq!(bench.host.memory[0x3000..0x3040], [0xee; 64]);
    }
    // These cannot happen to a posted request.
    for error in [LinkError::Drop, LinkError::WrongTag] {
        let mut bench = bench(first(Direction::ToHost, TlpKind::Write, error));
        bench.out.push_back(device_write(0x2000));
        arrivals(&mut bench, 300);
        assert_eq!(bench.host.memory[0x2000..0x2040], [0xee; 64]);
        assert!(!bench.complex.struck()[0].applied);
    }
}

#[test]
fn an_interrupt_is_a_kind_of_its_own() {
    let mut bench = bench(first(
        Direction::ToHost,
        TlpKind::Interrupt,
        LinkError::Unsupported,
    ));
    let message = |vector| {
        Tlp::Write(WriteReq {
            requester: DEVICE,
            tag: 0,
            addr: 0xfee0_0000,
            first_be: 0xf,
            last_be: 0,
            data: vec![vector, 0, 0, 0],
            poisoned: false,
        })
    };
    bench.out.push_back(device_write(0x2000));
    bench.out.push_back(message(1));
    bench.out.push_back(message(2));
    arrivals(&mut bench, 300);
    assert_eq!(bench.host.raised, [2]);
    assert_eq!(bench.host.memory[0x2000], 0xee);
    let counts = bench.complex.counts();
    let of = |kind| counts.get(Direction::ToHost, kind);
    assert_eq!(of(Some(TlpKind::Interrupt)), 2);
    assert_eq!((of(Some(TlpKind::Write)), of(None)), (1, 3));
}

/// The host reads eight bytes of a register; the device answers. The answer, if any came.
fn host_read(bench: &mut Bench, id: u64, cycles: u64) -> Option<Result<Vec<u8>, ReadError>> {
    bench.host.requests.push_back(HostRequest::Read {
        id,
        window: Window::Registers,
        offset: 8,
        len: 8,
    });
    for _ in 0..cycles {
        let Some(Ok(Tlp::Read(req))) = bench.clock_any() else {
            continue;
        };
        assert_eq!(req.addr, BAR0 + 8);
        bench.out.push_back(Tlp::Completion(Completion {
            completer: DEVICE,
            requester: req.requester,
            tag: req.tag,
            status: Status::Success,
            byte_count: req.dwords * 4,
            lower_addr: 8,
            data: vec![0x5a; usize::from(req.dwords) * 4],
            poisoned: false,
        }));
    }
    bench.host.answers.remove(&id)
}

#[test]
fn a_hosts_read_meets_each_error() {
    let ok = Some(Ok(vec![0x5a; 8]));
    for (direction, kind) in [
        (Direction::ToDevice, TlpKind::Read),
        (Direction::ToHost, TlpKind::Completion),
    ] {
        for (error, want) in [
            (LinkError::Drop, None),
            (LinkError::WrongTag, None),
            (LinkError::Unsupported, Some(Err(ReadError::Unsupported))),
            (LinkError::Abort, Some(Err(ReadError::Abort))),
            (LinkError::Starve(LONG), ok.clone()),
            (LinkError::Retrain(LONG), ok.clone()),
            (LinkError::Down(LONG), Some(Err(ReadError::LinkDown))),
            (LinkError::Remove, None),
        ] {
            let mut bench = bench(first(direction, kind, error));
            let got = host_read(&mut bench, 1, 1000);
            if error == LinkError::Remove {
                assert_eq!(got, Some(Err(ReadError::LinkDown)), "it was under way");
                assert_eq!(host_read(&mut bench, 2, 10), Some(Ok(vec![0xff; 8])));
                continue;
            }
            assert_eq!(got, want, "{direction:?} {error}");
            assert_eq!(host_read(&mut bench, 2, 1000), ok, "after {error}");
        }
    }
    let mut poisoned = bench(first(
        Direction::ToHost,
        TlpKind::Completion,
        LinkError::Poison,
    ));
    assert_eq!(
        host_read(&mut poisoned, 1, 1000),
        Some(Err(ReadError::Poisoned))
    );
    let mut long = bench(first(
        Direction::ToHost,
        TlpKind::Completion,
        LinkError::WrongLength,
    ));
    assert_eq!(host_read(&mut long, 1, 1000), None);
    assert_eq!(long.host.port_errors, [PortError::Malformed]);
    let mut long = bench(first(
        Direction::ToDevice,
        TlpKind::Read,
        LinkError::WrongLength,
    ));
    let got = host_read(&mut long, 1, 1000);
    assert_eq!(got, Some(Err(ReadError::Malformed)));
}

#[test]
fn a_hosts_write_that_fails_arrives_so_that_the_device_sees_it() {
    let arrives = |error| {
        let mut bench = bench(first(Direction::ToDevice, TlpKind::Write, error));
        bench.host.requests.push_back(HostRequest::Write {
            window: Window::Registers,
            offset: 8,
            data: vec![1; 8],
        });
        let mut came = arrivals(&mut bench, 300);
        assert_eq!(came.len(), 1, "{error}");
        came.remove(0).1
    };
    let Ok(Tlp::Write(req)) = arrives(LinkError::Poison) else {
        panic!("no write")
    };
    assert!(req.poisoned && req.addr == BAR0 + 8);
    for error in [LinkError::Unsupported, LinkError::Abort] {
        let Ok(Tlp::Write(req)) = arrives(error) else {
            panic!("no write")
        };
        assert!(req.addr < BAR0, "in no window");
    }
    assert!(matches!(
        arrives(LinkError::WrongLength),
        Err(TlpError::Length { .. })
    ));
}

#[test]
fn nothing_is_lost_without_credits_or_while_the_link_retrains() {
    let plain = read_completes(&mut Bench::new(7), 5)[0].0;
    for (direction, kind) in [
        (Direction::ToHost, TlpKind::Read),
        (Direction::ToDevice, TlpKind::Completion),
    ] {
        for error in [LinkError::Starve(LONG), LinkError::Retrain(LONG)] {
            let mut bench = bench(first(direction, kind, error));
            bench.out.push_back(device_write(0x2000));
            let came = read_completes(&mut bench, 5);
            assert_eq!(came.len(), 1);
            let late = read_completes(&mut bench, 6);
            assert_eq!(late.len(), 1);
            assert_eq!(bench.host.memory[0x2000..0x2040], [0xee; 64]);
            // What comes next in a direction that is held up is late by it.
            let held = error == LinkError::Retrain(LONG) && kind == TlpKind::Read;
            assert_eq!(came[0].0 >= plain + LONG / 2, held, "{error} {kind:?}");
        }
    }
    // Two packets in a row: the second one of the direction waits.
    let mut bench = bench(first(
        Direction::ToHost,
        TlpKind::Write,
        LinkError::Starve(LONG),
    ));
    bench.out.push_back(device_write(0x2000));
    for _ in 0..100 {
        bench.clock();
    }
    bench.out.push_back(device_write(0x3000));
    let mut came = None;
    for cycle in 100..1000 {
        bench.clock();
        if came.is_none() && bench.host.memory[0x3000] == 0xee {
            came = Some(cycle);
        }
    }
    let came = came.expect("it comes");
    assert!((LONG..LONG + 100).contains(&came), "{came}");
}

#[test]
fn a_link_that_goes_down_loses_what_is_under_way_and_resets_the_device() {
    let mut bench = bench(first(
        Direction::ToHost,
        TlpKind::Write,
        LinkError::Down(LONG),
    ));
    bench.host.requests.push_back(HostRequest::Read {
        id: 1,
        window: Window::Registers,
        offset: 8,
        len: 8,
    });
    bench.out.push_back(device_read(1));
    bench.out.push_back(device_write(0x2000));
    bench.out.push_back(device_write(0x3000));
    let before = bench.host.memory.clone();
    let mut reset_at = None;
    for cycle in 0..200 {
        bench.clock_any();
        if bench.complex.take_reset() {
            assert_eq!(reset_at, None, "once");
            reset_at = Some(cycle);
            bench.out.clear();
            bench.feeder = hmmu::rc::Feeder::default();
            bench.collector = hmmu::rc::Collector::default();
        }
    }
    assert!(reset_at.is_some());
    assert_eq!(bench.host.memory, before);
    assert_eq!(bench.host.answers.get(&1), Some(&Err(ReadError::LinkDown)));
    assert_eq!(bench.host.port_errors, [PortError::LinkDown]);
    assert_eq!(arrivals(&mut bench, LONG), [], "the read was lost");
    let came = read_completes(&mut bench, 6);
    assert_eq!(came[0].1, Ok(Tlp::Completion(good(6))), "it is up again");
}

#[test]
fn a_device_that_was_taken_out_reads_as_ones() {
    let mut bench = bench(first(Direction::ToHost, TlpKind::Read, LinkError::Remove));
    assert_eq!(read_completes(&mut bench, 5), []);
    assert_eq!(bench.host.port_errors, [PortError::Removed]);
    assert_eq!(host_read(&mut bench, 1, 5), Some(Ok(vec![0xff; 8])));
    let before = bench.host.memory.clone();
    bench.out.push_back(device_write(0x2000));
    assert_eq!(arrivals(&mut bench, 300), []);
    assert_eq!(bench.host.memory, before, "nobody writes");
    assert!(!bench.complex.take_reset());
    bench.complex.hot_reset(&mut bench.host);
    assert_eq!(
        host_read(&mut bench, 2, 5),
        Some(Ok(vec![0xff; 8])),
        "gone for good"
    );
}

#[test]
fn positions_count_a_direction_or_a_kind() {
    for (kind, n, hit) in [
        (None, 2, Some(1)),
        (Some(TlpKind::Read), 2, Some(2)),
        (None, 1, None),
        (Some(TlpKind::Write), 0, None),
    ] {
        let mut bench = Bench::new(7);
        bench.complex.record();
        let at = Position {
            direction: Direction::ToHost,
            kind,
            n,
        };
        let error = LinkError::Unsupported;
        bench.complex.inject(&[Injection { at, error }]);
        // Kinds: read, write, read, read.
        bench.out.push_back(device_read(0));
        bench.out.push_back(device_write(0x2000));
        bench.out.push_back(device_read(1));
        bench.out.push_back(device_read(2));
        let refused = |packet: &Result<Tlp, TlpError>| match packet {
            Ok(Tlp::Completion(cpl)) if cpl.status == Status::Unsupported => Some(cpl.tag),
            _ => None,
        };
        let came = arrivals(&mut bench, 1000);
        let struck: Vec<u8> = came
            .iter()
            .filter_map(|(_, packet)| refused(packet))
            .collect();
        // A refused write is logged, a refused read is completed so.
        assert_eq!(struck, hit.into_iter().collect::<Vec<u8>>(), "{kind:?} {n}");
        assert_eq!(bench.host.port_errors.len(), usize::from(hit.is_none()));
        let kinds = bench.complex.recorded(Direction::ToHost);
        use TlpKind::{Read, Write};
        assert_eq!(kinds, [Read, Write, Read, Read]);
    }
}
