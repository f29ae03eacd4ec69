//! Device faults on pages that a thread of the process provides (`Mm::userfault`).
//!
//! Somebody has to wait for that thread, and the fault worker must not: it serves everybody else. So each such page
//! gets a thread of its own here, which waits with no lock held, and then serves the fault as the worker would. The
//! access stays parked in the device meanwhile, and everything else runs on.

use crate::context::Context;
use crate::core::Core;
use crate::counters::Tick;
use crate::faults::Fault;
use crate::worker;
use hmm_core::sync::{self, Mutex};
use hmm_core::{Errno, HmmPfn, HmmRange, PAGE_SIZE, Va, hmm_range_fault_unlocked};
use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Most threads that wait; the other faults queue for their turn.
const THREADS: usize = 32;

/// Collisions with invalidations after which the access is sent back to fault again.
const ATTEMPTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);

/// A fault that is waited for.
struct Wait {
    context: Arc<Context>,
    fault: Fault,
}

impl Wait {
    /// Whether it is for the same page and access. Numbers of contexts are used again, so they do not count.
    fn is_for(&self, context: &Arc<Context>, fault: &Fault) -> bool {
        Arc::ptr_eq(&self.context, context)
            && self.fault.addr == fault.addr
            && self.fault.writes() == fault.writes()
    }
}

#[derive(Default)]
struct State {
    active: Vec<Arc<Wait>>,
    queue: VecDeque<Arc<Wait>>,
}

/// The faults that wait for handlers.
#[derive(Default)]
pub(crate) struct Waiters {
    state: Mutex<State>,
}

impl Waiters {
    /// Sees to a fault that the worker cannot serve without waiting. One that is seen to already is left to that: its
    /// page will be replayed.
    pub fn hand_over(&self, core: &Arc<Core>, context: &Arc<Context>, fault: Fault) {
        core.counters.add(Tick::UserFaults, 1);
        let wait = Arc::new(Wait {
            context: Arc::clone(context),
            fault,
        });
        let mut state = self.state.lock();
        let mut waits = state.active.iter().chain(&state.queue);
        if waits.any(|wait| wait.is_for(context, &fault)) {
            return;
        }
        if state.active.len() >= THREADS {
            state.queue.push_back(wait);
            return;
        }
        state.active.push(Arc::clone(&wait));
        drop(state);
        let core = Arc::clone(core);
        sync::spawn_named("user-fault wait", move || core.waiters.run(&core, wait));
    }

    /// Whether a fault of a context waits for a handler.
    pub fn has(&self, context: &Context) -> bool {
        let state = self.state.lock();
        let mut waits = state.active.iter().chain(&state.queue);
        waits.any(|wait| std::ptr::eq(Arc::as_ptr(&wait.context), context))
    }

    /// A thread: this fault, then those that queue.
    fn run(&self, core: &Arc<Core>, first: Arc<Wait>) {
        let mut next = Some(first);
        while let Some(now) = next {
            let present = wait(core, &now.context, &now.fault);
            // From here on a fault of this page counts as a new one: the page may be gone again.
            self.state.lock().active.retain(|w| !Arc::ptr_eq(w, &now));
            let served = match present {
                Ok(()) => worker::serve_page(core, &now.context, &now.fault),
                Err(errno) => worker::cancel(core, &now.context, &now.fault, errno),
            };
            if let Err(error) = served {
                let errno = u64::from(error.errno().raw());
                core.trace("fault_error", &[("errno", errno)]);
            }
            let mut state = self.state.lock();
            next = state.queue.pop_front();
            state.active.extend(next.clone());
        }
    }
}

/// Waits until the page is there, or has been too often in between.
fn wait(core: &Core, context: &Context, fault: &Fault) -> Result<(), Errno> {
    let Some(notifier) = context.notifier().filter(|_| !context.is_closed()) else {
        return Ok(());
    };
    let write = if fault.writes() { HmmPfn::REQ_WRITE } else { 0 };
    let mut args = HmmRange {
        notifier: Arc::clone(notifier),
        notifier_seq: 0,
        start: fault.addr,
        end: fault.addr + PAGE_SIZE,
        pfns: &mut [HmmPfn(0)],
        default_flags: HmmPfn::REQ_FAULT | write,
        pfn_flags_mask: 0,
        dev_private_owner: core.owner(),
    };
    match hmm_range_fault_unlocked(&context.mm, &mut args, Some(ATTEMPTS)) {
        Err(Errno::EBUSY) => Ok(()),
        result => result,
    }
}

impl Context {
    /// Whether a thread of the process provides the pages around an address.
    pub(crate) fn is_user_fault(&self, addr: Va) -> bool {
        let vma = self.mm.mmap_read_lock().find_vma(addr);
        vma.is_some_and(|vma| vma.userfault)
    }
}
