//! A set-associative cache of translations that holds both page sizes.

use hmmu_regs::Access;

/// A translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Xlat {
    pub(crate) ctx: u8,
    pub(crate) vpn: u64,
    /// First physical page of the (4 KiB or 2 MiB) page.
    pub(crate) ppn: u64,
    /// A 2 MiB page.
    pub(crate) large: bool,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) execute: bool,
    pub(crate) dirty: bool,
    /// Atomics may go ahead.
    pub(crate) atomic: bool,
}

impl Xlat {
    pub(crate) fn covers(&self, ctx: u8, vpn: u64) -> bool {
        self.ctx == ctx
            && if self.large {
                self.vpn >> 9 == vpn >> 9
            } else {
                self.vpn == vpn
            }
    }

    pub(crate) fn allows(&self, access: Access) -> bool {
        match access {
            Access::Read => self.read,
            Access::Write => self.write && self.dirty,
            Access::Atomic => self.write && self.dirty && self.atomic,
            Access::Execute => self.execute,
        }
    }

    /// The physical page of `vpn`, which it covers.
    pub(crate) fn page(&self, vpn: u64) -> u64 {
        if self.large {
            self.ppn & !511 | vpn & 511
        } else {
            self.ppn
        }
    }

    fn overlaps(&self, ctx: u8, lo: u64, hi: u64) -> bool {
        let (lo, hi, own) = if self.large {
            (lo >> 9, hi >> 9, self.vpn >> 9)
        } else {
            (lo, hi, self.vpn)
        };
        self.ctx == ctx && (lo..=hi).contains(&own)
    }
}

/// The cache. Replacement is round robin within a set.
pub(crate) struct Tlb {
    sets: usize,
    ways: usize,
    entries: Vec<Option<Xlat>>,
    victim: Vec<u8>,
}

impl Tlb {
    /// `sets` is a power of two.
    pub(crate) fn new(sets: usize, ways: usize) -> Self {
        Self {
            sets,
            ways,
            entries: vec![None; sets * ways],
            victim: vec![0; sets],
        }
    }

    fn set_of(&self, vpn: u64, large: bool) -> usize {
        let index = if large { vpn >> 9 } else { vpn };
        index as usize & (self.sets - 1)
    }

    fn ways(&self, set: usize) -> &[Option<Xlat>] {
        &self.entries[set * self.ways..(set + 1) * self.ways]
    }

    /// A translation of the page that allows the access.
    pub(crate) fn find(&self, ctx: u8, vpn: u64, access: Access) -> Option<Xlat> {
        let (small, large) = (self.set_of(vpn, false), self.set_of(vpn, true));
        let hit = |xlat: &&Xlat| xlat.covers(ctx, vpn) && xlat.allows(access);
        let found = self.ways(small).iter().flatten().find(hit);
        let found = if found.is_none() && large != small {
            self.ways(large).iter().flatten().find(hit)
        } else {
            found
        };
        found.copied()
    }

    /// Stores a translation, in the place of one of the same page if there is one.
    pub(crate) fn fill(&mut self, new: Xlat) {
        let set = self.set_of(new.vpn, new.large);
        let ways = self.ways(set);
        let same = ways.iter().position(|way| {
            way.is_some_and(|old| old.large == new.large && old.covers(new.ctx, new.vpn))
        });
        let way = same
            .or_else(|| ways.iter().position(Option::is_none))
            .unwrap_or_else(|| {
                let way = self.victim[set];
                self.victim[set] = (way + 1) % self.ways as u8;
                usize::from(way)
            });
        self.entries[set * self.ways + way] = Some(new);
    }

    /// Drops what overlaps the pages lo..=hi of a context.
    pub(crate) fn drop_range(&mut self, ctx: u8, lo: u64, hi: u64) {
        for entry in &mut self.entries {
            if entry.is_some_and(|xlat| xlat.overlaps(ctx, lo, hi)) {
                *entry = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xlat(vpn: u64, large: bool) -> Xlat {
        Xlat {
            ctx: 1,
            vpn,
            ppn: 0x1000,
            large,
            read: true,
            write: true,
            execute: false,
            dirty: false,
            atomic: true,
        }
    }

    #[test]
    fn both_sizes_are_found_and_give_their_page() {
        let mut tlb = Tlb::new(64, 4);
        tlb.fill(xlat(0x12345, false));
        tlb.fill(xlat(0x40_0000, true));
        assert_eq!(
            tlb.find(1, 0x12345, Access::Read).map(|x| x.page(0x12345)),
            Some(0x1000)
        );
        assert_eq!(
            tlb.find(1, 0x40_0007, Access::Read)
                .map(|x| x.page(0x40_0007)),
            Some(0x1007)
        );
        assert_eq!(tlb.find(2, 0x12345, Access::Read), None);
        assert_eq!(tlb.find(1, 0x12346, Access::Read), None);
    }

    #[test]
    fn stores_need_dirty() {
        let mut tlb = Tlb::new(1, 16);
        tlb.fill(xlat(5, false));
        assert_eq!(tlb.find(1, 5, Access::Write), None);
        assert_eq!(tlb.find(1, 5, Access::Execute), None);
        tlb.fill(Xlat {
            dirty: true,
            ..xlat(5, false)
        });
        assert!(tlb.find(1, 5, Access::Write).is_some());
        assert!(tlb.find(1, 5, Access::Atomic).is_some());
    }

    #[test]
    fn a_range_drops_every_size_that_overlaps_it() {
        let mut tlb = Tlb::new(64, 4);
        tlb.fill(xlat(0x200, true));
        tlb.fill(xlat(0x5ff, false));
        tlb.drop_range(1, 0x3ff, 0x400);
        assert_eq!(tlb.find(1, 0x200, Access::Read), None);
        assert!(tlb.find(1, 0x5ff, Access::Read).is_some());
        tlb.drop_range(2, 0, u64::MAX);
        assert!(tlb.find(1, 0x5ff, Access::Read).is_some());
    }

    #[test]
    fn a_full_set_replaces_in_turn() {
        let mut tlb = Tlb::new(1, 2);
        for vpn in 0..3 {
            tlb.fill(xlat(vpn, false));
        }
        let held: Vec<bool> = (0..3)
            .map(|vpn| tlb.find(1, vpn, Access::Read).is_some())
            .collect();
        assert_eq!(held, [false, true, true]);
    }
}
