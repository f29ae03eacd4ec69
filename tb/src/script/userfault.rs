//! Script calls on memory whose pages a handler provides.

use std::sync::{Arc, Mutex, PoisonError};

use hmm_core::{UserFault, UserFaultEvent, Va};
use rhai::Engine;

use super::args::length;
use super::error::{Result, errno, throw};
use super::process::{PAGE, Process};
use super::step::{Handle, calls};
use crate::oracle::{Data, Outcome};
use crate::world::World;

/// The handler's end of a registered range, as scripts hold it.
#[derive(Clone)]
pub struct Handler {
    process: Process,
    range: Arc<Mutex<Option<Arc<UserFault>>>>,
}

impl Handle for Handler {
    fn world(&self) -> &Arc<World> {
        &self.process.world
    }
}

impl Process {
    fn userfault(&mut self, a: i64, len: i64) -> Result<Handler> {
        let call = "p.userfault";
        let len = length(call, len)?;
        let range = self
            .mm
            .userfault(Va(a as u64), len)
            .map_err(|e| errno(call, e))?;
        Ok(Handler {
            process: self.clone(),
            range: Arc::new(Mutex::new(Some(Arc::new(range)))),
        })
    }
}

impl Handler {
    fn range(&self, call: &str) -> Result<Arc<UserFault>> {
        let range = self.range.lock().unwrap_or_else(PoisonError::into_inner);
        range
            .clone()
            .ok_or_else(|| throw(call, "EBADF", "the range is not registered any more"))
    }

    /// The next missing page that somebody waits for.
    fn wait(&mut self) -> Result<i64> {
        let call = "u.wait";
        let range = self.range(call)?;
        loop {
            // What was unmapped or thrown away is nobody's to provide.
            if let UserFaultEvent::Missing { va, .. } = range.wait().map_err(|e| errno(call, e))? {
                return Ok(va.0 as i64);
            }
        }
    }

    /// Fills missing pages with a copy of what the process has elsewhere.
    fn copy(&mut self, to: i64, from: i64, len: i64) -> Result<i64> {
        let call = "u.copy";
        let len = length(call, len)?;
        let range = self.range(call)?;
        let bytes = self.process.read(call, from as u64, len as usize)?;
        self.fill(to as u64, bytes, |bytes| {
            range.copy(Va(to as u64), bytes).map_err(|e| errno(call, e))
        })
    }

    /// Fills a missing page with zeros.
    fn zero(&mut self, to: i64) -> Result<i64> {
        let call = "u.zero";
        let range = self.range(call)?;
        self.fill(to as u64, vec![0; PAGE as usize], |_| {
            let done = range.zero(Va(to as u64));
            done.map(|()| 1).map_err(|e| errno(call, e))
        })
    }

    fn fill(&self, to: u64, bytes: Vec<u8>, run: impl FnOnce(&[u8]) -> Result<u64>) -> Result<i64> {
        let oracle = &self.process.world.oracle;
        let len = bytes.len() as u64;
        let data = Data::Bytes(bytes.clone());
        let ticket = oracle.begin_write(self.process.id(), to, len, data);
        let filled = run(&bytes);
        let outcome = match filled {
            Ok(pages) if pages * PAGE == len => Outcome::Done,
            Ok(_) => Outcome::Partial,
            Err(_) => Outcome::Nothing,
        };
        oracle.end_write(ticket, outcome);
        filled.map(|pages| pages as i64)
    }

    fn unregister(&mut self) -> Result<()> {
        // Taken out first: it may let other threads run.
        let range = self
            .range
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(range);
        Ok(())
    }
}

/// Registers the calls on such memory.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Handler>("UserFault");
    calls!(engine, Process, "p":
        "userfault"(a: i64, len: i64) => Process::userfault;
    );
    calls!(engine, Handler, "u":
        "wait"() => Handler::wait;
        "copy"(to: i64, from: i64) => |u: &mut Handler, to, from| u.copy(to, from, PAGE as i64);
        "copy"(to: i64, from: i64, len: i64) => Handler::copy;
        "zero"(to: i64) => Handler::zero;
        "unregister"() => Handler::unregister;
    );
}
