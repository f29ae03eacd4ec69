//! How things that go wrong end, and that the device stays usable.

use crate::rig::{CODE, Rig};
use hmmu_model::rv64::enc::*;
use hmmu_model::{LinkError, PhysAddr};
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;
const CODE48: u64 = CODE & 0xffff_ffff_ffff;

#[test]
fn threads_end_with_what_they_did_wrong() {
    let cases: [(&[u32], JobStatus, u64); 8] = [
        (&[addi(0, 0, 0), 0], JobStatus::Illegal, CODE48 + 4),
        (&[EBREAK], JobStatus::Breakpoint, CODE48),
        (&[ld(5, 10, 1)], JobStatus::Misaligned, DATA + 1),
        (&[jal(0, 6)], JobStatus::Misaligned, CODE48 + 6),
        (
            &[addi(5, 0, 1), slli(5, 5, 47), ld(5, 5, 0)],
            JobStatus::BadAddress,
            1 << 47,
        ),
        (
            &[addi(5, 0, 1), slli(5, 5, 47), jalr(0, 5, 0)],
            JobStatus::BadAddress,
            1 << 47,
        ),
        (
            &[addi(5, 0, 1), slli(5, 5, 47), sd(5, 5, 0)],
            JobStatus::BadAddress,
            1 << 47,
        ),
        (
            &[addi(5, 0, 1), slli(5, 5, 47), amoadd_d(5, 5, 0)],
            JobStatus::BadAddress,
            1 << 47,
        ),
    ];
    for (program, status, info) in cases {
        let mut rig = Rig::new();
        let end = rig.run(0, DATA, program);
        assert_eq!(
            (end.status(), end.info()),
            (status as u64, info),
            "{program:08x?}"
        );
        assert_eq!(rig.count(Counter::Faults), 0);
        assert_eq!(rig.run(0, 3, &[ECALL]).result(), 3);
    }
}

#[test]
fn a_context_that_is_off_ends_at_once() {
    let mut rig = Rig::new();
    let (entry, fence) = rig.launch_entry(5, 0, 1);
    rig.push(reg::LAUNCH_BASE, entry.0);
    let end = rig.completion(fence);
    assert_eq!(
        (end.status(), end.info()),
        (JobStatus::BadAddress as u64, CODE48)
    );
}

#[test]
fn the_first_failing_thread_decides() {
    let mut rig = Rig::new();
    // Thread 2 breaks, the others end well and count.
    rig.load(0, &[addi(5, 0, 2), bne(11, 5, 8), EBREAK, ECALL]);
    let fence = rig.launch(0, 9, 5);
    let end = rig.completion(fence);
    assert_eq!(
        (end.status(), end.info(), end.result()),
        (JobStatus::Breakpoint as u64, CODE48 + 8, 9)
    );
    assert_eq!(rig.count(Counter::Threads), 5);
}

#[test]
pub fn link_errors_end_the_thread_with_its_address() {
    for (error, code) in [
        (LinkError::Timeout, ErrorCode::CplTimeout),
        (LinkError::Unsupported, ErrorCode::CplUr),
        (LinkError::Abort, ErrorCode::CplCa),
        (LinkError::Poisoned, ErrorCode::CplPoisoned),
    ] {
        for program in [
            &[ld(10, 10, 8), ECALL][..],
            &[addi(10, 10, 8), amoadd_w(10, 10, 0), ECALL],
        ] {
            let mut rig = Rig::new();
            let page = rig.map_ram(0, DATA, "rwa");
            rig.ram.fail(page >> 12, error);
            let end = rig.run(0, DATA, program);
            assert_eq!(
                (end.status(), end.info()),
                (JobStatus::MemoryError as u64, DATA + 8)
            );
            let info = rig.device.read_register(reg::ERROR_INFO);
            assert_eq!(
                (info & 0xff, info >> 8 & 0xff),
                (code as u64, Client::CuData as u64)
            );
            assert!(rig.irqs.contains(&(Vector::Error as u32)));
            rig.ram.heal();
            let fence = rig.launch(0, DATA, 1);
            assert_eq!(rig.completion(fence).status(), 0);
            assert_eq!(
                rig.device.read_register(reg::ERROR_INFO),
                info,
                "the first error stays until cleared"
            );
        }
    }
}

#[test]
fn addresses_beyond_vram_are_errors() {
    let mut rig = Rig::new();
    rig.map(0, DATA, PhysAddr(PhysAddr::VRAM | 1 << 40), "rw");
    let end = rig.run(0, DATA, &[ld(10, 10, 0), ECALL]);
    assert_eq!(
        (end.status(), end.info()),
        (JobStatus::MemoryError as u64, DATA)
    );
    let range = ErrorCode::VramRange as u64;
    assert_eq!(rig.device.read_register(reg::ERROR_INFO) & 0xff, range);
    // A store is posted: dropped, and recorded.
    rig.device.write_register(reg::ERROR_INFO, 0);
    assert_eq!(rig.run(0, DATA, &[sd(10, 10, 0), ECALL]).status(), 0);
    assert_eq!(rig.device.read_register(reg::ERROR_INFO) & 0xff, range);
}

#[test]
fn a_table_that_cannot_be_read_is_a_fault() {
    let mut rig = Rig::new();
    rig.load(1, &[ld(10, 10, 0), ECALL]);
    let page = rig.map_ram(1, DATA, "r");
    rig.ram.write64(page, 8);
    let table = rig.pte_at(1, DATA, 0).0 >> 12;
    rig.ram.fail(table, LinkError::Abort);
    let fence = rig.launch(1, DATA, 1);
    let record = rig.fault();
    assert_eq!(
        (record.addr(), record.reason()),
        (DATA, FaultReason::AccessError as u64)
    );
    assert_eq!(
        rig.device.read_register(reg::ERROR_INFO) >> 8 & 0xff,
        Client::Walker as u64
    );
    rig.ram.heal();
    rig.replay(1, DATA);
    assert_eq!(rig.completion(fence).result(), 8);
}
