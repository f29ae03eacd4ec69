//! D, exactly, page by page, while threads of two contexts store to pages of several sizes and the host revokes, clears
//! and harvests them at random.
//!
//! Each store changes the memory, so what a page holds tells whether it was stored to since its last harvest.

use crate::rig::{PATIENCE, Rig};
use hmmu_model::PhysAddr;
use hmmu_model::rv64::enc::*;
use hmmu_regs::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

const DATA: u64 = 0x7f00_0000_0000;
const LIST: u64 = 0x7e00_0000_0000;
const THREADS: u64 = 4;
const ROUNDS: u64 = 25;

/// Level, pages of 4 KiB and entries of a leaf; how many there are in each context.
const SIZES: [((u32, u64, u64), u64); 3] = [((0, 1, 1), 6), ((0, 16, 16), 3), ((1, 512, 1), 1)];
/// The first memory that is aligned for 64 KiB, and for 2 MiB. The rig takes its pages from below.
const MEMORY: [u64; 2] = [1 << 20, 2 << 20];

/// Threads store 1, 2, ... `ROUNDS` to their own word of each page of a list (a0; ends with 0), and load from each page
/// of a second list behind it.
const PROGRAM: [u32; 17] = [
    slli(5, 11, 3),
    addi(9, 0, ROUNDS as i32 + 1),
    addi(6, 0, 1),
    // A round.
    addi(28, 10, 0),
    ld(7, 28, 0),
    beq(7, 0, 20),
    add(7, 7, 5),
    sd(6, 7, 0),
    addi(28, 28, 8),
    jal(0, -20),
    // The second list.
    addi(28, 28, 8),
    ld(7, 28, 0),
    beq(7, 0, 12),
    ld(7, 7, 0),
    jal(0, -16),
    addi(6, 6, 1),
    bne(6, 9, -52),
];

struct Page {
    ctx: usize,
    va: u64,
    size: (u32, u64, u64),
    at: u64,
    /// Is it in the first list?
    target: bool,
    /// What it held when it was harvested: what is missing from it must be told of.
    told: Vec<u64>,
    /// What it held when D was last known to be clear: D must not be set as long as it holds that.
    clear: Vec<u64>,
}

impl Page {
    fn entries(&self, rig: &mut Rig) -> Vec<PhysAddr> {
        let first = rig.pte_at(self.ctx, self.va, self.size.0);
        (0..self.size.2)
            .map(|k| PhysAddr(first.0 + 8 * k))
            .collect()
    }

    fn leaf(&self) -> u64 {
        let leaf = Rig::leaf(PhysAddr(self.at), "rw");
        if self.size.2 == 16 {
            leaf.with_n(1).with_ppn(leaf.ppn() | 8).0[0]
        } else {
            leaf.0[0]
        }
    }

    fn map(&self, rig: &mut Rig) {
        for at in self.entries(rig) {
            rig.phys_write64(at, self.leaf());
        }
    }

    fn content(&self, rig: &Rig) -> Vec<u64> {
        (0..THREADS)
            .map(|t| rig.ram.read64(self.at + 8 * t))
            .collect()
    }

    fn dirty(&self, rig: &mut Rig) -> bool {
        let entries = self.entries(rig);
        entries
            .into_iter()
            .any(|at| Pte([rig.phys_read64(at)]).d() == 1)
    }

    /// A page is dirty, and has not changed. Only a store that was caught explains that.
    fn unchanged(&self, now: &[u64], label: &str) -> u64 {
        if now != self.clear {
            return 0;
        }
        assert!(
            !crate::DIRTY_IS_EXACT && self.target,
            "{label}: context {} {:#x} is dirty without a store",
            self.ctx,
            self.va
        );
        1
    }

    fn range(&self) -> (u64, u64, u64) {
        (self.ctx as u64, self.va, self.size.1 << 12)
    }

    /// Harvests the page; returns the stores that were caught.
    fn harvest(&mut self, rig: &mut Rig, revoke: bool, label: &str) -> u64 {
        let (ctx, va, len) = self.range();
        let label = format!("{label}: context {ctx} {va:#x}");
        let before = self.content(rig);
        let entries = self.entries(rig);
        if revoke {
            for at in entries {
                rig.set_byte(PhysAddr(at.0 + 7), (self.leaf() >> 56) as u8 | 0x1f);
            }
            rig.control(CtrlOp::Invalidate, ctx, va, len, 0, 0);
            let (dirty, now) = (self.dirty(rig), self.content(rig));
            assert!(dirty || now == self.told, "{label}: a store is not told of");
            let caught = if dirty {
                self.unchanged(&now, &label)
            } else {
                0
            };
            (self.told, self.clear) = (now.clone(), now);
            self.map(rig);
            rig.control(CtrlOp::Replay, ctx, va, len, 0, 0);
            return caught;
        }
        if !self.dirty(rig) {
            assert_eq!(before, self.told, "{label}: a store is not told of");
            return 0;
        }
        let clear = self.content(rig);
        for at in entries {
            let byte = rig.phys_bytes(at, 1)[0];
            rig.set_byte(at, byte & !0x80);
        }
        rig.control(CtrlOp::Invalidate, ctx, va, len, 0, 0);
        let now = self.content(rig);
        let caught = self.unchanged(&now, &label);
        (self.told, self.clear) = (now, clear);
        caught
    }
}

/// Pages of a context in both lists, and the program.
fn pages(rig: &mut Rig, ctx: usize) -> Vec<Page> {
    let mut code = PROGRAM.to_vec();
    code.extend([addi(10, 0, 0), ECALL]);
    rig.load(ctx, &code);
    let mut pages = Vec::new();
    let mut lists = [Vec::new(), Vec::new()];
    for (kind, (size, count)) in SIZES.into_iter().enumerate() {
        for k in 0..count {
            // One page of 2 MiB is all that there is memory for: in one context it is stored to.
            let target = if kind == 2 { ctx == 0 } else { k > 0 };
            let bytes = size.1 << 12;
            let at = match kind {
                0 => rig.ram_page(),
                1 => MEMORY[0] + (3 * ctx as u64 + k) * bytes,
                _ => MEMORY[1],
            };
            let va = DATA + ((kind as u64) << 30) + k * bytes;
            lists[usize::from(!target)].push(va);
            let zero = vec![0; THREADS as usize];
            let page = Page {
                ctx,
                va,
                size,
                at,
                target,
                told: zero.clone(),
                clear: zero,
            };
            page.map(rig);
            pages.push(page);
        }
    }
    let list = rig.map_ram(ctx, LIST, "r");
    let words = lists.iter().flat_map(|list| list.iter().chain(&[0]));
    for (k, word) in words.enumerate() {
        rig.ram.write64(list + 8 * k as u64, *word);
    }
    pages
}

#[test]
fn harvests_at_random_tell_of_each_store_and_of_no_other() {
    let (mut harvests, mut caught) = (0, 0);
    for seed in (0..34).step_by(crate::STEP) {
        let label = format!("seed {seed}");
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut rig = Rig::new();
        let mut all = pages(&mut rig, 0);
        all.extend(pages(&mut rig, 1));
        // The other context sees the page of 2 MiB change without a store of its own.
        all.retain(|page| page.target || page.size.1 < 512);
        let jobs = [0, 1].map(|ctx| rig.launch(ctx, LIST, THREADS));
        // Fences take turns in their places: ends are noted as they come.
        let mut ends = [None; 2];
        let end = rig.device.time() + 10 * PATIENCE;
        while ends.contains(&None) {
            assert!(rig.device.time() < end, "{label}: no end");
            rig.tick(rng.random_range(0..300));
            for (end, &job) in ends.iter_mut().zip(&jobs) {
                if end.is_none() && rig.done(job) {
                    *end = Some(rig.completion(job));
                }
            }
            while rig.take_fault().is_some() {}
            let page = rng.random_range(0..all.len());
            caught += all[page].harvest(&mut rig, rng.random_bool(0.5), &label);
            harvests += 1;
        }
        for end in ends.into_iter().flatten() {
            assert_eq!((end.status(), end.result()), (0, 0), "{label}");
        }
        for page in &all {
            let (now, dirty) = (page.content(&rig), page.dirty(&mut rig));
            let last = if page.target { ROUNDS } else { 0 };
            assert_eq!(now, vec![last; THREADS as usize], "{label}: {:#x}", page.va);
            assert!(dirty || now == page.told, "{label}: {:#x}", page.va);
            assert!(!dirty || now != page.clear, "{label}: {:#x}", page.va);
        }
    }
    println!("{harvests} harvests, {caught} stores caught");
    assert!(harvests > 60, "{harvests}");
}
