//! The table of all pages: references, page locks, allocation and freeing.

mod runs;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::addr::{DEVICE_PFN_BASE, HUGE_PAGES, Pfn};
use crate::config::SystemConfig;
use crate::frame::Frame;
use crate::free_pages::FreePages;
use crate::memremap::{DevPagemapOps, DeviceMemory};
use crate::sync::{self, WaitQueue};

/// Device ranges start at a multiple of this many pages (a section of 2 MiB).
const DEVICE_ALIGN: u64 = HUGE_PAGES;
/// One past the largest page number that the entries of a range fault can hold.
const PFN_LIMIT: u64 = 1 << 52;
const LOCK_QUEUES: usize = 64;

/// A range of device memory.
struct DeviceRange {
    base: Pfn,
    frames: Vec<Frame>,
    owner: u64,
    kind: DeviceMemory,
    used: u64,
    /// None once the range was taken away.
    ops: Option<Arc<dyn DevPagemapOps>>,
    /// No page may come into use any more.
    dying: bool,
    /// Nobody will take the range away: the last page lets go of the driver.
    abandoned: bool,
}

struct Inner {
    system: Vec<Frame>,
    free: FreePages,
    poisoned: u64,
    /// The first pages, never given out.
    reserved: usize,
    devices: Vec<DeviceRange>,
    next_device: Pfn,
    /// Pages that hugetlb mappings have taken and do not use yet.
    set_aside: u64,
}

impl Inner {
    fn device(&mut self, pfn: Pfn) -> Option<&mut DeviceRange> {
        self.devices
            .iter_mut()
            .find(|d| pfn >= d.base && pfn - d.base < d.frames.len() as u64)
    }

    fn frame(&mut self, pfn: Pfn) -> Option<&mut Frame> {
        if !pfn.is_device() {
            return self.system.get_mut(usize::try_from(pfn.0).ok()?);
        }
        let range = self.device(pfn)?;
        let index = (pfn - range.base) as usize;
        range.frames.get_mut(index)
    }

    fn run(&mut self, first: Pfn, n: u64) -> Option<&mut [Frame]> {
        let n = usize::try_from(n).ok()?;
        let (frames, start) = if first.is_device() {
            let range = self.device(first)?;
            let start = (first - range.base) as usize;
            (&mut range.frames, start)
        } else {
            (&mut self.system, usize::try_from(first.0).ok()?)
        };
        frames.get_mut(start..start.checked_add(n)?)
    }
}

/// All pages. The lock inside stands for the atomic operations on a `struct page`: it is never held
/// over a scheduling point or a call out.
pub(crate) struct Frames {
    inner: Mutex<Inner>,
    locks: Vec<WaitQueue>,
    unused: WaitQueue,
}

impl Frames {
    pub fn new(config: SystemConfig) -> Frames {
        let mut system = Vec::new();
        system.resize_with(
            usize::try_from(config.ram_pages).unwrap_or(0),
            Frame::default,
        );
        let inner = Inner {
            system,
            free: FreePages::new(config.reserved_pages..config.ram_pages),
            poisoned: 0,
            reserved: config.reserved_pages.min(config.ram_pages) as usize,
            devices: Vec::new(),
            next_device: Pfn(DEVICE_PFN_BASE),
            set_aside: 0,
        };
        let mut locks = Vec::new();
        locks.resize_with(LOCK_QUEUES, WaitQueue::new);
        Frames {
            inner: Mutex::new(inner),
            locks,
            unused: WaitQueue::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at or changes one page. Panics for a number that is no page: that is a bug of the caller, as
    /// it is in the kernel.
    #[track_caller]
    pub fn with<R>(&self, pfn: Pfn, f: impl FnOnce(&mut Frame) -> R) -> R {
        let mut inner = self.inner();
        let frame = inner
            .frame(pfn)
            .unwrap_or_else(|| panic!("{pfn} is no page"));
        f(frame)
    }

    /// As [`Frames::with`] for two different pages.
    #[track_caller]
    pub fn with_two<R>(&self, a: Pfn, b: Pfn, f: impl FnOnce(&mut Frame, &mut Frame) -> R) -> R {
        let mut inner = self.inner();
        let mut first = std::mem::take(inner.frame(a).unwrap_or_else(|| panic!("{a} is no page")));
        let second = inner.frame(b).unwrap_or_else(|| panic!("{b} is no page"));
        let result = f(&mut first, second);
        if let Some(slot) = inner.frame(a) {
            *slot = first;
        }
        result
    }

    /// Looks at every page in use and every other, in order.
    pub fn for_each(&self, mut f: impl FnMut(Pfn, &Frame)) {
        let inner = self.inner();
        for (i, frame) in inner.system.iter().enumerate() {
            f(Pfn(i as u64), frame);
        }
        for range in &inner.devices {
            for (i, frame) in range.frames.iter().enumerate() {
                f(range.base + i as u64, frame);
            }
        }
    }

    /// The free page with the lowest number, with one reference.
    pub fn alloc(&self) -> Option<Pfn> {
        let mut inner = self.inner();
        let pfn = Pfn(inner.free.take()?);
        let frame = inner.frame(pfn)?;
        *frame = Frame {
            refs: 1,
            ..Frame::default()
        };
        Some(pfn)
    }

    /// Marks a page as lost.
    pub fn poison(&self, pfn: Pfn) {
        let mut inner = self.inner();
        if let Some(frame) = inner.frame(pfn) {
            let new = !std::mem::replace(&mut frame.poisoned, true);
            inner.poisoned += u64::from(new && !pfn.is_device());
        }
    }

    /// Lost pages of system memory.
    pub fn poisoned_pages(&self) -> u64 {
        self.inner().poisoned
    }

    pub fn free_pages(&self) -> u64 {
        self.inner().free.len()
    }

    /// Checks that exactly the unused pages can be given out, and the devices' counts.
    pub fn check_free(&self) -> Result<(), String> {
        let inner = self.inner();
        for n in inner.free.iter() {
            let frame = inner.system.get(n as usize);
            if frame.is_none_or(|f| f.refs > 0 || f.poisoned) {
                return Err(format!("{} can be given out but is in use", Pfn(n)));
            }
        }
        let poisoned = inner.system.iter().filter(|f| f.poisoned).count() as u64;
        if poisoned != inner.poisoned {
            return Err(format!(
                "{} pages counted as lost, {poisoned} are",
                inner.poisoned
            ));
        }
        let idle = |f: &&Frame| f.refs == 0 && !f.poisoned;
        let idle = inner.system[inner.reserved..].iter().filter(idle).count();
        if idle as u64 != inner.free.len() {
            return Err(format!(
                "{idle} pages are not in use, {} can be given out",
                inner.free.len()
            ));
        }
        inner.free.check()?;
        for range in &inner.devices {
            let used = range.frames.iter().filter(|f| f.refs > 0).count() as u64;
            if used != range.used {
                return Err(format!(
                    "device {}: {} pages counted as used, {used} are",
                    range.owner, range.used
                ));
            }
        }
        Ok(())
    }

    #[track_caller]
    pub fn get(&self, pfn: Pfn) {
        self.with(pfn, |f| {
            assert!(f.refs > 0, "a reference to the free {pfn}");
            f.refs += 1;
        });
    }

    /// Takes a reference and the lock, if the page is in use and not locked. In one step: a reference held
    /// for a moment only would make a migration of the page fail.
    pub fn try_get_locked(&self, pfn: Pfn) -> bool {
        self.with(pfn, |f| {
            let can = f.refs > 0 && !f.locked;
            f.refs += u32::from(can);
            f.locked |= can;
            can
        })
    }

    /// Drops a reference. The last one frees the page, which may call the driver: no lock of a page
    /// table may be held.
    #[track_caller]
    pub fn put(&self, pfn: Pfn) {
        let mut inner = self.inner();
        let frame = inner
            .frame(pfn)
            .unwrap_or_else(|| panic!("{pfn} is no page"));
        assert!(frame.refs > 0, "a put of the free {pfn}");
        frame.refs -= 1;
        if frame.refs > 0 {
            return;
        }
        assert!(
            frame.mapped.is_empty()
                && frame.migrating.is_empty()
                && !frame.locked
                && frame.pins == 0
                && frame.gets == 0,
            "{pfn} freed while in use: {frame:?}"
        );
        let memcg = frame.memcg.take();
        let poisoned = frame.poisoned;
        *frame = Frame {
            poisoned,
            ..Frame::default()
        };
        if let Some(memcg) = memcg {
            memcg.uncharge();
        }
        if !pfn.is_device() {
            if !poisoned {
                inner.free.give_back(pfn.0);
            }
            return;
        }
        let Some(range) = inner.device(pfn) else {
            return;
        };
        range.used -= 1;
        let last = range.used == 0;
        let over = last && range.abandoned;
        // The driver would give a lost page out again.
        let ops = range.ops.clone().filter(|_| !poisoned);
        let last_handle = if over { range.ops.take() } else { None };
        drop(inner);
        if let Some(ops) = ops {
            ops.folio_free(pfn);
        }
        drop(last_handle);
        if last {
            self.unused.wake_all();
        }
    }

    /// Drops many references, in order.
    pub fn put_all(&self, pfns: Vec<Pfn>) {
        for pfn in pfns {
            self.put(pfn);
        }
    }

    fn queue(&self, pfn: Pfn) -> &WaitQueue {
        &self.locks[(pfn.0 % LOCK_QUEUES as u64) as usize]
    }

    /// Locks a page. Not while a page table is locked.
    #[track_caller]
    pub fn lock(&self, pfn: Pfn) {
        sync::preempt();
        while !self.try_lock(pfn) {
            self.queue(pfn).wait("a page lock");
        }
    }

    #[track_caller]
    pub fn try_lock(&self, pfn: Pfn) -> bool {
        self.with(pfn, |f| !std::mem::replace(&mut f.locked, true))
    }

    #[track_caller]
    pub fn unlock(&self, pfn: Pfn) {
        let was = self.with(pfn, |f| std::mem::replace(&mut f.locked, false));
        assert!(was, "an unlock of {pfn}, which is not locked");
        self.queue(pfn).wake_all();
        sync::preempt();
    }

    /// Waits for an unlock if the page is locked now. Holds no reference, so that the migration that has
    /// it locked does not take this thread for a user; the caller looks again at what it wanted.
    #[track_caller]
    pub fn wait_unlocked(&self, pfn: Pfn) {
        if self.with(pfn, |f| f.locked) {
            self.queue(pfn).wait("a page lock");
        }
    }

    pub fn add_device(
        &self,
        kind: DeviceMemory,
        npages: u64,
        owner: u64,
        ops: Arc<dyn DevPagemapOps>,
    ) -> Option<Pfn> {
        let count = usize::try_from(npages).ok()?;
        let mut frames = Vec::new();
        frames.try_reserve_exact(count).ok()?;
        let mut inner = self.inner();
        let base = inner.next_device;
        let end = npages.checked_next_multiple_of(DEVICE_ALIGN)?;
        inner.next_device = Pfn(base.0.checked_add(end).filter(|&end| end <= PFN_LIMIT)?);
        frames.resize_with(count, Frame::default);
        inner.devices.push(DeviceRange {
            base,
            frames,
            owner,
            kind,
            used: 0,
            ops: Some(ops),
            dying: false,
            abandoned: false,
        });
        Some(base)
    }

    /// As [`Frames::remove_device`] without waiting: the last page, if there is one in use, lets go of the driver.
    pub fn abandon_device(&self, base: Pfn) {
        let mut inner = self.inner();
        let Some(range) = inner.device(base) else {
            return;
        };
        range.dying = true;
        range.abandoned = true;
        let ops = if range.used == 0 {
            range.ops.take()
        } else {
            None
        };
        drop(inner);
        drop(ops);
    }

    /// Takes a free device page into use: one reference, locked.
    #[track_caller]
    pub fn init_device_page(&self, pfn: Pfn) {
        let mut inner = self.inner();
        let range = inner
            .device(pfn)
            .unwrap_or_else(|| panic!("{pfn} is no device page"));
        assert!(
            !range.dying,
            "{pfn} taken into use while its device goes away"
        );
        let index = (pfn - range.base) as usize;
        assert!(range.frames[index].refs == 0, "{pfn} is in use already");
        assert!(!range.frames[index].poisoned, "{pfn} is lost");
        range.frames[index] = Frame {
            refs: 1,
            locked: true,
            ..Frame::default()
        };
        range.used += 1;
    }

    pub fn device_used(&self, base: Pfn) -> u64 {
        self.inner().device(base).map_or(0, |r| r.used)
    }

    pub fn owner_of(&self, pfn: Pfn) -> Option<u64> {
        self.inner().device(pfn).map(|r| r.owner)
    }

    pub fn kind_of(&self, pfn: Pfn) -> Option<DeviceMemory> {
        self.inner().device(pfn).map(|r| r.kind)
    }

    /// Whether a device that has not been taken away has this owner.
    pub fn has_owner(&self, owner: u64) -> bool {
        let inner = self.inner();
        inner
            .devices
            .iter()
            .any(|d| d.owner == owner && d.ops.is_some())
    }

    pub fn ops_of(&self, pfn: Pfn) -> Option<Arc<dyn DevPagemapOps>> {
        self.inner().device(pfn).and_then(|r| r.ops.clone())
    }

    /// Forbids new pages, waits until none is in use, and lets go of the driver.
    #[track_caller]
    pub fn remove_device(&self, base: Pfn) {
        if let Some(range) = self.inner().device(base) {
            range.dying = true;
        }
        while self.device_used(base) > 0 {
            self.unused.wait("the last page of a device");
        }
        let ops = self.inner().device(base).and_then(|r| r.ops.take());
        drop(ops);
    }
}

mod lost;
#[cfg(test)]
mod tests;
