//! The TLP codec against headers written out by hand from the specification, and against itself.

use hmmu::rc::AtomicOp;
use hmmu::rc::tlp::{
    AtomicReq, Completion, ReadReq, Status, Tlp, TlpError, WriteReq, byte_enables, enabled_span,
};
use hmmu::rc::{Collector, Feeder};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

fn header(bytes: [u8; 16]) -> u128 {
    u128::from_be_bytes(bytes)
}

#[test]
fn read_headers_are_the_specifications() {
    // Figure 2-5: fmt 000 type 00000, length 16 DW, requester 01:00.0, tag 0x2a, all bytes, address 0x1234_5678.
    let short = Tlp::Read(ReadReq {
        requester: 0x0100,
        tag: 0x2a,
        addr: 0x1234_5678,
        dwords: 16,
        first_be: 0xf,
        last_be: 0xf,
    });
    let bits = header([
        0x00, 0, 0, 0x10, 0x01, 0x00, 0x2a, 0xff, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0,
    ]);
    assert_eq!(short.header(), bits);
    assert_eq!(Tlp::decode(bits, &[]), Ok(short));
    // The same beyond 4 GiB takes four DWs (fmt 001).
    let long = Tlp::Read(ReadReq {
        requester: 0x0100,
        tag: 0x2a,
        addr: 0x40_1234_5678,
        dwords: 1,
        first_be: 0x3,
        last_be: 0,
    });
    let bits = header([
        0x20, 0, 0, 0x01, 0x01, 0x00, 0x2a, 0x03, 0, 0, 0, 0x40, 0x12, 0x34, 0x56, 0x78,
    ]);
    assert_eq!(long.header(), bits);
    assert_eq!(Tlp::decode(bits, &[]), Ok(long));
}

#[test]
fn write_atomic_and_completion_headers_are_the_specifications() {
    let write = Tlp::Write(WriteReq {
        requester: 0x0100,
        tag: 0,
        addr: 0xfee0_0000,
        first_be: 0xf,
        last_be: 0,
        data: vec![3, 0, 0, 0],
        poisoned: false,
    });
    let bits = header([
        0x40, 0, 0, 0x01, 0x01, 0x00, 0, 0x0f, 0xfe, 0xe0, 0, 0, 0, 0, 0, 0,
    ]);
    assert_eq!(write.header(), bits);
    assert_eq!(Tlp::decode(bits, &[3, 0, 0, 0]), Ok(write));

    // CAS of 8 bytes: fmt 010 type 01110, 4 DWs of operands.
    let cas = Tlp::Atomic(AtomicReq {
        op: AtomicOp::Cas,
        requester: 0x0100,
        tag: 7,
        addr: 0x1008,
        data: (0..16).collect(),
    });
    let bits = header([
        0x4e, 0, 0, 0x04, 0x01, 0x00, 7, 0, 0, 0, 0x10, 0x08, 0, 0, 0, 0,
    ]);
    assert_eq!(cas.header(), bits);
    assert_eq!(Tlp::decode(bits, &(0..16).collect::<Vec<u8>>()), Ok(cas));

    // CplD: fmt 010 type 01010; status 000, 64 bytes to come; requester 01:00.0, tag 9, lower address 0x40.
    let cpl = Tlp::Completion(Completion {
        completer: 0,
        requester: 0x0100,
        tag: 9,
        status: Status::Success,
        byte_count: 64,
        lower_addr: 0x40,
        data: vec![0xab; 64],
        poisoned: false,
    });
    let bits = header([
        0x4a, 0, 0, 0x10, 0, 0, 0, 64, 0x01, 0x00, 9, 0x40, 0, 0, 0, 0,
    ]);
    assert_eq!(cpl.header(), bits);
    assert_eq!(Tlp::decode(bits, &[0xab; 64]), Ok(cpl));

    // A Cpl that says Unsupported Request.
    let bits = header([0x0a, 0, 0, 0, 0, 0, 0x20, 4, 0x01, 0x00, 9, 0, 0, 0, 0, 0]);
    let Ok(Tlp::Completion(cpl)) = Tlp::decode(bits, &[]) else {
        panic!("not a completion")
    };
    assert_eq!(
        (cpl.status, cpl.tag, cpl.data.len()),
        (Status::Unsupported, 9, 0)
    );
}

#[test]
fn malformed_packets_are_refused() {
    let good = |dw: [u8; 16]| header(dw);
    let base = [
        0x40, 0, 0, 0x02, 0x01, 0, 0, 0xff, 0, 0, 0x10, 0, 0, 0, 0, 0,
    ];
    assert!(Tlp::decode(good(base), &[0; 8]).is_ok());
    assert!(matches!(
        Tlp::decode(good(base), &[0; 4]),
        Err(TlpError::Length {
            header: 8,
            payload: 4
        })
    ));
    let mut config = base;
    config[0] = 0x44;
    assert!(matches!(
        Tlp::decode(good(config), &[0; 8]),
        Err(TlpError::Kind { .. })
    ));
    let mut enables = base;
    enables[7] = 0x0f;
    assert!(matches!(
        Tlp::decode(good(enables), &[0; 8]),
        Err(TlpError::ByteEnables { .. })
    ));
    let mut crossing = base;
    crossing[10] = 0x1f;
    crossing[11] = 0xfc;
    assert!(matches!(
        Tlp::decode(good(crossing), &[0; 8]),
        Err(TlpError::Crosses { .. })
    ));
    // A request that ends exactly at the edge is legal.
    crossing[11] = 0xf8;
    assert!(Tlp::decode(good(crossing), &[0; 8]).is_ok());
}

#[test]
fn byte_enables_and_spans_are_each_others_inverse() {
    for addr in 0x1000..0x1010_u64 {
        for len in 1..40_usize {
            let (base, dwords, first, last) = byte_enables(addr, len);
            assert_eq!(base % 4, 0);
            assert_eq!(
                enabled_span(base, dwords, first, last),
                (addr, len),
                "{len} bytes at {addr:#x}"
            );
        }
    }
    assert_eq!(byte_enables(0x1000, 0), (0x1000, 1, 0, 0));
    assert_eq!(enabled_span(0x1000, 1, 0, 0), (0x1000, 0));
}

#[test]
fn beats_bring_back_the_packet() {
    let mut rng = Pcg32::seed_from_u64(1);
    for round in 0..500 {
        let dwords = rng.random_range(1..=64_usize);
        let data: Vec<u8> = (0..dwords * 4).map(|_| rng.random()).collect();
        let (first_be, last_be) = if dwords == 1 { (0xf, 0) } else { (0xf, 0xf) };
        let addr = u64::from(rng.random::<u32>() & !0xfff) << rng.random_range(0..8);
        let tlp = match rng.random_range(0..3) {
            0 => Tlp::Read(ReadReq {
                requester: 1,
                tag: 2,
                addr,
                dwords: dwords as u16,
                first_be,
                last_be,
            }),
            1 => Tlp::Write(WriteReq {
                requester: 1,
                tag: 2,
                addr,
                first_be,
                last_be,
                data,
                poisoned: false,
            }),
            _ => Tlp::Completion(Completion {
                completer: 3,
                requester: 4,
                tag: 5,
                status: Status::Success,
                byte_count: data.len() as u16,
                lower_addr: 0,
                data,
                poisoned: round % 2 == 0,
            }),
        };
        let mut feeder = Feeder::default();
        let mut collector = Collector::default();
        feeder.load(&tlp);
        let mut got = None;
        while let Some(beat) = feeder.beat() {
            feeder.advance();
            assert!(got.is_none(), "round {round}: a beat after the end");
            got = collector.push(&beat).expect("a good packet");
        }
        assert_eq!(got, Some(tlp), "round {round}");
    }
}
