//! Moving pages between system memory and device memory.
//!
//! The device's tables are not touched here: the invalidation that a migration sends takes the old entries away
//! before anything is copied, and new ones are looked up afterwards like any other, checked against later changes.

use crate::copier::{PageCopy, Source};
use crate::core::Core;
use crate::counters::Tick;
use crate::mem::DevPa;
use crate::policy::PageRange;
use crate::pool::Use;
use hmm_core::{
    Errno, MigratePfn, MigrateSelect, MigrateVma, Mm, MmapReadGuard, PAGE_SIZE, Pfn, VmaInfo,
    migrate_vma_finalize, migrate_vma_pages, migrate_vma_setup,
};
use std::sync::Arc;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Into device memory.
    ToDevice,
    /// Home.
    ToSystem,
}

impl Direction {
    /// The pages that can go this way.
    fn select(self, core: &Core) -> MigrateSelect {
        match self {
            Self::ToDevice => MigrateSelect::SYSTEM,
            Self::ToSystem if core.config.coherent => MigrateSelect::DEVICE_COHERENT,
            Self::ToSystem => MigrateSelect::DEVICE_PRIVATE,
        }
    }
}

/// A mapping that the caller may migrate from.
fn readable(vma: Option<VmaInfo>) -> Result<VmaInfo, Errno> {
    vma.filter(|vma| vma.prot.read).ok_or(Errno::EINVAL)
}

/// Migrates all pages of a range that can be; returns how many moved. A hole or an unreadable mapping ends it with
/// EINVAL; the pages before it have moved by then.
pub(crate) fn range(
    core: &Core,
    mm: &Arc<Mm>,
    range: PageRange,
    way: Direction,
) -> Result<u64, Errno> {
    let batch = core.config.migrate_batch.max(1) as u64 * PAGE_SIZE;
    let mut moved = 0;
    let mut at = range.start;
    while at < range.end {
        let guard = mm.mmap_read_lock();
        let vma = readable(guard.find_vma(at))?;
        let end = range.end.min(vma.end).min(at + batch);
        moved += piece(core, &guard, PageRange { start: at, end }, way)?;
        at = end;
    }
    Ok(moved)
}

/// Migrates to device memory what is easily moved: within the mapping of the range's pages, without errors for
/// those that stay.
pub(crate) fn prefer_device(core: &Core, mm: &Arc<Mm>, range: PageRange) -> Result<u64, Errno> {
    let mut moved = 0;
    let mut at = range.start;
    while at < range.end {
        let guard = mm.mmap_read_lock();
        match guard
            .find_vma(at)
            .filter(|vma| vma.prot.read && !vma.shared)
        {
            Some(vma) => {
                let end = range.end.min(vma.end);
                moved += piece(
                    core,
                    &guard,
                    PageRange { start: at, end },
                    Direction::ToDevice,
                )?;
                at = end;
            }
            None => at = at + PAGE_SIZE,
        }
    }
    Ok(moved)
}

/// Migrates the pages of a range inside one mapping.
pub(crate) fn piece(
    core: &Core,
    guard: &MmapReadGuard<'_>,
    range: PageRange,
    way: Direction,
) -> Result<u64, Errno> {
    let mut args = MigrateVma::new(range.start, range.end, way.select(core), core.owner());
    run(core, guard, &mut args, way).map(|done| done.moved)
}

/// Brings one page home for a CPU fault. False when there was no memory for it or its content could not be read:
/// then it is where it was. A page that somebody else works on is none of these; the access faults again.
pub(crate) fn home(
    core: &Core,
    guard: &MmapReadGuard<'_>,
    range: PageRange,
    fault_page: Pfn,
) -> Result<bool, Errno> {
    let select = Direction::ToSystem.select(core);
    let mut args = MigrateVma::new(range.start, range.end, select, core.owner());
    args.fault_page = Some(fault_page);
    let done = run(core, guard, &mut args, Direction::ToSystem)?;
    Ok(done.asked == 0 || done.filled > 0)
}

/// What became of a migration, in pages.
struct Done {
    /// Could move.
    asked: u64,
    /// Had a destination with their content.
    filled: u64,
    /// Moved.
    moved: u64,
}

fn run(
    core: &Core,
    guard: &MmapReadGuard<'_>,
    args: &mut MigrateVma,
    way: Direction,
) -> Result<Done, Errno> {
    migrate_vma_setup(guard, args)?;
    let asked = args.cpages;
    args.dst = fill(core, &args.src, way);
    let filled = args.dst.iter().filter(|dst| dst.pfn().is_some()).count() as u64;
    migrate_vma_pages(guard, args);
    let moved = count(&args.src, &args.dst);
    core.trace(
        if way == Direction::ToDevice {
            "migrate_to_device"
        } else {
            "migrate_to_system"
        },
        &[
            ("start", args.start.0),
            ("end", args.end.0),
            ("asked", asked),
            ("moved", moved),
        ],
    );
    note(core, way, asked, moved);
    migrate_vma_finalize(guard, args);
    Ok(Done {
        asked,
        filled,
        moved,
    })
}

/// Pages that were switched.
pub(crate) fn count(src: &[MigratePfn], dst: &[MigratePfn]) -> u64 {
    src.iter()
        .zip(dst)
        .filter(|(src, dst)| src.is_migrate() && dst.pfn().is_some())
        .count() as u64
}

/// Counts a migration.
pub(crate) fn note(core: &Core, way: Direction, asked: u64, moved: u64) {
    let tick = if way == Direction::ToDevice {
        Tick::PagesToDevice
    } else {
        Tick::PagesToSystem
    };
    core.counters.add(tick, moved);
    core.counters
        .add(Tick::MigrateFailed, asked.saturating_sub(moved));
}

/// Destinations for all sources that can move, locked and with their content; 0 where there is no memory or the
/// content could not be copied. Those pages stay where they are.
pub(crate) fn fill(core: &Core, sources: &[MigratePfn], way: Direction) -> Vec<MigratePfn> {
    let mut dst = vec![MigratePfn(0); sources.len()];
    let mut places = Vec::new();
    let mut copies = Vec::new();
    for (i, src) in sources
        .iter()
        .enumerate()
        .filter(|(_, src)| src.is_migrate())
    {
        let from = match src.pfn() {
            None => Some(Source::Zero),
            Some(pfn) => core.page_pa(pfn).map(Source::Page),
        };
        let Some(from) = from else { continue };
        if let Some((pfn, to)) = alloc(core, way) {
            dst[i] = MigratePfn::page(pfn);
            places.push((i, pfn));
            copies.push(PageCopy {
                dst: to,
                src: from,
                pages: 1,
            });
        }
    }
    for ((i, pfn), result) in places.into_iter().zip(core.copier.pages(&copies)) {
        if let Err(error) = result {
            core.trace(
                "copy_failed",
                &[("pfn", pfn.0), ("errno", u64::from(error.errno().raw()))],
            );
            dst[i] = MigratePfn(0);
            core.sys.unlock_page(pfn);
            core.sys.put_page(pfn);
        }
    }
    dst
}

/// A locked page to move to, and where the device finds it.
fn alloc(core: &Core, way: Direction) -> Option<(Pfn, DevPa)> {
    match way {
        Direction::ToDevice => {
            let pagemap = core.pagemap.get()?;
            let addr = core.pool.alloc(Use::Folio)?;
            let pfn = core.vram_pfn(addr);
            pagemap.init_page(pfn);
            Some((pfn, DevPa::vram(addr)))
        }
        Direction::ToSystem => {
            let pfn = core.sys.alloc_page()?;
            core.sys.lock_page(pfn);
            Some((pfn, DevPa::system(core.hw.dma.page_addr(pfn))))
        }
    }
}
