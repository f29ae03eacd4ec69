//! The compute unit: threads that end with an error.

mod cu_bench;

use cu_bench::memory::PortTiming;
use cu_bench::mmu::Page;
use cu_bench::scene::*;
use cu_bench::{Bench, End, Thread, Timing};
use hmmu_model::rv64::enc;
use hmmu_regs::JobStatus;

#[test]
fn addresses_that_cannot_be() {
    let bad = |code: &[u32], status: JobStatus, info: u64| {
        let end = end_of(code);
        assert_eq!(
            (end.status, end.info, end.result),
            (status as u8, info & 0xffff_ffff_ffff, u64::MAX),
            "{code:x?}"
        );
    };
    let high = [enc::addi(5, 0, 1), enc::slli(5, 5, 47)];
    let with = |tail: &[u32]| [&high[..], tail].concat();
    // Not canonical: load, store, atomics, jump.
    for op in [enc::ld(6, 5, 8), enc::sd(6, 5, 8), enc::sb(6, 5, 8)] {
        bad(
            &with(&[op, enc::ECALL]),
            JobStatus::BadAddress,
            (1 << 47) + 8,
        );
    }
    for op in [enc::amoadd_d(6, 5, 6), enc::lr_w(6, 5, 0)] {
        bad(&with(&[op, enc::ECALL]), JobStatus::BadAddress, 1 << 47);
    }
    bad(
        &with(&[enc::jalr(0, 5, 16)]),
        JobStatus::BadAddress,
        (1 << 47) + 16,
    );
    // The last address of the lower half is one; SC without a reservation makes no access.
    let end = end_of(&with(&[enc::sc_d(10, 5, 6), enc::ECALL]));
    assert_eq!((end.status, end.result), (OK, 1));
    // Misaligned.
    for (op, offset) in [
        (enc::lh(6, 10, 1), 1),
        (enc::lw(6, 10, 2), 2),
        (enc::ld(6, 10, 4), 4),
        (enc::lwu(6, 10, 3), 3),
    ] {
        bad(&[op, enc::ECALL], JobStatus::Misaligned, DATA + offset);
    }
    for (op, offset) in [
        (enc::sh(6, 10, 1), 1),
        (enc::sw(6, 10, 2), 2),
        (enc::sd(6, 10, 4), 4),
    ] {
        bad(&[op, enc::ECALL], JobStatus::Misaligned, DATA + offset);
    }
    for op in [
        enc::amoadd_d(6, 10, 6),
        enc::lr_d(6, 10, 0),
        enc::sc_d(6, 10, 6),
    ] {
        bad(
            &[enc::addi(10, 10, 4), op, enc::ECALL],
            JobStatus::Misaligned,
            DATA + 4,
        );
    }
    for jump in [enc::jal(1, 6), enc::beq(0, 0, 6)] {
        bad(
            &[enc::FENCE, jump, enc::ECALL],
            JobStatus::Misaligned,
            CODE + 10,
        );
    }
    bad(
        &[enc::auipc(5, 0), enc::jalr(1, 5, 10), enc::ECALL],
        JobStatus::Misaligned,
        CODE + 10,
    );
    // A branch that is not taken may point anywhere.
    assert_eq!(end_of(&[enc::bne(0, 0, 6), enc::ECALL]).status, OK);
}

#[test]
fn an_entry_that_cannot_be_ends_the_thread() {
    let mut bench = with_program(Timing::fixed(2), 1, &[enc::ECALL]);
    bench.queue.push_back(Thread {
        entry: CODE + 2,
        ..thread(0)
    });
    bench.queue.push_back(Thread {
        entry: 1 << 50,
        job: 2,
        ..thread(1)
    });
    bench.queue.push_back(Thread {
        arg: 5,
        ..thread(2)
    });
    bench.run(1000);
    let base = End {
        job: 0,
        result: u64::MAX,
        status: 0,
        info: 0,
    };
    let expected = [
        End {
            status: JobStatus::Misaligned as u8,
            info: (CODE + 2) & 0xffff_ffff_ffff,
            ..base
        },
        End {
            status: JobStatus::BadAddress as u8,
            job: 2,
            info: 0,
            ..base
        },
        End { result: 5, ..base },
    ];
    assert_eq!(sorted(&bench.ends), sorted(&expected));
}

#[test]
fn the_program_counter_may_not_run_out_of_the_lower_half() {
    let mut bench = Bench::new(Timing::fixed(2), 1);
    let page = 0x7fff_ffff_f000;
    bench.map(1, page, Page::all(0x10));
    bench.load_program(1, page + 4088, &[enc::FENCE, enc::addi(5, 0, 1)]);
    bench.queue.push_back(Thread {
        entry: page + 4088,
        ..thread(0)
    });
    bench.run(1000);
    assert_eq!(
        (bench.ends[0].status, bench.ends[0].info),
        (JobStatus::BadAddress as u8, 1 << 47)
    );
}

#[test]
fn memory_errors_name_the_address() {
    // Data: a page whose memory does not answer. Fetch: likewise.
    let code = [
        enc::lui(5, 0x12345),
        enc::bne(11, 0, 12),
        enc::lw(6, 5, 16),
        enc::ECALL,
        enc::jalr(0, 5, 32),
    ];
    let mut bench = with_program(Timing::fixed(2), 1, &code);
    bench.mmu.table.insert((1, 0x12345), Page::all(0x666));
    bench.queue.extend([thread(0), thread(1)]);
    bench.run(1000);
    let error = JobStatus::MemoryError as u8;
    let expected = [
        (0, u64::MAX, error, 0x1234_5010),
        (0, u64::MAX, error, 0x1234_5020),
    ];
    assert_eq!(sorted(&bench.ends), expected);
    // Errors at random: every thread ends, well or with that status.
    for seed in 0..10 {
        let port = PortTiming {
            errors: 40,
            ..Timing::rough().data
        };
        let mut bench = Bench::new(
            Timing {
                data: port,
                fetch: port,
                ..Timing::rough()
            },
            seed,
        );
        random_programs(&mut bench, 24, 10);
        bench.run(400_000);
        let failed = bench.ends.iter().filter(|e| e.status == error).count();
        assert!(
            failed > 0
                && bench
                    .ends
                    .iter()
                    .all(|e| e.status == OK || e.status == error),
            "seed {seed}"
        );
    }
}
