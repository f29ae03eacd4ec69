//! Threads of a run.

use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

use super::engine;
use super::wait::WaitQueue;

struct Shared<T> {
    result: Mutex<Option<T>>,
    done: WaitQueue,
}

/// Waits for a thread's end. Dropping it lets the thread run on; [`super::run`] returns when all have ended.
pub struct JoinHandle<T> {
    shared: Arc<Shared<T>>,
}

impl<T> JoinHandle<T> {
    /// Waits until the thread has ended and returns its value. A panic in it ends the whole run.
    #[track_caller]
    pub fn join(self) -> T {
        let at = Location::caller();
        loop {
            let value = self
                .shared
                .result
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            if let Some(value) = value {
                return value;
            }
            self.shared.done.wait_at("a thread's end", at);
        }
    }

    /// Whether the thread has ended.
    #[track_caller]
    pub fn is_finished(&self) -> bool {
        engine::pass("asking whether a thread has ended", Location::caller());
        self.shared
            .result
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }
}

/// Starts a thread. Panics outside of [`super::run`].
#[track_caller]
pub fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_named(format!("thread {}", engine::thread_count()), f)
}

/// Starts a thread with a name that error texts show. Panics outside of [`super::run`].
#[track_caller]
pub fn spawn_named<T: Send + 'static>(
    name: impl Into<String>,
    f: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let shared = Arc::new(Shared {
        result: Mutex::new(None),
        done: WaitQueue::new(),
    });
    let theirs = Arc::clone(&shared);
    let body = Box::new(move || {
        let value = f();
        *theirs.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        theirs.done.wake_all();
    });
    engine::start(name.into(), body);
    engine::pass("having started a thread", Location::caller());
    JoinHandle { shared }
}

/// Lets another thread run, if one can. For loops that poll.
#[track_caller]
pub fn yield_now() {
    engine::yield_now(Location::caller());
}

/// Name of the current thread.
pub fn thread_name() -> String {
    engine::current_name()
}

/// Whether the caller runs inside of [`super::run`], that is, whether it may spawn and wait.
pub fn in_run() -> bool {
    engine::active()
}
