//! The copy engine with its world, and the reference that every descriptor is checked against.

use hmmu_regs::CopyEntry;
use hmmu_vsim::Block;
use rand::Rng;

use super::link::Link;
use super::mmu::Mmu;
use super::plan::{Piece, pieces};
use super::space::Space;
use crate::queue::layout::{copy_ctl, copy_rec, copy_sta, ring_cfg};
use crate::queue::mem_port::{MemPort, Names, word};
use crate::queue::memory::{PAGE, VRAM};
use crate::queue::{TestRng, chance, rng};

const RING_BASE: u64 = 0x2_0000;
const RING_LOG2: u64 = 4;
const FENCES: u64 = 0x3_0000;
const FENCE_BYTES: u64 = 0x1_0000;
const SOURCE_VPN: u64 = 0x7_f000_0120;
const DEST_VPN: u64 = 0xf_ff80_0050;
/// Pages of each area.
pub const AREA: u64 = 6;
/// Channels.
pub const CHANNELS: usize = 4;
/// Pages from one channel's destinations to the next one's.
const APART: u64 = 8;
/// Page of semaphores.
pub const SEMAPHORES: u64 = 0x600 * PAGE;
/// Lists of segments, and how far apart they are.
pub(super) const LISTS: u64 = 0x70_0000;
pub(super) const LIST_BYTES: u64 = 0x800;
/// Contexts in use.
pub const CONTEXTS: [u64; 2] = [3, 9];
const PHYSICAL: [u64; 4] = [0x400, 0x500, VRAM / PAGE | 0x40, VRAM / PAGE | 0x80];

const RING: Names = Names {
    req_valid: "ring_req_valid_o",
    req_ready: "ring_req_ready_i",
    req: "ring_req_o",
    rsp_valid: "ring_rsp_valid_i",
    rsp: "ring_rsp_i",
};
const VRAM_PORT: Names = Names {
    req_valid: "vram_req_valid_o",
    req_ready: "vram_req_ready_i",
    req: "vram_req_o",
    rsp_valid: "vram_rsp_valid_i",
    rsp: "vram_rsp_i",
};

/// How a descriptor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    pub status: u8,
    pub info: u64,
    pub result: u64,
}

/// What a channel was given, and how that ended, in ring order.
#[derive(Default)]
struct Chan {
    submitted: Vec<CopyEntry>,
    ends: Vec<Ending>,
    records: Vec<(u64, u64)>,
}

/// The bench.
pub struct Bench {
    pub block: Block,
    pub space: Space,
    pub link: Link,
    pub mmu: Mmu,
    pub ring: MemPort,
    pub vram: MemPort,
    pub rng: TestRng,
    pub seed: u64,
    /// Percent of cycles in which some page is taken away.
    pub invalidate: u32,
    chans: [Chan; CHANNELS],
    pub(super) lists: u64,
    interrupts: u32,
    /// Bytes that the engine has counted as written.
    pub bytes_counted: u64,
    pub errors: Vec<(u64, u64)>,
    /// Stop of this context under way: the engine has not answered yet.
    pub kill: Option<u64>,
    pub cycle: u64,
}

impl Bench {
    /// A bench with all pages there and everything fast.
    pub fn new(seed: u64) -> Self {
        let mut block = Block::new("copy_engine").expect("block");
        block.reset();
        let mut rng = rng(seed);
        let mut space = Space::new();
        for ctx in CONTEXTS {
            for page in 0..AREA {
                space.add_page((ctx, SOURCE_VPN + page), true, &mut rng);
                for chan in 0..CHANNELS as u64 {
                    space.add_page((ctx, DEST_VPN + chan * APART + page), true, &mut rng);
                }
            }
        }
        physical_pages().for_each(|page| space.add_physical(page));
        space.add_physical(SEMAPHORES / PAGE);
        for chan in 0..CHANNELS {
            let of = |field: crate::queue::layout::Field| field.of(chan, ring_cfg::BITS);
            of(ring_cfg::BASE).set(&mut block, "ring_i", ring_base(chan));
            of(ring_cfg::SIZE_LOG2).set(&mut block, "ring_i", RING_LOG2);
        }
        block.set("enable_i", 1);
        Self {
            block,
            space,
            link: Link::new(),
            mmu: Mmu::new(),
            ring: MemPort::new(RING),
            vram: MemPort::new(VRAM_PORT),
            rng,
            seed,
            invalidate: 0,
            chans: std::array::from_fn(|_| Chan::default()),
            lists: 0,
            interrupts: 0,
            bytes_counted: 0,
            errors: Vec::new(),
            kill: None,
            cycle: 0,
        }
    }

    /// Makes everything slow and unruly, by the seed.
    pub fn shake(&mut self) {
        let rng = &mut self.rng;
        self.link.ready = [100, 70, 25][rng.random_range(0..3)];
        self.link.pace = [100, 60][rng.random_range(0..2)];
        self.link.latency = [(1, 4), (1, 80), (100, 140)][rng.random_range(0..3)];
        self.link.reorder = chance(rng, 60);
        self.link.split = [0, 10][rng.random_range(0..2)];
        self.ring.ready = self.link.ready;
        self.ring.latency = self.link.latency;
        self.vram.ready = [100, 80, 30][rng.random_range(0..3)];
        self.vram.latency = [(1, 1), (3, 25)][rng.random_range(0..2)];
        self.vram.in_order = chance(rng, 50);
        self.mmu.latency = [(1, 2), (3, 40)][rng.random_range(0..2)];
        self.mmu.ready = [100, 40][rng.random_range(0..2)];
        let there = rng.random_range(30..=100);
        for backing in self.space.pages.values_mut() {
            backing.present = chance(rng, there);
        }
    }

    /// Address of a byte of an area: physical, or virtual and canonical.
    pub fn address(dest: bool, virt: bool, vram: bool, offset: u64) -> u64 {
        match (virt, dest) {
            (true, false) => SOURCE_VPN * PAGE + offset,
            (true, true) => DEST_VPN * PAGE + offset | 0xffff << 48,
            (false, _) => PHYSICAL[usize::from(dest) + 2 * usize::from(vram)] * PAGE + offset,
        }
    }

    /// As [`Bench::address`], of a channel's own destination.
    pub fn dest(chan: usize, virt: bool, vram: bool, offset: u64) -> u64 {
        Self::address(true, virt, vram, chan as u64 * APART * PAGE + offset)
    }

    /// Puts a descriptor into the ring of channel 0.
    pub fn submit(&mut self, entry: CopyEntry) {
        self.submit_to(0, entry);
    }

    /// Puts a descriptor into a ring; its fence is filled in here.
    pub fn submit_to(&mut self, chan: usize, entry: CopyEntry) {
        let number = self.chans[chan].submitted.len() as u64;
        let entry = entry
            .with_fence_addr(fences(chan) + 32 * number)
            .with_fence_value(0xabc0_0000 + number);
        let slot = number & ((1 << RING_LOG2) - 1);
        self.space
            .memory
            .write_words(ring_base(chan) + 64 * slot, &entry.0);
        self.chans[chan].submitted.push(entry);
        ring_cfg::INDEX
            .of(chan, ring_cfg::BITS)
            .set(&mut self.block, "ring_i", number + 1);
    }

    /// Resets a stopped ring, and gives it what it has not done anew.
    pub fn restart(&mut self, chan: usize) {
        let reset = ring_cfg::RESET.of(chan, ring_cfg::BITS);
        let index = ring_cfg::INDEX.of(chan, ring_cfg::BITS);
        let left = self.chans[chan].submitted[self.chans[chan].ends.len()..].to_vec();
        for (slot, entry) in (0..).zip(&left) {
            let at = ring_base(chan) + 64 * slot;
            self.space.memory.write_words(at, &entry.0);
        }
        reset.set(&mut self.block, "ring_i", 1);
        index.set(&mut self.block, "ring_i", 0);
        self.step();
        reset.set(&mut self.block, "ring_i", 0);
        index.set(&mut self.block, "ring_i", left.len() as u64);
    }

    /// Sets a field of a channel's control.
    pub fn control(&mut self, chan: usize, field: crate::queue::layout::Field, value: u64) {
        field
            .of(chan, copy_ctl::BITS)
            .set(&mut self.block, "ctl_i", value);
    }

    /// A field of a channel's status.
    pub fn status(&mut self, chan: usize, field: crate::queue::layout::Field) -> bool {
        field.of(chan, copy_sta::BITS).get(&mut self.block, "sta_o") == 1
    }

    /// Entries that a channel counts as completed.
    pub fn cons(&mut self, chan: usize) -> u64 {
        self.block.get_bits("cons_o", 32 * chan as u32, 32)
    }

    /// Ends of a channel's descriptors.
    pub fn ends(&self, chan: usize) -> &[Ending] {
        &self.chans[chan].ends
    }

    /// Error records of a channel: status and address.
    pub fn records(&self, chan: usize) -> &[(u64, u64)] {
        &self.chans[chan].records
    }

    /// Descriptors of a channel that have not ended.
    pub fn open_of(&self, chan: usize) -> usize {
        self.chans[chan].submitted.len() - self.chans[chan].ends.len()
    }

    /// Descriptors that have not ended.
    pub fn open(&self) -> usize {
        (0..CHANNELS).map(|chan| self.open_of(chan)).sum()
    }

    /// One cycle.
    pub fn step(&mut self) {
        self.cycle += 1;
        if chance(&mut self.rng, self.invalidate) {
            let pages: Vec<_> = self
                .space
                .pages
                .keys()
                .copied()
                .filter(|p| !self.mmu.off.contains(&p.0))
                .collect();
            let page = pages[self.rng.random_range(0..pages.len())];
            self.mmu.invalidate(page, &mut self.space);
        }
        self.block.set("time_i", self.cycle);
        self.block
            .set("kill_valid_i", u64::from(self.kill.is_some()));
        self.block.set("kill_ctx_i", self.kill.unwrap_or(0));
        self.ring.drive(&mut self.block, &mut self.rng);
        self.vram.drive(&mut self.block, &mut self.rng);
        self.link
            .drive(&mut self.block, &self.space, &mut self.rng, self.seed);
        self.mmu
            .drive(&mut self.block, &mut self.space, &mut self.rng);
        self.block.eval();
        if let Some(access) =
            self.vram
                .sample(&mut self.block, &mut self.space.memory, &mut self.rng)
        {
            assert_eq!(
                access.addr >> 55,
                1,
                "seed {}: system address at VRAM",
                self.seed
            );
            self.space.check(access.addr, access.write, self.seed);
        }
        if let Some(access) =
            self.ring
                .sample(&mut self.block, &mut self.space.memory, &mut self.rng)
            && access.write
        {
            self.report(access.addr, &access.data);
        }
        self.link
            .sample(&mut self.block, &mut self.space, &mut self.rng, self.seed);
        self.mmu
            .sample(&mut self.block, &mut self.space, &mut self.rng);
        self.interrupts += u32::from(self.block.get("irq_copy_o") == 1);
        self.bytes_counted += self.block.get("cnt_bytes_o");
        if self.block.get("err_valid_o") == 1 {
            let error = (self.block.get("err_code_o"), self.block.get("err_addr_o"));
            self.errors.push(error);
        }
        for chan in 0..CHANNELS {
            let of = |field: crate::queue::layout::Field| field.of(chan, copy_rec::BITS);
            if of(copy_rec::VALID).get(&mut self.block, "rec_o") == 1 {
                let status = of(copy_rec::STATUS).get(&mut self.block, "rec_o");
                let addr = of(copy_rec::ADDR).get(&mut self.block, "rec_o");
                self.chans[chan].records.push((status, addr));
            }
        }
        if self.block.get("kill_done_o") == 1 {
            self.kill = None;
        }
        self.block.clock();
    }

    /// Runs until all descriptors have ended and nothing is on its way.
    pub fn finish(&mut self) {
        let limit = self.cycle + 400_000;
        while self.open() > 0
            || self.mmu.is_draining()
            || !(0..CHANNELS).all(|chan| self.status(chan, copy_sta::IDLE))
        {
            self.step();
            assert!(
                self.cycle < limit,
                "seed {}: stuck with {} open",
                self.seed,
                self.open()
            );
        }
        assert!(
            self.link.is_idle() && self.vram.is_idle(),
            "seed {}: something is still on its way",
            self.seed
        );
        for chan in 0..CHANNELS {
            let ended = self.ends(chan).len() as u64;
            assert_eq!(self.cons(chan), ended, "seed {}", self.seed);
            let wrong = |end: &&Ending| ![0, 1, 2].contains(&end.status);
            let errors: Vec<_> = self.ends(chan).iter().filter(wrong).collect();
            let told = self
                .records(chan)
                .iter()
                .map(|(status, addr)| (*status as u8, addr << 16 >> 16));
            assert!(
                told.eq(errors.iter().map(|end| (end.status, end.info))),
                "seed {}: records of channel {chan}",
                self.seed
            );
        }
        let all = || self.chans.iter().flat_map(|chan| &chan.submitted);
        let wanted = all().filter(|e| e.irq() == 1).count();
        assert_eq!(
            self.interrupts as usize, wanted,
            "seed {}: interrupts",
            self.seed
        );
        let ends = self.chans.iter().flat_map(|chan| &chan.ends);
        let written: u64 = ends.map(|e| e.result).sum();
        assert_eq!(
            self.bytes_counted, written,
            "seed {}: bytes counted",
            self.seed
        );
        let physical: Vec<u64> = physical_pages().collect();
        self.space.compare(&physical, self.seed);
    }

    /// A completion has been written: words 2 and 3 first, then 0 and 1.
    fn report(&mut self, addr: u64, data: &[u8; 16]) {
        let chan = ((addr - FENCES) / FENCE_BYTES) as usize;
        let number = self.chans[chan].ends.len();
        let entry = *self.chans[chan]
            .submitted
            .get(number)
            .expect("a descriptor is open");
        if addr == entry.fence_addr() + 16 {
            return;
        }
        assert_eq!(
            addr,
            entry.fence_addr(),
            "seed {}: place of completion {number} of channel {chan}",
            self.seed
        );
        assert_eq!(word(&data[..8]), entry.fence_value(), "seed {}", self.seed);
        assert!(
            word(&data[8..]) <= self.cycle,
            "seed {}: stamp in the future",
            self.seed
        );
        let result = self.space.memory.read_u64(addr + 16);
        let tail = self.space.memory.read_u64(addr + 24);
        let ending = Ending {
            status: tail as u8,
            info: tail >> 16,
            result,
        };
        let todo = pieces(&entry, &self.space.memory);
        let bytes: u64 = todo.iter().map(|piece| piece.len).sum();
        assert!(
            result <= bytes,
            "seed {}: wrote {result} of {bytes}",
            self.seed
        );
        if ending.status == 0 {
            assert_eq!(result, bytes, "seed {}: {number} of {chan}", self.seed);
        }
        self.apply(&entry, &todo, result);
        self.chans[chan].ends.push(ending);
    }

    /// Does the first bytes of a copy in the reference, and compares the destination at once.
    fn apply(&mut self, entry: &CopyEntry, todo: &[Piece], len: u64) {
        let ctx = entry.ctx();
        let side = |va: u64| (va == 1).then_some(ctx);
        let (from, to) = (side(entry.src_va()), side(entry.dst_va()));
        let bytes = || {
            let all = todo
                .iter()
                .flat_map(|piece| (0..piece.len).map(move |k| (piece, k)));
            all.take(len as usize)
        };
        for (piece, k) in bytes() {
            let byte = if piece.fill {
                piece.src.to_le_bytes()[(k % 8) as usize]
            } else {
                let at = Space::reference_place(piece.src.wrapping_add(k), from);
                self.space.reference.byte(at)
            };
            let at = piece.dst.wrapping_add(k);
            self.space
                .reference
                .write(Space::reference_place(at, to), &[byte]);
        }
        for (piece, k) in bytes() {
            let at = piece.dst.wrapping_add(k);
            let is = self.space.memory.byte(self.space.place(at, to));
            let must = self.space.reference.byte(Space::reference_place(at, to));
            assert_eq!(
                is, must,
                "seed {}: byte {k} of {piece:x?} when its completion came",
                self.seed
            );
        }
    }
}

fn ring_base(chan: usize) -> u64 {
    RING_BASE + 0x1000 * chan as u64
}

fn fences(chan: usize) -> u64 {
    FENCES + FENCE_BYTES * chan as u64
}

/// All physical pages that descriptors name.
fn physical_pages() -> impl Iterator<Item = u64> {
    let dests = (0..CHANNELS as u64).flat_map(|chan| [1, 3].map(|n| PHYSICAL[n] + chan * APART));
    dests
        .chain([PHYSICAL[0], PHYSICAL[2]])
        .flat_map(|base| base..base + AREA)
}
