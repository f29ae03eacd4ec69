//! A warp's accesses: translated, then made at once.

use super::icache::{ICache, LINE_BYTES};
use crate::addr::PhysAddr;
use crate::board::Board;
use crate::mmu::{Key, Mmu, Outcome};
use crate::rv64::{AmoOp, Bus, Stall, Width};
use hmmu_regs::{Access, Client, Counter, JobStatus};

/// The world of one warp for one instruction.
pub(crate) struct WarpBus<'a> {
    pub(crate) board: &'a mut Board,
    pub(crate) mmu: &'a mut Mmu,
    pub(crate) icache: &'a mut ICache,
    pub(crate) ctx: u8,
    /// What the instruction waits for, if it parked, and the address of that access.
    pub(crate) missed: Option<(Key, u64)>,
    /// Cycles of its memory access.
    pub(crate) cycles: u64,
}

impl WarpBus<'_> {
    fn translate(&mut self, client: Client, va: u64, access: Access) -> Result<PhysAddr, Stall> {
        match self.mmu.translate(self.board, client, self.ctx, va, access) {
            Outcome::Hit(at) => Ok(at),
            Outcome::Error(status) => Err(Stall::Error(status)),
            Outcome::Miss(key) => {
                self.missed = Some((key, va));
                Err(Stall::Park)
            }
        }
    }

    fn read(&mut self, at: PhysAddr, width: Width) -> Result<u64, Stall> {
        let mut raw = [0; 8];
        let read = self
            .board
            .read(Client::CuData, at, &mut raw[..width.bytes()]);
        read.map_err(|_| Stall::Error(JobStatus::MemoryError as u8))?;
        Ok(u64::from_le_bytes(raw))
    }

    /// Translates a data access and takes its time.
    fn data(&mut self, va: u64, access: Access) -> Result<PhysAddr, Stall> {
        let at = self.translate(Client::CuData, va, access)?;
        self.cycles += self.board.latency(at);
        Ok(at)
    }

    fn swap(&mut self, at: PhysAddr, width: Width, expected: u64, new: u64) -> Result<u64, Stall> {
        let half = width == Width::Word;
        let old = self.board.cas(Client::CuData, at, half, expected, new);
        old.map_err(|_| Stall::Error(JobStatus::MemoryError as u8))
    }
}

impl Bus for WarpBus<'_> {
    fn fetch(&mut self, addr: u64) -> Result<u32, Stall> {
        if let Some(word) = self.icache.find(self.ctx, addr) {
            return Ok(word);
        }
        let at = self.translate(Client::CuFetch, addr, Access::Execute)?;
        let offset = at.0 % LINE_BYTES as u64;
        let mut line = [0; LINE_BYTES];
        let read = self
            .board
            .read(Client::CuFetch, PhysAddr(at.0 - offset), &mut line);
        read.map_err(|_| Stall::Error(JobStatus::MemoryError as u8))?;
        self.cycles = self.board.latency(at);
        self.icache.fill(self.ctx, addr - offset, line);
        let mut word = [0; 4];
        word.copy_from_slice(&line[offset as usize..offset as usize + 4]);
        Ok(u32::from_le_bytes(word))
    }

    fn load(&mut self, addr: u64, width: Width) -> Result<u64, Stall> {
        let at = self.data(addr, Access::Read)?;
        let value = self.read(at, width)?;
        self.board.count(Counter::CuLoads);
        Ok(value)
    }

    fn store(&mut self, addr: u64, width: Width, value: u64) -> Result<(), Stall> {
        let at = self.data(addr, Access::Write)?;
        self.board
            .write(Client::CuData, at, &value.to_le_bytes()[..width.bytes()]);
        self.board.count(Counter::CuStores);
        Ok(())
    }

    fn load_reserved(&mut self, addr: u64, width: Width) -> Result<u64, Stall> {
        let at = self.data(addr, Access::Atomic)?;
        let value = self.read(at, width)?;
        self.board.count(Counter::CuLoads);
        Ok(value)
    }

    fn compare_and_swap(
        &mut self,
        addr: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<u64, Stall> {
        let at = self.data(addr, Access::Atomic)?;
        let old = self.swap(at, width, expected, new)?;
        self.board.count(Counter::CuLoads);
        if old == expected {
            self.board.count(Counter::CuStores);
        }
        Ok(old)
    }

    fn amo(&mut self, addr: u64, width: Width, op: AmoOp, operand: u64) -> Result<u64, Stall> {
        let at = self.data(addr, Access::Atomic)?;
        let mut expected = self.read(at, width)?;
        loop {
            let old = self.swap(at, width, expected, op.apply(width, expected, operand))?;
            if old == expected {
                self.board.count(Counter::CuLoads);
                self.board.count(Counter::CuStores);
                return Ok(old);
            }
            expected = old;
        }
    }

    fn time(&self) -> u64 {
        self.board.time
    }

    fn fence_i(&mut self) {
        self.icache.flush();
    }
}
