//! The save area of a job: what Save writes and a restoring launch entry reads.

use crate::addr::PhysAddr;
use crate::board::{AccessFailed, Board};
use crate::config::{UNITS, WARPS};
use crate::rv64::Hart;
use hmmu_regs::{Client, FORMAT_VERSION, JobSave, LaunchEntry, ThreadRegs, ThreadSave};

/// Bytes of the two parts before the first thread.
const HEADER: u64 = (LaunchEntry::BYTES + JobSave::BYTES) as u64;
/// Bytes of a thread.
const RECORD: u64 = (ThreadSave::BYTES + ThreadRegs::BYTES) as u64;
/// Bytes of a beat of the device's memory port.
const BEAT: u64 = 16;

/// Where the record of a thread is in the area at `area`.
pub(crate) fn record_at(area: PhysAddr, index: u64) -> PhysAddr {
    area.plus(HEADER + index * RECORD)
}

/// Where the record `count` further is.
pub(crate) fn next_record(at: PhysAddr, count: u64) -> PhysAddr {
    at.plus(count * RECORD)
}

/// Beats of the parts that are written for this many threads.
pub(crate) fn beats(records: u64) -> u64 {
    (LaunchEntry::BYTES as u64 / BEAT) + 2 + records * (RECORD / BEAT)
}

fn read_line(board: &mut Board, at: PhysAddr) -> Result<[u64; 8], AccessFailed> {
    let mut bytes = [0; 64];
    board.read(Client::Launch, at, &mut bytes)?;
    Ok(LaunchEntry::from_bytes(&bytes).0)
}

/// A saved thread as it lies in memory.
pub(crate) struct Record {
    state: ThreadSave,
    regs: ThreadRegs,
}

impl Record {
    pub(crate) fn new(hart: &Hart) -> Self {
        let state = ThreadSave::default()
            .with_index(u64::from(hart.thread))
            .with_place(u64::from(hart.place))
            .with_pc(hart.pc)
            .with_instret(hart.instret);
        Self {
            state,
            regs: ThreadRegs(hart.x),
        }
    }

    pub(crate) fn write(&self, board: &mut Board, at: PhysAddr) {
        board.write_words(Client::Launch, at, &self.state.0);
        for (k, line) in self.regs.0.chunks(8).enumerate() {
            board.write_words(Client::Launch, at.plus(64 * (k as u64 + 1)), line);
        }
    }

    pub(crate) fn read(board: &mut Board, at: PhysAddr) -> Result<Self, AccessFailed> {
        let state = ThreadSave(read_line(board, at)?);
        let mut regs = ThreadRegs::default();
        for (k, line) in regs.0.chunks_mut(8).enumerate() {
            line.copy_from_slice(&read_line(board, at.plus(64 * (k as u64 + 1)))?);
        }
        Ok(Self { state, regs })
    }

    /// The thread, if this device can have written it: its accesses are given up when it is held, so there are none.
    pub(crate) fn hart(&self, threads: u32) -> Option<Hart> {
        let state = &self.state;
        if state.place() >= (UNITS * WARPS) as u64 || state.accesses() != 0 || state.ended() != 0 {
            return None;
        }
        let mut x = self.regs.0;
        x[0] = 0;
        Some(Hart {
            pc: state.pc() & !3,
            x,
            reservation: None,
            instret: state.instret(),
            thread: state.index() as u32,
            threads,
            place: state.place() as u32,
        })
    }
}

/// The first two parts of an area.
pub(crate) struct Header {
    pub(crate) entry: LaunchEntry,
    pub(crate) job: JobSave,
}

impl Header {
    /// Writes it, the word with the version last.
    pub(crate) fn write(&self, board: &mut Board, area: PhysAddr) {
        board.write_words(Client::Launch, area, &self.entry.0);
        let [first, second] = [&self.job.0[..2], &self.job.0[2..4]];
        board.write_words(Client::Launch, area.plus(80), second);
        board.write_words(Client::Launch, area.plus(64), first);
    }

    pub(crate) fn read(board: &mut Board, area: PhysAddr) -> Result<Self, AccessFailed> {
        Ok(Self {
            entry: LaunchEntry(read_line(board, area)?),
            job: JobSave(read_line(board, area.plus(64))?),
        })
    }

    /// Can the device have written it?
    pub(crate) fn good(&self) -> bool {
        self.entry.version() == FORMAT_VERSION
            && self.entry.threads() != 0
            && self.job.version() == FORMAT_VERSION
            && self.job.next() <= self.entry.threads()
            && self.job.records() <= (UNITS * WARPS) as u64
    }
}
