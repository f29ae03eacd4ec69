//! Page tables in a memory of 64-bit words, and the reference walk.
//!
//! Source: RISC-V privileged specification, Sv48; `regs/hmmu.toml`, layout Pte.
#![allow(dead_code)]

use std::collections::BTreeMap;

use hmmu_regs::{FaultReason, Pte};

use crate::xlat::{Access, Ask, Size, Xlat};

/// Memory of both kinds by physical address (bit 55: VRAM), in words of 8 bytes.
#[derive(Default)]
pub struct Memory {
    words: BTreeMap<u64, u64>,
    /// Words whose reads fail.
    pub broken: Vec<u64>,
}

impl Memory {
    /// The word at an 8-byte aligned address.
    pub fn read(&self, addr: u64) -> u64 {
        self.words.get(&addr).copied().unwrap_or(0)
    }

    /// Sets the word at an 8-byte aligned address.
    pub fn write(&mut self, addr: u64, value: u64) {
        assert_eq!(addr % 8, 0);
        self.words.insert(addr, value);
    }
}

/// What the tables say about an access, without any change to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walked {
    /// The translation after A and D were set, whether that needs an update, and whether D does.
    Fill(Xlat, bool, bool),
    Fault(FaultReason),
}

/// The tables of several contexts.
pub struct Tables {
    roots: [u64; 16],
    next: u64,
}

impl Tables {
    /// Empty tables.
    pub fn new() -> Self {
        Self {
            roots: [0; 16],
            next: 0x1000,
        }
    }

    /// A fresh table page; every other one is in VRAM.
    pub fn page(&mut self) -> u64 {
        self.next += 1;
        if self.next.is_multiple_of(2) {
            self.next
        } else {
            self.next | 1 << 43
        }
    }

    /// The page of the root table.
    pub fn root(&mut self, ctx: u64) -> u64 {
        if self.roots[ctx as usize] == 0 {
            self.roots[ctx as usize] = self.page();
        }
        self.roots[ctx as usize]
    }

    /// Address of the entry of `vpn` at `level` (3: root). Tables on the way are made.
    pub fn entry(&mut self, mem: &mut Memory, ctx: u64, vpn: u64, level: u32) -> u64 {
        let mut table = self.root(ctx);
        for l in (level + 1..=3).rev() {
            let at = at(table, vpn, l);
            let mut pte = Pte([mem.read(at)]);
            if pte.v() == 0 || pte.r() | pte.w() | pte.x() != 0 {
                pte = Pte([0]).with_v(1).with_ppn(self.page());
                mem.write(at, pte.0[0]);
            }
            table = pte.ppn();
        }
        at(table, vpn, level)
    }

    /// Address of the entry of `vpn` at an upper level, by what the tables say now (an entry that was
    /// taken away still points on).
    pub fn existing(&self, mem: &Memory, ctx: u64, vpn: u64, level: u32) -> u64 {
        let mut table = self.roots[ctx as usize];
        for l in (level + 1..=3).rev() {
            table = Pte([mem.read(at(table, vpn, l))]).ppn();
        }
        at(table, vpn, level)
    }

    /// Writes the leaf of a page of this size: for 64 KiB all its 16 entries, as Svnapot asks.
    pub fn map(&mut self, mem: &mut Memory, ctx: u64, vpn: u64, size: Size, pte: Pte) {
        let at = self.entry(mem, ctx, vpn, size.level());
        if size == Size::Napot {
            for i in 0..16 {
                mem.write((at & !127) + 8 * i, napot(pte).0[0]);
            }
        } else {
            mem.write(at, pte.0[0]);
        }
    }

    /// The reference walk.
    pub fn walk(&self, mem: &Memory, ask: &Ask) -> Walked {
        let mut table = self.roots[ask.ctx as usize];
        for level in (0..=3).rev() {
            let addr = at(table, ask.vpn, level);
            if mem.broken.contains(&addr) {
                return Walked::Fault(FaultReason::AccessError);
            }
            let pte = Pte([mem.read(addr)]);
            match entry(pte, level) {
                Entry::Void => return Walked::Fault(FaultReason::NotPresent),
                Entry::Pointer => table = pte.ppn(),
                Entry::Leaf(size) => return leaf(pte, size, ask),
            }
        }
        Walked::Fault(FaultReason::NotPresent)
    }
}

/// Address of an entry in a table.
pub fn at(table: u64, vpn: u64, level: u32) -> u64 {
    table << 12 | (vpn >> (9 * level) & 511) << 3
}

/// What an entry is.
enum Entry {
    /// Not present, or reserved.
    Void,
    Pointer,
    Leaf(Size),
}

/// Privileged specification, "Virtual Address Translation Process", steps 3 to 5, and "Svnapot".
fn entry(pte: Pte, level: u32) -> Entry {
    if pte.v() == 0 || pte.revoked() != 0 || pte.pbmt() != 0 || pte.w() > pte.r() {
        return Entry::Void;
    }
    if pte.r() | pte.x() == 0 {
        let reserved = pte.n() | pte.a() | pte.d() | pte.u();
        return if level == 0 || reserved != 0 {
            Entry::Void
        } else {
            Entry::Pointer
        };
    }
    let size = match (level, pte.n()) {
        (0, 0) => Size::Small,
        (0, _) if pte.ppn() & 15 == 8 => return Entry::Leaf(Size::Napot),
        (1, 0) => Size::Large,
        (2, 0) => Size::Huge,
        _ => return Entry::Void,
    };
    if pte.ppn() & size.mask() == 0 {
        Entry::Leaf(size)
    } else {
        Entry::Void
    }
}

/// The entries of a 64 KiB page from those of its first page.
pub fn napot(pte: Pte) -> Pte {
    pte.with_n(1).with_ppn(pte.ppn() & !15 | 8)
}

fn leaf(pte: Pte, size: Size, ask: &Ask) -> Walked {
    let (r, w, x) = (pte.r() == 1, pte.r() & pte.w() == 1, pte.x() == 1);
    let allowed = match ask.access {
        Access::Read => r,
        Access::Execute => x,
        Access::Write | Access::Atomic => w,
    };
    if pte.u() == 0 || !allowed {
        return Walked::Fault(FaultReason::Protection);
    }
    let atomic = pte.ppn() >> 43 == 1 || pte.atomic() == 1;
    if ask.access == Access::Atomic && !atomic {
        return Walked::Fault(FaultReason::Atomic);
    }
    let dirties = ask.access.stores() && pte.d() == 0;
    let d = pte.d() == 1 || dirties;
    let xlat = Xlat {
        ctx: ask.ctx,
        vpn: ask.vpn,
        ppn: pte.ppn() & !size.mask(),
        size,
        r,
        w,
        x,
        d,
        atomic,
    };
    Walked::Fill(xlat, pte.a() == 0 || dirties, dirties)
}

/// A leaf for user memory with these rights.
pub fn leaf_pte(ppn: u64, rights: &str) -> Pte {
    let has = |c: char| u64::from(rights.contains(c));
    Pte([0])
        .with_v(1)
        .with_u(1)
        .with_ppn(ppn)
        .with_r(has('r'))
        .with_w(has('w'))
        .with_x(has('x'))
        .with_a(has('a'))
        .with_d(has('d'))
        .with_atomic(has('t'))
}
