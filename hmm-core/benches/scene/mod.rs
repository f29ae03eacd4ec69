//! What the benchmarks share: memory without contents, and a device that only hands out pages. So what is measured is
//! the memory manager, not the copying of bytes.

#![allow(dead_code)] // Each benchmark uses its part.

use std::sync::{Arc, Mutex, PoisonError};

use hmm_core::{
    DevFault, DevPagemap, DevPagemapOps, DeviceMemory, HmmPfn, HmmRange, MigratePfn, MigrateSelect,
    MigrateVma, Mm, MmapOptions, MmuIntervalNotifier, MmuIntervalNotifierOps, MmuNotifierRange,
    NoTrace, PAGE_SIZE, Pfn, PhysMem, Prot, System, SystemConfig, Va, VmFault, hmm_range_fault,
    migrate_vma_finalize, migrate_vma_pages, migrate_vma_setup,
};

/// Sizes of the address spaces, in pages.
pub const SIZES: [u64; 3] = [1 << 10, 32 << 10, 1 << 20];
/// Pages that are looked up or migrated at once, as a driver does.
const CHUNK: u64 = 512;
const OWNER: u64 = 1;

/// System memory that remembers nothing.
struct NoBytes;

impl PhysMem for NoBytes {
    fn read(&self, _: Pfn, _: usize, buf: &mut [u8]) {
        buf.fill(0);
    }
    fn write(&self, _: Pfn, _: usize, _: &[u8]) {}
    fn zero_page(&self, _: Pfn) {}
    fn copy_page(&self, _: Pfn, _: Pfn) {}
}

/// A subscriber without a device.
struct Follower;

impl MmuIntervalNotifierOps for Follower {
    fn invalidate(&self, sub: &MmuIntervalNotifier, _: &MmuNotifierRange, seq: u64) -> bool {
        sub.set_seq(seq);
        true
    }
}

/// The device's free pages.
#[derive(Default)]
struct Pool(Mutex<Vec<Pfn>>);

impl DevPagemapOps for Pool {
    fn migrate_to_ram(&self, _: &DevFault<'_>) -> Result<(), VmFault> {
        Err(VmFault::Sigbus)
    }

    fn folio_free(&self, pfn: Pfn) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pfn);
    }
}

/// Memory for address spaces of `pages` pages.
pub struct Scene {
    pub sys: Arc<System>,
    pub pages: u64,
    pagemap: Arc<DevPagemap>,
    pool: Arc<Pool>,
}

/// An address space with one mapping and one subscriber.
pub struct Space {
    pub mm: Arc<Mm>,
    pub at: Va,
    pub len: u64,
    pub notifier: Arc<MmuIntervalNotifier>,
}

impl Drop for Space {
    fn drop(&mut self) {
        self.notifier.remove();
        self.mm.exit();
    }
}

impl Scene {
    pub fn new(pages: u64) -> Self {
        let sys = System::new(
            SystemConfig::new(2 * pages + 1024),
            Arc::new(NoBytes),
            Arc::new(NoTrace),
        );
        let pool = Arc::new(Pool::default());
        let ops = Arc::clone(&pool) as Arc<dyn DevPagemapOps>;
        let pagemap = DevPagemap::new(&sys, DeviceMemory::Private, pages, OWNER, ops)
            .expect("device memory is added");
        *pool.0.lock().unwrap_or_else(PoisonError::into_inner) =
            (0..pages).rev().map(|n| pagemap.base() + n).collect();
        Self {
            sys,
            pages,
            pagemap,
            pool,
        }
    }

    /// An address space with nothing in memory.
    pub fn empty(&self, huge: bool) -> Space {
        let mm = self.sys.create_mm();
        let len = self.pages * PAGE_SIZE;
        let options = MmapOptions {
            huge,
            ..MmapOptions::default()
        };
        let at = mm
            .mmap(len, Prot::READ_WRITE, options)
            .expect("there is room");
        let notifier = subscribe(&mm, at, len);
        Space {
            mm,
            at,
            len,
            notifier,
        }
    }

    /// An address space with all pages in memory.
    pub fn full(&self, huge: bool) -> Space {
        let space = self.empty(huge);
        space.store_all();
        space
    }

    /// An address space with all pages in device memory.
    pub fn on_device(&self) -> Space {
        let space = self.full(false);
        self.to_device(&space);
        space
    }

    fn alloc(&self) -> Pfn {
        let pfn = self
            .pool
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .expect("device memory for all pages");
        self.pagemap.init_page(pfn);
        pfn
    }

    pub fn to_device(&self, space: &Space) {
        self.migrate(space, MigrateSelect::SYSTEM, || self.alloc());
    }

    pub fn to_system(&self, space: &Space) {
        self.migrate(space, MigrateSelect::DEVICE_PRIVATE, || {
            let pfn = self.sys.alloc_page().expect("memory for all pages");
            self.sys.lock_page(pfn);
            pfn
        });
    }

    fn migrate(&self, space: &Space, select: MigrateSelect, alloc: impl Fn() -> Pfn) {
        let guard = space.mm.mmap_read_lock();
        for (start, end) in space.chunks() {
            let mut args = MigrateVma::new(start, end, select, OWNER);
            migrate_vma_setup(&guard, &mut args).expect("a range that can migrate");
            assert_eq!(args.cpages, args.npages() as u64);
            for i in 0..args.npages() {
                args.dst[i] = MigratePfn::page(alloc());
            }
            migrate_vma_pages(&guard, &mut args);
            migrate_vma_finalize(&guard, &mut args);
        }
    }
}

/// A subscription to a range.
pub fn subscribe(mm: &Arc<Mm>, at: Va, len: u64) -> Arc<MmuIntervalNotifier> {
    MmuIntervalNotifier::insert(mm, at, len, Arc::new(Follower)).expect("a subscription")
}

impl Space {
    fn chunks(&self) -> impl Iterator<Item = (Va, Va)> {
        let (at, end) = (self.at, self.at + self.len);
        (0..self.len.div_ceil(CHUNK * PAGE_SIZE)).map(move |n| {
            let start = at + n * CHUNK * PAGE_SIZE;
            (start, end.min(start + CHUNK * PAGE_SIZE))
        })
    }

    /// One CPU store to each page.
    pub fn store_all(&self) {
        for page in (0..self.len).step_by(PAGE_SIZE as usize) {
            self.mm.store(self.at + page, &[1]).expect("a store");
        }
    }

    /// One CPU load from each page.
    pub fn load_all(&self) {
        let mut byte = [0];
        for page in (0..self.len).step_by(PAGE_SIZE as usize) {
            self.mm.load(self.at + page, &mut byte).expect("a load");
        }
    }

    /// Looks all pages up, with these request flags.
    pub fn range_fault(&self, flags: u64) {
        let mut pfns = vec![HmmPfn::default(); CHUNK as usize];
        let guard = self.mm.mmap_read_lock();
        for (start, end) in self.chunks() {
            let pages = ((end - start) / PAGE_SIZE) as usize;
            let mut range = HmmRange {
                notifier: Arc::clone(&self.notifier),
                notifier_seq: self.notifier.read_begin(),
                start,
                end,
                pfns: &mut pfns[..pages],
                default_flags: flags,
                pfn_flags_mask: 0,
                dev_private_owner: OWNER,
            };
            // What a fault replaces invalidates the look: then again, as a driver does.
            while hmm_range_fault(&guard, &mut range).is_err() {
                range.notifier_seq = self.notifier.read_begin();
            }
        }
    }
}
