//! The whole of system memory and everybody who uses it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::addr::{HUGE_ORDER, HUGE_PAGES, Pfn};
use crate::config::SystemConfig;
use crate::frames::Frames;
use crate::huge_zero::HugeZero;
use crate::memcg::Memcg;
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::page_cache::PageCache;
use crate::phys::PhysMem;
use crate::swap::SwapSpace;
use crate::trace::Tracer;

/// System memory, its pages, and the processes.
pub struct System {
    config: SystemConfig,
    phys: Arc<dyn PhysMem>,
    tracer: Arc<dyn Tracer>,
    pub(crate) frames: Frames,
    pub(crate) swap: SwapSpace,
    zero_page: Pfn,
    pub(crate) huge_zero: HugeZero,
    mms: Mutex<BTreeMap<u64, Weak<Mm>>>,
    next_mm: AtomicU64,
    caches: Mutex<Vec<Weak<PageCache>>>,
    /// Broken rules that were seen where no error can be returned.
    violations: Mutex<Vec<String>>,
}

impl System {
    /// A system without processes. One page becomes the zero page; `config` must leave at least that one.
    pub fn new(
        config: SystemConfig,
        phys: Arc<dyn PhysMem>,
        tracer: Arc<dyn Tracer>,
    ) -> Arc<System> {
        let frames = Frames::new(config);
        let zero_page = frames
            .alloc()
            .expect("the configuration leaves no page to use");
        phys.zero_page(zero_page);
        Arc::new(System {
            config,
            phys,
            tracer,
            frames,
            swap: SwapSpace::new(config.swap_pages),
            zero_page,
            huge_zero: HugeZero::default(),
            mms: Mutex::default(),
            next_mm: AtomicU64::new(1),
            caches: Mutex::default(),
            violations: Mutex::default(),
        })
    }

    /// A new process with an empty address space, in a memory control group of its own.
    pub fn create_mm(self: &Arc<System>) -> Arc<Mm> {
        self.create_mm_in(Arc::new(Memcg::unlimited()))
    }

    pub(crate) fn create_mm_in(self: &Arc<System>, memcg: Arc<Memcg>) -> Arc<Mm> {
        let id = self.next_mm.fetch_add(1, Ordering::Relaxed);
        let mm = Arc::new(Mm::new(id, Arc::clone(self), memcg));
        self.mms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Arc::downgrade(&mm));
        mm
    }

    pub(crate) fn forget_mm(&self, id: u64) {
        self.mms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    /// The address space with the lowest id above `id`.
    pub(crate) fn next_mm_after(&self, id: u64) -> Option<Arc<Mm>> {
        let mms = self.mms.lock().unwrap_or_else(PoisonError::into_inner);
        let mut later = mms.range(id.saturating_add(1)..);
        later.find_map(|(_, mm)| mm.upgrade())
    }

    pub(crate) fn mm(&self, id: u64) -> Option<Arc<Mm>> {
        self.mms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)?
            .upgrade()
    }

    /// Every address space that has not been dropped, by id.
    pub(crate) fn mms(&self) -> Vec<Arc<Mm>> {
        let mms = self.mms.lock().unwrap_or_else(PoisonError::into_inner);
        mms.values().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn add_cache(&self, cache: &Arc<PageCache>) {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(Arc::downgrade(cache));
    }

    pub(crate) fn caches(&self) -> Vec<Arc<PageCache>> {
        let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        caches.iter().filter_map(Weak::upgrade).collect()
    }

    /// How it was set up.
    pub fn config(&self) -> SystemConfig {
        self.config
    }

    /// System pages that nobody uses.
    pub fn free_pages(&self) -> u64 {
        self.frames.free_pages()
    }

    /// System pages that memory failures took ([`Mm::poison`]): they are never given out again.
    pub fn poisoned_pages(&self) -> u64 {
        self.frames.poisoned_pages()
    }

    /// Pages of swap space in use.
    pub fn swapped_pages(&self) -> u64 {
        self.swap.used()
    }

    /// Takes a free system page (one reference, unlocked, contents undefined) as the destination of a
    /// migration or for the driver itself; drop it with [`System::put_page`]. None when memory is full.
    pub fn alloc_page(&self) -> Option<Pfn> {
        self.frames.alloc()
    }

    /// Takes `1 << order` free system pages with consecutive numbers, the first a multiple of that count, each
    /// as by [`System::alloc_page`]. Only order 0 and [`HUGE_ORDER`] exist. None when
    /// there is no such run.
    pub fn alloc_folio(&self, order: u32) -> Option<Pfn> {
        match order {
            0 => self.frames.alloc(),
            HUGE_ORDER => self.frames.alloc_huge(),
            _ => None,
        }
    }

    /// A page of a process: charged to its control group, contents undefined.
    pub(crate) fn alloc_user_page(&self, memcg: &Arc<Memcg>) -> Result<Pfn, VmFault> {
        if !memcg.try_charge() {
            return Err(VmFault::Oom);
        }
        let Some(pfn) = self.frames.alloc() else {
            memcg.uncharge();
            return Err(VmFault::Oom);
        };
        self.frames.with(pfn, |f| f.memcg = Some(Arc::clone(memcg)));
        Ok(pfn)
    }

    /// A huge page of a process: charged to its control group, contents undefined.
    pub(crate) fn alloc_user_huge(&self, memcg: &Arc<Memcg>) -> Result<Pfn, VmFault> {
        if !memcg.try_charge_many(HUGE_PAGES) {
            return Err(VmFault::Oom);
        }
        let Some(pfn) = self.frames.alloc_huge() else {
            memcg.uncharge_many(HUGE_PAGES);
            return Err(VmFault::Oom);
        };
        self.frames.with_run(pfn, HUGE_PAGES, |_, frame| {
            frame.memcg = Some(Arc::clone(memcg));
        });
        Ok(pfn)
    }

    /// Takes another reference to a page in use.
    pub fn get_page(&self, pfn: Pfn) {
        self.frames.get(pfn);
    }

    /// Drops a reference; the last one frees the page.
    pub fn put_page(&self, pfn: Pfn) {
        self.frames.put(pfn);
    }

    /// Locks a page, waiting for who holds it. Never while holding a lock that a notifier's callback takes.
    pub fn lock_page(&self, pfn: Pfn) {
        self.frames.lock(pfn);
    }

    /// Locks a page if nobody has it locked.
    pub fn try_lock_page(&self, pfn: Pfn) -> bool {
        self.frames.try_lock(pfn)
    }

    /// Unlocks a page and lets those go on that wait for it.
    pub fn unlock_page(&self, pfn: Pfn) {
        self.frames.unlock(pfn);
    }

    /// Notes that a page's contents changed (a device wrote it). Does nothing for a page that was freed meanwhile.
    pub fn set_page_dirty(&self, pfn: Pfn) {
        self.frames.with(pfn, |f| f.dirty = f.refs > 0);
    }

    /// Whether a page is marked dirty.
    pub fn is_page_dirty(&self, pfn: Pfn) -> bool {
        self.frames.with(pfn, |f| f.dirty)
    }

    /// References to a page; 0 when it is free.
    pub fn page_refs(&self, pfn: Pfn) -> u32 {
        self.frames.with(pfn, |f| f.refs)
    }

    /// Page table entries that map a page.
    pub fn page_mapcount(&self, pfn: Pfn) -> u32 {
        self.frames.with(pfn, |f| f.mapped.len() as u32)
    }

    /// Whether device memory of this owner is there (added by [`crate::DevPagemap::new`] and not removed).
    pub fn has_device_owner(&self, owner: u64) -> bool {
        self.frames.has_owner(owner)
    }

    /// The page that reads as zero and is never written.
    pub fn zero_page(&self) -> Pfn {
        self.zero_page
    }

    /// Whether a page is the zero page or one of the huge zero page.
    pub fn is_zero_page(&self, pfn: Pfn) -> bool {
        pfn == self.zero_page || self.is_huge_zero_page(pfn)
    }

    /// Whether a page is one of the huge zero page.
    pub fn is_huge_zero_page(&self, pfn: Pfn) -> bool {
        self.huge_zero.contains(pfn)
    }

    /// The contents of system memory.
    pub fn phys(&self) -> &Arc<dyn PhysMem> {
        &self.phys
    }

    pub(crate) fn event(&self, name: &'static str, fields: &[(&'static str, u64)]) {
        self.tracer.event(name, fields);
    }

    pub(crate) fn violation(&self, text: String) {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
    }

    pub(crate) fn first_violation(&self) -> Option<String> {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .first()
            .cloned()
    }
}
