//! Pages with consecutive numbers: those of huge pages.

use crate::addr::{HUGE_PAGES, Pfn};
use crate::frame::Frame;
use crate::frames::{Frames, LOCK_QUEUES};
use crate::sync;

impl Frames {
    /// Looks at or changes `n` pages with consecutive numbers, all at one moment.
    #[track_caller]
    pub fn with_run(&self, first: Pfn, n: u64, mut f: impl FnMut(u64, &mut Frame)) {
        let mut inner = self.inner();
        let run = inner
            .run(first, n)
            .unwrap_or_else(|| panic!("{first} and {n} pages on are no pages"));
        for (n, frame) in (0..).zip(run) {
            f(n, frame);
        }
    }

    /// Whether something holds for `n` pages with consecutive numbers.
    #[track_caller]
    pub fn all(&self, first: Pfn, n: u64, mut f: impl FnMut(u64, &Frame) -> bool) -> bool {
        let mut all = true;
        self.with_run(first, n, |n, frame| all = all && f(n, frame));
        all
    }

    /// The huge page with the lowest number whose pages are all free, each with one reference.
    pub fn alloc_huge(&self) -> Option<Pfn> {
        let mut inner = self.inner();
        let first = Pfn(inner.free.take_huge()?);
        for frame in inner.run(first, HUGE_PAGES)? {
            *frame = Frame {
                refs: 1,
                ..Frame::default()
            };
        }
        Some(first)
    }

    /// Takes references and locks of `n` pages with consecutive numbers, all or none: none if one is
    /// locked. The lock of `skip` is the caller's already.
    pub fn try_get_locked_run(&self, first: Pfn, n: u64, skip: Option<Pfn>) -> bool {
        let ours = |n| skip == Some(first + n);
        let can = self.all(first, n, |n, frame| {
            frame.refs > 0 && (ours(n) || !frame.locked)
        });
        if can {
            self.with_run(first, n, |_, frame| {
                frame.refs += 1;
                frame.locked = true;
            });
        }
        can
    }

    /// Unlocks `n` pages with consecutive numbers, but not `skip`.
    #[track_caller]
    pub fn unlock_run(&self, first: Pfn, n: u64, skip: Option<Pfn>) {
        self.with_run(first, n, |n, frame| {
            let pfn = first + n;
            if skip != Some(pfn) {
                let was = std::mem::replace(&mut frame.locked, false);
                assert!(was, "an unlock of {pfn}, which is not locked");
            }
        });
        for n in 0..n.min(LOCK_QUEUES as u64) {
            self.queue(first + n).wake_all();
        }
        sync::preempt();
    }

    /// Drops a reference to each of `n` pages with consecutive numbers.
    #[track_caller]
    pub fn put_run(&self, first: Pfn, n: u64) {
        for n in 0..n {
            self.put(first + n);
        }
    }

    /// Counts pages that belong to a hugetlb reserve.
    pub fn set_aside(&self, pages: u64) {
        self.inner().set_aside += pages;
    }

    /// They are used, or given back.
    pub fn use_set_aside(&self, pages: u64) {
        self.inner().set_aside -= pages;
    }

    pub fn pages_set_aside(&self) -> u64 {
        self.inner().set_aside
    }
}
