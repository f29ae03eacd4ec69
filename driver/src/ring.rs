//! A ring of entries in shared memory that the driver fills and the device empties.

use crate::error::DriverError;
use crate::health::Health;
use crate::hw::{DmaAddr, Hardware, HwError};
use hmm_core::sync::Mutex;
use hmmu_regs::{Completion, ENTRY_BYTES, JobStatus};

/// Bytes between two slots of completions: a Completion, or a Fence with room to spare.
const SLOT_BYTES: u64 = 32;

/// Where a ring's registers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingRegs {
    /// Its name in messages.
    pub name: &'static str,
    /// Base register.
    pub base: u64,
    /// Size register.
    pub size: u64,
    /// Producer doorbell.
    pub prod: u64,
    /// Bits of register STATUS that are set when the ring has stopped and nothing of it is worked on.
    pub dead: u64,
}

/// How often a ring that the device has stopped is started again at the same entry. A device that stops more often is
/// broken.
pub(crate) const RESTARTS: u32 = 8;

/// The memory of a ring's entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries {
    at: DmaAddr,
    log2: u32,
}

impl Entries {
    /// Allocates room for `2^log2` entries.
    pub fn new(hw: &Hardware, log2: u32) -> Result<Self, DriverError> {
        let at = hw.dma.alloc((ENTRY_BYTES as u64) << log2, 4096)?;
        Ok(Self { at, log2 })
    }

    /// Where it is.
    pub fn base(&self) -> DmaAddr {
        self.at
    }

    fn place(&self, number: u64) -> DmaAddr {
        DmaAddr(self.at.0 + (number & ((1 << self.log2) - 1)) * ENTRY_BYTES as u64)
    }

    /// Writes entry `number`, counted from the ring's last reset.
    pub fn put(&self, hw: &Hardware, number: u64, entry: &[u8; ENTRY_BYTES]) {
        hw.dma.write(self.place(number), entry);
    }

    /// Moves entries `first..last` to the ring's beginning, where the device looks for them after a reset.
    pub fn rewind(&self, hw: &Hardware, first: u64, last: u64) {
        let read = |number| {
            let mut entry = [0; ENTRY_BYTES];
            hw.dma.read(self.place(number), &mut entry);
            entry
        };
        let entries: Vec<_> = (first..last).map(read).collect();
        for (number, entry) in (0..).zip(&entries) {
            self.put(hw, number, entry);
        }
    }
}

/// The producer's side. Entry `i` (counted from the start of time) completes by writing the value `i + 1` to
/// completion slot `i mod size`, so that progress is known from memory alone.
pub(crate) struct Ring {
    regs: RingRegs,
    hw: Hardware,
    entries: Entries,
    slots: DmaAddr,
    log2: u32,
    state: Mutex<State>,
}

struct State {
    produced: u64,
    /// The entry that the device counts as its first: it counts from its last reset.
    origin: u64,
    restarts: u32,
    epoch: u64,
    /// Slots whose completion somebody still has to read.
    held: Vec<bool>,
}

/// The number of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Index(pub u64);

/// Where an entry's completion goes and what value it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// Address of the slot.
    pub fence_addr: DmaAddr,
    /// Value that tells the entry has completed.
    pub fence_value: u64,
}

impl Ring {
    /// Allocates the ring and tells the device.
    pub fn new(hw: &Hardware, regs: RingRegs, log2: u32) -> Result<Self, DriverError> {
        let count = 1u64 << log2;
        let entries = Entries::new(hw, log2)?;
        let slots = hw.dma.alloc(count * SLOT_BYTES, 4096)?;
        hw.bar.write(regs.base, entries.base().0)?;
        hw.bar.write(regs.size, u64::from(log2))?;
        let state = State {
            produced: 0,
            origin: 0,
            restarts: 0,
            epoch: 0,
            held: vec![false; count as usize],
        };
        Ok(Self {
            regs,
            hw: hw.clone(),
            entries,
            slots,
            log2,
            state: Mutex::new(state),
        })
    }

    fn count(&self) -> u64 {
        1 << self.log2
    }

    fn slot(&self, index: u64) -> DmaAddr {
        DmaAddr(self.slots.0 + (index % self.count()) * SLOT_BYTES)
    }

    /// True when the device has completed an entry.
    pub fn completed(&self, index: Index) -> bool {
        let mut value = [0; 8];
        self.hw.dma.read(self.slot(index.0), &mut value);
        u64::from_le_bytes(value) > index.0
    }

    /// The completion slot's bytes.
    pub fn completion(&self, index: Index) -> [u8; SLOT_BYTES as usize] {
        let mut bytes = [0; SLOT_BYTES as usize];
        self.hw.dma.read(self.slot(index.0), &mut bytes);
        bytes
    }

    fn room(&self, state: &State) -> bool {
        let index = state.produced;
        !state.held[(index % self.count()) as usize]
            && (index < self.count() || self.completed(Index(index - self.count())))
    }

    /// Whether there is room for an entry now.
    pub fn has_room(&self) -> bool {
        self.room(&self.state.lock())
    }

    /// Puts an entry into the ring if there is room. `hold` keeps its completion slot from being used again until
    /// [`Ring::release`]. `gate` is asked under the ring's lock, before the entry is placed; false refuses it.
    pub fn try_push(
        &self,
        hold: bool,
        gate: impl FnOnce() -> bool,
        entry: impl FnOnce(Ticket, Index) -> [u8; ENTRY_BYTES],
    ) -> Push {
        let mut state = self.state.lock();
        if !self.room(&state) {
            return Push::Full;
        }
        let index = state.produced;
        let slot = (index % self.count()) as usize;
        if !gate() {
            return Push::Refused;
        }
        let ticket = Ticket {
            fence_addr: self.slot(index),
            fence_value: index + 1,
        };
        let bytes = entry(ticket, Index(index));
        self.entries.put(&self.hw, index - state.origin, &bytes);
        state.held[slot] = hold;
        state.produced = index + 1;
        // The doorbell goes out under the lock: indices must reach the device in order.
        match self.ring_doorbell(&state) {
            Ok(()) => Push::At(Index(index)),
            Err(error) => Push::Failed(error.into()),
        }
    }

    fn ring_doorbell(&self, state: &State) -> Result<(), HwError> {
        let produced = state.produced - state.origin;
        self.hw.bar.write(self.regs.prod, produced & 0xffff_ffff)
    }

    /// Starts the ring again when register STATUS, just read as `status`, says that it has stopped (an entry could
    /// not be read) and that nothing of it is worked on. Entries that have not completed are issued once more.
    pub fn restart(&self, status: u64) -> Result<(), HwError> {
        self.restart_in(self.epoch(), status)
    }

    /// How often the ring was started again.
    pub fn epoch(&self) -> u64 {
        self.state.lock().epoch
    }

    /// As [`Ring::restart`], unless somebody has started the ring since it was in `epoch`, when the status was read.
    pub fn restart_in(&self, epoch: u64, status: u64) -> Result<(), HwError> {
        if status & self.regs.dead != self.regs.dead {
            return Ok(());
        }
        let mut state = self.state.lock();
        if state.epoch != epoch {
            return Ok(());
        }
        let oldest = state
            .produced
            .saturating_sub(self.count())
            .max(state.origin);
        let first = (oldest..state.produced).find(|index| !self.completed(Index(*index)));
        // A ring with nothing left to do is started too: what comes later must not wait.
        let first = first.unwrap_or(state.produced);
        if first > state.origin {
            state.restarts = 0;
        }
        if state.restarts >= RESTARTS {
            return Ok(());
        }
        state.restarts += 1;
        state.epoch += 1;
        self.hw.bar.write(self.regs.size, u64::from(self.log2))?;
        self.entries.rewind(
            &self.hw,
            first - state.origin,
            state.produced - state.origin,
        );
        state.origin = first;
        self.ring_doorbell(&state)
    }

    /// Sets the ring up again after a reset of the device. Entries that it has not completed are given up: they count as
    /// completed, with status MemoryError where there is one.
    pub fn rearm(&self) -> Result<(), HwError> {
        let mut state = self.state.lock();
        let oldest = state.produced.saturating_sub(self.count());
        for index in oldest..state.produced {
            if !self.completed(Index(index)) {
                let given_up = Completion::default()
                    .with_value(index + 1)
                    .with_status(JobStatus::MemoryError as u64);
                self.hw.dma.write(self.slot(index), &given_up.to_bytes());
            }
        }
        state.origin = state.produced;
        state.restarts = 0;
        state.epoch += 1;
        self.hw.bar.write(self.regs.base, self.entries.base().0)?;
        self.hw.bar.write(self.regs.size, u64::from(self.log2))
    }

    /// Puts an entry into the ring, waiting up to `cycles` for room.
    pub fn push(
        &self,
        health: &Health,
        cycles: u64,
        hold: bool,
        entry: impl Fn(Ticket, Index) -> [u8; ENTRY_BYTES],
    ) -> Result<Index, DriverError> {
        let mut done = None;
        health.wait(
            || format!("the {} ring (full)", self.regs.name),
            cycles,
            || match self.try_push(hold, || true, &entry) {
                Push::At(index) => {
                    done = Some(Ok(index));
                    true
                }
                Push::Failed(error) => {
                    done = Some(Err(error));
                    true
                }
                Push::Full | Push::Refused => false,
            },
        )?;
        done.unwrap_or(Err(DriverError::Closed))
    }

    /// Waits for an entry's completion.
    pub fn wait(
        &self,
        health: &Health,
        index: Index,
        what: impl Fn() -> String,
        cycles: u64,
    ) -> Result<(), DriverError> {
        health.wait(what, cycles, || self.completed(index))
    }

    /// Lets the completion slot of a held entry be used again.
    pub fn release(&self, index: Index) {
        let slot = (index.0 % self.count()) as usize;
        self.state.lock().held[slot] = false;
    }
}

/// What became of [`Ring::try_push`].
#[derive(Debug)]
pub(crate) enum Push {
    /// It is in the ring.
    At(Index),
    /// No room now.
    Full,
    /// The gate was closed.
    Refused,
    /// The doorbell could not be written.
    Failed(DriverError),
}
