//! What the plain memory says that a device access must give.

use std::collections::BTreeSet;

use hmm_core::Errno;

use super::op::PAGE;
use super::plain::{Denied, Plain};
use crate::kernels::BULK_THREADS;

/// What must come out: a value, or one of these errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This value.
    Value(u64),
    /// Any one of these.
    Errors(BTreeSet<Errno>),
}

impl Expect {
    /// This error.
    pub fn error(errno: Errno) -> Self {
        Self::Errors(BTreeSet::from([errno]))
    }
}

impl Denied {
    /// The errno of a device access.
    pub fn of_device(self) -> Errno {
        match self {
            Self::NoAccess | Self::PastEnd => Errno::EFAULT,
            Self::ReadOnly => Errno::EPERM,
        }
    }

    /// The signal of a CPU access.
    pub fn of_cpu(self) -> Errno {
        match self {
            Self::NoAccess | Self::ReadOnly => Errno::SIGSEGV,
            Self::PastEnd => Errno::SIGBUS,
        }
    }
}

/// One device access of up to 8 bytes: its error, if it must fail.
pub fn access(
    plain: &Plain,
    p: usize,
    at: u64,
    size: usize,
    write: bool,
) -> Option<BTreeSet<Errno>> {
    let denied = plain
        .page_allows(p, at / PAGE, write)
        .err()
        .map(Denied::of_device);
    if !at.is_multiple_of(size as u64) {
        return Some(BTreeSet::from([Errno::SIGBUS]));
    }
    denied.map(|errno| BTreeSet::from([errno]))
}

/// The words that a bulk kernel's thread visits: thread i takes words i, i + threads, ...
fn share(at: u64, len: u64, thread: u64) -> impl Iterator<Item = (u64, u64)> {
    (thread..len / 8)
        .step_by(BULK_THREADS as usize)
        .map(move |k| (k, at + k * 8))
}

/// A device fill: what is written, and what comes out. A thread that fails has written its words before.
pub fn fill(plain: &mut Plain, p: usize, at: u64, len: u64, first: u64) -> Expect {
    let mut errors = BTreeSet::new();
    for thread in 0..u64::from(BULK_THREADS) {
        for (k, addr) in share(at, len, thread) {
            if let Err(denied) = plain.page_allows(p, addr / PAGE, true) {
                errors.insert(denied.of_device());
                break;
            }
            plain.write(p, addr, &first.wrapping_add(k).to_le_bytes());
        }
    }
    if errors.is_empty() {
        Expect::Value(0)
    } else {
        Expect::Errors(errors)
    }
}

/// A device check: the address of the first wrong word of any thread, or all ones.
pub fn check(plain: &Plain, p: usize, at: u64, len: u64, first: u64) -> Expect {
    let mut errors = BTreeSet::new();
    let mut wrong = u64::MAX;
    for thread in 0..u64::from(BULK_THREADS) {
        for (k, addr) in share(at, len, thread) {
            if let Err(denied) = plain.page_allows(p, addr / PAGE, false) {
                errors.insert(denied.of_device());
                break;
            }
            if plain.number(p, addr, 8) != first.wrapping_add(k) {
                wrong = wrong.min(addr);
                break;
            }
        }
    }
    if errors.is_empty() {
        Expect::Value(wrong)
    } else {
        Expect::Errors(errors)
    }
}

/// The sum kernel.
pub fn sum(plain: &Plain, p: usize, at: u64, words: u64, stride: u64) -> Expect {
    let mut sum = 0_u64;
    for k in 0..words {
        let addr = at + k * stride;
        if let Err(denied) = plain.page_allows(p, addr / PAGE, false) {
            return Expect::error(denied.of_device());
        }
        sum = sum.wrapping_mul(31).wrapping_add(plain.number(p, addr, 8));
    }
    Expect::Value(sum)
}

/// The copy engine: what is written before it stops, and what comes out. The ranges have no byte in common.
pub fn copy(plain: &mut Plain, p: usize, to: u64, from: u64, len: u64) -> Expect {
    let (readable, read) = plain.reach(p, from, len, false);
    let (writable, write) = plain.reach(p, to, len, true);
    let done = readable.min(writable);
    let bytes = plain.read(p, from, done);
    plain.write(p, to, &bytes);
    let mut errors = BTreeSet::new();
    if let Err(denied) = read
        && readable == done
    {
        errors.insert(denied.of_device());
    }
    if let Err(denied) = write
        && writable == done
    {
        errors.insert(denied.of_device());
    }
    if errors.is_empty() {
        Expect::Value(0)
    } else {
        Expect::Errors(errors)
    }
}
