//! The bytes of pages, wherever the CPU can reach them.

use std::sync::Arc;

use crate::addr::{PAGE_SIZE, Pfn};
use crate::memremap::{DevPagemapOps, DeviceMemory, VmFault};
use crate::system::System;

impl System {
    /// What kind of device memory a page is in; none for system memory.
    pub fn device_memory(&self, pfn: Pfn) -> Option<DeviceMemory> {
        self.frames.kind_of(pfn)
    }

    /// The owner of the device memory that a page is in; none for system memory.
    pub fn device_owner(&self, pfn: Pfn) -> Option<u64> {
        self.frames.owner_of(pfn)
    }

    /// Whether only a device reaches the page.
    pub fn is_device_private(&self, pfn: Pfn) -> bool {
        pfn.is_device() && self.device_memory(pfn) != Some(DeviceMemory::Coherent)
    }

    /// Copies bytes of one page of system or coherent memory, from byte `offset` on, as a CPU load does.
    /// Panics for device-private memory: nothing but a bug can load from there.
    ///
    /// # Errors
    /// [`VmFault::Sigbus`] when coherent memory does not answer.
    pub fn read_page(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) -> Result<(), VmFault> {
        match self.coherent(pfn)? {
            Some(ops) => ops.cpu_read(pfn, offset, buf),
            None => {
                self.phys().read(pfn, offset, buf);
                Ok(())
            }
        }
    }

    /// Overwrites bytes of one page; see [`System::read_page`].
    ///
    /// # Errors
    /// As [`System::read_page`].
    pub fn write_page(&self, pfn: Pfn, offset: usize, data: &[u8]) -> Result<(), VmFault> {
        match self.coherent(pfn)? {
            Some(ops) => ops.cpu_write(pfn, offset, data),
            None => {
                self.phys().write(pfn, offset, data);
                Ok(())
            }
        }
    }

    /// Copies a whole page with the CPU; see [`System::read_page`].
    ///
    /// # Errors
    /// As [`System::read_page`].
    pub fn copy_page(&self, dst: Pfn, src: Pfn) -> Result<(), VmFault> {
        if !dst.is_device() && !src.is_device() {
            self.phys().copy_page(dst, src);
            return Ok(());
        }
        let mut page = [0; PAGE_SIZE as usize];
        self.read_page(src, 0, &mut page)?;
        self.write_page(dst, 0, &page)
    }

    /// The driver to ask for a page's bytes; none for system memory.
    fn coherent(&self, pfn: Pfn) -> Result<Option<Arc<dyn DevPagemapOps>>, VmFault> {
        if !pfn.is_device() {
            return Ok(None);
        }
        assert!(
            !self.is_device_private(pfn),
            "the CPU accessed device-private {pfn}"
        );
        self.frames.ops_of(pfn).map(Some).ok_or(VmFault::Sigbus)
    }
}
