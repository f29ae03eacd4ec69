//! The handler's answers.

use crate::addr::{PAGE_SIZE, Pfn, Va};
use crate::errno::Errno;
use crate::mm::Mm;
use crate::pte::{PresentPte, Pte};
use crate::userfault::UserFault;

impl UserFault {
    /// Fills missing pages from `va` on with `data`, a multiple of the page size, and lets those go on that
    /// wait for them. Returns how many pages were filled: all, or those before the first that could not be.
    ///
    /// # Errors
    /// About the first page: EINVAL for an address or length that is not whole pages, ENOENT where the range is
    /// not registered (any more), EEXIST where a page is already (who waits for it goes on), ENOMEM, ESRCH
    /// for a dead process.
    pub fn copy(&self, va: Va, data: &[u8]) -> Result<u64, Errno> {
        let pages = data.len() as u64 / PAGE_SIZE;
        if !va.is_aligned() || pages == 0 || !(data.len() as u64).is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        for (n, page) in (0u64..).zip(data.chunks(PAGE_SIZE as usize)) {
            match self.fill(va + n * PAGE_SIZE, Some(page)) {
                Ok(()) => {}
                Err(error) if n == 0 => return Err(error),
                Err(_) => return Ok(n),
            }
        }
        Ok(pages)
    }

    /// Makes the missing page of `va` one that reads as zero; see [`UserFault::copy`].
    ///
    /// # Errors
    /// As [`UserFault::copy`].
    pub fn zero(&self, va: Va) -> Result<(), Errno> {
        if !va.is_aligned() {
            return Err(Errno::EINVAL);
        }
        self.fill(va, None)
    }

    /// One page, of `data` or zeros.
    fn fill(&self, va: Va, data: Option<&[u8]>) -> Result<(), Errno> {
        let mm = &self.mm;
        let guard = mm.mmap_read_lock();
        mm.check_alive()?;
        let vma = guard
            .vma(va)
            .filter(|vma| self.covers(vma))
            .ok_or(Errno::ENOENT)?;
        let pfn = match data {
            Some(data) => {
                let pfn = mm
                    .system()
                    .alloc_user_page(mm.memcg())
                    .map_err(|_| Errno::ENOMEM)?;
                mm.system().phys().write(pfn, 0, data);
                Some(pfn)
            }
            None => None,
        };
        let result = install(mm, va, pfn, vma.prot.write, !vma.prot.read);
        if let (Some(pfn), Err(_)) = (pfn, result) {
            mm.system().put_page(pfn);
        }
        self.queue.filled(va.page());
        result
    }
}

/// Maps `pfn`, or the zero page, where there is nothing.
fn install(mm: &Mm, va: Va, pfn: Option<Pfn>, write: bool, none: bool) -> Result<(), Errno> {
    let sys = mm.system();
    let mut pt = mm.pt.lock();
    if pt.get(va.page()) != Pte::None {
        return Err(Errno::EEXIST);
    }
    if let Some(pfn) = pfn {
        sys.frames.with(pfn, |frame| {
            frame.map_own(mm.place(va.page()));
            frame.dirty = true;
        });
        pt.rss.anon += 1;
    }
    let write = write && pfn.is_some();
    let pte = PresentPte {
        pfn: pfn.unwrap_or(sys.zero_page()),
        write,
        dirty: write,
        young: true,
        none,
        soft_dirty: pfn.is_some(),
    };
    pt.set(va.page(), Pte::Present(pte));
    sys.event("userfault_fill", &[("mm", mm.id()), ("addr", va.0)]);
    Ok(())
}
