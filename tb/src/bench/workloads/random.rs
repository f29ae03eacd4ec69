//! Random access: pointer chase, GUPS, histogram.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use crate::bench::image::Image;
use crate::bench::workload::{Case, Phase, Shape};
use crate::kernels::{self, KernelError};

/// Words of a page.
const WORDS: u64 = 512;

/// One cycle through nodes in random order, eight lines of 64 bytes of each page; each thread starts elsewhere.
pub fn chase(image: &mut Image, shape: &Shape) -> Result<Case, KernelError> {
    const PER_PAGE: u64 = 8;
    let pages = shape.size.of(96, 2048, 4096);
    let steps: u64 = shape.size.of(40, 2000, 12_000);
    let mut rng = Pcg32::seed_from_u64(shape.seed);
    let base = image.pages(pages);
    let mut nodes: Vec<u64> = (0..pages * PER_PAGE)
        .map(|node| base + 4096 / PER_PAGE * node + 64 * rng.random_range(0..4096 / PER_PAGE / 64))
        .collect();
    nodes.shuffle(&mut rng);
    for (k, node) in nodes.iter().enumerate() {
        image.store(*node, nodes[(k + 1) % nodes.len()]);
    }
    let starts: Vec<usize> = (0..shape.threads)
        .map(|_| rng.random_range(0..nodes.len()))
        .collect();
    let first: Vec<u64> = starts.iter().map(|&start| nodes[start]).collect();
    let starts_at = image.words(&first);
    let out = image.take(8 * shape.threads, 64);
    let expected = (out..)
        .step_by(8)
        .zip(starts)
        .map(|(at, start)| (at, nodes[(start + steps as usize) % nodes.len()]))
        .collect();
    Ok(Case {
        phases: vec![Phase {
            program: kernels::chases()?,
            args: vec![starts_at, steps, out],
        }],
        data: (base, pages),
        expected,
    })
}

/// A table of zeros, updated in random places.
pub fn gups(image: &mut Image, shape: &Shape) -> Result<Case, KernelError> {
    let pages: u64 = shape.size.of(128, 2048, 4096);
    let updates: u64 = shape.size.of(40, 1200, 8000);
    // Of each thread: the largest power of two of words that fits.
    let own = 1 << (pages * WORDS / shape.threads).max(1).ilog2();
    let words = own * shape.threads;
    let pages = words.div_ceil(WORDS);
    let mut rng = Pcg32::seed_from_u64(shape.seed);
    let base = image.pages(pages);
    let mut table = vec![0_u64; words as usize];
    let seeds: Vec<u64> = (0..shape.threads)
        .map(|_| rng.random::<u64>() | 1)
        .collect();
    for (thread, &seed) in seeds.iter().enumerate() {
        let mut number = seed;
        for _ in 0..updates {
            number = kernels::gups_next(number);
            table[(number & (own - 1)) as usize * seeds.len() + thread] ^= number;
        }
    }
    let seeds_at = image.words(&seeds);
    Ok(Case {
        phases: vec![Phase {
            program: kernels::gups()?,
            args: vec![base, own - 1, updates, seeds_at],
        }],
        data: (base, pages),
        expected: (base..).step_by(8).zip(table).collect(),
    })
}

/// Random words, counted by their low bits.
pub fn histogram(image: &mut Image, shape: &Shape) -> Result<Case, KernelError> {
    let pages: u64 = shape.size.of(2, 16, 128);
    let bins: u64 = shape.size.of(1024, 16_384, 65_536);
    let mut rng = Pcg32::seed_from_u64(shape.seed);
    let words: Vec<u64> = (0..pages * WORDS).map(|_| rng.random()).collect();
    let base = image.pages(pages);
    for (at, word) in (base..).step_by(8).zip(&words) {
        image.store(at, *word);
    }
    let bins_at = image.pages(bins / WORDS);
    let mut counts = vec![0; bins as usize];
    for word in &words {
        counts[(word & (bins - 1)) as usize] += 1;
    }
    Ok(Case {
        phases: vec![Phase {
            program: kernels::histogram()?,
            args: vec![base, words.len() as u64, bins_at, bins - 1],
        }],
        data: (base, pages + bins / WORDS),
        expected: (bins_at..).step_by(8).zip(counts).collect(),
    })
}
