//! The whole of system memory and everybody who uses it.

use std::sync::Arc;

use crate::addr::Pfn;
use crate::config::SystemConfig;
use crate::mm::Mm;
use crate::phys::PhysMem;
use crate::trace::Tracer;

/// System memory, its pages, and the processes.
pub struct System {}

impl System {
    /// A system without processes.
    pub fn new(config: SystemConfig, phys: Arc<dyn PhysMem>, tracer: Arc<dyn Tracer>) -> Arc<System> {
        let _ = (config, phys, tracer);
        Arc::new(System {})
    }
    /// A new process with an empty address space.
    pub fn create_mm(self: &Arc<System>) -> Arc<Mm> {
        unreachable!()
    }
    /// Checks that hold at any time; the error names what is wrong.
    pub fn check_invariants(&self) -> Result<(), String> {
        Ok(())
    }
    /// As [`System::check_invariants`], and also what holds only while no operation is under way.
    pub fn check_quiescent(&self) -> Result<(), String> {
        Ok(())
    }
    /// System pages that nobody uses.
    pub fn free_pages(&self) -> u64 {
        0
    }
    /// Takes a free system page (reference count 1, unlocked, contents undefined). None when there is none.
    pub fn alloc_page(&self) -> Option<Pfn> {
        None
    }
    /// Takes another reference.
    pub fn get_page(&self, _pfn: Pfn) {}
    /// Drops a reference; the last one frees the page.
    pub fn put_page(&self, _pfn: Pfn) {}
    /// Locks a page, waiting for who holds it.
    pub fn lock_page(&self, _pfn: Pfn) {}
    /// Locks a page if nobody has it locked.
    pub fn try_lock_page(&self, _pfn: Pfn) -> bool {
        false
    }
    /// Unlocks a page.
    pub fn unlock_page(&self, _pfn: Pfn) {}
    /// Notes that a page's contents changed (a device wrote it).
    pub fn set_page_dirty(&self, _pfn: Pfn) {}
    /// The page that reads as zero.
    pub fn zero_page(&self) -> Pfn {
        Pfn(0)
    }
    /// The contents of system memory.
    pub fn phys(&self) -> &Arc<dyn PhysMem> {
        unreachable!()
    }
}
