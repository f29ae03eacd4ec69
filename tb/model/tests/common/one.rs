//! One instruction on its own.

use crate::flat::Flat;
use hmmu_model::rv64::{Hart, Step};

/// Runs one instruction at pc 0 with x6 = a and x7 = b; the hart after it, and what became of it.
pub fn one(word: u32, a: u64, b: u64) -> (Hart, Step) {
    let mut bus = Flat::new(&[word]);
    let mut hart = Hart::new(0);
    hart.x[6] = a;
    hart.x[7] = b;
    let step = hart.step(&mut bus);
    (hart, step)
}
