//! Looking at, and faulting in, a range of an address space for a device (`hmm_range_fault`).

mod unlocked;

use std::sync::Arc;

pub use unlocked::hmm_range_fault_unlocked;

use crate::addr::{Pfn, Va};
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::frame::Frame;
use crate::memremap::VmFault;
use crate::mm::MmapReadGuard;
use crate::notifier::MmuIntervalNotifier;
use crate::pagetable::PageTable;
use crate::pte::{PresentPte, Pte};
use crate::sync;
use crate::system::System;
use crate::vma_tree::Vma;

/// One page of a range: request on the way in, result on the way out. Linux's layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HmmPfn(pub u64);

impl HmmPfn {
    /// Result: there is a page.
    pub const VALID: u64 = 1 << 63;
    /// Result: it may be written.
    pub const WRITE: u64 = 1 << 62;
    /// Result: it cannot be accessed.
    pub const ERROR: u64 = 1 << 61;
    /// Request: fault the page in.
    pub const REQ_FAULT: u64 = HmmPfn::VALID;
    /// Request, with [`HmmPfn::REQ_FAULT`]: make it writable.
    pub const REQ_WRITE: u64 = HmmPfn::WRITE;
    /// Shift of the 5-bit order.
    pub const ORDER_SHIFT: u32 = 52;

    /// Whether there is a page.
    pub fn is_valid(self) -> bool {
        self.0 & HmmPfn::VALID != 0
    }

    /// Whether it may be written.
    pub fn is_write(self) -> bool {
        self.0 & HmmPfn::WRITE != 0
    }

    /// Whether it cannot be accessed.
    pub fn is_error(self) -> bool {
        self.0 & HmmPfn::ERROR != 0
    }

    /// log2 of the pages that the CPU maps with one entry. A hint: the mapping may reach out of the range.
    pub fn order(self) -> u32 {
        (self.0 >> HmmPfn::ORDER_SHIFT & 0x1f) as u32
    }

    /// The page; meaningful only if valid.
    pub fn pfn(self) -> Pfn {
        Pfn(self.0 & ((1 << HmmPfn::ORDER_SHIFT) - 1))
    }

    fn valid(pfn: Pfn, write: bool, order: u32) -> HmmPfn {
        let write = if write { HmmPfn::WRITE } else { 0 };
        let order = u64::from(order) << HmmPfn::ORDER_SHIFT;
        HmmPfn(pfn.0 | HmmPfn::VALID | write | order)
    }

    /// The same of the `n`-th next page of a huge page.
    fn nth(self, n: u64) -> HmmPfn {
        HmmPfn(self.0 + if self.is_valid() { n } else { 0 })
    }
}

/// Arguments of [`hmm_range_fault`].
pub struct HmmRange<'a> {
    /// The subscription that covers the range.
    pub notifier: Arc<MmuIntervalNotifier>,
    /// What its `read_begin` gave.
    pub notifier_seq: u64,
    /// First address, page aligned.
    pub start: Va,
    /// One past the last address, page aligned.
    pub end: Va,
    /// One entry a page: requests in, results out. After an error it is a mix of both; renew the requests.
    pub pfns: &'a mut [HmmPfn],
    /// Requests for all pages; 0 takes a snapshot, without faulting.
    pub default_flags: u64,
    /// Which request bits of the entries count.
    pub pfn_flags_mask: u64,
    /// The caller's own device-private memory.
    pub dev_private_owner: u64,
}

/// Why a range could not be filled.
enum Failure {
    Errno(Errno),
    /// A user-fault handler has to provide the page at `va`.
    Missing {
        va: Va,
        write: bool,
    },
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::Errno(errno)
    }
}

/// What stops a walk.
enum Stop {
    Fault { write: bool },
    Wait { pfn: Pfn },
    Lost,
}

/// What a request wants of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Want {
    fault: bool,
    write: bool,
}

impl HmmRange<'_> {
    fn want(&self, index: usize) -> Want {
        let request = (self.pfns[index].0 & self.pfn_flags_mask) | self.default_flags;
        let fault = request & HmmPfn::REQ_FAULT != 0;
        Want {
            fault,
            write: fault && request & HmmPfn::REQ_WRITE != 0,
        }
    }
}

/// Fills in `range.pfns`. Pages whose request says so are faulted in as a CPU access would, so a page in
/// another device's private memory comes home; the caller's own device pages are reported as they are,
/// also through a read-only entry that this process alone has, which then becomes writable on request
/// (where Linux returns it read-only whatever was asked, and the device faults for ever).
///
/// Results count only if `notifier.read_retry(notifier_seq)` is false under the driver's lock.
///
/// # Errors
/// EBUSY when an invalidation came since `notifier_seq`: begin again. EPERM when write was asked for and
/// the mapping does not allow it. EFAULT when a page was asked for where nothing readable is mapped or the
/// fault failed, the page has to be provided by a user-fault handler (this call cannot wait for one: see
/// [`hmm_range_fault_unlocked`]), or the process is dead. EINVAL for arguments that do not fit together.
pub fn hmm_range_fault(guard: &MmapReadGuard<'_>, range: &mut HmmRange<'_>) -> Result<(), Errno> {
    fill(guard, range).map_err(|failure| match failure {
        Failure::Errno(errno) => errno,
        Failure::Missing { .. } => Errno::EFAULT,
    })
}

fn fill(guard: &MmapReadGuard<'_>, range: &mut HmmRange<'_>) -> Result<(), Failure> {
    let pages = range.end.page().saturating_sub(range.start.page());
    if !range.start.is_aligned()
        || !range.end.is_aligned()
        || pages == 0
        || pages != range.pfns.len() as u64
        || range.notifier.mm_id() != guard.mm().id()
        || range.start < range.notifier.start()
        || range.end > range.notifier.end()
    {
        return Err(Errno::EINVAL.into());
    }
    let mut next = 0;
    loop {
        if !guard.mm().is_alive() {
            return Err(Errno::EFAULT.into());
        }
        if range.notifier.read_retry(range.notifier_seq) {
            return Err(Errno::EBUSY.into());
        }
        let Some(stop) = walk(guard, range, &mut next)? else {
            return Ok(());
        };
        match stop {
            Stop::Lost => return Err(Errno::EFAULT.into()),
            Stop::Wait { pfn } => {
                guard.mm().system().frames.wait_unlocked(pfn);
                sync::preempt();
            }
            Stop::Fault { write } => {
                let va = Va::of_page(range.start.page() + next as u64);
                let vma = guard.vma(va).ok_or(Errno::EFAULT)?;
                let flags = FaultFlags {
                    write,
                    unshare: false,
                };
                handle_mm_fault(guard, vma, va, flags).map_err(|fault| match fault {
                    VmFault::Retry => Failure::Missing { va, write },
                    VmFault::Oom | VmFault::Sigbus => Failure::Errno(Errno::EFAULT),
                })?;
            }
        }
    }
}

/// Fills in entries from `next` on, until one needs something first. Entries before `next` are results,
/// from there on still requests.
fn walk(
    guard: &MmapReadGuard<'_>,
    range: &mut HmmRange<'_>,
    next: &mut usize,
) -> Result<Option<Stop>, Errno> {
    let mut pt = guard.mm().pt.lock();
    let mut vma: Option<&Vma> = None;
    while *next < range.pfns.len() {
        let va = Va::of_page(range.start.page() + *next as u64);
        let want = range.want(*next);
        if vma.is_none_or(|vma| va >= vma.end) {
            vma = guard.vma(va);
        }
        let Some(found) = vma.filter(|vma| vma.prot.read) else {
            if want.fault {
                return Err(Errno::EFAULT);
            }
            range.pfns[*next] = HmmPfn(HmmPfn::ERROR);
            *next += 1;
            continue;
        };
        match look(
            guard.mm().system(),
            &mut pt,
            found,
            va,
            want,
            range.dev_private_owner,
        ) {
            Ok((result, pages)) => {
                // All that one huge entry covers, as far as the same is wanted of it.
                let mut n = 0;
                while n < pages && *next < range.pfns.len() && range.want(*next) == want {
                    range.pfns[*next] = result.nth(n);
                    *next += 1;
                    n += 1;
                }
            }
            Err(Stop::Fault { write: true }) if !found.prot.write => return Err(Errno::EPERM),
            Err(stop) => return Ok(Some(stop)),
        }
    }
    Ok(None)
}

/// What the page at `va` gives, or what must happen first; and for how many pages from there on, all of one
/// entry, it is the same (but for their numbers).
fn look(
    sys: &System,
    pt: &mut PageTable,
    vma: &Vma,
    va: Va,
    want: Want,
    owner: u64,
) -> Result<(HmmPfn, u64), Stop> {
    let entry = pt.get_sized(va.page());
    let rest = entry.pages() - (va.page() - entry.page);
    let missing = |otherwise: HmmPfn| {
        if want.fault {
            Err(Stop::Fault { write: want.write })
        } else {
            Ok((otherwise, rest))
        }
    };
    match entry.at(va.page()) {
        Pte::None
        | Pte::Swap { .. }
        | Pte::Present(PresentPte { none: true, .. })
        | Pte::Exclusive { .. } => missing(HmmPfn::default()),
        Pte::Present(PresentPte { pfn, write, .. }) => {
            if want.write && !write {
                missing(HmmPfn::default())
            } else {
                Ok((HmmPfn::valid(pfn, write, entry.order), rest))
            }
        }
        Pte::Device { pfn, .. } if sys.frames.owner_of(pfn) != Some(owner) => {
            missing(HmmPfn::default())
        }
        Pte::Device {
            pfn, write, none, ..
        } => {
            if !want.write || write {
                return Ok((HmmPfn::valid(pfn, write, entry.order), rest));
            }
            // All of a huge page becomes writable, or this page of it alone, which splits it.
            let writable = |pfn| Pte::Device {
                pfn,
                write: true,
                none,
                soft_dirty: true,
            };
            let own = |frame: &Frame| frame.exclusive || frame.sole_user();
            let first = entry.pte.pfn().filter(|_| entry.is_huge());
            if let Some(first) = first.filter(|_| vma.prot.write)
                && sys.frames.all(first, entry.pages(), |_, frame| own(frame))
            {
                sys.frames
                    .with_run(first, entry.pages(), |_, frame| frame.exclusive = true);
                pt.replace(entry, writable(first));
                return Ok((HmmPfn::valid(pfn, true, entry.order), rest));
            }
            let ours = vma.prot.write
                && sys.frames.with(pfn, |frame| {
                    frame.try_own();
                    frame.exclusive
                });
            if !ours {
                return missing(HmmPfn::default());
            }
            pt.set(va.page(), writable(pfn));
            Ok((HmmPfn::valid(pfn, true, 0), 1))
        }
        Pte::Migration { pfn, .. } => {
            if want.fault {
                Err(Stop::Wait { pfn })
            } else {
                Ok((HmmPfn::default(), 1))
            }
        }
        Pte::Poison if want.fault => Err(Stop::Lost),
        Pte::Poison => Ok((HmmPfn::default(), 1)),
    }
}
