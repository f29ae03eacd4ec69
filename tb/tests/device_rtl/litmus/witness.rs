//! Who sees each write and each message of the device arrive, and knows what must be there by then.

use std::collections::{BTreeMap, BTreeSet};

use hmmu_regs::{DirtyRecord, FORMAT_VERSION, FaultRecord, Pte, Vector, reg};

use crate::ram::SharedRam;
use crate::rtl::Watch;

/// Vectors.
pub const VECTORS: usize = 8;

/// What a fence tells of.
pub enum Promise {
    /// Nothing but itself.
    None,
    /// These bytes are in memory.
    Bytes(Vec<(u64, Vec<u8>)>),
    /// Nothing is written to this page any more, and D tells of what was.
    Closed(u64),
    /// Nothing is written to these pages until they are let go.
    Held(Vec<u64>),
}

struct Fence {
    value: u64,
    vector: Option<Vector>,
    /// Channel whose entry it ends.
    channel: Option<usize>,
    promise: Promise,
}

/// A page that a program or a translated copy writes to.
struct Page {
    /// Its entry, if that is in system memory.
    entry: Option<u64>,
    stored: bool,
    closed: bool,
    held: bool,
}

/// A ring that the device fills.
#[derive(Default)]
struct Ring {
    base: u64,
    entries: u64,
    seen: u64,
}

pub struct Witness {
    ram: SharedRam,
    fences: BTreeMap<u64, Fence>,
    pages: BTreeMap<u64, Page>,
    faults: Ring,
    dirty: Ring,
    /// Entries in system memory, by virtual page of the logged context.
    entries: BTreeMap<u64, u64>,
    /// Dirty-log records, and mappings that ended dirty, by virtual page.
    pub told: BTreeMap<u64, u64>,
    pub retired: BTreeMap<u64, u64>,
    /// What each vector announces has arrived so often, and the vector has come so often.
    pub arrived: [u64; VECTORS],
    pub messages: [u64; VECTORS],
    /// Something has arrived that no message has announced yet.
    due: BTreeSet<usize>,
    /// Entries ended, by copy channel.
    ended: [u64; 8],
    /// Register reads and stores looked at.
    pub answers: u64,
    pub stores: u64,
}

impl Witness {
    pub fn new(ram: &SharedRam) -> Self {
        Self {
            ram: ram.clone(),
            fences: BTreeMap::new(),
            pages: BTreeMap::new(),
            faults: Ring::default(),
            dirty: Ring::default(),
            entries: BTreeMap::new(),
            told: BTreeMap::new(),
            retired: BTreeMap::new(),
            arrived: [0; VECTORS],
            messages: [0; VECTORS],
            due: BTreeSet::new(),
            ended: [0; 8],
            answers: 0,
            stores: 0,
        }
    }

    /// Where the fault ring and the dirty log are.
    pub fn rings(&mut self, faults: (u64, u64), dirty: (u64, u64)) {
        let ring = |(base, entries)| Ring {
            base,
            entries,
            seen: 0,
        };
        (self.faults, self.dirty) = (ring(faults), ring(dirty));
    }

    /// A fence to come.
    pub fn expect(
        &mut self,
        (at, value): (u64, u64),
        vector: Option<Vector>,
        channel: Option<usize>,
        promise: Promise,
    ) {
        let fence = Fence {
            value,
            vector,
            channel,
            promise,
        };
        assert!(self.fences.insert(at, fence).is_none(), "a place in use");
    }

    /// A page may be written to through an entry of the logged context (in system memory) or of another.
    pub fn mapped(&mut self, frame: u64, logged: Option<(u64, u64)>, held: bool) {
        if let Some((va, entry)) = logged {
            self.entries.insert(va, entry);
        }
        let page = Page {
            entry: logged.map(|(_, entry)| entry),
            stored: false,
            closed: false,
            held,
        };
        self.pages.insert(frame, page);
    }

    /// Held pages may be written to again.
    pub fn release(&mut self, frames: &[u64]) {
        for frame in frames {
            if let Some(page) = self.pages.get_mut(frame) {
                page.held = false;
            }
        }
    }

    /// The entry of a page of the logged context, which is closed, is taken out.
    pub fn retire(&mut self, va: u64) {
        if let Some(entry) = self.entries.remove(&va)
            && Pte([self.ram.read64(entry)]).d() == 1
        {
            *self.retired.entry(va).or_default() += 1;
        }
    }

    /// Have all fences come, and all messages that announce something?
    pub fn is_done(&self) -> bool {
        self.fences.is_empty() && self.due.is_empty()
    }

    /// Each D that was set is one record.
    pub fn check_log(&self, label: &str) {
        let mut sets = self.retired.clone();
        for (va, entry) in &self.entries {
            *sets.entry(*va).or_default() += Pte([self.ram.read64(*entry)]).d();
        }
        sets.retain(|_, n| *n > 0);
        assert_eq!(self.told, sets, "{label}: records against D bits");
    }

    fn announce(&mut self, vector: Vector) {
        self.arrived[vector as usize] += 1;
        self.due.insert(vector as usize);
    }

    fn keep(&mut self, promise: Promise) {
        match promise {
            Promise::None => {}
            Promise::Bytes(pieces) => {
                for (at, bytes) in pieces {
                    let now = self.ram.bytes(at, bytes.len() as u64);
                    let wrong = now.iter().zip(&bytes).position(|(a, b)| a != b);
                    assert_eq!(wrong, None, "a fence came before its data at {at:#x}");
                }
            }
            Promise::Closed(frame) => {
                if let Some(page) = self.pages.get_mut(&frame) {
                    page.closed = true;
                    if let Some(entry) = page.entry.filter(|_| page.stored) {
                        let d = Pte([self.ram.read64(entry)]).d();
                        assert_eq!(d, 1, "acknowledged, and D of {frame:#x} is not set");
                    }
                }
            }
            Promise::Held(frames) => {
                for frame in frames {
                    if let Some(page) = self.pages.get_mut(&frame) {
                        page.held = true;
                    }
                }
            }
        }
    }

    fn store(&mut self, addr: u64) {
        let frame = addr & !0xfff;
        let Some(page) = self.pages.get_mut(&frame) else {
            return;
        };
        self.stores += 1;
        page.stored = true;
        assert!(
            !page.closed,
            "{addr:#x} was written after the acknowledgement"
        );
        assert!(!page.held, "{addr:#x} was written by a held job");
        if let Some(entry) = page.entry {
            let d = Pte([self.ram.read64(entry)]).d();
            assert_eq!(d, 1, "{addr:#x} was written before its D bit");
        }
    }

    fn fault_record(&mut self, at: u64) {
        let ring = &mut self.faults;
        let slot = ring.base + 32 * (ring.seen % ring.entries.max(1));
        if ring.entries == 0 || at != slot {
            return;
        }
        let record = FaultRecord(std::array::from_fn(|n| {
            self.ram.read64(slot + 8 * n as u64)
        }));
        let phase = 1 - (ring.seen / ring.entries & 1);
        assert_eq!(
            (record.version(), record.phase()),
            (FORMAT_VERSION, phase),
            "fault record {}",
            ring.seen
        );
        assert_ne!(
            record.stamp(),
            0,
            "a fault record came before its second half"
        );
        ring.seen += 1;
        self.announce(Vector::Fault);
    }

    fn dirty_record(&mut self, at: u64) {
        let ring = &mut self.dirty;
        let slot = ring.base + 16 * (ring.seen % ring.entries.max(1));
        if ring.entries == 0 || at != slot {
            return;
        }
        let record = DirtyRecord([self.ram.read64(slot), self.ram.read64(slot + 8)]);
        let phase = 1 - (ring.seen / ring.entries & 1);
        assert_eq!(
            (record.version(), record.phase()),
            (FORMAT_VERSION, phase),
            "dirty record {}",
            ring.seen
        );
        ring.seen += 1;
        self.arrived[Vector::Dirty as usize] += 1;
        let va = record.addr();
        let told = self.told.entry(va).or_default();
        *told += 1;
        let now = self
            .entries
            .get(&va)
            .map_or(0, |entry| Pte([self.ram.read64(*entry)]).d());
        let sets = self.retired.get(&va).copied().unwrap_or(0) + now;
        assert!(*told <= sets, "a record of {va:#x} came before its D bit");
    }
}

impl Watch for Witness {
    fn wrote(&mut self, addr: u64, len: usize) {
        let end = addr + len as u64;
        self.store(addr);
        let here: Vec<u64> = self.fences.range(addr..end).map(|(at, _)| *at).collect();
        for at in here {
            if self.ram.read64(at) != self.fences[&at].value {
                continue;
            }
            if let Some(fence) = self.fences.remove(&at) {
                if let Some(channel) = fence.channel {
                    self.ended[channel] += 1;
                }
                self.keep(fence.promise);
                if let Some(vector) = fence.vector {
                    self.announce(vector);
                }
            }
        }
        self.fault_record(addr);
        self.dirty_record(addr);
    }

    fn raised(&mut self, vector: u16) {
        let v = usize::from(vector);
        self.messages[v] += 1;
        self.due.remove(&v);
        // Each message was caused by something that no other message was caused by.
        assert!(
            self.messages[v] <= self.arrived[v],
            "message {} of vector {vector} came before what it announces",
            self.messages[v]
        );
    }

    fn answered(&mut self, offset: u64, value: u64) {
        self.answers += 1;
        let (what, arrived) = match offset {
            reg::FAULT_PROD => ("fault records", self.faults.seen),
            reg::DIRTY_PROD => ("dirty records", self.dirty.seen),
            _ if (reg::COPY_BASE..reg::COPY_BASE + 512).contains(&offset)
                && (offset - reg::COPY_BASE) % 64 == 0x18 =>
            {
                let channel = (offset - reg::COPY_BASE) / 64;
                ("fences of a channel", self.ended[channel as usize])
            }
            _ => return,
        };
        assert!(
            arrived >= value,
            "a register told of {value} {what}, {arrived} were there"
        );
    }
}

/// The witness notices what is in the wrong order.
#[cfg(test)]
mod tests {
    use super::*;

    const FENCE: (u64, u64) = (0x1000, 7);

    fn scene(promise: Promise, vector: Option<Vector>) -> Witness {
        let ram = SharedRam::new();
        let mut witness = Witness::new(&ram);
        witness.rings((0x2000, 8), (0x3000, 8));
        witness.mapped(0x8000, Some((0x7000_0000, 0x4000)), false);
        witness.expect(FENCE, vector, Some(0), promise);
        witness
    }

    fn write(witness: &mut Witness, at: u64, words: &[u64]) {
        for (word, value) in (0..).zip(words) {
            witness.ram.write64(at + 8 * word, *value);
        }
        witness.wrote(at, 8 * words.len());
    }

    #[test]
    fn what_is_in_order_passes() {
        let mut w = scene(
            Promise::Bytes(vec![(0x5000, vec![1; 8])]),
            Some(Vector::Copy),
        );
        write(&mut w, 0x5000, &[0x0101_0101_0101_0101]);
        write(&mut w, FENCE.0, &[FENCE.1, 0]);
        assert!(!w.is_done(), "its message is to come");
        w.raised(Vector::Copy as u16);
        w.answered(reg::COPY_BASE + 0x18, 1);
        assert!(w.is_done());
    }

    #[test]
    #[should_panic(expected = "a fence came before its data")]
    fn a_fence_before_its_data() {
        let mut w = scene(Promise::Bytes(vec![(0x5000, vec![1; 8])]), None);
        write(&mut w, FENCE.0, &[FENCE.1, 0]);
    }

    #[test]
    #[should_panic(expected = "came before what it announces")]
    fn a_message_before_its_fence() {
        scene(Promise::None, Some(Vector::Copy)).raised(Vector::Copy as u16);
    }

    #[test]
    #[should_panic(expected = "a register told of 1")]
    fn a_register_before_its_fence() {
        scene(Promise::None, None).answered(reg::COPY_BASE + 0x18, 1);
    }

    #[test]
    #[should_panic(expected = "before its second half")]
    fn a_fault_record_from_its_first_half_on() {
        let record = FaultRecord::default().with_version(1).with_phase(1);
        write(&mut scene(Promise::None, None), 0x2000, &record.0[..2]);
    }

    #[test]
    #[should_panic(expected = "was written before its D bit")]
    fn a_store_before_its_d_bit() {
        write(&mut scene(Promise::None, None), 0x8010, &[1]);
    }

    #[test]
    #[should_panic(expected = "came before its D bit")]
    fn a_record_before_its_d_bit() {
        let record = DirtyRecord::default().with_version(1).with_phase(1);
        let record = record.with_addr(0x7000_0000);
        write(&mut scene(Promise::None, None), 0x3000, &record.0);
    }

    #[test]
    #[should_panic(expected = "was written after the acknowledgement")]
    fn a_store_after_the_acknowledgement() {
        let mut w = scene(Promise::Closed(0x8000), None);
        write(&mut w, FENCE.0, &[FENCE.1, 0]);
        write(&mut w, 0x8010, &[1]);
    }

    #[test]
    #[should_panic(expected = "was written by a held job")]
    fn a_store_of_a_held_job() {
        let mut w = scene(Promise::Held(vec![0x8000]), None);
        write(&mut w, FENCE.0, &[FENCE.1, 0]);
        write(&mut w, 0x8010, &[1]);
    }
}
