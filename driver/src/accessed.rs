//! Which pages the device uses, by the A bits of its tables.

use crate::context::Context;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::hw::DmaAddr;
use crate::policy::PageRange;
use crate::ring::Index;
use crate::table::Piece;
use hmm_core::{Errno, Va};
use hmmu_regs::{HarvestEnd, JobStatus};
use std::collections::VecDeque;

/// Commands of one harvest that are in the ring at once: enough to keep the device busy, and all that somebody else's
/// invalidation may have to wait for.
const WINDOW: usize = 2;
/// Bytes of a bitmap of the result.
const BITMAP: usize = 64;
/// Bytes set aside for a result.
const RESULT_BYTES: u64 = 192;

/// Commands under way, the oldest first: the command, what it harvests, where its result goes.
type UnderWay = VecDeque<(Index, Piece, DmaAddr)>;

impl Context {
    /// Which pages of `[start, start + len)` (bytes, whole pages) the device has used since the last call that told of
    /// them, or since they were mapped: one bool a page. Their A bits are cleared, and the device is made to forget their
    /// translations, so that the next use is seen. A page that is not mapped for the device was not used. All pages of
    /// a 2 MiB entry count as used when one was. What the device does while the call runs may be told of now, or
    /// by the next one, or, if it goes through a translation that is about to be forgotten, not at all.
    ///
    /// Takes one command for 64 entries and one invalidation for all.
    ///
    /// # Errors
    /// EINVAL for an unaligned or empty range, EBADF when the context is closed, EIO when a table cannot be read or the
    /// device does not answer; what has been found by then is told of by a later call.
    pub fn harvest_accessed(&self, start: Va, len: u64) -> Result<Vec<bool>, DriverError> {
        let range = Self::user_range(start, len)?;
        self.check_open()?;
        self.core.health.check()?;
        let pieces = match &self.space.lock().table {
            Some(table) => table.pieces(range),
            None => return Err(DriverError::Closed),
        };
        if let (Some(first), Some(last)) = (pieces.first(), pieces.iter().map(Piece::end).max()) {
            self.collect_accessed(
                PageRange {
                    start: first.va,
                    end: last,
                },
                &pieces,
            )?;
        }
        match self.space.lock().table.as_mut() {
            Some(table) => Ok(table.take_accessed(range)),
            None => Err(DriverError::Closed),
        }
    }

    /// Harvests the pieces, notes what was found, and makes the device forget their translations if there was any.
    fn collect_accessed(&self, span: PageRange, pieces: &[Piece]) -> Result<(), DriverError> {
        let core = &self.core;
        let bytes = WINDOW as u64 * RESULT_BYTES;
        let results = core.hw.dma.alloc(bytes, 64)?;
        let mut found = 0;
        let harvested = self.run_pieces(pieces, results, &mut found);
        // What has been cleared is cleared, also when something failed.
        let forgotten = if found > 0 {
            core.commands
                .invalidate(self.id, span.start, span.end.0 - span.start.0)
        } else {
            Ok(())
        };
        core.counters.add(Tick::AccessedHarvested, found);
        core.trace(
            "harvest_accessed",
            &[
                ("ctx", u64::from(self.id)),
                ("start", span.start.0),
                ("end", span.end.0),
                ("entries", found),
            ],
        );
        // A device that does not answer may still write there.
        if !core.health.is_lost() {
            core.hw.dma.free(results, bytes);
        }
        harvested.and(forgotten)
    }

    fn run_pieces(
        &self,
        pieces: &[Piece],
        results: DmaAddr,
        found: &mut u64,
    ) -> Result<(), DriverError> {
        let mut under_way = UnderWay::new();
        let mut issued = 0;
        let mut end = Ok(());
        for piece in pieces {
            if under_way.len() == WINDOW {
                end = end.and(self.finish_piece(&mut under_way, found));
            }
            if end.is_err() {
                break;
            }
            let result = DmaAddr(results.0 + issued % WINDOW as u64 * RESULT_BYTES);
            // Asked under the ring's lock: a table that is there now is given back only after a later command.
            let place = || {
                let space = self.space.lock();
                let table = space.table.as_ref().filter(|_| !space.closing)?;
                table.piece_at(piece)
            };
            match self.core.commands.harvest_bits(piece.count, result, place) {
                Ok(Some(index)) => {
                    issued += 1;
                    under_way.push_back((index, *piece, result));
                }
                Ok(None) => {}
                Err(error) => end = Err(error),
            }
        }
        while !under_way.is_empty() {
            end = end.and(self.finish_piece(&mut under_way, found));
        }
        end
    }

    /// Waits for the oldest command and notes its result.
    fn finish_piece(&self, under_way: &mut UnderWay, found: &mut u64) -> Result<(), DriverError> {
        let Some((index, piece, at)) = under_way.pop_front() else {
            return Ok(());
        };
        let core = &self.core;
        core.commands.wait_bits(index, piece.va)?;
        let mut accessed = [0; BITMAP];
        core.hw.dma.read(at, &mut accessed);
        if let Some(table) = self.space.lock().table.as_mut() {
            *found += table.note_accessed(&piece, &accessed);
        }
        let mut end = [0; HarvestEnd::BYTES];
        core.hw
            .dma
            .read(DmaAddr(at.0 + 2 * BITMAP as u64), &mut end);
        if HarvestEnd::from_bytes(&end).status() == JobStatus::Ok as u64 {
            return Ok(());
        }
        Err(DriverError::errno_of(
            Errno::EIO,
            format!("accessed bits at {}", piece.va),
        ))
    }
}
