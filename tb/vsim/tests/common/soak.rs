//! How long a random test runs.
#![allow(dead_code)] // each test uses its part

/// The operations to be made at least: `short`, or as many as `HMMU_SOAK` in the environment says (`make soak`).
///
/// # Panics
/// `HMMU_SOAK` is not a number.
pub fn operations(short: u64) -> u64 {
    std::env::var("HMMU_SOAK").map_or(short, |text| {
        text.parse().expect("HMMU_SOAK is a number of operations")
    })
}

/// Runs seeds 0, 1, ... until their counts add up to `operations`; returns the sums.
pub fn run<const N: usize>(operations: u64, mut seed: impl FnMut(u64) -> [u64; N]) -> [u64; N] {
    let mut sum = [0; N];
    let mut next = 0;
    while sum.iter().sum::<u64>() < operations {
        for (s, n) in sum.iter_mut().zip(seed(next)) {
            *s += n;
        }
        next += 1;
    }
    sum
}
