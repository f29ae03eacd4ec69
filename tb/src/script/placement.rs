//! Script calls on where a process's pages are, and what the device sees of them.

use hmm_core::Va;
use rhai::{Array, Dynamic, Engine};

use super::args::length;
use super::device::Dev;
use super::error::{self, Result};
use super::step::calls;

impl Dev {
    /// Maps zeroed pages that the driver provides.
    fn mmap(&mut self, len: i64) -> Result<i64> {
        let call = "d.mmap";
        let len = length(call, len)?;
        let start = self
            .mm
            .mmap_mixed(len, hmm_core::Prot::READ_WRITE)
            .map_err(|e| error::errno(call, e))?;
        self.world.oracle.map(self.mm.id(), start.0, len, false);
        Ok(start.0 as i64)
    }

    fn migrate_to_device(&mut self, a: i64, len: i64) -> Result<i64> {
        let call = "d.migrate_to_device";
        let moved = self
            .context
            .migrate_to_device(Va(a as u64), length(call, len)?);
        moved
            .map(|pages| pages as i64)
            .map_err(|e| error::driver(call, &e))
    }

    fn migrate_to_system(&mut self, a: i64, len: i64) -> Result<i64> {
        let call = "d.migrate_to_system";
        let moved = self
            .context
            .migrate_to_system(Va(a as u64), length(call, len)?);
        moved
            .map(|pages| pages as i64)
            .map_err(|e| error::driver(call, &e))
    }

    fn snapshot(&mut self, a: i64, len: i64) -> Result<Array> {
        let call = "d.snapshot";
        let states = self.context.snapshot(Va(a as u64), length(call, len)?);
        let states = states.map_err(|e| error::driver(call, &e))?;
        Ok(states
            .iter()
            .map(|state| Dynamic::from(state.to_string()))
            .collect())
    }

    fn dirty(&mut self, a: i64, len: i64) -> Result<Array> {
        let call = "d.dirty";
        let dirty = self.context.dirty(Va(a as u64), length(call, len)?);
        let dirty = dirty.map_err(|e| error::driver(call, &e))?;
        Ok(dirty.into_iter().map(Dynamic::from).collect())
    }

    fn accessed(&mut self, a: i64, len: i64) -> Result<Array> {
        let call = "d.accessed";
        let used = self
            .context
            .harvest_accessed(Va(a as u64), length(call, len)?);
        let used = used.map_err(|e| error::driver(call, &e))?;
        Ok(used.into_iter().map(Dynamic::from).collect())
    }

    fn exclusive(&mut self, a: i64, len: i64) -> Result<i64> {
        let call = "d.exclusive";
        let len = length(call, len)?;
        let made = self.context.exclusive(Va(a as u64), len);
        self.world.oracle.may_own(self.mm.id(), a as u64, len);
        made.map(|pages| pages as i64)
            .map_err(|e| error::driver(call, &e))
    }

    fn is_exclusive(&mut self, a: i64) -> Result<bool> {
        self.context
            .is_exclusive(Va(a as u64))
            .map_err(|e| error::driver("d.is_exclusive", &e))
    }
}

/// Registers the calls on pages.
pub fn register(engine: &mut Engine) {
    calls!(engine, Dev, "d":
        "mmap"(len: i64) => Dev::mmap;
        "migrate_to_device"(a: i64, len: i64) => Dev::migrate_to_device;
        "migrate_to_system"(a: i64, len: i64) => Dev::migrate_to_system;
        "snapshot"(a: i64, len: i64) => Dev::snapshot;
        "dirty"(a: i64, len: i64) => Dev::dirty;
        "accessed"(a: i64, len: i64) => Dev::accessed;
        "exclusive"(a: i64, len: i64) => Dev::exclusive;
        "is_exclusive"(a: i64) => Dev::is_exclusive;
    );
}
