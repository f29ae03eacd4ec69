//! Which physical page backs which virtual page, who may touch it now, and what it must hold.

use std::collections::{BTreeMap, BTreeSet};

use crate::queue::memory::{Memory, PAGE, VRAM};
use crate::queue::{TestRng, chance};

/// A virtual page: context and page number.
pub type VPage = (u64, u64);

/// State of one virtual page.
#[derive(Clone, Copy, Debug)]
pub struct Backing {
    /// Physical page.
    pub ppn: u64,
    /// The table has an entry.
    pub present: bool,
    /// The entry's D bit.
    pub dirty: bool,
}

/// Memory, the pages in it, and the reference.
pub struct Space {
    /// What the device sees.
    pub memory: Memory,
    /// What virtual pages and physical areas must hold: virtual addresses as by [`Space::key`].
    pub reference: Memory,
    /// Virtual pages.
    pub pages: BTreeMap<VPage, Backing>,
    /// Physical pages that may be read or written now.
    readable: BTreeSet<u64>,
    writable: BTreeSet<u64>,
    next_ppn: u64,
}

impl Space {
    /// An empty space.
    pub fn new() -> Self {
        Self {
            memory: Memory::default(),
            reference: Memory::default(),
            pages: BTreeMap::new(),
            readable: BTreeSet::new(),
            writable: BTreeSet::new(),
            next_ppn: 0x1000,
        }
    }

    /// Address of a virtual byte in the reference; physical bytes are there by their own address.
    pub fn key(ctx: u64, addr: u64) -> u64 {
        1 << 60 | ctx << 56 | addr & 0xffff_ffff_ffff
    }

    /// A fresh physical page, in either memory.
    pub fn fresh(&mut self, rng: &mut TestRng) -> u64 {
        self.next_ppn += 3;
        if chance(rng, 50) {
            self.next_ppn | VRAM / PAGE
        } else {
            self.next_ppn
        }
    }

    /// Makes a virtual page.
    pub fn add_page(&mut self, page: VPage, present: bool, rng: &mut TestRng) {
        let ppn = self.fresh(rng);
        self.pages.insert(
            page,
            Backing {
                ppn,
                present,
                dirty: false,
            },
        );
        let content = self.memory.read(ppn * PAGE, PAGE as usize);
        self.reference
            .write(Self::key(page.0, page.1 * PAGE), &content);
    }

    /// Maps a virtual page to a physical one, whose content it has.
    pub fn map(&mut self, page: VPage, ppn: u64) {
        let backing = Backing {
            ppn,
            present: true,
            dirty: false,
        };
        self.pages.insert(page, backing);
        let content = self.memory.read(ppn * PAGE, PAGE as usize);
        self.reference
            .write(Self::key(page.0, page.1 * PAGE), &content);
    }

    /// Opens a physical page to descriptors with physical addresses.
    pub fn add_physical(&mut self, ppn: u64) {
        self.readable.insert(ppn);
        self.writable.insert(ppn);
    }

    /// A translation of the page has gone to the engine.
    pub fn translated(&mut self, page: VPage) {
        let backing = self.pages[&page];
        self.readable.insert(backing.ppn);
        if backing.dirty {
            self.writable.insert(backing.ppn);
        }
    }

    /// No translation of the page is in use any more: its old place becomes forbidden.
    pub fn revoked(&mut self, ppn: u64) {
        self.readable.remove(&ppn);
        self.writable.remove(&ppn);
    }

    /// Moves a page elsewhere, and spoils the old place.
    pub fn migrate(&mut self, page: VPage, rng: &mut TestRng) {
        let old = self.pages[&page].ppn;
        let new = self.fresh(rng);
        let content = self.memory.read(old * PAGE, PAGE as usize);
        self.memory.write(new * PAGE, &content);
        self.memory.write(old * PAGE, &[0xdd; PAGE as usize]);
        self.revoked(old);
        self.pages.insert(
            page,
            Backing {
                ppn: new,
                present: false,
                dirty: false,
            },
        );
    }

    /// Panics if an access may not be made now.
    pub fn check(&self, addr: u64, write: bool, seed: u64) {
        let set = if write {
            &self.writable
        } else {
            &self.readable
        };
        assert!(
            set.contains(&(addr / PAGE)),
            "seed {seed}: forbidden access to {addr:#x}, write {write}"
        );
    }

    /// Current place of a byte that a descriptor names.
    pub fn place(&self, addr: u64, ctx: Option<u64>) -> u64 {
        let Some(ctx) = ctx else { return addr };
        let vpn = addr >> 12 & 0xf_ffff_ffff;
        self.pages[&(ctx, vpn)].ppn * PAGE + addr % PAGE
    }

    /// Address of such a byte in the reference.
    pub fn reference_place(addr: u64, ctx: Option<u64>) -> u64 {
        ctx.map_or(addr, |ctx| Self::key(ctx, addr))
    }

    /// Compares all virtual pages, and the physical pages given, with the reference.
    pub fn compare(&self, physical: &[u64], seed: u64) {
        for (&(ctx, vpn), backing) in &self.pages {
            self.compare_page(backing.ppn * PAGE, Self::key(ctx, vpn * PAGE), seed);
        }
        for &ppn in physical {
            self.compare_page(ppn * PAGE, ppn * PAGE, seed);
        }
    }

    fn compare_page(&self, place: u64, key: u64, seed: u64) {
        let (is, must) = (
            self.memory.read(place, PAGE as usize),
            self.reference.read(key, PAGE as usize),
        );
        if let Some(at) = is.iter().zip(&must).position(|(a, b)| a != b) {
            panic!(
                "seed {seed}: byte {:#x} of page {key:#x} is {:#x}, must be {:#x}",
                at, is[at], must[at]
            );
        }
    }
}
