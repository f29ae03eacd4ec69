//! The functional device through its registers, rings and memories, as a driver sees it.

mod dut;
mod functional;
mod ram;
mod rig;

// What every device promises.
mod accessed;
mod atomics;
mod copy;
mod copy_channels;
mod dirty;
mod dirty_log;
mod dirty_storm;
mod errors;
mod faults;
mod invalidate;
mod jobs;
mod migration;
mod registers;
mod restore;
mod rings;
mod save;
mod sizes;
mod suspend;

// What only this one does.
mod exact;
mod time;

pub use functional::make;

/// An instruction is one action here, its D bit with it. On the RTL an invalidation can come between a store's walk,
/// which has set D, and the store, which then faults and sets D anew: a page may be called dirty that is not.
pub const DIRTY_IS_EXACT: bool = true;
/// Of many like cases the tests take every so many.
pub const STEP: usize = 1;

/// What CAPS says, by bytes.
pub fn caps() -> [u8; 8] {
    [2, 16, 16, 16, 64, 4, 8, 4]
}
