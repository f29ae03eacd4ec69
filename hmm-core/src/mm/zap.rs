//! Taking entries out of a page table.

use crate::addr::{Pfn, Va};
use crate::frame::Place;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::PageTable;
use crate::pte::{PresentPte, Pte};
use crate::system::System;

/// Clears the entries of pages `start..end`. Returns the pages whose references the entries held: drop
/// them once the page table is unlocked, because freeing a device page calls its driver.
pub(crate) fn zap_range(
    sys: &System,
    mm: u64,
    pt: &mut PageTable,
    start: u64,
    end: u64,
) -> Vec<Pfn> {
    let mut freed = Vec::new();
    for entry in pt.range_sized(start, end) {
        let pte = entry.pte;
        pt.replace(entry, Pte::None);
        if let Pte::Swap { slot, .. } = pte {
            sys.swap.put(slot);
        }
        let Some(pfn) = pte.pfn().filter(|&pfn| !sys.is_zero_page(pfn)) else {
            continue;
        };
        sys.frames.with_run(pfn, entry.pages(), |n, frame| {
            let place = Place {
                mm,
                page: entry.page + n,
            };
            match pte {
                Pte::Migration { .. } => frame.remove_migration(place),
                Pte::Present(PresentPte { dirty, .. }) => {
                    frame.dirty |= dirty;
                    frame.unmap(place);
                }
                Pte::Exclusive { .. } => {
                    frame.dirty = true;
                    frame.unmap(place);
                }
                _ => frame.unmap(place),
            }
            *pt.rss.of(frame) -= 1;
        });
        if !matches!(pte, Pte::Migration { .. }) {
            freed.extend((0..entry.pages()).map(|n| pfn + n));
        }
    }
    freed
}

impl Mm {
    /// Notifies, clears, and frees the pages of `start..end`.
    pub(crate) fn zap(&self, start: Va, end: Va, event: MmuNotifyEvent) {
        if event == MmuNotifyEvent::Clear {
            let len = end - start;
            let fields = [("mm", self.id), ("addr", start.0), ("len", len)];
            self.sys.event("discard", &fields);
        }
        let invalidation = self.invalidate(start, end, event);
        let freed = zap_range(
            &self.sys,
            self.id,
            &mut self.pt.lock(),
            start.page(),
            end.page(),
        );
        self.sys.frames.put_all(freed);
        drop(invalidation);
    }
}
