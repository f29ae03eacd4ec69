//! Device memory in software, like the kernel's test driver.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use hmm_core::{
    DevFault, DevPagemap, DevPagemapOps, DeviceMemory, Errno, MigrateSelect, MigrateVma, Mm, Pfn,
    System, Va, VmFault, migrate_device_finalize, migrate_device_pages, migrate_device_range,
    migrate_vma_finalize, migrate_vma_pages, migrate_vma_setup, sync,
};

use super::PAGE;
use super::mirror::Mirror;

const PAGE_LEN: usize = PAGE as usize;

struct Memory {
    free: Vec<Pfn>,
    pages: BTreeMap<Pfn, Vec<u8>>,
    /// That many allocations fail.
    fail: u64,
    /// Pages that become free are not given out again.
    leaving: bool,
    /// The CPU's loads and stores fail.
    broken: bool,
}

pub struct Device {
    pub sys: Arc<System>,
    pub owner: u64,
    pub kind: DeviceMemory,
    memory: Arc<Mutex<Memory>>,
    pagemap: Mutex<Option<Arc<DevPagemap>>>,
}

struct Ops(Weak<Device>, Arc<Mutex<Memory>>);

impl Memory {
    fn read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) {
        buf.copy_from_slice(&self.pages[&pfn][offset..offset + buf.len()]);
    }

    fn write(&mut self, pfn: Pfn, offset: usize, data: &[u8]) {
        let page = self.pages.get_mut(&pfn).expect("a page in use");
        page[offset..offset + data.len()].copy_from_slice(data);
    }
}

impl DevPagemapOps for Ops {
    fn migrate_to_ram(&self, fault: &DevFault<'_>) -> Result<(), VmFault> {
        let device = self.0.upgrade().ok_or(VmFault::Sigbus)?;
        let mut args = MigrateVma::new(fault.va, fault.va + PAGE, device.select(), device.owner);
        args.fault_page = Some(fault.pfn);
        migrate_vma_setup(fault.guard, &mut args).map_err(|_| VmFault::Sigbus)?;
        let mut result = Ok(());
        if args.cpages > 0 {
            result = device.copy_home(&mut args);
            migrate_vma_pages(fault.guard, &mut args);
        }
        migrate_vma_finalize(fault.guard, &mut args);
        result
    }

    fn folio_free(&self, pfn: Pfn) {
        let mut memory = self.1.lock().unwrap();
        memory.pages.remove(&pfn).expect("freed once");
        if !memory.leaving {
            memory.free.push(pfn);
        }
    }

    fn cpu_read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) -> Result<(), VmFault> {
        let memory = self.1.lock().unwrap();
        if memory.broken {
            return Err(VmFault::Sigbus);
        }
        memory.read(pfn, offset, buf);
        Ok(())
    }

    fn cpu_write(&self, pfn: Pfn, offset: usize, data: &[u8]) -> Result<(), VmFault> {
        let mut memory = self.1.lock().unwrap();
        if memory.broken {
            return Err(VmFault::Sigbus);
        }
        memory.write(pfn, offset, data);
        Ok(())
    }
}

impl Device {
    /// A device with private memory.
    pub fn new(sys: &Arc<System>, pages: u64, owner: u64) -> Arc<Device> {
        Device::with_memory(sys, DeviceMemory::Private, pages, owner)
    }

    /// A device with coherent memory.
    pub fn coherent(sys: &Arc<System>, pages: u64, owner: u64) -> Arc<Device> {
        Device::with_memory(sys, DeviceMemory::Coherent, pages, owner)
    }

    pub fn with_memory(
        sys: &Arc<System>,
        kind: DeviceMemory,
        pages: u64,
        owner: u64,
    ) -> Arc<Device> {
        let memory = Arc::new(Mutex::new(Memory {
            free: Vec::new(),
            pages: BTreeMap::new(),
            fail: 0,
            leaving: false,
            broken: false,
        }));
        let device = Arc::new_cyclic(|weak: &Weak<Device>| {
            let ops = Arc::new(Ops(weak.clone(), Arc::clone(&memory)));
            let pagemap = DevPagemap::new(sys, kind, pages, owner, ops).unwrap();
            memory.lock().unwrap().free = (0..pages).rev().map(|i| pagemap.base() + i).collect();
            Device {
                sys: Arc::clone(sys),
                owner,
                kind,
                memory: Arc::clone(&memory),
                pagemap: Mutex::new(Some(pagemap)),
            }
        });
        assert_eq!(device.used(), 0);
        device
    }

    pub fn pagemap(&self) -> Arc<DevPagemap> {
        self.pagemap.lock().unwrap().clone().expect("not released")
    }

    pub fn used(&self) -> u64 {
        self.pagemap().used()
    }

    /// What it brings home.
    fn select(&self) -> MigrateSelect {
        match self.kind {
            DeviceMemory::Coherent => MigrateSelect::DEVICE_COHERENT,
            _ => MigrateSelect::DEVICE_PRIVATE,
        }
    }

    /// The CPU's accesses to coherent memory fail from now on, or work again.
    pub fn set_broken(&self, broken: bool) {
        self.memory.lock().unwrap().broken = broken;
    }

    pub fn fail_allocations(&self, n: u64) {
        self.memory.lock().unwrap().fail = n;
    }

    /// Opens the device for a process.
    pub fn open(self: &Arc<Device>, mm: &Arc<Mm>) -> Arc<Mirror> {
        Mirror::new(self, mm)
    }

    /// Reads or writes a page as the device sees it, wherever it is.
    pub fn read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) {
        if !self.pagemap().contains(pfn) {
            return self.sys.read_page(pfn, offset, buf).unwrap();
        }
        self.memory.lock().unwrap().read(pfn, offset, buf);
    }

    pub fn write(&self, pfn: Pfn, offset: usize, data: &[u8]) {
        self.put(pfn, offset, data);
        self.sys.set_page_dirty(pfn);
    }

    /// Changes a page without marking it, as migrations do.
    fn put(&self, pfn: Pfn, offset: usize, data: &[u8]) {
        if !self.pagemap().contains(pfn) {
            return self.sys.write_page(pfn, offset, data).unwrap();
        }
        self.memory.lock().unwrap().write(pfn, offset, data);
    }

    fn alloc(&self) -> Option<Pfn> {
        let pfn = {
            let mut memory = self.memory.lock().unwrap();
            if memory.fail > 0 {
                memory.fail -= 1;
                return None;
            }
            let pfn = memory.free.pop()?;
            // Not zero: whoever forgets to clear a page is seen.
            memory.pages.insert(pfn, vec![0x5a; PAGE_LEN]);
            pfn
        };
        self.pagemap().init_page(pfn);
        Some(pfn)
    }

    fn copy(&self, src: Pfn, dst: Pfn) {
        let mut page = [0; PAGE_LEN];
        self.read(src, 0, &mut page);
        self.put(dst, 0, &page);
        sync::yield_now();
    }

    /// The device's own tables need no care here: the migration's invalidation has emptied them, and what is
    /// accessed next is looked up again.
    ///
    /// Moves the pages of `start..end`, inside of one mapping, to the device; returns how many went.
    pub fn migrate_to_device(&self, mirror: &Mirror, start: Va, end: Va) -> Result<u64, Errno> {
        let guard = mirror.mm.mmap_read_lock();
        let mut at = start;
        let mut moved = 0;
        while at < end {
            let vma = guard
                .find_vma(at)
                .filter(|vma| vma.prot.read)
                .ok_or(Errno::EINVAL)?;
            let stop = end.min(vma.end).min(at + 64 * PAGE);
            let mut args = MigrateVma::new(at, stop, MigrateSelect::SYSTEM, self.owner);
            migrate_vma_setup(&guard, &mut args)?;
            for i in 0..args.npages() {
                if !args.src[i].is_migrate() {
                    continue;
                }
                let Some(dst) = self.alloc() else { continue };
                match args.src[i].pfn() {
                    Some(src) => self.copy(src, dst),
                    None => self.put(dst, 0, &[0; PAGE_LEN]),
                }
                args.dst[i] = hmm_core::MigratePfn::page(dst);
            }
            migrate_vma_pages(&guard, &mut args);
            moved += args
                .src
                .iter()
                .zip(&args.dst)
                .filter(|(s, d)| s.is_migrate() && d.pfn().is_some())
                .count() as u64;
            migrate_vma_finalize(&guard, &mut args);
            at = stop;
        }
        Ok(moved)
    }

    /// Moves the device's pages of `start..end` home; returns how many went.
    pub fn migrate_to_system(&self, mirror: &Mirror, start: Va, end: Va) -> Result<u64, Errno> {
        let guard = mirror.mm.mmap_read_lock();
        let mut at = start;
        let mut moved = 0;
        while at < end {
            let vma = guard
                .find_vma(at)
                .filter(|vma| vma.prot.read)
                .ok_or(Errno::EINVAL)?;
            let stop = end.min(vma.end);
            let mut args = MigrateVma::new(at, stop, self.select(), self.owner);
            migrate_vma_setup(&guard, &mut args)?;
            let copied = self.copy_home(&mut args);
            migrate_vma_pages(&guard, &mut args);
            let sources = args
                .src
                .iter()
                .filter(|src| src.pfn().is_some() && src.is_migrate());
            moved += sources.count() as u64;
            migrate_vma_finalize(&guard, &mut args);
            copied.map_err(|_| Errno::ENOMEM)?;
            at = stop;
        }
        Ok(moved)
    }

    fn copy_home(&self, args: &mut MigrateVma) -> Result<(), VmFault> {
        for i in 0..args.npages() {
            let Some(src) = args.src[i].pfn().filter(|_| args.src[i].is_migrate()) else {
                continue;
            };
            let dst = self.sys.alloc_page().ok_or(VmFault::Oom)?;
            self.sys.lock_page(dst);
            self.copy(src, dst);
            args.dst[i] = hmm_core::MigratePfn::page(dst);
        }
        Ok(())
    }

    /// Takes all device memory away.
    pub fn release(&self) {
        let pagemap = self.pagemap();
        {
            let mut memory = self.memory.lock().unwrap();
            memory.leaving = true;
            memory.free.clear();
        }
        while pagemap.used() > 0 {
            let mut args = migrate_device_range(&self.sys, pagemap.base(), pagemap.pages());
            for i in 0..args.src.len() {
                if let Some(src) = args.src[i].pfn().filter(|_| args.src[i].is_migrate()) {
                    let dst = self.sys.alloc_page().expect("memory for all pages");
                    self.sys.lock_page(dst);
                    self.copy(src, dst);
                    args.dst[i] = hmm_core::MigratePfn::page(dst);
                }
            }
            migrate_device_pages(&self.sys, &mut args);
            migrate_device_finalize(&self.sys, &mut args);
            sync::yield_now();
        }
        pagemap.remove();
    }
}
