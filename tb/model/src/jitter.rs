//! Reproducible jitter.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
pub(crate) struct Jitter {
    state: u64,
    most: u64,
}

impl Jitter {
    pub(crate) fn new(seed: u64, most: u64) -> Self {
        Self { state: seed, most }
    }

    /// The next value in 0..=most.
    pub(crate) fn next(&mut self) -> u64 {
        if self.most == 0 {
            return 0;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % (self.most + 1)
    }
}
