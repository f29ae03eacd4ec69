//! Decisions in words.

use hmm_core::sync::{Point, Recording};

/// One line for each decision of a run that took place.
#[must_use]
pub fn describe(recording: &Recording) -> Vec<String> {
    let name = |thread: usize| match recording.threads.get(thread) {
        Some(name) => format!("{name:?}"),
        None => format!("thread {thread}"),
    };
    let lines = recording.switches.iter().enumerate().map(|(n, switch)| {
        let decision = switch.decision;
        let (who, to) = (name(decision.thread), name(decision.to));
        let place = match switch.at {
            Some(at) => format!("{} at {at}", switch.what),
            None => switch.what.to_string(),
        };
        let held = match decision.hold {
            0 => String::new(),
            hold => format!(", and is passed over {hold} times more"),
        };
        match decision.point {
            Point::Preempt => format!("{}. {who}, {place}, gives way to {to}{held}", n + 1),
            Point::Wait => format!("{}. {who} waits ({place}); {to} runs next{held}", n + 1),
        }
    });
    lines.collect()
}
