//! One page walk, a step at a time, so that the host may change the tables between any two of its steps.
//!
//! Source: The RISC-V Instruction Set Manual, Volume II (privileged), "Virtual Address Translation Process" for
//! Sv48, with the deviations of `regs/hmmu.toml` (layout Pte): leaves of 4 KiB and 2 MiB only, A and D updated by
//! hardware, bits 60:54 revoke an entry.

use super::tlb::Xlat;
use crate::addr::PhysAddr;
use crate::board::Board;
use hmmu_regs::{Access, Client, Counter, FaultReason, Pte};

/// Where a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reads the entry of this level (3 is the root) of the table.
    Read { level: u32, table: PhysAddr },
    /// Writes the leaf's A (and D) bit, if the entry is still `old`.
    Update { level: u32, at: PhysAddr, old: Pte },
}

impl Step {
    /// For a step that sets D: log2 of the pages of the entry.
    pub(crate) fn sets_dirty(&self, access: Access) -> Option<u64> {
        match self {
            Step::Update { level, old, .. } if stores(access) && old.d() == 0 => {
                Some(u64::from(9 * level))
            }
            _ => None,
        }
    }
}

/// What a step led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walked {
    On(Step),
    Done(Xlat),
    Fault(FaultReason),
    /// The entry changed under the update: from the root again.
    Again,
}

/// Where the step's memory access goes.
pub(crate) fn target(step: Step, vpn: u64) -> PhysAddr {
    match step {
        Step::Read { level, table } => table.plus((vpn >> (9 * level) & 511) * 8),
        Step::Update { at, .. } => at,
    }
}

/// Does the access need the D bit?
fn stores(access: Access) -> bool {
    matches!(access, Access::Write | Access::Atomic)
}

/// Makes one step of the walk for `access` to page `vpn` of `ctx`.
pub(crate) fn advance(board: &mut Board, step: Step, ctx: u8, vpn: u64, access: Access) -> Walked {
    let at = target(step, vpn);
    match step {
        Step::Read { level, .. } => {
            board.count(Counter::WalkReads);
            let mut raw = [0; Pte::BYTES];
            if board.read(Client::Walker, at, &mut raw).is_err() {
                return Walked::Fault(FaultReason::AccessError);
            }
            entry(Pte::from_bytes(&raw), level, at, ctx, vpn, access)
        }
        Step::Update { level, old, .. } => {
            let new = if stores(access) {
                old.with_a(1).with_d(1)
            } else {
                old.with_a(1)
            };
            match board.cas(Client::Walker, at, false, old.0[0], new.0[0]) {
                Err(_) => Walked::Fault(FaultReason::AccessError),
                Ok(found) if found != old.0[0] => Walked::Again,
                Ok(_) => {
                    board.count(Counter::AdUpdates);
                    if new.d() != old.d() {
                        board.count(Counter::DUpdates);
                    }
                    Walked::Done(xlat(new, level, ctx, vpn))
                }
            }
        }
    }
}

/// What an entry read at `level` from address `at` means for the walk.
fn entry(pte: Pte, level: u32, at: PhysAddr, ctx: u8, vpn: u64, access: Access) -> Walked {
    if pte.v() == 0 || pte.revoked() != 0 || pte.pbmt() != 0 || pte.n() != 0 {
        return Walked::Fault(FaultReason::NotPresent);
    }
    let leaf = pte.r() | pte.w() | pte.x() != 0;
    match (leaf, level) {
        (false, 0) => return Walked::Fault(FaultReason::NotPresent),
        (false, _) => {
            return Walked::On(Step::Read {
                level: level - 1,
                table: PhysAddr::of_page(pte.ppn()),
            });
        }
        (true, 0) => {}
        (true, 1) if pte.ppn() & 511 == 0 => {}
        (true, _) => return Walked::Fault(FaultReason::NotPresent),
    }
    let allowed = match access {
        Access::Read => pte.r() == 1,
        Access::Write | Access::Atomic => pte.r() & pte.w() == 1,
        Access::Execute => pte.x() == 1,
    };
    if pte.u() == 0 || !allowed {
        return Walked::Fault(FaultReason::Protection);
    }
    let found = xlat(pte, level, ctx, vpn);
    if access == Access::Atomic && !found.atomic {
        return Walked::Fault(FaultReason::Atomic);
    }
    if pte.a() == 0 || (stores(access) && pte.d() == 0) {
        return Walked::On(Step::Update {
            level,
            at,
            old: pte,
        });
    }
    Walked::Done(found)
}

fn xlat(leaf: Pte, level: u32, ctx: u8, vpn: u64) -> Xlat {
    Xlat {
        ctx,
        vpn,
        ppn: leaf.ppn(),
        large: level == 1,
        read: leaf.r() == 1,
        write: leaf.r() & leaf.w() == 1,
        execute: leaf.x() == 1,
        dirty: leaf.d() == 1,
        atomic: leaf.ppn() >> 43 == 1 || leaf.atomic() == 1,
    }
}
