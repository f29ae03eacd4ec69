//! System memory: the pages that hmm-core manages, and above them a window for the driver's rings and tables.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hmm_core::{PAGE_SIZE, Pfn, PhysMem};

use super::paged::PagedMemory;
use crate::rc::BusError;

/// Bytes of the window above the managed pages.
pub const DMA_BYTES: u64 = 16 << 20;

/// System memory. A page's bus address is its number times 4096.
#[derive(Debug)]
pub struct SystemMemory {
    bytes: Mutex<PagedMemory>,
    ram: u64,
    free: Mutex<Free>,
    touches: AtomicU64,
}

/// Free runs of the window: address, bytes.
#[derive(Debug)]
struct Free(BTreeMap<u64, u64>);

impl SystemMemory {
    /// `ram` bytes (whole pages) of zeros for hmm-core, and the window above.
    #[must_use]
    pub fn new(ram: u64) -> Self {
        Self {
            bytes: Mutex::new(PagedMemory::new((ram + DMA_BYTES) as usize)),
            ram,
            free: Mutex::new(Free(BTreeMap::from([(ram, DMA_BYTES)]))),
            touches: AtomicU64::new(0),
        }
    }

    /// Pages that hmm-core manages.
    #[must_use]
    pub fn ram_pages(&self) -> u64 {
        self.ram / PAGE_SIZE
    }

    /// Is this an address of the window?
    #[must_use]
    pub fn is_dma(&self, addr: u64) -> bool {
        addr >= self.ram
    }

    /// Takes zeroed memory from the window: the lowest place that fits.
    pub fn alloc(&self, bytes: u64, align: u64) -> Option<u64> {
        let bytes = bytes.max(1).next_multiple_of(64);
        let align = align.max(64);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, len, addr) = free.0.iter().find_map(|(&start, &len)| {
            let addr = start.next_multiple_of(align);
            (addr + bytes <= start + len).then_some((start, len, addr))
        })?;
        free.0.remove(&start);
        if addr > start {
            free.0.insert(start, addr - start);
        }
        if addr + bytes < start + len {
            free.0.insert(addr + bytes, start + len - addr - bytes);
        }
        drop(free);
        self.lock().zero(addr as usize, bytes as usize);
        Some(addr)
    }

    /// Gives memory of the window back.
    pub fn free(&self, addr: u64, bytes: u64) {
        let mut bytes = bytes.max(1).next_multiple_of(64);
        let mut addr = addr;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(len) = free.0.remove(&(addr + bytes)) {
            bytes += len;
        }
        if let Some((&before, &len)) = free.0.range(..addr).next_back()
            && before + len == addr
        {
            addr = before;
            bytes += len;
        }
        free.0.insert(addr, bytes);
    }

    /// Bytes of the window that are free.
    #[must_use]
    pub fn dma_free(&self) -> u64 {
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .values()
            .sum()
    }

    /// Reads at a bus address.
    ///
    /// # Errors
    /// There is no memory.
    pub fn bus_read(&self, addr: u64, buf: &mut [u8]) -> Result<(), BusError> {
        let bytes = self.lock();
        let from = range(&bytes, addr, buf.len())?;
        bytes.read(from, buf);
        Ok(())
    }

    /// Writes at a bus address.
    ///
    /// # Errors
    /// There is no memory.
    pub fn bus_write(&self, addr: u64, data: &[u8]) -> Result<(), BusError> {
        let mut bytes = self.lock();
        let to = range(&bytes, addr, data.len())?;
        bytes.write(to, data);
        Ok(())
    }

    /// How often processors touched memory so far: tells whether the host is at work.
    #[must_use]
    pub fn touches(&self) -> u64 {
        self.touches.load(Ordering::Relaxed)
    }

    fn touch(&self) {
        self.touches.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, PagedMemory> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an access starts, if there is memory for all of it.
fn range(bytes: &PagedMemory, addr: u64, len: usize) -> Result<usize, BusError> {
    let start = usize::try_from(addr).map_err(|_| BusError(addr))?;
    start
        .checked_add(len)
        .filter(|&end| end <= bytes.len())
        .map(|_| start)
        .ok_or(BusError(addr))
}

fn page(pfn: Pfn, offset: usize) -> usize {
    (pfn.0 * PAGE_SIZE) as usize + offset
}

impl PhysMem for SystemMemory {
    fn read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) {
        self.touch();
        self.lock().read(page(pfn, offset), buf);
    }

    fn write(&self, pfn: Pfn, offset: usize, data: &[u8]) {
        self.touch();
        self.lock().write(page(pfn, offset), data);
    }

    fn zero_page(&self, pfn: Pfn) {
        self.touch();
        self.lock().zero(page(pfn, 0), PAGE_SIZE as usize);
    }

    fn copy_page(&self, dst: Pfn, src: Pfn) {
        self.touch();
        let mut data = [0; PAGE_SIZE as usize];
        let mut bytes = self.lock();
        bytes.read(page(src, 0), &mut data);
        bytes.write(page(dst, 0), &data);
    }
}
