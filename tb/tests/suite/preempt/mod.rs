//! Preemption of the whole device, as it is by default: something is taken away from running jobs at every cycle.
//!
//! Two contexts have the same virtual addresses and other pages, and leaves of 4 KiB, 64 KiB, 2 MiB and 1 GiB in VRAM
//! and in system memory; the tables of one are in VRAM, of the other in system memory. In each a job of several
//! threads loads, stores, adds atomically, and waits for a page that is missing at first. At one cycle the host makes
//! one change by the protocol of docs/device.md. Then
//!
//! - the invalidation is acknowledged within the stated bound,
//! - nothing reaches the old page or table after the acknowledgement, and no read of it is under way then
//!   (watched at the device's ports),
//! - D of every store that was made is in the table by then, and no page that nothing stored to is dirty in the end,
//! - both jobs end with the right results and the right memory, and the other context has not noticed.
//!
//! `HMMU_STRIDE=1` takes every cycle (`make preempt`); without it every so many are taken.

mod board;
mod change;
mod memory;
mod monitor;
mod space;
mod storm;
mod suspend;
mod world;

use change::{Case, Change, sweep};
use world::Place;

/// A test for each case.
macro_rules! cases {
    ($($name:ident: $change:expr, $place:ident, $context:literal;)*) => {$(
        #[test]
        fn $name() {
            sweep(Case { change: $change, place: Place::$place, context: $context });
        }
    )*};
}

cases! {
    a_small_page_of_vram_that_is_read_goes: Change::Move, Source, 0;
    a_small_page_of_system_memory_that_is_written_goes: Change::Move, Dest, 0;
    the_programs_own_page_goes: Change::Move, Code, 0;
    a_page_of_64_kib_in_system_memory_goes: Change::Move, Napot, 0;
    a_page_of_64_kib_in_vram_goes: Change::Move, Napot, 1;
    a_page_of_1_gib_goes: Change::Move, Huge, 1;
    a_page_of_2_mib_in_vram_is_split: Change::Split, Large, 0;
    a_page_of_2_mib_in_system_memory_is_split: Change::Split, Large, 1;
    a_page_of_1_gib_is_split: Change::Split, Huge, 0;
    a_table_becomes_a_page_of_2_mib: Change::Join, Pages, 0;
    a_table_in_system_memory_becomes_a_page_of_2_mib: Change::Join, Pages, 1;
    the_lowest_table_moves: Change::Table(0), Source, 0;
    an_upper_table_moves: Change::Table(1), Large, 1;
    the_table_below_the_root_moves: Change::Table(2), Source, 0;
}
