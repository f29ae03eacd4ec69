//! Memory that a process says it does not need.

use super::flight::{Data, Outcome, Ticket};
use super::page::PAGE;
use super::shadow::{Dying, Oracle, Slot, pages};

/// A MADV_DONTNEED under way.
#[derive(Debug)]
pub struct Discard {
    mm: u64,
    zeros: Vec<Ticket>,
    /// Pages of private file mappings.
    files: Vec<u64>,
    range: Ticket,
}

impl Oracle {
    /// A MADV_DONTNEED starts: private memory becomes zero, or what its file holds; shared memory stays.
    pub fn begin_discard(&self, mm: u64, addr: u64, len: u64) -> Discard {
        let mut anon = Vec::new();
        let mut files = Vec::new();
        {
            let shadow = self.lock();
            for vpn in pages(addr, len) {
                match shadow.slot(mm, vpn) {
                    Some(slot) if slot.shared => {}
                    Some(Slot { origin: None, .. }) => anon.push(vpn),
                    Some(_) => files.push(vpn),
                    None => {}
                }
            }
        }
        let zeros = anon
            .into_iter()
            .map(|vpn| {
                let zeros = Data::Bytes(vec![0; PAGE]);
                self.begin_write(mm, vpn * PAGE as u64, PAGE as u64, zeros)
            })
            .collect();
        let mut shadow = self.lock();
        let range = shadow.ticket();
        if !files.is_empty() {
            shadow.move_flights(mm, addr, len);
            shadow.unsettle_forks(mm);
            let slots = Vec::new();
            shadow.dying.insert(
                range,
                Dying {
                    mm,
                    start: addr,
                    len,
                    slots,
                },
            );
        }
        Discard {
            mm,
            zeros,
            files,
            range,
        }
    }

    /// It has ended; if not `done`, with an error after some of it may have been done.
    pub fn end_discard(&self, discard: Discard, done: bool) {
        for ticket in discard.zeros {
            let outcome = if done {
                Outcome::Done
            } else {
                Outcome::Partial
            };
            self.end_write(ticket, outcome);
        }
        let mut shadow = self.lock();
        if let Some(range) = shadow.dying.remove(&discard.range) {
            shadow.move_flights(range.mm, range.start, range.len);
        }
        for vpn in discard.files {
            let Some(slot) = shadow.slot(discard.mm, vpn) else {
                continue;
            };
            if done {
                shadow.fill_slot(discard.mm, vpn, slot.origin, slot.shared);
            } else if let Some(space) = shadow.spaces.get_mut(&discard.mm) {
                space.insert(
                    vpn,
                    Slot {
                        unsure: true,
                        ..slot
                    },
                );
            }
        }
        shadow.collect();
    }

    /// A MADV_FREE starts: what private memory holds may become zero until it is written.
    pub fn free(&self, mm: u64, addr: u64, len: u64) {
        let mut shadow = self.lock();
        shadow.move_flights(mm, addr, len);
        shadow.unsettle_forks(mm);
        for vpn in pages(addr, len) {
            let slot = shadow.slot(mm, vpn);
            if let Some(slot) = slot.filter(|slot| !slot.shared && slot.origin.is_none())
                && let Some(page) = shadow.pages.get_mut(&slot.page)
            {
                page.free();
            }
        }
    }
}
