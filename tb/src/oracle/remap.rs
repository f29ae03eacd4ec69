//! Mappings that move.

use super::flight::Ticket;
use super::page::{PAGE, Page};
use super::shadow::{Oracle, Slot};

/// Where a mapping went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its new address.
    pub to: u64,
    /// Its new length, bytes.
    pub len: u64,
    /// An empty mapping stays at the old place.
    pub stays: bool,
}

impl Oracle {
    /// A mremap, begun as a munmap of its old range, has ended well. What moved keeps its bytes, what is new is
    /// zero.
    pub fn end_remap(&self, old: Ticket, moved: Moved) {
        let mut shadow = self.lock();
        let Some(dying) = shadow.dying.remove(&old) else {
            return;
        };
        shadow.move_flights(dying.mm, moved.to, moved.len);
        shadow.unsettle_forks(dying.mm);
        let shared = dying.slots.first().is_some_and(|(_, slot)| slot.shared);
        let first = dying.start / PAGE as u64;
        let pages = moved.len.div_ceil(PAGE as u64);
        for page in 0..pages {
            let kept = dying
                .slots
                .binary_search_by_key(&(first + page), |(vpn, _)| *vpn);
            let slot = match kept {
                Ok(index) => dying.slots[index].1,
                Err(_) => Slot {
                    page: shadow.add(Page::default()),
                    shared,
                },
            };
            if let Some(space) = shadow.spaces.get_mut(&dying.mm) {
                space.insert(moved.to / PAGE as u64 + page, slot);
            }
        }
        if moved.stays {
            for (vpn, slot) in &dying.slots {
                let page = shadow.add(Page::default());
                let shared = slot.shared;
                if let Some(space) = shadow.spaces.get_mut(&dying.mm) {
                    space.insert(*vpn, Slot { page, shared });
                }
            }
        }
        shadow.collect();
    }
}
