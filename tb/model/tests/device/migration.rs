//! Pages move between system memory and VRAM under running threads, by the protocol that drivers use: nothing is
//! lost, and an entry is dirty if its page changed.

use crate::rig::Rig;
use hmmu_model::rv64::enc::*;
use hmmu_model::{BusAddr, DeviceConfig, Latency, PhysAddr, VramAddr};
use hmmu_regs::*;

const DATA: u64 = 0x7f00_0000_0000;
const PAGES: u64 = 6;
const THREADS: u64 = 6;
const ROUNDS: i32 = 60;

/// In each round a thread increments its own word of a page by load and store, and the page's word 0 by an
/// atomic; then it goes to the next page. a0 = DATA, a1 = index.
fn program() -> Vec<u32> {
    vec![
        addi(20, 0, ROUNDS),
        addi(21, 11, 0), // page
        addi(22, 0, PAGES as i32),
        addi(23, 0, 1),
        slli(24, 11, 3), // own word, behind word 0
        remu(5, 21, 22), // each round starts here
        slli(5, 5, 12),
        add(5, 5, 10),
        amoadd_d(0, 5, 23),
        add(6, 5, 24),
        ld(7, 6, 8),
        addi(7, 7, 1),
        sd(7, 6, 8),
        addi(21, 21, 1),
        addi(20, 20, -1),
        bne(20, 0, -40),
        addi(10, 0, 0),
        ECALL,
    ]
}

/// The host's dice.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

struct Host {
    rig: Rig,
    /// Where each page is, and the other place that it can be at.
    places: Vec<[PhysAddr; 2]>,
    /// Its content when it was last mapped.
    mapped: Vec<Vec<u8>>,
}

impl Host {
    fn content(&mut self, at: PhysAddr) -> Vec<u8> {
        self.rig.phys_bytes(at, 4096)
    }

    fn map(&mut self, page: u64) {
        let at = self.places[page as usize][0];
        self.mapped[page as usize] = self.content(at);
        self.rig.map(1, DATA + 4096 * page, at, "rwa");
    }

    /// Takes a page from the device and checks its D bit.
    fn take(&mut self, page: u64, what: &str) {
        let va = DATA + 4096 * page;
        if self.rig.pte(1, va).v() == 0 {
            return;
        }
        self.rig.revoke(1, va);
        self.rig.invalidate(1, va);
        let entry = self.rig.pte(1, va);
        let now = self.content(self.places[page as usize][0]);
        let changed = now != self.mapped[page as usize];
        let dirty = entry.d() == 1;
        assert!(
            dirty == changed || (dirty && !crate::DIRTY_IS_EXACT),
            "{what}: page {page} changed: {changed}, entry {entry:x?}"
        );
        assert!(
            entry.a() >= entry.d(),
            "{what}: page {page} is dirty and not accessed"
        );
        let at = self.rig.pte_at(1, va, 0);
        self.rig.phys_write64(at, 0);
    }

    /// Moves a page that the device does not have to its other place, by the copy engine.
    fn carry(&mut self, page: u64) {
        let places = &mut self.places[page as usize];
        places.swap(0, 1);
        let [to, from] = *places;
        let entry = CopyEntry::default()
            .with_op(CopyOp::Copy as u64)
            .with_src(from.0)
            .with_dst(to.0)
            .with_len(4096);
        let fence = self.rig.copy_start(entry);
        assert_eq!(self.rig.completion(fence).status(), 0);
    }
}

fn run(seed: u64) {
    let latency = Latency {
        jitter: 9,
        seed,
        ..Latency::default()
    };
    let mut rig = Rig::with(DeviceConfig {
        latency,
        ..DeviceConfig::default()
    });
    rig.load(1, &program());
    let mut places = Vec::new();
    for _ in 0..PAGES {
        let (ram, vram) = (rig.ram_page(), rig.vram_page());
        places.push([
            PhysAddr::system(BusAddr(ram)),
            PhysAddr::vram(VramAddr(vram)),
        ]);
    }
    let fence = rig.launch(1, DATA, THREADS);
    let mut host = Host {
        rig,
        places,
        mapped: vec![Vec::new(); PAGES as usize],
    };
    let mut dice = Dice(seed);
    let what = format!("seed {seed}");
    let mut faults = 0;
    let mut moves = 0;
    while !host.rig.done(fence) {
        let idle = dice.roll(400);
        host.rig.tick(idle);
        while let Some(record) = host.rig.take_fault() {
            faults += 1;
            let page = (record.addr() - DATA) / 4096;
            if host.rig.pte(1, record.addr()).v() == 0 {
                host.map(page);
            }
            host.rig
                .control_start(CtrlOp::Replay, 1, record.addr(), 4096, 0, 0);
            host.rig.tick(100);
        }
        if dice.roll(3) == 0 {
            let page = dice.roll(PAGES);
            host.take(page, &what);
            if dice.roll(2) == 0 {
                host.carry(page);
                moves += 1;
            }
            if dice.roll(2) == 0 {
                host.map(page);
                host.rig.replay(1, DATA + 4096 * page);
            }
        }
    }
    assert_eq!(host.rig.completion(fence).status(), 0, "{what}");
    assert!(
        faults > PAGES && moves > 3,
        "{what}: {faults} faults, {moves} moves: too quiet to show anything"
    );
    for page in 0..PAGES {
        host.take(page, &what);
        let at = host.places[page as usize][0];
        let per_thread = u64::from(ROUNDS as u32) / PAGES;
        assert_eq!(
            host.rig.phys_read64(at),
            per_thread * THREADS,
            "{what}: atomics of page {page}"
        );
        for thread in 0..THREADS {
            let word = PhysAddr(at.0 + 8 + 8 * thread);
            assert_eq!(
                host.rig.phys_read64(word),
                per_thread,
                "{what}: page {page}, thread {thread}"
            );
        }
    }
}

#[test]
fn nothing_is_lost_and_dirty_bits_are_exact() {
    for seed in (0..30).step_by(crate::STEP) {
        run(seed);
    }
}
