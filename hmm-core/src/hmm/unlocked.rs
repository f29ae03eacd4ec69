//! Range faults for callers that do not hold mmap_lock, so that a fault may drop it.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::errno::Errno;
use crate::hmm::{Failure, HmmPfn, HmmRange, fill};
use crate::mm::Mm;
use crate::sync;

/// As [`crate::hmm_range_fault`], but takes mmap_lock itself, so it can wait for the handler of a user fault
/// ([`crate::Mm::userfault`]); and begins again itself after a collision with an invalidation, with a new
/// `range.notifier_seq` and the requests as they were given. `attempts` says how many collisions in a row end
/// the call; none goes on for ever. A wait for a handler is progress: counting begins anew.
///
/// # Errors
/// EBUSY after `attempts` collisions, else as [`crate::hmm_range_fault`].
pub fn hmm_range_fault_unlocked(
    mm: &Arc<Mm>,
    range: &mut HmmRange<'_>,
    attempts: Option<NonZeroU32>,
) -> Result<(), Errno> {
    let requests: Vec<HmmPfn> = range.pfns.to_vec();
    let mut collisions = 0;
    loop {
        range.notifier_seq = range.notifier.read_begin();
        range.pfns.copy_from_slice(&requests);
        let guard = mm.mmap_read_lock();
        let (va, write) = match fill(&guard, range) {
            Ok(()) => return Ok(()),
            Err(Failure::Errno(Errno::EBUSY)) => {
                drop(guard);
                collisions += 1;
                if attempts.is_some_and(|most| collisions >= most.get()) {
                    return Err(Errno::EBUSY);
                }
                sync::yield_now();
                continue;
            }
            Err(Failure::Errno(error)) => return Err(error),
            Err(Failure::Missing { va, write }) => (va, write),
        };
        let missing = guard.missing(va, write);
        drop(guard);
        missing.wait();
        collisions = 0;
    }
}
