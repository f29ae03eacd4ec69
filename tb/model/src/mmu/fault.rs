//! The fault ring: records of parked faults, written to the host roughly in the order in which they were found.

use super::unit::{Miss, Parked, State};
use crate::addr::{BusAddr, PhysAddr, page_address};
use crate::board::Board;
use hmmu_regs::{Client, Counter, FORMAT_VERSION, FaultRecord, Vector};

/// A record on its way.
struct Writing {
    record: FaultRecord,
    place: PhysAddr,
    /// Words 2 and 3 are written.
    second_done: bool,
    /// The ring was reset meanwhile: it does not count.
    void: bool,
    due: u64,
}

/// The ring's registers and the record under way.
pub(crate) struct FaultRing {
    pub(crate) base: u64,
    pub(crate) log2: u64,
    pub(crate) producer: u32,
    pub(crate) consumer: u32,
    writing: Option<Writing>,
    next_id: u32,
}

/// The fault of a miss, if its record has not been begun.
fn fresh(miss: &Miss) -> Option<&Parked> {
    match &miss.state {
        State::Parked(parked) if parked.fresh => Some(parked),
        _ => None,
    }
}

impl FaultRing {
    pub(crate) fn new() -> Self {
        Self {
            base: 0,
            log2: 0,
            producer: 0,
            consumer: 0,
            writing: None,
            next_id: 0,
        }
    }

    /// The size register was written: both indices restart.
    pub(super) fn resize(&mut self, log2: u64) {
        self.log2 = log2 & 15;
        self.producer = 0;
        self.consumer = 0;
        if let Some(writing) = &mut self.writing {
            writing.void = true;
        }
    }

    fn has_room(&self) -> bool {
        self.log2 != 0 && self.producer.wrapping_sub(self.consumer) < 1 << self.log2
    }

    /// Records wait inside the device because the ring has no room.
    pub(super) fn full(&self, misses: &[Miss]) -> bool {
        !self.has_room() && misses.iter().any(|miss| fresh(miss).is_some())
    }

    pub(super) fn next(&self, now: u64, misses: &[Miss]) -> u64 {
        match &self.writing {
            Some(writing) => writing.due,
            None if self.has_room() && misses.iter().any(|miss| fresh(miss).is_some()) => now + 1,
            None => u64::MAX,
        }
    }

    /// Begins a record, or writes the next part of the one under way.
    pub(super) fn tick(&mut self, board: &mut Board, misses: &mut [Miss]) {
        let room = self.has_room();
        match &mut self.writing {
            Some(writing) if writing.due > board.time => {}
            Some(writing) if !writing.second_done => {
                board.write_words(
                    Client::Fault,
                    writing.place.plus(16),
                    &writing.record.0[2..],
                );
                writing.second_done = true;
                writing.due = board.after(1);
            }
            Some(writing) => {
                board.write_words(Client::Fault, writing.place, &writing.record.0[..2]);
                if !writing.void {
                    self.producer = self.producer.wrapping_add(1);
                    board.count(Counter::Faults);
                    board.raise(Vector::Fault);
                }
                self.writing = None;
            }
            None if room => {
                if let Some(miss) = misses.iter_mut().find(|miss| fresh(miss).is_some()) {
                    self.begin(board, miss);
                }
            }
            None => {}
        }
    }

    fn begin(&mut self, board: &mut Board, miss: &mut Miss) {
        let State::Parked(parked) = &mut miss.state else {
            return;
        };
        parked.fresh = false;
        let index = u64::from(self.producer) & ((1 << self.log2) - 1);
        let base = PhysAddr::system(BusAddr(self.base & !63));
        let place = base.plus(index * FaultRecord::BYTES as u64);
        let pass = self.producer >> self.log2;
        let record = FaultRecord::default()
            .with_phase(u64::from(!pass & 1))
            .with_version(FORMAT_VERSION)
            .with_access(miss.key.access as u64)
            .with_reason(parked.reason as u64)
            .with_client(miss.client as u64)
            .with_ctx(u64::from(miss.key.ctx))
            .with_id(u64::from(self.next_id))
            .with_addr(page_address(miss.key.vpn))
            .with_stamp(parked.stamp);
        self.next_id = self.next_id.wrapping_add(1);
        let due = board.after(2);
        self.writing = Some(Writing {
            record,
            place,
            second_done: false,
            void: false,
            due,
        });
    }
}
