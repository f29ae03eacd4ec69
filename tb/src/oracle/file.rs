//! Files and shared memory: pages that mappings have in common, and private copies of them.

use std::collections::BTreeMap;

use super::flight::{Copied, Data, Outcome, Ticket};
use super::page::{PAGE, Page};
use super::shadow::{Dying, NOWHERE, Oracle, Origin, Shadow, Slot, pages};

/// Names of files begin here; processes have smaller ones.
pub(super) const FIRST_FILE: u64 = 1 << 63;

/// A change of a file's length under way.
#[derive(Debug)]
pub struct Resize {
    file: u64,
    tail: Option<Ticket>,
    ranges: Vec<Ticket>,
}

impl Oracle {
    /// A file of `len` zeros. Reads and writes of it are those of a process with this number, at the bytes'
    /// offsets.
    pub fn file(&self, len: u64) -> u64 {
        let mut shadow = self.lock();
        let file = shadow.add_object(len);
        for vpn in pages(0, len) {
            shadow.object_page(Origin { object: file, vpn });
        }
        file
    }

    /// A file was mapped from byte `offset` on.
    pub fn map_file(&self, mm: u64, start: u64, len: u64, shared: bool, file: (u64, u64)) {
        let mut shadow = self.lock();
        shadow.move_flights(mm, start, len);
        shadow.unsettle_forks(mm);
        let (object, offset) = file;
        let first = start / PAGE as u64;
        for vpn in pages(start, len) {
            let origin = Origin {
                object,
                vpn: offset / PAGE as u64 + (vpn - first),
            };
            shadow.fill_slot(mm, vpn, Some(origin), shared);
        }
    }

    /// A file's length begins to change. What is cut off is gone from all mappings, private copies too; what is
    /// new is zero.
    pub fn begin_resize(&self, file: u64, len: u64) -> Resize {
        let old = self.lock().objects.get(&file).copied().unwrap_or(0);
        // The rest of the last page becomes zero.
        let end = len
            .next_multiple_of(PAGE as u64)
            .min(old.next_multiple_of(PAGE as u64));
        let tail = (len < old && len < end).then(|| {
            let zeros = Data::Bytes(vec![0; (end - len) as usize]);
            self.begin_write(file, len, end - len, zeros)
        });
        let mut shadow = self.lock();
        shadow.objects.insert(file, len);
        let ranges = shadow.resize(file, old, len);
        Resize { file, tail, ranges }
    }

    /// A file's length has changed.
    pub fn end_resize(&self, resize: Resize) {
        let Resize { file, tail, ranges } = resize;
        if let Some(tail) = tail {
            self.end_write(tail, Outcome::Done);
        }
        let mut shadow = self.lock();
        shadow.move_flights(file, 0, u64::MAX);
        for range in ranges {
            if let Some(range) = shadow.dying.remove(&range) {
                shadow.move_flights(range.mm, range.start, range.len);
            }
        }
        shadow.collect();
    }

    /// Pages of a range may have become the process's own without a write (a pin, exclusive access).
    pub fn may_own(&self, mm: u64, addr: u64, len: u64) {
        let mut shadow = self.lock();
        for vpn in pages(addr, len) {
            let slot = shadow.slot(mm, vpn);
            if let Some(slot) = slot.filter(|slot| shadow.is_file_copy(slot))
                && let Some(space) = shadow.spaces.get_mut(&mm)
            {
                space.insert(
                    vpn,
                    Slot {
                        unsure: true,
                        ..slot
                    },
                );
            }
        }
        shadow.move_flights(mm, addr, len);
    }
}

impl Shadow {
    pub fn add_object(&mut self, len: u64) -> u64 {
        let object = FIRST_FILE + self.ticket().0;
        self.objects.insert(object, len);
        self.spaces.insert(object, BTreeMap::new());
        object
    }

    pub fn slot(&self, mm: u64, vpn: u64) -> Option<Slot> {
        self.spaces.get(&mm)?.get(&vpn).copied()
    }

    /// The shadow page of an object's page, made now if it is not there yet.
    pub fn object_page(&mut self, origin: Origin) -> u64 {
        if let Some(slot) = self.slot(origin.object, origin.vpn) {
            return slot.page;
        }
        let len = self.objects.get(&origin.object).copied().unwrap_or(0);
        if origin.vpn >= len.div_ceil(PAGE as u64) {
            return NOWHERE;
        }
        let page = self.add(Page::default());
        if let Some(space) = self.spaces.get_mut(&origin.object) {
            space.insert(
                origin.vpn,
                Slot {
                    page,
                    shared: true,
                    origin: None,
                    unsure: false,
                },
            );
        }
        page
    }

    /// A mapping's page as it is before anybody has written there: the object's, or zeros.
    pub fn fill_slot(&mut self, mm: u64, vpn: u64, origin: Option<Origin>, shared: bool) {
        let page = match origin {
            Some(origin) => self.object_page(origin),
            None => self.add(Page::default()),
        };
        let slot = Slot {
            page,
            shared,
            origin,
            unsure: false,
        };
        if let Some(space) = self.spaces.get_mut(&mm) {
            space.insert(vpn, slot);
        }
    }

    /// Is the slot's page one of the process alone?
    pub fn is_own(&self, slot: &Slot) -> bool {
        !slot.shared && !self.is_file_copy(slot)
    }

    /// Does a private mapping still show its file's page?
    pub fn is_file_copy(&self, slot: &Slot) -> bool {
        let file = slot.origin.filter(|_| !slot.shared).map(|origin| {
            self.slot(origin.object, origin.vpn)
                .map_or(NOWHERE, |slot| slot.page)
        });
        file == Some(slot.page)
    }

    /// Can nobody tell what some page of a range is?
    pub fn is_unsure(&self, mm: u64, addr: u64, len: u64) -> bool {
        self.spaces
            .get(&mm)
            .is_some_and(|space| space.range(pages(addr, len)).any(|(_, slot)| slot.unsure))
    }

    /// Makes the pages of private file mappings in a range the process's own, as a write does.
    pub fn make_own(&mut self, mm: u64, addr: u64, len: u64) -> Vec<Copied> {
        let Some(space) = self.spaces.get(&mm) else {
            return Vec::new();
        };
        let slots: Vec<(u64, Slot)> = space
            .range(pages(addr, len))
            .filter(|(_, slot)| slot.origin.is_some() && slot.page != NOWHERE)
            .map(|(vpn, slot)| (*vpn, *slot))
            .collect();
        let mut copies = Vec::new();
        for (vpn, slot) in slots {
            if !slot.unsure && !self.is_file_copy(&slot) {
                continue;
            }
            let mut copy = self.pages.get(&slot.page).cloned().unwrap_or_default();
            if slot.unsure {
                copy = Page::unknown();
            }
            // Writes to the file that are under way may be in the copy.
            let open: Vec<_> = self
                .flights
                .values()
                .filter_map(|flight| flight.data.as_ref().map(|data| (flight, data)))
                .flat_map(|(flight, data)| {
                    flight
                        .segments
                        .iter()
                        .filter(|s| s.page == slot.page)
                        .flat_map(move |s| {
                            (0..s.len).map(move |i| (s.at + i as u16, data.at(s.index + i)))
                        })
                })
                .collect();
            for (at, set) in open {
                let mut both = copy.get(at);
                both.join(set);
                copy.loosen(at, both);
            }
            let to = self.add(copy);
            copies.push(Copied {
                vpn,
                from: slot.page,
                to,
                unsure: slot.unsure,
            });
            self.move_flights(mm, vpn * PAGE as u64, PAGE as u64);
            if let Some(space) = self.spaces.get_mut(&mm) {
                space.insert(
                    vpn,
                    Slot {
                        page: to,
                        unsure: false,
                        ..slot
                    },
                );
            }
        }
        copies
    }

    /// A write that was to make pages the process's own did not happen, or nobody knows whether.
    pub fn undo_own(&mut self, mm: u64, copies: &[Copied], sure: bool) {
        for copy in copies {
            let Some(slot) = self.slot(mm, copy.vpn).filter(|slot| slot.page == copy.to) else {
                continue;
            };
            self.move_flights(mm, copy.vpn * PAGE as u64, PAGE as u64);
            let page = slot
                .origin
                .map_or(copy.from, |origin| self.object_page(origin));
            if let Some(space) = self.spaces.get_mut(&mm) {
                let unsure = !sure || copy.unsure;
                space.insert(
                    copy.vpn,
                    Slot {
                        page,
                        unsure,
                        ..slot
                    },
                );
            }
        }
    }

    /// Gives every mapping of a file what is there after a change of its length, and the ranges that changed.
    fn resize(&mut self, file: u64, old: u64, new: u64) -> Vec<Ticket> {
        let (old, new) = (old.div_ceil(PAGE as u64), new.div_ceil(PAGE as u64));
        if let Some(space) = self.spaces.get_mut(&file) {
            space.retain(|vpn, _| *vpn < new);
        }
        for vpn in old..new {
            self.object_page(Origin { object: file, vpn });
        }
        let changed: Vec<(u64, u64, Slot)> = self
            .spaces
            .iter()
            .flat_map(|(mm, space)| space.iter().map(move |(vpn, slot)| (*mm, *vpn, *slot)))
            .filter(|(_, _, slot)| {
                slot.origin
                    .is_some_and(|o| o.object == file && o.vpn >= old.min(new))
            })
            .collect();
        let mut ranges = Vec::new();
        for (mm, vpn, slot) in changed {
            self.fill_slot(mm, vpn, slot.origin, slot.shared);
            let (start, len) = (vpn * PAGE as u64, PAGE as u64);
            self.move_flights(mm, start, len);
            self.unsettle_forks(mm);
            let ticket = self.ticket();
            let slots = Vec::new();
            self.dying.insert(
                ticket,
                Dying {
                    mm,
                    start,
                    len,
                    slots,
                },
            );
            ranges.push(ticket);
        }
        self.move_flights(file, old.min(new) * PAGE as u64, u64::MAX);
        ranges
    }
}
