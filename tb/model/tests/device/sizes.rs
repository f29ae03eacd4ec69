//! Leaves of every size, and encodings that are none.

use crate::rig::Rig;
use hmmu_model::PhysAddr;
use hmmu_model::rv64::enc::*;
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;
/// Memory that the tests use, 2 MiB of it. Pages of 1 GiB begin at 0.
const MEMORY: u64 = 2 << 20;
const HUGE: u64 = 1 << 18;

/// Loads the word at a0 and stores it plus one behind it.
const STEP: [u32; 4] = [ld(5, 10, 0), addi(5, 5, 1), sd(5, 10, 8), ECALL];

/// Level, pages of 4 KiB and entries of a leaf.
const SIZES: [(u32, u64, u64); 4] = [(0, 1, 1), (0, 16, 16), (1, 512, 1), (2, HUGE, 1)];

fn map(rig: &mut Rig, ctx: usize, va: u64, (level, pages, entries): (u32, u64, u64)) {
    let base = if pages == HUGE { 0 } else { MEMORY };
    let mut leaf = Rig::leaf(PhysAddr(base), "rw");
    if entries == 16 {
        leaf = leaf.with_n(1).with_ppn(leaf.ppn() | 8);
    }
    let at = rig.pte_at(ctx, va, level);
    for i in 0..entries {
        rig.phys_write64(PhysAddr(at.0 + 8 * i), leaf.0[0]);
    }
}

#[test]
fn every_size_translates_all_its_pages_and_is_marked() {
    for ctx in 0..2 {
        for size in SIZES {
            let (level, pages, entries) = size;
            let mut rig = Rig::new();
            rig.load(ctx, &STEP);
            map(&mut rig, ctx, DATA, size);
            // The part of the page that there is memory for.
            let shown = pages.min(512);
            let start = if pages == HUGE { DATA + MEMORY } else { DATA };
            let offsets = [8, 4096 * (shown - 1) + 2040, 4096 * (shown / 2) + 16];
            for (value, offset) in (7..).zip(offsets) {
                rig.ram.write64(MEMORY + offset, value);
                let fence = rig.launch(ctx as u64, start + offset, 1);
                assert_eq!(rig.completion(fence).status(), 0, "level {level}");
                assert_eq!(rig.ram.read64(MEMORY + offset + 8), value + 1);
            }
            let at = rig.pte_at(ctx, DATA, level);
            let mut marks = (0, 0);
            for i in 0..entries {
                let pte = Pte([rig.phys_read64(PhysAddr(at.0 + 8 * i))]);
                marks = (marks.0 | pte.a(), marks.1 | pte.d());
            }
            assert_eq!(marks, (1, 1), "level {level} pages {pages}");
            // One invalidation of its last page, and the whole of it is gone.
            for i in 0..entries {
                rig.phys_write64(PhysAddr(at.0 + 8 * i), 0);
            }
            rig.invalidate(ctx as u64, DATA + 4096 * (pages - 1));
            let fence = rig.launch(ctx as u64, start + 8, 1);
            let record = rig.fault();
            assert_eq!(record.reason(), FaultReason::NotPresent as u64);
            map(&mut rig, ctx, DATA, size);
            rig.replay(ctx as u64, start);
            assert_eq!(rig.completion(fence).status(), 0);
        }
    }
}

#[test]
fn what_is_reserved_or_not_aligned_is_not_present() {
    let leaf = Rig::leaf(PhysAddr(MEMORY), "rw");
    let pointer = Pte::default().with_v(1).with_ppn(MEMORY >> 12);
    for (level, entry) in [
        (3, leaf),
        (2, leaf.with_ppn(leaf.ppn() | 512)),
        (1, leaf.with_ppn(leaf.ppn() | 1)),
        (2, leaf.with_n(1)),
        (1, leaf.with_n(1)),
        (0, leaf.with_n(1)),
        (0, leaf.with_n(1).with_ppn(leaf.ppn() | 9)),
        (0, leaf.with_r(0)),
        (0, pointer),
        (1, pointer.with_a(1)),
        (1, pointer.with_d(1)),
        (2, pointer.with_u(1)),
        (2, pointer.with_n(1)),
    ] {
        let mut rig = Rig::new();
        rig.load(0, &STEP);
        let at = rig.pte_at(0, DATA, level);
        rig.phys_write64(at, entry.0[0]);
        let fence = rig.launch(0, DATA, 1);
        let record = rig.fault();
        assert_eq!(
            (record.addr(), record.reason()),
            (DATA, FaultReason::NotPresent as u64),
            "level {level} {:#x}",
            entry.0[0]
        );
        rig.control(CtrlOp::Stop, 0, 0, 0, 0, 0);
        assert_eq!(rig.completion(fence).status(), JobStatus::Stopped as u64);
    }
}

#[test]
fn limits_on_the_translation_change_no_result() {
    for limits in [0x001, 0x100, 0x200, 0x400, 0x701, 0x73f] {
        let mut rig = Rig::new();
        rig.device.write_register(reg::XLAT_LIMITS, limits);
        assert_eq!(rig.device.read_register(reg::XLAT_LIMITS), limits);
        rig.load(0, &STEP);
        for page in 0..3 {
            let at = rig.map_ram(0, DATA + 4096 * page, "rw");
            rig.ram.write64(at, page);
            for _ in 0..2 {
                let fence = rig.launch(0, DATA + 4096 * page, 1);
                assert_eq!(rig.completion(fence).status(), 0, "limits {limits:#x}");
                assert_eq!(rig.ram.read64(at + 8), page + 1);
            }
        }
        let found = rig.count(Counter::L2Lookups);
        assert_eq!(found == 0, limits & 0x200 != 0, "limits {limits:#x}");
        rig.device.write_register(reg::XLAT_LIMITS, u64::MAX);
        assert_eq!(rig.device.read_register(reg::XLAT_LIMITS), 0x73f);
    }
}
