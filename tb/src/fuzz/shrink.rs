//! Makes a failing program short.

use super::op::{Op, PAGE};
use super::program::{Failure, Program};

/// A shorter program that fails, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The program.
    pub program: Program,
    /// Its failure.
    pub failure: Failure,
    /// Programs tried.
    pub tried: usize,
}

/// Leaves out what can be left out, and makes what is left smaller, as long as the program still fails. `run` tells
/// how a program fails; it is asked at most `most` times.
pub fn shrink(
    program: Program,
    failure: Failure,
    most: usize,
    mut run: impl FnMut(&Program) -> Option<Failure>,
) -> Shrunk {
    let mut best = Shrunk {
        program,
        failure,
        tried: 0,
    };
    cut_tail(&mut best);
    loop {
        let before = best.program.clone();
        drop_chunks(&mut best, most, &mut run);
        simplify(&mut best, most, &mut run);
        if best.program == before || best.tried >= most {
            return best;
        }
    }
}

/// What comes after the failing operation of the only thread cannot matter.
fn cut_tail(best: &mut Shrunk) {
    if let Some((lane, op)) = best.failure.at
        && best.program.lanes.len() == 1
        && let Some(ops) = best.program.lanes.get_mut(lane)
    {
        ops.truncate(op + 1);
    }
}

fn attempt(
    best: &mut Shrunk,
    candidate: Program,
    most: usize,
    run: &mut impl FnMut(&Program) -> Option<Failure>,
) -> bool {
    if best.tried >= most {
        return false;
    }
    best.tried += 1;
    let Some(failure) = run(&candidate) else {
        return false;
    };
    best.program = candidate;
    best.failure = failure;
    cut_tail(best);
    true
}

/// Leaves out runs of operations: halves, quarters, down to single ones, from the end.
fn drop_chunks(best: &mut Shrunk, most: usize, run: &mut impl FnMut(&Program) -> Option<Failure>) {
    for lane in 0..best.program.lanes.len() {
        let mut size = best.program.lanes[lane].len().div_ceil(2).max(1);
        loop {
            let mut end = best.program.lanes[lane].len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut candidate = best.program.clone();
                candidate.lanes[lane].drain(start..end);
                if attempt(best, candidate, most, run) {
                    end = start.min(best.program.lanes[lane].len());
                } else {
                    end = start;
                }
            }
            if size == 1 {
                break;
            }
            size = size.div_ceil(2);
        }
    }
}

/// Smaller forms of an operation.
fn smaller(op: &Op) -> Vec<Op> {
    let mut forms = Vec::new();
    let lengths = |len: u64| {
        let mut lengths = vec![PAGE, len / 2 / PAGE * PAGE, len.saturating_sub(PAGE)];
        lengths.retain(|shorter| *shorter > 0 && *shorter < len);
        lengths.dedup();
        lengths
    };
    macro_rules! with_len {
        ($($variant:ident),*) => {
            match *op {
                $(Op::$variant { len, .. } => {
                    for shorter in lengths(len) {
                        let mut form = *op;
                        if let Op::$variant { len, .. } = &mut form {
                            *len = shorter;
                        }
                        forms.push(form);
                    }
                })*
                _ => {}
            }
        };
    }
    with_len!(
        Mmap, Munmap, Protect, Advise, Fill, Read, Pin, DevFill, DevCheck, Copy, ToDevice,
        ToSystem, Snapshot, Exclusive, Get, SwapOut, Lock, Unlock, FileWrite, FileRead, Truncate,
        File
    );
    macro_rules! with_value {
        ($($variant:ident . $field:ident),*) => {
            match *op {
                $(Op::$variant { $field, .. } if $field > 1 => {
                    let mut form = *op;
                    if let Op::$variant { $field, .. } = &mut form {
                        *$field = 1;
                    }
                    forms.push(form);
                })*
                _ => {}
            }
        };
    }
    with_value!(
        Store.value,
        DevStore.value,
        DevAdd.value,
        Fill.first,
        DevFill.first,
        DevSum.words
    );
    forms
}

fn simplify(best: &mut Shrunk, most: usize, run: &mut impl FnMut(&Program) -> Option<Failure>) {
    for lane in 0..best.program.lanes.len() {
        let mut i = 0;
        while i < best.program.lanes[lane].len() {
            let forms = smaller(&best.program.lanes[lane][i]);
            let mut changed = false;
            for form in forms {
                let mut candidate = best.program.clone();
                candidate.lanes[lane][i] = form;
                if attempt(best, candidate, most, run) {
                    changed = true;
                    break;
                }
            }
            if !changed {
                i += 1;
            }
        }
    }
}
