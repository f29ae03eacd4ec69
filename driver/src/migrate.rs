//! Moving pages between system memory and device memory.
//!
//! The device's tables are not touched here: the invalidation that a migration sends takes the old entries away
//! before anything is copied, and new ones are looked up afterwards like any other, checked against later changes.

use crate::copy_plan::{PageCopy, Source};
use crate::core::Core;
use crate::counters::Tick;
use crate::mem::DevPa;
use crate::policy::PageRange;
use crate::pool::Use;
use hmm_core::{
    DevFault, Errno, HUGE_ORDER, HUGE_SIZE, MigratePfn, MigrateSelect, MigrateVma, Mm,
    MmapReadGuard, PAGE_SIZE, Pfn, Va, VmaInfo, migrate_vma_finalize, migrate_vma_pages,
    migrate_vma_setup,
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
        let select = match self {
            Self::ToDevice => MigrateSelect::SYSTEM,
            Self::ToSystem if core.config.coherent => MigrateSelect::DEVICE_COHERENT,
            Self::ToSystem => MigrateSelect::DEVICE_PRIVATE,
        };
        if core.config.large_pages {
            select.compound()
        } else {
            select
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
    let mut moved = 0;
    let mut at = range.start;
    while at < range.end {
        let guard = mm.mmap_read_lock();
        let vma = readable(guard.find_vma(at))?;
        let end = batch_end(core, at, range.end.min(vma.end));
        moved += piece(core, &guard, PageRange { start: at, end }, way)?;
        at = end;
    }
    Ok(moved)
}

/// Where a batch that begins at `at` ends: a whole 2 MiB goes at once, and no batch ends inside of one that could.
fn batch_end(core: &Core, at: Va, end: Va) -> Va {
    let batch = at + core.config.migrate_batch.max(1) as u64 * PAGE_SIZE;
    if !core.config.large_pages {
        return end.min(batch);
    }
    if at.is_huge_aligned() && end - at >= HUGE_SIZE {
        return at + HUGE_SIZE;
    }
    end.min(batch).min((at + HUGE_SIZE).huge_align_down())
}

/// Migrates to device memory what is easily moved of some ranges: the pages of private mappings, without errors for those
/// that stay. Their contents go in common batches. Returns how many pages moved.
pub(crate) fn prefer_device(core: &Core, mm: &Arc<Mm>, ranges: &[PageRange]) -> u64 {
    let most = core.config.migrate_batch.max(1) as u64;
    let mut left = ranges.iter().copied().peekable();
    let mut moved = 0;
    while left.peek().is_some() {
        let guard = mm.mmap_read_lock();
        let mut batch = Vec::new();
        let mut pages = 0;
        while pages < most
            && let Some(range) = left.next()
        {
            for piece in private_pieces(&guard, range) {
                let mut args = arguments(core, piece, Direction::ToDevice);
                if migrate_vma_setup(&guard, &mut args).is_ok() {
                    pages += args.npages() as u64;
                    batch.push(args);
                }
            }
        }
        moved += complete(core, &guard, &mut batch, Direction::ToDevice, |_| true).moved;
    }
    moved
}

/// The parts of a range that lie in private mappings that can be read.
fn private_pieces(guard: &MmapReadGuard<'_>, range: PageRange) -> Vec<PageRange> {
    let mut pieces = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let vma = guard
            .find_vma(at)
            .filter(|vma| vma.prot.read && !vma.shared);
        let end = match vma {
            Some(vma) => {
                let end = range.end.min(vma.end);
                pieces.push(PageRange { start: at, end });
                end
            }
            None => at + PAGE_SIZE,
        };
        at = end;
    }
    pieces
}

fn arguments(core: &Core, range: PageRange, way: Direction) -> MigrateVma {
    MigrateVma::new(range.start, range.end, way.select(core), core.owner())
}

/// Migrates the pages of a range inside one mapping.
pub(crate) fn piece(
    core: &Core,
    guard: &MmapReadGuard<'_>,
    range: PageRange,
    way: Direction,
) -> Result<u64, Errno> {
    let args = arguments(core, range, way);
    run(core, guard, args, way, |_| true).map(|done| done.moved)
}

/// Brings a page home for a CPU fault, and with it all 2 MiB that the process maps by one entry, if there is room for
/// them as one. A page that somebody else works on is left to them: the access faults again.
///
/// # Errors
/// ENOMEM when there was no memory for the page, EIO when its content could not be read: then it is where it was.
pub(crate) fn home(core: &Core, fault: &DevFault<'_>) -> Result<(), Errno> {
    let single = PageRange {
        start: fault.va,
        end: fault.va + PAGE_SIZE,
    };
    let whole = fault.huge_start().filter(|_| core.config.large_pages);
    let range = whole.map_or(single, |start| PageRange {
        start,
        end: start + HUGE_SIZE,
    });
    let mut args = arguments(core, range, Direction::ToSystem);
    args.fault_page = Some(fault.pfn);
    let page = ((fault.va - range.start) / PAGE_SIZE) as usize;
    let done = run(core, fault.guard, args, Direction::ToSystem, |i| i == page)?;
    match done {
        Done { filled: true, .. } | Done { tried: false, .. } => Ok(()),
        Done {
            no_memory: true, ..
        } => Err(Errno::ENOMEM),
        _ => Err(Errno::EIO),
    }
}

/// What became of a migration.
struct Done {
    /// Pages that moved.
    moved: u64,
    /// Some page could move, and was wanted.
    tried: bool,
    /// Some page got a destination with its content.
    filled: bool,
    /// Some page got no destination.
    no_memory: bool,
}

fn run(
    core: &Core,
    guard: &MmapReadGuard<'_>,
    mut args: MigrateVma,
    way: Direction,
    singly: impl Fn(usize) -> bool,
) -> Result<Done, Errno> {
    migrate_vma_setup(guard, &mut args)?;
    Ok(complete(core, guard, &mut [args], way, singly))
}

/// Does the rest of migrations of one process that were set up; the pages of all are copied together. Entries count over
/// all of them for `singly`, which is as for [`fill`].
fn complete(
    core: &Core,
    guard: &MmapReadGuard<'_>,
    all: &mut [MigrateVma],
    way: Direction,
    singly: impl Fn(usize) -> bool,
) -> Done {
    let sources: Vec<MigratePfn> = all.iter().flat_map(|args| &args.src).copied().collect();
    let tried =
        |(i, src): (usize, &MigratePfn)| src.is_migrate() && (src.is_compound() || singly(i));
    let tried = sources.iter().enumerate().any(tried);
    let (dst, no_memory) = fill(core, &sources, way, singly);
    let mut done = Done {
        moved: 0,
        tried,
        filled: dst.iter().any(|dst| dst.pfn().is_some()),
        no_memory,
    };
    let mut dst = dst.into_iter();
    for args in all {
        args.dst = dst.by_ref().take(args.src.len()).collect();
        let asked = asked(&args.src);
        migrate_vma_pages(guard, args);
        let moved = count(&args.src, &args.dst);
        let name = match way {
            Direction::ToDevice => "migrate_to_device",
            Direction::ToSystem => "migrate_to_system",
        };
        let fields = [
            ("start", args.start.0),
            ("end", args.end.0),
            ("asked", asked),
            ("moved", moved),
        ];
        core.trace(name, &fields);
        note(core, way, asked, moved);
        migrate_vma_finalize(guard, args);
        done.moved += moved;
    }
    done
}

/// Pages that can move.
pub(crate) fn asked(src: &[MigratePfn]) -> u64 {
    src.iter()
        .filter(|src| src.is_migrate())
        .map(|src| src.pages())
        .sum()
}

/// Pages that were switched.
pub(crate) fn count(src: &[MigratePfn], dst: &[MigratePfn]) -> u64 {
    src.iter()
        .zip(dst)
        .filter(|(src, dst)| src.is_migrate() && dst.pfn().is_some())
        .map(|(src, _)| src.pages())
        .sum()
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
/// content could not be copied. Those pages stay where they are. 2 MiB get a destination of 2 MiB, or if there is none
/// single pages. Of single pages only those with a number that is wanted `singly` get one. The second result tells that
/// some page got none for want of memory.
pub(crate) fn fill(
    core: &Core,
    sources: &[MigratePfn],
    way: Direction,
    singly: impl Fn(usize) -> bool,
) -> (Vec<MigratePfn>, bool) {
    let mut plan = Plan {
        core,
        way,
        dst: vec![MigratePfn(0); sources.len()],
        places: Vec::new(),
        copies: Vec::new(),
        no_memory: false,
    };
    for (i, src) in sources.iter().enumerate() {
        if !src.is_migrate() || src.is_compound() && plan.add(i, *src) {
            continue;
        }
        for n in 0..src.pages() {
            let place = i + n as usize;
            if singly(place) {
                plan.no_memory |= !plan.add(place, single(*src, n));
            }
        }
    }
    let no_memory = plan.no_memory;
    (plan.copy(), no_memory)
}

/// The `n`-th page of a source, by itself.
fn single(src: MigratePfn, n: u64) -> MigratePfn {
    match src.pfn() {
        Some(pfn) => MigratePfn(MigratePfn::page(pfn + n).0 | MigratePfn::MIGRATE),
        None => MigratePfn(MigratePfn::MIGRATE),
    }
}

/// Destinations being made.
struct Plan<'a> {
    core: &'a Core,
    way: Direction,
    dst: Vec<MigratePfn>,
    places: Vec<usize>,
    copies: Vec<PageCopy>,
    no_memory: bool,
}

impl Plan<'_> {
    /// Finds a destination of the source's size; false when there is none.
    fn add(&mut self, place: usize, src: MigratePfn) -> bool {
        let from = match src.pfn() {
            None => Some(Source::Zero),
            Some(pfn) => self.core.page_pa(pfn).map(Source::Page),
        };
        let large = src.is_compound();
        let found = from.and_then(|from| Some((from, alloc(self.core, self.way, large)?)));
        let Some((src_at, (pfn, to))) = found else {
            return false;
        };
        self.dst[place] = if large {
            MigratePfn::huge(pfn)
        } else {
            MigratePfn::page(pfn)
        };
        self.places.push(place);
        self.copies.push(PageCopy {
            dst: to,
            src: src_at,
            pages: src.pages() as usize,
        });
        true
    }

    /// Gives the destinations their content.
    fn copy(mut self) -> Vec<MigratePfn> {
        let core = self.core;
        let results = core.copier.pages(&self.copies);
        for (place, result) in self.places.into_iter().zip(results) {
            let Err(error) = result else { continue };
            let dst = std::mem::take(&mut self.dst[place]);
            let Some(first) = dst.pfn() else { continue };
            core.trace(
                "copy_failed",
                &[("pfn", first.0), ("errno", u64::from(error.errno().raw()))],
            );
            for n in 0..dst.pages() {
                core.sys.unlock_page(first + n);
                core.sys.put_page(first + n);
            }
        }
        self.dst
    }
}

/// A locked page, or 2 MiB of them, to move to, and where the device finds it.
fn alloc(core: &Core, way: Direction, large: bool) -> Option<(Pfn, DevPa)> {
    let order = if large { HUGE_ORDER } else { 0 };
    match way {
        Direction::ToDevice => {
            let pagemap = core.pagemap.get()?;
            let addr = if large {
                core.pool.alloc_large()?
            } else {
                core.pool.alloc(Use::Folio)?
            };
            let pfn = core.vram_pfn(addr);
            pagemap.init_folio(pfn, order);
            Some((pfn, DevPa::vram(addr)))
        }
        Direction::ToSystem => {
            let pfn = core.sys.alloc_folio(order)?;
            let at = core.page_pa(pfn)?;
            for n in 0..1 << order {
                // Nobody else knows of it, so that this never fails.
                core.sys.try_lock_page(pfn + n);
            }
            Some((pfn, at))
        }
    }
}
