//! The copy channel.

use crate::rig::Rig;
use hmmu_model::{BusAddr, LinkError, PhysAddr, VramAddr};
use hmmu_regs::*;

const SRC: u64 = 0x7f00_0000_0000;
const DST: u64 = 0x7e00_0000_0000;

fn copy(src: u64, dst: u64, len: u64) -> CopyEntry {
    CopyEntry::default()
        .with_op(CopyOp::Copy as u64)
        .with_src(src)
        .with_dst(dst)
        .with_len(len)
}

fn pattern(at: u64) -> u8 {
    (at * 7 + at / 256) as u8
}

/// Fills system memory with a pattern and returns its first byte's address.
fn source(rig: &mut Rig, pages: u64) -> u64 {
    let first = rig.ram_page();
    for _ in 1..pages {
        rig.ram_page();
    }
    let bytes: Vec<u8> = (0..4096 * pages).map(pattern).collect();
    rig.ram.set(first, &bytes);
    first
}

#[test]
pub fn physical_copies_of_any_alignment_move_their_bytes_only() {
    for (src, dst, len) in [
        (0, 0, 4096),
        (1, 0, 300),
        (0, 3, 300),
        (5, 9, 1),
        (4090, 100, 20),
        (7, 4090, 5000),
        (0, 0, 0),
    ] {
        let mut rig = Rig::new();
        let from = source(&mut rig, 3);
        let to = VramAddr(0x10_0000);
        rig.device.vram_write(to, &[0xee; 12288]);
        let entry = copy(from + src, PhysAddr::vram(VramAddr(to.0 + dst)).0, len);
        let fence = rig.copy_start(entry);
        let end = rig.completion(fence);
        assert_eq!((end.status(), end.result()), (0, len));
        let mut back = vec![0; 12288];
        rig.device.vram_read(to, &mut back);
        for (at, byte) in back.iter().enumerate() {
            let at = at as u64;
            let inside = (dst..dst + len).contains(&at);
            assert_eq!(
                *byte,
                if inside {
                    pattern(at - dst + src)
                } else {
                    0xee
                },
                "byte {at} of {src} {dst} {len}"
            );
        }
        assert_eq!(rig.count(Counter::CopyBytes), len);
    }
}

#[test]
pub fn fills_write_their_pattern() {
    let mut rig = Rig::new();
    let page = rig.ram_page();
    let entry = CopyEntry::default()
        .with_op(CopyOp::Fill as u64)
        .with_src(0x1122_3344_5566_7788);
    let fence = rig.copy_start(entry.with_dst(page + 8).with_len(1000));
    assert_eq!(rig.completion(fence).result(), 1000);
    assert_eq!((rig.ram.read64(page), rig.ram.read64(page + 1008)), (0, 0));
    for word in 1..126 {
        assert_eq!(rig.ram.read64(page + 8 * word), 0x1122_3344_5566_7788);
    }
    for bad in [
        entry.with_dst(page + 4).with_len(8),
        entry.with_dst(page).with_len(12),
    ] {
        let fence = rig.copy_start(bad);
        let end = rig.completion(fence);
        assert_eq!(
            (end.status(), end.result()),
            (JobStatus::Misaligned as u64, 0)
        );
    }
}

#[test]
pub fn virtual_copies_fault_on_both_sides_and_resume() {
    let mut rig = Rig::new();
    let from = source(&mut rig, 2);
    let entry = copy(SRC + 100, DST + 5, 5000)
        .with_src_va(1)
        .with_dst_va(1)
        .with_ctx(0);
    let fence = rig.copy_start(entry);
    let mut seen = Vec::new();
    while !rig.done(fence) {
        let Some(record) = rig.take_fault() else {
            rig.tick(1);
            continue;
        };
        assert_eq!(record.client(), Client::Copy as u64);
        seen.push((record.addr(), record.access()));
        if record.addr() < SRC {
            rig.map_vram(0, record.addr(), "rw");
        } else {
            let page = (record.addr() - SRC) / 4096;
            rig.map(
                0,
                record.addr(),
                PhysAddr::system(BusAddr(from + 4096 * page)),
                "r",
            );
        }
        rig.replay(0, record.addr());
    }
    assert_eq!(rig.completion(fence).result(), 5000);
    let (read, write) = (Access::Read as u64, Access::Write as u64);
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            (DST, write),
            (DST + 4096, write),
            (SRC, read),
            (SRC + 4096, read)
        ]
    );
    for at in 0..5000 {
        let leaf = rig.pte(0, DST + 5 + at);
        assert_eq!((leaf.a(), leaf.d()), (1, 1));
        let mut byte = [0];
        let vram = (leaf.ppn() << 12 & !PhysAddr::VRAM) + (DST + 5 + at) % 4096;
        rig.device.vram_read(VramAddr(vram), &mut byte);
        assert_eq!(byte[0], pattern(100 + at));
    }
    assert_eq!((rig.pte(0, SRC).a(), rig.pte(0, SRC).d()), (1, 0));
}

#[test]
fn addresses_that_cannot_be_end_the_descriptor() {
    let mut rig = Rig::new();
    let page = rig.map_ram(0, SRC, "rw");
    let cases = [
        (copy(1 << 47, page, 8).with_src_va(1), 1 << 47),
        (copy(SRC, 1 << 63, 8).with_src_va(1).with_dst_va(1), 0),
        (copy(1 << 56, page, 8), 0),
        (copy(page, 1 << 57 | 16, 8), 16),
    ];
    for (entry, info) in cases {
        let fence = rig.copy_start(entry);
        let end = rig.completion(fence);
        assert_eq!(
            (end.status(), end.info(), end.result()),
            (JobStatus::BadAddress as u64, info, 0)
        );
    }
}

#[test]
fn a_cancel_ends_the_descriptor_and_the_next_one_runs() {
    let mut rig = Rig::new();
    let page = rig.map_ram(0, SRC, "r");
    let first = rig.copy_start(
        copy(SRC + 4000, DST, 200)
            .with_src_va(1)
            .with_dst(page + 2048),
    );
    let second = rig.copy_start(CopyEntry::default());
    assert_eq!(rig.fault().addr(), SRC + 4096);
    assert!(!rig.done(second));
    rig.control(CtrlOp::Cancel, 0, SRC + 4096, 4096, Access::Read as u64, 17);
    let end = rig.completion(first);
    assert_eq!(
        (end.status(), end.result(), end.info()),
        (17, 96, SRC + 4096)
    );
    assert_eq!(rig.completion(second).status(), 0);
    assert_eq!(rig.device.read_register(reg::COPY_CONS), 2);
}

#[test]
fn stop_ends_a_parked_copy_of_its_context_only() {
    let mut rig = Rig::new();
    let fence = rig.copy_start(copy(SRC, 0x1000, 64).with_src_va(1).with_ctx(1));
    rig.fault();
    rig.control(CtrlOp::Stop, 0, 0, 0, 0, 0);
    rig.tick(1000);
    assert!(!rig.done(fence));
    rig.control(CtrlOp::Stop, 1, 0, 0, 0, 0);
    assert!(
        rig.done(fence),
        "the completion precedes the fence of the stop"
    );
    assert_eq!(rig.completion(fence).status(), JobStatus::Stopped as u64);
    // The context is off now.
    let fence = rig.copy_start(copy(SRC + 8, 0x1000, 64).with_src_va(1).with_ctx(1));
    let end = rig.completion(fence);
    assert_eq!(
        (end.status(), end.info()),
        (JobStatus::BadAddress as u64, SRC + 8)
    );
}

#[test]
pub fn a_link_error_ends_the_descriptor_with_what_was_done() {
    let mut rig = Rig::new();
    let from = source(&mut rig, 2);
    rig.ram.fail((from >> 12) + 1, LinkError::Poisoned);
    let fence = rig.copy_start(copy(from, PhysAddr::VRAM, 8192));
    let end = rig.completion(fence);
    assert_eq!(
        (end.status(), end.result(), end.info()),
        (JobStatus::MemoryError as u64, 4096, from + 4096)
    );
    let info = rig.device.read_register(reg::ERROR_INFO);
    assert_eq!(
        (info & 0xff, info >> 8 & 0xff),
        (ErrorCode::CplPoisoned as u64, Client::Copy as u64)
    );
    rig.ram.heal();
    let fence = rig.copy_start(copy(from, PhysAddr::VRAM, 8192));
    assert_eq!(rig.completion(fence).status(), 0);
}

#[test]
fn an_invalidation_under_a_running_copy_leaves_no_later_write() {
    for offset in (0..300).step_by(crate::STEP) {
        let mut rig = Rig::new();
        let from = source(&mut rig, 1);
        let page = rig.map_ram(0, DST, "rw");
        let fence = rig.copy_start(copy(from, DST, 4096).with_dst_va(1));
        rig.tick(offset);
        rig.revoke(0, DST);
        rig.invalidate(0, DST);
        let snapshot = rig.ram.bytes(page, 4096);
        rig.tick(3000);
        let now = rig.ram.bytes(page, 4096);
        assert_eq!(snapshot, now, "offset {offset}");
        if !rig.done(fence) {
            assert_eq!(rig.fault().addr(), DST, "offset {offset}");
            rig.map(0, DST, PhysAddr::system(BusAddr(page)), "rw");
            rig.replay(0, DST);
        }
        assert_eq!(rig.completion(fence).result(), 4096);
        let all: Vec<u8> = (0..4096).map(pattern).collect();
        assert!(rig.ram.bytes(page, 4096) == all, "offset {offset}");
    }
}
