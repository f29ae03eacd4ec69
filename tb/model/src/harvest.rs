//! HarvestBits: A and D bits of table entries, in bulk.

use crate::addr::PhysAddr;
use crate::board::{AccessFailed, Board};
use hmmu_regs::{Client, CtrlEntry, HarvestEnd, JobStatus, Pte};

/// Most entries of a command: those of one table.
const MOST: u64 = 512;
/// Entries that follow each other in 64 bytes.
const LINE: u64 = 8;
/// Bytes of a bitmap.
const BITMAP: usize = 64;
/// Reads, and swaps, that are under way at once.
const READS: u64 = 8;
const SWAPS: u64 = 2;

/// Whether a command has sizes and addresses that exist.
pub(crate) fn is_good(entry: &CtrlEntry) -> bool {
    let count = entries(entry);
    (LINE..=MOST).contains(&count)
        && count.is_multiple_of(LINE)
        && (entry.arg0() | entry.arg2()).is_multiple_of(64)
}

fn entries(entry: &CtrlEntry) -> u64 {
    entry.arg1() & 0xffff
}

fn is_leaf(pte: Pte) -> bool {
    pte.v() == 1
        && pte.r() | pte.x() == 1
        && pte.w() <= pte.r()
        && pte.revoked() == 0
        && pte.pbmt() == 0
}

/// Runs a command, all at once; the cycles that it takes.
pub(crate) fn run(board: &mut Board, entry: &CtrlEntry) -> u64 {
    let table = PhysAddr(entry.arg0());
    let clear = entry.arg1() >> 16 & 1 == 1;
    let mut bits = Bits::default();
    let done = bits.collect(board, table, entries(entry), clear);
    let status = match done {
        Ok(()) => JobStatus::Ok,
        Err(AccessFailed) => JobStatus::MemoryError,
    };
    let end = HarvestEnd::default().with_status(status as u64);
    let parts = [&bits.accessed[..], &bits.dirty[..], &end.to_bytes()[..]];
    let mut at = PhysAddr(entry.arg2());
    for part in parts {
        board.write(Client::Ctrl, at, part);
        at = at.plus(part.len() as u64);
    }
    let latency = board.latency(table);
    latency * (1 + entries(entry) / LINE / READS + bits.cleared / SWAPS)
}

/// What was found.
struct Bits {
    accessed: [u8; BITMAP],
    dirty: [u8; BITMAP],
    cleared: u64,
}

impl Default for Bits {
    fn default() -> Self {
        Self {
            accessed: [0; BITMAP],
            dirty: [0; BITMAP],
            cleared: 0,
        }
    }
}

impl Bits {
    /// Looks at `count` entries, and clears the A bits if asked to. A failure ends it.
    fn collect(
        &mut self,
        board: &mut Board,
        table: PhysAddr,
        count: u64,
        clear: bool,
    ) -> Result<(), AccessFailed> {
        for first in (0..count).step_by(LINE as usize) {
            let mut line = [0; 8 * LINE as usize];
            board.read(Client::Ctrl, table.plus(8 * first), &mut line)?;
            for (i, raw) in (first..).zip(line.chunks_exact(Pte::BYTES)) {
                let mut bytes = [0; Pte::BYTES];
                bytes.copy_from_slice(raw);
                let pte = Pte::from_bytes(&bytes);
                if !is_leaf(pte) {
                    continue;
                }
                let (byte, bit) = ((i / 8) as usize, i % 8);
                self.accessed[byte] |= (pte.a() as u8) << bit;
                self.dirty[byte] |= (pte.d() as u8) << bit;
                if clear && pte.a() == 1 {
                    let at = table.plus(8 * i);
                    let (old, new) = (pte.0[0], pte.with_a(0).0[0]);
                    board.cas(Client::Ctrl, at, false, old, new)?;
                    self.cleared += 1;
                }
            }
        }
        Ok(())
    }
}
