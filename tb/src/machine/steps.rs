//! Steps of translation as events of the log.

use hmm_core::PAGE_SHIFT;
use hmmu_rtl::{Step, StepKind};

use crate::log::EventLog;

/// Notes a step that a device made in `cycle`.
pub fn note(log: &EventLog, device: usize, cycle: u64, kind: StepKind, step: &Step) {
    let ctx = ("ctx", u64::from(step.ctx));
    let addr = ("addr", address(step.lo));
    let access = ("access", u64::from(step.access));
    let client = ("client", u64::from(step.client));
    let code = u64::from(step.code);
    let (name, mut fields) = match kind {
        StepKind::Event => {
            let last = ("last", address(step.hi));
            match step.code {
                1 => {
                    let size = ("size", u64::from(step.access));
                    ("tlb_fill", vec![ctx, addr, size, ("allows", client.1)])
                }
                2 => ("tlb_invalidate", vec![ctx, addr, last]),
                3 => ("tlb_retry", vec![ctx, addr, last]),
                4 => ("tlb_cancel", vec![ctx, addr, access]),
                _ => ("tlb_stop", vec![ctx]),
            }
        }
        StepKind::Miss => ("tlb_miss", vec![ctx, addr, access, client]),
        StepKind::Hit => ("l2_hit", vec![ctx, addr]),
        StepKind::Walk => ("walk", vec![ctx, addr, access]),
        StepKind::Read if step.code & 4 != 0 => ("walk_update", vec![ctx, addr, access]),
        StepKind::Read => ("walk_read", vec![ctx, addr, access, ("level", code & 3)]),
        StepKind::Data => ("walk_data", vec![ctx, addr, access, ("level", code & 3)]),
        StepKind::Fault => ("walk_fault", vec![ctx, addr, access, ("reason", code)]),
        StepKind::Record => {
            let id = ("id", step.hi);
            ("fault_record", vec![id, ctx, addr, access, client])
        }
    };
    if device > 0 {
        fields.push((EventLog::DEVICE, device as u64));
    }
    log.step(cycle, name, &fields);
}

/// The canonical address of a page.
fn address(page: u64) -> u64 {
    ((page << (16 + PAGE_SHIFT)) as i64 >> 16) as u64
}
