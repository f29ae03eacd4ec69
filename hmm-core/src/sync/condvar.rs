//! Condition variables.

use std::panic::Location;

use super::engine;
use super::mutex::MutexGuard;
use super::wait::WaitQueue;

/// Lets threads wait for a change of what a mutex guards. Waits may end spuriously.
#[derive(Debug, Default)]
pub struct Condvar {
    queue: WaitQueue,
}

impl Condvar {
    /// Without waiters.
    pub const fn new() -> Condvar {
        Condvar {
            queue: WaitQueue::new(),
        }
    }

    /// Unlocks, waits for a notification, and locks again.
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let at = Location::caller();
        let lock = guard.release();
        self.queue.wait_at("a condition", at);
        lock.lock_at(at)
    }

    /// Waits as long as `condition` holds.
    #[track_caller]
    pub fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard);
        }
        guard
    }

    /// Wakes the thread that has waited longest.
    #[track_caller]
    pub fn notify_one(&self) {
        self.queue.wake_one();
        engine::pass("having notified", Location::caller());
    }

    /// Wakes all waiting threads.
    #[track_caller]
    pub fn notify_all(&self) {
        self.queue.wake_all();
        engine::pass("having notified", Location::caller());
    }
}
