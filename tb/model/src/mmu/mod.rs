//! Address translation: contexts, TLBs, page walks and parked faults.

mod command;
mod dirty_log;
mod fault;
mod tlb;
mod unit;
mod walk;

pub(crate) use unit::{Event, Key, Limits, Mmu, Outcome};
