//! Makes programs up. A plain memory runs along, so that most operations ask for something that is there.

mod device;

use std::collections::BTreeSet;

use hmm_core::Prot;
use hmm_core::addr::TASK_SIZE;
use rand::Rng;
use rand_pcg::Pcg32;

use super::op::{BASE, Kind, Op, PAGE, Tip};
use super::plain::Plain;
use super::predict;
use super::shape::{MOST_PAGES, Shape};

/// Process slots of a lane.
const SLOTS: usize = 4;
const HUGE: u64 = 512 * PAGE;

/// Makes one lane's operations up.
pub struct Generator<'a> {
    rng: &'a mut Pcg32,
    shape: &'a Shape,
    plain: Plain,
    /// Slots of this lane's processes start here: lanes have different names for theirs.
    first: usize,
    room: usize,
    opened: BTreeSet<(usize, usize)>,
    ops: Vec<Op>,
}

/// `count` operations for lane `lane`.
pub fn lane(rng: &mut Pcg32, shape: &Shape, lane: usize, count: usize) -> Vec<Op> {
    let mut generator = Generator {
        rng,
        shape,
        plain: Plain::default(),
        first: lane * SLOTS,
        room: MOST_PAGES / shape.lanes,
        opened: BTreeSet::new(),
        ops: Vec::new(),
    };
    let p = generator.first;
    generator.push(Op::Spawn { p });
    for d in 0..shape.devices {
        generator.push(Op::Open { p, d });
    }
    while generator.ops.len() < count {
        let op = generator.next();
        generator.push(op);
    }
    generator.ops.truncate(count);
    generator.ops
}

impl Generator<'_> {
    fn push(&mut self, op: Op) {
        self.track(&op);
        self.ops.push(op);
    }

    /// What the operation will have done, near enough.
    fn track(&mut self, op: &Op) {
        let plain = &mut self.plain;
        match *op {
            Op::Spawn { p } if plain.living(p).is_none() => plain.spawn(p),
            Op::Fork { p, child } if plain.living(p).is_some() && plain.living(child).is_none() => {
                plain.fork(p, child);
            }
            Op::Exit { p } => {
                plain.exit(p);
                self.opened.retain(|(owner, _)| *owner != p);
            }
            Op::Open { p, d } if plain.living(p).is_some() => {
                self.opened.insert((p, d));
            }
            Op::Close { p, d } => {
                self.opened.remove(&(p, d));
            }
            Op::File { f, len } if !plain.files.contains_key(&f) => plain.file(f, len),
            Op::Mmap {
                p,
                at,
                len,
                prot,
                kind,
                huge,
            } if plain.can_map(p, at, len).is_ok() => {
                let at = at.unwrap_or_else(|| plain.free_place(p, len.next_multiple_of(PAGE)));
                plain.map(p, at, len, prot, (kind, huge));
            }
            Op::Truncate { f, len } => plain.truncate(f, len / PAGE),
            Op::Lock { p, at, len } => drop(plain.lock(p, at, len, true)),
            Op::Unlock { p, at, len } => drop(plain.lock(p, at, len, false)),
            Op::Munmap { p, at, len } => drop(plain.unmap(p, at, len)),
            Op::Protect { p, at, len, prot } => drop(plain.protect(p, at, len, prot)),
            Op::Advise { p, at, len, tip } => drop(plain.advise(p, at, len, tip)),
            Op::Remap {
                p,
                at,
                len,
                new_len,
                to,
                keep,
            } => {
                if let Ok(stays) = plain.can_remap(p, at, len, new_len, to, keep) {
                    let place = match to {
                        Some(to) => to,
                        None if stays => at,
                        None => plain.free_place(p, new_len),
                    };
                    plain.remap(p, at, len, new_len, place, keep);
                }
            }
            Op::Fill { p, at, len, first }
            | Op::DevFill {
                p, at, len, first, ..
            } => {
                predict::fill(plain, p, at, len, first);
            }
            _ => {}
        }
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    fn process(&mut self) -> usize {
        let living: Vec<usize> = (self.first..self.first + SLOTS)
            .filter(|p| self.plain.living(*p).is_some())
            .collect();
        if living.is_empty() || self.one_in(60) {
            return self.first + self.rng.random_range(0..SLOTS);
        }
        living[self.rng.random_range(0..living.len())]
    }

    fn prot(&mut self) -> Prot {
        match self.rng.random_range(0..10) {
            0 => Prot::NONE,
            1 | 2 => Prot::READ,
            _ => Prot::READ_WRITE,
        }
    }

    /// A length in pages: mostly small, sometimes over the edges at which something changes.
    fn pages(&mut self) -> u64 {
        match self.rng.random_range(0..100) {
            0..25 if self.shape.huge => {
                [512, 512, 1024, 256, 511, 513][self.rng.random_range(0..6)]
            }
            0..70 => self.rng.random_range(1..=8),
            70..90 => self.rng.random_range(1..=40),
            90..97 => self.rng.random_range(60..=130),
            97..99 => self.rng.random_range(500..=530),
            _ => 1,
        }
    }

    /// A page inside of what a process has mapped.
    fn page(&mut self, p: usize) -> u64 {
        let runs = self.plain.runs(p);
        if runs.is_empty() {
            return BASE / PAGE + self.rng.random_range(0..64);
        }
        let (at, len) = runs[self.rng.random_range(0..runs.len())];
        at / PAGE + self.rng.random_range(0..len / PAGE)
    }

    /// A range of whole pages that is mostly mapped.
    fn range(&mut self, p: usize) -> (u64, u64) {
        let page = self.page(p);
        let mut pages = self.pages();
        if !self.one_in(8) {
            let end = (page..page + pages)
                .find(|page| self.plain.slot(p, *page).is_none())
                .unwrap_or(page + pages);
            pages = (end - page).max(1);
        }
        self.spoil(page * PAGE, pages * PAGE)
    }

    /// Makes one range in forty a wrong one.
    fn spoil(&mut self, at: u64, len: u64) -> (u64, u64) {
        if !self.one_in(40) {
            return (at, len);
        }
        match self.rng.random_range(0..6) {
            0 => (at + 8, len),
            1 => (at, 0),
            2 => (at, u64::MAX - 4095),
            3 => (TASK_SIZE - PAGE, 2 * PAGE),
            4 => (at, len + 100),
            _ => (TASK_SIZE + at % (1 << 30), len),
        }
    }

    /// The address of a word of `size` bytes.
    fn word(&mut self, p: usize, size: u64) -> u64 {
        let page = self.page(p) * PAGE;
        let offset = match self.rng.random_range(0..8) {
            0 => 0,
            1 => PAGE - size,
            _ => self.rng.random_range(0..PAGE / size) * size,
        };
        match self.rng.random_range(0..60) {
            0 => page + offset + 1,
            1 => page + PAGE - size / 2,
            2 => TASK_SIZE - size,
            3 => TASK_SIZE + offset,
            _ => page + offset,
        }
    }

    fn size(&mut self) -> usize {
        [1, 2, 4, 8, 8, 8][self.rng.random_range(0..6)]
    }

    /// Whole words inside of a range of pages, seldom all of it.
    fn words(&mut self, p: usize) -> (u64, u64) {
        let page = self.page(p);
        let mut pages = self.pages().min(64);
        if !self.one_in(10) {
            let end = (page..page + pages)
                .find(|page| {
                    self.plain
                        .slot(p, *page)
                        .is_none_or(|slot| !slot.prot.write)
                })
                .unwrap_or(page + pages);
            pages = (end - page).max(1);
        }
        let (at, len) = (page * PAGE, pages * PAGE);
        if self.one_in(2) {
            return (at, len);
        }
        let skip = self.rng.random_range(0..64) * 8;
        (
            at + skip,
            (len - skip).saturating_sub(self.rng.random_range(0..64) * 8),
        )
    }

    fn next(&mut self) -> Op {
        let p = self.process();
        if self.plain.living(p).is_none() && !self.one_in(6) {
            return Op::Spawn { p };
        }
        if self.plain.slot_count(p) == 0 && !self.one_in(4) {
            return self.mmap(p);
        }
        match self.rng.random_range(0..100) {
            0..7 => self.mmap(p),
            7..9 => self.munmap(p),
            9..14 => self.protect(p),
            14..17 if self.one_in(8) => Op::ClearSoft { p },
            14..17 => self.advise(p),
            17..20 => self.remap(p),
            20..34 => self.cpu(p),
            34..36 => self.process_life(p),
            36 => self.reclaim(p),
            37..40 => self.pin(p),
            _ => self.device(p),
        }
    }

    fn mmap(&mut self, p: usize) -> Op {
        let mut pages = self.pages();
        if self.plain.mapped() + pages as usize > self.room {
            pages = 1;
            if self.plain.mapped() > self.room {
                return self.munmap(p);
            }
        }
        let at = match self.rng.random_range(0..5) {
            0 => None,
            // Near other mappings, over them, or with gaps.
            1 | 2 => Some(BASE + self.rng.random_range(0..1500) * PAGE),
            3 => Some(self.page(p) * PAGE),
            _ => Some(BASE + self.rng.random_range(0..48) * PAGE),
        };
        let (at, len) = match at {
            Some(at) => {
                let (at, len) = self.spoil(at, pages * PAGE);
                (Some(at), len)
            }
            None => (None, pages * PAGE),
        };
        let f = self.first + self.rng.random_range(0..2);
        let page = self.rng.random_range(0..20);
        let kind = match self.rng.random_range(0..10) {
            0 => Kind::Shared,
            1 => Kind::File { f, page },
            2 => Kind::Copy { f, page },
            _ => Kind::Private,
        };
        if matches!(kind, Kind::File { .. } | Kind::Copy { .. })
            && !self.plain.files.contains_key(&f)
        {
            let len = self.pages() * PAGE;
            return Op::File { f, len };
        }
        let huge = self.shape.huge && self.one_in(2);
        let near = huge && !self.one_in(8);
        let at = at.map(|at| match near {
            true => BASE + (at - BASE.min(at)) % (16 * HUGE) / HUGE * HUGE,
            false => at,
        });
        let prot = self.prot();
        Op::Mmap {
            p,
            at,
            len,
            prot,
            kind,
            huge,
        }
    }

    fn munmap(&mut self, p: usize) -> Op {
        let (at, len) = self.range(p);
        Op::Munmap { p, at, len }
    }

    fn protect(&mut self, p: usize) -> Op {
        let (at, len) = self.range(p);
        let prot = self.prot();
        Op::Protect { p, at, len, prot }
    }

    fn advise(&mut self, p: usize) -> Op {
        let (at, len) = self.range(p);
        let tip = match self.rng.random_range(0..6) {
            0 => Tip::HugePage,
            1 => [
                Tip::NoHugePage,
                Tip::Mergeable,
                Tip::Unmergeable,
                Tip::Mergeable,
            ][self.rng.random_range(0..4)],
            2 | 3 => Tip::Free,
            _ => Tip::DontNeed,
        };
        Op::Advise { p, at, len, tip }
    }

    fn remap(&mut self, p: usize) -> Op {
        let (at, len) = self.range(p);
        let new_len = match self.rng.random_range(0..4) {
            0 => self.pages() * PAGE,
            _ => len,
        };
        let grown = (new_len / PAGE) as usize;
        let new_len = if self.plain.mapped() + grown > self.room {
            len
        } else {
            new_len
        };
        let to = self
            .one_in(2)
            .then(|| BASE + self.rng.random_range(0..1500) * PAGE);
        let keep = self.one_in(5);
        Op::Remap {
            p,
            at,
            len,
            new_len,
            to,
            keep,
        }
    }

    fn cpu(&mut self, p: usize) -> Op {
        let size = self.size();
        let at = self.word(p, size as u64);
        let value = self.rng.random();
        match self.rng.random_range(0..5) {
            0 | 1 => Op::Load { p, at, size },
            2 => {
                let (at, len) = self.words(p);
                Op::Fill {
                    p,
                    at,
                    len,
                    first: value,
                }
            }
            3 => {
                let (at, len) = self.words(p);
                Op::Read { p, at, len }
            }
            _ => Op::Store { p, at, size, value },
        }
    }

    fn process_life(&mut self, p: usize) -> Op {
        let child = self.first + self.rng.random_range(0..SLOTS);
        if self.plain.mapped() + self.plain.slot_count(p) > self.room || self.one_in(4) {
            return Op::Exit { p };
        }
        Op::Fork { p, child }
    }

    fn reclaim(&mut self, p: usize) -> Op {
        let (at, len) = self.range(p);
        let f = self.first + self.rng.random_range(0..2);
        let first = self.rng.random();
        // Memory without whole pages is locked too, but by rules of its own.
        let whole = at / PAGE * PAGE;
        match self.rng.random_range(0..16) {
            0 if self.shape.lanes == 1 => Op::Reclaim {
                pages: self.rng.random_range(1..200),
            },
            1 => Op::Merge,
            2 => Op::Lock { p, at: whole, len },
            3 => Op::Unlock { p, at: whole, len },
            4 | 5 => Op::FileWrite {
                f,
                at: self.rng.random_range(0..20) * PAGE,
                len: self.rng.random_range(1..=3) * PAGE,
                first,
            },
            6 | 7 => Op::FileRead {
                f,
                at: self.rng.random_range(0..20 * PAGE),
                len: self.rng.random_range(1..3 * PAGE),
            },
            8 => Op::Truncate {
                f,
                len: self.rng.random_range(0..24) * PAGE,
            },
            _ => Op::SwapOut { p, at, len },
        }
    }

    fn pin(&mut self, p: usize) -> Op {
        if self.one_in(2) {
            let n = self.rng.random_range(0..16);
            return Op::Unpin { n };
        }
        let (at, len) = self.range(p);
        let len = if len > TASK_SIZE { PAGE } else { len };
        if self.one_in(3) {
            return Op::Get { p, at, len };
        }
        Op::Pin { p, at, len }
    }
}
