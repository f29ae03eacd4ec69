//! One scenario while it runs: its machine, made when first needed, and its threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hmm_core::sync;
use hmmu_driver::DeviceConfig;
use rhai::{AST, Engine};

use super::error::{Result, throw};
use super::threads::ThreadHandle;
use crate::machine::MachineConfig;
use crate::world::{Outputs, World};

/// A scenario while it runs.
pub struct Session {
    config: Mutex<MachineConfig>,
    outputs: Outputs,
    world: sync::Mutex<Option<Arc<World>>>,
    threads: Mutex<Vec<ThreadHandle>>,
    started: AtomicU64,
    code: Mutex<Option<(Arc<Engine>, Arc<AST>)>>,
    broken: Mutex<Option<String>>,
}

impl Session {
    /// A session without a machine yet.
    #[must_use]
    pub fn new(config: MachineConfig, outputs: Outputs) -> Self {
        Self {
            config: Mutex::new(config),
            outputs,
            world: sync::Mutex::new(None),
            threads: Mutex::default(),
            started: AtomicU64::new(0),
            code: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    /// Is device memory CPU-addressable, as far as the script has not said otherwise?
    #[must_use]
    pub fn coherent(&self) -> bool {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        config.coherent
    }

    /// What the run writes.
    #[must_use]
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// The machine, made now if it is not there yet.
    pub fn world(&self, call: &str) -> Result<Arc<World>> {
        let mut world = self.world.lock();
        if let Some(world) = &*world {
            return Ok(Arc::clone(world));
        }
        let config = self
            .config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match World::new(config, &self.outputs, DeviceConfig::default()) {
            Ok(made) => {
                *world = Some(Arc::clone(&made));
                Ok(made)
            }
            Err(text) => {
                *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
                Err(throw(call, "ENODEV", text))
            }
        }
    }

    /// The machine, if it was made.
    #[must_use]
    pub fn made(&self) -> Option<Arc<World>> {
        self.world.lock().clone()
    }

    /// Why no machine could be made.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes the machine before it is made. False if it is there already.
    pub fn configure(&self, change: impl FnOnce(&mut MachineConfig) -> Result<()>) -> Result<bool> {
        if self.world.lock().is_some() {
            return Ok(false);
        }
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = config.clone();
        change(&mut changed)?;
        *config = changed;
        Ok(true)
    }

    /// The script, for threads that run parts of it.
    pub fn set_code(&self, code: Option<(Arc<Engine>, Arc<AST>)>) {
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = code;
    }

    /// The script.
    #[must_use]
    pub fn code(&self) -> Option<(Arc<Engine>, Arc<AST>)> {
        self.code
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Number of the thread that is started next, from 1.
    #[must_use]
    pub fn next_thread(&self) -> u64 {
        self.started.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes a thread.
    pub fn add_thread(&self, thread: ThreadHandle) {
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
    }

    /// Waits for all threads. The first error that no `join` has thrown.
    pub fn join_all(&self) -> Result<()> {
        let mut first = Ok(());
        loop {
            let Some(mut thread) = self
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()
            else {
                return first;
            };
            if let Err(error) = thread.join() {
                first = Err(error);
            }
        }
    }
}
