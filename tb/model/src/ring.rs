//! A host-to-device ring: registers and the fetch of its entries.

use crate::addr::{BusAddr, PhysAddr};
use crate::board::Board;
use hmmu_regs::{Client, ENTRY_BYTES, ErrorCode, FORMAT_VERSION};

/// The words of a queue entry.
pub(crate) type Entry = [u64; ENTRY_BYTES / 8];

enum Fetch {
    Idle,
    /// The read's data arrives at this time.
    Until(u64),
}

/// One ring. The unit that owns it calls [`Ring::poll`] until an entry comes, works, and calls [`Ring::pop`].
pub(crate) struct Ring {
    pub(crate) base: u64,
    pub(crate) log2: u64,
    pub(crate) producer: u32,
    pub(crate) consumer: u32,
    pub(crate) stopped: bool,
    unit: Client,
    fetch: Fetch,
    /// The ring was reset while an entry was worked on: its pop does not count.
    uncounted: bool,
    /// An entry is being worked on.
    taken: bool,
    /// Why the ring has stopped, and the address of the entry, until somebody asks.
    fault: Option<(ErrorCode, u64)>,
}

impl Ring {
    pub(crate) fn new(unit: Client) -> Self {
        Self {
            base: 0,
            log2: 0,
            producer: 0,
            consumer: 0,
            stopped: false,
            unit,
            fetch: Fetch::Idle,
            uncounted: false,
            taken: false,
            fault: None,
        }
    }

    /// The size register was written: both indices restart, and so does a stopped ring.
    pub(crate) fn resize(&mut self, log2: u64) {
        self.log2 = log2 & 15;
        self.producer = 0;
        self.consumer = 0;
        self.stopped = false;
        self.fetch = Fetch::Idle;
        self.uncounted = self.taken;
    }

    fn wanted(&self) -> bool {
        !self.stopped && !self.taken && self.log2 != 0 && self.producer != self.consumer
    }

    /// Nothing to fetch and nothing being worked on.
    pub(crate) fn idle(&self) -> bool {
        !self.taken && !self.wanted()
    }

    /// When [`Ring::poll`] may next give an entry.
    pub(crate) fn next(&self, board: &Board) -> u64 {
        match self.fetch {
            Fetch::Until(at) => at,
            Fetch::Idle if !(self.wanted() && board.enabled) => u64::MAX,
            _ => board.time + 1,
        }
    }

    fn address(&self) -> PhysAddr {
        let index = u64::from(self.consumer) & ((1 << self.log2) - 1);
        PhysAddr::system(BusAddr(self.base & !63).plus(index * ENTRY_BYTES as u64))
    }

    /// The next entry, once it has arrived; it is then being worked on. An entry that cannot be read or has
    /// another format version stops the ring.
    pub(crate) fn poll(&mut self, board: &mut Board) -> Option<Entry> {
        match self.fetch {
            Fetch::Idle if self.wanted() && board.enabled => {
                self.fetch = Fetch::Until(board.after(board.config.latency.link));
                None
            }
            Fetch::Until(at) if at <= board.time => {
                self.fetch = Fetch::Idle;
                let mut bytes = [0; ENTRY_BYTES];
                if board.read(self.unit, self.address(), &mut bytes).is_err() {
                    self.stop(board, ErrorCode::RingFetch);
                    return None;
                }
                let mut words = [0; ENTRY_BYTES / 8];
                for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
                    let mut raw = [0; 8];
                    raw.copy_from_slice(chunk);
                    *word = u64::from_le_bytes(raw);
                }
                if words[0] & 0xff != FORMAT_VERSION {
                    self.stop(board, ErrorCode::BadEntry);
                    return None;
                }
                self.taken = true;
                Some(words)
            }
            _ => None,
        }
    }

    /// The entry being worked on is done with.
    pub(crate) fn pop(&mut self) {
        if !std::mem::take(&mut self.uncounted) {
            self.consumer = self.consumer.wrapping_add(1);
        }
        self.taken = false;
    }

    /// The ring stops behind the entry that was popped.
    pub(crate) fn halt(&mut self) {
        self.stopped = true;
        self.fetch = Fetch::Idle;
    }

    /// Why the ring has stopped, if it has since this was asked last.
    pub(crate) fn take_fault(&mut self) -> Option<(ErrorCode, u64)> {
        self.fault.take()
    }

    /// The entry being worked on, or the one to be fetched, is bad: the ring stops at it.
    pub(crate) fn stop(&mut self, board: &mut Board, code: ErrorCode) {
        board.error(code, self.unit, self.address().0);
        self.fault = Some((code, self.address().0));
        self.taken = false;
        if !std::mem::take(&mut self.uncounted) {
            self.stopped = true;
        }
    }
}

impl BusAddr {
    fn plus(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}
