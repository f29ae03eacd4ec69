//! The functional device through its registers, rings and memories, as a driver sees it.

mod rig;

mod atomics;
mod copy;
mod dirty;
mod errors;
mod faults;
mod invalidate;
mod jobs;
mod migration;
mod registers;
mod rings;
mod time;
