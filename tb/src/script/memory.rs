//! Script calls on the pages behind a process's addresses.

use std::sync::{Arc, Mutex, PoisonError};

use hmm_core::{PagemapEntry, PinnedPages, Va};
use rhai::Engine;

use super::args::length;
use super::error::{Result, errno, missing};
use super::process::{PAGE, Process};
use super::step::{Handle, calls};
use crate::world::World;

/// A pin, as scripts hold it.
#[derive(Clone)]
pub struct Pin {
    world: Arc<World>,
    pages: Arc<Mutex<Option<PinnedPages>>>,
}

impl Handle for Pin {
    fn world(&self) -> &Arc<World> {
        &self.world
    }
}

impl Pin {
    fn release(&mut self) -> Result<()> {
        // Taken out first: unpinning may let other threads run.
        let pinned = self
            .pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(pinned);
        Ok(())
    }
}

impl Process {
    fn pin(&mut self, a: i64, len: i64) -> Result<Pin> {
        let call = "p.pin";
        let len = length(call, len)?;
        let pages = (a as u64 % PAGE + len).div_ceil(PAGE);
        let pinned = self
            .mm
            .pin(Va(a as u64), pages)
            .map_err(|e| errno(call, e))?;
        Ok(Pin {
            world: Arc::clone(&self.world),
            pages: Arc::new(Mutex::new(Some(pinned))),
        })
    }

    fn pagemap(&mut self, a: i64) -> Result<&'static str> {
        Ok(match self.mm.pagemap(Va(a as u64)) {
            PagemapEntry::None => "none",
            PagemapEntry::Present => "present",
            PagemapEntry::Swap => "swap",
        })
    }

    fn swap_out(&mut self, _a: i64, _len: i64) -> Result<i64> {
        Err(missing("p.swap_out", "swap"))
    }

    fn poison(&mut self, _a: i64) -> Result<()> {
        Err(missing("p.poison", "memory failure"))
    }
}

/// Registers the calls on pages, and those of pins.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Pin>("Pin");
    calls!(engine, Process, "p":
        "pin"(a: i64, len: i64) => Process::pin;
        "pagemap"(a: i64) => Process::pagemap;
        "swap_out"(a: i64, len: i64) => Process::swap_out;
        "poison"(a: i64) => Process::poison;
    );
    calls!(engine, Pin, "pin":
        "release"() => Pin::release;
    );
}
