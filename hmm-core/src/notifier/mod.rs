//! Interval notifiers: how a device learns that an address space changes.
//!
//! A device that mirrors a range subscribes to it. Whoever changes the range calls the subscribers first
//! and changes it only when all have returned, so at no moment do CPU and device use different pages.
//! The other direction, the device reading the address space to fill its own tables, is protected by a
//! sequence count: [`MmuIntervalNotifier::read_begin`], look, then under the driver's lock
//! [`MmuIntervalNotifier::read_retry`] and install only if it says false.
//!
//! Rules for a callback: take the driver's lock (only try, if the range is not blockable),
//! [`MmuIntervalNotifier::set_seq`], stop the device's use of the range, unlock, return true. It must call
//! `set_seq` even if it has nothing mapped. It must not take mmap_lock or page locks, and must not wait for
//! something that waits for this invalidation, such as the service of a fault.
//!
//! A driver that gets [`MmuNotifyEvent::Migrate`] for its own migration may leave its entries to the
//! migration, if that empties them before it copies. It must call `set_seq` all the same (stricter than
//! Linux, where the test driver returns at once): else a fault service that looked before the migration
//! installs a page that has moved since.
//!
//! A driver that gets [`MmuNotifyEvent::Exclusive`] for its own [`crate::make_device_exclusive`] is the only one
//! that may return without `set_seq`, and has to if it checks that call with `read_begin` and
//! `read_retry`: its own call would always look like a collision.

mod index;
mod subscriptions;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

pub(crate) use subscriptions::{Invalidation, Subscriptions};

use crate::addr::Va;
use crate::errno::Errno;
use crate::mm::Mm;

/// Why a range is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MmuNotifyEvent {
    /// The range is unmapped or moved.
    Unmap,
    /// Pages are dropped or replaced.
    Clear,
    /// The mapping's allowed accesses change.
    ProtectionVma,
    /// Single pages lose write permission.
    ProtectionPage,
    /// The address space dies.
    Release,
    /// Pages migrate; the range's `owner` says for whom.
    Migrate,
    /// Soft-dirty bits are cleared: page and access stay, but stores must be noticed again.
    SoftDirty,
    /// A page becomes device-exclusive; the range's `owner` says for whom. All others lose it.
    Exclusive,
}

/// An invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmuNotifierRange {
    /// First address.
    pub start: Va,
    /// One past the last address.
    pub end: Va,
    /// Why.
    pub event: MmuNotifyEvent,
    /// For [`MmuNotifyEvent::Migrate`] and [`MmuNotifyEvent::Exclusive`]: the device (DevPagemap owner)
    /// that it is for; else 0.
    pub owner: u64,
    /// Whether the callback may wait.
    pub blockable: bool,
}

/// What a subscriber does.
pub trait MmuIntervalNotifierOps: Send + Sync {
    /// Stops all use of the pages in `range`: when it returns true, no access of the device through an old
    /// translation is under way or can start. False, "cannot without waiting", only for ranges that are
    /// not blockable. See the module's text for the rules.
    fn invalidate(&self, sub: &MmuIntervalNotifier, range: &MmuNotifierRange, cur_seq: u64)
    -> bool;
}

/// A subscription to invalidations of a range of an address space.
pub struct MmuIntervalNotifier {
    mm: u64,
    start: Va,
    end: Va,
    seq: AtomicU64,
    ops: Arc<dyn MmuIntervalNotifierOps>,
    // The address space keeps its subscriptions, not the other way round.
    subs: Weak<Subscriptions>,
}

impl MmuIntervalNotifier {
    /// Subscribes to `len` bytes from `start` on. An invalidation that is under way counts as one of this range.
    ///
    /// # Errors
    /// EOVERFLOW for a length of 0 or a range that wraps, ESRCH for a dead process.
    pub fn insert(
        mm: &Arc<Mm>,
        start: Va,
        len: u64,
        ops: Arc<dyn MmuIntervalNotifierOps>,
    ) -> Result<Arc<MmuIntervalNotifier>, Errno> {
        let end = start
            .0
            .checked_add(len)
            .filter(|&end| end > start.0)
            .ok_or(Errno::EOVERFLOW)?;
        if !mm.is_alive() {
            return Err(Errno::ESRCH);
        }
        let sub = Arc::new(MmuIntervalNotifier {
            mm: mm.id(),
            start,
            end: Va(end),
            seq: AtomicU64::new(0),
            ops,
            subs: Arc::downgrade(&mm.subs),
        });
        mm.subs.insert(&sub);
        Ok(sub)
    }

    /// Unsubscribes, and waits for an invalidation that is under way. Not from a callback, nor while
    /// holding a lock that callbacks take.
    pub fn remove(&self) {
        if let Some(subs) = self.subs.upgrade() {
            subs.remove(self);
        }
    }

    /// Starts to read the address space: returns the sequence for [`MmuIntervalNotifier::read_retry`], after
    /// an invalidation of this range that is under way has ended. Hold no lock that callbacks take.
    pub fn read_begin(&self) -> u64 {
        match self.subs.upgrade() {
            Some(subs) => subs.read_begin(self),
            None => self.seq(),
        }
    }

    /// Whether the range was invalidated since `seq`: then what was read is stale. The answer stays true
    /// only under the lock that the callback takes.
    pub fn read_retry(&self, seq: u64) -> bool {
        self.seq() != seq
    }

    /// For the callback, under the driver's lock: makes readers that began before retry.
    pub fn set_seq(&self, cur_seq: u64) {
        self.seq.store(cur_seq, Ordering::Relaxed);
    }

    /// The address space's id.
    pub fn mm_id(&self) -> u64 {
        self.mm
    }

    /// First address of the subscription.
    pub fn start(&self) -> Va {
        self.start
    }

    /// One past its last address.
    pub fn end(&self) -> Va {
        self.end
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }

    fn overlaps(&self, range: &MmuNotifierRange) -> bool {
        self.start < range.end && range.start < self.end
    }
}

#[cfg(test)]
mod tests;
