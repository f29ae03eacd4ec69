//! Mappings that move.

use super::flight::Ticket;
use super::page::PAGE;
use super::shadow::{Oracle, Origin};

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
        let first = dying.start / PAGE as u64;
        let template = dying.slots.first().copied();
        // What the object behind the mapping has at another of its pages.
        let origin = |vpn: u64| {
            let (at, slot) = template?;
            slot.origin.map(|origin| Origin {
                vpn: origin.vpn + (vpn - first) - (at - first),
                ..origin
            })
        };
        let shared = template.is_some_and(|(_, slot)| slot.shared);
        let pages = moved.len.div_ceil(PAGE as u64);
        for page in 0..pages {
            let kept = dying
                .slots
                .binary_search_by_key(&(first + page), |(vpn, _)| *vpn);
            let to = moved.to / PAGE as u64 + page;
            match kept {
                Ok(index) => {
                    let slot = dying.slots[index].1;
                    if let Some(space) = shadow.spaces.get_mut(&dying.mm) {
                        space.insert(to, slot);
                    }
                }
                Err(_) => shadow.fill_slot(dying.mm, to, origin(first + page), shared),
            }
        }
        if moved.stays {
            for (vpn, slot) in &dying.slots {
                shadow.fill_slot(dying.mm, *vpn, slot.origin, slot.shared);
            }
        }
        shadow.collect();
    }
}
