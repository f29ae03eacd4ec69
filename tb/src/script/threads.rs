//! `start(closure)`: host threads of a script.

use std::sync::{Arc, Mutex, PoisonError};

use hmm_core::sync;
use rhai::{Array, Dynamic, Engine, FnPtr, Map, NativeCallContext};

use super::device::Dev;
use super::error::{Result, throw};
use super::file::File;
use super::job::JobHandle;
use super::memory::Pin;
use super::process::Process;
use super::session::Session;
use super::userfault::Handler;

/// A started thread, as scripts hold it.
#[derive(Clone)]
pub struct ThreadHandle(Arc<Mutex<Option<sync::JoinHandle<Result<Dynamic>>>>>);

impl ThreadHandle {
    /// Waits for its end; its value, or its error. A second call returns nothing at once.
    pub fn join(&mut self) -> Result<Dynamic> {
        // Taken out first: no lock of std may be held while waiting.
        let handle = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match handle {
            Some(handle) => handle.join(),
            None => Ok(Dynamic::UNIT),
        }
    }
}

/// Does a value hold handles whose calls let other threads run?
fn has_handles(value: &Dynamic) -> bool {
    if let Some(array) = value.read_lock::<Array>() {
        return array.iter().any(has_handles);
    }
    if let Some(map) = value.read_lock::<Map>() {
        return map.values().any(has_handles);
    }
    if let Some(closure) = value.read_lock::<FnPtr>() {
        return closure.curry().iter().any(has_handles);
    }
    value.read_lock::<Process>().is_some()
        || value.read_lock::<Dev>().is_some()
        || value.read_lock::<JobHandle>().is_some()
        || value.read_lock::<Pin>().is_some()
        || value.read_lock::<File>().is_some()
        || value.read_lock::<Handler>().is_some()
        || value.read_lock::<ThreadHandle>().is_some()
}

/// A captured variable for another thread. Rhai locks a shared variable while one of its methods runs, so two
/// threads must not share a handle whose methods wait: each gets its own (they mean the same thing). Plain
/// values stay shared, as closures promise.
fn captured(value: &Dynamic) -> Dynamic {
    if !has_handles(value) {
        return value.clone();
    }
    let own = value.flatten_clone();
    if let Some(array) = own.read_lock::<Array>() {
        return Dynamic::from_array(array.iter().map(captured).collect());
    }
    if let Some(map) = own.read_lock::<Map>() {
        return Dynamic::from_map(
            map.iter()
                .map(|(key, value)| (key.clone(), captured(value)))
                .collect(),
        );
    }
    if let Some(closure) = own.read_lock::<FnPtr>() {
        return Dynamic::from(for_thread(&closure));
    }
    own
}

fn for_thread(closure: &FnPtr) -> FnPtr {
    let mut copy = closure.clone();
    copy.set_curry(closure.curry().iter().map(captured).collect::<Vec<_>>());
    copy
}

/// Registers `start` and `join`.
pub fn register(engine: &mut Engine, session: &Arc<Session>) {
    engine.register_type_with_name::<ThreadHandle>("Thread");
    let session = Arc::downgrade(session);
    let start = move |context: NativeCallContext, closure: FnPtr| -> Result<ThreadHandle> {
        let call = "start";
        let session = session
            .upgrade()
            .ok_or_else(|| throw(call, "ESRCH", "the scenario has ended"))?;
        let (engine, ast) = session
            .code()
            .ok_or_else(|| throw(call, "ESRCH", "the scenario has ended"))?;
        let closure = for_thread(&closure);
        let line = context.call_position().line().unwrap_or(0);
        let name = format!("thread {} of line {line}", session.next_thread());
        let body = move || closure.call::<Dynamic>(&engine, &ast, ());
        let thread = ThreadHandle(Arc::new(Mutex::new(Some(sync::spawn_named(name, body)))));
        session.add_thread(thread.clone());
        Ok(thread)
    };
    engine.register_fn("start", start);
    engine.register_fn("join", ThreadHandle::join);
}
