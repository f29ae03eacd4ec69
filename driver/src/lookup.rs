//! Looks pages up in the process's address space and installs them in the device's tables.

use crate::context::Context;
use crate::core::Core;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::policy::PageRange;
use crate::pte;
use crate::table::Mapping;
use hmm_core::{Errno, HmmPfn, HmmRange, PAGE_SIZE, Va, hmm_range_fault};
use std::sync::Arc;

/// Request bits that count, in every entry.
const REQUESTS: u64 = HmmPfn::REQ_FAULT | HmmPfn::REQ_WRITE;

/// What became of a look-up.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// What could be found is installed.
    Done,
    /// An invalidation came between: again.
    Retry,
    /// The context has ended.
    Closed,
    /// A requested page cannot be had.
    Failed(Errno),
}

/// Entries for a range; `request` tells for each page whether it must be there, and writable.
pub(crate) fn requests(range: PageRange, request: impl Fn(Va) -> Option<bool>) -> Vec<HmmPfn> {
    let pages = (range.end - range.start) / PAGE_SIZE;
    (0..pages)
        .map(|i| match request(range.start + i * PAGE_SIZE) {
            None => HmmPfn(0),
            Some(false) => HmmPfn(HmmPfn::REQ_FAULT),
            Some(true) => HmmPfn(HmmPfn::REQ_FAULT | HmmPfn::REQ_WRITE),
        })
        .collect()
}

/// Reads the pages of a range from the process's address space, as of sequence `seq`.
pub(crate) fn read_range(
    core: &Core,
    context: &Context,
    range: PageRange,
    seq: u64,
    pfns: &mut [HmmPfn],
) -> Result<(), Errno> {
    let Some(notifier) = context.notifier() else {
        return Err(Errno::EFAULT);
    };
    let mut args = HmmRange {
        notifier: Arc::clone(notifier),
        notifier_seq: seq,
        start: range.start,
        end: range.end,
        pfns,
        default_flags: 0,
        pfn_flags_mask: REQUESTS,
        dev_private_owner: core.owner(),
    };
    let guard = context.mm.mmap_read_lock();
    hmm_range_fault(&guard, &mut args)
}

/// One round: look up, check that nothing changed, install. Pages without a request are installed when they are
/// present.
pub(crate) fn look_up(
    core: &Core,
    context: &Context,
    range: PageRange,
    request: impl Fn(Va) -> Option<bool>,
) -> Lookup {
    let Some(notifier) = context.notifier() else {
        return Lookup::Closed;
    };
    let seq = notifier.read_begin();
    let mut pfns = requests(range, request);
    match read_range(core, context, range, seq, &mut pfns) {
        Ok(()) => {}
        Err(Errno::EBUSY) => return Lookup::Retry,
        Err(errno) => return Lookup::Failed(errno),
    }
    let pages: Vec<Option<Mapping>> = pfns.iter().map(|pfn| mapping(core, *pfn)).collect();
    let installed = {
        let mut space = context.space.lock();
        if space.closing {
            return Lookup::Closed;
        }
        if notifier.read_retry(seq) {
            return Lookup::Retry;
        }
        let Some(table) = space.table.as_mut() else {
            return Lookup::Closed;
        };
        table.install(range.start, &pages)
    };
    match installed {
        Ok(done) => {
            core.counters.add(Tick::PtesWritten, done.written);
            core.trace(
                "map",
                &[
                    ("ctx", u64::from(context.id)),
                    ("start", range.start.0),
                    ("end", range.end.0),
                    ("pages", done.written),
                ],
            );
            if done.conflicts == 0 {
                Lookup::Done
            } else {
                Lookup::Failed(Errno::EIO)
            }
        }
        Err(DriverError::Hw(crate::hw::HwError::OutOfDmaMemory { .. })) => {
            Lookup::Failed(Errno::ENOMEM)
        }
        Err(error) => {
            core.health.lose(&error);
            Lookup::Failed(Errno::EIO)
        }
    }
}

/// How the device maps a page that was found.
fn mapping(core: &Core, found: HmmPfn) -> Option<Mapping> {
    if !found.is_valid() || found.is_error() {
        return None;
    }
    let pfn = found.pfn();
    let page = core.page_pa(pfn)?;
    let mut flags = pte::R;
    if found.is_write() {
        flags |= pte::W;
        if !page.is_vram() && core.config.atomics_over_link {
            flags |= pte::ATOMIC;
        }
    }
    Some(Mapping {
        page,
        flags,
        pfn: Some(pfn),
    })
}
