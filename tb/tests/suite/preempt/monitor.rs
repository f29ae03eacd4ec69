//! Watches the device's ports: accesses to physical memory, control commands and their acknowledgements.
//!
//! Physical addresses are the device's: bit 55 set means VRAM.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use hmmu_regs::{CtrlOp, reg};

use super::board::BAR0;

/// A range that must not be touched any more once it is closed, and must have no read under way then.
#[derive(Debug)]
struct Watch {
    range: Range<u64>,
    /// Acknowledged in this cycle.
    closed: Option<u64>,
    /// Reads of it that VRAM has not answered.
    vram_reads: usize,
    /// Tags of reads and AtomicOps on the link.
    tags: Vec<u64>,
    /// What must not have happened.
    violations: Vec<String>,
}

/// A control command.
#[derive(Clone, Debug, Default)]
struct Command {
    op: u64,
    /// Where its fence goes.
    fence: u64,
    /// Its doorbell reached the device in this cycle.
    rung: Option<u64>,
    /// Its fence left the device in this cycle.
    acknowledged: Option<u64>,
    /// Watches that its acknowledgement closes.
    closes: Range<usize>,
}

/// What the ports have shown.
#[derive(Debug, Default)]
pub struct Monitor {
    watches: Vec<Watch>,
    commands: Vec<Command>,
    rung: usize,
    acknowledged: usize,
    /// Pages of 4 KiB that were written, and when.
    stored: BTreeMap<u64, Vec<u64>>,
    /// D bits that the device set: the entry's address, and when.
    dirtied: BTreeMap<u64, Vec<u64>>,
    /// Pages that hold page tables.
    tables: BTreeSet<u64>,
}

impl Monitor {
    /// From now on: reads of a range are counted, so that it can be closed. Returns its number.
    pub fn watch(&mut self, range: Range<u64>) -> usize {
        self.watches.push(Watch {
            range,
            closed: None,
            vram_reads: 0,
            tags: Vec::new(),
            violations: Vec::new(),
        });
        self.watches.len() - 1
    }

    /// Watches may be touched again. `pardon`: and nothing was wrong so far.
    pub fn reopen(&mut self, watches: Range<usize>, pardon: bool) {
        for watch in &mut self.watches[watches] {
            watch.closed = None;
            if pardon {
                watch.violations.clear();
            }
        }
    }

    /// What must not have happened.
    pub fn violations(&self) -> Vec<&str> {
        let all = self.watches.iter().flat_map(|watch| &watch.violations);
        all.map(String::as_str).collect()
    }

    /// A page holds tables: D bits that are set in it are noted.
    pub fn table(&mut self, at: u64) {
        self.tables.insert(at >> 12);
    }

    pub fn is_table(&self, at: u64) -> bool {
        self.tables.contains(&(at >> 12))
    }

    /// A control command was given; its fence goes to `fence`. Returns its number.
    pub fn issued(&mut self, op: CtrlOp, fence: u64) -> usize {
        self.commands.push(Command {
            op: op as u64,
            fence,
            ..Command::default()
        });
        self.commands.len() - 1
    }

    /// The acknowledgement of a command closes these watches.
    pub fn closes(&mut self, command: usize, watches: Range<usize>) {
        self.commands[command].closes = watches;
    }

    /// When the acknowledgement of a command left the device.
    pub fn acknowledged(&self, command: usize) -> Option<u64> {
        self.commands[command].acknowledged
    }

    /// When the doorbell of a command reached the device.
    pub fn rung(&self, command: usize) -> Option<u64> {
        self.commands[command].rung
    }

    /// Commands under way.
    pub fn pending(&self) -> usize {
        self.commands.len() - self.acknowledged
    }

    /// Cycles from the doorbell's arrival, or the end of the command before, to the acknowledgement's departure.
    pub fn latency(&self, command: usize) -> u64 {
        let seen = &self.commands[command];
        let before = command
            .checked_sub(1)
            .and_then(|k| self.commands[k].acknowledged)
            .unwrap_or(0);
        match (seen.rung, seen.acknowledged) {
            (Some(rung), Some(acknowledged)) => acknowledged - rung.max(before),
            other => panic!("command {command}: doorbell and acknowledgement {other:?}"),
        }
    }

    /// The longest of these commands.
    pub fn longest(&self, op: CtrlOp) -> u64 {
        (0..self.commands.len())
            .filter(|&k| self.commands[k].op == op as u64)
            .map(|k| self.latency(k))
            .max()
            .unwrap_or(0)
    }

    /// When the range was last written by the device.
    pub fn stored(&self, range: &Range<u64>) -> Option<u64> {
        self.stored_in(range, 0..u64::MAX)
    }

    /// When it was last written in these cycles.
    pub fn stored_in(&self, range: &Range<u64>, cycles: Range<u64>) -> Option<u64> {
        let pages = range.start >> 12..range.end.div_ceil(4096);
        let within = |times: &Vec<u64>| {
            let before = times.partition_point(|&at| at < cycles.end);
            let last = times[..before].last().copied();
            last.filter(|at| cycles.contains(at))
        };
        let times = self.stored.range(pages);
        times.filter_map(|(_, times)| within(times)).max()
    }

    /// When the device set D in an entry.
    pub fn dirtied(&self, entry: u64) -> &[u64] {
        self.dirtied.get(&entry).map_or(&[], Vec::as_slice)
    }

    /// The device set D in an entry.
    pub fn set_dirty(&mut self, entry: u64, now: u64) {
        self.dirtied.entry(entry).or_default().push(now);
    }

    /// The device accepted the first beat of a TLP.
    pub fn received(&mut self, header: u128, now: u64) {
        match kind(header) {
            Kind::Write(addr) if addr == BAR0 + reg::CTRL_PROD => {
                self.commands[self.rung].rung = Some(now);
                self.rung += 1;
            }
            Kind::Completion(tag) => {
                for watch in &mut self.watches {
                    watch.tags.retain(|&t| t != tag);
                }
            }
            _ => {}
        }
    }

    /// The device sent the first beat of a TLP.
    pub fn sent(&mut self, header: u128, now: u64) {
        match kind(header) {
            Kind::Write(addr)
                if self
                    .commands
                    .get(self.acknowledged)
                    .is_some_and(|c| c.rung.is_some() && c.fence == addr) =>
            {
                self.close(now);
            }
            Kind::Write(addr) => self.touched(addr, true, now),
            Kind::Read(addr, tag) | Kind::Atomic(addr, tag) => {
                self.touched(addr, matches!(kind(header), Kind::Atomic(..)), now);
                for watch in self.watches.iter_mut().filter(|w| w.range.contains(&addr)) {
                    watch.tags.push(tag);
                }
            }
            Kind::Completion(_) | Kind::Other => {}
        }
    }

    fn close(&mut self, now: u64) {
        let command = &mut self.commands[self.acknowledged];
        command.acknowledged = Some(now);
        self.acknowledged += 1;
        for watch in &mut self.watches[command.closes.clone()] {
            watch.closed = Some(now);
            if watch.vram_reads > 0 || !watch.tags.is_empty() {
                watch.violations.push(format!(
                    "cycle {now}: acknowledged with a read of {:x?} under way",
                    watch.range
                ));
            }
        }
    }

    /// The device gave a request to VRAM.
    pub fn vram_asked(&mut self, addr: u64, write: bool, now: u64) {
        self.touched(addr, write, now);
        if !write {
            for watch in self.watches.iter_mut().filter(|w| w.range.contains(&addr)) {
                watch.vram_reads += 1;
            }
        }
    }

    /// VRAM answered a read.
    pub fn vram_answered(&mut self, addr: u64) {
        for watch in self.watches.iter_mut().filter(|w| w.range.contains(&addr)) {
            watch.vram_reads = watch.vram_reads.saturating_sub(1);
        }
    }

    fn touched(&mut self, addr: u64, write: bool, now: u64) {
        for watch in self.watches.iter_mut().filter(|w| w.range.contains(&addr)) {
            if let Some(at) = watch.closed {
                let what = if write { "written" } else { "read" };
                watch.violations.push(format!(
                    "cycle {now}: {addr:#x} was {what}, acknowledged in {at}"
                ));
            }
        }
        if write {
            self.stored.entry(addr >> 12).or_default().push(now);
        }
    }
}

enum Kind {
    Write(u64),
    Read(u64, u64),
    Atomic(u64, u64),
    Completion(u64),
    Other,
}

/// What a TLP is, from its header (PCIe Base Specification, section 2.2; DW 0 in the top 32 bits).
fn kind(header: u128) -> Kind {
    let dw = |n: u32| (header >> (96 - 32 * n)) as u64 & 0xffff_ffff;
    let (fmt, of_type) = (dw(0) >> 29, dw(0) >> 24 & 0x1f);
    let addr = if fmt & 1 == 1 {
        dw(2) << 32 | dw(3) & !3
    } else {
        dw(2) & !3
    };
    let tag = dw(1) >> 8 & 0xff;
    match (of_type, fmt & 2) {
        (0, 2) => Kind::Write(addr),
        (0, _) => Kind::Read(addr, tag),
        (0x0c..=0x0e, _) => Kind::Atomic(addr, tag),
        (0x0a, _) => Kind::Completion(dw(2) >> 8 & 0xff),
        _ => Kind::Other,
    }
}
