//! The fault ring: records of parked faults, written to the host in the order in which they were found.

use super::Key;
use crate::addr::{BusAddr, PhysAddr};
use crate::board::Board;
use hmmu_regs::{Client, Counter, FORMAT_VERSION, FaultReason, FaultRecord, Vector};
use std::collections::VecDeque;

/// A fault that has been found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: u32,
    pub(crate) key: Key,
    pub(crate) reason: FaultReason,
    pub(crate) client: Client,
    pub(crate) stamp: u64,
}

/// A record on its way.
struct Writing {
    record: FaultRecord,
    /// Words 2 and 3 are written.
    second_done: bool,
    at: u64,
}

/// The ring's registers and what waits for it.
pub(crate) struct FaultRing {
    pub(crate) base: u64,
    pub(crate) log2: u64,
    pub(crate) producer: u32,
    pub(crate) consumer: u32,
    waiting: VecDeque<Found>,
    writing: Option<Writing>,
    found: u32,
}

impl FaultRing {
    pub(crate) fn new() -> Self {
        Self {
            base: 0,
            log2: 0,
            producer: 0,
            consumer: 0,
            waiting: VecDeque::new(),
            writing: None,
            found: 0,
        }
    }

    /// The size register was written: both indices restart.
    pub(crate) fn resize(&mut self, log2: u64) {
        self.log2 = log2 & 15;
        self.producer = 0;
        self.consumer = 0;
    }

    /// Queues the record of a new fault; its number.
    pub(crate) fn report(
        &mut self,
        key: Key,
        reason: FaultReason,
        client: Client,
        stamp: u64,
    ) -> u32 {
        let id = self.found;
        self.found = self.found.wrapping_add(1);
        self.waiting.push_back(Found {
            id,
            key,
            reason,
            client,
            stamp,
        });
        id
    }

    /// Fault `id` is over. A record of which nothing is written yet is not needed any more.
    pub(crate) fn retire(&mut self, id: u32) {
        self.waiting.retain(|found| found.id != id);
    }

    fn has_room(&self) -> bool {
        self.log2 != 0 && self.producer.wrapping_sub(self.consumer) < 1 << self.log2
    }

    /// Records wait inside the device because the ring has no room.
    pub(crate) fn full(&self) -> bool {
        !self.waiting.is_empty() && !self.has_room()
    }

    pub(crate) fn next(&self, now: u64) -> u64 {
        match &self.writing {
            Some(writing) => writing.at,
            None if !self.waiting.is_empty() && self.has_room() => now + 1,
            None => u64::MAX,
        }
    }

    fn address(&self) -> PhysAddr {
        let index = u64::from(self.producer) & ((1 << self.log2) - 1);
        let base = PhysAddr::system(BusAddr(self.base & !63));
        base.plus(index * FaultRecord::BYTES as u64)
    }

    pub(crate) fn tick(&mut self, board: &mut Board) {
        match &self.writing {
            None if self.has_room() => {
                if let Some(found) = self.waiting.pop_front() {
                    let at = board.after(2);
                    self.writing = Some(Writing {
                        record: self.record(&found),
                        second_done: false,
                        at,
                    });
                }
            }
            Some(writing) if writing.at <= board.time && self.log2 != 0 => {
                let (words, at) = (writing.record.0, self.address());
                if writing.second_done {
                    board.write_words(Client::Fault, at, &words[..2]);
                    self.writing = None;
                    self.producer = self.producer.wrapping_add(1);
                    board.count(Counter::Faults);
                    board.raise(Vector::Fault);
                } else {
                    board.write_words(Client::Fault, at.plus(16), &words[2..]);
                    let (record, at) = (writing.record, board.after(1));
                    self.writing = Some(Writing {
                        record,
                        second_done: true,
                        at,
                    });
                }
            }
            _ => {}
        }
    }

    fn record(&self, found: &Found) -> FaultRecord {
        let pass = self.producer >> self.log2;
        // Bits 63:48 of a canonical address repeat bit 47.
        let addr = ((found.key.vpn << 28) as i64 >> 16) as u64;
        FaultRecord::default()
            .with_phase(u64::from(!pass & 1))
            .with_version(FORMAT_VERSION)
            .with_access(found.key.access as u64)
            .with_reason(found.reason as u64)
            .with_client(found.client as u64)
            .with_ctx(u64::from(found.key.ctx))
            .with_id(u64::from(found.id))
            .with_addr(addr)
            .with_stamp(found.stamp)
    }
}
