//! Device memory in software, like the kernel's test driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};

use hmm_core::{
    DevFault, DevPagemap, DevPagemapOps, DeviceMemory, Errno, HUGE_ORDER, HUGE_PAGES, HUGE_SIZE,
    MigratePfn, MigrateSelect, MigrateVma, Mm, Pfn, System, Va, VmFault, migrate_device_finalize,
    migrate_device_pages, migrate_device_range, migrate_device_range_compound,
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
    /// That many allocations of 2 MiB fail, here or at home.
    fail_huge: u64,
    /// It migrates 2 MiB at once where it can.
    huge: bool,
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
        let (start, len) = match fault.huge_start().filter(|_| device.is_huge()) {
            Some(start) => (start, HUGE_SIZE),
            None => (fault.va, PAGE),
        };
        let mut args = MigrateVma::new(start, start + len, device.select(), device.owner);
        args.fault_page = Some(fault.pfn);
        migrate_vma_setup(fault.guard, &mut args).map_err(|_| VmFault::Sigbus)?;
        let mut result = Ok(());
        if args.cpages > 0 {
            let all = device.copy_home(&mut args);
            // Only the page of the fault has to come.
            let own = ((fault.va - start) / PAGE) as usize;
            let home = args.dst[0].is_compound() || args.dst[own].pfn().is_some();
            result = if home { Ok(()) } else { all };
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
            fail_huge: 0,
            huge: false,
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
        let select = match self.kind {
            DeviceMemory::Coherent => MigrateSelect::DEVICE_COHERENT,
            _ => MigrateSelect::DEVICE_PRIVATE,
        };
        self.sized(select)
    }

    fn sized(&self, select: MigrateSelect) -> MigrateSelect {
        if self.is_huge() {
            select.compound()
        } else {
            select
        }
    }

    /// Migrates 2 MiB at once where it can from now on.
    pub fn set_huge(&self) {
        self.memory.lock().unwrap().huge = true;
    }

    fn is_huge(&self) -> bool {
        self.memory.lock().unwrap().huge
    }

    pub fn fail_huge_allocations(&self, n: u64) {
        self.memory.lock().unwrap().fail_huge = n;
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

    fn fails_huge(&self) -> bool {
        let mut memory = self.memory.lock().unwrap();
        let fails = memory.fail_huge > 0;
        memory.fail_huge -= u64::from(fails);
        fails
    }

    fn alloc_huge(&self) -> Option<Pfn> {
        if self.fails_huge() {
            return None;
        }
        let first = {
            let mut memory = self.memory.lock().unwrap();
            let free: BTreeSet<Pfn> = memory.free.iter().copied().collect();
            let first = free.iter().copied().find(|&pfn| {
                pfn.is_huge_aligned() && (0..HUGE_PAGES).all(|n| free.contains(&(pfn + n)))
            })?;
            memory
                .free
                .retain(|&pfn| pfn < first || pfn >= first + HUGE_PAGES);
            for n in 0..HUGE_PAGES {
                memory.pages.insert(first + n, vec![0x5a; PAGE_LEN]);
            }
            first
        };
        self.pagemap().init_folio(first, HUGE_ORDER);
        Some(first)
    }

    fn alloc_home(&self) -> Option<Pfn> {
        let pfn = self.sys.alloc_page()?;
        self.sys.lock_page(pfn);
        Some(pfn)
    }

    fn alloc_huge_home(&self) -> Option<Pfn> {
        if self.fails_huge() {
            return None;
        }
        let first = self.sys.alloc_folio(HUGE_ORDER)?;
        for n in 0..HUGE_PAGES {
            self.sys.lock_page(first + n);
        }
        Some(first)
    }

    /// Fills a destination: with the source's contents, or zeros where there was no page.
    fn fill(&self, src: Option<Pfn>, dst: Pfn) {
        let mut page = [0; PAGE_LEN];
        if let Some(src) = src {
            self.read(src, 0, &mut page);
        }
        self.put(dst, 0, &page);
        sync::yield_now();
    }

    /// Allocates and fills destinations for all sources that go. What gets none stays. Returns whether all did.
    fn copy_all(
        &self,
        src: &[MigratePfn],
        dst: &mut [MigratePfn],
        alloc: impl Fn() -> Option<Pfn>,
        alloc_huge: impl Fn() -> Option<Pfn>,
    ) -> bool {
        let mut all = true;
        for i in 0..src.len() {
            if !src[i].is_migrate() {
                continue;
            }
            let from = |n| src[i].pfn().map(|first| first + n);
            let whole = if src[i].is_compound() {
                alloc_huge()
            } else {
                None
            };
            if let Some(first) = whole {
                for n in 0..HUGE_PAGES {
                    self.fill(from(n), first + n);
                }
                dst[i] = MigratePfn::huge(first);
                continue;
            }
            for n in 0..src[i].pages() {
                match alloc() {
                    Some(page) => {
                        self.fill(from(n), page);
                        dst[i + n as usize] = MigratePfn::page(page);
                    }
                    None => all = false,
                }
            }
        }
        all
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
            let chunk = if self.is_huge() {
                at.huge_align_down() + HUGE_SIZE
            } else {
                at + 64 * PAGE
            };
            let stop = end.min(vma.end).min(chunk);
            let select = self.sized(MigrateSelect::SYSTEM);
            let mut args = MigrateVma::new(at, stop, select, self.owner);
            migrate_vma_setup(&guard, &mut args)?;
            let alloc = || self.alloc();
            self.copy_all(&args.src, &mut args.dst, alloc, || self.alloc_huge());
            migrate_vma_pages(&guard, &mut args);
            let going = args.src.iter().filter(|src| src.is_migrate());
            moved += going.map(|src| src.pages()).sum::<u64>();
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
            moved += sources.map(|src| src.pages()).sum::<u64>();
            migrate_vma_finalize(&guard, &mut args);
            copied.map_err(|_| Errno::ENOMEM)?;
            at = stop;
        }
        Ok(moved)
    }

    fn copy_home(&self, args: &mut MigrateVma) -> Result<(), VmFault> {
        // Places without page are no business of this direction.
        for src in args.src.iter_mut().filter(|src| src.pfn().is_none()) {
            *src = MigratePfn::default();
        }
        let alloc = || self.alloc_home();
        let all = self.copy_all(&args.src, &mut args.dst, alloc, || self.alloc_huge_home());
        if all { Ok(()) } else { Err(VmFault::Oom) }
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
            let range = if self.is_huge() {
                migrate_device_range_compound
            } else {
                migrate_device_range
            };
            let mut args = range(&self.sys, pagemap.base(), pagemap.pages());
            let alloc = || self.alloc_home();
            let all = self.copy_all(&args.src, &mut args.dst, alloc, || self.alloc_huge_home());
            assert!(all, "memory for all pages");
            migrate_device_pages(&self.sys, &mut args);
            migrate_device_finalize(&self.sys, &mut args);
            sync::yield_now();
        }
        pagemap.remove();
    }
}
