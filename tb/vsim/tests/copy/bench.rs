//! The copy engine with its world, and the reference that every descriptor is checked against.

use hmmu_regs::CopyEntry;
use hmmu_vsim::Block;
use rand::Rng;

use super::link::Link;
use super::mmu::Mmu;
use super::space::Space;
use crate::queue::layout::ring_cfg;
use crate::queue::mem_port::{MemPort, Names, word};
use crate::queue::memory::{PAGE, VRAM};
use crate::queue::{TestRng, chance, rng};

const RING_BASE: u64 = 0x2_0000;
const RING_LOG2: u64 = 4;
const FENCES: u64 = 0x3_0000;
const SOURCE_VPN: u64 = 0x7_f000_0120;
const DEST_VPN: u64 = 0xf_ff80_0050;
/// Pages of each area.
pub const AREA: u64 = 6;
/// Contexts in use.
pub const CONTEXTS: [u64; 2] = [3, 9];
const PHYSICAL: [u64; 4] = [0x400, 0x500, VRAM / PAGE | 0x40, VRAM / PAGE | 0x50];

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
    submitted: Vec<CopyEntry>,
    /// Ends, in ring order.
    pub ends: Vec<Ending>,
    interrupts: u32,
    bytes_counted: u64,
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
                space.add_page((ctx, DEST_VPN + page), true, &mut rng);
            }
        }
        for base in PHYSICAL {
            (0..AREA).for_each(|page| space.add_physical(base + page));
        }
        ring_cfg::BASE.set(&mut block, "ring_i", RING_BASE);
        ring_cfg::SIZE_LOG2.set(&mut block, "ring_i", RING_LOG2);
        for (port, value) in [("enable_i", 1), ("cfg_mps_i", 1), ("cfg_mrrs_i", 2)] {
            block.set(port, value);
        }
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
            submitted: Vec::new(),
            ends: Vec::new(),
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
        let small = chance(rng, 40);
        self.block.set("cfg_mps_i", u64::from(!small));
        self.link.max_burst = if small { 128 } else { 256 };
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

    /// A random copy or fill.
    pub fn random_entry(&mut self) -> CopyEntry {
        let area = AREA * PAGE;
        let rng = &mut self.rng;
        let len = match rng.random_range(0..10) {
            0 => 0,
            1..4 => rng.random_range(1..48),
            4..6 => PAGE * rng.random_range(1..4),
            6..8 => rng.random_range(1..1200),
            _ => rng.random_range(1..area),
        };
        let fill = chance(rng, 15);
        let aligned = chance(rng, 30);
        let mut at = |len: u64| {
            let offset = rng.random_range(0..=area - len);
            if aligned {
                offset & !(PAGE - 1)
            } else if fill {
                offset & !7
            } else {
                offset
            }
        };
        let (from, to) = (at(len), at(len));
        let [src_va, dst_va, src_vram, dst_vram] = [50, 50, 50, 50].map(|p| chance(rng, p));
        let src = if fill {
            rng.random()
        } else {
            Self::address(false, src_va, src_vram, from)
        };
        CopyEntry::default()
            .with_version(1)
            .with_op(if fill { 2 } else { 1 })
            .with_irq(u64::from(chance(rng, 50)))
            .with_src_va(u64::from(src_va))
            .with_dst_va(u64::from(dst_va))
            .with_ctx(CONTEXTS[rng.random_range(0..2)])
            .with_src(src)
            .with_dst(Self::address(true, dst_va, dst_vram, to))
            .with_len(if fill { len & !7 } else { len })
    }

    /// Puts a descriptor into the ring; its fence is filled in here.
    pub fn submit(&mut self, entry: CopyEntry) {
        let number = self.submitted.len() as u64;
        let entry = entry
            .with_fence_addr(FENCES + 32 * number)
            .with_fence_value(0xabc0_0000 + number);
        let slot = number & ((1 << RING_LOG2) - 1);
        self.space
            .memory
            .write_words(RING_BASE + 64 * slot, &entry.0);
        self.submitted.push(entry);
        ring_cfg::INDEX.set(&mut self.block, "ring_i", number + 1);
    }

    /// Descriptors that have not ended.
    pub fn open(&self) -> usize {
        self.submitted.len() - self.ends.len()
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
        if self.block.get("kill_done_o") == 1 {
            self.kill = None;
        }
        self.block.clock();
    }

    /// Runs until all descriptors have ended and nothing is on its way.
    pub fn finish(&mut self) {
        let limit = self.cycle + 400_000;
        while self.open() > 0 || self.mmu.is_draining() || self.block.get("idle_o") == 0 {
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
        assert_eq!(
            self.block.get("cons_o"),
            self.ends.len() as u64,
            "seed {}",
            self.seed
        );
        let wanted = self.submitted.iter().filter(|e| e.irq() == 1).count();
        assert_eq!(
            self.interrupts as usize, wanted,
            "seed {}: interrupts",
            self.seed
        );
        let written: u64 = self.ends.iter().map(|e| e.result).sum();
        assert_eq!(
            self.bytes_counted, written,
            "seed {}: bytes counted",
            self.seed
        );
        let physical: Vec<u64> = PHYSICAL
            .iter()
            .flat_map(|&base| base..base + AREA)
            .collect();
        self.space.compare(&physical, self.seed);
    }

    /// A completion has been written: words 2 and 3 first, then 0 and 1.
    fn report(&mut self, addr: u64, data: &[u8; 16]) {
        let number = self.ends.len();
        let entry = *self.submitted.get(number).expect("a descriptor is open");
        if addr == entry.fence_addr() + 16 {
            return;
        }
        assert_eq!(
            addr,
            entry.fence_addr(),
            "seed {}: place of completion {number}",
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
        assert!(
            result <= entry.len(),
            "seed {}: wrote {result} of {}",
            self.seed,
            entry.len()
        );
        if ending.status == 0 {
            assert_eq!(
                result,
                entry.len(),
                "seed {}: descriptor {number}",
                self.seed
            );
        }
        self.apply(&entry, result);
        self.ends.push(ending);
    }

    /// Does the copy in the reference, and compares the destination at once.
    fn apply(&mut self, entry: &CopyEntry, len: u64) {
        let fill = entry.op() == 2;
        let ctx = entry.ctx();
        let side = |va: u64| (va == 1).then_some(ctx);
        for k in 0..len {
            let byte = if fill {
                entry.src().to_le_bytes()[(k % 8) as usize]
            } else {
                let at = Space::reference_place(entry.src().wrapping_add(k), side(entry.src_va()));
                self.space.reference.byte(at)
            };
            let to = entry.dst().wrapping_add(k);
            self.space
                .reference
                .write(Space::reference_place(to, side(entry.dst_va())), &[byte]);
            let is = self
                .space
                .memory
                .byte(self.space.place(to, side(entry.dst_va())));
            assert_eq!(
                is, byte,
                "seed {}: byte {k} of {entry:?} when its completion came",
                self.seed
            );
        }
    }
}
