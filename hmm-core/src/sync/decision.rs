//! One decision of a scheduler, in a form that people can read and commands can take.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Kinds of places where the scheduler decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The thread could go on: taking or dropping a lock, notifying, spawning. To leave it here is a preemption.
    Preempt,
    /// The thread cannot go on, or asked for others to run first: waiting, yielding, ending.
    Wait,
}

/// At a thread's n-th point of a kind, another thread than usual runs next. Usual is: a thread runs until it waits
/// or yields, then the next one in order of creation.
///
/// As text `3p57-1`: thread 3, at its 57th preemption point, gives way to thread 1; `3w4-0` is its 4th wait;
/// `3p57-1h20` moreover passes thread 3 over in the next 20 choices in which another thread can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    /// The thread that ran; 0 is the run's own closure, the others count in order of creation.
    pub thread: usize,
    /// What kind of point.
    pub point: Point,
    /// Which of that thread's points of this kind, from 1.
    pub nth: u64,
    /// Who runs next.
    pub to: usize,
    /// For how many further choices `thread` is passed over.
    pub hold: u32,
}

/// A text that is no decision.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no scheduling decision: expected THREADpN-THREAD or THREADwN-THREAD, such as 3p57-1 or 3p57-1h20"
)]
pub struct BadDecision(String);

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let point = match self.point {
            Point::Preempt => 'p',
            Point::Wait => 'w',
        };
        write!(f, "{}{point}{}-{}", self.thread, self.nth, self.to)?;
        if self.hold > 0 {
            write!(f, "h{}", self.hold)?;
        }
        Ok(())
    }
}

impl FromStr for Decision {
    type Err = BadDecision;

    fn from_str(text: &str) -> Result<Decision, BadDecision> {
        let parse = || {
            let (from, to) = text.split_once('-')?;
            let (thread, point, nth) = match from.split_once('p') {
                Some((thread, nth)) => (thread, Point::Preempt, nth),
                None => {
                    let (thread, nth) = from.split_once('w')?;
                    (thread, Point::Wait, nth)
                }
            };
            let (to, hold) = match to.split_once('h') {
                Some((to, hold)) => (to, hold.parse().ok()?),
                None => (to, 0),
            };
            Some(Decision {
                thread: thread.parse().ok()?,
                point,
                nth: nth.parse().ok()?,
                to: to.parse().ok()?,
                hold,
            })
        };
        parse().ok_or_else(|| BadDecision(text.into()))
    }
}
