//! Interval notifiers.

use std::sync::Arc;

use crate::addr::Va;
use crate::errno::Errno;
use crate::mm::Mm;

/// Why a range is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Pages migrate; `owner` says for whom.
    Migrate,
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
    /// For [`MmuNotifyEvent::Migrate`]: the device (DevPagemap owner) that migrates and takes care of its own tables; else 0.
    pub owner: u64,
    /// Whether the callback may wait.
    pub blockable: bool,
}

/// What a subscriber does.
pub trait MmuIntervalNotifierOps: Send + Sync {
    /// Stops all use of `range`.
    fn invalidate(&self, sub: &MmuIntervalNotifier, range: &MmuNotifierRange, cur_seq: u64) -> bool;
}

/// A subscription to invalidations of a range of an address space.
pub struct MmuIntervalNotifier {}

impl MmuIntervalNotifier {
    /// Subscribes.
    pub fn insert(
        _mm: &Arc<Mm>,
        _start: Va,
        _len: u64,
        _ops: Arc<dyn MmuIntervalNotifierOps>,
    ) -> Result<Arc<MmuIntervalNotifier>, Errno> {
        Err(Errno::EINVAL)
    }
    /// Unsubscribes; waits for a running invalidation.
    pub fn remove(&self) {}
    /// Start of a collision-retry section.
    pub fn read_begin(&self) -> u64 {
        0
    }
    /// Whether an invalidation came since `seq`. Call under the lock that the callback takes.
    pub fn read_retry(&self, _seq: u64) -> bool {
        false
    }
    /// For the callback: notes the invalidation.
    pub fn set_seq(&self, _cur_seq: u64) {}
}
