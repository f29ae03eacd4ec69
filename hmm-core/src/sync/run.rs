//! One run from its start to its end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError};

use shuttle::scheduler::{Schedule as Recorded, Scheduler, Task, TaskId};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::engine::{RUN, Run, active, payload_text, thread_body, with_run};
use super::record::Recording;
use super::schedule::Schedule;

/// Bytes of stack of every thread of a run: scripts recurse deeply in debug builds.
const STACK_BYTES: usize = 4 << 20;

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
        let resumable: Vec<usize> = runnable.iter().map(|t| usize::from(t.id())).collect();
        let next = with_run(|r| r.next(&resumable)).flatten()?;
        runnable
            .iter()
            .map(|t| t.id())
            .find(|&id| usize::from(id) == next)
    }

    fn next_u64(&mut self) -> u64 {
        // Only shuttle's own random numbers, which nobody here uses.
        0
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
                    let thread = r.current_name();
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
    run_recorded(&schedule, f).0
}

/// As [`run_with`]; tells too what the scheduler decided.
pub fn run_recorded<R: Send + 'static>(
    schedule: &Schedule,
    f: impl FnOnce() -> R + Send + 'static,
) -> (Result<R, String>, Recording) {
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    let body = Box::new(move || {
        let value = f();
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    });
    let (ended, recording) = execute(schedule, body);
    let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    let result =
        ended.and_then(|()| value.ok_or_else(|| "the run ended before its closure did".into()));
    (result, recording)
}

/// Not generic: the engine would be compiled once per caller.
fn execute(schedule: &Schedule, body: Box<dyn FnOnce() + Send>) -> (Result<(), String>, Recording) {
    if active() {
        let error = Err("a run inside of a run".into());
        return (error, Recording::default());
    }
    install_hook();
    RUN.set(Some(Run::new(schedule)));
    let body = Mutex::new(Some(body));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        Runner::new(Chooser { started: false }, config()).run(move || {
            let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(body) = body {
                thread_body(body);
            }
        })
    }));
    let (failure, recording) = RUN.take().map(Run::finish).unwrap_or_default();
    let result = match (failure, outcome) {
        (Some(text), _) => Err(text),
        (None, Err(payload)) => Err(payload_text(payload.as_ref())),
        (None, Ok(_)) => Ok(()),
    };
    (result, recording)
}
