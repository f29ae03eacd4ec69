//! What the unit tests share.

use std::sync::{Arc, Mutex};

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::memremap::{DevFault, DevPagemapOps, VmFault};
use crate::mm::Mm;
use crate::phys::PhysMem;
use crate::{MmapOptions, NoTrace, Prot, System, SystemConfig};

/// System memory that forgets what it is told: for tests of states, not contents.
pub(crate) struct NoRam;

impl PhysMem for NoRam {
    fn read(&self, _pfn: Pfn, _offset: usize, _buf: &mut [u8]) {}
    fn write(&self, _pfn: Pfn, _offset: usize, _data: &[u8]) {}
    fn zero_page(&self, _pfn: Pfn) {}
    fn copy_page(&self, _dst: Pfn, _src: Pfn) {}
}

/// A driver that notes which pages became free.
#[derive(Default)]
pub(crate) struct Freed(pub Mutex<Vec<Pfn>>);

impl DevPagemapOps for Freed {
    fn migrate_to_ram(&self, _fault: &DevFault<'_>) -> Result<(), VmFault> {
        Err(VmFault::Sigbus)
    }

    fn folio_free(&self, pfn: Pfn) {
        self.0.lock().unwrap().push(pfn);
    }
}

/// A system of 32 pages.
pub(crate) fn system() -> Arc<System> {
    System::new(SystemConfig::new(32), Arc::new(NoRam), Arc::new(NoTrace))
}

/// A process with `pages` writable pages.
pub(crate) fn process(sys: &Arc<System>, pages: u64) -> (Arc<Mm>, Va) {
    let mm = sys.create_mm();
    let va = mm
        .mmap(pages * PAGE_SIZE, Prot::READ_WRITE, MmapOptions::default())
        .unwrap();
    (mm, va)
}
