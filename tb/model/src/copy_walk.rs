//! The way of a copy through the rows of a segment.

use crate::addr::PAGE_BYTES;
use crate::copy::CHUNK;

/// Where a copy stands in its segment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Walk {
    src: Side,
    dst: Side,
    fill: bool,
    /// Bytes of a row, and what is left of this one.
    len: u64,
    rem: u64,
    /// Rows behind this one.
    rows: u64,
}

#[derive(Clone, Copy, Default)]
struct Side {
    at: u64,
    /// From the end of a row to the next one.
    gap: u64,
    is_va: bool,
    /// It has left the physical space.
    out: bool,
}

impl Side {
    fn new(at: u64, gap: u64, is_va: bool) -> Self {
        let mut side = Self {
            at,
            gap: gap as u32 as i32 as u64,
            is_va,
            out: false,
        };
        side.step(0);
        side
    }

    fn step(&mut self, bytes: u64) {
        self.at = self.at.wrapping_add(bytes);
        self.out |= !self.is_va && self.at >> 56 != 0;
    }

    fn bad(&self) -> bool {
        let high = self.at >> 47;
        self.out || (self.is_va && high != 0 && high != u64::MAX >> 47)
    }
}

impl Walk {
    /// From the beginning of a segment (words 1 to 4 of a CopyEntry).
    pub(crate) fn new(words: [u64; 4], fill: bool, src_va: bool, dst_va: bool) -> Self {
        let len = words[2] & (1 << 48) - 1;
        let rows = (words[2] >> 48 & 0x7fff).max(1) - 1;
        Self {
            src: Side::new(words[0], words[3], src_va),
            dst: Side::new(words[1], words[3] >> 32, dst_va),
            fill,
            len,
            rem: len,
            rows: if len == 0 { 0 } else { rows },
        }
    }

    /// A fill that is not of whole aligned words.
    pub(crate) fn misaligned(&self) -> bool {
        let gap = if self.rows > 0 { self.dst.gap } else { 0 };
        (self.dst.at | self.len | gap) & 7 != 0
    }

    /// Bytes left in this row.
    pub(crate) fn left(&self) -> u64 {
        self.rem
    }

    /// Goes on to the next row if this one is done and there is another one.
    pub(crate) fn next_row(&mut self) -> bool {
        let go = self.rem == 0 && self.rows > 0;
        if go {
            self.rows -= 1;
            self.rem = self.len;
            if !self.fill {
                self.src.step(self.src.gap);
            }
            self.dst.step(self.dst.gap);
        }
        go
    }

    /// An address that cannot be, if there is one.
    pub(crate) fn bad(&self) -> Option<u64> {
        if !self.fill && self.src.bad() {
            return Some(self.src.at);
        }
        self.dst.bad().then_some(self.dst.at)
    }

    /// Where the next chunk comes from; `None` for a fill.
    pub(crate) fn source(&self) -> Option<u64> {
        (!self.fill).then_some(self.src.at)
    }

    /// Where it goes.
    pub(crate) fn destination(&self) -> u64 {
        self.dst.at
    }

    /// Bytes of the next chunk: within one page on both sides.
    pub(crate) fn chunk(&self) -> u64 {
        let chunk = self.rem.min(CHUNK - self.dst.at % CHUNK);
        if self.fill {
            chunk
        } else {
            chunk.min(PAGE_BYTES - self.src.at % PAGE_BYTES)
        }
    }

    /// A chunk is done.
    pub(crate) fn step(&mut self, bytes: u64) {
        self.rem -= bytes;
        if !self.fill {
            self.src.step(bytes);
        }
        self.dst.step(bytes);
    }
}
