//! Threads and locks under one seeded, deterministic scheduler.
//!
//! Host actors (CPU threads of the modelled processes, the driver's fault worker, reclaim) are ordinary
//! blocking Rust over this module. [`run`] executes a closure with all the threads that it spawns, one
//! thread at a time; which one comes next is drawn from the seed at every *scheduling point*: taking and
//! dropping a lock, waiting, notifying, spawning, [`yield_now`]. The same seed gives the same
//! interleaving, another seed another one. There is no limit on the number of steps.
//!
//! A panic in any thread, or a state in which every thread waits, ends the run with an `Err` that says
//! which thread and where; nothing is printed.
//!
//! Besides the random schedule there are priorities that change at few points ([`Schedule::pct`]), and the
//! replay of explicit decisions ([`Schedule::replay`]); [`run_recorded`] tells the decisions of a run.
//!
//! The locks also work outside of [`run`], for code with one thread: there they never switch, and having
//! to wait is a panic, because nobody else could end the wait. What they lock must then stay on one OS
//! thread.
//!
//! Rules for users: no lock of `std` may be held over a scheduling point; guards are dropped by the
//! thread that made them.

mod condvar;
mod decision;
mod engine;
mod mutex;
mod pct;
mod policy;
mod random;
mod record;
mod replay;
mod run;
mod rwlock;
mod schedule;
mod thread;
mod wait;

pub use condvar::Condvar;
pub use decision::{BadDecision, Decision, Point};
pub use mutex::{Mutex, MutexGuard};
pub use record::{Recording, Switch};
pub use run::{run, run_recorded, run_with};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use schedule::Schedule;
pub use thread::{JoinHandle, in_run, spawn, spawn_named, thread_name, yield_now};
pub use wait::WaitQueue;

pub(crate) use engine::preempt;
