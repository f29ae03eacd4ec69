//! The root complex without a device: completions, AtomicOps, host requests, interrupts.

use std::collections::BTreeMap;

use crate::common::bench::{BAR0, BAR2, Bench, DEVICE, Host, MEMORY, MPS, RCB};
use hmmu::rc::tlp::{AtomicReq, Completion, ReadReq, Status, Tlp, WriteReq, byte_enables};
use hmmu::rc::{AtomicOp, HostRequest, LinkSpec, ReadError, Window};
use rand::Rng;

#[test]
fn reads_are_completed_by_the_rules() {
    for seed in 0..20 {
        let mut bench = Bench::new(seed);
        let mut open: BTreeMap<u8, (u64, usize)> = BTreeMap::new();
        for tag in 0..64_u8 {
            let len = bench.rng.random_range(1..=512_usize);
            let page = bench.rng.random_range(0..MEMORY as u64 / 4096) * 4096;
            let addr = page + bench.rng.random_range(0..=4096 - len as u64);
            let (base, dwords, first_be, last_be) = byte_enables(addr, len);
            open.insert(tag, (addr, len));
            bench.out.push_back(Tlp::Read(ReadReq {
                requester: DEVICE,
                tag,
                addr: base,
                dwords,
                first_be,
                last_be,
            }));
        }
        let mut order = Vec::new();
        for _ in 0..20_000 {
            let Some(tlp) = bench.clock() else { continue };
            let Tlp::Completion(cpl) = tlp else {
                panic!("seed {seed}: {tlp:?}")
            };
            let (addr, left) = open[&cpl.tag];
            assert_eq!(cpl.status, Status::Success);
            assert_eq!(
                usize::from(cpl.byte_count),
                left,
                "seed {seed}, tag {}",
                cpl.tag
            );
            assert_eq!(
                u64::from(cpl.lower_addr),
                addr & 0x7f,
                "seed {seed}, tag {}",
                cpl.tag
            );
            assert!(cpl.data.len() as u64 <= MPS);
            let skip = (addr % 4) as usize;
            let here = (cpl.data.len() - skip).min(left);
            let want = &bench.host.memory[addr as usize..addr as usize + here];
            assert_eq!(
                &cpl.data[skip..skip + here],
                want,
                "seed {seed}, tag {}",
                cpl.tag
            );
            if here == left {
                open.remove(&cpl.tag);
                order.push(cpl.tag);
            } else {
                let next = addr + here as u64;
                assert_eq!(
                    next % RCB,
                    0,
                    "only the last completion may end off the boundary"
                );
                open.insert(cpl.tag, (next, left - here));
            }
        }
        assert!(open.is_empty(), "seed {seed}: no completion for {open:?}");
        assert!(
            !order.is_sorted(),
            "seed {seed}: tags complete in order only"
        );
        assert!(bench.complex.is_idle());
    }
}

#[test]
fn no_memory_is_an_unsupported_request() {
    let mut bench = Bench::new(1);
    let addr = MEMORY as u64 + 64;
    let read = ReadReq {
        requester: DEVICE,
        tag: 3,
        addr,
        dwords: 4,
        first_be: 0xf,
        last_be: 0xf,
    };
    bench.out.push_back(Tlp::Read(read));
    let cpl = (0..500).find_map(|_| bench.clock()).expect("a completion");
    let Tlp::Completion(Completion {
        status, tag, data, ..
    }) = cpl
    else {
        panic!("{cpl:?}")
    };
    assert_eq!((status, tag, data.len()), (Status::Unsupported, 3, 0));
}

#[test]
fn atomics_change_memory_and_answer_the_old_value() {
    let mut bench = Bench::new(2);
    let word =
        |host: &Host| u64::from_le_bytes(host.memory[64..72].try_into().expect("eight bytes"));
    let old = word(&bench.host);
    let run = |bench: &mut Bench, op, operands: &[u64]| {
        let data = operands
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        bench.out.push_back(Tlp::Atomic(AtomicReq {
            op,
            requester: DEVICE,
            tag: 9,
            addr: 64,
            data,
        }));
        let cpl = (0..500).find_map(|_| bench.clock()).expect("a completion");
        let Tlp::Completion(cpl) = cpl else {
            panic!("{cpl:?}")
        };
        assert_eq!(
            (cpl.status, cpl.tag, cpl.byte_count, cpl.lower_addr),
            (Status::Success, 9, 8, 0)
        );
        u64::from_le_bytes(cpl.data.try_into().expect("eight bytes"))
    };
    assert_eq!(run(&mut bench, AtomicOp::FetchAdd, &[5]), old);
    assert_eq!(
        run(&mut bench, AtomicOp::Cas, &[old, 1]),
        old.wrapping_add(5)
    );
    assert_eq!(
        word(&bench.host),
        old.wrapping_add(5),
        "the comparison failed"
    );
    assert_eq!(
        run(&mut bench, AtomicOp::Cas, &[old.wrapping_add(5), 1]),
        old.wrapping_add(5)
    );
    assert_eq!(run(&mut bench, AtomicOp::Swap, &[77]), 1);
    assert_eq!(word(&bench.host), 77);
}

#[test]
fn writes_honour_byte_enables_and_interrupts_follow_them() {
    let mut bench = Bench::new(3);
    let before = bench.host.memory[100..108].to_vec();
    let (addr, _, first_be, last_be) = byte_enables(101, 5);
    let write = |addr, first_be, last_be, data: Vec<u8>| {
        Tlp::Write(WriteReq {
            requester: DEVICE,
            tag: 0,
            addr,
            first_be,
            last_be,
            data,
            poisoned: false,
        })
    };
    bench
        .out
        .push_back(write(addr, first_be, last_be, vec![0xee; 8]));
    bench
        .out
        .push_back(write(0xfee0_0000, 0xf, 0, vec![3, 0, 0, 0]));
    let mut clocks = 0;
    while bench.host.raised.is_empty() && clocks < 500 {
        bench.clock();
        clocks += 1;
    }
    assert_eq!(bench.host.raised, [3]);
    assert_eq!(
        bench.host.memory[101..106],
        [0xee; 5],
        "written before the interrupt"
    );
    assert_eq!(
        (bench.host.memory[100], bench.host.memory[106]),
        (before[0], before[6])
    );
}

/// A device whose windows are plain memory; answers with completions of random size.
fn serve(bench: &mut Bench, tlp: Tlp, windows: &mut BTreeMap<u64, u8>) {
    match tlp {
        Tlp::Write(req) => {
            for (i, byte) in req.data.iter().enumerate() {
                let last = req.data.len() / 4 - 1;
                let be = match i / 4 {
                    0 => req.first_be,
                    n if n == last => req.last_be,
                    _ => 0xf,
                };
                if be >> (i % 4) & 1 == 1 {
                    windows.insert(req.addr + i as u64, *byte);
                }
            }
        }
        Tlp::Read(req) => {
            assert_eq!(
                (req.addr / 64),
                (req.addr + u64::from(req.dwords) * 4 - 1) / 64,
                "one line"
            );
            let (mut addr, mut left) =
                hmmu::rc::tlp::enabled_span(req.addr, req.dwords, req.first_be, req.last_be);
            let mut from = req.addr;
            let end = req.addr + u64::from(req.dwords) * 4;
            while from < end {
                // Splitting inside a line is not legal for a real completer; the requester takes it even so.
                let to = if bench.rng.random_ratio(1, 3) {
                    (from + 16).min(end)
                } else {
                    end
                };
                let data = (from..to)
                    .map(|at| windows.get(&at).copied().unwrap_or(0))
                    .collect();
                bench.out.push_back(Tlp::Completion(Completion {
                    completer: DEVICE,
                    requester: req.requester,
                    tag: req.tag,
                    status: Status::Success,
                    byte_count: left as u16,
                    lower_addr: (addr & 0x7f) as u8,
                    data,
                    poisoned: false,
                }));
                left = left.saturating_sub((to - addr) as usize);
                (addr, from) = (to, to);
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn host_accesses_reach_the_windows() {
    for seed in 0..20 {
        let mut bench = Bench::new(seed);
        let mut shadow: BTreeMap<u64, u8> = BTreeMap::new();
        let mut windows = BTreeMap::new();
        let mut expected = BTreeMap::new();
        for id in 0..100 {
            let (window, base) = if bench.rng.random() {
                (Window::Registers, BAR0)
            } else {
                (Window::Vram, BAR2)
            };
            let offset = bench.rng.random_range(0..1024);
            let len = bench.rng.random_range(1..=200_usize);
            if bench.rng.random() {
                let data: Vec<u8> = (0..len).map(|_| bench.rng.random()).collect();
                shadow.extend((base + offset..).zip(data.iter().copied()));
                bench.host.requests.push_back(HostRequest::Write {
                    window,
                    offset,
                    data,
                });
            } else {
                let at = |i| shadow.get(&(base + offset + i)).copied().unwrap_or(0);
                expected.insert(id, (0..len as u64).map(at).collect::<Vec<u8>>());
                bench.host.requests.push_back(HostRequest::Read {
                    id,
                    window,
                    offset,
                    len,
                });
            }
        }
        for _ in 0..20_000 {
            if let Some(tlp) = bench.clock() {
                serve(&mut bench, tlp, &mut windows);
            }
        }
        assert_eq!(bench.host.answers.len(), expected.len(), "seed {seed}");
        for (id, want) in expected {
            assert_eq!(bench.host.answers[&id], Ok(want), "seed {seed}, read {id}");
        }
        assert_eq!(windows, shadow, "seed {seed}");
    }
}

#[test]
fn refused_and_poisoned_reads_end_with_their_error() {
    let answers = [
        (Status::Unsupported, false, ReadError::Unsupported),
        (Status::Abort, false, ReadError::Abort),
        (Status::Success, true, ReadError::Poisoned),
    ];
    for (status, poisoned, want) in answers {
        let mut bench = Bench::new(5);
        bench.host.requests.push_back(HostRequest::Read {
            id: 1,
            window: Window::Registers,
            offset: 0,
            len: 8,
        });
        let Some(Tlp::Read(req)) = (0..500).find_map(|_| bench.clock()) else {
            panic!("no read came")
        };
        bench.out.push_back(Tlp::Completion(Completion {
            completer: DEVICE,
            requester: req.requester,
            tag: req.tag,
            status,
            byte_count: 8,
            lower_addr: 0,
            data: if status == Status::Success {
                vec![0; 8]
            } else {
                Vec::new()
            },
            poisoned,
        }));
        for _ in 0..500 {
            bench.clock();
        }
        assert_eq!(bench.host.answers.get(&1), Some(&Err(want)));
    }
}

#[test]
fn a_link_full_of_completions_lets_the_host_through() {
    let mut bench = Bench::with_link(
        6,
        LinkSpec {
            generation: 1,
            lanes: 1,
        },
    );
    let mut tag = 0_u8;
    let mut written = Vec::new();
    for now in 0..20_000_u64 {
        // The device reads all that the link carries, and more.
        if bench.out.len() < 4 {
            let read = ReadReq {
                requester: DEVICE,
                tag,
                addr: 0,
                dwords: 64,
                first_be: 0xf,
                last_be: 0xf,
            };
            bench.out.push_back(Tlp::Read(read));
            tag = tag.wrapping_add(1);
        }
        if now % 2000 == 1000 {
            let (window, offset) = (Window::Registers, 8);
            let data = now.to_le_bytes().to_vec();
            bench.host.requests.push_back(HostRequest::Write {
                window,
                offset,
                data,
            });
        }
        if let Some(Tlp::Write(req)) = bench.clock() {
            let sent = u64::from_le_bytes(req.data.try_into().expect("eight bytes"));
            written.push((sent, now - sent));
        }
    }
    assert_eq!(written.len(), 10);
    assert!(
        written.iter().all(|(_, took)| *took < 1000),
        "sent at, cycles on the way: {written:?}"
    );
}
