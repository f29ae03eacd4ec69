//! Hash join.

use std::collections::HashMap;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use crate::bench::image::Image;
use crate::bench::workload::{Case, Phase, Shape};
use crate::kernels::{self, KernelError};

/// Bytes of a row (log2): two rows a page.
const ROW_LOG2: u64 = 11;
/// Spreads keys (2^64 over the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Builds chains of wide rows, then looks keys up; half of them are there.
pub fn hash_join(image: &mut Image, shape: &Shape) -> Result<Case, KernelError> {
    let rows_log2: u64 = shape.size.of(8, 12, 13);
    let probes: u64 = shape.size.of(512, 8192, 65_536);
    let rows = 1_u64 << rows_log2;
    let shift = 64 - rows_log2;
    let mut rng = Pcg32::seed_from_u64(shape.seed);
    let base = image.pages(rows << ROW_LOG2 >> 12);
    let mut values: HashMap<u64, (u64, u64)> = HashMap::new();
    for row in 0..rows {
        let (key, value) = (rng.random_range(0..rows), rng.random::<u64>());
        let at = base + (row << ROW_LOG2);
        image.store(at, key);
        image.store(at + 8, value);
        let known = values.entry(key).or_default();
        *known = (known.0.wrapping_add(value), known.1 + 1);
    }
    let chains = image.pages((8 * rows).div_ceil(4096));
    let keys: Vec<u64> = (0..probes).map(|_| rng.random_range(0..2 * rows)).collect();
    let probes_at = image.pages((8 * probes).div_ceil(4096));
    let (mut sum, mut count) = (0_u64, 0);
    for (at, key) in (probes_at..).step_by(8).zip(&keys) {
        image.store(at, *key);
        let (value, found) = values.get(key).copied().unwrap_or_default();
        sum = sum.wrapping_add(value);
        count += found;
    }
    let data_pages = (image.base() + image.len() - base) / 4096;
    let sums = image.take(16, 64);
    Ok(Case {
        phases: vec![
            Phase {
                program: kernels::join_build()?,
                args: vec![base, rows, ROW_LOG2, chains, FACTOR, shift],
            },
            Phase {
                program: kernels::join_probe()?,
                args: vec![probes_at, probes, chains, FACTOR, shift, sums],
            },
        ],
        data: (base, data_pages),
        expected: vec![(sums, sum), (sums + 8, count)],
    })
}
