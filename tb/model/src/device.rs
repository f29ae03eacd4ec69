//! The device as a whole.

use crate::board::Board;
use crate::config::DeviceConfig;
use crate::control::{ControlUnit, Units};
use crate::copy::CopyEngine;
use crate::cu::Cluster;
use crate::host::HostMemory;
use crate::launch::LaunchUnit;
use crate::mmu::Mmu;
use crate::msix::Message;
use hmmu_regs::{Client, Counter};

/// A functional hmmu device: the registers, rings and rules of `regs/hmmu.toml`.
///
/// Time passes only in [`Device::tick`]. Register and VRAM accesses take effect at once, between two cycles. Two
/// devices with the same configuration that see the same accesses at the same times do the same.
pub struct Device {
    pub(crate) board: Board,
    pub(crate) mmu: Mmu,
    pub(crate) control: ControlUnit,
    pub(crate) copy: CopyEngine,
    pub(crate) launch: LaunchUnit,
    pub(crate) cu: Cluster,
    /// CPL_TIMEOUT. The model's link answers in no time or fails by itself, so it has no other effect.
    pub(crate) cpl_timeout: u64,
}

impl Device {
    /// A device after reset, with `host` as the system memory on the other side of its link.
    #[must_use]
    pub fn new(config: DeviceConfig, host: Box<dyn HostMemory>) -> Self {
        Self {
            board: Board::new(config, host),
            mmu: Mmu::new(),
            control: ControlUnit::new(),
            copy: CopyEngine::new(),
            launch: LaunchUnit::new(),
            cu: Cluster::new(),
            cpl_timeout: 50_000,
        }
    }

    /// Device time: cycles since reset.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.board.time
    }

    /// Lets `cycles` cycles pass. `tick(a)` and `tick(b)` do exactly what `tick(a + b)` does.
    pub fn tick(&mut self, cycles: u64) {
        let end = self.board.time + cycles;
        while self.board.time < end {
            // Cycles in which nothing can happen are passed over.
            let next = self.next().clamp(self.board.time + 1, end);
            self.pass(next - 1 - self.board.time);
            self.cycle();
        }
    }

    /// The next cycle in which some unit has something to do by itself; `u64::MAX` if all wait for the host.
    #[must_use]
    pub fn next(&self) -> u64 {
        let board = &self.board;
        if !board.msix.idle() {
            return board.time + 1;
        }
        let units = [
            self.mmu.next(board),
            self.control.next(board),
            self.copy.next(board),
            self.launch.next(board, &self.cu),
            self.cu.next(board.time),
        ];
        units.into_iter().min().unwrap_or(u64::MAX)
    }

    /// Lets cycles pass in which nothing happens.
    fn pass(&mut self, cycles: u64) {
        self.board.time += cycles;
        self.board.counters.add(Counter::Cycles, cycles);
        if self.cu.busy() {
            self.board.counters.add(Counter::CuBusy, cycles);
        }
    }

    fn cycle(&mut self) {
        self.pass(1);
        let board = &mut self.board;
        self.mmu.tick(board);
        let mut units = Units {
            mmu: &mut self.mmu,
            copy: &mut self.copy,
            launch: &mut self.launch,
            cu: &mut self.cu,
        };
        self.control.tick(board, &mut units);
        for event in self.mmu.take_events() {
            self.cu.on_event(&event, board.time);
            self.copy.on_event(&event);
        }
        self.copy.tick(board, &mut self.mmu);
        self.launch.tick(board, &mut self.cu);
        for end in self.cu.tick(board, &mut self.mmu).iter().flatten() {
            self.launch.thread_ended(end);
        }
        board.send_messages();
    }

    /// The oldest interrupt message not yet taken. Everything the device wrote before it raised the interrupt is
    /// in memory by then.
    pub fn take_message(&mut self) -> Option<Message> {
        self.board.msix.take()
    }

    /// Sets MSI-X Enable of the function's capability (on after reset). While off, interrupts stay pending.
    pub fn enable_msix(&mut self, on: bool) {
        self.board.msix.enable(on);
    }

    /// The value of a counter now, without a snapshot.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.board.counters.live(counter)
    }

    /// Reads VRAM as BAR2 shows it, from byte `addr` on.
    ///
    /// # Errors
    /// [`crate::OutOfVram`] if the range does not lie in VRAM.
    pub fn vram_read(
        &mut self,
        addr: crate::VramAddr,
        buf: &mut [u8],
    ) -> Result<(), crate::OutOfVram> {
        let bytes = self
            .board
            .window(addr.0, buf.len())
            .ok_or(crate::OutOfVram {
                addr,
                len: buf.len(),
            })?;
        buf.copy_from_slice(bytes);
        self.board.host_read(addr.0, buf.len() as u64);
        Ok(())
    }

    /// Writes VRAM as through BAR2.
    ///
    /// # Errors
    /// [`crate::OutOfVram`] if the range does not lie in VRAM; then nothing is written.
    pub fn vram_write(
        &mut self,
        addr: crate::VramAddr,
        data: &[u8],
    ) -> Result<(), crate::OutOfVram> {
        let bytes = self
            .board
            .window(addr.0, data.len())
            .ok_or(crate::OutOfVram {
                addr,
                len: data.len(),
            })?;
        bytes.copy_from_slice(data);
        self.board.host_write(addr.0, data.len() as u64);
        Ok(())
    }

    /// Records an error as if `unit` had met it (for tests of the host's error handling).
    pub fn inject_error(&mut self, code: hmmu_regs::ErrorCode, unit: Client, addr: u64) {
        self.board.error(code, unit, addr);
    }
}
