//! mremap.

use std::sync::Arc;

use crate::addr::{PAGE_SIZE, TASK_SIZE, Va};
use crate::errno::Errno;
use crate::mm::Mm;
use crate::notifier::MmuNotifyEvent;
use crate::pagetable::{Entry, huge_base};
use crate::pte::Pte;
use crate::vma::MremapOptions;
use crate::vma_tree::{Vma, VmaTree, user_range};

impl Mm {
    /// Resizes a mapping, moving it if it must or `options` asks for it. The pages move with it, wherever
    /// they are. What a locked mapping grows by is brought in, as far as that can be done. Returns the new
    /// address.
    ///
    /// # Errors
    /// EINVAL for bad ranges, an overlap of old and new place, or `dontunmap` with a change of length or
    /// shared memory; EFAULT when `old..old + old_len` is not inside of one mapping; ENOMEM when there is
    /// no place; ESRCH for a dead process.
    pub fn mremap(
        self: &Arc<Mm>,
        old: Va,
        old_len: u64,
        new_len: u64,
        options: MremapOptions,
    ) -> Result<Va, Errno> {
        let target = self.resize(old, old_len, new_len, options)?;
        let grown = old_len.div_ceil(PAGE_SIZE)..new_len.div_ceil(PAGE_SIZE);
        if !grown.is_empty() && self.is_locked(target) {
            for page in grown {
                // The mapping has grown whether or not there is memory for it now.
                let _ = self.populate(target + page * PAGE_SIZE);
            }
        }
        Ok(target)
    }

    fn resize(
        &self,
        old: Va,
        old_len: u64,
        new_len: u64,
        options: MremapOptions,
    ) -> Result<Va, Errno> {
        let old_end = user_range(old, old_len)?;
        let old_len = old_end - old;
        let new_len = new_len
            .checked_next_multiple_of(PAGE_SIZE)
            .filter(|&l| l > 0)
            .ok_or(Errno::EINVAL)?;
        let mut vmas = self.vmas.write();
        self.check_alive()?;
        let vma = vmas
            .find(old)
            .filter(|vma| old_end <= vma.end)
            .ok_or(Errno::EFAULT)?
            .clone();
        if options.dontunmap && (new_len != old_len || !vma.is_private()) {
            return Err(Errno::EINVAL);
        }
        let huge = vma.is_hugetlb();
        let to = options.at.unwrap_or_default();
        if huge
            && (options.dontunmap
                || new_len > old_len
                || ![old, old_end, old + new_len, to]
                    .iter()
                    .all(|va| va.is_huge_aligned()))
        {
            return Err(Errno::EINVAL);
        }
        let target = match options.at {
            Some(at) => {
                let end = user_range(at, new_len)?;
                vmas.check_huge_edges(at, end)?;
                if at < old_end && old < end {
                    return Err(Errno::EINVAL);
                }
                self.unmap_locked(&mut vmas, at, end);
                at
            }
            None if options.dontunmap => vmas.find_free(new_len, false)?,
            None => match self.resize_in_place(&mut vmas, &vma, old, old_len, new_len) {
                true => return Ok(old),
                false => vmas.find_free(new_len, huge)?,
            },
        };
        let old_end = if new_len < old_len {
            self.unmap_locked(&mut vmas, old + new_len, old_end);
            old + new_len
        } else {
            old_end
        };
        self.move_mapping(&mut vmas, old, old_end, target, new_len, options.dontunmap);
        Ok(target)
    }

    /// Shrinks, or grows into free space behind the mapping.
    fn resize_in_place(
        &self,
        vmas: &mut VmaTree,
        vma: &Vma,
        old: Va,
        old_len: u64,
        new_len: u64,
    ) -> bool {
        let (old_end, new_end) = (old + old_len, old + new_len);
        if new_len <= old_len {
            if new_end < old_end {
                self.unmap_locked(vmas, new_end, old_end);
            }
            return true;
        }
        let fits = vma.end == old_end
            && new_end.0 <= TASK_SIZE
            && vmas.overlapping(old_end, new_end).is_empty();
        if fits {
            for part in vmas.take(old, old_end) {
                vmas.insert(Vma {
                    end: new_end,
                    soft_dirty: true,
                    ..part
                });
            }
            self.note_locked(vmas);
        }
        fits
    }

    fn move_mapping(
        &self,
        vmas: &mut VmaTree,
        old: Va,
        old_end: Va,
        target: Va,
        new_len: u64,
        keep: bool,
    ) {
        self.sys.event(
            "mremap",
            &[
                ("mm", self.id),
                ("addr", old.0),
                ("to", target.0),
                ("len", new_len),
            ],
        );
        let invalidation = self.invalidate(old, old_end, MmuNotifyEvent::Unmap);
        for part in vmas.take(old, old_end) {
            if keep {
                let mut left = part.clone();
                left.flags.locked = false;
                // Its contents are gone.
                left.soft_dirty = true;
                left.userfault = None;
                vmas.insert(left);
            }
            self.userfault_unmapped(&part);
            vmas.insert(Vma {
                start: target,
                end: target + new_len,
                soft_dirty: true,
                userfault: None,
                ..part
            });
        }
        self.note_locked(vmas);
        self.move_entries(old, old_end, target);
        drop(invalidation);
    }

    fn move_entries(&self, old: Va, old_end: Va, target: Va) {
        let mut pt = self.pt.lock();
        let delta = target.page().wrapping_sub(old.page());
        if delta != huge_base(delta) {
            // What is huge at the old place cannot be at the new one.
            for entry in pt.range_sized(old.page(), old_end.page()) {
                if entry.is_huge() {
                    pt.split(entry.page);
                }
            }
        }
        for entry in pt.range_sized(old.page(), old_end.page()) {
            let pte = entry.pte;
            let moved = Entry {
                page: entry.page.wrapping_add(delta),
                ..entry
            };
            pt.replace(entry, Pte::None);
            pt.replace(moved, pte);
            let Some(pfn) = pte.pfn().filter(|&pfn| !self.sys.is_zero_page(pfn)) else {
                continue;
            };
            self.sys.frames.with_run(pfn, entry.pages(), |n, frame| {
                let (from, to) = (self.place(entry.page + n), self.place(moved.page + n));
                let list = if matches!(pte, Pte::Migration { .. }) {
                    &mut frame.migrating
                } else {
                    &mut frame.mapped
                };
                for place in list.iter_mut().filter(|place| **place == from) {
                    *place = to;
                }
            });
        }
    }
}
