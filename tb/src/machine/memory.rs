//! System memory: the pages that hmm-core manages, and above them a window for the driver's rings and tables.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hmm_core::{PAGE_SIZE, Pfn, PhysMem};

use crate::rc::BusError;

/// Bytes of the window above the managed pages.
pub const DMA_BYTES: u64 = 16 << 20;

/// System memory. A page's bus address is its number times 4096.
#[derive(Debug)]
pub struct SystemMemory {
    bytes: Mutex<Vec<u8>>,
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
            bytes: Mutex::new(vec![0; (ram + DMA_BYTES) as usize]),
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
        self.lock()[addr as usize..(addr + bytes) as usize].fill(0);
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
        buf.copy_from_slice(&bytes[from]);
        Ok(())
    }

    /// Writes at a bus address.
    ///
    /// # Errors
    /// There is no memory.
    pub fn bus_write(&self, addr: u64, data: &[u8]) -> Result<(), BusError> {
        let mut bytes = self.lock();
        let to = range(&bytes, addr, data.len())?;
        bytes[to].copy_from_slice(data);
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

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn range(bytes: &[u8], addr: u64, len: usize) -> Result<std::ops::Range<usize>, BusError> {
    let start = usize::try_from(addr).map_err(|_| BusError(addr))?;
    let end = start
        .checked_add(len)
        .filter(|&end| end <= bytes.len())
        .ok_or(BusError(addr))?;
    Ok(start..end)
}

fn page(pfn: Pfn, offset: usize, len: usize) -> std::ops::Range<usize> {
    let start = (pfn.0 * PAGE_SIZE) as usize + offset;
    start..start + len
}

impl PhysMem for SystemMemory {
    fn read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) {
        self.touch();
        buf.copy_from_slice(&self.lock()[page(pfn, offset, buf.len())]);
    }

    fn write(&self, pfn: Pfn, offset: usize, data: &[u8]) {
        self.touch();
        self.lock()[page(pfn, offset, data.len())].copy_from_slice(data);
    }

    fn zero_page(&self, pfn: Pfn) {
        self.touch();
        self.lock()[page(pfn, 0, PAGE_SIZE as usize)].fill(0);
    }

    fn copy_page(&self, dst: Pfn, src: Pfn) {
        self.touch();
        let to = page(dst, 0, PAGE_SIZE as usize).start;
        self.lock()
            .copy_within(page(src, 0, PAGE_SIZE as usize), to);
    }
}
