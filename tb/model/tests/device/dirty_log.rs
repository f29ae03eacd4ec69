//! The dirty log: every D bit that the device sets is told once, and a harvest by the log misses no store.

use crate::rig::{CODE, Rig};
use hmmu_model::PhysAddr;
use hmmu_model::rv64::enc::*;
use hmmu_regs::*;
use std::collections::{BTreeMap, BTreeSet};

const DATA: u64 = 0x7f00_0000_0000;
/// Bit of CtxSet's arg1: D bits are logged.
const LOGGED: u64 = 4;
/// Bit of STATUS.
const LOG_FULL: u64 = 1 << 4;

/// The host's end of the log.
struct Log {
    base: u64,
    log2: u32,
    seen: u32,
}

impl Log {
    fn new(rig: &mut Rig, log2: u32) -> Self {
        let base = rig.ram_page();
        rig.device.write_register(reg::DIRTY_BASE, base);
        rig.device.write_register(reg::DIRTY_SIZE, u64::from(log2));
        Self {
            base,
            log2,
            seen: 0,
        }
    }

    /// The next record, if it is there, by its phase alone.
    fn take(&mut self, rig: &mut Rig) -> Option<DirtyRecord> {
        let size = 1 << self.log2;
        let at = self.base + 16 * u64::from(self.seen % size);
        let record = DirtyRecord([rig.ram.read64(at), rig.ram.read64(at + 8)]);
        let phase = u64::from(!(self.seen / size) & 1);
        if record.version() != FORMAT_VERSION || record.phase() != phase {
            return None;
        }
        self.seen += 1;
        rig.device
            .write_register(reg::DIRTY_CONS, u64::from(self.seen));
        Some(record)
    }
}

fn log_context(rig: &mut Rig, ctx: usize) {
    let root = rig.roots[ctx].0;
    let mode = CtxMode::Translate as u64 | LOGGED;
    rig.control(CtrlOp::CtxSet, ctx as u64, 0, 0, root, mode);
}

/// Each thread stores to its own page.
const STORE: [u32; 4] = [slli(5, 11, 12), add(5, 5, 10), sd(11, 5, 0), ECALL];

#[test]
fn every_bit_that_is_set_is_told_once() {
    for ctx in 0..2 {
        let mut rig = Rig::new();
        let mut log = Log::new(&mut rig, 2);
        log_context(&mut rig, ctx);
        // The other context is not logged.
        for ctx in 0..2 {
            rig.load(ctx, &STORE);
            for page in 0..24 {
                rig.map_ram(ctx, DATA + 4096 * page, "rw");
            }
        }
        let other = rig.launch(1 - ctx as u64, DATA, 24);
        let fence = rig.launch(ctx as u64, DATA, 24);
        let mut told = Vec::new();
        rig.until("job", |rig| {
            if let Some(record) = log.take(rig) {
                assert_eq!((record.ctx(), record.order()), (ctx as u64, 0));
                told.push((record.addr() - DATA) / 4096);
            }
            rig.done(fence) && rig.done(other) && told.len() == 24
        });
        told.sort_unstable();
        assert_eq!(told, (0..24).collect::<Vec<u64>>());
        rig.tick(100);
        assert!(log.take(&mut rig).is_none());
        assert_eq!(rig.count(Counter::DirtyRecords), 24);
        assert_eq!(rig.count(Counter::DUpdates), 48);
        // Again: the bits are set, nothing is told.
        let fence = rig.launch(ctx as u64, DATA, 24);
        assert_eq!(rig.completion(fence).status(), 0);
        rig.tick(100);
        assert_eq!(rig.count(Counter::DirtyRecords), 24);
    }
}

#[test]
fn the_device_tells_how_many_records_are_to_come() {
    for ctx in 0..2 {
        let mut rig = Rig::new();
        let mut log = Log::new(&mut rig, 1);
        log_context(&mut rig, ctx);
        rig.load(ctx, &STORE);
        for page in 0..14 {
            rig.map_ram(ctx, DATA + 4096 * page, "rw");
        }
        assert_eq!(rig.device.read_register(reg::DIRTY_NEXT), 0);
        let fence = rig.launch(ctx as u64, DATA, 14);
        assert_eq!(rig.completion(fence).status(), 0);
        // All stores have been made. Most records still wait, as the log has room for two.
        assert_eq!(rig.device.read_register(reg::DIRTY_NEXT), 14);
        assert!(rig.device.read_register(reg::DIRTY_PROD) <= 2);
        let mut told = BTreeSet::new();
        while log.seen < 14 {
            match log.take(&mut rig) {
                Some(record) => assert!(told.insert(record.addr()), "told twice"),
                None => rig.tick(1),
            }
        }
        assert_eq!(told.len(), 14);
        assert_eq!(rig.device.read_register(reg::DIRTY_NEXT), 14);
        assert_eq!(rig.device.read_register(reg::DIRTY_PROD), 14);
    }
}

#[test]
fn a_full_log_holds_back_stores_to_clean_pages_and_nothing_else() {
    let mut rig = Rig::new();
    let mut log = Log::new(&mut rig, 1);
    log_context(&mut rig, 0);
    for ctx in 0..2 {
        for page in 0..40 {
            rig.map_ram(ctx, DATA + 4096 * page, "rw");
        }
    }
    rig.load(0, &rounds(40, 1));
    rig.load(1, &STORE);
    let held = rig.launch(0, DATA, 2);
    rig.until("full log", |rig| {
        rig.device.read_register(reg::STATUS) & LOG_FULL != 0
    });
    rig.tick(3000);
    assert!(!rig.done(held));
    assert!(rig.irqs.contains(&(Vector::Dirty as u32)));
    // Another context stores, a page of this one is taken away, a program of it ends.
    let other = rig.launch(1, DATA, 40);
    assert_eq!(rig.completion(other).status(), 0);
    for page in 0..40 {
        rig.invalidate(0, DATA + 4096 * page);
    }
    assert!(!rig.done(held));
    let mut told = BTreeSet::new();
    rig.until("job", |rig| {
        if let Some(record) = log.take(rig) {
            assert!(told.insert(record.addr()), "told twice");
        }
        rig.done(held) && told.len() == 40
    });
    assert_eq!(rig.completion(held).status(), 0);
    assert_eq!(rig.device.read_register(reg::STATUS) & LOG_FULL, 0);
}

#[test]
fn stores_of_several_contexts_that_wait_for_the_log_leave_walks_to_others() {
    let mut rig = Rig::new();
    // The stores that wait hold 30 warps; the loads need others.
    if rig.warps() < 32 {
        return;
    }
    let mut log = Log::new(&mut rig, 1);
    for ctx in 0..2 {
        log_context(&mut rig, ctx);
        for page in 0..64 {
            rig.map_ram(ctx, DATA + 4096 * page, "rw");
        }
    }
    // A context that is not logged shares the tables of context 0.
    let root = rig.roots[0].0;
    rig.control(CtrlOp::CtxSet, 2, 0, 0, root, CtxMode::Translate as u64);
    rig.load(1, &STORE);
    // Behind the program that stores, one that loads.
    let load = [slli(5, 11, 12), add(5, 5, 10), ld(6, 5, 0), ECALL];
    rig.load(0, &[STORE, load].concat());
    // More stores to clean pages than there is room for records and walks.
    let first = rig.launch(1, DATA, 14);
    assert_eq!(rig.completion(first).status(), 0);
    let second = rig.launch(0, DATA, 16);
    rig.until("full log", |rig| {
        rig.device.read_register(reg::STATUS) & LOG_FULL != 0
    });
    rig.tick(3000);
    let third = rig.launch(1, DATA + 4096 * 32, 14);
    rig.tick(5000);
    assert!(!rig.done(third));
    // Loads of a logged context, of pages that nobody has walked for, and stores of one that is not logged.
    let (entry, loads) = rig.launch_entry(0, DATA + 4096 * 16, 4);
    rig.push(reg::LAUNCH_BASE, entry.with_entry(CODE + 16).0);
    assert_eq!(rig.completion(loads).status(), 0);
    let others = rig.launch(2, DATA + 4096 * 40, 2);
    assert_eq!(rig.completion(others).status(), 0);
    assert!(!rig.done(second) && !rig.done(third));
    rig.until("jobs", |rig| {
        log.take(rig);
        rig.done(second) && rig.done(third)
    });
}

#[test]
fn a_context_whose_stores_wait_for_the_log_can_be_stopped() {
    let mut rig = Rig::new();
    Log::new(&mut rig, 1);
    log_context(&mut rig, 0);
    rig.load(0, &rounds(40, 1));
    for page in 0..40 {
        rig.map_ram(0, DATA + 4096 * page, "rw");
    }
    let held = rig.launch(0, DATA, 2);
    rig.until("full log", |rig| {
        rig.device.read_register(reg::STATUS) & LOG_FULL != 0
    });
    rig.control(CtrlOp::Stop, 0, 0, 0, 0, 0);
    assert_eq!(rig.completion(held).status(), JobStatus::Stopped as u64);
}

const PAGES: u64 = 12;
const THREADS: u64 = 4;

/// Threads store 1, 2, ... `rounds` to their own word of each of `pages` pages.
fn rounds(pages: u64, rounds: u32) -> [u32; 14] {
    [
        slli(5, 11, 3),
        add(10, 10, 5),
        lui(8, 1),
        addi(9, 0, rounds as i32 + 1),
        addi(5, 0, 1),
        // A round.
        addi(6, 10, 0),
        addi(7, 0, pages as i32),
        sd(5, 6, 0),
        add(6, 6, 8),
        addi(7, 7, -1),
        bne(7, 0, -12),
        addi(5, 5, 1),
        bne(5, 9, -28),
        ECALL,
    ]
}

/// Harvests as a driver does: for each record clears D, makes the device forget the page, and only then looks at it.
/// What a page holds at the end must be what its last harvest saw, or a record of it must be left.
fn harvest(ctx: usize, pause: u64) {
    let mut rig = Rig::new();
    let mut log = Log::new(&mut rig, 4);
    log_context(&mut rig, ctx);
    rig.load(ctx, &rounds(PAGES, 30));
    let mut pages = BTreeMap::new();
    for page in 0..PAGES {
        let va = DATA + 4096 * page;
        pages.insert(va, rig.map_ram(ctx, va, "rw"));
    }
    let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let look = |rig: &Rig, at: u64| -> Vec<u64> {
        (0..THREADS).map(|t| rig.ram.read64(at + 8 * t)).collect()
    };
    let fence = rig.launch(ctx as u64, DATA, THREADS);
    let mut harvests = 0;
    while !rig.done(fence) {
        rig.tick(pause);
        while let Some(record) = log.take(&mut rig) {
            let va = record.addr();
            let entry = rig.pte_at(ctx, va, 0);
            clear_dirty(&mut rig, entry);
            rig.invalidate(ctx as u64, va);
            seen.insert(va, look(&rig, pages[&va]));
            harvests += 1;
        }
    }
    assert_eq!(rig.completion(fence).status(), 0);
    rig.tick(200);
    let mut left = BTreeSet::new();
    while let Some(record) = log.take(&mut rig) {
        left.insert(record.addr());
    }
    assert!(harvests > PAGES, "{harvests}");
    for (va, at) in pages {
        let now = look(&rig, at);
        assert_eq!(now, [30; THREADS as usize]);
        assert!(
            left.contains(&va) || seen.get(&va) == Some(&now),
            "stores to {va:#x} were never told of: {:?} at its last harvest",
            seen.get(&va)
        );
        // Who has a record has its D bit, and who has D a record.
        let dirty = rig.pte(ctx, va).d() == 1;
        assert_eq!(dirty, left.contains(&va), "{va:#x}");
    }
}

fn clear_dirty(rig: &mut Rig, entry: PhysAddr) {
    let byte = rig.phys_bytes(entry, 1)[0];
    rig.phys_set(entry, &[byte & !0x80]);
}

#[test]
fn a_harvest_by_the_log_misses_no_store() {
    for pause in (1..400).step_by(37) {
        harvest(0, pause);
        harvest(1, pause);
    }
}
