//! Forks that are under way: what the parent's threads write meanwhile may or may not be in the child.

use std::collections::BTreeMap;

use super::flight::Ticket;
use super::page::ByteSet;
use super::shadow::{Shadow, Slot};

/// A fork under way.
#[derive(Debug)]
pub(super) struct Fork {
    pub parent: u64,
    space: BTreeMap<u64, Slot>,
    /// By the parent's page, the child's.
    copies: BTreeMap<u64, u64>,
    /// The parent's mappings changed meanwhile: nothing is known of the child.
    pub unsure: bool,
}

impl Shadow {
    pub(super) fn begin_fork(&mut self, parent: u64) -> Ticket {
        let slots: Vec<(u64, Slot)> = self
            .spaces
            .get(&parent)
            .map(|s| s.iter().map(|(v, s)| (*v, *s)).collect())
            .unwrap_or_default();
        let mut space = BTreeMap::new();
        let mut copies = BTreeMap::new();
        for (vpn, slot) in slots {
            let mut page = slot.page;
            if self.is_own(&slot) {
                let copy = self.pages.get(&slot.page).cloned().unwrap_or_default();
                page = self.add(copy);
                copies.insert(slot.page, page);
            }
            space.insert(vpn, Slot { page, ..slot });
        }
        let ticket = self.ticket();
        let unsure = self.wild > 0 || self.untracked.contains(&parent);
        self.forks.insert(
            ticket,
            Fork {
                parent,
                space,
                copies,
                unsure,
            },
        );
        ticket
    }

    pub(super) fn end_fork(&mut self, ticket: Ticket, child: Option<u64>) {
        // Writes still under way may be in the child, or not.
        let open: Vec<(u64, u16, ByteSet)> = self
            .flights
            .values()
            .filter_map(|flight| flight.data.as_ref().map(|data| (flight, data)))
            .flat_map(|(flight, data)| {
                flight.segments.iter().flat_map(move |s| {
                    (0..s.len).map(move |i| (s.page, s.at + i as u16, data.at(s.index + i)))
                })
            })
            .collect();
        for (page, at, set) in open {
            self.forked_write(page, at, set);
        }
        let Some(fork) = self.forks.remove(&ticket) else {
            return;
        };
        if let Some(child) = child {
            if fork.unsure {
                self.untracked.insert(child);
            }
            self.spaces.insert(child, fork.space);
        }
        self.collect();
    }

    /// A byte of a page was written while forks are under way.
    pub(super) fn forked_write(&mut self, page: u64, at: u16, set: ByteSet) {
        let forked = self
            .forks
            .values()
            .filter_map(|fork| fork.copies.get(&page).copied());
        // A copy for a private mapping that is under way may be made before or after.
        let copied = self
            .flights
            .values()
            .flat_map(|flight| &flight.copies)
            .filter(|copy| copy.from == page)
            .map(|copy| copy.to);
        let copies: Vec<u64> = forked.chain(copied).collect();
        for copy in copies {
            if let Some(page) = self.pages.get_mut(&copy) {
                let mut both = page.get(at);
                both.join(set);
                page.loosen(at, both);
            }
        }
    }

    /// The mappings of a process change: forks of it that are under way may have either.
    pub(super) fn unsettle_forks(&mut self, mm: u64) {
        for fork in self.forks.values_mut().filter(|fork| fork.parent == mm) {
            fork.unsure = true;
        }
    }

    pub(super) fn fork_pages(&self) -> impl Iterator<Item = u64> + '_ {
        self.forks
            .values()
            .flat_map(|fork| fork.space.values().map(|slot| slot.page))
    }
}
