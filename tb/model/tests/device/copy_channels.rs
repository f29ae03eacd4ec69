//! What copy channels do besides plain copies: rows, lists, semaphores, control and error records.

use crate::rig::Rig;
use hmmu_model::{PhysAddr, VramAddr};
use hmmu_regs::*;

const DST: u64 = 0x10_0000;
/// Bytes between two channels' registers.
const STRIDE: u64 = 64;
const SUSPEND: u64 = 1;
const ABORT: u64 = 1 << 1;
const HALT: u64 = 1 << 2;
const STOPPED: u64 = 1 << 1;
const WAITING: u64 = 1 << 4;
const LISTS: u64 = 1 << 8;

fn entry(op: CopyOp) -> CopyEntry {
    CopyEntry::default().with_op(op as u64)
}

fn vram(offset: u64) -> u64 {
    PhysAddr::vram(VramAddr(DST + offset)).0
}

fn pattern(at: u64) -> u8 {
    (at * 11 + at / 256) as u8
}

/// A page of system memory with a pattern.
fn source(rig: &mut Rig) -> u64 {
    let page = rig.ram_page();
    let bytes: Vec<u8> = (0..4096).map(pattern).collect();
    rig.ram.set(page, &bytes);
    page
}

fn written(rig: &mut Rig, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rig.device.vram_read(VramAddr(DST), &mut bytes);
    bytes
}

fn status(rig: &mut Rig) -> u64 {
    rig.device.read_register(reg::COPY_STATUS)
}

#[test]
pub fn rows_go_from_pitch_to_pitch() {
    let mut rig = Rig::new();
    let page = source(&mut rig);
    // Rows of 24 bytes: 100 apart in the source, packed backwards in the destination.
    let back = 0u64.wrapping_sub(48) & 0xffff_ffff;
    let work = entry(CopyOp::Copy)
        .with_src(page + 3)
        .with_dst(vram(24 * 9))
        .with_len(24)
        .with_rows(10)
        .with_src_gap(76)
        .with_dst_gap(back);
    let fence = rig.copy_start(work);
    let end = rig.completion(fence);
    assert_eq!((end.status(), end.result()), (0, 240));
    let bytes = written(&mut rig, 248);
    for at in 0..240 {
        let row = 9 - at / 24;
        assert_eq!(
            bytes[at as usize],
            pattern(3 + 100 * row + at % 24),
            "byte {at}"
        );
    }
    assert_eq!(bytes[240..], [0; 8]);
    let fence = rig.copy_start(
        entry(CopyOp::Fill)
            .with_src(7)
            .with_dst(vram(0))
            .with_len(8)
            .with_rows(3)
            .with_dst_gap(4),
    );
    assert_eq!(rig.completion(fence).status(), JobStatus::Misaligned as u64);
}

#[test]
pub fn a_list_does_its_segments_in_order() {
    let mut rig = Rig::new();
    let (page, list) = (source(&mut rig), rig.ram_page());
    let does_lists = status(&mut rig) & LISTS != 0;
    let segments = [
        CopySegment::default()
            .with_src(page)
            .with_dst(vram(0))
            .with_len(300),
        CopySegment::default()
            .with_src(0x0101_0101_0101_0101)
            .with_dst(vram(16))
            .with_len(8)
            .with_rows(2)
            .with_dst_gap(8)
            .with_fill(1),
        CopySegment::default(),
        CopySegment::default()
            .with_src(page + 1000)
            .with_dst(vram(290))
            .with_len(33),
    ];
    for (n, segment) in (0..).zip(&segments) {
        rig.ram.set(list + 32 * n, &segment.to_bytes());
    }
    let fence = rig.copy_start(entry(CopyOp::List).with_src(list).with_len(4));
    if !does_lists {
        rig.until("bad entry", |rig| status(rig) & STOPPED != 0);
        let record = rig.device.read_register(reg::COPY_ERROR);
        assert_eq!(record, 1 << 8 | JobStatus::BadEntry as u64);
        return;
    }
    let end = rig.completion(fence);
    assert_eq!((end.status(), end.result()), (0, 300 + 16 + 33));
    let mut must: Vec<u8> = (0..300).map(pattern).collect();
    must[16..24].fill(1);
    must[32..40].fill(1);
    must.truncate(290);
    must.extend((1000..1033).map(pattern));
    assert_eq!(written(&mut rig, 323), must);
    // One that cannot be read.
    rig.ram.fail(list >> 12, hmmu_model::LinkError::Unsupported);
    let fence = rig.copy_start(entry(CopyOp::List).with_src(list).with_len(4));
    let end = rig.completion(fence);
    assert_eq!(
        (end.status(), end.info(), end.result()),
        (JobStatus::MemoryError as u64, list, 0)
    );
}

#[test]
fn a_semaphore_is_waited_for_and_signalled() {
    let mut rig = Rig::new();
    let page = rig.ram_page();
    let gate = rig.copy_start(entry(CopyOp::Wait).with_src(page).with_dst(5));
    let signal = rig.copy_start(entry(CopyOp::Signal).with_src(77).with_dst(page + 8));
    rig.until("waiting", |rig| status(rig) & WAITING != 0);
    rig.ram.write64(page, 4);
    rig.tick(600);
    assert!(!rig.done(gate) && !rig.done(signal));
    assert_eq!(rig.ram.read64(page + 8), 0);
    rig.ram.write64(page, 6);
    assert_eq!(rig.completion(gate).status(), 0);
    assert_eq!(rig.completion(signal).result(), 8);
    assert_eq!(rig.ram.read64(page + 8), 77);
    // Equal, and no more than that.
    let gate = rig.copy_start(entry(CopyOp::Wait).with_src(page).with_dst(5).with_equal(1));
    rig.tick(600);
    assert!(!rig.done(gate));
    rig.ram.write64(page, 5);
    assert_eq!(rig.completion(gate).status(), 0);
    let odd = rig.copy_start(entry(CopyOp::Wait).with_src(page + 4));
    let end = rig.completion(odd);
    assert_eq!(
        (end.status(), end.info()),
        (JobStatus::Misaligned as u64, page + 4)
    );
}

#[test]
fn a_wait_that_nobody_signals_is_aborted() {
    let mut rig = Rig::new();
    let page = rig.ram_page();
    let gate = rig.copy_start(entry(CopyOp::Wait).with_src(page).with_dst(1));
    let next = rig.copy_start(entry(CopyOp::Nop));
    rig.until("waiting", |rig| status(rig) & WAITING != 0);
    rig.device.write_register(reg::COPY_CONTROL, ABORT);
    assert_eq!(rig.completion(gate).status(), JobStatus::Killed as u64);
    assert_eq!(rig.completion(next).status(), 0);
    assert_eq!(rig.device.read_register(reg::COPY_ERROR), 0, "no error");
}

#[test]
fn a_suspended_channel_writes_nothing_until_it_goes_on() {
    let mut rig = Rig::new();
    let page = source(&mut rig);
    rig.device.write_register(reg::COPY_CONTROL, SUSPEND);
    let work = entry(CopyOp::Copy)
        .with_src(page)
        .with_dst(vram(0))
        .with_len(64);
    let fence = rig.copy_start(work);
    rig.tick(1000);
    assert!(!rig.done(fence));
    assert_eq!(written(&mut rig, 64), [0; 64]);
    rig.device.write_register(reg::COPY_CONTROL, 0);
    assert_eq!(rig.completion(fence).status(), 0);
}

#[test]
fn an_error_is_recorded_and_with_halt_it_stops_the_channel() {
    for halt in [0, HALT] {
        let mut rig = Rig::new();
        let page = source(&mut rig);
        rig.device.write_register(reg::COPY_CONTROL, halt);
        let good = entry(CopyOp::Copy)
            .with_src(page)
            .with_dst(vram(0))
            .with_len(64);
        let first = rig.copy_start(good);
        let bad = rig.copy_start(good.with_src(1 << 60 | 0x40));
        let behind = rig.copy_start(good);
        assert_eq!(rig.completion(first).status(), 0);
        assert_eq!(rig.completion(bad).status(), JobStatus::BadAddress as u64);
        rig.tick(1000);
        let record = rig.device.read_register(reg::COPY_ERROR);
        assert_eq!(record, 1 << 32 | 1 << 8 | JobStatus::BadAddress as u64);
        assert_eq!(rig.device.read_register(reg::COPY_ERROR_ADDR), 0x40);
        assert_eq!(rig.done(behind), halt == 0);
        assert_eq!(status(&mut rig) & STOPPED != 0, halt != 0);
        let all = rig.device.read_register(reg::STATUS);
        assert_eq!(all >> 9 & 1 != 0, halt != 0);
        if halt != 0 {
            assert_eq!(rig.device.read_register(reg::COPY_CONS), 2);
            rig.restart(reg::COPY_BASE);
            let fence = rig.copy_start(good);
            assert_eq!(rig.completion(fence).status(), 0);
        } else {
            rig.device.write_register(reg::COPY_ERROR, 0);
        }
        assert_eq!(rig.device.read_register(reg::COPY_ERROR), 0);
    }
}

#[test]
pub fn every_channel_has_a_ring_of_its_own() {
    let mut rig = Rig::new();
    let channels = rig.device.read_register(reg::CAPS) >> 40 & 0xff;
    let page = source(&mut rig);
    let gate = rig.ram_page();
    let mut fences = Vec::new();
    for channel in (0..channels).rev() {
        let ring = rig.ram_page();
        let (fence, value) = rig.new_fence();
        let entries = [
            entry(CopyOp::Wait).with_src(gate).with_dst(1),
            entry(CopyOp::Copy)
                .with_src(page)
                .with_dst(vram(512 * channel))
                .with_len(512)
                .with_fence_addr(fence)
                .with_fence_value(value),
        ];
        for (n, entry) in (0..).zip(entries) {
            rig.ram.set(
                ring + 64 * n,
                &entry.with_version(FORMAT_VERSION).to_bytes(),
            );
        }
        let at = STRIDE * channel;
        rig.device.write_register(reg::COPY_BASE + at, ring);
        rig.device.write_register(reg::COPY_SIZE + at, 3);
        rig.device
            .write_register(reg::COPY_CONTROL + at, channel << 4 & 0x30);
        rig.device.write_register(reg::COPY_PROD + at, 2);
        fences.push((fence, value));
    }
    rig.tick(800);
    assert_eq!(
        rig.device.read_register(reg::STATUS) >> 1 & 1,
        0,
        "not idle"
    );
    rig.ram.write64(gate, 1);
    for fence in fences {
        assert_eq!(rig.completion(fence).result(), 512);
    }
    let one: Vec<u8> = (0..512).map(pattern).collect();
    assert_eq!(
        written(&mut rig, 512 * channels as usize),
        one.repeat(channels as usize)
    );
    for channel in 0..channels {
        let at = STRIDE * channel;
        assert_eq!(rig.device.read_register(reg::COPY_CONS + at), 2);
    }
    // Beyond them there is nothing.
    let beyond = reg::COPY_BASE + STRIDE * channels;
    rig.device.write_register(beyond, 0x1000);
    assert_eq!(rig.device.read_register(beyond), 0);
}
