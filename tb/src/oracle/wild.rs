//! Programs of which nobody knows what they write.

use super::page::Page;
use super::shadow::{Oracle, Shadow};

/// Such a program while it runs.
#[derive(Debug)]
pub struct Wild {
    mm: u64,
    /// Shadow pages that it may have written.
    pages: Vec<u64>,
}

impl Oracle {
    /// A program starts that may write all memory of a process. While it runs nothing is checked.
    pub fn begin_wild(&self, mm: u64) -> Wild {
        let mut shadow = self.lock();
        shadow.wild += 1;
        let pages = shadow.pages_of(mm);
        Wild { mm, pages }
    }

    /// It has ended: nothing is known of what it could write.
    pub fn end_wild(&self, wild: Wild) {
        let mut shadow = self.lock();
        shadow.wild = shadow.wild.saturating_sub(1);
        let later = shadow.pages_of(wild.mm);
        for page in wild.pages.into_iter().chain(later) {
            if let Some(page) = shadow.pages.get_mut(&page) {
                *page = Page::unknown();
            }
        }
        if let Some(space) = shadow.spaces.get_mut(&wild.mm) {
            for slot in space.values_mut() {
                slot.unsure |= slot.origin.is_some() && !slot.shared;
            }
        }
        // Reads of any process may have seen its writes.
        for flight in shadow.flights.values_mut() {
            flight.moved = true;
        }
    }
}

impl Shadow {
    /// The shadow pages behind a process's memory.
    fn pages_of(&self, mm: u64) -> Vec<u64> {
        self.spaces
            .get(&mm)
            .map(|space| space.values().map(|slot| slot.page).collect())
            .unwrap_or_default()
    }
}
