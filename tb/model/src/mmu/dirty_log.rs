//! The dirty log: a record for each entry whose D bit a walk has set, in a ring in host memory.

use std::collections::VecDeque;

use crate::addr::{BusAddr, PhysAddr, page_address};
use crate::board::Board;
use hmmu_regs::{Client, Counter, DirtyRecord, FORMAT_VERSION, Vector};

/// Records that can wait in the device.
const DEPTH: usize = 16;
/// Cycles that a record takes.
const RECORD_CYCLES: u64 = 2;

/// The ring's registers and the records that wait.
#[derive(Default)]
pub(crate) struct DirtyLog {
    pub(crate) base: u64,
    pub(crate) log2: u64,
    pub(crate) producer: u32,
    pub(crate) consumer: u32,
    waiting: VecDeque<DirtyRecord>,
    /// When the next record may be written.
    due: u64,
}

impl DirtyLog {
    /// The size register was written: both indices restart.
    pub(super) fn resize(&mut self, log2: u64) {
        self.log2 = log2 & 15;
        self.producer = 0;
        self.consumer = 0;
        if !self.is_on() {
            self.waiting.clear();
        }
    }

    /// Updates of logged contexts are noted.
    pub(super) fn is_on(&self) -> bool {
        self.log2 != 0
    }

    /// A D bit may be set: there is a place for its record.
    pub(super) fn has_place(&self) -> bool {
        self.waiting.len() < DEPTH
    }

    /// Notes that D was set in the entry of `1 << order` pages from page `vpn` on.
    pub(super) fn note(&mut self, board: &Board, ctx: u8, vpn: u64, order: u64) {
        let record = DirtyRecord::default()
            .with_version(FORMAT_VERSION)
            .with_order(order)
            .with_ctx(u64::from(ctx))
            .with_stamp(board.time & 0xffff_ffff)
            .with_addr(page_address(vpn));
        self.waiting.push_back(record);
        self.due = self.due.max(board.time + RECORD_CYCLES);
    }

    fn unread(&self) -> u32 {
        self.producer.wrapping_sub(self.consumer)
    }

    fn has_room(&self) -> bool {
        self.is_on() && self.unread() < 1 << self.log2
    }

    /// The index of the next record: those before it are written, or wait.
    pub(super) fn next_index(&self) -> u32 {
        self.producer.wrapping_add(self.waiting.len() as u32)
    }

    /// Records wait inside the device because the ring has no room.
    pub(super) fn full(&self) -> bool {
        self.is_on() && !self.has_room() && !self.waiting.is_empty()
    }

    pub(super) fn next(&self, now: u64) -> u64 {
        if self.has_room() && !self.waiting.is_empty() {
            self.due.max(now + 1)
        } else {
            u64::MAX
        }
    }

    /// Writes the record that is due.
    pub(super) fn tick(&mut self, board: &mut Board) {
        if self.due > board.time || !self.has_room() {
            return;
        }
        let Some(record) = self.waiting.pop_front() else {
            return;
        };
        let index = u64::from(self.producer) & ((1 << self.log2) - 1);
        let place = PhysAddr::system(BusAddr(self.base & !63)).plus(index * 16);
        let pass = self.producer >> self.log2;
        let record = record.with_phase(u64::from(!pass & 1));
        board.write_words(Client::Fault, place, &record.0);
        board.count(Counter::DirtyRecords);
        self.producer = self.producer.wrapping_add(1);
        if self.unread() >= (1 << self.log2) / 2 {
            board.raise(Vector::Dirty);
        }
        self.due = board.time + RECORD_CYCLES;
    }
}
