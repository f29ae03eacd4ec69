//! A mutex that is a scheduling point.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::{PoisonError, TryLockError};

use super::engine;
use super::wait::WaitQueue;

/// Mutual exclusion between the threads of a run. Never poisoned: a panic ends the run.
pub struct Mutex<T: ?Sized> {
    queue: WaitQueue,
    value: std::sync::Mutex<T>,
}

/// Holds a [`Mutex`] locked.
pub struct MutexGuard<'a, T: ?Sized> {
    // Order of the fields is the order of dropping: unlock, wake, then let others run.
    value: Option<std::sync::MutexGuard<'a, T>>,
    lock: &'a Mutex<T>,
    /// Where it was taken.
    at: &'static Location<'static>,
    switch: Cell<bool>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            queue: WaitQueue::new(),
            value: std::sync::Mutex::new(value),
        }
    }

    /// The value, when nobody can hold the lock any more.
    pub fn into_inner(self) -> T {
        self.value
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks, waiting as long as another thread holds it.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let at = Location::caller();
        engine::pass("taking a mutex", at);
        self.lock_at(at)
    }

    pub(super) fn lock_at(&self, at: &'static Location<'static>) -> MutexGuard<'_, T> {
        loop {
            if let Some(guard) = self.take(at) {
                return guard;
            }
            self.queue.wait_at("a mutex", at);
        }
    }

    /// Locks if nobody holds it.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let at = Location::caller();
        engine::pass("trying a mutex", at);
        self.take(at)
    }

    fn take(&self, at: &'static Location<'static>) -> Option<MutexGuard<'_, T>> {
        let value = match self.value.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard {
            value: Some(value),
            lock: self,
            at,
            switch: Cell::new(true),
        })
    }

    /// The value; the exclusive borrow proves that nobody holds the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Unlocks without letting others run, for a condition variable that waits next.
    pub(super) fn release(self) -> &'a Mutex<T> {
        self.switch.set(false);
        self.lock
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.lock.queue.wake_all();
        if self.switch.get() {
            engine::pass("having dropped the mutex taken", self.at);
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
            .as_ref()
            .expect("a guard holds its lock until dropped")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
            .as_mut()
            .expect("a guard holds its lock until dropped")
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
