//! What the tests of the queue side share: memory, memory ports, and the layout of packed ports.

// Each test binary uses its own part of these helpers.
#![allow(dead_code)]

pub mod layout;
pub mod mem_port;
pub mod memory;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Random numbers of a test.
pub type TestRng = Pcg64;

/// The generator of a seed.
pub fn rng(seed: u64) -> TestRng {
    Pcg64::seed_from_u64(seed)
}

/// True `percent` times in a hundred.
pub fn chance(rng: &mut TestRng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}
