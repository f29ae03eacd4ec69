//! Saved jobs: their state goes to memory, their slot and warps serve others, and they go on elsewhere.

use crate::rig::Rig;
use hmmu_model::rv64::{csr, enc::*};
use hmmu_model::{BusAddr, PhysAddr, VramAddr};
use hmmu_regs::*;

pub const DATA: u64 = 0x7f00_0000_0000;
/// Bytes of a thread in a save area.
const RECORD: u64 = (ThreadSave::BYTES + ThreadRegs::BYTES) as u64;
pub const HEADER: u64 = (LaunchEntry::BYTES + JobSave::BYTES) as u64;

/// Most cycles from a Save's doorbell to its fence: as for Suspend, and 16 cycles for each of 20 beats of a thread.
fn bound(threads: u64) -> u64 {
    2000 + threads * 320
}

/// Room for the state of a job with a thread in each warp, in VRAM or in system memory.
pub fn area(rig: &mut Rig, vram: bool) -> PhysAddr {
    let pages = (HEADER + RECORD * rig.warps()).div_ceil(4096);
    let first = if vram {
        PhysAddr::vram(VramAddr(rig.vram_page()))
    } else {
        PhysAddr::system(BusAddr(rig.ram_page()))
    };
    for _ in 1..pages {
        if vram {
            rig.vram_page();
        } else {
            rig.ram_page();
        }
    }
    first
}

pub fn saved(rig: &mut Rig, area: PhysAddr) -> JobSave {
    JobSave(std::array::from_fn(|k| {
        rig.phys_read64(PhysAddr(area.0 + 64 + 8 * k as u64))
    }))
}

pub fn records(rig: &mut Rig, area: PhysAddr) -> Vec<ThreadSave> {
    let count = saved(rig, area).records();
    let word = |rig: &mut Rig, k: u64, w: usize| {
        rig.phys_read64(PhysAddr(area.0 + HEADER + k * RECORD + 8 * w as u64))
    };
    (0..count)
        .map(|k| ThreadSave(std::array::from_fn(|w| word(rig, k, w))))
        .collect()
}

/// Saves a job; whether it was found, within its bound.
pub fn save(rig: &mut Rig, job: (u64, u64), area: PhysAddr) -> bool {
    rig.phys_write64(PhysAddr(area.0 + 64), 0);
    let start = rig.device.time();
    rig.control(CtrlOp::Save, 0, 0, 0, job.1, area.0);
    let took = rig.device.time() - start;
    let job = saved(rig, area);
    assert!(took < bound(job.records()), "{took} cycles");
    job.version() != 0
}

/// Lets the job in an area go on.
pub fn restore(rig: &mut Rig, area: PhysAddr) {
    let entry = LaunchEntry::default()
        .with_version(FORMAT_VERSION)
        .with_restore(1)
        .with_arg(area.0);
    rig.push(reg::LAUNCH_BASE, entry.0);
}

/// Is a job in a slot?
pub fn in_slot(rig: &mut Rig, job: (u64, u64)) -> bool {
    (0..4).any(|slot| {
        let state = rig.device.read_register(reg::JOB_STATE + 8 * slot);
        state >> 32 & 1 == 1 && state & 0xffff_ffff == job.1
    })
}

#[test]
fn all_warps_on_faults_make_room_for_another_job() {
    for vram in [false, true] {
        let mut rig = Rig::new();
        rig.fault_log2 = 1;
        rig.device.write_register(reg::FAULT_SIZE, 1);
        // Each thread adds its index + 1, its place's stack and the word it finds, and stores that in its own page.
        rig.load(
            0,
            &[
                slli(5, 11, 12),
                add(5, 5, 10),
                addi(6, 11, 1),
                ld(7, 5, 0),
                add(6, 6, 7),
                sd(2, 5, 8),
                sd(6, 5, 0),
                addi(10, 11, 4),
                ECALL,
            ],
        );
        rig.load(1, &[addi(10, 11, 9), ECALL]);
        let warps = rig.warps();
        let threads = warps + 12;
        let (entry, job) = rig.launch_entry(0, DATA, threads);
        let entry = entry.with_stack_base(0x1000).with_stack_size(0x100);
        rig.push(reg::LAUNCH_BASE, entry.0);
        rig.until("a full ring", |rig| {
            rig.device.read_register(reg::STATUS) >> 3 & 1 == 1
        });
        rig.tick(3000);
        let area = area(&mut rig, vram);
        let start = rig.device.time();
        assert!(save(&mut rig, job, area));
        println!(
            "{warps} warps on faults, fault ring full: {} cycles",
            rig.device.time() - start
        );
        assert!(!in_slot(&mut rig, job) && !rig.done(job));
        let head = saved(&mut rig, area);
        assert_eq!(
            (head.records(), head.next(), head.status(), head.result()),
            (warps, warps, 0, u64::MAX)
        );
        let mut places: Vec<_> = records(&mut rig, area).iter().map(|r| r.place()).collect();
        places.sort_unstable();
        assert!(places.into_iter().eq(0..warps));
        // Its warps are free.
        let other = rig.launch(1, 0, 2 * warps);
        assert_eq!(rig.completion(other).result(), 9);
        let mut pages = Vec::new();
        while pages.len() < warps as usize {
            let record = rig.fault();
            let page = rig.map_ram(0, record.addr(), "rw");
            rig.ram.write64(page, 1000);
            pages.push((record.addr(), page));
            rig.replay(0, record.addr());
        }
        // Three warps are not free when it goes on.
        rig.load(1, &[ld(5, 10, 0), beq(5, 0, -4), ECALL]);
        let flag = rig.map_ram(1, DATA, "r");
        let other = rig.launch(1, DATA, 3);
        rig.tick(1000);
        restore(&mut rig, area);
        while !rig.done(job) {
            if let Some(record) = rig.take_fault() {
                assert!(pages.iter().all(|(va, _)| *va != record.addr()));
                let page = rig.map_ram(0, record.addr(), "rw");
                rig.ram.write64(page, 1000);
                pages.push((record.addr(), page));
                rig.replay(0, record.addr());
            }
            rig.tick(1);
        }
        let end = rig.completion(job);
        assert_eq!((end.status(), end.result()), (0, 4));
        assert_eq!(pages.len() as u64, threads);
        for (va, page) in pages {
            assert_eq!(rig.ram.read64(page), 1001 + (va - DATA) / 4096);
            let stack = rig.ram.read64(page + 8);
            assert!(
                stack > 0x1000 && stack <= 0x1000 + warps * 0x100 && stack.is_multiple_of(0x100)
            );
        }
        assert_eq!(rig.count(Counter::Threads), threads + 2 * warps);
        rig.ram.write64(flag, 1);
        assert_eq!(rig.completion(other).status(), 0);
    }
}

/// Everything that takes time: divisions, loads that nobody waits for, a store, an AMO on a word that all share, LR
/// and SC. Stores how many instructions it took behind its own word.
const ROUNDS: i32 = 6;
pub fn busy() -> Vec<u32> {
    vec![
        slli(5, 11, 4),
        add(5, 5, 10),
        addi(7, 0, ROUNDS),
        addi(8, 0, 1),
        ld(6, 5, 64), // each round starts here
        ld(14, 10, 0),
        lbu(15, 5, 64),
        addi(9, 6, 7),
        divu(9, 9, 8),
        sub(9, 9, 6),
        add(6, 15, 9),
        addi(6, 6, -6),
        sd(6, 5, 64),
        amoadd_d(0, 10, 8),
        addi(12, 10, 8),
        lr_d(9, 12, 0),
        addi(9, 9, 1),
        sc_d(13, 12, 9),
        bne(13, 0, -12),
        mul(9, 9, 8),
        addi(7, 7, -1),
        bne(7, 0, -4 * 17),
        csrr(9, csr::INSTRET),
        sd(9, 5, 72),
        addi(10, 11, 2),
        ECALL,
    ]
}

/// The words of `busy` after it has run, in the page at `page`.
pub fn check_busy(rig: &Rig, page: u64, threads: u64, what: &str) {
    let all = ROUNDS as u64 * threads;
    let words = [rig.ram.read64(page), rig.ram.read64(page + 8)];
    assert_eq!(
        words,
        [all, all],
        "{what}: an atomic was done twice or not at all"
    );
    for thread in 0..threads {
        let own = page + 64 + 16 * thread;
        assert_eq!(rig.ram.read64(own), ROUNDS as u64, "{what}");
        // Each failed SC costs four instructions more.
        let count = rig.ram.read64(own + 8);
        let least = 4 + 18 * ROUNDS as u64;
        assert!(
            count >= least && (count - least).is_multiple_of(4),
            "{what}: {count} instructions, at least {least}"
        );
    }
}

/// Serves the faults of a job on the page at `DATA`, so that it ends.
fn finish(rig: &mut Rig, job: (u64, u64), page: &mut Option<u64>) {
    while !rig.done(job) {
        if let Some(record) = rig.take_fault() {
            if page.is_none() {
                *page = Some(rig.map_ram(0, record.addr(), "rwa"));
            }
            rig.replay(0, record.addr());
        }
        rig.tick(1);
    }
}

#[test]
fn a_job_saved_at_any_moment_ends_as_if_nothing_had_been() {
    let mut found = 0;
    let mut worst = 0;
    let stride = std::env::var("HMMU_STRIDE")
        .ok()
        .and_then(|text| text.parse().ok());
    let step = stride.unwrap_or(5 * crate::STEP as u64);
    let mut offset = 0;
    // Until the job has ended before it can be saved.
    let mut over = false;
    while !over {
        let threads = 4;
        let what = format!("offset {offset}");
        let mut rig = Rig::new();
        rig.load(0, &busy());
        // In every second case its data faults first.
        let mut page = (offset / step)
            .is_multiple_of(2)
            .then(|| rig.map_ram(0, DATA, "rwa"));
        let areas = [false, true, false].map(|vram| area(&mut rig, vram));
        let job = rig.launch(0, DATA, threads);
        rig.tick(offset);
        over = rig.done(job);
        for (k, pause) in [100, 0, 90].into_iter().enumerate() {
            let start = rig.device.time();
            if !save(&mut rig, job, areas[k]) {
                rig.tick(100);
                continue;
            }
            found += 1;
            worst = worst.max(rig.device.time() - start);
            assert!(!in_slot(&mut rig, job), "{what}");
            let before = page.map(|page| rig.ram.bytes(page, 4096));
            rig.tick(pause);
            assert!(
                page.map(|page| rig.ram.bytes(page, 4096)) == before,
                "{what}"
            );
            assert!(!rig.done(job), "{what}");
            if page.is_none() && k == 1 {
                page = Some(rig.map_ram(0, DATA, "rwa"));
            }
            restore(&mut rig, areas[k]);
            rig.tick(if k == 0 { 37 } else { 400 });
        }
        finish(&mut rig, job, &mut page);
        let end = rig.completion(job);
        assert_eq!((end.status(), end.result()), (0, 2), "{what}");
        assert_eq!(rig.count(Counter::Threads), threads, "{what}");
        check_busy(&rig, page.expect("mapped"), threads, &what);
        offset += step;
    }
    assert!(found > 10);
    println!("{found} saves at offsets up to {offset}, the longest took {worst} cycles");
}

#[test]
fn threads_that_have_not_started_come_after_the_saved_ones() {
    let mut saves = 0;
    for offset in (0..1500).step_by(60 * crate::STEP) {
        let mut rig = Rig::new();
        rig.load(
            0,
            &[
                addi(7, 0, 30),
                addi(7, 7, -1),
                bne(7, 0, -4),
                amoadd_d(0, 10, 12),
                addi(10, 11, 3),
                ECALL,
            ],
        );
        let page = rig.map_ram(0, DATA, "rwa");
        let area = area(&mut rig, offset % 120 == 0);
        let threads = 96.max(3 * rig.warps());
        let job = rig.launch(0, DATA, threads);
        rig.tick(200 + offset as u64);
        // Again and again, to the same area.
        while !rig.done(job) {
            if save(&mut rig, job, area) {
                saves += 1;
                let head = saved(&mut rig, area);
                let adds = rig.ram.read64(page) / threads;
                assert!(head.next() <= threads && adds <= head.next());
                restore(&mut rig, area);
                // The area is read until the job is in a slot.
                rig.until("the job", |rig| in_slot(rig, job) || rig.done(job));
            }
            rig.tick(400);
        }
        let end = rig.completion(job);
        assert_eq!((end.status(), end.result()), (0, 3), "offset {offset}");
        assert_eq!(rig.ram.read64(page), threads * threads, "offset {offset}");
        assert_eq!(rig.count(Counter::Threads), threads, "offset {offset}");
    }
    assert!(saves > 5);
}

#[test]
fn a_suspended_job_can_be_saved_and_is_not_suspended_afterwards() {
    let mut rig = Rig::new();
    let area = area(&mut rig, false);
    rig.load(0, &busy());
    let mut page = Some(rig.map_ram(0, DATA, "rwa"));
    let job = rig.launch(0, DATA, 3);
    rig.tick(500);
    rig.control(CtrlOp::Suspend, 0, 0, 0, job.1, 0);
    assert!(save(&mut rig, job, area));
    restore(&mut rig, area);
    finish(&mut rig, job, &mut page);
    check_busy(&rig, page.expect("mapped"), 3, "after a suspend");
}

#[test]
fn the_first_error_and_the_result_so_far_go_along() {
    let mut rig = Rig::new();
    let area = area(&mut rig, false);
    // Thread 0 fails, thread 1 ends well, the others wait for a flag.
    rig.load(
        0,
        &[
            bne(11, 0, 8),
            EBREAK,
            addi(5, 0, 1),
            beq(11, 5, 12),
            ld(5, 10, 0),
            beq(5, 0, -4),
            addi(10, 11, 6),
            ECALL,
        ],
    );
    let page = rig.map_ram(0, DATA, "r");
    let job = rig.launch(0, DATA, 4);
    rig.until("two ends", |rig| rig.count(Counter::Threads) == 2);
    rig.tick(100);
    assert!(save(&mut rig, job, area));
    let head = saved(&mut rig, area);
    assert_eq!(
        (head.status(), head.info(), head.result(), head.records()),
        (
            JobStatus::Breakpoint as u64,
            (crate::rig::CODE + 4) & 0xffff_ffff_ffff,
            7,
            2
        )
    );
    rig.ram.write64(page, 1);
    restore(&mut rig, area);
    let end = rig.completion(job);
    assert_eq!(
        (end.status(), end.info(), end.result()),
        (head.status(), head.info(), 7)
    );
}

#[test]
fn a_job_that_is_in_no_slot_is_not_saved() {
    let mut rig = Rig::new();
    let area = area(&mut rig, false);
    rig.load(0, &[ECALL]);
    let job = rig.launch(0, 0, 1);
    rig.completion(job);
    rig.tick(100);
    assert!(!save(&mut rig, job, area));
    assert!(!save(&mut rig, (0, 77), area));
    assert_eq!(rig.phys_bytes(area, 128), [0; 128]);
}
