//! Pages that a device uses alone, for atomic operations on system memory (`make_device_exclusive`).

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::errno::Errno;
use crate::fault::{FaultFlags, handle_mm_fault};
use crate::migrate::bring_coherent_home;
use crate::mm::MmapReadGuard;
use crate::notifier::MmuNotifyEvent;
use crate::pte::{PresentPte, Pte};
use crate::vma_tree::Vma;

/// How often others may change the entry under our hands before we give up.
const TRIES: u32 = 16;

/// Makes the page at `va` device-exclusive: faults it in for writing (which breaks sharing and brings it
/// home from a device), tells the subscribers ([`MmuNotifyEvent::Exclusive`] with `owner`) and takes it from
/// the CPU. Returns the page locked and with a reference. While it is locked only unmapping takes the page
/// away from the device: call `read_begin` before, `read_retry` under the driver's lock after, install the page in
/// the device's table, then let go with [`crate::System::unlock_page`] and [`crate::System::put_page`], all
/// under `guard`.
///
/// From then on the first access by anybody else, a fork or a migration notifies
/// ([`MmuNotifyEvent::Clear`], for a fork [`MmuNotifyEvent::ProtectionPage`]) and makes it an ordinary page
/// again. A page is exclusive to one device at a time; a second call for the same one changes nothing.
///
/// # Errors
/// EINVAL for an address that is not aligned or an owner of 0, EFAULT where nothing writable is mapped or the
/// page cannot be had (ENOMEM where there is no memory to bring it home to), EOPNOTSUPP for memory that is not private to the process and for hugetlb pages, EBUSY when others
/// changed the entry again and again: try again.
pub fn make_device_exclusive(guard: &MmapReadGuard<'_>, va: Va, owner: u64) -> Result<Pfn, Errno> {
    if !va.is_aligned() || owner == 0 {
        return Err(Errno::EINVAL);
    }
    let vma = guard
        .vma(va)
        .filter(|vma| vma.prot.write)
        .ok_or(Errno::EFAULT)?;
    if !vma.is_private() || vma.is_hugetlb() {
        return Err(Errno::EOPNOTSUPP);
    }
    for _ in 0..TRIES {
        if let Some(pfn) = already(guard, va, owner) {
            return Ok(pfn);
        }
        let pfn = get_writable(guard, vma, va)?;
        if convert(guard, va, pfn, owner) {
            return Ok(pfn);
        }
    }
    Err(Errno::EBUSY)
}

/// The page, locked and with a reference, if the device has it exclusive already. No notification: who had to
/// start again because of one that came with the first conversion would never get to an end.
fn already(guard: &MmapReadGuard<'_>, va: Va, owner: u64) -> Option<Pfn> {
    let mm = guard.mm();
    let frames = &mm.system().frames;
    loop {
        let mut pt = mm.pt.lock();
        let pte = pt.get(va.page());
        let Pte::Exclusive {
            pfn, owner: whose, ..
        } = pte
        else {
            return None;
        };
        if whose != owner {
            return None;
        }
        if frames.try_get_locked(pfn) {
            let pte = Pte::Exclusive {
                pfn,
                owner,
                none: false,
                soft_dirty: true,
            };
            pt.set(va.page(), pte);
            return Some(pfn);
        }
        drop(pt);
        frames.wait_unlocked(pfn);
    }
}

/// A reference to the page of `va`, mapped writable (get_user_pages with FOLL_WRITE).
fn get_writable(guard: &MmapReadGuard<'_>, vma: &Vma, va: Va) -> Result<Pfn, Errno> {
    let mm = guard.mm();
    loop {
        if !mm.is_alive() {
            return Err(Errno::EFAULT);
        }
        let pt = mm.pt.lock();
        if let Pte::Present(PresentPte {
            pfn, write: true, ..
        }) = pt.get(va.page())
        {
            if !pfn.is_device() {
                mm.system().frames.get(pfn);
                return Ok(pfn);
            }
            drop(pt);
            bring_coherent_home(mm.system(), pfn)?;
            continue;
        }
        drop(pt);
        let flags = FaultFlags {
            write: true,
            unshare: false,
        };
        handle_mm_fault(guard, vma, va, flags).map_err(|_| Errno::EFAULT)?;
    }
}

/// Locks the page and replaces its entry. False, with the reference dropped, if the entry changed.
fn convert(guard: &MmapReadGuard<'_>, va: Va, pfn: Pfn, owner: u64) -> bool {
    let mm = guard.mm();
    let sys = mm.system();
    sys.frames.lock(pfn);
    let invalidation = mm.invalidate_for(va, va + PAGE_SIZE, MmuNotifyEvent::Exclusive, owner);
    let mut pt = mm.pt.lock();
    let same = match pt.get(va.page()) {
        Pte::Present(pte) if pte.pfn == pfn && pte.write => {
            sys.frames.with(pfn, |frame| frame.dirty |= pte.dirty);
            pt.set(
                va.page(),
                Pte::Exclusive {
                    pfn,
                    owner,
                    none: false,
                    soft_dirty: true,
                },
            );
            true
        }
        _ => false,
    };
    drop(pt);
    drop(invalidation);
    if same {
        sys.event(
            "exclusive",
            &[("mm", mm.id()), ("addr", va.0), ("pfn", pfn.0)],
        );
    } else {
        sys.frames.unlock(pfn);
        sys.frames.put(pfn);
    }
    same
}
