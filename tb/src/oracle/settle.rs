//! How accesses end: what was read is checked, what was written becomes what must be read.

use super::Mismatch;
use super::flight::{Data, Outcome, Segment, Ticket};
use super::page::ByteSet;
use super::shadow::Shadow;

impl Shadow {
    /// What a byte may be now, writes under way included (but for one).
    pub(super) fn candidates(&self, page: u64, at: u16, without: Option<Ticket>) -> ByteSet {
        let mut set = self
            .pages
            .get(&page)
            .map_or(ByteSet::ALL, |page| page.get(at));
        for (ticket, flight) in &self.flights {
            if Some(*ticket) != without
                && let Some(data) = &flight.data
                && let Some(index) = flight.position(page, at)
            {
                set.join(data.at(index));
            }
        }
        set
    }

    /// The bytes of some segments, if each can have only one value.
    pub(super) fn settled(&self, segments: &[Segment], without: Option<Ticket>) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for segment in segments {
            for at in segment.at..segment.at + segment.len as u16 {
                match self.candidates(segment.page, at, without).values()[..] {
                    [value] => bytes.push(value),
                    _ => return None,
                }
            }
        }
        Some(bytes)
    }

    /// What a copy has written, if its source was known and still all the while.
    pub(super) fn copied(&self, read: Ticket, write: Ticket) -> Option<Vec<u8>> {
        let (from, to) = (self.flights.get(&read)?, self.flights.get(&write)?);
        let still =
            self.wild == 0 && !from.moved && from.gone.is_empty() && !to.overlaps(&from.segments);
        if !still {
            return None;
        }
        self.settled(&from.segments, None)
            .filter(|bytes| bytes.len() == to.len)
    }

    pub(super) fn check_update(&self, ticket: Ticket, old: &[u8]) -> Result<(), Mismatch> {
        let Some(flight) = self.flights.get(&ticket) else {
            return Ok(());
        };
        if flight.moved
            || self.wild > 0
            || !flight.tainted.is_empty()
            || self.untracked.contains(&flight.mm)
        {
            return Ok(());
        }
        for segment in &flight.segments {
            for (at, &got) in (segment.at..).zip(&old[segment.index..segment.index + segment.len]) {
                let allowed = self.candidates(segment.page, at, Some(ticket));
                if !allowed.has(got) {
                    let addr = flight.addr + segment.index as u64 + u64::from(at - segment.at);
                    return Err(Mismatch::Byte {
                        mm: flight.mm,
                        addr,
                        got,
                        allowed: allowed.values(),
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn end_read(&mut self, ticket: Ticket, data: &[u8]) -> Result<(), Mismatch> {
        let Some(flight) = self.flights.remove(&ticket) else {
            return Ok(());
        };
        if flight.moved || self.wild > 0 || self.untracked.contains(&flight.mm) {
            return Ok(());
        }
        let covered: usize = flight.segments.iter().map(|s| s.len).sum();
        if covered < flight.len {
            let mut at = 0;
            while let Some(segment) = flight.segments.iter().find(|s| s.index == at) {
                at += segment.len;
            }
            return Err(Mismatch::Unmapped {
                mm: flight.mm,
                addr: flight.addr + at as u64,
            });
        }
        let writes = self
            .flights
            .values()
            .any(|f| f.data.is_some() && f.overlaps(&flight.segments));
        for segment in &flight.segments {
            let part = &data[segment.index..segment.index + segment.len];
            let exact = self
                .pages
                .get(&segment.page)
                .is_some_and(|page| page.equals(segment.at, part));
            if exact {
                continue;
            }
            for (at, &got) in (segment.at..).zip(part) {
                let mut allowed = self.candidates(segment.page, at, None);
                if let Some(gone) = flight.gone.get(&(segment.page, at)) {
                    allowed.join(*gone);
                }
                if !allowed.has(got) {
                    let addr = flight.addr + segment.index as u64 + u64::from(at - segment.at);
                    return Err(Mismatch::Byte {
                        mm: flight.mm,
                        addr,
                        got,
                        allowed: allowed.values(),
                    });
                }
                // Nobody wrote it while it was read: now it is known.
                if !writes
                    && !flight.gone.contains_key(&(segment.page, at))
                    && let Some(page) = self.pages.get_mut(&segment.page)
                    && !page.is_lazy()
                {
                    page.settle(at, got);
                }
            }
        }
        Ok(())
    }

    pub(super) fn end_write(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(mut flight) = self.flights.remove(&ticket) else {
            return;
        };
        let partial = match outcome {
            Outcome::Nothing => {
                self.undo_own(flight.mm, &flight.copies, true);
                return;
            }
            Outcome::Partial => {
                self.undo_own(flight.mm, &flight.copies, false);
                true
            }
            Outcome::Done => false,
            Outcome::Wrote(data) => {
                // Until now it counted as anything, so whoever ran beside it is covered.
                flight.data = Some(data);
                false
            }
        };
        let Some(data) = flight.data.take() else {
            return;
        };
        if flight.moved {
            // It may have gone to what is mapped there now, or to nothing.
            flight.segments = self.segments(flight.mm, flight.addr, flight.len as u64);
        }
        let loose = partial || flight.moved;
        for segment in flight.segments.clone() {
            if !loose && let Some(page) = self.pages.get_mut(&segment.page) {
                page.keep();
            }
            let beside = self
                .flights
                .values()
                .any(|f| f.overlaps(std::slice::from_ref(&segment)));
            if !loose
                && !beside
                && flight.tainted.is_empty()
                && self.forks.is_empty()
                && let Data::Bytes(bytes) = &data
                && let Some(page) = self.pages.get_mut(&segment.page)
            {
                page.settle_run(
                    segment.at,
                    &bytes[segment.index..segment.index + segment.len],
                );
                continue;
            }
            for at in segment.at..segment.at + segment.len as u16 {
                let key = (segment.page, at);
                let new = data.at(segment.index + usize::from(at - segment.at));
                let old = self.candidates(segment.page, at, None);
                let others = self
                    .flights
                    .values()
                    .any(|f| f.data.is_some() && f.position(key.0, at).is_some());
                let exact =
                    !loose && !others && !flight.tainted.contains(&key) && new != ByteSet::ALL;
                for read in self.flights.values_mut().filter(|f| f.data.is_none()) {
                    if read.position(key.0, at).is_some() {
                        read.gone.entry(key).or_default().join(old);
                    }
                }
                self.forked_write(key.0, at, new);
                let Some(page) = self.pages.get_mut(&segment.page) else {
                    continue;
                };
                if exact {
                    page.settle(at, new.values()[0]);
                } else {
                    let mut set = page.get(at);
                    set.join(new);
                    page.loosen(at, set);
                }
            }
        }
    }
}
