//! System memory: seen by hmm-core as pages, by the driver as DMA memory, by the device over its link.

use super::{PAGE, page_addr};
use hmm_core::{Pfn, PhysMem};
use hmmu_driver::hw::{DmaAddr, DmaMemory, HwError};
use hmmu_model::{BusAddr, HostMemory, LinkError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Bytes of DMA memory behind the pages of hmm-core.
const DMA_BYTES: u64 = 8 << 20;

pub struct Ram {
    bytes: Mutex<Vec<u8>>,
    pages: u64,
    /// Reads by the device, and which of them fails.
    reads: AtomicU64,
    fails: AtomicU64,
}

impl Ram {
    pub fn new(pages: u64) -> Self {
        Self {
            bytes: Mutex::new(vec![0; (pages * PAGE + DMA_BYTES) as usize]),
            pages,
            reads: AtomicU64::new(0),
            fails: AtomicU64::new(0),
        }
    }

    /// Makes the `nth` read of the device from now on fail (1: the next one).
    pub fn fail_read(&self, nth: u64) {
        self.fails
            .store(self.reads.load(Ordering::Relaxed) + nth, Ordering::Relaxed);
    }

    fn read(&self, at: u64, buf: &mut [u8]) -> bool {
        let bytes = self.bytes.lock().expect("ram");
        match bytes.get(at as usize..at as usize + buf.len()) {
            Some(from) => {
                buf.copy_from_slice(from);
                true
            }
            None => false,
        }
    }

    fn write(&self, at: u64, data: &[u8]) -> bool {
        let mut bytes = self.bytes.lock().expect("ram");
        match bytes.get_mut(at as usize..at as usize + data.len()) {
            Some(to) => {
                to.copy_from_slice(data);
                true
            }
            None => false,
        }
    }
}

/// For hmm-core.
pub struct Phys(pub Arc<Ram>);

impl PhysMem for Phys {
    fn read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) {
        assert!(
            self.0.read(pfn.0 * PAGE + offset as u64, buf),
            "CPU read of {pfn}"
        );
    }

    fn write(&self, pfn: Pfn, offset: usize, data: &[u8]) {
        assert!(
            self.0.write(pfn.0 * PAGE + offset as u64, data),
            "CPU write of {pfn}"
        );
    }

    fn zero_page(&self, pfn: Pfn) {
        self.write(pfn, 0, &[0; PAGE as usize]);
    }

    fn copy_page(&self, dst: Pfn, src: Pfn) {
        let mut page = [0; PAGE as usize];
        self.read(src, 0, &mut page);
        self.write(dst, 0, &page);
    }
}

/// For the driver.
pub struct Dma {
    ram: Arc<Ram>,
    next: Mutex<u64>,
    spare: Mutex<BTreeMap<u64, Vec<u64>>>,
}

impl Dma {
    pub fn new(ram: Arc<Ram>) -> Self {
        let next = Mutex::new(ram.pages * PAGE);
        Self {
            ram,
            next,
            spare: Mutex::default(),
        }
    }
}

impl DmaMemory for Dma {
    fn alloc(&self, bytes: u64, align: u64) -> Result<DmaAddr, HwError> {
        let spare = self
            .spare
            .lock()
            .expect("spare")
            .get_mut(&bytes)
            .and_then(Vec::pop);
        let at = match spare {
            Some(at) => at,
            None => {
                let mut next = self.next.lock().expect("next");
                let at = next.next_multiple_of(align);
                if at + bytes > self.ram.pages * PAGE + DMA_BYTES {
                    return Err(HwError::OutOfDmaMemory { bytes });
                }
                *next = at + bytes;
                at
            }
        };
        assert!(self.ram.write(at, &vec![0; bytes as usize]));
        Ok(DmaAddr(at))
    }

    fn free(&self, addr: DmaAddr, bytes: u64) {
        self.spare
            .lock()
            .expect("spare")
            .entry(bytes)
            .or_default()
            .push(addr.0);
    }

    fn read(&self, addr: DmaAddr, buf: &mut [u8]) {
        assert!(self.ram.read(addr.0, buf), "driver read at {addr:?}");
    }

    fn write(&self, addr: DmaAddr, data: &[u8]) {
        assert!(self.ram.write(addr.0, data), "driver write at {addr:?}");
    }

    fn page_addr(&self, pfn: Pfn) -> DmaAddr {
        page_addr(pfn)
    }
}

/// For the device.
pub struct Link(pub Arc<Ram>);

impl HostMemory for Link {
    fn read(&mut self, addr: BusAddr, buf: &mut [u8]) -> Result<(), LinkError> {
        let number = self.0.reads.fetch_add(1, Ordering::Relaxed) + 1;
        if number == self.0.fails.load(Ordering::Relaxed) {
            return Err(LinkError::Timeout);
        }
        if self.0.read(addr.0, buf) {
            Ok(())
        } else {
            Err(LinkError::Unsupported)
        }
    }

    fn write(&mut self, addr: BusAddr, data: &[u8]) {
        assert!(self.0.write(addr.0, data), "device write at {addr:?}");
    }

    fn cas64(&mut self, addr: BusAddr, expected: u64, new: u64) -> Result<u64, LinkError> {
        let mut bytes = [0; 8];
        self.read(addr, &mut bytes)?;
        let old = u64::from_le_bytes(bytes);
        if old == expected {
            self.write(addr, &new.to_le_bytes());
        }
        Ok(old)
    }

    fn cas32(&mut self, addr: BusAddr, expected: u32, new: u32) -> Result<u32, LinkError> {
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes)?;
        let old = u32::from_le_bytes(bytes);
        if old == expected {
            self.write(addr, &new.to_le_bytes());
        }
        Ok(old)
    }
}
