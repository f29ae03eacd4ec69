//! A set-associative cache of translations that holds every page size.

use hmmu_regs::Access;

/// Size of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageSize {
    /// 4 KiB.
    Small,
    /// 64 KiB (Svnapot).
    Napot,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl PageSize {
    const ALL: [Self; 4] = [Self::Small, Self::Napot, Self::Large, Self::Huge];

    /// log2 of its pages of 4 KiB.
    pub(crate) fn shift(self) -> u32 {
        match self {
            Self::Small => 0,
            Self::Napot => 4,
            Self::Large => 9,
            Self::Huge => 18,
        }
    }

    /// The bits of a page number that count within the page.
    pub(crate) fn mask(self) -> u64 {
        (1 << self.shift()) - 1
    }
}

/// A translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Xlat {
    pub(crate) ctx: u8,
    pub(crate) vpn: u64,
    /// First physical page of the page.
    pub(crate) ppn: u64,
    pub(crate) size: PageSize,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) execute: bool,
    pub(crate) dirty: bool,
    /// Atomics may go ahead.
    pub(crate) atomic: bool,
}

impl Xlat {
    pub(crate) fn covers(&self, ctx: u8, vpn: u64) -> bool {
        self.ctx == ctx && self.vpn >> self.size.shift() == vpn >> self.size.shift()
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
        self.ppn | vpn & self.size.mask()
    }

    fn overlaps(&self, ctx: u8, lo: u64, hi: u64) -> bool {
        let mask = self.size.mask();
        self.ctx == ctx && self.vpn | mask >= lo && self.vpn & !mask <= hi
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

    fn set_of(&self, vpn: u64, size: PageSize) -> usize {
        (vpn >> size.shift()) as usize & (self.sets - 1)
    }

    fn ways(&self, set: usize) -> &[Option<Xlat>] {
        &self.entries[set * self.ways..(set + 1) * self.ways]
    }

    /// A translation of the page that allows the access.
    pub(crate) fn find(&self, ctx: u8, vpn: u64, access: Access) -> Option<Xlat> {
        let hit = |xlat: &&Xlat| xlat.covers(ctx, vpn) && xlat.allows(access);
        let sizes: &[PageSize] = if self.sets == 1 {
            &[PageSize::Small]
        } else {
            &PageSize::ALL
        };
        sizes
            .iter()
            .find_map(|&size| self.ways(self.set_of(vpn, size)).iter().flatten().find(hit))
            .copied()
    }

    /// Stores a translation, in the place of one of the same page if there is one.
    pub(crate) fn fill(&mut self, new: Xlat) {
        let set = self.set_of(new.vpn, new.size);
        let ways = self.ways(set);
        let same = ways.iter().position(|way| {
            way.is_some_and(|old| old.size == new.size && old.covers(new.ctx, new.vpn))
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

    fn xlat(vpn: u64, size: PageSize) -> Xlat {
        Xlat {
            ctx: 1,
            vpn,
            ppn: 1 << 18,
            size,
            read: true,
            write: true,
            execute: false,
            dirty: false,
            atomic: true,
        }
    }

    #[test]
    fn every_size_is_found_and_gives_its_page() {
        let mut tlb = Tlb::new(64, 4);
        for (size, vpn) in PageSize::ALL
            .into_iter()
            .zip([0x12345, 0x6780, 0x40_0000, 7 << 18])
        {
            tlb.fill(xlat(vpn, size));
            for inside in [vpn, vpn | size.mask()] {
                assert_eq!(
                    tlb.find(1, inside, Access::Read).map(|x| x.page(inside)),
                    Some(1 << 18 | inside & size.mask())
                );
            }
            assert_eq!(tlb.find(2, vpn, Access::Read), None);
            assert_eq!(
                tlb.find(1, (vpn | size.mask()) + 1, Access::Read),
                None,
                "{size:?}"
            );
        }
    }

    #[test]
    fn stores_need_dirty() {
        let mut tlb = Tlb::new(1, 16);
        tlb.fill(xlat(5, PageSize::Small));
        assert_eq!(tlb.find(1, 5, Access::Write), None);
        assert_eq!(tlb.find(1, 5, Access::Execute), None);
        tlb.fill(Xlat {
            dirty: true,
            ..xlat(5, PageSize::Small)
        });
        assert!(tlb.find(1, 5, Access::Write).is_some());
        assert!(tlb.find(1, 5, Access::Atomic).is_some());
    }

    #[test]
    fn a_range_drops_every_size_that_overlaps_it() {
        let mut tlb = Tlb::new(64, 4);
        tlb.fill(xlat(0x200, PageSize::Large));
        tlb.fill(xlat(0x400, PageSize::Napot));
        tlb.fill(xlat(0x5ff, PageSize::Small));
        tlb.fill(xlat(1 << 18, PageSize::Huge));
        tlb.drop_range(1, 0x3ff, 0x400);
        assert_eq!(tlb.find(1, 0x200, Access::Read), None);
        assert_eq!(tlb.find(1, 0x40f, Access::Read), None);
        assert!(tlb.find(1, 0x5ff, Access::Read).is_some());
        assert!(tlb.find(1, 5 << 16, Access::Read).is_some());
        tlb.drop_range(1, 7 << 16, 7 << 16);
        assert_eq!(tlb.find(1, 5 << 16, Access::Read), None);
        tlb.drop_range(2, 0, u64::MAX);
        assert!(tlb.find(1, 0x5ff, Access::Read).is_some());
    }

    #[test]
    fn a_full_set_replaces_in_turn() {
        let mut tlb = Tlb::new(1, 2);
        for vpn in 0..3 {
            tlb.fill(xlat(vpn, PageSize::Small));
        }
        let held: Vec<bool> = (0..3)
            .map(|vpn| tlb.find(1, vpn, Access::Read).is_some())
            .collect();
        assert_eq!(held, [false, true, true]);
    }
}
