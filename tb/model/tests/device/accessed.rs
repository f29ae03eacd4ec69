//! Accessed bits harvested in bulk: what is told and cleared, and that nothing is lost beside a job.

use crate::rig::Rig;
use hmmu_model::rv64::enc::*;
use hmmu_model::{LinkError, PhysAddr};
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;
/// Results go here, in system memory or in VRAM, where no table reaches.
const RESULT: u64 = 0x3f_0000;
/// Bit of HarvestBits' arg1.
const CLEAR: u64 = 1 << 16;

/// Threads load or store one word of their own page: even threads load, odd threads store.
const MIXED: [u32; 8] = [
    slli(5, 11, 12),
    add(5, 5, 10),
    andi(6, 11, 1),
    beq(6, 0, 12),
    sd(11, 5, 0),
    ECALL,
    ld(7, 5, 0),
    ECALL,
];

/// What a harvest has told.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    accessed: Vec<bool>,
    dirty: Vec<bool>,
    status: u64,
}

fn start(rig: &mut Rig, table: PhysAddr, count: u64, mode: u64, result: u64) -> (u64, u64) {
    let (at, value) = rig.new_fence();
    let entry = Rig::control_entry(CtrlOp::HarvestBits, 0, 0, 0, table.0, count | mode)
        .with_arg2(result)
        .with_fence_addr(at)
        .with_fence_value(value);
    rig.push(reg::CTRL_BASE, entry.0);
    (at, value)
}

/// Harvests `count` entries. Where the result goes something else was before.
fn harvest(rig: &mut Rig, table: PhysAddr, count: u64, mode: u64) -> Told {
    let result = match mode {
        CLEAR => PhysAddr(RESULT + 4096 - 192),
        _ => PhysAddr(PhysAddr::VRAM | RESULT),
    };
    rig.phys_set(result, &[0xff; 192]);
    let fence = start(rig, table, count, mode, result.0);
    rig.until("harvest", |rig| rig.done(fence));
    let bytes = rig.phys_bytes(result, 192);
    assert!(
        bytes[144..].iter().all(|byte| *byte == 0xff),
        "beyond the result"
    );
    let bits = |from: usize| -> Vec<bool> {
        (0..512)
            .map(|i| bytes[from + i / 8] >> (i % 8) & 1 == 1)
            .collect()
    };
    let (accessed, dirty) = (bits(0), bits(64));
    let count = count as usize;
    assert!(
        !accessed[count..]
            .iter()
            .chain(&dirty[count..])
            .any(|bit| *bit)
    );
    let end = HarvestEnd::from_bytes(bytes[128..144].try_into().expect("16 bytes"));
    Told {
        accessed: accessed[..count].to_vec(),
        dirty: dirty[..count].to_vec(),
        status: end.status(),
    }
}

fn ok(told: &Told) {
    assert_eq!(told.status, JobStatus::Ok as u64);
}

fn run_mixed(rig: &mut Rig, ctx: usize, threads: u64) {
    let fence = rig.launch(ctx as u64, DATA, threads);
    assert_eq!(rig.completion(fence).status(), 0);
}

#[test]
fn it_tells_what_was_used_and_clears_a_alone() {
    for ctx in 0..2 {
        let mut rig = Rig::new();
        rig.load(ctx, &MIXED);
        for page in 0..32 {
            rig.map_ram(ctx, DATA + 4096 * page, "rw");
        }
        let table = rig.pte_at(ctx, DATA, 0);
        run_mixed(&mut rig, ctx, 24);
        let used: Vec<bool> = (0..40).map(|page| page < 24).collect();
        let stored: Vec<bool> = (0..40).map(|page| page < 24 && page % 2 == 1).collect();
        let entries = |rig: &mut Rig| rig.phys_bytes(table, 8 * 512);
        let before = entries(&mut rig);
        // Only looking changes nothing.
        for _ in 0..2 {
            let told = harvest(&mut rig, table, 40, 0);
            ok(&told);
            assert_eq!((&told.accessed, &told.dirty), (&used, &stored));
            assert_eq!(entries(&mut rig), before);
        }
        let told = harvest(&mut rig, table, 40, CLEAR);
        ok(&told);
        assert_eq!((&told.accessed, &told.dirty), (&used, &stored));
        let cleared: Vec<u8> = before
            .chunks(8)
            .flat_map(|raw| {
                let pte = Pte::from_bytes(raw.try_into().expect("an entry"));
                pte.with_a(0).to_bytes()
            })
            .collect();
        assert_eq!(entries(&mut rig), cleared);
        // Nothing is left to tell of but D.
        let told = harvest(&mut rig, table, 40, CLEAR);
        ok(&told);
        assert_eq!(told.accessed, [false; 40]);
        assert_eq!(told.dirty, stored);
        // After an invalidation the next use is told of.
        rig.control(CtrlOp::Invalidate, ctx as u64, DATA, 40 * 4096, 0, 0);
        run_mixed(&mut rig, ctx, 5);
        let told = harvest(&mut rig, table, 8, CLEAR);
        ok(&told);
        assert_eq!(told.accessed, used[19..27]);
    }
}

#[test]
fn a_whole_table_and_its_last_entries() {
    for ctx in 0..2 {
        let mut rig = Rig::new();
        let page = rig.ram_page();
        let leaf = |i: u64| {
            let leaf = Rig::leaf(PhysAddr(page), "rw");
            leaf.with_a(u64::from(i.is_multiple_of(3)))
                .with_d(u64::from(i.is_multiple_of(5)))
        };
        let table = rig.pte_at(ctx, DATA, 0);
        let bytes: Vec<u8> = (0..512).flat_map(|i| leaf(i).to_bytes()).collect();
        rig.phys_set(table, &bytes);
        let every = |n: u64, range: std::ops::Range<u64>| -> Vec<bool> {
            range.map(|i| i.is_multiple_of(n)).collect()
        };
        let told = harvest(&mut rig, PhysAddr(table.0 + 8 * 504), 8, CLEAR);
        ok(&told);
        assert_eq!(told.accessed, every(3, 504..512));
        let told = harvest(&mut rig, table, 512, CLEAR);
        ok(&told);
        assert_eq!(told.dirty, every(5, 0..512));
        assert_eq!(told.accessed[..504], every(3, 0..504));
        assert_eq!(told.accessed[504..], [false; 8]);
    }
}

#[test]
fn leaves_of_every_size_are_told_of_and_pointers_are_left_alone() {
    let mut rig = Rig::new();
    rig.load(0, &[ld(5, 10, 0), ECALL]);
    // A pointer to a table of 4 KiB leaves, then a leaf of 2 MiB; in the table a leaf of 64 KiB.
    let napot = rig.pte_at(0, DATA, 0);
    let large = rig.pte_at(0, DATA + (2 << 20), 1);
    let leaf = Rig::leaf(PhysAddr(2 << 20), "r");
    rig.phys_write64(large, leaf.0[0]);
    for i in 0..16 {
        let part = leaf.with_n(1).with_ppn(leaf.ppn() | 8);
        rig.phys_write64(PhysAddr(napot.0 + 8 * i), part.0[0]);
    }
    let upper = PhysAddr(large.0 - 8);
    for at in [DATA + 5 * 4096, DATA + (2 << 20) + 77 * 4096] {
        let fence = rig.launch(0, at, 1);
        assert_eq!(rig.completion(fence).status(), 0);
    }
    let pointer = rig.phys_read64(upper);
    let told = harvest(&mut rig, upper, 8, CLEAR);
    ok(&told);
    assert_eq!(
        told.accessed,
        [false, true, false, false, false, false, false, false]
    );
    assert_eq!(rig.phys_read64(upper), pointer);
    assert_eq!(rig.phys_read64(large), leaf.0[0]);
    // One of the sixteen speaks for all.
    let told = harvest(&mut rig, napot, 16, CLEAR);
    ok(&told);
    let of_five: Vec<bool> = (0..16).map(|i| i == 5).collect();
    assert_eq!(told.accessed, of_five);
}

#[test]
fn an_entry_that_is_being_taken_away_keeps_its_bits() {
    let mut rig = Rig::new();
    rig.load(0, &MIXED);
    for page in 0..8 {
        rig.map_ram(0, DATA + 4096 * page, "rw");
    }
    run_mixed(&mut rig, 0, 8);
    rig.revoke(0, DATA + 3 * 4096);
    let table = rig.pte_at(0, DATA, 0);
    let told = harvest(&mut rig, table, 8, CLEAR);
    ok(&told);
    let but_three: Vec<bool> = (0..8).map(|page| page != 3).collect();
    assert_eq!(told.accessed, but_three);
    let pte = rig.pte(0, DATA + 3 * 4096);
    assert_eq!((pte.a(), pte.d()), (1, 1));
}

/// Threads load from and store to the pages in turn, round after round; odd threads store.
fn rounds(pages: i32, rounds: i32) -> [u32; 17] {
    [
        slli(5, 11, 3),
        add(10, 10, 5),
        lui(8, 1),
        addi(9, 0, rounds),
        andi(5, 11, 1),
        // A round.
        addi(6, 10, 0),
        addi(7, 0, pages),
        bne(5, 0, 12),
        ld(11, 6, 0),
        jal(0, 8),
        sd(9, 6, 0),
        add(6, 6, 8),
        addi(7, 7, -1),
        bne(7, 0, -24),
        addi(9, 9, -1),
        bne(9, 0, -40),
        ECALL,
    ]
}

/// Harvests beside a job that uses all of its pages in every round. After each harvest and invalidation, all that are
/// used from then on are told of in the next: no page is missed for longer than a round takes.
fn beside_a_job(ctx: usize, pause: u64) {
    const PAGES: u64 = 16;
    const ROUNDS: i32 = 60;
    let mut rig = Rig::new();
    rig.load(ctx, &rounds(PAGES as i32, ROUNDS));
    let mut pages = Vec::new();
    for page in 0..PAGES {
        pages.push(rig.map_ram(ctx, DATA + 4096 * page, "rw"));
    }
    let table = rig.pte_at(ctx, DATA, 0);
    let fence = rig.launch(ctx as u64, DATA, 4);
    // Thread 1 leaves in each page the number of rounds that are to come.
    let left = |rig: &Rig| -> Vec<u64> { pages.iter().map(|at| rig.ram.read64(at + 8)).collect() };
    let mut harvests = 0;
    let mut since = vec![0; PAGES as usize];
    let mut first = true;
    while !rig.done(fence) {
        rig.tick(pause);
        let now = left(&rig);
        let told = harvest(&mut rig, table, PAGES, CLEAR);
        ok(&told);
        for page in 0..PAGES as usize {
            // Stored to since the last invalidation was over: through a translation that was walked for after it.
            let used = if first {
                now[page] != 0
            } else {
                now[page] != since[page]
            };
            assert!(
                told.accessed[page] || !used,
                "page {page} after {harvests} harvests"
            );
            assert!(
                told.dirty[page] || now[page] == 0,
                "page {page} is not dirty"
            );
        }
        rig.control(CtrlOp::Invalidate, ctx as u64, DATA, PAGES * 4096, 0, 0);
        since = left(&rig);
        first = false;
        harvests += 1;
        assert!(harvests < 1000, "the job does not get on");
    }
    assert_eq!(rig.completion(fence).status(), 0);
    assert!(harvests > 4, "{harvests}");
    for page in 0..PAGES {
        let pte = rig.pte(ctx, DATA + 4096 * page);
        assert_eq!((pte.v(), pte.d()), (1, 1));
        assert_eq!(pte.ppn(), pages[page as usize] >> 12);
    }
}

#[test]
fn beside_a_job_no_use_of_a_page_is_missed() {
    // Long enough for the walks of a round: a job whose translations go at once gets nowhere.
    for pause in (400..1000).step_by(117) {
        beside_a_job(0, pause);
        beside_a_job(1, pause);
    }
}

#[test]
fn sizes_and_addresses_that_do_not_exist_stop_the_ring() {
    let good = Rig::control_entry(CtrlOp::HarvestBits, 0, 0, 0, PhysAddr::VRAM, 8);
    let bad = [
        good.with_arg1(0),
        good.with_arg1(520),
        good.with_arg1(0x1000 | 8),
        good.with_arg1(12),
        good.with_arg0(PhysAddr::VRAM | 32),
        good.with_arg2(16),
    ];
    for entry in bad {
        let mut rig = Rig::new();
        rig.push(reg::CTRL_BASE, entry.0);
        rig.until("stop", |rig| {
            rig.device.read_register(reg::STATUS) >> 8 & 1 == 1
        });
        let info = rig.device.read_register(reg::ERROR_INFO);
        let want = (ErrorCode::BadEntry as u64, Client::Ctrl as u64);
        assert_eq!((info & 0xff, info >> 8 & 0xff), want);
    }
}

#[test]
fn a_table_that_cannot_be_read_ends_it_and_the_ring_goes_on() {
    for error in [
        LinkError::Timeout,
        LinkError::Unsupported,
        LinkError::Poisoned,
    ] {
        let mut rig = Rig::new();
        rig.load(1, &MIXED);
        for page in 0..8 {
            rig.map_ram(1, DATA + 4096 * page, "rw");
        }
        run_mixed(&mut rig, 1, 8);
        let table = rig.pte_at(1, DATA, 0);
        rig.ram.fail(table.0 >> 12, error);
        let told = harvest(&mut rig, table, 512, CLEAR);
        assert_eq!(told.status, JobStatus::MemoryError as u64);
        let info = rig.device.read_register(reg::ERROR_INFO);
        assert_ne!(info & 0xff, 0);
        assert_eq!(info >> 8 & 0xff, Client::Ctrl as u64);
        rig.ram.heal();
        let told = harvest(&mut rig, table, 8, CLEAR);
        ok(&told);
        assert_eq!(told.accessed, [true; 8]);
    }
    let mut rig = Rig::new();
    let beyond = PhysAddr(PhysAddr::VRAM | 1 << 40);
    let told = harvest(&mut rig, beyond, 64, CLEAR);
    assert_eq!(told.status, JobStatus::MemoryError as u64);
    let info = rig.device.read_register(reg::ERROR_INFO);
    assert_eq!(info & 0xff, ErrorCode::VramRange as u64);
}

#[test]
fn no_fault_delays_it() {
    let mut rig = Rig::new();
    rig.load(0, &MIXED);
    // A ring of two records, and threads on pages that are not there.
    rig.device.write_register(reg::FAULT_SIZE, 1);
    let fence = rig.launch(0, DATA, 24);
    rig.until("a full fault ring", |rig| {
        rig.device.read_register(reg::STATUS) >> 3 & 1 == 1
    });
    rig.map_ram(1, DATA, "rw");
    let table = rig.pte_at(1, DATA, 0);
    let told = harvest(&mut rig, table, 512, CLEAR);
    ok(&told);
    assert!(!rig.done(fence));
}
