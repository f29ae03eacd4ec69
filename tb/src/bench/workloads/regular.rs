//! Regular access: streaming, strides, transpose.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use crate::bench::image::Image;
use crate::bench::workload::{Case, Phase, Shape};
use crate::kernels::{self, KernelError};

/// Words of a page.
const WORDS: u64 = 512;

/// Three arrays, word by word.
pub fn stream(image: &mut Image, shape: &Shape) -> Result<Case, KernelError> {
    let pages: u64 = shape.size.of(6, 64, 512);
    triad(image, shape, pages, false)
}

/// The triad over arrays of so many pages; in place, the first array is the second one, too.
pub fn triad(
    image: &mut Image,
    shape: &Shape,
    pages: u64,
    in_place: bool,
) -> Result<Case, KernelError> {
    const FACTOR: u64 = 0x1_0000_0003;
    let words = pages * WORDS;
    let mut rng = Pcg32::seed_from_u64(shape.seed);
    let arrays = if in_place { 2 } else { 3 };
    let b = image.pages(arrays * pages);
    let c = b + 4096 * pages;
    let a = if in_place { b } else { c + 4096 * pages };
    let mut expected = Vec::new();
    for k in 0..words {
        let (x, y): (u64, u64) = (rng.random(), rng.random());
        image.store(b + 8 * k, x);
        image.store(c + 8 * k, y);
        expected.push((a + 8 * k, x.wrapping_add(y.wrapping_mul(FACTOR))));
    }
    Ok(Case {
        phases: vec![Phase {
            program: kernels::triad()?,
            args: vec![a, b, c, words, FACTOR],
        }],
        data: (b, arrays * pages),
        expected,
    })
}

/// One word of each page after the other, several times.
pub fn stride(image: &mut Image, shape: &Shape) -> Result<Case, KernelError> {
    let pages: u64 = shape.size.of(160, 2048, 4096);
    let rounds: u64 = shape.size.of(4, 24, 48);
    let mut rng = Pcg32::seed_from_u64(shape.seed);
    let base = image.pages(pages);
    let mut sums = vec![0_u64; shape.threads as usize];
    for page in 0..pages {
        for round in 0..rounds {
            let word: u64 = rng.random();
            image.store(base + 4096 * page + 64 * round, word);
            let sum = &mut sums[(page % shape.threads) as usize];
            *sum = sum.wrapping_add(word);
        }
    }
    let out = image.take(8 * shape.threads, 64);
    Ok(Case {
        phases: vec![Phase {
            program: kernels::stride()?,
            args: vec![base, pages, rounds, out],
        }],
        data: (base, pages),
        expected: (out..).step_by(8).zip(sums).collect(),
    })
}

/// A band of columns of a matrix with a page for each row.
pub fn transpose(image: &mut Image, shape: &Shape) -> Result<Case, KernelError> {
    let rows_log2: u64 = shape.size.of(7, 11, 12);
    let columns: u64 = shape.size.of(8, 16, 64);
    let rows = 1 << rows_log2;
    let mut rng = Pcg32::seed_from_u64(shape.seed);
    let result_pages = (columns * rows).div_ceil(WORDS);
    let from = image.pages(rows + result_pages);
    let to = from + 4096 * rows;
    let mut expected = Vec::new();
    for j in 0..columns {
        for i in 0..rows {
            let word: u64 = rng.random();
            image.store(from + 4096 * i + 8 * j, word);
            expected.push((to + 8 * (j * rows + i), word));
        }
    }
    Ok(Case {
        phases: vec![Phase {
            program: kernels::transpose()?,
            args: vec![from, to, rows_log2, 12, columns * rows],
        }],
        data: (from, rows + result_pages),
        expected,
    })
}
