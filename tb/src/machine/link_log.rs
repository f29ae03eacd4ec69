//! What goes over the links, as events of the log.

use crate::log::EventLog;
use crate::rc::LinkBytes;

/// The log is told this often, in cycles, while something goes over the links.
const EVERY: u64 = 1024;

/// Notes running totals. While they stand still it notes nothing, and where they move again the last cycle in which they
/// had not: between two notes the rate is even, as far as the log can tell.
#[derive(Default)]
pub struct LinkLog {
    /// When the totals were last looked at, and what they were.
    at: u64,
    last: LinkBytes,
    /// That look was not noted.
    quiet: bool,
}

impl LinkLog {
    /// Is it time to look?
    pub fn due(&self, now: u64) -> bool {
        now - self.at >= EVERY
    }

    /// The totals as of now.
    pub fn note(&mut self, log: &EventLog, now: u64, bytes: LinkBytes) {
        let tell = |cycle, bytes: LinkBytes| {
            let fields = [("to_device", bytes.to_device), ("to_host", bytes.to_host)];
            log.step(cycle, "link", &fields);
        };
        if bytes != self.last {
            if self.quiet {
                tell(self.at, self.last);
            }
            tell(now, bytes);
        }
        self.quiet = bytes == self.last;
        self.at = now;
        self.last = bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::log::Now;

    #[test]
    fn totals_that_stand_still_are_noted_once() {
        let log = EventLog::new(Arc::new(Now::default()));
        log.keep();
        let mut link = LinkLog::default();
        let bytes = |to_device| LinkBytes {
            to_device,
            to_host: 1,
        };
        assert!(!link.due(EVERY - 1));
        for (now, total) in [
            (1024, 0),
            (2048, 0),
            (3072, 5),
            (4096, 5),
            (5120, 5),
            (6144, 9),
        ] {
            assert!(link.due(now));
            link.note(&log, now, bytes(total));
        }
        let told: Vec<(u64, u64)> = log
            .take()
            .iter()
            .map(|event| (event.cycle, event.get("to_device")))
            .collect();
        assert_eq!(
            told,
            [(1024, 0), (2048, 0), (3072, 5), (5120, 5), (6144, 9)]
        );
    }
}
