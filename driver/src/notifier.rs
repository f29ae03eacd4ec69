//! Invalidations from hmm-core.

use crate::context::Context;
use crate::core::Core;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::policy::PageRange;
use crate::table::{Harvest, Run};
use hmm_core::sync::Mutex;
use hmm_core::{MmuIntervalNotifier, MmuIntervalNotifierOps, MmuNotifierRange, MmuNotifyEvent, Va};
use std::sync::Weak;

/// The subscription of a context.
pub(crate) struct Mirror {
    /// Filled once the context exists.
    pub context: Mutex<Weak<Context>>,
}

impl MmuIntervalNotifierOps for Mirror {
    /// Also acts on the driver's own migrations: then the source page is out of the device's reach before its
    /// content is copied, in every context, and nothing has to be undone when the migration fails.
    fn invalidate(
        &self,
        sub: &MmuIntervalNotifier,
        range: &MmuNotifierRange,
        cur_seq: u64,
    ) -> bool {
        let context = self.context.lock().upgrade();
        match context {
            Some(context) => context.invalidate(sub, range, cur_seq),
            None => {
                sub.set_seq(cur_seq);
                true
            }
        }
    }
}

impl Context {
    fn invalidate(
        &self,
        sub: &MmuIntervalNotifier,
        range: &MmuNotifierRange,
        cur_seq: u64,
    ) -> bool {
        if range.event == MmuNotifyEvent::Release {
            if !range.blockable {
                return false;
            }
            {
                // The sequence changes under the lock that the fault worker holds when it commits.
                let _space = self.space.lock();
                sub.set_seq(cur_seq);
            }
            self.end();
            return true;
        }
        let pages = PageRange {
            start: range.start,
            end: range.end,
        };
        let mut space = if range.blockable {
            self.space.lock()
        } else {
            match self.space.try_lock() {
                Some(space) => space,
                None => return false,
            }
        };
        let span = space
            .table
            .as_ref()
            .and_then(|table| table.used_span(pages));
        if span.is_some() && !range.blockable {
            return false;
        }
        sub.set_seq(cur_seq);
        let (Some(span), Some(table)) = (span, space.table.as_mut()) else {
            self.core.counters.add(Tick::InvalidationsEmpty, 1);
            return true;
        };
        let revoked = table.revoke(span);
        let epoch = table.epoch();
        drop(space);
        let core = &self.core;
        core.trace(
            "invalidate",
            &[
                ("ctx", u64::from(self.id)),
                ("start", span.start.0),
                ("end", span.end.0),
                ("event", range.event as u64),
            ],
        );
        core.counters.add(Tick::Invalidations, 1);
        self.finish_revoke(span, revoked, epoch);
        core.trace(
            "invalidate_done",
            &[
                ("ctx", u64::from(self.id)),
                ("start", span.start.0),
                ("end", span.end.0),
            ],
        );
        true
    }

    /// Takes away what is mapped in a range, for entries of another size or another kind. The process has not
    /// changed: what is taken away can be looked up again. Not to be called under any lock.
    pub(crate) fn take_down(&self, range: PageRange) {
        let (span, revoked, epoch) = {
            let mut space = self.space.lock();
            let Some(table) = space.table.as_mut() else {
                return;
            };
            let Some(span) = table.used_span(range) else {
                return;
            };
            (span, table.revoke(span), table.epoch())
        };
        self.core.counters.add(Tick::TakenDown, 1);
        self.finish_revoke(span, revoked, epoch);
    }

    /// After the revocation: makes the device forget the entries, and empties them.
    fn finish_revoke(&self, span: PageRange, revoked: Result<u64, DriverError>, epoch: u64) {
        let core = &self.core;
        match revoked {
            Ok(count) => core.counters.add(Tick::PtesRevoked, count),
            Err(error) => core.health.lose(&error),
        }
        // When this fails the device is lost and switched off; there is nothing better to wait for.
        let _ =
            core.commands
                .invalidate(self.id, span.start, span.end.0.wrapping_sub(span.start.0));
        self.harvest(span, epoch);
    }

    /// Reads the A and D bits of the entries of a range that were revoked up to the mark `epoch` into the pages' flags
    /// and empties the entries. The device must have stopped using them. Takes no lock while it reads.
    pub(crate) fn harvest(&self, range: PageRange, epoch: u64) {
        let core = &self.core;
        let runs = match &self.space.lock().table {
            Some(table) => table.revoked_runs(range, epoch),
            None => return,
        };
        for run in runs {
            let entries = read_entries(core, run);
            let cleared = match self.space.lock().table.as_mut() {
                Some(table) => table.clear(run, epoch, entries.as_deref()),
                None => return,
            };
            match cleared {
                Ok(found) => note(core, &found),
                Err(error) => core.health.lose(&error),
            }
        }
    }

    /// Revokes everything that the process's half of the tables holds, and returns its extent and its mark.
    pub(crate) fn revoke_all(&self) -> Option<(PageRange, u64)> {
        let all = PageRange {
            start: Va(0),
            end: Va(hmm_core::addr::TASK_SIZE),
        };
        let mut space = self.space.lock();
        let table = space.table.as_mut()?;
        let span = table.used_span(all)?;
        match table.revoke(span) {
            Ok(count) => self.core.counters.add(Tick::PtesRevoked, count),
            Err(error) => self.core.health.lose(&error),
        }
        Some((span, table.epoch()))
    }
}

/// The entries of a run, or `None` when they cannot be read.
pub(crate) fn read_entries(core: &Core, run: Run) -> Option<Vec<u64>> {
    let mut bytes = vec![0; run.count * 8];
    if core.mem.read(run.at, &mut bytes).is_err() {
        return None;
    }
    let word = |chunk: &[u8]| {
        chunk
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    Some(bytes.chunks_exact(8).map(word).collect())
}

fn note(core: &Core, found: &[Harvest]) {
    for page in found {
        core.counters
            .add(Tick::PagesAccessed, u64::from(page.accessed));
        if page.dirty {
            core.counters.add(Tick::PagesDirty, 1);
            core.sys.set_page_dirty(page.pfn);
        }
    }
}
