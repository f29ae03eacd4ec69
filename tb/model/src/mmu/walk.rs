//! One page walk, a step at a time, so that the host may change the tables between any two of its steps.
//!
//! Source: The RISC-V Instruction Set Manual, Volume II (privileged), "Virtual Address Translation Process" for
//! Sv48, and "Svnapot", with the deviations of `regs/hmmu.toml` (layout Pte): no leaf at the root, A and D updated by
//! hardware, bits 60:54 revoke an entry.

use super::tlb::{PageSize, Xlat};
use crate::addr::PhysAddr;
use crate::board::Board;
use hmmu_regs::{Access, Client, Counter, FaultReason, Pte};

/// Where a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reads the entry of this level (3 is the root) of the table.
    Read { level: u32, table: PhysAddr },
    /// Writes the leaf's A (and D) bit, if the entry is still `old`.
    Update {
        size: PageSize,
        at: PhysAddr,
        old: Pte,
    },
}

impl Step {
    /// For a step that sets D: log2 of the pages of the entry.
    pub(crate) fn sets_dirty(&self, access: Access) -> Option<u64> {
        match self {
            Step::Update { size, old, .. } if stores(access) && old.d() == 0 => {
                Some(u64::from(size.shift()))
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
        Step::Update { size, old, .. } => {
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
                    Walked::Done(xlat(new, size, ctx, vpn))
                }
            }
        }
    }
}

/// What an entry read at `level` from address `at` means for the walk.
fn entry(pte: Pte, level: u32, at: PhysAddr, ctx: u8, vpn: u64, access: Access) -> Walked {
    let size = match kind(pte, level) {
        Kind::Void => return Walked::Fault(FaultReason::NotPresent),
        Kind::Pointer => {
            return Walked::On(Step::Read {
                level: level - 1,
                table: PhysAddr::of_page(pte.ppn()),
            });
        }
        Kind::Leaf(size) => size,
    };
    let allowed = match access {
        Access::Read => pte.r() == 1,
        Access::Write | Access::Atomic => pte.r() & pte.w() == 1,
        Access::Execute => pte.x() == 1,
    };
    if pte.u() == 0 || !allowed {
        return Walked::Fault(FaultReason::Protection);
    }
    let found = xlat(pte, size, ctx, vpn);
    if access == Access::Atomic && !found.atomic {
        return Walked::Fault(FaultReason::Atomic);
    }
    if pte.a() == 0 || (stores(access) && pte.d() == 0) {
        return Walked::On(Step::Update { size, at, old: pte });
    }
    Walked::Done(found)
}

/// What an entry is.
enum Kind {
    /// Not present, or something is reserved.
    Void,
    Pointer,
    Leaf(PageSize),
}

fn kind(pte: Pte, level: u32) -> Kind {
    if pte.v() == 0 || pte.revoked() != 0 || pte.pbmt() != 0 || pte.w() > pte.r() {
        return Kind::Void;
    }
    if pte.r() | pte.x() == 0 {
        let reserved = pte.n() | pte.a() | pte.d() | pte.u();
        return if level == 0 || reserved != 0 {
            Kind::Void
        } else {
            Kind::Pointer
        };
    }
    let size = match (level, pte.n()) {
        (0, 0) => PageSize::Small,
        (0, _) if pte.ppn() & 15 == 8 => return Kind::Leaf(PageSize::Napot),
        (1, 0) => PageSize::Large,
        (2, 0) => PageSize::Huge,
        _ => return Kind::Void,
    };
    if pte.ppn() & size.mask() == 0 {
        Kind::Leaf(size)
    } else {
        Kind::Void
    }
}

fn xlat(leaf: Pte, size: PageSize, ctx: u8, vpn: u64) -> Xlat {
    Xlat {
        ctx,
        vpn,
        ppn: leaf.ppn() & !size.mask(),
        size,
        read: leaf.r() == 1,
        write: leaf.r() & leaf.w() == 1,
        execute: leaf.x() == 1,
        dirty: leaf.d() == 1,
        atomic: leaf.ppn() >> 43 == 1 || leaf.atomic() == 1,
    }
}
