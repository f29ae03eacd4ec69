//! Looks pages up in the process's address space and installs them in the device's tables.

use crate::config::Atomics;
use crate::context::Context;
use crate::core::Core;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::policy::PageRange;
use crate::pte;
use crate::table::{Installed, Mapping, PageTable};
use hmm_core::{
    Errno, HUGE_ORDER, HUGE_PAGES, HUGE_SIZE, HmmPfn, HmmRange, PAGE_SIZE, Va, bring_coherent_home,
    hmm_range_fault,
};
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

/// Grows a range so that it holds all of the 2 MiB pages that the process has at its ends.
fn widen(range: PageRange, pfns: &[HmmPfn]) -> PageRange {
    let large = |pfn: Option<&HmmPfn>| pfn.is_some_and(|p| p.is_valid() && p.order() >= HUGE_ORDER);
    let mut wide = range;
    if large(pfns.first()) {
        wide.start = range.start.huge_align_down();
    }
    if large(pfns.last()) {
        wide.end = Va(range.end.0.next_multiple_of(HUGE_SIZE));
    }
    wide
}

/// One round: look up, check that nothing changed, install. Pages without a request are installed when they are
/// present. Where the process has 2 MiB pages, all of them are.
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
    let mut range = range;
    let pfns = loop {
        let mut pfns = requests(range, &request);
        match read_range(core, context, range, seq, &mut pfns) {
            Ok(()) => {}
            Err(Errno::EBUSY) => return Lookup::Retry,
            Err(errno) => return Lookup::Failed(errno),
        }
        match send_home(core, range, &pfns, &request) {
            None => {}
            Some(Ok(()) | Err(Errno::EBUSY)) => return Lookup::Retry,
            Some(Err(errno)) => return Lookup::Failed(errno),
        }
        let wide = widen(range, &pfns);
        if wide == range || !core.config.large_pages {
            break pfns;
        }
        range = wide;
    };
    let parts = parts(core, range, &pfns);
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
        install(core, table, &parts)
    };
    match installed {
        Ok(done) => settle(core, context, range, &done),
        Err(DriverError::Hw(crate::hw::HwError::OutOfDmaMemory { .. })) => {
            Lookup::Failed(Errno::ENOMEM)
        }
        Err(error) => {
            core.health.lose(&error);
            Lookup::Failed(Errno::EIO)
        }
    }
}

/// Sends pages home that are in another device's coherent memory and were asked for: the link has no way from device
/// to device. `None` when there are none.
fn send_home(
    core: &Core,
    range: PageRange,
    pfns: &[HmmPfn],
    request: impl Fn(Va) -> Option<bool>,
) -> Option<Result<(), Errno>> {
    let mut result = None;
    for (i, found) in (0..).zip(pfns) {
        let pfn = found.pfn();
        let foreign = found.is_valid() && pfn.is_device() && core.pfn_vram(pfn).is_none();
        if foreign && request(range.start + i * PAGE_SIZE).is_some() {
            let home = bring_coherent_home(&core.sys, pfn);
            core.counters
                .add(Tick::ForeignHome, u64::from(home.is_ok()));
            result = Some(result.unwrap_or(Ok(())).and(home));
        }
    }
    result
}

/// Pages that can go into one table.
struct Part {
    start: Va,
    pages: Vec<Option<Mapping>>,
    /// The same as one entry of 2 MiB.
    large: Option<Mapping>,
}

/// What was found, cut at multiples of 2 MiB.
fn parts(core: &Core, range: PageRange, pfns: &[HmmPfn]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(Va((start.0 + 1).next_multiple_of(HUGE_SIZE)));
        let first = ((start - range.start) / PAGE_SIZE) as usize;
        let count = ((end - start) / PAGE_SIZE) as usize;
        let found = &pfns[first..first + count];
        let pages: Vec<Option<Mapping>> = found.iter().map(|pfn| mapping(core, *pfn)).collect();
        let whole = core.config.large_pages && count as u64 == HUGE_PAGES;
        let large = if whole && found.iter().all(|pfn| pfn.order() >= HUGE_ORDER) {
            as_one(&pages)
        } else {
            None
        };
        parts.push(Part {
            start,
            pages,
            large,
        });
        start = end;
    }
    parts
}

/// Pages that follow each other on the device's side too, as one of 2 MiB.
fn as_one(pages: &[Option<Mapping>]) -> Option<Mapping> {
    let first = pages.first().copied().flatten()?;
    let follows = |(n, page): (usize, &Option<Mapping>)| {
        page.is_some_and(|page| {
            let n = n as u64;
            page.page == first.page.add(n * PAGE_SIZE)
                && page.flags == first.flags
                && page.pfn == first.pfn.map(|pfn| pfn + n)
        })
    };
    let aligned = first.page.ppn().is_multiple_of(HUGE_PAGES);
    (aligned && pages.iter().enumerate().all(follows)).then_some(first)
}

fn install(core: &Core, table: &mut PageTable, parts: &[Part]) -> Result<Installed, DriverError> {
    let mut result = Installed::default();
    for part in parts {
        if let Some(large) = &part.large
            && let Some(done) = table.install_large(part.start, large)?
        {
            core.counters
                .add(Tick::LargeMapped, u64::from(done.written > 0));
            result = result.and(done);
        } else {
            result = result.and(table.install(part.start, &part.pages)?);
        }
    }
    Ok(result)
}

/// What is left to do once the entries are written, without the lock.
fn settle(core: &Core, context: &Context, range: PageRange, done: &Installed) -> Lookup {
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
    if !done.retired.is_empty() {
        // A walk may be reading the tables that were taken out; it also may have found nothing there.
        let len = range.end - range.start;
        if core
            .commands
            .invalidate(context.id, range.start, len)
            .is_ok()
            && let Some(table) = context.space.lock().table.as_mut()
        {
            table.free_retired(&done.retired);
        }
    }
    match done.blocked {
        None => Lookup::Done,
        Some(blocked) => {
            context.take_down(blocked);
            Lookup::Retry
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
        if !page.is_vram() && core.config.atomics == Atomics::Link {
            flags |= pte::ATOMIC;
        }
    }
    Some(Mapping {
        page,
        flags,
        pfn: Some(pfn),
        exclusive: false,
    })
}
