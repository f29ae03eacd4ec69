//! Page walks that a failed table read has ended, tried once more.

use crate::commands::CtxId;
use crate::faults::Fault;
use hmm_core::Va;
use hmm_core::sync::Mutex;
use std::collections::BTreeMap;

/// Cycles after which a second failure of the same walk counts as a first one, in completion timeouts: a walk reads
/// up to four entries.
const MEMORY: u64 = 16;

/// Which walks were tried again lately. Reading a table has no side effect, so trying again is safe; a table that
/// cannot be read twice in a row is broken.
pub(crate) struct WalkRetries {
    window: u64,
    tried: Mutex<BTreeMap<(CtxId, Va, u8), u64>>,
}

impl WalkRetries {
    /// None yet. `timeout` is how long the device waits for a completion, in cycles.
    pub fn new(timeout: u64) -> Self {
        Self {
            window: timeout.max(10_000).saturating_mul(MEMORY),
            tried: Mutex::new(BTreeMap::new()),
        }
    }

    /// Shall the walk of this fault be tried once more at cycle `now`? False when that has been done.
    pub fn again(&self, fault: &Fault, now: u64) -> bool {
        let mut tried = self.tried.lock();
        tried.retain(|_, at| now.saturating_sub(*at) < self.window);
        let key = (fault.ctx, fault.addr, fault.access as u8);
        if tried.remove(&key).is_some() {
            return false;
        }
        tried.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmmu_regs::{Access, FaultReason};

    #[test]
    fn a_walk_is_tried_once_more_and_later_again() {
        let fault = |addr, access| Fault {
            ctx: 1,
            addr: Va(addr),
            access,
            reason: FaultReason::AccessError,
            id: 0,
        };
        let read = fault(0x1000, Access::Read);
        let window = 50_000 * MEMORY;
        hmm_core::sync::run(0, move || {
            let retries = WalkRetries::new(50_000);
            assert!(retries.again(&read, 10));
            assert!(retries.again(&fault(0x1000, Access::Write), 10));
            assert!(retries.again(&fault(0x2000, Access::Read), 10));
            assert!(!retries.again(&read, 10 + window - 1), "soon after");
            assert!(retries.again(&read, 10 + window), "that one was answered");
            assert!(retries.again(&read, 10 + 2 * window), "long ago");
        })
        .expect("a run");
    }
}
