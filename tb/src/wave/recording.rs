//! What of a run is recorded, and what the run tells about it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Picoseconds of a cycle in a wave.
const CYCLE_PS: u64 = 4000;

/// Cycles of a run, first and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first one.
    pub from: u64,
    /// The last one.
    pub to: u64,
}

impl Window {
    /// All of a run.
    pub const ALL: Self = Self {
        from: 0,
        to: u64::MAX,
    };

    /// Some cycles before one, and some after it.
    #[must_use]
    pub fn around(cycle: u64, before: u64, after: u64) -> Self {
        Self {
            from: cycle.saturating_sub(before),
            to: cycle.saturating_add(after),
        }
    }

    /// Is it in there?
    #[must_use]
    pub fn contains(&self, cycle: u64) -> bool {
        (self.from..=self.to).contains(&cycle)
    }
}

/// Where the cycles of a run are in its waves. A reset takes time there, but no cycle of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaveTime(Vec<(u64, u64)>);

impl WaveTime {
    /// From this cycle on, whose clock begins at `ps` picoseconds, all follow each other.
    pub fn from_here(&mut self, cycle: u64, ps: u64) {
        self.0.push((cycle, ps));
    }

    /// The rising edge of a cycle, in picoseconds; `None` of a device that has no waves.
    #[must_use]
    pub fn find(&self, cycle: u64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.of(cycle))
    }

    /// The rising edge of a cycle, in picoseconds.
    #[must_use]
    pub fn of(&self, cycle: u64) -> u64 {
        let epochs = self.0.iter().rev();
        let (first, ps) = epochs
            .copied()
            .find(|(first, _)| *first <= cycle)
            .unwrap_or_default();
        ps + (cycle - first) * CYCLE_PS + CYCLE_PS / 2
    }
}

/// A moment that is shown in the waves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it is: no spaces.
    pub name: String,
    /// When.
    pub cycle: u64,
}

/// What a run tells about its waves.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Where its cycles are.
    pub time: WaveTime,
    /// Cycles at its end.
    pub ended: u64,
    /// The cycle in which it failed.
    pub failed: Option<u64>,
}

/// What the device records in a run. Copies get the same notes.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The file.
    pub fst: PathBuf,
    /// The cycles.
    pub window: Window,
    /// Levels of the design below its top; 0: all of them.
    pub depth: u32,
    /// What the cycles were chosen by.
    pub mark: Option<Mark>,
    notes: Arc<Mutex<Notes>>,
}

impl Recording {
    /// Of these cycles.
    #[must_use]
    pub fn new(fst: PathBuf, window: Window, depth: u32) -> Self {
        Self {
            fst,
            window,
            depth,
            mark: None,
            notes: Arc::default(),
        }
    }

    /// What the run has told so far.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The moments to show: what the cycles were chosen by, and the failure, as far as they were recorded.
    #[must_use]
    pub fn marks(&self) -> Vec<Mark> {
        let failure = self.notes().failed.map(|cycle| Mark {
            name: "failure".to_string(),
            cycle,
        });
        let mut marks: Vec<Mark> = self.mark.iter().cloned().chain(failure).collect();
        marks.dedup_by_key(|mark| mark.cycle);
        marks.retain(|mark| self.window.contains(mark.cycle));
        marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_the_run_begins() {
        assert_eq!(Window::around(100, 200, 50), Window { from: 0, to: 150 });
        assert!(Window::ALL.contains(u64::MAX));
        assert!(!Window::around(100, 10, 10).contains(89));
    }

    #[test]
    fn resets_take_time_but_no_cycle() {
        let mut time = WaveTime::default();
        time.from_here(0, 32_000);
        assert_eq!(time.of(0), 34_000);
        assert_eq!(time.of(10), 74_000);
        time.from_here(10, 104_000);
        assert_eq!(time.of(9), 70_000);
        assert_eq!(time.of(10), 106_000);
        assert_eq!(time.find(10), Some(106_000));
        assert_eq!(WaveTime::default().find(10), None);
    }

    #[test]
    fn marks_are_shown_once_and_where_something_was_recorded() {
        let mut recording = Recording::new(PathBuf::from("x.fst"), Window::around(50, 10, 10), 0);
        let mark = |name: &str, cycle| Mark {
            name: name.to_string(),
            cycle,
        };
        recording.mark = Some(mark("error", 50));
        recording.notes().failed = Some(50);
        assert_eq!(recording.marks(), [mark("error", 50)]);
        recording.notes().failed = Some(55);
        assert_eq!(recording.marks(), [mark("error", 50), mark("failure", 55)]);
        recording.notes().failed = Some(99);
        assert_eq!(recording.marks(), [mark("error", 50)]);
    }
}
