//! The reference interpreter over the same memory and table.

use hmmu_model::rv64::{AmoOp, Bus, Hart, Stall, Step, Width};
use hmmu_regs::{Access, JobStatus};

use super::memory::Memory;
use super::mmu::RefMmu;
use super::{End, Thread};

/// Memory through the table, without time or faults.
pub struct RefBus<'a> {
    pub memory: &'a mut Memory,
    pub mmu: &'a RefMmu,
    pub ctx: u64,
}

impl RefBus<'_> {
    fn at(&self, va: u64, access: Access) -> Result<u64, Stall> {
        let top = va as i64 >> 47;
        if top != 0 && top != -1 {
            return Err(Stall::Error(JobStatus::BadAddress as u8));
        }
        let page = self.mmu.table.get(&(self.ctx, va >> 12 & 0xf_ffff_ffff));
        match page {
            Some(page) if page.permits(access as u64) => Ok(page.ppn << 12 | va & 4095),
            _ => panic!("the reference faults at {va:#x} ({access:?})"),
        }
    }
}

impl Bus for RefBus<'_> {
    fn fetch(&mut self, addr: u64) -> Result<u32, Stall> {
        Ok(self.memory.value(self.at(addr, Access::Execute)?, 4) as u32)
    }

    fn load(&mut self, addr: u64, width: Width) -> Result<u64, Stall> {
        Ok(self
            .memory
            .value(self.at(addr, Access::Read)?, width.bytes()))
    }

    fn store(&mut self, addr: u64, width: Width, value: u64) -> Result<(), Stall> {
        let at = self.at(addr, Access::Write)?;
        self.memory.set_value(at, width.bytes(), value);
        Ok(())
    }

    fn load_reserved(&mut self, addr: u64, width: Width) -> Result<u64, Stall> {
        Ok(self
            .memory
            .value(self.at(addr, Access::Atomic)?, width.bytes()))
    }

    fn compare_and_swap(
        &mut self,
        addr: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<u64, Stall> {
        let at = self.at(addr, Access::Atomic)?;
        let old = self.memory.value(at, width.bytes());
        if old == expected {
            self.memory.set_value(at, width.bytes(), new);
        }
        Ok(old)
    }

    fn amo(&mut self, addr: u64, width: Width, op: AmoOp, operand: u64) -> Result<u64, Stall> {
        let at = self.at(addr, Access::Atomic)?;
        let old = self.memory.value(at, width.bytes());
        self.memory
            .set_value(at, width.bytes(), op.apply(width, old, operand));
        Ok(old)
    }

    fn time(&self) -> u64 {
        0
    }
}

/// Runs a thread to its end. It must not depend on time or on its hardware warp.
pub fn run(memory: &mut Memory, mmu: &RefMmu, t: &Thread) -> End {
    let mut hart = Hart::new(t.entry);
    (hart.thread, hart.threads) = (t.index as u32, t.threads as u32);
    hart.x[2] = t.stack_base;
    (hart.x[10], hart.x[11], hart.x[12]) = (t.arg, t.index, t.threads);
    let mut bus = RefBus {
        memory,
        mmu,
        ctx: t.ctx,
    };
    let end = |status: u8, info: u64| End {
        job: t.job,
        result: u64::MAX,
        status,
        info: info & 0xffff_ffff_ffff,
    };
    for _ in 0..1_000_000 {
        match hart.step(&mut bus) {
            Step::Retired => {}
            Step::Parked => unreachable!("the reference never parks"),
            Step::Ecall => {
                return End {
                    result: hart.x[10],
                    ..end(JobStatus::Ok as u8, 0)
                };
            }
            Step::Ebreak => return end(JobStatus::Breakpoint as u8, hart.pc),
            Step::Illegal => return end(JobStatus::Illegal as u8, hart.pc),
            Step::Misaligned(addr) => return end(JobStatus::Misaligned as u8, addr),
            Step::Error { code, addr } => return end(code, addr),
        }
    }
    panic!("the reference does not end")
}
