//! The compute unit's instruction set: RV64I, M and A at user level, little endian, no compressed instructions.
//!
//! Source: The RISC-V Instruction Set Manual, Volume I (unprivileged), chapters RV32I, RV64I, "M", "A", Zicsr
//! (read-only counters) and Zifencei. Where the manual leaves a choice, the choice of hmmu's compute unit is:
//! misaligned accesses and jumps end the thread, and SC succeeds if and only if memory still holds the value
//! that LR loaded (a compare-and-swap).

mod alu;
mod amo;
mod bus;
pub mod enc;
mod hart;

pub use amo::AmoOp;
pub use bus::{Bus, Stall, Width};
pub use hart::{Hart, Reservation, Step, csr};
