//! Commands of the control ring.

use crate::error::DriverError;
use crate::health::Health;
use crate::hw::{DmaAddr, Hardware, HwError};
use crate::mem::DevPa;
use crate::ring::{Index, Push, Ring, RingRegs, Ticket};
use hmm_core::Va;
use hmmu_regs::{Access, CtrlEntry, CtrlOp, CtxMode, ENTRY_BYTES, FORMAT_VERSION, reg};
use std::cell::Cell;
use std::sync::Arc;

/// A context's number on the device.
pub(crate) type CtxId = u8;

/// The control ring.
pub(crate) struct Commands {
    ring: Ring,
    health: Arc<Health>,
    ring_cycles: u64,
    command_cycles: u64,
}

fn entry(op: CtrlOp, ctx: CtxId) -> CtrlEntry {
    CtrlEntry::default()
        .with_version(FORMAT_VERSION)
        .with_op(op as u64)
        .with_ctx(u64::from(ctx))
}

fn fenced(command: CtrlEntry, ticket: Ticket) -> [u8; ENTRY_BYTES] {
    command
        .with_fence_addr(ticket.fence_addr.0)
        .with_fence_value(ticket.fence_value)
        .to_bytes()
}

impl Commands {
    /// Sets up the ring.
    pub fn new(
        hw: &Hardware,
        health: Arc<Health>,
        log2: u32,
        ring_cycles: u64,
        command_cycles: u64,
    ) -> Result<Self, DriverError> {
        let regs = RingRegs {
            name: "control",
            base: reg::CTRL_BASE,
            size: reg::CTRL_SIZE,
            prod: reg::CTRL_PROD,
            dead: 1 << 0 | 1 << 8,
        };
        Ok(Self {
            ring: Ring::new(hw, regs, log2)?,
            health,
            ring_cycles,
            command_cycles,
        })
    }

    /// As [`Ring::restart`].
    pub fn restart(&self, status: u64) -> Result<(), HwError> {
        self.ring.restart(status)
    }

    /// As [`Ring::rearm`].
    pub fn rearm(&self) -> Result<(), HwError> {
        self.ring.rearm()
    }

    /// Issues a command; it completes later. Waits only when the ring is full.
    fn issue(&self, command: CtrlEntry) -> Result<Index, DriverError> {
        self.health.check()?;
        self.ring
            .push(&self.health, self.ring_cycles, false, |ticket, _| {
                fenced(command, ticket)
            })
    }

    /// Issues a command and waits until it has completed.
    fn run(&self, command: CtrlEntry, what: impl Fn() -> String) -> Result<(), DriverError> {
        let index = self.issue(command)?;
        self.ring
            .wait(&self.health, index, what, self.command_cycles)
    }

    /// Points a context at its root table and lets it translate. If `logged`, the D bits that the device sets go to the
    /// dirty log.
    pub fn ctx_set(&self, ctx: CtxId, root: DevPa, logged: bool) -> Result<(), DriverError> {
        let command = entry(CtrlOp::CtxSet, ctx)
            .with_arg0(root.0)
            .with_arg1(CtxMode::Translate as u64 | u64::from(logged) << 2);
        self.run(command, || format!("the set-up of context {ctx}"))
    }

    /// Returns when nothing can use an old translation of `[addr, addr + len)` any more and all D bits of earlier
    /// stores are in the tables.
    pub fn invalidate(&self, ctx: CtxId, addr: Va, len: u64) -> Result<(), DriverError> {
        let command = entry(CtrlOp::Invalidate, ctx)
            .with_addr(addr.0)
            .with_len(len);
        self.run(command, || {
            format!(
                "the invalidation of {len:#x} bytes at {:#x} in context {ctx}",
                addr.0
            )
        })
    }

    /// Lets the parked accesses of `[addr, addr + len)` try again. Does not wait.
    pub fn replay(&self, ctx: CtxId, addr: Va, len: u64) -> Result<(), DriverError> {
        self.issue(entry(CtrlOp::Replay, ctx).with_addr(addr.0).with_len(len))
            .map(drop)
    }

    /// Ends the parked accesses of one kind to one page with an error code. Does not wait.
    pub fn cancel(
        &self,
        ctx: CtxId,
        addr: Va,
        access: Access,
        code: u8,
    ) -> Result<(), DriverError> {
        let command = entry(CtrlOp::Cancel, ctx)
            .with_addr(addr.0)
            .with_len(hmm_core::PAGE_SIZE)
            .with_arg0(access as u64)
            .with_arg1(u64::from(code));
        self.issue(command).map(drop)
    }

    /// Lets the device read the A and D bits of `count` table entries into `result` and clear A. `table`, asked under the
    /// ring's lock, tells where they are; with `None` nothing is issued. Does not wait.
    pub fn harvest_bits(
        &self,
        count: usize,
        result: DmaAddr,
        table: impl Fn() -> Option<DevPa>,
    ) -> Result<Option<Index>, DriverError> {
        const CLEAR: u64 = 1 << 16;
        self.health.check()?;
        let command = entry(CtrlOp::HarvestBits, 0)
            .with_arg1(count as u64 | CLEAR)
            .with_arg2(result.0);
        let mut done = Ok(None);
        self.health.wait(
            || "the control ring (full)".to_owned(),
            self.ring_cycles,
            || {
                let place = Cell::new(None);
                let gate = || {
                    place.set(table());
                    place.get().is_some()
                };
                let pushed = self.ring.try_push(false, gate, |ticket, _| {
                    let table = place.get().map_or(0, |at| at.0);
                    fenced(command.with_arg0(table), ticket)
                });
                match pushed {
                    Push::Full => return false,
                    Push::At(index) => done = Ok(Some(index)),
                    Push::Refused => done = Ok(None),
                    Push::Failed(error) => done = Err(error),
                }
                true
            },
        )?;
        done
    }

    /// Waits for the result of [`Commands::harvest_bits`].
    pub fn wait_bits(&self, index: Index, at: Va) -> Result<(), DriverError> {
        let what = || format!("the harvest of accessed bits at {:#x}", at.0);
        self.ring
            .wait(&self.health, index, what, self.command_cycles)
    }

    /// Stops a context: returns when no access of it is under way.
    pub fn stop(&self, ctx: CtxId) -> Result<(), DriverError> {
        self.run(entry(CtrlOp::Stop, ctx), || {
            format!("the stop of context {ctx}")
        })
    }

    /// Holds a job, if it is in one of the device's slots: returns when its warps stand still.
    pub fn suspend_job(&self, ctx: CtxId, job: u32) -> Result<(), DriverError> {
        let command = entry(CtrlOp::Suspend, ctx).with_arg0(u64::from(job));
        self.run(command, || format!("the suspension of job {job}"))
    }

    /// Lets a job go on.
    pub fn resume_job(&self, ctx: CtxId, job: u32) -> Result<(), DriverError> {
        let command = entry(CtrlOp::Resume, ctx).with_arg0(u64::from(job));
        self.run(command, || format!("the resumption of job {job}"))
    }

    /// Has a job, if it is in one of the device's slots, saved to memory at `area`, which frees its slot and its warps.
    /// Never waits: `None` when the ring is full.
    pub fn try_save_job(
        &self,
        ctx: CtxId,
        job: u32,
        area: DmaAddr,
    ) -> Result<Option<Index>, DriverError> {
        let command = entry(CtrlOp::Save, ctx)
            .with_arg0(u64::from(job))
            .with_arg1(area.0);
        match self
            .ring
            .try_push(false, || true, |t, _| fenced(command, t))
        {
            Push::At(index) => Ok(Some(index)),
            Push::Full | Push::Refused => Ok(None),
            Push::Failed(error) => Err(error),
        }
    }

    /// True when a command has completed.
    pub fn completed(&self, index: Index) -> bool {
        self.ring.completed(index)
    }

    /// Ends a job.
    pub fn kill_job(&self, ctx: CtxId, job: u32) -> Result<(), DriverError> {
        let command = entry(CtrlOp::KillJob, ctx).with_arg0(u64::from(job));
        self.run(command, || format!("the kill of job {job}"))
    }
}
