//! Script calls on the pages behind a process's addresses.

use std::sync::{Arc, Mutex, PoisonError};

use hmm_core::{PagemapEntry, PinnedPages, Va};
use rhai::{Engine, Map};

use super::args::{flag, length};
use super::error::{Result, errno, invalid};
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
    fn pin(&mut self, a: i64, len: i64, options: &Map) -> Result<Pin> {
        let call = "p.pin";
        let len = length(call, len)?;
        let mut longterm = true;
        for (key, value) in options {
            match key.as_str() {
                "longterm" => longterm = flag(call, "longterm", value)?,
                other => return Err(invalid(call, format!("unknown option {other}"))),
            }
        }
        let va = Va(a as u64);
        let pages = (va.0 % PAGE + len).div_ceil(PAGE);
        let pinned = if longterm {
            self.mm.pin(va.align_down(), pages)
        } else {
            self.mm.get_user_pages(va.align_down(), pages)
        };
        self.world.oracle.may_own(self.id(), va.0, len);
        let pinned = pinned.map_err(|e| errno(call, e))?;
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

    fn swap_out(&mut self, a: i64, len: i64) -> Result<i64> {
        let call = "p.swap_out";
        self.mm
            .swap_out(Va(a as u64), length(call, len)?)
            .map(|pages| pages as i64)
            .map_err(|e| errno(call, e))
    }

    fn poison(&mut self, a: i64) -> Result<()> {
        self.mm
            .poison(Va(a as u64))
            .map_err(|e| errno("p.poison", e))
    }

    fn mlock(&mut self, a: i64, len: i64) -> Result<()> {
        let call = "p.mlock";
        let len = length(call, len)?;
        let done = self.mm.mlock(Va(a as u64), len);
        self.world.oracle.may_own(self.id(), a as u64, len);
        done.map_err(|e| errno(call, e))
    }

    fn munlock(&mut self, a: i64, len: i64) -> Result<()> {
        let call = "p.munlock";
        self.mm
            .munlock(Va(a as u64), length(call, len)?)
            .map_err(|e| errno(call, e))
    }

    fn clear_soft_dirty(&mut self) -> Result<()> {
        self.mm
            .clear_soft_dirty()
            .map_err(|e| errno("p.clear_soft_dirty", e))
    }

    fn soft_dirty(&mut self, a: i64) -> Result<bool> {
        Ok(self.mm.soft_dirty(Va(a as u64)))
    }

    fn set_memory_limit(&mut self, bytes: i64) -> Result<()> {
        let bytes = length("p.set_memory_limit", bytes)?;
        self.mm.memcg().set_limit(bytes / PAGE);
        Ok(())
    }

    fn memory_charged(&mut self) -> Result<i64> {
        Ok((self.mm.memcg().charged() * PAGE) as i64)
    }
}

/// Registers the calls on pages, and those of pins.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Pin>("Pin");
    calls!(engine, Process, "p":
        "pin"(a: i64, len: i64) => |p: &mut Process, a, len| p.pin(a, len, &Map::new());
        "pin"(a: i64, len: i64, options: Map) => |p: &mut Process, a, len, options: Map| p.pin(a, len, &options);
        "pagemap"(a: i64) => Process::pagemap;
        "swap_out"(a: i64, len: i64) => Process::swap_out;
        "poison"(a: i64) => Process::poison;
        "mlock"(a: i64, len: i64) => Process::mlock;
        "munlock"(a: i64, len: i64) => Process::munlock;
        "clear_soft_dirty"() => Process::clear_soft_dirty;
        "soft_dirty"(a: i64) => Process::soft_dirty;
        "set_memory_limit"(bytes: i64) => Process::set_memory_limit;
        "memory_charged"() => Process::memory_charged;
    );
    calls!(engine, Pin, "pin":
        "release"() => Pin::release;
    );
}
