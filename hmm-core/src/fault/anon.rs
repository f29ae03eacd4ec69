//! Faults where there is no entry yet.

use std::sync::Arc;

use crate::addr::Va;
use crate::fault::FaultFlags;
use crate::memremap::VmFault;
use crate::mm::Mm;
use crate::pte::{PresentPte, Pte};
use crate::vma_tree::Vma;

/// Private memory: the zero page for a read, a fresh page for a write.
pub(super) fn fault(mm: &Arc<Mm>, vma: &Vma, va: Va, flags: FaultFlags) -> Result<(), VmFault> {
    let sys = mm.system();
    let page = va.page();
    if !flags.write && !flags.unshare {
        let mut pt = mm.pt.lock();
        if pt.get(page).is_none() {
            let zero = PresentPte {
                pfn: sys.zero_page(),
                write: false,
                dirty: false,
                young: true,
                none: false,
                soft_dirty: false,
            };
            pt.set(page, Pte::Present(zero));
        }
        return Ok(());
    }
    let pfn = sys.alloc_user_page(mm.memcg())?;
    sys.phys().zero_page(pfn);
    let mut pt = mm.pt.lock();
    if !pt.get(page).is_none() {
        // Lost the race; whoever won decides what is there.
        drop(pt);
        sys.frames.put(pfn);
        return Ok(());
    }
    sys.frames.with(pfn, |frame| {
        frame.map_own(mm.place(page));
    });
    let write = flags.write && vma.prot.write;
    pt.set(
        page,
        Pte::Present(PresentPte {
            pfn,
            write,
            dirty: write,
            young: true,
            none: false,
            soft_dirty: write,
        }),
    );
    pt.rss.anon += 1;
    Ok(())
}
