//! The shadow of all processes' memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Mismatch;
use super::flight::{Data, Flight, Outcome, Segment, Ticket};
use super::fork::Fork;
use super::page::{PAGE, Page};

/// The oracle. Its calls never wait for anything.
#[derive(Debug, Default)]
pub struct Oracle {
    shadow: Mutex<Shadow>,
}

/// What is behind a page of a process (or of a file).
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// The shadow page; [`NOWHERE`] beyond the end of a file.
    pub page: u64,
    pub shared: bool,
    /// The object behind it, and the page number there.
    pub origin: Option<Origin>,
    /// Private and of a file: nobody knows whether it is the process's own by now.
    pub unsure: bool,
}

/// A page of a file or of shared memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub object: u64,
    pub vpn: u64,
}

/// No page.
pub(super) const NOWHERE: u64 = 0;

#[derive(Debug, Default)]
pub(super) struct Shadow {
    next: u64,
    pub pages: BTreeMap<u64, Page>,
    /// By process, by virtual page number.
    pub spaces: BTreeMap<u64, BTreeMap<u64, Slot>>,
    pub flights: BTreeMap<Ticket, Flight>,
    /// Ranges whose munmap is under way, and what was there.
    pub dying: BTreeMap<Ticket, Dying>,
    pub forks: BTreeMap<Ticket, Fork>,
    /// Processes of which nothing is known: children of a fork beside a change of mappings.
    pub untracked: BTreeSet<u64>,
    /// Lengths of files and shared memory, bytes. Their pages are in `spaces`.
    pub objects: BTreeMap<u64, u64>,
    /// Programs under way of which nobody knows what they write.
    pub wild: u32,
}

#[derive(Debug)]
pub(super) struct Dying {
    pub mm: u64,
    pub start: u64,
    pub len: u64,
    pub slots: Vec<(u64, Slot)>,
}

impl Oracle {
    /// A new process with nothing mapped.
    pub fn process(&self, mm: u64) {
        self.lock().spaces.insert(mm, BTreeMap::new());
    }

    /// A fork of `parent` starts.
    pub fn begin_fork(&self, parent: u64) -> Ticket {
        self.lock().begin_fork(parent)
    }

    /// A fork has ended with this child, or failed.
    pub fn end_fork(&self, ticket: Ticket, child: Option<u64>) {
        self.lock().end_fork(ticket, child);
    }

    /// The process is gone.
    pub fn exit(&self, mm: u64) {
        let mut shadow = self.lock();
        shadow.move_flights(mm, 0, u64::MAX);
        shadow.unsettle_forks(mm);
        shadow.spaces.remove(&mm);
        shadow.collect();
    }

    /// Zeroed memory was mapped.
    pub fn map(&self, mm: u64, start: u64, len: u64, shared: bool) {
        let mut shadow = self.lock();
        shadow.move_flights(mm, start, len);
        shadow.unsettle_forks(mm);
        // Shared memory is a file without an end.
        let object = shared.then(|| shadow.add_object(u64::MAX));
        let first = start / PAGE as u64;
        for vpn in pages(start, len) {
            let origin = object.map(|object| Origin {
                object,
                vpn: vpn - first,
            });
            shadow.fill_slot(mm, vpn, origin, shared);
        }
    }

    /// A munmap starts.
    pub fn begin_unmap(&self, mm: u64, start: u64, len: u64) -> Ticket {
        let mut shadow = self.lock();
        shadow.move_flights(mm, start, len);
        shadow.unsettle_forks(mm);
        let mut slots = Vec::new();
        if let Some(space) = shadow.spaces.get_mut(&mm) {
            let inside: Vec<u64> = space
                .range(pages(start, len))
                .map(|(vpn, _)| *vpn)
                .collect();
            for vpn in inside {
                slots.extend(space.remove(&vpn).map(|slot| (vpn, slot)));
            }
        }
        let ticket = shadow.ticket();
        shadow.dying.insert(
            ticket,
            Dying {
                mm,
                start,
                len,
                slots,
            },
        );
        ticket
    }

    /// A munmap has ended; `done` is false if it was refused.
    pub fn end_unmap(&self, ticket: Ticket, done: bool) {
        let mut shadow = self.lock();
        let Some(dying) = shadow.dying.remove(&ticket) else {
            return;
        };
        if !done && let Some(space) = shadow.spaces.get_mut(&dying.mm) {
            for (vpn, slot) in dying.slots {
                space.entry(vpn).or_insert(slot);
            }
        }
        shadow.collect();
    }

    /// A read starts.
    pub fn begin_read(&self, mm: u64, addr: u64, len: u64) -> Ticket {
        self.lock().begin(mm, addr, len, None)
    }

    /// A write starts.
    pub fn begin_write(&self, mm: u64, addr: u64, len: u64, data: Data) -> Ticket {
        let mut shadow = self.lock();
        let ticket = shadow.begin(mm, addr, len, Some(data));
        // Two writes under way at once to one byte: nobody can tell which comes last.
        let Some(mine) = shadow.flights.get(&ticket) else {
            return ticket;
        };
        let overlapping: Vec<Ticket> = shadow
            .flights
            .iter()
            .filter(|(other, flight)| {
                **other != ticket && flight.data.is_some() && flight.overlaps(&mine.segments)
            })
            .map(|(other, _)| *other)
            .collect();
        for other in overlapping {
            let common = shadow.common(ticket, other);
            for t in [ticket, other] {
                if let Some(flight) = shadow.flights.get_mut(&t) {
                    flight.tainted.extend(common.iter().copied());
                }
            }
        }
        ticket
    }

    /// A read that never came to its end.
    pub fn abandon(&self, ticket: Ticket) {
        self.lock().flights.remove(&ticket);
    }

    /// A read has ended with these bytes.
    ///
    /// # Errors
    /// A byte that cannot be.
    pub fn end_read(&self, ticket: Ticket, data: &[u8]) -> Result<(), Mismatch> {
        self.lock().end_read(ticket, data)
    }

    /// A write has ended.
    pub fn end_write(&self, ticket: Ticket, outcome: Outcome) {
        self.lock().end_write(ticket, outcome);
    }

    /// A read-modify-write, begun as a write of unknown data, has ended: it read `old` and wrote `new`.
    ///
    /// # Errors
    /// Bytes of `old` that cannot be.
    pub fn end_update(&self, ticket: Ticket, old: &[u8], new: &[u8]) -> Result<(), Mismatch> {
        let mut shadow = self.lock();
        let checked = shadow.check_update(ticket, old);
        shadow.end_write(ticket, Outcome::Wrote(Data::Bytes(new.to_vec())));
        checked
    }

    /// A copy, begun as a read of its source and a write of unknown data, has ended well.
    pub fn end_copy(&self, read: Ticket, write: Ticket) {
        let mut shadow = self.lock();
        let data = shadow
            .copied(read, write)
            .map_or(Data::Unknown, Data::Bytes);
        shadow.flights.remove(&read);
        shadow.end_write(write, Outcome::Wrote(data));
    }

    /// The bytes of a range if every one of them is known, for copies. `None` if not.
    #[must_use]
    pub fn known(&self, mm: u64, addr: u64, len: u64) -> Option<Vec<u8>> {
        let shadow = self.lock();
        let segments = shadow.segments(mm, addr, len);
        shadow
            .settled(&segments, None)
            .filter(|bytes| bytes.len() as u64 == len)
    }

    /// Mapped runs of a process: (address, bytes).
    #[must_use]
    pub fn mapped(&self, mm: u64) -> Vec<(u64, u64)> {
        let shadow = self.lock();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for vpn in shadow.spaces.get(&mm).into_iter().flat_map(BTreeMap::keys) {
            let start = vpn * PAGE as u64;
            match runs.last_mut() {
                Some((first, len)) if *first + *len == start => *len += PAGE as u64,
                _ => runs.push((start, PAGE as u64)),
            }
        }
        runs
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shadow> {
        self.shadow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Page numbers of a range.
pub(super) fn pages(start: u64, len: u64) -> std::ops::Range<u64> {
    start / PAGE as u64..start.saturating_add(len).div_ceil(PAGE as u64)
}

impl Shadow {
    pub fn ticket(&mut self) -> Ticket {
        self.next += 1;
        Ticket(self.next)
    }

    pub fn add(&mut self, page: Page) -> u64 {
        self.next += 1;
        self.pages.insert(self.next, page);
        self.next
    }

    pub fn collect(&mut self) {
        let mut live: BTreeSet<u64> = self
            .spaces
            .values()
            .flat_map(|space| space.values().map(|slot| slot.page))
            .collect();
        live.extend(
            self.dying
                .values()
                .flat_map(|dying| dying.slots.iter().map(|(_, slot)| slot.page)),
        );
        live.extend(self.fork_pages());
        self.pages.retain(|page, _| live.contains(page));
    }

    pub fn move_flights(&mut self, mm: u64, start: u64, len: u64) {
        for flight in self
            .flights
            .values_mut()
            .filter(|flight| flight.touches(mm, start, len))
        {
            flight.moved = true;
        }
    }

    pub(super) fn segments(&self, mm: u64, addr: u64, len: u64) -> Vec<Segment> {
        let Some(space) = self.spaces.get(&mm) else {
            return Vec::new();
        };
        let mut segments = Vec::new();
        let mut at = addr;
        let end = addr.saturating_add(len);
        while at < end {
            let stop = (at / PAGE as u64 + 1).saturating_mul(PAGE as u64).min(end);
            if let Some(slot) = space
                .get(&(at / PAGE as u64))
                .filter(|slot| slot.page != NOWHERE)
            {
                segments.push(Segment {
                    page: slot.page,
                    at: (at % PAGE as u64) as u16,
                    index: (at - addr) as usize,
                    len: (stop - at) as usize,
                });
            }
            at = stop;
        }
        segments
    }

    fn begin(&mut self, mm: u64, addr: u64, len: u64, data: Option<Data>) -> Ticket {
        let mut copies = Vec::new();
        let mut unsure = false;
        if data.is_some() {
            copies = self.make_own(mm, addr, len);
        } else {
            unsure = self.is_unsure(mm, addr, len);
        }
        let segments = self.segments(mm, addr, len);
        let dying = self.dying.values().any(|d| {
            d.mm == mm && addr < d.start.saturating_add(d.len) && d.start < addr.saturating_add(len)
        });
        let ticket = self.ticket();
        self.flights.insert(
            ticket,
            Flight {
                mm,
                addr,
                len: len as usize,
                segments,
                data,
                tainted: Default::default(),
                gone: Default::default(),
                moved: dying || unsure,
                copies,
            },
        );
        ticket
    }

    /// Bytes that two accesses share.
    fn common(&self, a: Ticket, b: Ticket) -> Vec<(u64, u16)> {
        let (Some(a), Some(b)) = (self.flights.get(&a), self.flights.get(&b)) else {
            return Vec::new();
        };
        let mut bytes = Vec::new();
        for segment in &a.segments {
            for at in segment.at..segment.at + segment.len as u16 {
                if b.position(segment.page, at).is_some() {
                    bytes.push((segment.page, at));
                }
            }
        }
        bytes
    }
}
