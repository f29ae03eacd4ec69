//! The fault worker: takes fault records, makes the pages usable, lets the accesses go on.
//!
//! It holds no lock of the driver while it calls hmm-core or waits, except that it commits under the lock of the
//! context's tables after it has checked that no invalidation came since it looked.

use crate::config::Atomics;
use crate::context::Context;
use crate::core::Core;
use crate::counters::Tick;
use crate::error::DriverError;
use crate::faults::{Fault, Work, merge};
use crate::job::cancel_code;
use crate::lookup::{Lookup, look_up};
use crate::policy::PageRange;
use crate::pte;
use hmm_core::{Errno, Mm, PAGE_SIZE};
use hmmu_regs::{Access, FaultReason, Vector};
use std::sync::Arc;

/// How often a range is looked up again when invalidations keep coming between. After that the accesses are sent
/// back to fault again, so that the worker turns to others meanwhile.
const ATTEMPTS: u32 = 32;

/// Serves faults until interrupts are shut down or the device is lost.
pub(crate) fn run(core: &Arc<Core>) {
    while core.hw.irq.wait(Vector::Fault as u16) {
        loop {
            let fetched = core.faults.lock().fetch();
            match fetched {
                Ok(faults) if faults.is_empty() => break,
                Ok(faults) => serve_batch(core, faults),
                Err(error) => {
                    core.health.lose(&error);
                    break;
                }
            }
        }
    }
}

fn serve_batch(core: &Arc<Core>, faults: Vec<Fault>) {
    core.counters.add(Tick::Rounds, 1);
    core.counters.add(Tick::FaultRecords, faults.len() as u64);
    for fault in &faults {
        core.trace(
            "fault",
            &[
                ("id", u64::from(fault.id)),
                ("ctx", u64::from(fault.ctx)),
                ("addr", fault.addr.0),
                ("access", fault.access as u64),
                ("reason", fault.reason as u64),
            ],
        );
    }
    let mut served = Vec::new();
    for work in merge(faults, core.config.policy.as_ref()) {
        core.counters.add(Tick::FaultRanges, 1);
        // A context that is gone has dropped its faults.
        if let Some(context) = core.context(work.ctx) {
            match sort_out(core, &context, work) {
                Ok(Some(work)) => served.push((context, work)),
                Ok(None) => {}
                Err(error) => note_error(core, &error),
            }
        }
    }
    migrate(core, &served);
    for (context, work) in served {
        if let Err(error) = serve_range(core, &context, work.around, &work.faults) {
            note_error(core, &error);
        }
    }
}

fn note_error(core: &Core, error: &DriverError) {
    core.trace("fault_error", &[("errno", u64::from(error.errno().raw()))]);
}

/// Moves what the faults' policy wants to have in device memory, the pages of each process together. What cannot move is
/// mapped where it is.
fn migrate(core: &Core, served: &[(Arc<Context>, Work)]) {
    let mut left: Vec<(&Arc<Mm>, PageRange)> = served
        .iter()
        .filter_map(|(context, work)| Some((&context.mm, work.migrate?)))
        .collect();
    while let Some(&(mm, _)) = left.first() {
        let (ours, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(of, _)| Arc::ptr_eq(of, mm));
        left = others;
        let ranges: Vec<PageRange> = ours.into_iter().map(|(_, range)| range).collect();
        crate::migrate::prefer_device(core, mm, &ranges);
    }
}

/// What the entry must allow for an access to go on.
fn needs(context: &Context, fault: &Fault) -> bool {
    let space = context.space.lock();
    let Some(table) = space.table.as_ref() else {
        return false;
    };
    match fault.access {
        Access::Read => table.allows(fault.addr, pte::R),
        Access::Write => table.allows(fault.addr, pte::R | pte::W),
        Access::Execute => table.allows(fault.addr, pte::X),
        Access::Atomic => {
            let vram = table.page(fault.addr).is_some_and(|page| page.is_vram());
            let flags = if vram { 0 } else { pte::ATOMIC };
            table.allows(fault.addr, pte::R | pte::W | flags)
        }
    }
}

/// Ends an access with an error.
pub(crate) fn cancel(
    core: &Core,
    context: &Context,
    fault: &Fault,
    errno: Errno,
) -> Result<(), DriverError> {
    if context.is_closed() {
        // Its faults are dropped, and its number may be another context's by now.
        return Ok(());
    }
    core.counters.add(Tick::FaultsCancelled, 1);
    core.trace(
        "fault_cancel",
        &[
            ("id", u64::from(fault.id)),
            ("errno", u64::from(errno.raw())),
        ],
    );
    core.commands
        .cancel(fault.ctx, fault.addr, fault.access, cancel_code(errno))
}

/// A table could not be read: a link error may be gone the next time.
fn walk_failed(core: &Core, context: &Context, fault: &Fault) -> Result<(), DriverError> {
    if !core.walk_retries.again(fault, core.hw.clock.now()) {
        return cancel(core, context, fault, Errno::EIO);
    }
    core.counters.add(Tick::WalkRetries, 1);
    core.commands.replay(fault.ctx, fault.addr, PAGE_SIZE)
}

/// Ends the faults that cannot be served, and lets those go on whose pages are there by now. What is left to do comes
/// back.
fn sort_out(
    core: &Arc<Core>,
    context: &Arc<Context>,
    work: Work,
) -> Result<Option<Work>, DriverError> {
    let mut open = Vec::new();
    let mut stale = 0;
    for fault in work.faults {
        if fault.reason == FaultReason::AccessError {
            walk_failed(core, context, &fault)?;
        } else if !fault.in_user_half() || fault.access == Access::Execute {
            // The driver's half never faults on a right access, and processes have no executable memory.
            cancel(core, context, &fault, Errno::EFAULT)?;
        } else {
            stale += usize::from(needs(context, &fault));
            open.push(fault);
        }
    }
    core.counters.add(Tick::FaultsStale, stale as u64);
    if open.is_empty() {
        return Ok(None);
    }
    if stale == open.len() {
        return replay(core, context, work.around).map(|()| None);
    }
    Ok(Some(Work {
        faults: open,
        ..work
    }))
}

fn replay(core: &Core, context: &Context, range: PageRange) -> Result<(), DriverError> {
    core.trace(
        "replay",
        &[
            ("ctx", u64::from(context.id)),
            ("start", range.start.0),
            ("end", range.end.0),
        ],
    );
    core.commands
        .replay(context.id, range.start, range.end - range.start)
}

/// Serves one access, whose page may be there by now.
pub(crate) fn serve_page(
    core: &Arc<Core>,
    context: &Arc<Context>,
    fault: &Fault,
) -> Result<(), DriverError> {
    let page = PageRange {
        start: fault.addr,
        end: fault.addr + PAGE_SIZE,
    };
    serve_range(core, context, page, std::slice::from_ref(fault))
}

fn serve_range(
    core: &Arc<Core>,
    context: &Arc<Context>,
    range: PageRange,
    faults: &[Fault],
) -> Result<(), DriverError> {
    let request = |page: hmm_core::Va| {
        let here = || faults.iter().filter(move |fault| fault.addr == page);
        here().next().map(|_| here().any(Fault::writes))
    };
    for _ in 0..ATTEMPTS {
        match look_up(core, context, range, request) {
            Lookup::Done => {
                let missing: Vec<&Fault> = faults
                    .iter()
                    .filter(|fault| !needs(context, fault))
                    .collect();
                if !missing.is_empty() && missing.iter().all(|fault| fault.access == Access::Atomic)
                {
                    return serve_atomics(core, context, range, &missing);
                }
                // An access whose page went away again in between faults again.
                return replay(core, context, range);
            }
            Lookup::Retry => core.counters.add(Tick::RangeRetries, 1),
            Lookup::Closed => return Ok(()),
            Lookup::Failed(errno) => return serve_singly(core, context, range, faults, errno),
        }
    }
    replay(core, context, range)
}

/// One page of a range failed: serves every access by itself, so that only the wrong ones end with an error.
fn serve_singly(
    core: &Arc<Core>,
    context: &Arc<Context>,
    range: PageRange,
    faults: &[Fault],
    errno: Errno,
) -> Result<(), DriverError> {
    let single = range.end - range.start == PAGE_SIZE;
    match faults {
        [fault] if single => {
            if errno == Errno::EFAULT && context.is_user_fault(fault.addr) {
                core.waiters.hand_over(core, context, *fault);
                return Ok(());
            }
            cancel(core, context, fault, errno)
        }
        _ => {
            for fault in faults {
                serve_page(core, context, fault)?;
            }
            Ok(())
        }
    }
}

/// Atomics on pages of system memory, which are writable now, but not for these.
fn serve_atomics(
    core: &Arc<Core>,
    context: &Context,
    range: PageRange,
    faults: &[&Fault],
) -> Result<(), DriverError> {
    for fault in faults {
        let served = match core.config.atomics {
            // The page went away again in between.
            Atomics::Link => Ok(()),
            Atomics::Exclusive => context.make_exclusive(fault.addr),
            Atomics::Migrate => bring_to_device(core, context, fault),
        };
        match served {
            // Others keep changing it: the access faults again.
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(errno) => cancel(core, context, fault, errno)?,
        }
    }
    replay(core, context, range)
}

/// The page moves to device memory, where the device can do everything.
fn bring_to_device(core: &Arc<Core>, context: &Context, fault: &Fault) -> Result<(), Errno> {
    let page = PageRange {
        start: fault.addr,
        end: fault.addr + PAGE_SIZE,
    };
    let moved = crate::migrate::prefer_device(core, &context.mm, &[page]);
    let found = (0..ATTEMPTS).find_map(|_| match look_up(core, context, page, |_| Some(true)) {
        Lookup::Retry => None,
        other => Some(other),
    });
    if let Some(Lookup::Failed(errno)) = found {
        Err(errno)
    } else if needs(context, fault) || moved > 0 {
        Ok(())
    } else {
        // It is shared, pinned, or there is no room: this device cannot do it.
        Err(Errno::EOPNOTSUPP)
    }
}
