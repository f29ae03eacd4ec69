//! The rules between the device's tables, the process's page table and the page pool, checked against the whole
//! state; for tests and scenarios.

use crate::context::Context;
use crate::core::Core;
use crate::policy::PageRange;
use crate::pool::Use;
use crate::pte;
use crate::table::LivePage;
use hmm_core::addr::TASK_SIZE;
use hmm_core::{Pfn, Pte, Va, sync};
use std::collections::BTreeMap;

/// How often other threads are let run until the counts of device memory agree: a page changes hands in two steps.
const SETTLE: u32 = 64;

/// What an entry of the process's page table lets the device do.
struct Allowed {
    pfn: Pfn,
    write: bool,
    /// The CPU cannot reach the page meanwhile.
    exclusive: bool,
}

fn allowed(entry: Pte, owner: u64) -> Option<Allowed> {
    let (pfn, write, exclusive) = match entry {
        Pte::Present(present) if !present.none => (present.pfn, present.write, false),
        Pte::Device {
            pfn,
            write,
            none: false,
            ..
        } => (pfn, write, false),
        Pte::Exclusive {
            pfn,
            owner: whose,
            none: false,
            ..
        } if whose == owner => (pfn, true, true),
        _ => return None,
    };
    Some(Allowed {
        pfn,
        write,
        exclusive,
    })
}

impl Context {
    /// Checks that every page that the device may use is the one that the process's page table names, with no more
    /// permission than there, and that the counts of device memory in use agree. Holds at every moment, also while
    /// an invalidation is under way; takes no simulated time.
    ///
    /// # Errors
    /// Names the first page (or count) that is wrong, and how.
    pub fn check_mirror(&self) -> Result<(), String> {
        self.check_entries()?;
        self.core.check_memory()
    }

    fn check_entries(&self) -> Result<(), String> {
        let user = PageRange {
            start: Va(0),
            end: Va(TASK_SIZE),
        };
        // Under this lock nothing is installed, and an invalidation has not begun or has already revoked.
        let space = self.space.lock();
        let live = space.table.as_ref().map(|table| table.live(user));
        let live = live.unwrap_or_default();
        let (Some(first), Some(last)) = (live.first(), live.last()) else {
            return Ok(());
        };
        let entries: BTreeMap<Va, Pte> = self
            .mm
            .ptes(first.va, last.va + hmm_core::PAGE_SIZE)
            .into_iter()
            .collect();
        for page in live {
            let entry = entries.get(&page.va).copied().unwrap_or_default();
            self.check_page(&page, entry).map_err(|what| {
                format!(
                    "context {} of process {}: {what}: {page:x?}, the process has {entry:?}",
                    self.id,
                    self.mm.id()
                )
            })?;
        }
        Ok(())
    }

    fn check_page(&self, page: &LivePage, entry: Pte) -> Result<(), &'static str> {
        let Some(allowed) = allowed(entry, self.core.owner()) else {
            return Err("the device maps what the process has no page for");
        };
        if page.pfn != Some(allowed.pfn) || self.core.page_pa(allowed.pfn) != Some(page.page) {
            return Err("the device maps another page");
        }
        if page.exclusive != allowed.exclusive {
            return Err("device and process do not agree who has the page to itself");
        }
        if page.flags & pte::W != 0 && !allowed.write {
            return Err("the device may write a page that the process may not");
        }
        Ok(())
    }
}

impl Core {
    /// Checks that the pages that the pool has given to processes are those that hmm-core has in use, or that memory
    /// failures took.
    pub fn check_memory(&self) -> Result<(), String> {
        let Some(pagemap) = self.pagemap.get() else {
            return Ok(());
        };
        let counts = || {
            let (given, used) = (self.pool.used_for(Use::Folio), pagemap.used());
            // Looking for lost pages takes long: only when there may be some.
            let lost = if given == used { 0 } else { pagemap.lost() };
            (given, used + lost)
        };
        for _ in 0..SETTLE {
            let (given, used) = counts();
            if given == used {
                return Ok(());
            }
            sync::yield_now();
        }
        let (given, used) = counts();
        Err(format!(
            "{given} pages of device memory are given to processes, {used} are in use"
        ))
    }
}
