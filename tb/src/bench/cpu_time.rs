//! Time of the processor that this thread has taken.

use std::time::Instant;

/// A running clock. Other programs do not make it go; where the system does not tell, it is the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime {
    nanoseconds: Option<u64>,
    wall: Instant,
}

impl CpuTime {
    /// Starts.
    #[must_use]
    pub fn start() -> Self {
        Self {
            nanoseconds: taken(),
            wall: Instant::now(),
        }
    }

    /// Seconds since the start.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        match (self.nanoseconds, taken()) {
            (Some(start), Some(now)) if now > start => (now - start) as f64 * 1e-9,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

/// Nanoseconds on a processor: the first word of the file, on Linux.
fn taken() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_the_clock_does_not_go_back() {
        let clock = CpuTime::start();
        let mut sum = 0_u64;
        for round in 0..50 {
            sum = (0..1_000_000_u64).fold(sum ^ round, |sum, k| sum.rotate_left(5) ^ k);
        }
        let first = clock.seconds();
        assert!(first > 0.0, "{sum}");
        assert!(clock.seconds() >= first);
    }
}
