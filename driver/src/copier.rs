//! The copy channels: physical copies for migration, translated copies for programs.
//!
//! A channel works in order, and a translated descriptor that faults waits inside it for the fault worker. The
//! fault worker in turn may have to wait for a migration. So a physical copy never queues behind a translated
//! one: pages that move to the device, pages that come home and translated copies have channels of their own. On
//! a device with a single channel the CPU moves the bytes through the VRAM window while a translated copy is in it.
//! The CPU also does it when a channel has failed, so that data in VRAM comes home even then.
//!
//! Pages of a batch that are not neighbours share a descriptor too, as a list. A descriptor that ends with an error
//! stops its channel of physical copies; who waits for it starts the channel again, and the CPU does what it
//! left undone.

use crate::commands::CtxId;
use crate::copy_plan::{Group, LIST_RUNS, PageCopy, Run, Source, groups_of, runs_of, segment};
use crate::counters::{Counters, Tick};
use crate::error::DriverError;
use crate::health::Health;
use crate::hw::{DmaAddr, Hardware, HwError};
use crate::mem::DevMem;
use crate::ring::{Index, Push, Ring, RingRegs};
use hmm_core::sync::Mutex;
use hmm_core::{PAGE_SIZE, Va};
use hmmu_regs::{Completion, CopyEntry, CopyOp, CopySegment, FORMAT_VERSION, JobStatus, reg};
use std::collections::VecDeque;
use std::sync::Arc;

/// How a translated copy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyEnd {
    /// Status byte.
    pub status: u8,
    /// Address of the first error.
    pub info: u64,
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

/// One channel.
struct Channel {
    ring: Ring,
    /// Its number.
    number: u64,
    /// Its COPY_CONTROL.
    control: u64,
    /// Room for a list for each entry of the ring, if the device does lists.
    lists: Option<DmaAddr>,
}

/// The copy channels.
pub(crate) struct Copier {
    hw: Hardware,
    channels: Vec<Channel>,
    log2: u32,
    mem: Arc<DevMem>,
    health: Arc<Health>,
    counters: Arc<Counters>,
    ring_cycles: u64,
    copy_cycles: u64,
    /// The newest translated descriptor.
    translated: Mutex<Option<Index>>,
}

/// Bytes of a list.
const LIST_BYTES: u64 = LIST_RUNS as u64 * CopySegment::BYTES as u64;
/// Channels that are of use here: to the device, home, translated.
const USED: u64 = 3;

/// Bits of a channel's COPY_STATUS and COPY_CONTROL.
const IDLE: u64 = 1;
const STOPPED: u64 = 1 << 1;
const LISTS: u64 = 1 << 8;
const HALT: u64 = 1 << 2;
/// Bit of STATUS: a channel has stopped.
const SOME_STOPPED: u64 = 1 << 9;

/// Address of a channel's register.
fn register(first: u64, channel: u64) -> u64 {
    first + channel * (reg::COPY_ERROR_ADDR + 8 - reg::COPY_BASE)
}

fn copy_entry(op: CopyOp) -> CopyEntry {
    CopyEntry::default()
        .with_version(FORMAT_VERSION)
        .with_op(op as u64)
}

impl Copier {
    /// Sets up the rings, of a device with `channels` copy channels.
    #[expect(clippy::too_many_arguments, reason = "called once, by the probe")]
    pub fn new(
        hw: &Hardware,
        mem: Arc<DevMem>,
        health: Arc<Health>,
        counters: Arc<Counters>,
        channels: u64,
        log2: u32,
        ring_cycles: u64,
        copy_cycles: u64,
    ) -> Result<Self, DriverError> {
        let used = channels.clamp(1, USED);
        let mut list = Vec::new();
        for number in 0..used {
            let regs = RingRegs {
                name: "copy",
                base: register(reg::COPY_BASE, number),
                size: register(reg::COPY_SIZE, number),
                prod: register(reg::COPY_PROD, number),
                dead: IDLE | STOPPED,
            };
            let ring = Ring::new(hw, regs, log2)?;
            let translated = number == used - 1;
            // The driver's Cancels end translated copies: no reason to stop for.
            let halt = if translated { 0 } else { HALT };
            hw.bar.write(register(reg::COPY_CONTROL, number), halt)?;
            let status = hw.bar.read(register(reg::COPY_STATUS, number))?;
            let lists = if status & LISTS != 0 && (!translated || used == 1) {
                Some(hw.dma.alloc(LIST_BYTES << log2, 4096)?)
            } else {
                None
            };
            list.push(Channel {
                ring,
                number,
                control: halt,
                lists,
            });
        }
        Ok(Self {
            hw: hw.clone(),
            channels: list,
            log2,
            mem,
            health,
            counters,
            ring_cycles,
            copy_cycles,
            translated: Mutex::new(None),
        })
    }

    /// As [`Ring::restart`]; `status` is register STATUS.
    pub fn restart(&self, status: u64) -> Result<(), HwError> {
        if status & SOME_STOPPED == 0 {
            return Ok(());
        }
        self.channels
            .iter()
            .try_for_each(|channel| self.revive(channel))
    }

    /// Starts a channel again if it has stopped.
    fn revive(&self, channel: &Channel) -> Result<(), HwError> {
        let epoch = channel.ring.epoch();
        let status = self
            .hw
            .bar
            .read(register(reg::COPY_STATUS, channel.number))?;
        channel.ring.restart_in(epoch, status)
    }

    /// The channel of translated copies.
    fn translating(&self) -> &Channel {
        &self.channels[self.channels.len() - 1]
    }

    /// The channel of pages that go this way.
    fn physical(&self, to_device: bool) -> &Channel {
        let home = usize::from(!to_device && self.channels.len() > 2);
        &self.channels[home]
    }

    /// As [`Ring::rearm`].
    pub fn rearm(&self) -> Result<(), HwError> {
        *self.translated.lock() = None;
        for channel in &self.channels {
            channel.ring.rearm()?;
            let control = register(reg::COPY_CONTROL, channel.number);
            self.hw.bar.write(control, channel.control)?;
        }
        Ok(())
    }

    /// Does the copies; one result for each. Returns when all are done or have failed.
    pub fn pages(&self, list: &[PageCopy]) -> Vec<Result<(), DriverError>> {
        let mut results: Vec<Result<(), DriverError>> = list.iter().map(|_| Ok(())).collect();
        let Some(first) = list.first() else {
            return results;
        };
        let channel = self.physical(first.dst.is_vram());
        let runs = runs_of(list);
        let most = if channel.lists.is_some() {
            LIST_RUNS
        } else {
            1
        };
        let mut issued: VecDeque<(Index, Group)> = VecDeque::new();
        let mut by_cpu: Vec<Group> = Vec::new();
        for group in groups_of(&runs, most) {
            loop {
                match self.issue(channel, list, &runs[group.first..group.first + group.runs]) {
                    Issued::At(index) => issued.push_back((index, group)),
                    Issued::ByCpu => by_cpu.push(group),
                    // Never wait for room while keeping some: the others do as well.
                    Issued::Full => {
                        if let Some((index, done)) = issued.pop_front() {
                            if !self.finish(channel, index) {
                                by_cpu.push(done);
                            }
                            continue;
                        }
                        if self.wait_for_room(channel).is_ok() {
                            continue;
                        }
                        by_cpu.push(group);
                    }
                }
                break;
            }
        }
        for (index, group) in issued {
            if !self.finish(channel, index) {
                by_cpu.push(group);
            }
        }
        for run in by_cpu
            .iter()
            .flat_map(|group| &runs[group.first..group.first + group.runs])
        {
            for item in run.first..run.first + run.items {
                results[item] = self.by_cpu(list[item]);
            }
        }
        results
    }

    fn wait_for_room(&self, channel: &Channel) -> Result<(), DriverError> {
        let what = || "the copy ring (full)".to_owned();
        let room = || channel.ring.has_room();
        self.health.wait(what, self.ring_cycles, room)
    }

    /// Puts a physical descriptor into a channel: a copy or fill, or a list of them.
    fn issue(&self, channel: &Channel, list: &[PageCopy], runs: &[Run]) -> Issued {
        if self.health.is_lost() {
            return Issued::ByCpu;
        }
        let mut segments = runs.iter().map(|run| segment(list[run.first], run.pages));
        let Some(first) = segments.next() else {
            return Issued::ByCpu;
        };
        let single = copy_entry(if first.fill() == 1 {
            CopyOp::Fill
        } else {
            CopyOp::Copy
        })
        .with_src(first.src())
        .with_dst(first.dst())
        .with_len(first.len());
        let rest: Vec<CopySegment> = segments.collect();
        let describe = |index: Index| {
            let at = channel.lists.filter(|_| !rest.is_empty())?;
            // The place of the entry's list is free as long as the entry's own is.
            let at = DmaAddr(at.0 + (index.0 & ((1 << self.log2) - 1)) * LIST_BYTES);
            for (n, segment) in (0u64..).zip(std::iter::once(&first).chain(&rest)) {
                let place = DmaAddr(at.0 + n * CopySegment::BYTES as u64);
                self.hw.dma.write(place, &segment.to_bytes());
            }
            let count = rest.len() as u64 + 1;
            Some(copy_entry(CopyOp::List).with_src(at.0).with_len(count))
        };
        // Taken first, so that no translated descriptor gets in between the look and the push.
        let translated = self.translated.lock();
        let clear =
            self.channels.len() > 1 || translated.is_none_or(|index| channel.ring.completed(index));
        let push = channel.ring.try_push(
            true,
            || clear,
            |ticket, index| {
                describe(index)
                    .unwrap_or(single)
                    .with_fence_addr(ticket.fence_addr.0)
                    .with_fence_value(ticket.fence_value)
                    .to_bytes()
            },
        );
        match push {
            Push::At(index) => {
                self.counters.add(Tick::PageCopies, 1);
                Issued::At(index)
            }
            // A full ring with a translated descriptor in it may not move for long.
            Push::Full if clear => Issued::Full,
            Push::Full | Push::Refused | Push::Failed(_) => Issued::ByCpu,
        }
    }

    /// Waits for a physical descriptor; true when it was done. An error has stopped the channel behind it.
    fn finish(&self, channel: &Channel, index: Index) -> bool {
        let waited = channel.ring.wait(
            &self.health,
            index,
            || "the copy channel".to_owned(),
            self.copy_cycles,
        );
        let status = Completion::from_bytes(&channel.ring.completion(index)).status();
        channel.ring.release(index);
        if waited.is_ok() && status != JobStatus::Ok as u64 {
            // Those behind it look for a stopped channel now and then, should this not work.
            let _ = self.revive(channel);
        }
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
        let ring = &self.translating().ring;
        let mut pushed = None;
        self.health.wait(
            || "the copy ring (full)".to_owned(),
            self.ring_cycles,
            || {
                let mut translated = self.translated.lock();
                let push = ring.try_push(true, &gate, |ticket, _| {
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
            || ring.completed(index),
            excused,
        );
        let completion = Completion::from_bytes(&ring.completion(index));
        ring.release(index);
        waited?;
        Ok(CopyEnd {
            status: completion.status() as u8,
            info: completion.info(),
        })
    }
}
