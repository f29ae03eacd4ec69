//! The event log: what happened when, in a form that two runs can be compared by.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hmm_core::Tracer;

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

/// The event log. Every event counts in its hash; with a file, each becomes a line of text there:
/// `cycle thread event field=value ...`.
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
    file: Option<BufWriter<File>>,
    error: Option<String>,
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl EventLog {
    /// An empty log without a file.
    #[must_use]
    pub fn new(now: Arc<Now>) -> Self {
        let state = State {
            hash: OFFSET,
            events: 0,
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

    /// Number of events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.lock().events
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn feed(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    })
}

impl Tracer for EventLog {
    fn event(&self, name: &'static str, fields: &[(&'static str, u64)]) {
        let cycle = self.now.get();
        let thread = hmm_core::sync::thread_name();
        {
            let mut state = self.lock();
            let mut hash = feed(state.hash, &cycle.to_le_bytes());
            hash = feed(hash, thread.as_bytes());
            hash = feed(hash, name.as_bytes());
            for (field, value) in fields {
                hash = feed(hash, field.as_bytes());
                hash = feed(hash, &value.to_le_bytes());
            }
            state.hash = hash;
            state.events += 1;
            if let Some(file) = &mut state.file {
                let mut line = format!("{cycle} {} {name}", thread.replace(' ', "_"));
                for (field, value) in fields {
                    line.push_str(&format!(" {field}={value:#x}"));
                }
                line.push('\n');
                if let Err(error) = file.write_all(line.as_bytes()) {
                    state.error.get_or_insert(error.to_string());
                }
            }
        }
        if let Some(listener) = &*self.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            listener(name, fields);
        }
    }
}
