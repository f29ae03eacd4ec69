//! Page tables in device memory.
//!
//! The tables map the first bytes of device memory at one virtual address, in pages of one size: the same image is
//! reached in either mode, through another base address.

use hmmu_regs::Pte;

/// Bit of a physical address that names device memory.
pub const VRAM: u64 = 1 << 55;
/// Where device memory begins in a context that translates.
pub const TRANSLATED: u64 = 0x7f00_0000_0000;
/// Where device memory begins in a context in bypass mode: bit 47 of the address names it.
pub const BYPASS: u64 = 0xffff_8000_0000_0000;

const TABLE: u64 = 4096;
const ENTRIES: u64 = 512;

/// Size of the pages of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageSize {
    /// 4 KiB.
    Base,
    /// 64 KiB: sixteen entries beside each other that say so (Svnapot).
    Middle,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl PageSize {
    /// All of them, smallest first.
    pub const ALL: [Self; 4] = [Self::Base, Self::Middle, Self::Large, Self::Huge];

    /// Bytes of a page.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Base => 4096,
            Self::Middle => 64 << 10,
            Self::Large => 2 << 20,
            Self::Huge => 1 << 30,
        }
    }

    /// Level of the table that holds its leaves, 0 the lowest.
    fn level(self) -> u32 {
        match self {
            Self::Base | Self::Middle => 0,
            Self::Large => 1,
            Self::Huge => 2,
        }
    }

    /// A leaf entry of a page of this size.
    fn leaf(self, entry: Pte) -> Pte {
        match self {
            // The low bits of the page number tell the size (RISC-V privileged specification, Svnapot).
            Self::Middle if entry.v() == 1 => entry.with_n(1).with_ppn(entry.ppn() & !15 | 8),
            _ => entry,
        }
    }

    /// Bytes from one leaf entry to the next.
    fn step(self) -> u64 {
        TABLE << (9 * self.level())
    }
}

/// Tables that map `[0, bytes)` of device memory at `TRANSLATED`.
#[derive(Clone, Debug)]
pub struct Tables {
    at: u64,
    size: PageSize,
    words: Vec<u64>,
    /// First table of the lowest level there is.
    leaves: u64,
}

impl Tables {
    /// Tables from byte `at` of device memory on (a multiple of 4096); `leaf` gives each entry, from the physical
    /// address of its page.
    #[must_use]
    pub fn new(at: u64, bytes: u64, size: PageSize, leaf: impl Fn(u64) -> Pte) -> Self {
        let level = size.level();
        // Tables of each level, from the root down; those of a level lie side by side.
        let first = TRANSLATED;
        let last = TRANSLATED + bytes.max(1).next_multiple_of(size.bytes()) - 1;
        let mut words = Vec::new();
        let mut table = at;
        for k in (level..4).rev() {
            let shift = 12 + 9 * k;
            let start = first >> (shift + 9);
            let tables = (last >> (shift + 9)) - start + 1;
            let next = table + tables * TABLE;
            let base = words.len();
            words.resize(base + (tables * ENTRIES) as usize, 0);
            let from = first >> shift;
            for page in from..=last >> shift {
                let entry = if k == level {
                    size.leaf(leaf(VRAM | ((page << shift) - TRANSLATED)))
                } else {
                    let below = next + ((page - from) * TABLE);
                    Pte::default().with_v(1).with_ppn((VRAM | below) >> 12)
                };
                words[base + (page - (start << 9)) as usize] = entry.0[0];
            }
            if k > level {
                table = next;
            }
        }
        Self {
            at,
            size,
            words,
            leaves: table,
        }
    }

    /// Physical address of the root.
    #[must_use]
    pub fn root(&self) -> u64 {
        VRAM | self.at
    }

    /// All tables, to be written where they begin.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// Where in device memory the leaf entry of an address lies.
    #[must_use]
    pub fn entry(&self, va: u64) -> u64 {
        let shift = self.size.step().trailing_zeros();
        let table = TRANSLATED >> (shift + 9) << 9;
        self.leaves + 8 * ((va >> shift) - table)
    }
}

/// A leaf entry of a resident page: everything is allowed, A and D are set.
#[must_use]
pub fn resident(at: u64) -> Pte {
    Pte::default()
        .with_v(1)
        .with_r(1)
        .with_w(1)
        .with_x(1)
        .with_u(1)
        .with_a(1)
        .with_d(1)
        .with_ppn(at >> 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the tables as the device does; where an address leads.
    fn walk(tables: &Tables, va: u64) -> Option<u64> {
        let raw = tables.bytes();
        let mut table = tables.root() & !VRAM;
        for level in (0..4).rev() {
            let at = (table - tables.at + 8 * (va >> (12 + 9 * level) & 511)) as usize;
            let mut word = [0; 8];
            word.copy_from_slice(&raw[at..at + 8]);
            let pte = Pte([u64::from_le_bytes(word)]);
            if pte.v() == 0 {
                return None;
            }
            let mut to = (pte.ppn() << 12) & !VRAM;
            if pte.n() == 1 {
                assert_eq!((level, pte.ppn() & 15), (0, 8));
                to = to & !0xf000 | va & 0xf000;
            }
            if pte.r() == 1 {
                assert_eq!(
                    table - tables.at + 8 * (va >> (12 + 9 * level) & 511),
                    tables.entry(va) - tables.at
                );
                return Some(to + (va & ((4096 << (9 * level)) - 1)));
            }
            table = to;
        }
        None
    }

    #[test]
    fn every_page_leads_to_its_bytes() {
        for size in PageSize::ALL {
            let bytes = 6 << 20;
            let tables = Tables::new(8 << 20, bytes, size, resident);
            for at in (0..bytes).step_by(4096) {
                assert_eq!(
                    walk(&tables, TRANSLATED + at + 24),
                    Some(at + 24),
                    "{size:?}"
                );
            }
            let end = bytes.next_multiple_of(size.bytes());
            assert_eq!(walk(&tables, TRANSLATED + end), None, "{size:?}");
            assert_eq!(walk(&tables, TRANSLATED - 4096), None, "{size:?}");
        }
    }
}
