//! Waiting for a condition that somebody else makes true.

use std::panic::Location;
use std::sync::{Mutex, PoisonError};

use super::engine;

/// Threads that wait for something. Wakes may be spurious: the waiter looks at its condition again.
#[derive(Debug, Default)]
pub struct WaitQueue {
    waiters: Mutex<Vec<usize>>,
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> WaitQueue {
        WaitQueue {
            waiters: Mutex::new(Vec::new()),
        }
    }

    /// Waits for a wake. Between the caller's look at its condition and this call there must be no
    /// scheduling point. `what` names the thing waited for in a deadlock's description.
    #[track_caller]
    pub fn wait(&self, what: &'static str) {
        self.wait_at(what, Location::caller());
    }

    pub(crate) fn wait_at(&self, what: &'static str, at: &'static Location<'static>) {
        self.waiters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(engine::current());
        engine::block(what, at);
    }

    /// Wakes the thread that has waited longest.
    pub fn wake_one(&self) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiters.is_empty() {
            engine::unblock(waiters.remove(0));
        }
    }

    /// Wakes every waiting thread.
    pub fn wake_all(&self) {
        let woken =
            std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner));
        for id in woken {
            engine::unblock(id);
        }
    }
}
