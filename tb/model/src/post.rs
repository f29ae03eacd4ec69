//! The end of a copy descriptor or job, written to the host.

use crate::addr::{BusAddr, PhysAddr};
use crate::board::Board;
use hmmu_regs::{Client, Completion, Vector};

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Enum `JobStatus` or the code of a Cancel.
    pub(crate) status: u8,
    /// Address or program counter of the first error.
    pub(crate) info: u64,
    pub(crate) result: u64,
}

/// A Completion on its way: words 2 and 3, then words 0 and 1, then the interrupt.
pub(crate) struct Post {
    unit: Client,
    addr: u64,
    value: u64,
    end: End,
    irq: Option<Vector>,
    second_at: u64,
    first_at: Option<u64>,
}

impl Post {
    pub(crate) fn new(
        board: &mut Board,
        unit: Client,
        addr: u64,
        value: u64,
        end: End,
        irq: Option<Vector>,
    ) -> Self {
        let second_at = board.after(2);
        Self {
            unit,
            addr,
            value,
            end,
            irq,
            second_at,
            first_at: None,
        }
    }

    /// What it tells.
    pub(crate) fn end(&self) -> End {
        self.end
    }

    pub(crate) fn next(&self) -> u64 {
        self.first_at.unwrap_or(self.second_at)
    }

    /// Goes on; true when all is written and the interrupt raised.
    pub(crate) fn tick(&mut self, board: &mut Board) -> bool {
        if self.next() > board.time {
            return false;
        }
        let record = Completion::default()
            .with_value(self.value)
            .with_stamp(board.time)
            .with_result(self.end.result)
            .with_status(u64::from(self.end.status))
            .with_info(self.end.info);
        let at = PhysAddr::system(BusAddr(self.addr & !31));
        if self.first_at.is_none() {
            if self.addr != 0 {
                board.write_words(self.unit, at.plus(16), &record.0[2..]);
            }
            self.first_at = Some(board.after(1));
            return false;
        }
        if self.addr != 0 {
            board.write_words(self.unit, at, &record.0[..2]);
        }
        if let Some(vector) = self.irq {
            board.raise(vector);
        }
        true
    }
}
