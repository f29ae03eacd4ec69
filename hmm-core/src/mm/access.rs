//! Loads and stores of the CPU.

use std::sync::Arc;

use crate::addr::{PAGE_SIZE, TASK_SIZE, Va};
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::pte::{PresentPte, Pte};

/// Bytes to move by one access inside of a page.
enum Access<'a> {
    Load(&'a mut [u8]),
    Store(&'a [u8]),
}

impl Mm {
    /// A CPU load of `buf.len()` bytes, faulting pages in as needed. A load inside of one page happens at
    /// one moment; over a page's end it is as several loads.
    ///
    /// # Errors
    /// SIGSEGV where nothing readable is mapped, SIGBUS when the page is lost, ENOMEM when memory is full,
    /// ESRCH for a dead process. Bytes before the failing page were read.
    pub fn load(self: &Arc<Mm>, va: Va, buf: &mut [u8]) -> Result<(), Errno> {
        let len = buf.len() as u64;
        self.check_user(va, len)?;
        let mut at = va;
        let mut rest = buf;
        while !rest.is_empty() {
            let chunk = (PAGE_SIZE as usize - at.offset()).min(rest.len());
            let (now, later) = rest.split_at_mut(chunk);
            self.access(at, Access::Load(now))?;
            at = at + chunk as u64;
            rest = later;
        }
        Ok(())
    }

    /// A CPU store of `data.len()` bytes; see [`Mm::load`].
    ///
    /// # Errors
    /// As [`Mm::load`]; SIGSEGV where nothing writable is mapped.
    pub fn store(self: &Arc<Mm>, va: Va, data: &[u8]) -> Result<(), Errno> {
        self.check_user(va, data.len() as u64)?;
        let mut at = va;
        let mut rest = data;
        while !rest.is_empty() {
            let chunk = (PAGE_SIZE as usize - at.offset()).min(rest.len());
            let (now, later) = rest.split_at(chunk);
            self.access(at, Access::Store(now))?;
            at = at + chunk as u64;
            rest = later;
        }
        Ok(())
    }

    fn check_user(&self, va: Va, len: u64) -> Result<(), Errno> {
        match va.0.checked_add(len) {
            Some(end) if end <= TASK_SIZE => Ok(()),
            _ => Err(Errno::SIGSEGV),
        }
    }

    fn access(self: &Arc<Mm>, va: Va, mut access: Access<'_>) -> Result<(), Errno> {
        let write = matches!(access, Access::Store(_));
        loop {
            match self.try_access(va, &mut access) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(_) => return Err(Errno::SIGBUS),
            }
            let guard = self.mmap_read_lock();
            self.check_alive()?;
            let vma = guard.vma(va).ok_or(Errno::SIGSEGV)?;
            if !vma.prot.read || (write && !vma.prot.write) {
                return Err(Errno::SIGSEGV);
            }
            let flags = FaultFlags {
                write,
                unshare: false,
            };
            match handle_mm_fault(&guard, vma, va.align_down(), flags) {
                Ok(()) => {}
                Err(VmFault::Oom) => return Err(Errno::ENOMEM),
                Err(VmFault::Sigbus) => return Err(Errno::SIGBUS),
                Err(VmFault::Retry) => {
                    let missing = guard.missing(va.align_down(), write);
                    drop(guard);
                    missing.wait();
                }
            }
        }
    }

    /// The access itself, if the page table allows it. The table stays locked over it, so that nobody
    /// takes the page away halfway.
    fn try_access(&self, va: Va, access: &mut Access<'_>) -> Result<bool, VmFault> {
        let mut pt = self.pt.lock();
        let entry = pt.get_sized(va.page());
        let Pte::Present(pte) = entry.pte else {
            return Ok(false);
        };
        let write = matches!(access, Access::Store(_));
        if pte.none || (write && !pte.write) {
            return Ok(false);
        }
        let used = PresentPte {
            young: true,
            dirty: pte.dirty || write,
            soft_dirty: pte.soft_dirty || write,
            ..pte
        };
        if used != pte {
            pt.replace(entry, Pte::Present(used));
        }
        let pfn = pte.pfn + (va.page() - entry.page);
        match access {
            Access::Load(buf) => self.sys.read_page(pfn, va.offset(), buf)?,
            Access::Store(data) => self.sys.write_page(pfn, va.offset(), data)?,
        }
        Ok(true)
    }
}
