//! The fault ring, and how its records are sorted into work.

use crate::commands::CtxId;
use crate::error::DriverError;
use crate::hw::Hardware;
use crate::policy::{FaultInfo, PageRange, Policy};
use crate::record_ring::{RecordRegs, RecordRing};
use hmm_core::addr::TASK_SIZE;
use hmm_core::{PAGE_SIZE, Va};
use hmmu_regs::{Access, FaultReason, FaultRecord, reg};

/// Most pages that are looked up at once.
const RANGE_PAGES: u64 = 256;

/// A parked access of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub ctx: CtxId,
    pub addr: Va,
    pub access: Access,
    pub reason: FaultReason,
    /// Number since reset; the same in the device's traces.
    pub id: u32,
}

impl Fault {
    /// True for accesses that need write permission.
    pub fn writes(&self) -> bool {
        matches!(self.access, Access::Write | Access::Atomic)
    }

    /// False for an address that no process can have.
    pub fn in_user_half(&self) -> bool {
        self.addr.0 < TASK_SIZE
    }

    /// As policies see it.
    pub fn info(&self) -> FaultInfo {
        FaultInfo {
            addr: self.addr,
            write: self.writes(),
            atomic: self.access == Access::Atomic,
        }
    }
}

/// Faults that are served together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub ctx: CtxId,
    /// To be migrated first.
    pub migrate: Option<PageRange>,
    /// To be looked up.
    pub around: PageRange,
    /// Sorted by address, then access.
    pub faults: Vec<Fault>,
}

const REGS: RecordRegs = RecordRegs {
    base: reg::FAULT_BASE,
    size: reg::FAULT_SIZE,
    cons: reg::FAULT_CONS,
};

/// The driver's end of the fault ring.
pub(crate) struct FaultRing(RecordRing<{ FaultRecord::BYTES }>);

impl FaultRing {
    /// Allocates the ring and tells the device.
    pub fn new(hw: &Hardware, log2: u32) -> Result<Self, DriverError> {
        Ok(Self(RecordRing::new(hw, REGS, log2)?))
    }

    /// Sets the ring up again after a reset of the device.
    pub fn rearm(&mut self) -> Result<(), DriverError> {
        self.0.rearm()
    }

    /// Takes all records that are there and gives their places back to the device.
    pub fn fetch(&mut self) -> Result<Vec<Fault>, DriverError> {
        let records = self.0.fetch()?;
        let faults = records
            .iter()
            .filter_map(|bytes| decode(&FaultRecord::from_bytes(bytes)));
        Ok(faults.collect())
    }
}

fn decode(record: &FaultRecord) -> Option<Fault> {
    let addr = ((record.addr() << 16) as i64 >> 16) as u64;
    Some(Fault {
        ctx: record.ctx() as CtxId,
        addr: Va(addr).align_down(),
        access: Access::from_raw(record.access())?,
        reason: FaultReason::from_raw(record.reason()).unwrap_or(FaultReason::None),
        id: record.id() as u32,
    })
}

fn clip(range: PageRange) -> PageRange {
    PageRange {
        start: range.start.min(Va(TASK_SIZE)),
        end: range.end.min(Va(TASK_SIZE)),
    }
}

fn cover(range: PageRange, addr: Va) -> PageRange {
    PageRange {
        start: range.start.min(addr),
        end: range.end.max(addr + PAGE_SIZE),
    }
}

/// Sorts faults and merges those that are near each other into ranges.
pub(crate) fn merge(mut faults: Vec<Fault>, policy: &dyn Policy) -> Vec<Work> {
    faults.sort_by_key(|f| (f.ctx, f.addr, f.access as u8));
    let mut works: Vec<Work> = Vec::new();
    for fault in faults {
        let (migrate, around) = if fault.in_user_half() {
            let decision = policy.on_fault(&fault.info());
            (
                decision.migrate.map(clip),
                clip(cover(decision.around, fault.addr)),
            )
        } else {
            (
                None,
                PageRange {
                    start: fault.addr,
                    end: fault.addr + PAGE_SIZE,
                },
            )
        };
        if let Some(last) = works.last_mut()
            && last.ctx == fault.ctx
            && last.migrate.is_some() == migrate.is_some()
            && around.start <= last.around.end
            && around.start >= last.around.start
            && around.end.0.saturating_sub(last.around.start.0) <= RANGE_PAGES * PAGE_SIZE
            && last.faults.iter().all(Fault::in_user_half) == fault.in_user_half()
        {
            last.around.end = last.around.end.max(around.end);
            if let (Some(have), Some(more)) = (&mut last.migrate, migrate) {
                have.start = have.start.min(more.start);
                have.end = have.end.max(more.end);
            }
            last.faults.push(fault);
        } else {
            works.push(Work {
                ctx: fault.ctx,
                migrate,
                around,
                faults: vec![fault],
            });
        }
    }
    works
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::MapRemote;

    fn fault(ctx: CtxId, page: u64, access: Access) -> Fault {
        Fault {
            ctx,
            addr: Va(page * PAGE_SIZE),
            access,
            reason: FaultReason::NotPresent,
            id: 0,
        }
    }

    #[test]
    fn faults_of_neighbouring_blocks_merge_and_others_do_not() {
        let list = vec![
            fault(1, 40, Access::Read),
            fault(1, 3, Access::Write),
            fault(0, 3, Access::Read),
            fault(1, 3, Access::Read),
            fault(1, 16, Access::Read),
        ];
        let works = merge(list, &MapRemote { around_pages: 16 });
        let shape: Vec<(u8, u64, u64, usize)> = works
            .iter()
            .map(|w| {
                (
                    w.ctx,
                    w.around.start.0 / PAGE_SIZE,
                    w.around.end.0 / PAGE_SIZE,
                    w.faults.len(),
                )
            })
            .collect();
        assert_eq!(shape, [(0, 0, 16, 1), (1, 0, 48, 4)]);
        assert_eq!(works[1].faults[0].access, Access::Read);
        assert_eq!(works[1].faults[1].access, Access::Write);
    }

    #[test]
    fn addresses_of_the_upper_half_stay_alone() {
        let high = Fault {
            addr: Va(0xffff_8000_0000_0000),
            ..fault(1, 0, Access::Execute)
        };
        let top = Fault {
            addr: Va(TASK_SIZE - PAGE_SIZE),
            ..high
        };
        let works = merge(vec![high, top], &MapRemote::default());
        assert_eq!(works.len(), 2);
        assert!(works.iter().all(|w| w.faults.len() == 1));
        assert_eq!(works[0].around.end, Va(TASK_SIZE));
    }
}
