//! Two contexts with the same virtual addresses and other pages, each with a job of several threads.

use std::collections::BTreeMap;
use std::ops::Range;

use dynasmrt::{DynasmApi, DynasmLabelApi, dynasm, riscv::RiscvRelocation};
use hmmu_regs::{
    Access, Completion, CtrlEntry, CtrlOp, CtxMode, FaultRecord, JobStatus, LaunchEntry,
};

use super::board::{Board, Fence};
use super::space::{Frames, Mapping, PAGE, Size, Space};

/// Numbers of the two contexts. Tables of the first are in VRAM, of the second in system memory.
pub const CTX: [u64; 2] = [3, 5];
pub const THREADS: u64 = 6;
const ROUNDS: u64 = 2;

const BASE: u64 = 0x7f00_0000_0000;
const CODE: u64 = 0xffff_8000_0000_0000;

/// The host serves a fault after so many cycles.
const SERVICE: u64 = 40;

/// What the job uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// 4 KiB, only read.
    Source,
    /// 4 KiB, written, with atomics on words that two threads share.
    Dest,
    /// 4 KiB, missing at first.
    Late,
    /// 64 KiB, written and read.
    Napot,
    /// 2 MiB by one leaf, read and changed by atomics.
    Large,
    /// Leaves of 4 KiB, read and written.
    Pages,
    /// 1 GiB by one leaf, read and written.
    Huge,
    /// The program.
    Code,
}

impl Place {
    pub const ALL: [Self; 8] = [
        Self::Source,
        Self::Dest,
        Self::Late,
        Self::Napot,
        Self::Large,
        Self::Pages,
        Self::Huge,
        Self::Code,
    ];

    pub fn va(self) -> u64 {
        match self {
            Self::Source => BASE,
            Self::Dest => BASE + PAGE,
            Self::Late => BASE + 2 * PAGE,
            Self::Napot => BASE + 0x1_0000,
            Self::Large => BASE + 0x20_0000,
            Self::Pages => BASE + 0x40_0000,
            Self::Huge => BASE + 0x4000_0000,
            Self::Code => CODE,
        }
    }

    /// Size of its leaves, bytes that are mapped, and what is allocated for it: the latter may be more, so that
    /// leaves become one.
    fn shape(self) -> (Size, u64, Size) {
        match self {
            Self::Napot => (Size::Napot, Size::Napot.bytes(), Size::Napot),
            Self::Large => (Size::Large, Size::Large.bytes(), Size::Large),
            Self::Pages => (Size::Small, 16 * PAGE, Size::Large),
            Self::Huge => (Size::Huge, Size::Huge.bytes(), Size::Huge),
            _ => (Size::Small, PAGE, Size::Small),
        }
    }

    /// Is it in VRAM at first? Each context has the other half there.
    pub fn in_vram(self, ctx: usize) -> bool {
        let first = matches!(self, Self::Source | Self::Large | Self::Code);
        first == (ctx == 0) || self == Self::Code
    }

    /// Where thread `t` reads first.
    fn word(self, t: u64) -> u64 {
        self.va()
            + 8 * t
            + match self {
                Self::Napot | Self::Large | Self::Pages => PAGE * t,
                Self::Huge => Size::Large.bytes() * t,
                _ => 0,
            }
    }
}

/// What the jobs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Loads, stores and atomics in every place.
    Accesses,
    /// Multiplications, divisions, LR and SC too.
    Everything,
}

/// A word of each place and thread, stores and atomics between, and the late page at the end.
fn program(work: Work) -> Vec<u8> {
    let mut ops = dynasmrt::VecAssembler::<RiscvRelocation>::new(0);
    dynasm!(ops
        ; .arch riscv64 ; .feature ma
        ; slli t0, a1, 3
        ; add s0, a0, t0
        ; lui t1, 0x1000
        ; add s1, s0, t1
        ; slli t2, a1, 12
        ; lui t1, 0x10000
        ; add s2, s0, t1
        ; add s2, s2, t2
        ; lui t1, 0x200000
        ; add s3, s0, t1
        ; add s3, s3, t2
        ; add s4, s3, t1
        ; lui t1, 0x40000000
        ; slli t3, a1, 21
        ; add s5, s0, t1
        ; add s5, s5, t3
        ; andi t6, a1, -2
        ; slli t6, t6, 2
        ; add t6, t6, a0
        ; lui t1, 0x1000
        ; add t6, t6, t1
        ; addi t6, t6, 0x400
        ; addi s6, zero, ROUNDS as i32
        ; addi s7, zero, 0
        ; again:
        ; ld t1, [s0, 0]
        ; ld t2, [s5, 0]
        ; ld t3, [s3, 0]
        ; ld t4, [s4, 0]
        ; add s7, s7, t1
        ; add s7, s7, t2
        ; add s7, s7, t3
        ; add s7, s7, t4
    );
    if work == Work::Everything {
        dynasm!(ops
            ; .arch riscv64 ; .feature ma
            ; mul t2, s7, s6
            ; addi t3, s6, 2
            ; divu t2, t2, t3
            ; add s7, s7, t2
            ; addi t5, t6, 64
            ; retry:
            ; lr.d t1, [t5]
            ; add t1, t1, s6
            ; sc.d t2, t1, [t5]
            ; bne t2, zero, <retry
        );
    }
    dynasm!(ops
        ; .arch riscv64 ; .feature ma
        ; sd s7, [s1, 0]
        ; sd s7, [s2, 64]
        ; amoadd.d t1, s6, [t6]
        ; addi t5, s3, 64
        ; amoadd.d t1, s6, [t5]
        ; sd s7, [s4, 64]
        ; sd s7, [s5, 64]
        ; ld t1, [s2, 64]
        ; add s7, s7, t1
        ; addi s6, s6, -1
        ; bne s6, zero, <again
        ; lui t1, 0x2000
        ; add t1, s0, t1
        ; ld t1, [t1, 0]
        ; add a0, s7, t1
        ; sd a0, [s1, 0x200]
        ; ecall
    );
    ops.finalize().expect("assembles")
}

/// What a word that is read holds at first.
fn content(ctx: usize, place: Place, t: u64) -> u64 {
    (ctx as u64 + 1) * 0x1000_0000 + place as u64 * 0x10_0000 + t * 0x101
}

/// What the job leaves: its result, and words by address.
fn expected(ctx: usize, work: Work) -> (u64, BTreeMap<u64, u64>) {
    let mut words = BTreeMap::new();
    let mut result = u64::MAX;
    for t in 0..THREADS {
        let read = [Place::Source, Place::Huge, Place::Large, Place::Pages]
            .map(|place| content(ctx, place, t));
        let mut sum = 0u64;
        for round in (1..=ROUNDS).rev() {
            sum += read.iter().sum::<u64>();
            let shared = Place::Dest.va() + 0x400 + 8 * (t / 2);
            if work == Work::Everything {
                sum += sum * round / (round + 2);
                *words.entry(shared + 64).or_default() += round;
            }
            words.insert(Place::Dest.word(t), sum);
            for place in [Place::Napot, Place::Pages, Place::Huge] {
                words.insert(place.word(t) + 64, sum);
            }
            *words.entry(shared).or_default() += round;
            *words.entry(Place::Large.word(t) + 64).or_default() += round;
            sum += sum;
        }
        sum += content(ctx, Place::Late, t);
        words.insert(Place::Dest.word(t) + 0x200, sum);
        result = result.min(sum);
    }
    (result, words)
}

/// A board with both contexts set up.
pub struct World {
    work: Work,
    pub board: Board,
    pub frames: Frames,
    pub spaces: [Space; 2],
    pub maps: [BTreeMap<Place, Mapping>; 2],
    /// Jobs by context: their fences.
    jobs: [Fence; 2],
    /// When the late page of a context is to be served.
    serve: [Option<u64>; 2],
    /// Fault records by context.
    pub faults: [Vec<FaultRecord>; 2],
}

pub fn range(ctx: u64, va: u64, len: u64) -> CtrlEntry {
    CtrlEntry::default()
        .with_ctx(ctx)
        .with_addr(va)
        .with_len(len)
}

/// Physical addresses of a mapping's memory.
pub fn memory(mapping: Mapping) -> Range<u64> {
    mapping.frame..mapping.frame + mapping.len
}

impl World {
    pub fn new(work: Work) -> Self {
        let mut board = Board::new();
        let mut frames = Frames::new();
        let mut maps = [BTreeMap::new(), BTreeMap::new()];
        let code = program(work);
        let spaces = std::array::from_fn(|c| {
            let mut space = Space::new(&mut board, &mut frames, CTX[c], c == 0);
            for place in Place::ALL {
                let (size, len, whole) = place.shape();
                let frame = frames.take(place.in_vram(c), whole);
                let mapping = Mapping {
                    va: place.va(),
                    len,
                    size,
                    frame,
                    code: place == Place::Code,
                };
                for t in 0..THREADS {
                    let at = frame + (place.word(t) - place.va());
                    board.write(at, &content(c, place, t).to_le_bytes());
                }
                maps[c].insert(place, mapping);
                match place {
                    Place::Late => {
                        space.prepare(&mut board, &mut frames, place.va(), 0);
                        continue;
                    }
                    Place::Code => board.write(frame, &code),
                    // Only changed, not read first.
                    Place::Dest => board.write(frame, &[0; PAGE as usize]),
                    _ => {}
                }
                space.map(&mut board, &mut frames, mapping);
            }
            let root = CtrlEntry::default()
                .with_ctx(CTX[c])
                .with_arg0(space.root)
                .with_arg1(CtxMode::Translate as u64);
            board.wait_for(root, CtrlOp::CtxSet);
            space
        });
        Self {
            work,
            board,
            frames,
            spaces,
            maps,
            jobs: [(0, 0); 2],
            serve: [None; 2],
            faults: [Vec::new(), Vec::new()],
        }
    }

    /// Launches a job in each context; their ids are the contexts' numbers.
    pub fn launch(&mut self) {
        self.jobs = CTX.map(|ctx| {
            self.board.launch(
                LaunchEntry::default()
                    .with_ctx(ctx)
                    .with_threads(THREADS)
                    .with_entry(CODE)
                    .with_arg(BASE)
                    .with_job(ctx),
            )
        });
    }

    /// Has the job of a context ended?
    pub fn done(&self, c: usize) -> bool {
        self.board.reached(self.jobs[c])
    }

    /// One clock, with the host's turn: late pages are served. Those of `busy`, whose tables are being changed, wait.
    pub fn clock(&mut self, busy: Option<usize>) {
        self.board.clock();
        if let Some(record) = self.board.take_fault() {
            let c = usize::from(record.ctx() == CTX[1]);
            assert_eq!(record.ctx(), CTX[c]);
            if record.addr() == Place::Late.va() && self.serve[c].is_none() {
                self.serve[c] = Some(self.board.now + SERVICE);
            }
            self.faults[c].push(record);
        }
        for (c, ctx) in CTX.into_iter().enumerate() {
            if busy != Some(c) && self.serve[c].is_some_and(|at| at <= self.board.now) {
                self.serve[c] = None;
                for (at, value) in self.spaces[c].leaves(self.maps[c][&Place::Late]) {
                    self.board.put(at, &value.to_le_bytes());
                }
                let va = Place::Late.va();
                self.board.command(range(ctx, va, PAGE), CtrlOp::Replay);
            }
        }
    }

    /// The job's end, its result and its memory are right; D is set where it stored, and nowhere else; nobody was
    /// where he must not be.
    pub fn check(&self, label: &str) {
        let board = &self.board;
        assert_eq!(board.monitor.violations(), Vec::<&str>::new(), "{label}");
        for c in 0..2 {
            let at = self.jobs[c].0;
            let end = Completion(std::array::from_fn(|k| board.host_word(at + 8 * k as u64)));
            let (result, words) = expected(c, self.work);
            let want = (JobStatus::Ok as u64, result, 0);
            assert_eq!(
                (end.status(), end.result(), end.info()),
                want,
                "{label}: context {c}"
            );
            for (va, word) in words {
                let at = self.spaces[c]
                    .walk(board, va)
                    .unwrap_or_else(|| panic!("{label}: context {c}: {va:#x} is not mapped"));
                assert_eq!(board.word(at), word, "{label}: context {c}: {va:#x}");
            }
            for (place, mapping) in &self.maps[c] {
                for (va, frame) in mapping.leaves() {
                    let (_, dirty) = self.spaces[c].bits(board, va, mapping.size);
                    let stored = board.monitor.stored(&(frame..frame + mapping.size.bytes()));
                    assert_eq!(
                        dirty,
                        stored.is_some(),
                        "{label}: context {c}: D of {place:?} at {va:#x}, stored {stored:?}"
                    );
                }
            }
            let late = self.faults[c]
                .iter()
                .filter(|record| record.addr() == Place::Late.va());
            assert!(late.clone().count() >= 1, "{label}");
            for record in late {
                assert_eq!(record.access(), Access::Read as u64, "{label}");
            }
        }
    }
}
