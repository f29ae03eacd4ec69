//! The copy channel: physical copies for migration, translated copies for programs.
//!
//! The channel works in order, and a translated descriptor that faults waits inside it for the fault worker. The
//! fault worker in turn may have to wait for a migration. So a physical copy never queues behind a translated
//! one: while one is in the channel, the CPU moves the bytes through the VRAM window instead. The CPU also does it
//! when the channel has failed, so that data in VRAM comes home even then.

use crate::commands::CtxId;
use crate::counters::{Counters, Tick};
use crate::error::DriverError;
use crate::health::Health;
use crate::hw::{Hardware, HwError};
use crate::mem::{DevMem, DevPa};
use crate::ring::{Index, Push, Ring, RingRegs};
use hmm_core::sync::Mutex;
use hmm_core::{PAGE_SIZE, Va};
use hmmu_regs::{Completion, CopyEntry, CopyOp, FORMAT_VERSION, JobStatus, reg};
use std::collections::VecDeque;
use std::sync::Arc;

/// Where the bytes of a page come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Another page.
    Page(DevPa),
    /// Zeros.
    Zero,
}

/// Pages with consecutive addresses to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageCopy {
    /// The first page.
    pub dst: DevPa,
    /// Its new content.
    pub src: Source,
    /// How many.
    pub pages: usize,
}

/// How a translated copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyEnd {
    /// Status byte.
    pub status: u8,
    /// Address of the first error.
    pub info: u64,
}

/// Copies of consecutive addresses, done by one descriptor.
#[derive(Clone, Copy)]
struct Run {
    /// The first one in the list.
    first: usize,
    /// How many copies.
    items: usize,
    pages: usize,
}

/// What became of a physical descriptor.
enum Issued {
    /// It is in the channel.
    At(Index),
    /// No room now.
    Full,
    /// The CPU has to do the work.
    ByCpu,
}

/// The copy channel.
pub(crate) struct Copier {
    ring: Ring,
    mem: Arc<DevMem>,
    health: Arc<Health>,
    counters: Arc<Counters>,
    ring_cycles: u64,
    copy_cycles: u64,
    /// The newest translated descriptor.
    translated: Mutex<Option<Index>>,
}

/// Most pages in one descriptor that single pages are joined to: a long one delays everybody behind it.
const RUN_PAGES: usize = 16;

fn copy_entry(op: CopyOp) -> CopyEntry {
    CopyEntry::default()
        .with_version(FORMAT_VERSION)
        .with_op(op as u64)
}

impl Copier {
    /// Sets up the ring.
    pub fn new(
        hw: &Hardware,
        mem: Arc<DevMem>,
        health: Arc<Health>,
        counters: Arc<Counters>,
        log2: u32,
        ring_cycles: u64,
        copy_cycles: u64,
    ) -> Result<Self, DriverError> {
        let regs = RingRegs {
            name: "copy",
            base: reg::COPY_BASE,
            size: reg::COPY_SIZE,
            prod: reg::COPY_PROD,
            dead: 1 << 1 | 1 << 9,
        };
        let ring = Ring::new(hw, regs, log2)?;
        let translated = Mutex::new(None);
        Ok(Self {
            ring,
            mem,
            health,
            counters,
            ring_cycles,
            copy_cycles,
            translated,
        })
    }

    /// As [`Ring::restart`].
    pub fn restart(&self, status: u64) -> Result<(), HwError> {
        self.ring.restart(status)
    }

    /// As [`Ring::rearm`].
    pub fn rearm(&self) -> Result<(), HwError> {
        *self.translated.lock() = None;
        self.ring.rearm()
    }

    /// Does the copies; one result for each. Returns when all are done or have failed.
    pub fn pages(&self, list: &[PageCopy]) -> Vec<Result<(), DriverError>> {
        let mut results: Vec<Result<(), DriverError>> = list.iter().map(|_| Ok(())).collect();
        let mut issued: VecDeque<(Index, Run)> = VecDeque::new();
        let mut by_cpu: Vec<Run> = Vec::new();
        for run in runs_of(list) {
            loop {
                match self.issue(list[run.first], run.pages) {
                    Issued::At(index) => issued.push_back((index, run)),
                    Issued::ByCpu => by_cpu.push(run),
                    // Never wait for room while keeping some: the others do as well.
                    Issued::Full => {
                        if let Some((index, done)) = issued.pop_front() {
                            if !self.finish(index) {
                                by_cpu.push(done);
                            }
                            continue;
                        }
                        if self.wait_for_room().is_ok() {
                            continue;
                        }
                        by_cpu.push(run);
                    }
                }
                break;
            }
        }
        for (index, run) in issued {
            if !self.finish(index) {
                by_cpu.push(run);
            }
        }
        for run in by_cpu {
            for item in run.first..run.first + run.items {
                results[item] = self.by_cpu(list[item]);
            }
        }
        results
    }

    fn wait_for_room(&self) -> Result<(), DriverError> {
        let what = || "the copy ring (full)".to_owned();
        let room = || self.ring.has_room();
        self.health.wait(what, self.ring_cycles, room)
    }

    /// Puts a physical descriptor into the channel.
    fn issue(&self, first: PageCopy, pages: usize) -> Issued {
        if self.health.is_lost() {
            return Issued::ByCpu;
        }
        let bytes = pages as u64 * PAGE_SIZE;
        let descriptor = match first.src {
            Source::Page(src) => copy_entry(CopyOp::Copy).with_src(src.0),
            Source::Zero => copy_entry(CopyOp::Fill),
        }
        .with_dst(first.dst.0)
        .with_len(bytes);
        // Taken first, so that no translated descriptor gets in between the look and the push.
        let translated = self.translated.lock();
        let clear = translated.is_none_or(|index| self.ring.completed(index));
        let push = self.ring.try_push(
            true,
            || clear,
            |ticket, _| {
                descriptor
                    .with_fence_addr(ticket.fence_addr.0)
                    .with_fence_value(ticket.fence_value)
                    .to_bytes()
            },
        );
        match push {
            Push::At(index) => Issued::At(index),
            // A full ring with a translated descriptor in it may not move for long.
            Push::Full if clear => Issued::Full,
            Push::Full | Push::Refused | Push::Failed(_) => Issued::ByCpu,
        }
    }

    /// Waits for a physical descriptor; true when it was done.
    fn finish(&self, index: Index) -> bool {
        let waited = self.ring.wait(
            &self.health,
            index,
            || "the copy channel".to_owned(),
            self.copy_cycles,
        );
        let status = Completion::from_bytes(&self.ring.completion(index)).status();
        self.ring.release(index);
        waited.is_ok() && status == JobStatus::Ok as u64
    }

    fn by_cpu(&self, copy: PageCopy) -> Result<(), DriverError> {
        if copy.dst.is_vram() {
            // Pages come home from a lost device, none goes there.
            self.health.check()?;
        }
        let mut bytes = [0; PAGE_SIZE as usize];
        for page in 0..copy.pages as u64 {
            self.counters.add(Tick::PagesByCpu, 1);
            if let Source::Page(src) = copy.src {
                self.mem
                    .read_surely(src.add(page * PAGE_SIZE), &mut bytes)?;
            }
            self.mem.write(copy.dst.add(page * PAGE_SIZE), &bytes)?;
        }
        if copy.dst.is_vram() {
            // Reading back makes sure that the posted writes have arrived before anybody uses the pages.
            let last = copy.dst.add(copy.pages as u64 * PAGE_SIZE - 8);
            self.mem.read_surely(last, &mut bytes[..8])?;
            self.health.verify()?;
        }
        Ok(())
    }

    /// Copies between virtual addresses of a context. The pages may fault; the fault worker serves them. `gate` is
    /// asked in the moment in which the descriptor enters the channel; false refuses it. A copy that faults on a page that
    /// the process provides itself is `excused` for as long as that takes.
    pub fn translated(
        &self,
        ctx: CtxId,
        dst: Va,
        src: Va,
        len: u64,
        gate: impl Fn() -> bool,
        excused: impl Fn() -> bool,
    ) -> Result<CopyEnd, DriverError> {
        let descriptor = copy_entry(CopyOp::Copy)
            .with_src_va(1)
            .with_dst_va(1)
            .with_ctx(u64::from(ctx))
            .with_src(src.0)
            .with_dst(dst.0)
            .with_len(len);
        let mut pushed = None;
        self.health.wait(
            || "the copy ring (full)".to_owned(),
            self.ring_cycles,
            || {
                let mut translated = self.translated.lock();
                let push = self.ring.try_push(true, &gate, |ticket, _| {
                    descriptor
                        .with_fence_addr(ticket.fence_addr.0)
                        .with_fence_value(ticket.fence_value)
                        .to_bytes()
                });
                match push {
                    Push::At(index) => {
                        *translated = Some(index);
                        pushed = Some(Ok(index));
                        true
                    }
                    Push::Failed(error) => {
                        pushed = Some(Err(error));
                        true
                    }
                    Push::Refused => {
                        pushed = Some(Err(DriverError::Closed));
                        true
                    }
                    Push::Full => false,
                }
            },
        )?;
        let index = pushed.unwrap_or(Err(DriverError::Closed))?;
        let waited = self.health.wait_unless(
            || {
                format!(
                    "the copy of {len:#x} bytes to {:#x} in context {ctx}",
                    dst.0
                )
            },
            self.copy_cycles,
            || self.ring.completed(index),
            excused,
        );
        let completion = Completion::from_bytes(&self.ring.completion(index));
        self.ring.release(index);
        waited?;
        Ok(CopyEnd {
            status: completion.status() as u8,
            info: completion.info(),
        })
    }
}

/// Groups copies whose sources and destinations follow each other. Long ones stay alone.
fn runs_of(list: &[PageCopy]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (i, copy) in list.iter().enumerate() {
        if let Some(run) = runs.last_mut() {
            let bytes = run.pages as u64 * PAGE_SIZE;
            let first = list[run.first];
            let follows = match (first.src, copy.src) {
                (Source::Page(a), Source::Page(b)) => a.add(bytes) == b,
                (Source::Zero, Source::Zero) => true,
                _ => false,
            };
            let short = run.pages + copy.pages <= RUN_PAGES;
            if follows && first.dst.add(bytes) == copy.dst && short {
                run.pages += copy.pages;
                run.items += 1;
                continue;
            }
        }
        runs.push(Run {
            first: i,
            items: 1,
            pages: copy.pages,
        });
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_only_pages_that_follow_on_both_sides() {
        let page = |dst: u64, src: Option<u64>, pages| PageCopy {
            dst: DevPa(dst * PAGE_SIZE),
            src: src.map_or(Source::Zero, |s| Source::Page(DevPa(s * PAGE_SIZE))),
            pages,
        };
        let list = [
            page(10, Some(1), 1),
            page(11, Some(2), 1),
            page(12, Some(4), 1),
            page(13, None, 1),
            page(14, None, 1),
            page(16, None, 1),
            page(17, None, 512),
            page(529, None, 1),
        ];
        let lengths: Vec<usize> = runs_of(&list).iter().map(|r| r.pages).collect();
        assert_eq!(lengths, [2, 1, 2, 1, 512, 1]);
    }
}
