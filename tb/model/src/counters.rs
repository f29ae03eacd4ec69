//! The performance counters and their readable shadow.

use hmmu_regs::Counter;

/// Register slots for counters.
const SLOTS: usize = 64;

/// Live counters and the copy that SNAPSHOT makes of them.
pub(crate) struct Counters {
    live: [u64; SLOTS],
    shadow: [u64; SLOTS],
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            live: [0; SLOTS],
            shadow: [0; SLOTS],
        }
    }

    pub(crate) fn add(&mut self, counter: Counter, amount: u64) {
        let slot = &mut self.live[counter as usize];
        *slot = slot.wrapping_add(amount);
    }

    pub(crate) fn raise_to(&mut self, counter: Counter, value: u64) {
        let slot = &mut self.live[counter as usize];
        *slot = value.max(*slot);
    }

    pub(crate) fn live(&self, counter: Counter) -> u64 {
        self.live[counter as usize]
    }

    pub(crate) fn snapshot(&mut self) {
        self.shadow = self.live;
    }

    /// The shadow in register slot `index`; 0 where there is no counter.
    pub(crate) fn shadow(&self, index: usize) -> u64 {
        self.shadow.get(index).copied().unwrap_or(0)
    }
}
