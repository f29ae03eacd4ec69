//! Bits of the register XLAT_LIMITS: limits on address translation, to measure with.

/// Walks in flight at most; 0: as many as there are.
pub const WALKERS: u64 = 0x3f;
/// Every walk starts at the root.
pub const WALK_CACHE_OFF: u64 = 1 << 8;
/// Every miss of an L1 TLB walks.
pub const L2_OFF: u64 = 1 << 9;
/// A walk for each request, even of a page that is being walked.
pub const MERGING_OFF: u64 = 1 << 10;
