//! The scheduler: which thread runs next, and how a run ends.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use shuttle::scheduler::{Schedule as Recorded, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Bytes of stack of every thread of a run: scripts recurse deeply in debug builds.
const STACK_BYTES: usize = 4 << 20;

/// How threads are interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    seed: Option<u64>,
    switch_one_in: u32,
}

impl Schedule {
    /// Random by `seed`; one scheduling point in eight may switch, so that runs stay fast.
    pub fn seeded(seed: u64) -> Schedule {
        Schedule {
            seed: Some(seed),
            switch_one_in: 8,
        }
    }

    /// No randomness: a thread runs until it waits or yields, then the next one in order of creation.
    pub fn round_robin() -> Schedule {
        Schedule {
            seed: None,
            switch_one_in: 1,
        }
    }

    /// One scheduling point in `n` (at least 1) may switch. 1 finds races soonest and is slowest.
    #[must_use]
    pub fn switch_one_in(self, n: u32) -> Schedule {
        Schedule {
            switch_one_in: n.max(1),
            ..self
        }
    }
}

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
}

/// One run in progress on this OS thread.
struct Run {
    schedule: Schedule,
    rng: u64,
    threads: Vec<ThreadInfo>,
    current: usize,
    /// The thread that asked to switch does not want to be chosen again if another can run.
    yielding: bool,
    failure: Option<String>,
}

impl Run {
    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rng;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn runnable(&self, id: usize) -> bool {
        matches!(
            self.threads.get(id).map(|t| &t.state),
            Some(ThreadState::Runnable)
        )
    }

    /// The next thread out of those that the engine could resume. (It switches once before it knows of a
    /// new thread, so this is not always all of them.)
    fn choose(&mut self, resumable: &[usize]) -> Option<usize> {
        let mut candidates: Vec<usize> = resumable
            .iter()
            .copied()
            .filter(|&t| self.runnable(t))
            .collect();
        if self.yielding && candidates.len() > 1 {
            candidates.retain(|&t| t != self.current);
        }
        self.yielding = false;
        if candidates.is_empty() {
            return None;
        }
        let pick = match self.schedule.seed {
            Some(_) => (self.random() % candidates.len() as u64) as usize,
            None => candidates
                .iter()
                .position(|&t| t > self.current)
                .unwrap_or(0),
        };
        Some(candidates[pick])
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

thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Whether the current code runs inside of [`run`].
pub(super) fn active() -> bool {
    RUN.with_borrow(Option::is_some)
}

fn with_run<R>(f: impl FnOnce(&mut Run) -> R) -> Option<R> {
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
pub(crate) fn preempt() {
    if std::thread::panicking() {
        return;
    }
    let go = with_run(|r| {
        r.schedule.seed.is_some()
            && r.threads.len() > 1
            && (r.schedule.switch_one_in == 1
                || r.random() % u64::from(r.schedule.switch_one_in) == 0)
            && (0..r.threads.len()).any(|t| t != r.current && r.runnable(t))
    });
    if go == Some(true) {
        switch();
    }
}

/// Lets other threads run first, if there are any.
pub(super) fn yield_now() {
    if std::thread::panicking() {
        return;
    }
    if with_run(|r| r.yielding = true).is_some() {
        switch();
    }
}

/// Waits until [`unblock`] names this thread. The caller has put it where the waker finds it.
pub(super) fn block(what: &'static str, at: &'static Location<'static>) {
    let known = with_run(|r| {
        let current = r.current;
        r.threads[current].state = ThreadState::Blocked { what, at };
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

/// Starts a thread that runs `body`, under the next number.
pub(super) fn start(name: String, body: impl FnOnce() + Send + 'static) {
    let known = with_run(|r| {
        r.threads.push(ThreadInfo {
            name,
            state: ThreadState::Runnable,
        })
    });
    assert!(known.is_some(), "spawn outside of a run");
    drop(shuttle::thread::spawn(move || thread_body(body)));
}

pub(super) fn thread_count() -> usize {
    with_run(|r| r.threads.len()).unwrap_or(0)
}

fn thread_body(body: impl FnOnce()) {
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

fn payload_text(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|s| (*s).to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic with a payload that is no text".into())
}

/// Asks [`Run`] whom to run.
struct Chooser {
    started: bool,
}

impl Scheduler for Chooser {
    fn new_execution(&mut self) -> Option<Recorded> {
        let first = !self.started;
        self.started = true;
        first.then(|| Recorded::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        _current: Option<TaskId>,
        _yielding: bool,
    ) -> Option<TaskId> {
        with_run(|r| {
            if r.failure.is_some() {
                return None;
            }
            let resumable: Vec<usize> = runnable.iter().map(|t| usize::from(t.id())).collect();
            let Some(next) = r.choose(&resumable) else {
                let waiters = r.describe_waiters();
                // Threads that have just finished are still in the engine's list.
                if waiters.is_empty() {
                    return runnable.first().map(|t| t.id());
                }
                r.failure = Some(format!("deadlock: {waiters}"));
                return None;
            };
            r.current = next;
            runnable
                .iter()
                .map(|t| t.id())
                .find(|&id| usize::from(id) == next)
        })
        .flatten()
    }

    fn next_u64(&mut self) -> u64 {
        with_run(Run::random).unwrap_or(0)
    }
}

/// Replaces the panic hook once: a panic inside of a run becomes the run's error, others go where they went.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        // The engine puts its own, printing hook in front at its first run (here one that ends at once,
        // as there is no thread to choose); have that behind us.
        std::panic::set_hook(Box::new(|_| {}));
        Runner::new(Chooser { started: false }, config()).run(|| {});
        drop(std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            let inside = RUN.try_with(|run| match run.try_borrow_mut() {
                Ok(mut run) => run.as_mut().is_some_and(|r| {
                    let place = info.location().map(ToString::to_string).unwrap_or_default();
                    let text = payload_text_of(info.payload());
                    let thread = r
                        .threads
                        .get(r.current)
                        .map(|t| t.name.clone())
                        .unwrap_or_default();
                    r.failure
                        .get_or_insert_with(|| format!("{thread} panicked at {place}: {text}"));
                    true
                }),
                Err(_) => true,
            });
            if inside != Ok(true) {
                before(info);
            }
        }));
    });
}

fn payload_text_of(payload: &dyn Any) -> String {
    payload
        .downcast_ref::<&'static str>()
        .map(|s| (*s).to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic with a payload that is no text".into())
}

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::None;
    config.silence_warnings = true;
    config
        .ungraceful_shutdown_config
        .immediately_return_on_panic = true;
    config
}

/// Runs `f` and every thread it spawns, interleaved by `seed`, until all have ended; see the module's text.
///
/// # Errors
/// The text of the first panic of any thread, or a description of who waits for what in a deadlock.
pub fn run<R: Send + 'static>(
    seed: u64,
    f: impl FnOnce() -> R + Send + 'static,
) -> Result<R, String> {
    run_with(Schedule::seeded(seed), f)
}

/// As [`run`], with a schedule of one's own.
///
/// # Errors
/// As [`run`].
pub fn run_with<R: Send + 'static>(
    schedule: Schedule,
    f: impl FnOnce() -> R + Send + 'static,
) -> Result<R, String> {
    if active() {
        return Err("a run inside of a run".into());
    }
    install_hook();
    RUN.set(Some(Run {
        schedule,
        rng: schedule.seed.unwrap_or(0),
        threads: vec![ThreadInfo {
            name: "main".into(),
            state: ThreadState::Runnable,
        }],
        current: 0,
        yielding: false,
        failure: None,
    }));
    let body = Arc::new(Mutex::new(Some(f)));
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        Runner::new(Chooser { started: false }, config()).run(move || {
            let f = body.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(f) = f {
                thread_body(|| {
                    let value = f();
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                });
            }
        })
    }));
    let failure = RUN.take().and_then(|r| r.failure);
    if let Some(text) = failure {
        return Err(text);
    }
    if let Err(payload) = outcome {
        return Err(payload_text(payload.as_ref()));
    }
    let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    value.ok_or_else(|| "the run ended before its closure did".into())
}
