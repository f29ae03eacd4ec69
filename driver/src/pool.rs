//! The pages of device memory, shared by page tables, programs and stacks, and pages of processes.

use crate::hw::VramAddr;
use hmm_core::sync::Mutex;
use hmm_core::{HUGE_PAGES, PAGE_SIZE};

/// What a page of device memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A page table.
    Table,
    /// Code, arguments or stacks of a context.
    Arena,
    /// A page of a process.
    Folio,
}

#[derive(Default)]
struct State {
    /// Bit set: the page is free.
    free: Vec<u64>,
    free_pages: u64,
    used: [u64; 3],
    fail_next: u64,
    /// While set, no page is given to processes (all of them are being sent home).
    closed_to_folios: bool,
}

/// Allocator of VRAM pages; always gives the lowest free one, so that runs repeat.
pub(crate) struct PagePool {
    pages: u64,
    state: Mutex<State>,
}

impl PagePool {
    /// A pool of `pages` free pages.
    pub fn new(pages: u64) -> Self {
        let words = pages.div_ceil(64) as usize;
        let mut free = vec![u64::MAX; words];
        if !pages.is_multiple_of(64)
            && let Some(last) = free.last_mut()
        {
            *last = (1 << (pages % 64)) - 1;
        }
        let state = State {
            free,
            free_pages: pages,
            ..State::default()
        };
        Self {
            pages,
            state: Mutex::new(state),
        }
    }

    /// Pages in all.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Pages that are not free.
    pub fn in_use(&self) -> u64 {
        self.pages - self.state.lock().free_pages
    }

    /// Pages of one use.
    pub fn used_for(&self, what: Use) -> u64 {
        self.state.lock().used[what as usize]
    }

    /// Makes the next `count` allocations for processes fail, large ones and single pages alike.
    pub fn fail_next(&self, count: u64) {
        self.state.lock().fail_next = count;
    }

    /// Stops or allows allocations for processes.
    pub fn close_to_folios(&self, closed: bool) {
        self.state.lock().closed_to_folios = closed;
    }

    /// The lowest free page, or `None` when there is none. Its content is what the last user left.
    pub fn alloc(&self, what: Use) -> Option<VramAddr> {
        let mut state = self.state.lock();
        if what == Use::Folio {
            if state.closed_to_folios {
                return None;
            }
            if state.fail_next > 0 {
                state.fail_next -= 1;
                return None;
            }
        }
        let word = state.free.iter().position(|w| *w != 0)?;
        let bit = state.free[word].trailing_zeros();
        state.free[word] &= !(1 << bit);
        state.free_pages -= 1;
        state.used[what as usize] += 1;
        Some(VramAddr((word as u64 * 64 + u64::from(bit)) * PAGE_SIZE))
    }

    /// The lowest 2 MiB of free pages that begin at a multiple of 2 MiB, for a process. Counts as one allocation for
    /// [`PagePool::fail_next`].
    pub fn alloc_large(&self) -> Option<VramAddr> {
        const WORDS: usize = (HUGE_PAGES / 64) as usize;
        let mut state = self.state.lock();
        if state.closed_to_folios {
            return None;
        }
        if state.fail_next > 0 {
            state.fail_next -= 1;
            return None;
        }
        let whole = |words: &[u64]| words.len() == WORDS && words.iter().all(|w| *w == u64::MAX);
        let block = state.free.chunks(WORDS).position(whole)?;
        state.free[block * WORDS..(block + 1) * WORDS].fill(0);
        state.free_pages -= HUGE_PAGES;
        state.used[Use::Folio as usize] += HUGE_PAGES;
        Some(VramAddr(block as u64 * HUGE_PAGES * PAGE_SIZE))
    }

    /// Gives a page back. A page that is free already is left alone.
    pub fn free(&self, addr: VramAddr, what: Use) {
        let page = addr.0 / PAGE_SIZE;
        let (word, bit) = ((page / 64) as usize, page % 64);
        let mut state = self.state.lock();
        let Some(bits) = state.free.get_mut(word) else {
            return;
        };
        debug_assert!(*bits & (1 << bit) == 0, "VRAM page {page} freed twice");
        if *bits & (1 << bit) == 0 {
            *bits |= 1 << bit;
            state.free_pages += 1;
            state.used[what as usize] -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pages_are_aligned_and_whole() {
        let pool = PagePool::new(3 * HUGE_PAGES + 100);
        let low = pool.alloc(Use::Table);
        assert_eq!(low, Some(VramAddr(0)));
        let large = HUGE_PAGES * PAGE_SIZE;
        assert_eq!(pool.alloc_large(), Some(VramAddr(large)));
        pool.fail_next(1);
        assert_eq!(pool.alloc_large(), None);
        assert_eq!(pool.alloc_large(), Some(VramAddr(2 * large)));
        // The first block has a page in use, the last one is not whole.
        assert_eq!(pool.alloc_large(), None);
        assert_eq!(pool.used_for(Use::Folio), 2 * HUGE_PAGES);
        for page in 0..HUGE_PAGES {
            pool.free(VramAddr(large + page * PAGE_SIZE), Use::Folio);
        }
        pool.close_to_folios(true);
        assert_eq!(pool.alloc_large(), None);
        pool.close_to_folios(false);
        assert_eq!(pool.alloc_large(), Some(VramAddr(large)));
        assert_eq!(pool.in_use(), 2 * HUGE_PAGES + 1);
    }
}
