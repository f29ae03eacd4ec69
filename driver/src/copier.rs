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
use std::sync::Arc;

/// Where the bytes of a page come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Another page.
    Page(DevPa),
    /// Zeros.
    Zero,
}

/// One page to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageCopy {
    /// The page.
    pub dst: DevPa,
    /// Its new content.
    pub src: Source,
}

/// How a translated copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyEnd {
    /// Status byte.
    pub status: u8,
    /// Address of the first error.
    pub info: u64,
}

/// Pages of consecutive addresses, moved by one descriptor.
struct Run {
    first: usize,
    pages: usize,
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

/// Most pages in one descriptor: a long one delays everybody behind it.
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

    /// Writes the pages; one result for each. Returns when all are written or have failed.
    pub fn pages(&self, list: &[PageCopy]) -> Vec<Result<(), DriverError>> {
        let mut results: Vec<Result<(), DriverError>> = list.iter().map(|_| Ok(())).collect();
        let runs = runs_of(list);
        let mut issued: Vec<(Index, &Run)> = Vec::new();
        let mut by_cpu: Vec<&Run> = Vec::new();
        for run in &runs {
            match self.issue(list[run.first], run.pages) {
                Some(index) => issued.push((index, run)),
                None => by_cpu.push(run),
            }
        }
        for (index, run) in issued {
            if !self.finish(index) {
                by_cpu.push(run);
            }
        }
        for run in by_cpu {
            for page in run.first..run.first + run.pages {
                results[page] = self.page_by_cpu(list[page]);
            }
        }
        results
    }

    /// Puts a physical descriptor into the channel; `None` when the CPU has to do the work.
    fn issue(&self, first: PageCopy, pages: usize) -> Option<Index> {
        let bytes = pages as u64 * PAGE_SIZE;
        let descriptor = match first.src {
            Source::Page(src) => copy_entry(CopyOp::Copy).with_src(src.0),
            Source::Zero => copy_entry(CopyOp::Fill),
        }
        .with_dst(first.dst.0)
        .with_len(bytes);
        let mut pushed = None;
        let waited = self.health.wait(
            || "the copy ring (full)".to_owned(),
            self.ring_cycles,
            || {
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
                    Push::At(index) => {
                        pushed = Some(index);
                        true
                    }
                    // A full ring with a translated descriptor in it may not move for long.
                    Push::Full => !clear,
                    Push::Refused | Push::Failed(_) => true,
                }
            },
        );
        waited.ok()?;
        pushed
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

    fn page_by_cpu(&self, page: PageCopy) -> Result<(), DriverError> {
        self.counters.add(Tick::PagesByCpu, 1);
        let mut bytes = [0; PAGE_SIZE as usize];
        if let Source::Page(src) = page.src {
            self.mem.read(src, &mut bytes)?;
        }
        self.mem.write(page.dst, &bytes)?;
        // Reading back makes sure that the posted writes have arrived before anybody uses the page.
        self.mem
            .read(page.dst.add(PAGE_SIZE - 8), &mut bytes[..8])?;
        Ok(())
    }

    /// Copies between virtual addresses of a context. The pages may fault; the fault worker serves them. `gate` is
    /// asked in the moment in which the descriptor enters the channel; false refuses it.
    pub fn translated(
        &self,
        ctx: CtxId,
        dst: Va,
        src: Va,
        len: u64,
        gate: impl Fn() -> bool,
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
        let waited = self.ring.wait(
            &self.health,
            index,
            || {
                format!(
                    "the copy of {len:#x} bytes to {:#x} in context {ctx}",
                    dst.0
                )
            },
            self.copy_cycles,
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

/// Groups pages whose sources and destinations follow each other.
fn runs_of(list: &[PageCopy]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (i, page) in list.iter().enumerate() {
        if let Some(run) = runs.last_mut() {
            let bytes = run.pages as u64 * PAGE_SIZE;
            let first = list[run.first];
            let follows = match (first.src, page.src) {
                (Source::Page(a), Source::Page(b)) => a.add(bytes) == b,
                (Source::Zero, Source::Zero) => true,
                _ => false,
            };
            if follows && first.dst.add(bytes) == page.dst && run.pages < RUN_PAGES {
                run.pages += 1;
                continue;
            }
        }
        runs.push(Run { first: i, pages: 1 });
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_join_only_pages_that_follow_on_both_sides() {
        let page = |dst: u64, src: Option<u64>| PageCopy {
            dst: DevPa(dst * PAGE_SIZE),
            src: src.map_or(Source::Zero, |s| Source::Page(DevPa(s * PAGE_SIZE))),
        };
        let list = [
            page(10, Some(1)),
            page(11, Some(2)),
            page(12, Some(4)),
            page(13, None),
            page(14, None),
            page(16, None),
        ];
        let lengths: Vec<usize> = runs_of(&list).iter().map(|r| r.pages).collect();
        assert_eq!(lengths, [2, 1, 2, 1]);
    }
}
