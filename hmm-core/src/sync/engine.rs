//! The scheduler's points: which thread runs next.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::time::Duration;

use super::decision::{Decision, Point};
use super::policy::Policy;
use super::record::{Recorder, Recording};
use super::schedule::Schedule;

#[derive(Clone, Debug)]
enum ThreadState {
    Runnable,
    Blocked {
        what: &'static str,
        at: &'static Location<'static>,
    },
    Finished,
}

struct ThreadInfo {
    name: String,
    state: ThreadState,
    /// Points that it has passed, of either kind.
    preempts: u64,
    waits: u64,
}

impl ThreadInfo {
    fn new(name: String) -> ThreadInfo {
        ThreadInfo {
            name,
            state: ThreadState::Runnable,
            preempts: 0,
            waits: 0,
        }
    }
}

/// What a thread does at a scheduling point, and where.
type Doing = (&'static str, &'static Location<'static>);

/// One run in progress on this OS thread.
pub(super) struct Run {
    policy: Policy,
    recorder: Recorder,
    threads: Vec<ThreadInfo>,
    pub(super) current: usize,
    /// The thread that asked to switch does not want to be chosen again if another can run.
    yielding: bool,
    /// Why the engine is about to be asked for a switch; none when it switches by itself.
    doing: Option<Doing>,
    points: u64,
    most_points: u64,
    pub(super) failure: Option<String>,
}

impl Run {
    pub(super) fn new(schedule: &Schedule) -> Run {
        Run {
            policy: Policy::new(schedule),
            recorder: Recorder::default(),
            threads: vec![ThreadInfo::new("main".into())],
            current: 0,
            yielding: false,
            doing: None,
            points: 0,
            most_points: schedule.most_points,
            failure: None,
        }
    }

    fn runnable(&self, id: usize) -> bool {
        matches!(
            self.threads.get(id).map(|t| &t.state),
            Some(ThreadState::Runnable)
        )
    }

    pub(super) fn current_name(&self) -> String {
        self.threads
            .get(self.current)
            .map(|t| t.name.clone())
            .unwrap_or_default()
    }

    /// Counts a point of the whole run.
    fn count(&mut self) {
        self.points += 1;
        if self.points > self.most_points && self.failure.is_none() {
            let at = match self.doing {
                Some((what, at)) => format!("{what} at {at}"),
                None => "starting or ending".into(),
            };
            let waiters = self.describe_waiters();
            let name = self.current_name();
            self.failure = Some(format!(
                "no end after {} scheduling points: {name} is {at}; {waiters}",
                self.most_points
            ));
        }
    }

    /// The current thread could be left here: should it?
    fn pass(&mut self, doing: Doing) -> bool {
        let current = self.current;
        self.doing = Some(doing);
        self.threads[current].preempts += 1;
        let nth = self.threads[current].preempts;
        self.count();
        let go = self.failure.is_some()
            || self.threads.len() > 1 && {
                let Run {
                    policy,
                    threads,
                    points,
                    ..
                } = self;
                let runnable = |t: &usize| matches!(threads[*t].state, ThreadState::Runnable);
                let all = (0..threads.len()).filter(runnable);
                policy.leaves(current, nth, *points, all)
            };
        if !go {
            self.doing = None;
        }
        go
    }

    /// The next thread out of those that the engine could resume. (It switches once before it knows of a
    /// new thread, so this is not always all of them.)
    fn choose(&mut self, resumable: &[usize]) -> Option<usize> {
        let mut candidates: Vec<usize> = resumable
            .iter()
            .copied()
            .filter(|&t| self.runnable(t))
            .collect();
        let current = self.current;
        let yielding = std::mem::take(&mut self.yielding);
        let doing = self.doing;
        let point = if self.runnable(current) && !yielding {
            Point::Preempt
        } else {
            Point::Wait
        };
        let nth = match point {
            Point::Preempt => {
                if doing.is_none() {
                    self.threads[current].preempts += 1;
                    self.count();
                }
                self.threads[current].preempts
            }
            Point::Wait => {
                self.threads[current].waits += 1;
                self.count();
                self.threads[current].waits
            }
        };
        self.doing = None;
        if yielding && candidates.len() > 1 {
            candidates.retain(|&t| t != current);
        }
        let usual = usual(current, point, &candidates)?;
        let choice = self
            .policy
            .choose(current, point, nth, yielding, &candidates, usual);
        self.recorder.chose(choice.thread, &candidates);
        if choice.noted {
            let decision = Decision {
                thread: current,
                point,
                nth,
                to: choice.thread,
                hold: choice.hold,
            };
            let (what, at) = match doing {
                Some((what, at)) => (what, Some(at)),
                None => ("starting or ending a thread", None),
            };
            self.recorder.note(decision, what, at);
        }
        Some(choice.thread)
    }

    /// The engine asks whom to run, out of these.
    pub(super) fn next(&mut self, resumable: &[usize]) -> Option<usize> {
        if self.failure.is_some() {
            return None;
        }
        match self.choose(resumable) {
            _ if self.failure.is_some() => None,
            Some(next) => {
                self.current = next;
                Some(next)
            }
            None => {
                let waiters = self.describe_waiters();
                // Threads that have just finished are still in the engine's list.
                if waiters.is_empty() {
                    return resumable.first().copied();
                }
                self.failure = Some(format!("deadlock: {waiters}"));
                None
            }
        }
    }

    pub(super) fn finish(self) -> (Option<String>, Recording) {
        let names = self.threads.into_iter().map(|t| t.name).collect();
        (self.failure, self.recorder.finish(self.points, names))
    }

    fn describe_waiters(&self) -> String {
        let waiting: Vec<String> = self
            .threads
            .iter()
            .filter_map(|t| match &t.state {
                ThreadState::Blocked { what, at } => {
                    Some(format!("{} waits for {what} at {at}", t.name))
                }
                _ => None,
            })
            .collect();
        waiting.join("; ")
    }
}

/// Who runs next when nothing is special: who runs now if it can, otherwise the next one by number.
fn usual(current: usize, point: Point, candidates: &[usize]) -> Option<usize> {
    if point == Point::Preempt && candidates.contains(&current) {
        return Some(current);
    }
    let next = candidates.iter().copied().find(|&t| t > current);
    next.or(candidates.first().copied())
}

thread_local! {
    pub(super) static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Whether the current code runs inside of [`run`].
pub(super) fn active() -> bool {
    RUN.with_borrow(Option::is_some)
}

pub(super) fn with_run<R>(f: impl FnOnce(&mut Run) -> R) -> Option<R> {
    RUN.with_borrow_mut(|run| run.as_mut().map(f))
}

/// Number of the current thread; 0 is the closure of [`run`] itself.
pub(super) fn current() -> usize {
    with_run(|r| r.current).unwrap_or(0)
}

pub(super) fn current_name() -> String {
    with_run(|r| r.threads[r.current].name.clone()).unwrap_or_else(|| "main".into())
}

fn switch() {
    // A bare context switch: it neither sleeps nor depends on the time.
    shuttle::thread::sleep(Duration::ZERO);
}

/// A scheduling point: maybe lets another thread run.
#[track_caller]
pub(crate) fn preempt() {
    pass("looking at shared state", Location::caller());
}

/// A scheduling point of a thread that does `what`.
pub(super) fn pass(what: &'static str, at: &'static Location<'static>) {
    if std::thread::panicking() {
        return;
    }
    if with_run(|r| r.pass((what, at))) == Some(true) {
        switch();
    }
}

/// Lets other threads run first, if there are any.
pub(super) fn yield_now(at: &'static Location<'static>) {
    if std::thread::panicking() {
        return;
    }
    let known = with_run(|r| {
        r.yielding = true;
        r.doing = Some(("yielding", at));
    });
    if known.is_some() {
        switch();
    }
}

/// Waits until [`unblock`] names this thread. The caller has put it where the waker finds it.
pub(super) fn block(what: &'static str, at: &'static Location<'static>) {
    let known = with_run(|r| {
        let current = r.current;
        r.threads[current].state = ThreadState::Blocked { what, at };
        r.doing = Some((what, at));
    });
    assert!(
        known.is_some(),
        "waiting for {what} at {at} outside of a run: nobody can end the wait"
    );
    switch();
}

pub(super) fn unblock(id: usize) {
    with_run(|r| {
        if let Some(thread) = r.threads.get_mut(id)
            && matches!(thread.state, ThreadState::Blocked { .. })
        {
            thread.state = ThreadState::Runnable;
        }
    });
}

/// Starts a thread that runs `body`, under the next number. Not generic: the engine would be compiled once per caller.
pub(super) fn start(name: String, body: Box<dyn FnOnce() + Send>) {
    let known = with_run(|r| {
        r.threads.push(ThreadInfo::new(name));
    });
    assert!(known.is_some(), "spawn outside of a run");
    drop(shuttle::thread::spawn(move || thread_body(body)));
}

pub(super) fn thread_count() -> usize {
    with_run(|r| r.threads.len()).unwrap_or(0)
}

pub(super) fn thread_body(body: impl FnOnce()) {
    let result = catch_unwind(AssertUnwindSafe(body));
    with_run(|r| {
        let current = r.current;
        r.threads[current].state = ThreadState::Finished;
        if let Err(payload) = result {
            r.failure
                .get_or_insert_with(|| payload_text(payload.as_ref()));
        }
    });
}

pub(super) fn payload_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|s| (*s).to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic with a payload that is no text".into())
}
