//! A readers-writer lock that is a scheduling point.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, TryLockError};

use super::engine;
use super::wait::WaitQueue;

/// Many readers or one writer. A waiting writer holds up new readers, as Linux's rw_semaphore does, so
/// a thread must not take a read lock that it already has. Never poisoned: a panic ends the run.
pub struct RwLock<T: ?Sized> {
    queue: WaitQueue,
    waiting_writers: AtomicUsize,
    value: std::sync::RwLock<T>,
}

/// Holds a [`RwLock`] for reading.
pub struct RwLockReadGuard<'a, T: ?Sized> {
    value: Option<std::sync::RwLockReadGuard<'a, T>>,
    queue: &'a WaitQueue,
    /// Where it was taken.
    at: &'static Location<'static>,
}

/// Holds a [`RwLock`] for writing.
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    value: Option<std::sync::RwLockWriteGuard<'a, T>>,
    queue: &'a WaitQueue,
    /// Where it was taken.
    at: &'static Location<'static>,
}

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> RwLock<T> {
        RwLock {
            queue: WaitQueue::new(),
            waiting_writers: AtomicUsize::new(0),
            value: std::sync::RwLock::new(value),
        }
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks for reading, after any writer that holds it or waits for it.
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let at = Location::caller();
        engine::pass("taking a read lock", at);
        loop {
            if self.waiting_writers.load(Ordering::Relaxed) == 0
                && let Some(guard) = self.take_read(at)
            {
                return guard;
            }
            self.queue.wait_at("a read lock", at);
        }
    }

    /// Locks for writing.
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        let at = Location::caller();
        engine::pass("taking a write lock", at);
        self.waiting_writers.fetch_add(1, Ordering::Relaxed);
        loop {
            if let Some(guard) = self.take_write(at) {
                self.waiting_writers.fetch_sub(1, Ordering::Relaxed);
                return guard;
            }
            self.queue.wait_at("a write lock", at);
        }
    }

    /// Locks for reading if no writer holds it or waits for it.
    #[track_caller]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        let at = Location::caller();
        engine::pass("trying a read lock", at);
        if self.waiting_writers.load(Ordering::Relaxed) == 0 {
            self.take_read(at)
        } else {
            None
        }
    }

    /// Locks for writing if nobody holds it.
    #[track_caller]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let at = Location::caller();
        engine::pass("trying a write lock", at);
        self.take_write(at)
    }

    fn take_read(&self, at: &'static Location<'static>) -> Option<RwLockReadGuard<'_, T>> {
        let value = match self.value.try_read() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(RwLockReadGuard {
            value: Some(value),
            queue: &self.queue,
            at,
        })
    }

    fn take_write(&self, at: &'static Location<'static>) -> Option<RwLockWriteGuard<'_, T>> {
        let value = match self.value.try_write() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(RwLockWriteGuard {
            value: Some(value),
            queue: &self.queue,
            at,
        })
    }

    /// The value; the exclusive borrow proves that nobody holds the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.queue.wake_all();
        engine::pass("having dropped the read lock taken", self.at);
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.queue.wake_all();
        engine::pass("having dropped the write lock taken", self.at);
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
            .as_ref()
            .expect("a guard holds its lock until dropped")
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value
            .as_ref()
            .expect("a guard holds its lock until dropped")
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value
            .as_mut()
            .expect("a guard holds its lock until dropped")
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
