//! A device's view of one process: its page table, kept right by a notifier, and its accesses.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, Weak};

use hmm_core::{
    Errno, HUGE_ORDER, HmmPfn, HmmRange, Mm, MmuIntervalNotifier, MmuIntervalNotifierOps,
    MmuNotifierRange, MmuNotifyEvent, Pfn, Pte, Va, hmm_range_fault, hmm_range_fault_unlocked,
    make_device_exclusive, sync,
};

use super::PAGE;
use super::device::Device;

/// Pages that one round of fault service covers.
const CHUNK: u64 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub pfn: Pfn,
    pub write: bool,
    /// The device may use atomics: it has the page alone.
    pub atomic: bool,
}

pub struct Mirror {
    pub device: Arc<Device>,
    pub mm: Arc<Mm>,
    table: sync::Mutex<BTreeMap<u64, Entry>>,
    notifier: Mutex<Option<Arc<MmuIntervalNotifier>>>,
}

struct Ops(Weak<Mirror>);

impl MmuIntervalNotifierOps for Ops {
    fn invalidate(
        &self,
        sub: &MmuIntervalNotifier,
        range: &MmuNotifierRange,
        cur_seq: u64,
    ) -> bool {
        let Some(mirror) = self.0.upgrade() else {
            sub.set_seq(cur_seq);
            return true;
        };
        if range.event == MmuNotifyEvent::Exclusive && range.owner == mirror.device.owner {
            return true;
        }
        let mut table = if range.blockable {
            mirror.table.lock()
        } else {
            match mirror.table.try_lock() {
                Some(table) => table,
                None => return false,
            }
        };
        sub.set_seq(cur_seq);
        erase(&mut table, range.start, range.end);
        true
    }
}

/// For snapshots: only notes that something changed.
struct Watch;

impl MmuIntervalNotifierOps for Watch {
    fn invalidate(
        &self,
        sub: &MmuIntervalNotifier,
        _range: &MmuNotifierRange,
        cur_seq: u64,
    ) -> bool {
        sub.set_seq(cur_seq);
        true
    }
}

fn erase(table: &mut BTreeMap<u64, Entry>, start: Va, end: Va) {
    let last = Va(end.0.saturating_add(PAGE - 1)).page();
    let pages: Vec<u64> = table
        .range(start.page()..last)
        .map(|(&page, _)| page)
        .collect();
    for page in pages {
        table.remove(&page);
    }
}

fn install(table: &mut BTreeMap<u64, Entry>, start: Va, pfns: &[HmmPfn]) {
    for (i, pfn) in pfns.iter().enumerate() {
        assert!(pfn.is_valid() && !pfn.is_error());
        table.insert(
            start.page() + i as u64,
            Entry {
                pfn: pfn.pfn(),
                write: pfn.is_write(),
                atomic: false,
            },
        );
    }
}

impl Mirror {
    pub(super) fn new(device: &Arc<Device>, mm: &Arc<Mm>) -> Arc<Mirror> {
        let mirror = Arc::new(Mirror {
            device: Arc::clone(device),
            mm: Arc::clone(mm),
            table: sync::Mutex::default(),
            notifier: Mutex::new(None),
        });
        let ops = Arc::new(Ops(Arc::downgrade(&mirror)));
        let notifier = MmuIntervalNotifier::insert(mm, Va(0), 1 << 47, ops).unwrap();
        *mirror.notifier.lock().unwrap() = Some(notifier);
        mirror
    }

    /// Closes the device for the process.
    pub fn close(&self) {
        let notifier = self.notifier.lock().unwrap().take();
        notifier.expect("closed once").remove();
        self.table.lock().clear();
    }

    pub fn entry(&self, va: Va) -> Option<Entry> {
        self.table.lock().get(&va.page()).copied()
    }

    /// One access inside of a page, if the device's table allows it.
    fn access(&self, va: Va, write: bool, f: impl FnOnce(&Device, Pfn)) -> bool {
        let table = self.table.lock();
        let Some(entry) = table.get(&va.page()).filter(|entry| entry.write || !write) else {
            return false;
        };
        f(&self.device, entry.pfn);
        true
    }

    /// Brings `start..end` into the device's table.
    pub fn fault(&self, start: Va, end: Va, write: bool) -> Result<(), Errno> {
        let notifier = self.notifier.lock().unwrap().clone().ok_or(Errno::EBADF)?;
        let mut at = start;
        while at < end {
            let stop = end.min(at + CHUNK * PAGE);
            let mut pfns = vec![HmmPfn::default(); ((stop - at) / PAGE) as usize];
            loop {
                let seq = notifier.read_begin();
                let request = HmmPfn::REQ_FAULT | if write { HmmPfn::REQ_WRITE } else { 0 };
                let mut range = HmmRange {
                    notifier: Arc::clone(&notifier),
                    notifier_seq: seq,
                    start: at,
                    end: stop,
                    pfns: &mut pfns,
                    default_flags: request,
                    pfn_flags_mask: 0,
                    dev_private_owner: self.device.owner,
                };
                let guard = self.mm.mmap_read_lock();
                let result = hmm_range_fault(&guard, &mut range);
                drop(guard);
                match result {
                    Err(Errno::EBUSY) => continue,
                    other => other?,
                }
                let mut table = self.table.lock();
                if notifier.read_retry(seq) {
                    continue;
                }
                for pfn in &pfns {
                    assert!(pfn.is_write() || !write);
                }
                install(&mut table, at, &pfns);
                break;
            }
            at = stop;
        }
        Ok(())
    }

    /// As [`Mirror::fault`] in one go, without holding mmap_lock.
    pub fn fault_unlocked(
        &self,
        start: Va,
        end: Va,
        write: bool,
        attempts: Option<NonZeroU32>,
    ) -> Result<(), Errno> {
        let notifier = self.notifier.lock().unwrap().clone().ok_or(Errno::EBADF)?;
        let mut pfns = vec![HmmPfn::default(); ((end - start) / PAGE) as usize];
        loop {
            let mut range = HmmRange {
                notifier: Arc::clone(&notifier),
                notifier_seq: 0,
                start,
                end,
                pfns: &mut pfns,
                default_flags: HmmPfn::REQ_FAULT | if write { HmmPfn::REQ_WRITE } else { 0 },
                pfn_flags_mask: 0,
                dev_private_owner: self.device.owner,
            };
            hmm_range_fault_unlocked(&self.mm, &mut range, attempts)?;
            let seq = range.notifier_seq;
            let mut table = self.table.lock();
            if !notifier.read_retry(seq) {
                install(&mut table, start, &pfns);
                return Ok(());
            }
        }
    }

    /// The device reads; returns the rounds of fault service it took.
    pub fn read(&self, va: Va, buf: &mut [u8]) -> Result<u64, Errno> {
        let end = va + buf.len() as u64;
        let mut rounds = 0;
        let mut done = 0;
        while done < buf.len() {
            let at = va + done as u64;
            let n = (PAGE as usize - at.offset()).min(buf.len() - done);
            let part = &mut buf[done..done + n];
            if self.access(at, false, |device, pfn| device.read(pfn, at.offset(), part)) {
                done += n;
            } else {
                self.fault(at.align_down(), Va(end.0.next_multiple_of(PAGE)), false)?;
                rounds += 1;
            }
        }
        Ok(rounds)
    }

    /// The device writes; returns the rounds of fault service it took.
    pub fn write(&self, va: Va, data: &[u8]) -> Result<u64, Errno> {
        let end = va + data.len() as u64;
        let mut rounds = 0;
        let mut done = 0;
        while done < data.len() {
            let at = va + done as u64;
            let n = (PAGE as usize - at.offset()).min(data.len() - done);
            let part = &data[done..done + n];
            if self.access(at, true, |device, pfn| device.write(pfn, at.offset(), part)) {
                done += n;
            } else {
                self.fault(at.align_down(), Va(end.0.next_multiple_of(PAGE)), true)?;
                rounds += 1;
            }
        }
        Ok(rounds)
    }

    /// Makes pages exclusive to the device, for atomics.
    pub fn exclusive(&self, va: Va, pages: u64) -> Result<(), Errno> {
        let notifier = self.notifier.lock().unwrap().clone().ok_or(Errno::EBADF)?;
        let sys = &self.device.sys;
        for at in (0..pages).map(|i| va + i * PAGE) {
            loop {
                let seq = notifier.read_begin();
                let guard = self.mm.mmap_read_lock();
                let pfn = make_device_exclusive(&guard, at, self.device.owner)?;
                let mut table = self.table.lock();
                let stale = notifier.read_retry(seq);
                if !stale {
                    let entry = Entry {
                        pfn,
                        write: true,
                        atomic: true,
                    };
                    table.insert(at.page(), entry);
                }
                drop(table);
                sys.unlock_page(pfn);
                sys.put_page(pfn);
                if !stale {
                    break;
                }
            }
        }
        Ok(())
    }

    pub fn is_exclusive(&self, va: Va) -> bool {
        self.entry(va).is_some_and(|entry| entry.atomic)
    }

    /// An atomic addition by the device: in its own memory in place, else on a page it has alone. Returns
    /// the old value.
    pub fn fetch_add(&self, va: Va, n: u64) -> Result<u64, Errno> {
        loop {
            let table = self.table.lock();
            let entry = table.get(&va.page()).copied();
            if let Some(entry) = entry.filter(|entry| {
                entry.atomic || (entry.write && self.device.pagemap().contains(entry.pfn))
            }) {
                let mut word = [0; 8];
                self.device.read(entry.pfn, va.offset(), &mut word);
                // Whoever else gets at the page now breaks the atomicity.
                sync::yield_now();
                let old = u64::from_le_bytes(word);
                let new = (old + n).to_le_bytes();
                self.device.write(entry.pfn, va.offset(), &new);
                return Ok(old);
            }
            drop(table);
            let page = va.align_down();
            let pte = self.mm.pte(page);
            if pte
                .pfn()
                .is_some_and(|pfn| self.device.pagemap().contains(pfn))
            {
                self.fault(page, page + PAGE, true)?;
            } else {
                self.exclusive(page, 1)?;
            }
        }
    }

    pub fn read_pages(&self, va: Va, pages: u64) -> Result<(Vec<u8>, u64), Errno> {
        let mut buf = vec![0; (pages * PAGE) as usize];
        let rounds = self.read(va, &mut buf)?;
        Ok((buf, rounds))
    }

    /// As the driver's command: an error unless all pages are on the device in the end.
    pub fn to_device(&self, va: Va, pages: u64) -> Result<(), Errno> {
        self.device.migrate_to_device(self, va, va + pages * PAGE)?;
        let here = |pte: Pte| {
            matches!(pte, Pte::Device { .. } | Pte::Present(_))
                && pte
                    .pfn()
                    .is_some_and(|pfn| self.device.pagemap().contains(pfn))
        };
        let all = (0..pages).all(|i| here(self.mm.pte(va + i * PAGE)));
        if all { Ok(()) } else { Err(Errno::ENOENT) }
    }

    pub fn to_system(&self, va: Va, pages: u64) -> Result<u64, Errno> {
        self.device.migrate_to_system(self, va, va + pages * PAGE)
    }

    /// One byte a page, as the kernel's test driver encodes it.
    pub fn snapshot(&self, va: Va, pages: u64) -> Vec<u8> {
        let watch =
            MmuIntervalNotifier::insert(&self.mm, va, pages * PAGE, Arc::new(Watch)).unwrap();
        let mut pfns = vec![HmmPfn::default(); pages as usize];
        loop {
            let seq = watch.read_begin();
            pfns.fill(HmmPfn::default());
            let mut range = HmmRange {
                notifier: Arc::clone(&watch),
                notifier_seq: seq,
                start: va,
                end: va + pages * PAGE,
                pfns: &mut pfns,
                default_flags: 0,
                pfn_flags_mask: 0,
                dev_private_owner: self.device.owner,
            };
            let guard = self.mm.mmap_read_lock();
            let result = hmm_range_fault(&guard, &mut range);
            drop(guard);
            match result {
                Err(Errno::EBUSY) => continue,
                other => other.unwrap(),
            }
            if !watch.read_retry(seq) {
                break;
            }
        }
        watch.remove();
        pfns.iter().map(|&pfn| self.encode(pfn)).collect()
    }

    fn encode(&self, pfn: HmmPfn) -> u8 {
        if pfn.is_error() {
            return 0xff;
        }
        if !pfn.is_valid() {
            return 0;
        }
        let kind = match pfn.pfn() {
            page if self.device.sys.is_zero_page(page) => 0x10,
            page if self.device.sys.is_device_private(page) => 0x20,
            page if self.device.pagemap().contains(page) => 0x40,
            page if page.is_device() => 0x50,
            _ => 0,
        };
        let size = if pfn.order() == HUGE_ORDER { 4 } else { 0 };
        kind | size | if pfn.is_write() { 2 } else { 1 }
    }

    /// Rule 1: what the device maps, the CPU's table maps too (only when nothing is under way).
    #[track_caller]
    pub fn check(&self) {
        for (&page, entry) in self.table.lock().iter() {
            let (pfn, write) = match self.mm.pte(Va::of_page(page)) {
                Pte::Present(pte) => (pte.pfn, pte.write),
                Pte::Device { pfn, write, .. } => (pfn, write),
                Pte::Exclusive { pfn, .. } => (pfn, true),
                other => {
                    panic!("the device maps {entry:?} at page {page:#x}, the CPU has {other:?}")
                }
            };
            assert_eq!(pfn, entry.pfn, "at page {page:#x}");
            assert!(
                write || !entry.write,
                "the device may write page {page:#x}, the CPU not"
            );
        }
    }
}
