//! Events that a recording of waves waits for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hmm_core::PAGE_SIZE;

use crate::log::EventLog;

/// What starts a recording: something in the event log of the first device, or a run that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The first fault of the device.
    FirstFault,
    /// The run fails.
    FailedCheck,
    /// The device or the driver reports an error, or the run fails.
    Error,
    /// The device asks for the translation of this address' page.
    Address(u64),
    /// The record with this number goes to the fault ring.
    Fault(u64),
    /// An event of the log has this name.
    Event(String),
}

impl FromStr for Trigger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| match digits.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => digits.parse().ok(),
        };
        let found = match text.split_once(':') {
            None => match text {
                "first-fault" => Some(Self::FirstFault),
                "failed-check" => Some(Self::FailedCheck),
                "error" => Some(Self::Error),
                _ => None,
            },
            Some(("va", address)) => number(address).map(Self::Address),
            Some(("fault", id)) => number(id).map(Self::Fault),
            Some(("event", name)) if !name.is_empty() => Some(Self::Event(name.to_string())),
            Some(_) => None,
        };
        found.ok_or_else(|| {
            "expected first-fault, failed-check, error, va:ADDRESS, fault:NUMBER or event:NAME"
                .to_string()
        })
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstFault => f.write_str("first-fault"),
            Self::FailedCheck => f.write_str("failed-check"),
            Self::Error => f.write_str("error"),
            Self::Address(address) => write!(f, "va:{address:#x}"),
            Self::Fault(id) => write!(f, "fault:{id}"),
            Self::Event(name) => write!(f, "event:{name}"),
        }
    }
}

impl Trigger {
    /// Is this event the one?
    #[must_use]
    pub fn is(&self, name: &str, fields: &[(&'static str, u64)]) -> bool {
        let field = |wanted: &str| fields.iter().find(|(n, _)| *n == wanted).map(|(_, v)| *v);
        // Waves are those of the first device.
        if field(EventLog::DEVICE).is_some_and(|device| device != 0) {
            return false;
        }
        match self {
            Self::FirstFault => name == "walk_fault",
            Self::FailedCheck => false,
            Self::Error => match name {
                "fault_error" | "fault_cancel" | "tlb_cancel" | "copy_failed" => true,
                "job_end" => field("status").is_some_and(|status| status != 0),
                _ => false,
            },
            Self::Address(address) => {
                name == "tlb_miss" && field("addr") == Some(address & !(PAGE_SIZE - 1))
            }
            Self::Fault(id) => name == "fault_record" && field("id") == Some(*id),
            Self::Event(wanted) => name == wanted,
        }
    }

    /// Is it a run that fails?
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::FailedCheck | Self::Error)
    }
}

/// Looks for a trigger in one run. Copies look for it together.
#[derive(Clone, Debug)]
pub struct Watch {
    trigger: Trigger,
    seen: Arc<AtomicU64>,
}

/// No cycle.
const NEVER: u64 = u64::MAX;

impl Watch {
    /// A watch that has seen nothing.
    #[must_use]
    pub fn new(trigger: Trigger) -> Self {
        Self {
            trigger,
            seen: Arc::new(AtomicU64::new(NEVER)),
        }
    }

    /// An event of the log.
    pub fn event(&self, cycle: u64, name: &str, fields: &[(&'static str, u64)]) {
        if self.seen().is_none() && self.trigger.is(name, fields) {
            self.seen.store(cycle, Ordering::Relaxed);
        }
    }

    /// The run has failed.
    pub fn failed(&self, cycle: u64) {
        if self.seen().is_none() && self.trigger.is_failure() {
            self.seen.store(cycle, Ordering::Relaxed);
        }
    }

    /// The first cycle in which it held.
    #[must_use]
    pub fn seen(&self) -> Option<u64> {
        Some(self.seen.load(Ordering::Relaxed)).filter(|cycle| *cycle != NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_read_as_they_are_written() {
        for text in [
            "first-fault",
            "failed-check",
            "error",
            "va:0x7f0000001000",
            "fault:3",
            "event:invalidate",
        ] {
            let trigger: Trigger = text.parse().expect(text);
            assert_eq!(trigger.to_string(), text);
        }
        assert_eq!("fault:0x10".parse(), Ok(Trigger::Fault(16)));
        for text in ["", "fault", "va:", "va:here", "event:", "cycle:3"] {
            assert!(text.parse::<Trigger>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_event_that_fits_counts() {
        let watch = Watch::new(Trigger::Address(0x7f00_0000_1fff));
        watch.event(1, "tlb_miss", &[("ctx", 1), ("addr", 0x7f00_0000_2000)]);
        watch.event(2, "tlb_miss", &[("addr", 0x7f00_0000_1000), ("device", 1)]);
        assert_eq!(watch.seen(), None);
        watch.event(3, "tlb_miss", &[("ctx", 1), ("addr", 0x7f00_0000_1000)]);
        watch.event(4, "tlb_miss", &[("ctx", 1), ("addr", 0x7f00_0000_1000)]);
        watch.failed(5);
        assert_eq!(watch.seen(), Some(3));
    }

    #[test]
    fn an_error_is_a_bad_end_or_a_run_that_fails() {
        assert!(!Trigger::Error.is("job_end", &[("job", 1), ("status", 0)]));
        assert!(Trigger::Error.is("job_end", &[("job", 1), ("status", 2)]));
        let watch = Watch::new(Trigger::FailedCheck);
        watch.event(1, "fault_error", &[]);
        watch.failed(7);
        watch.failed(9);
        assert_eq!(watch.seen(), Some(7));
    }
}
