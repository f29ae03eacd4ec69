//! Page tables of one context, and the physical memory that they are made of.

use std::collections::BTreeMap;

use hmmu_regs::Pte;

use super::board::{Board, VRAM};

pub const PAGE: u64 = 4096;
const VA_MASK: u64 = (1 << 48) - 1;

/// What one leaf maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 4 KiB.
    Small,
    /// 64 KiB: 16 entries.
    Napot,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl Size {
    pub fn bytes(self) -> u64 {
        PAGE << [0, 4, 9, 18][self as usize]
    }

    /// Level of its entries.
    pub fn level(self) -> u32 {
        [0, 0, 1, 2][self as usize]
    }
}

/// Physical memory that nobody uses yet, by memory and size.
pub struct Frames([[u64; 4]; 2]);

impl Frames {
    pub fn new() -> Self {
        Self([[0x20_0000, 0x100_0000, 0x200_0000, 1 << 32]; 2])
    }

    pub fn take(&mut self, vram: bool, size: Size) -> u64 {
        let next = &mut self.0[usize::from(vram)][size as usize];
        *next += size.bytes();
        (*next - size.bytes()) | if vram { VRAM } else { 0 }
    }
}

/// A range of virtual addresses, mapped by leaves of one size to memory that is contiguous.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    pub va: u64,
    pub len: u64,
    pub size: Size,
    pub frame: u64,
    pub code: bool,
}

impl Mapping {
    /// Virtual and physical address of each leaf.
    pub fn leaves(self) -> impl Iterator<Item = (u64, u64)> {
        let count = self.len / self.size.bytes();
        (0..count).map(move |k| {
            (
                self.va + k * self.size.bytes(),
                self.frame + k * self.size.bytes(),
            )
        })
    }
}

/// The value of an entry that points to a table.
pub fn pointer(table: u64) -> u64 {
    Pte::default().with_v(1).with_ppn(table >> 12).0[0]
}

fn leaf(frame: u64, size: Size, code: bool) -> u64 {
    let napot = u64::from(size == Size::Napot);
    Pte::default()
        .with_v(1)
        .with_u(1)
        .with_r(1)
        .with_w(u64::from(!code))
        .with_x(u64::from(code))
        .with_atomic(1)
        .with_ppn(frame >> 12 | napot << 3)
        .with_n(napot)
        .0[0]
}

/// The tables of one context.
pub struct Space {
    pub ctx: u64,
    pub root: u64,
    /// Are the tables in VRAM?
    vram: bool,
    /// By level and number of what a table maps.
    tables: BTreeMap<(u32, u64), u64>,
}

fn reach(level: u32) -> u32 {
    12 + 9 * (level + 1)
}

impl Space {
    pub fn new(board: &mut Board, frames: &mut Frames, ctx: u64, vram: bool) -> Self {
        let root = frames.take(vram, Size::Small);
        board.monitor.table(root);
        Self {
            ctx,
            root,
            vram,
            tables: BTreeMap::from([((3, 0), root)]),
        }
    }

    /// The table of a level that an address goes through.
    pub fn table(&self, va: u64, level: u32) -> u64 {
        self.tables[&(level, (va & VA_MASK) >> reach(level))]
    }

    /// Where the entry of a level is.
    pub fn entry(&self, va: u64, level: u32) -> u64 {
        self.table(va, level) + 8 * (va >> (12 + 9 * level) & 511)
    }

    /// Where the entries of a leaf are: one, or 16 of a 64 KiB page.
    pub fn entries(&self, va: u64, size: Size) -> Vec<u64> {
        let first = self.entry(va, size.level());
        let count = if size == Size::Napot { 16 } else { 1 };
        (0..count).map(|k| first + 8 * k).collect()
    }

    /// A new table in the place of one that there may have been; no entry points to it yet.
    pub fn renew(&mut self, board: &mut Board, frames: &mut Frames, va: u64, level: u32) -> u64 {
        let table = frames.take(self.vram, Size::Small);
        board.monitor.table(table);
        self.tables
            .insert((level, (va & VA_MASK) >> reach(level)), table);
        table
    }

    /// Forgets a table that a leaf has taken the place of.
    pub fn drop_table(&mut self, va: u64, level: u32) {
        self.tables.remove(&(level, (va & VA_MASK) >> reach(level)));
    }

    /// The entries of a mapping: where, and what. Its tables are there.
    pub fn leaves(&self, mapping: Mapping) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        for (va, frame) in mapping.leaves() {
            let value = leaf(frame, mapping.size, mapping.code);
            all.extend(
                self.entries(va, mapping.size)
                    .into_iter()
                    .map(|at| (at, value)),
            );
        }
        all
    }

    /// Maps it before the device looks; tables on the way are made.
    pub fn map(&mut self, board: &mut Board, frames: &mut Frames, mapping: Mapping) {
        self.prepare(board, frames, mapping.va, mapping.size.level());
        for (at, value) in self.leaves(mapping) {
            board.write(at, &value.to_le_bytes());
        }
    }

    /// Makes the tables down to a level.
    pub fn prepare(&mut self, board: &mut Board, frames: &mut Frames, va: u64, level: u32) {
        for below in (level..3).rev() {
            if !self
                .tables
                .contains_key(&(below, (va & VA_MASK) >> reach(below)))
            {
                let table = self.renew(board, frames, va, below);
                let above = self.entry(va, below + 1);
                board.write(above, &pointer(table).to_le_bytes());
            }
        }
    }

    /// A and D of a leaf: of any of its entries.
    pub fn bits(&self, board: &Board, va: u64, size: Size) -> (bool, bool) {
        self.entries(va, size)
            .into_iter()
            .map(|at| Pte([board.word(at)]))
            .fold((false, false), |(a, d), entry| {
                (a || entry.a() == 1, d || entry.d() == 1)
            })
    }

    /// Where the tables in memory lead an address, whatever this struct thinks.
    pub fn walk(&self, board: &Board, va: u64) -> Option<u64> {
        let mut table = self.root;
        for level in (0..4).rev() {
            let entry = Pte([board.word(table + 8 * (va >> (12 + 9 * level) & 511))]);
            if entry.v() == 0 || entry.revoked() != 0 {
                return None;
            }
            if entry.r() == 0 && entry.x() == 0 {
                table = entry.ppn() << 12;
                continue;
            }
            let shift = 12 + 9 * level + if entry.n() == 1 { 4 } else { 0 };
            let mask = (1u64 << shift) - 1;
            return Some(entry.ppn() << 12 & !mask | va & mask);
        }
        None
    }
}
