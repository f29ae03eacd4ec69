//! What passes between the threads that fault and the handler.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::addr::Va;
use crate::errno::Errno;
use crate::sync::{Condvar, Mutex};

/// What a handler is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserFaultEvent {
    /// Somebody waits for the page.
    Missing {
        /// Its address.
        va: Va,
        /// The first access is a store.
        write: bool,
    },
    /// A part of the range was unmapped or moved away, and is registered no more.
    Unmap {
        /// First address.
        start: Va,
        /// One past the last address.
        end: Va,
    },
    /// Pages were thrown away (MADV_DONTNEED): they are missing again.
    Remove {
        /// First address.
        start: Va,
        /// One past the last address.
        end: Va,
    },
}

#[derive(Default)]
struct State {
    /// Pages that somebody waits for.
    waiting: BTreeSet<u64>,
    events: VecDeque<UserFaultEvent>,
    /// The process has ended.
    ended: bool,
}

/// The state of one registration. Its lock comes after mmap_lock and before that of the page table.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

/// A fault that the handler knows of.
pub(crate) struct Waiter {
    queue: Option<Arc<Queue>>,
    page: u64,
}

impl Waiter {
    pub fn new(queue: Option<&Arc<Queue>>, va: Va) -> Waiter {
        Waiter {
            queue: queue.cloned(),
            page: va.page(),
        }
    }

    /// Waits until the page is there, or not expected any more. Hold no lock.
    pub fn wait(self) {
        let Some(queue) = self.queue else { return };
        let state = queue.state.lock();
        let waiting = |state: &mut State| state.waiting.contains(&self.page);
        drop(queue.changed.wait_while(state, waiting));
    }
}

impl Queue {
    pub fn new() -> Arc<Queue> {
        Arc::new(Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Tells the handler of a fault if the page still is missing.
    pub fn enter(&self, va: Va, write: bool, missing: impl FnOnce() -> bool) {
        let mut state = self.state.lock();
        // Whoever fills the page looks for waiters afterwards, with this lock: none is forgotten.
        if missing() && state.waiting.insert(va.page()) {
            state
                .events
                .push_back(UserFaultEvent::Missing { va, write });
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The page is there: lets those go on that wait for it.
    pub fn filled(&self, page: u64) {
        if self.state.lock().waiting.remove(&page) {
            self.changed.notify_all();
        }
    }

    /// A part of the range is registered no more.
    pub fn gone(&self, start: Va, end: Va) {
        let mut state = self.state.lock();
        state
            .waiting
            .retain(|page| !(start.page()..end.page()).contains(page));
        state.events.push_back(UserFaultEvent::Unmap { start, end });
        drop(state);
        self.changed.notify_all();
    }

    /// Pages were thrown away.
    pub fn removed(&self, start: Va, end: Va) {
        let event = UserFaultEvent::Remove { start, end };
        self.state.lock().events.push_back(event);
        self.changed.notify_all();
    }

    /// The process has ended.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// The handler is gone: nobody has to wait any more.
    pub fn close(&self) {
        self.state.lock().waiting.clear();
        self.changed.notify_all();
    }

    pub fn next(&self) -> Result<UserFaultEvent, Errno> {
        let state = self.state.lock();
        let mut state = self
            .changed
            .wait_while(state, |state| state.events.is_empty() && !state.ended);
        state.events.pop_front().ok_or(Errno::ESRCH)
    }

    pub fn try_next(&self) -> Option<UserFaultEvent> {
        self.state.lock().events.pop_front()
    }
}
