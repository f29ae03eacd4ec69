//! The event log: what happened when, in a form that two runs can be compared by.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmm_core::Tracer;

use crate::trace::Event;
use crate::wave::Watch;

/// A number with its name.
type Field = (&'static str, u64);

/// The device clock, for whoever notes a time.
#[derive(Debug, Default)]
pub struct Now(AtomicU64);

impl Now {
    /// Cycles since the machine was made.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Some cycles have passed.
    pub fn advance(&self, cycles: u64) {
        self.0.fetch_add(cycles, Ordering::Relaxed);
    }
}

/// The event log: what host threads say, and the steps of translation in verilated devices. Every event
/// counts in its hash; with a file, each becomes a line of text there ([`Event`]).
pub struct EventLog {
    now: Arc<Now>,
    state: Mutex<State>,
    listener: Mutex<Option<Listener>>,
}

/// Is told of every event: name and fields.
pub type Listener = Box<dyn Fn(&'static str, &[(&'static str, u64)]) + Send>;

struct State {
    hash: u64,
    events: u64,
    steps: u64,
    kept: Option<Vec<Event>>,
    shown: Option<Vec<Event>>,
    watch: Option<Watch>,
    file: Option<BufWriter<File>>,
    error: Option<String>,
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl EventLog {
    /// The field of an event that tells which device it is about; those of the first one have none.
    pub const DEVICE: &str = "device";

    /// An empty log without a file.
    #[must_use]
    pub fn new(now: Arc<Now>) -> Self {
        let state = State {
            hash: OFFSET,
            events: 0,
            steps: 0,
            kept: None,
            shown: None,
            watch: None,
            file: None,
            error: None,
        };
        Self {
            now,
            state: Mutex::new(state),
            listener: Mutex::new(None),
        }
    }

    /// Writes every further event to a file.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn open(&self, path: &Path) -> std::io::Result<()> {
        let file = File::create(path)?;
        self.lock().file = Some(BufWriter::new(file));
        Ok(())
    }

    /// Calls `listener` for every further event.
    pub fn listen(&self, listener: Listener) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Ends the listening.
    pub fn unlisten(&self) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The hash of all events so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.lock().hash
    }

    /// Number of events of host threads so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.lock().events
    }

    /// Number of steps of devices so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Keeps all further events in memory, for [`EventLog::take`].
    pub fn keep(&self) {
        self.lock().kept.get_or_insert_default();
    }

    /// Keeps all further events for [`EventLog::take_shown`].
    pub fn show(&self) {
        self.lock().shown.get_or_insert_default();
    }

    /// The events since the last call, in the order in which they were noted.
    #[must_use]
    pub fn take_shown(&self) -> Vec<Event> {
        let mut state = self.lock();
        state.shown.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// No longer keeps them.
    pub fn hide(&self) {
        self.lock().shown = None;
    }

    /// Looks for an event among all further ones.
    pub fn watch(&self, watch: Watch) {
        self.lock().watch = Some(watch);
    }

    /// The events that were kept, in the order in which they were noted.
    #[must_use]
    pub fn take(&self) -> Vec<Event> {
        self.lock().kept.take().unwrap_or_default()
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// Now or earlier, a write failed.
    pub fn flush(&self) -> Result<(), String> {
        let mut state = self.lock();
        if let Some(file) = &mut state.file
            && let Err(error) = file.flush()
        {
            state.error.get_or_insert(error.to_string());
        }
        state.error.clone().map_or(Ok(()), Err)
    }

    /// Something that a device did in `cycle`, which may be over. Nobody is called back.
    pub fn step(&self, cycle: u64, name: &'static str, fields: &[(&'static str, u64)]) {
        let mut state = self.lock();
        state.steps += 1;
        state.add(cycle, "device", name, fields);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn feed(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

impl State {
    fn add(&mut self, cycle: u64, thread: &str, name: &'static str, fields: &[Field]) {
        let mut hash = feed(self.hash, &cycle.to_le_bytes());
        hash = feed(hash, thread.as_bytes());
        hash = feed(hash, name.as_bytes());
        for (field, value) in fields {
            hash = feed(hash, field.as_bytes());
            hash = feed(hash, &value.to_le_bytes());
        }
        self.hash = hash;
        if let Some(watch) = &self.watch {
            watch.event(cycle, name, fields);
        }
        for kept in [&mut self.kept, &mut self.shown].into_iter().flatten() {
            kept.push(Event::new(cycle, thread, name, fields));
        }
        if let Some(file) = &mut self.file
            && let Err(error) = writeln!(file, "{}", Event::new(cycle, thread, name, fields))
        {
            self.error.get_or_insert(error.to_string());
        }
    }
}

impl Tracer for EventLog {
    fn event(&self, name: &'static str, fields: &[Field]) {
        let cycle = self.now.get();
        let thread = hmm_core::sync::thread_name();
        {
            let mut state = self.lock();
            state.events += 1;
            state.add(cycle, &thread, name, fields);
        }
        if let Some(listener) = &*self.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            listener(name, fields);
        }
    }
}
