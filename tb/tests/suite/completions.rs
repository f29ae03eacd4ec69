//! Completions of the root complex: sizes, splitting, order.

use std::collections::BTreeMap;

use crate::common::bench::{Bench, DEVICE};
use hmmu::rc::tlp::{ReadReq, Status, Tlp, WriteReq, byte_enables};
use hmmu::rc::{CompleterConfig, CompletionOrder, PortError, RcConfig, Split};

/// Reads of a device, all at once; their completions, checked by the rules, in the order of coming.
fn completions(config: &RcConfig, reads: &[(u64, usize)]) -> Vec<(u8, usize)> {
    let mut bench = Bench::with(config);
    let mut open = BTreeMap::new();
    for (tag, (addr, len)) in reads.iter().enumerate() {
        let (base, dwords, first_be, last_be) = byte_enables(*addr, *len);
        open.insert(tag as u8, (*addr, *len));
        bench.out.push_back(Tlp::Read(ReadReq {
            requester: DEVICE,
            tag: tag as u8,
            addr: base,
            dwords,
            first_be,
            last_be,
        }));
    }
    let mut came = Vec::new();
    for _ in 0..100_000 {
        if open.is_empty() {
            return came;
        }
        let Some(tlp) = bench.clock() else { continue };
        let Tlp::Completion(cpl) = tlp else {
            panic!("{tlp:?}")
        };
        let (addr, left) = open[&cpl.tag];
        assert_eq!(
            (cpl.status, usize::from(cpl.byte_count % 4096)),
            (Status::Success, left % 4096)
        );
        assert!(cpl.data.len() as u64 <= config.completer.mps);
        let here = (cpl.data.len() - (addr % 4) as usize).min(left);
        came.push((cpl.tag, here));
        if here == left {
            open.remove(&cpl.tag);
        } else {
            let next = addr + here as u64;
            assert_eq!(next % config.completer.rcb, 0);
            open.insert(cpl.tag, (next, left - here));
        }
    }
    panic!("no completion for {open:?}");
}

#[test]
fn sizes_are_honoured_in_all_combinations() {
    for mps in [128, 256, 512] {
        for rcb in [64, 128] {
            for mrrs in [128, 256, 512, 1024, 2048, 4096] {
                for split in [Split::Drawn, Split::Largest, Split::Smallest] {
                    let mut config = Bench::config(mps ^ mrrs ^ rcb);
                    config.completer = CompleterConfig {
                        mps,
                        rcb,
                        split,
                        ..config.completer
                    };
                    config.mrrs = mrrs;
                    let reads = [
                        (0x1000, mrrs as usize),
                        (0x2004, mrrs as usize - 8),
                        (0x3ffc, 4),
                        (0x2fc1, 63),
                        (0x203f, 2),
                    ];
                    let came = completions(&config, &reads);
                    let of = |tag| came.iter().filter(|c| c.0 == tag).count() as u64;
                    // The first read is aligned: as many completions as the sizes ask for.
                    match split {
                        Split::Largest => assert_eq!(of(0), mrrs.div_ceil(mps)),
                        Split::Smallest => assert_eq!(of(0), mrrs / rcb),
                        Split::Drawn => assert!(of(0) >= mrrs.div_ceil(mps)),
                    }
                }
            }
        }
    }
}

#[test]
fn completions_of_several_reads_come_in_the_order_that_was_chosen() {
    let reads: Vec<(u64, usize)> = (0..8).map(|n| (n * 4096, 1024)).collect();
    let order = |order| {
        let mut config = Bench::config(9);
        config.completer = CompleterConfig {
            order,
            split: Split::Smallest,
            ..config.completer
        };
        let came: Vec<u8> = completions(&config, &reads).iter().map(|c| c.0).collect();
        // How often another read's completion follows.
        let changes = came.windows(2).filter(|pair| pair[0] != pair[1]).count();
        (came.is_sorted(), changes)
    };
    assert_eq!(order(CompletionOrder::Arrival), (true, 7));
    let (sorted, changes) = order(CompletionOrder::Ready);
    assert!(!sorted && changes < 16, "{changes}");
    let (sorted, changes) = order(CompletionOrder::Any);
    assert!(!sorted && changes > 60, "{changes} of 127");
}

#[test]
fn requests_larger_than_was_configured_are_malformed() {
    let mut config = Bench::config(1);
    config.mrrs = 256;
    config.completer.mps = 128;
    let mut bench = Bench::with(&config);
    let read = |dwords| {
        Tlp::Read(ReadReq {
            requester: DEVICE,
            tag: 0,
            addr: 0,
            dwords,
            first_be: 0xf,
            last_be: 0xf,
        })
    };
    let write = |bytes: usize| {
        Tlp::Write(WriteReq {
            requester: DEVICE,
            tag: 0,
            addr: 0,
            first_be: 0xf,
            last_be: 0xf,
            data: vec![0xee; bytes],
            poisoned: false,
        })
    };
    let before = bench.host.memory.clone();
    bench.out.extend([read(65), write(132)]);
    let completed = (0..500).filter_map(|_| bench.clock()).count();
    assert_eq!(completed, 0);
    assert_eq!(bench.host.port_errors, [PortError::Malformed; 2]);
    assert_eq!(bench.host.memory, before);
    bench.out.extend([read(64), write(128)]);
    let completed = (0..500).filter_map(|_| bench.clock()).count();
    assert!(completed >= 2, "256 bytes in completions of 128");
    assert_eq!(bench.host.port_errors.len(), 2);
    assert_eq!(bench.host.memory[..128], [0xee; 128]);
}
