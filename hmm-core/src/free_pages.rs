//! Which pages of system memory are free.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::addr::HUGE_PAGES;

/// Free pages by number, and which huge pages are free as a whole.
pub(crate) struct FreePages {
    pages: BTreeSet<u64>,
    /// Free pages in each area of [`HUGE_PAGES`].
    in_area: Vec<u64>,
    /// Areas that are free as a whole.
    whole: BTreeSet<u64>,
}

impl FreePages {
    pub fn new(range: Range<u64>) -> FreePages {
        let areas = range.end.div_ceil(HUGE_PAGES);
        let in_area: Vec<u64> = (0..areas)
            .map(|area| {
                let first = (area * HUGE_PAGES).max(range.start);
                let last = ((area + 1) * HUGE_PAGES).min(range.end);
                last.saturating_sub(first)
            })
            .collect();
        let whole = (0..areas)
            .filter(|&area| in_area[area as usize] == HUGE_PAGES)
            .collect();
        FreePages {
            pages: range.collect(),
            in_area,
            whole,
        }
    }

    pub fn len(&self) -> u64 {
        self.pages.len() as u64
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.pages.iter().copied()
    }

    /// Takes the lowest page.
    pub fn take(&mut self) -> Option<u64> {
        let page = self.pages.pop_first()?;
        let area = page / HUGE_PAGES;
        let count = &mut self.in_area[area as usize];
        if *count == HUGE_PAGES {
            self.whole.remove(&area);
        }
        *count -= 1;
        Some(page)
    }

    /// Takes the lowest huge page; returns its first page.
    pub fn take_huge(&mut self) -> Option<u64> {
        let area = self.whole.pop_first()?;
        self.in_area[area as usize] = 0;
        let first = area * HUGE_PAGES;
        for page in first..first + HUGE_PAGES {
            self.pages.remove(&page);
        }
        Some(first)
    }

    pub fn give_back(&mut self, page: u64) {
        if !self.pages.insert(page) {
            return;
        }
        let area = page / HUGE_PAGES;
        let count = &mut self.in_area[area as usize];
        *count += 1;
        if *count == HUGE_PAGES {
            self.whole.insert(area);
        }
    }

    /// Checks the counts against the pages.
    pub fn check(&self) -> Result<(), String> {
        let mut counts = vec![0; self.in_area.len()];
        for page in self.iter() {
            counts[(page / HUGE_PAGES) as usize] += 1;
        }
        for (area, &count) in (0..).zip(&counts) {
            if count != self.in_area[area as usize]
                || self.whole.contains(&area) != (count == HUGE_PAGES)
            {
                return Err(format!(
                    "huge page {area}: {count} free pages are miscounted"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_are_whole_and_aligned() {
        let mut free = FreePages::new(3..2000);
        assert_eq!(free.len(), 1997);
        assert_eq!(free.take_huge(), Some(512));
        assert_eq!(free.take_huge(), Some(1024));
        // The last area is not whole.
        assert_eq!(free.take_huge(), None);
        assert_eq!(free.take(), Some(3));
        assert_eq!(free.check(), Ok(()));
        for page in (1024..1536).rev() {
            assert_eq!(free.take_huge(), None);
            free.give_back(page);
        }
        assert_eq!(free.check(), Ok(()));
        assert_eq!(free.take_huge(), Some(1024));
        assert_eq!(free.len(), 1997 - 1024 - 1);
    }

    #[test]
    fn one_page_out_of_it_breaks_a_huge_page() {
        let mut free = FreePages::new(0..512);
        assert_eq!(free.take(), Some(0));
        assert_eq!(free.take_huge(), None);
        free.give_back(0);
        free.give_back(0);
        assert_eq!(free.check(), Ok(()));
        assert_eq!(free.take_huge(), Some(0));
        assert_eq!(free.take(), None);
    }
}
