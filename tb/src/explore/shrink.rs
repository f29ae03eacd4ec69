//! From a failing run to the few decisions that make it fail.

use hmm_core::sync::{Decision, Point, Recording};

use super::Outcome;

/// Runs that shrinking may take.
const MOST_RUNS: u64 = 3000;
/// Scheduling points that the runs of shrinking may pass in all: bounds the time when runs are long.
const MOST_POINTS: u64 = 100_000_000;

/// As many decisions are few: nothing else is tried.
const FEW: usize = 4;

/// What is left of a failing schedule.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The last failing run.
    pub recording: Recording,
    /// Its error.
    pub error: String,
    /// Its decisions: they replay it.
    pub decisions: Vec<Decision>,
    /// Runs that it took.
    pub runs: u64,
}

struct Shrinker<F> {
    run: F,
    target: String,
    runs: u64,
    points: u64,
    best: Option<(Vec<Decision>, String, Recording)>,
}

/// An error's text without what changes from run to run: cycle, and every other figure but the script's line.
fn signature(error: &str) -> String {
    let end = error.rfind(" (cycle ").unwrap_or(error.len());
    // Where a run without end happens to be does not matter.
    let end = error.find(" scheduling points: ").unwrap_or(end);
    let (place, rest) = error[..end].split_once(": ").unwrap_or(("", &error[..end]));
    let mut text = String::from(place);
    let mut word = String::new();
    for c in rest.chars().chain([' ']) {
        // Whole words, as hexadecimal figures have letters.
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        let figure = word.starts_with(|c: char| c.is_ascii_digit());
        text.push_str(if figure { "#" } else { &word });
        word.clear();
        text.push(c);
    }
    text
}

impl<F: FnMut(&[Decision]) -> Outcome> Shrinker<F> {
    fn spent(&self) -> bool {
        self.runs >= MOST_RUNS || self.points >= MOST_POINTS
    }

    /// Does it still fail in the same way? Then it is the best so far.
    fn fails(&mut self, decisions: &[Decision]) -> bool {
        if self.spent() {
            return false;
        }
        let outcome = (self.run)(decisions);
        self.runs += 1;
        self.points += outcome.recording.points;
        let Some(error) = outcome.error else {
            return false;
        };
        if signature(&error) != self.target {
            return false;
        }
        // What had no effect is not needed.
        let used = outcome.recording.decisions();
        self.best = Some((used, error, outcome.recording));
        true
    }

    fn now(&self) -> Vec<Decision> {
        let best = self.best.as_ref();
        best.map(|(decisions, ..)| decisions.clone())
            .unwrap_or_default()
    }

    /// Drops groups of decisions, large ones first, until none can go.
    fn drop_groups(&mut self) {
        let mut size = self.now().len().div_ceil(2);
        while size > 0 && !self.spent() {
            let mut start = 0;
            let mut dropped = false;
            while start < self.now().len() {
                let now = self.now();
                let end = (start + size).min(now.len());
                if self.fails(&[&now[..start], &now[end..]].concat()) {
                    dropped = true;
                } else {
                    start = end;
                }
            }
            if size > 1 {
                size /= 2;
            } else if !dropped {
                break;
            }
        }
    }

    /// One or two of the run's own preemptions may be enough where those that are left are many: most of them only
    /// stand for the order in which the found schedule let threads run otherwise.
    fn try_few(&mut self, preemptions: &[Decision]) {
        if self.now().len() <= FEW {
            return;
        }
        for &only in preemptions {
            if self.fails(&[only]) || self.spent() {
                return;
            }
        }
        for (n, &first) in preemptions.iter().enumerate() {
            for &second in &preemptions[n + 1..] {
                if self.fails(&[first, second]) || self.spent() {
                    return;
                }
            }
        }
    }

    /// Makes holds as short as they may be, by halves.
    fn shorten_holds(&mut self) {
        let mut at = 0;
        while at < self.now().len() {
            let now = self.now();
            let hold = now[at].hold;
            let mut shorter = |hold: u32| {
                let mut decisions = now.clone();
                decisions[at].hold = hold;
                self.fails(&decisions)
            };
            if hold == 0 || shorter(0) || hold == 1 || !shorter(hold / 2) {
                at += 1;
            }
        }
    }
}

/// Removes decisions from a failing run as long as it fails in the same way. `run` replays a list of decisions.
/// None if its decisions alone do not make it fail.
pub fn shrink(
    error: &str,
    found: &Recording,
    run: impl FnMut(&[Decision]) -> Outcome,
) -> Option<Shrunk> {
    let mut shrinker = Shrinker {
        run,
        target: signature(error),
        runs: 0,
        points: 0,
        best: None,
    };
    let preemptions: Vec<Decision> = found
        .switches
        .iter()
        .filter(|switch| switch.decision.point == Point::Preempt)
        .map(|switch| Decision {
            hold: switch.passed_over,
            ..switch.decision
        })
        .collect();
    for start in [Vec::new(), preemptions.clone(), found.decisions()] {
        if shrinker.fails(&start) {
            break;
        }
    }
    shrinker.best.as_ref()?;
    shrinker.drop_groups();
    shrinker.try_few(&preemptions);
    shrinker.shorten_holds();
    let runs = shrinker.runs;
    let (decisions, error, recording) = shrinker.best?;
    Some(Shrunk {
        recording,
        error,
        decisions,
        runs,
    })
}

#[cfg(test)]
mod tests {
    use hmm_core::sync::Switch;

    use super::*;

    #[test]
    fn figures_do_not_tell_failures_apart_and_lines_do() {
        let text = |line, value, cycle| {
            format!("a.rhai:{line}: assert_eq: {value} is not 0x7f12 (cycle {cycle}, seed 3)")
        };
        assert_eq!(signature(&text(4, 1, 900)), signature(&text(4, 12, 17)));
        assert_ne!(signature(&text(4, 1, 900)), signature(&text(5, 1, 900)));
        assert_eq!(
            signature("a: no end after 10 scheduling points: one is here"),
            signature("a: no end after 10 scheduling points: two is there")
        );
        assert_ne!(
            signature("a: p.load: SIGBUS"),
            signature("a: p.load: SIGSEGV")
        );
    }

    fn switch(nth: u64, passed_over: u32) -> Switch {
        Switch {
            decision: Decision {
                thread: 1,
                point: Point::Preempt,
                nth,
                to: 2,
                hold: 0,
            },
            what: "taking a mutex",
            at: None,
            passed_over,
        }
    }

    #[test]
    fn only_what_matters_stays() {
        let found = Recording {
            switches: (0..100).map(|n| switch(n, 40)).collect(),
            points: 1000,
            threads: vec!["main".into(), "one".into(), "two".into()],
        };
        // Fails with points 13 and 77, the second one held for at least 4 choices.
        let run = |decisions: &[Decision]| {
            let has = |nth, hold| decisions.iter().any(|d| d.nth == nth && d.hold >= hold);
            let switches = decisions.iter().map(|d| Switch {
                decision: *d,
                ..switch(d.nth, 0)
            });
            let fails = has(13, 0) && has(77, 4);
            Outcome {
                error: fails.then(|| format!("x: wrong after {} decisions", decisions.len())),
                unusable: false,
                recording: Recording {
                    switches: switches.collect(),
                    ..found.clone()
                },
            }
        };
        let shrunk = shrink("x: wrong after 100 decisions", &found, run).expect("it fails");
        let left: Vec<_> = shrunk.decisions.iter().map(|d| (d.nth, d.hold)).collect();
        assert_eq!(left, [(13, 0), (77, 5)]);
        assert!(shrunk.runs < 100, "{} runs", shrunk.runs);
        assert!(shrink("x: other", &found, run).is_none());
    }
}
