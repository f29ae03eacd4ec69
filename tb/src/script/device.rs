//! Script calls on the device, as a process sees it.

use std::sync::Arc;

use hmm_core::Va;
use hmmu_driver::{Context, Device, DriverError, Program};
use rhai::Engine;

use super::args::{length, size, words};
use super::error::{self, FAILED, ORACLE, Result, invalid, throw};
use super::step::{Handle, calls};
use crate::kernels::{self, KernelError};
use crate::oracle::{Data, Mismatch, Outcome};
use crate::world::World;

/// The device opened for a process, as scripts hold it.
#[derive(Clone)]
pub struct Dev {
    pub(super) world: Arc<World>,
    pub(super) mm: Arc<hmm_core::Mm>,
    pub(super) context: Arc<Context>,
    pub(super) number: usize,
}

impl Handle for Dev {
    fn world(&self) -> &Arc<World> {
        &self.world
    }
}

impl Dev {
    /// Opens device `number`, which the machine has.
    pub(super) fn open(
        world: &Arc<World>,
        mm: &Arc<hmm_core::Mm>,
        number: usize,
    ) -> std::result::Result<Self, DriverError> {
        Ok(Self {
            world: Arc::clone(world),
            mm: Arc::clone(mm),
            context: world.open(number, mm)?,
            number,
        })
    }

    /// The driver's device.
    pub(super) fn device(&self) -> &Device {
        &self.world.devices[self.number]
    }

    fn id(&self) -> u64 {
        self.mm.id()
    }

    fn refuse(&self, call: &str, mismatch: &Mismatch) -> Box<rhai::EvalAltResult> {
        throw(call, ORACLE, self.world.fail(mismatch))
    }

    /// Runs a program to its end.
    fn run(&self, call: &str, program: &Program, args: &[u64], threads: u32) -> Result<u64> {
        let job = self
            .context
            .launch(program, args, threads)
            .map_err(|e| error::driver(call, &e))?;
        job.wait().map_err(|e| error::job(call, &e))
    }

    fn load(&mut self, a: i64, bytes: i64) -> Result<i64> {
        let call = "d.load";
        let bytes = size(call, bytes)?;
        let program = kernel(call, kernels::load(bytes as u64))?;
        let ticket = self
            .world
            .oracle
            .begin_read(self.id(), a as u64, bytes as u64);
        match self.run(call, &program, &[a as u64], 1) {
            Err(error) => {
                self.world.oracle.abandon(ticket);
                Err(error)
            }
            Ok(value) => {
                let checked = self
                    .world
                    .oracle
                    .end_read(ticket, &value.to_le_bytes()[..bytes]);
                checked.map_err(|mismatch| self.refuse(call, &mismatch))?;
                Ok(value as i64)
            }
        }
    }

    fn store(&mut self, a: i64, value: i64, bytes: i64) -> Result<()> {
        let call = "d.store";
        let bytes = size(call, bytes)?;
        let program = kernel(call, kernels::store(bytes as u64))?;
        let data = Data::Bytes(value.to_le_bytes()[..bytes].to_vec());
        let ticket = self
            .world
            .oracle
            .begin_write(self.id(), a as u64, bytes as u64, data);
        let done = self.run(call, &program, &[a as u64, value as u64], 1);
        // One store: it happens or not a byte changes. A lost device may have done it and not said so.
        let outcome = match &done {
            Ok(_) => Outcome::Done,
            Err(_) if self.device().lost().is_some() => Outcome::Partial,
            Err(_) => Outcome::Nothing,
        };
        self.world.oracle.end_write(ticket, outcome);
        done.map(|_| ())
    }

    fn fetch_add(&mut self, a: i64, value: i64, bytes: i64) -> Result<i64> {
        let call = "d.fetch_add";
        let bytes = size(call, bytes)?;
        let program = kernel(call, kernels::fetch_add(bytes as u64))?;
        let ticket =
            self.world
                .oracle
                .begin_write(self.id(), a as u64, bytes as u64, Data::Unknown);
        match self.run(call, &program, &[a as u64, value as u64], 1) {
            Err(error) => {
                let lost = self.device().lost().is_some();
                self.world.oracle.end_write(
                    ticket,
                    if lost {
                        Outcome::Partial
                    } else {
                        Outcome::Nothing
                    },
                );
                Err(error)
            }
            Ok(old) => {
                let new = old.wrapping_add(value as u64).to_le_bytes();
                let checked = self.world.oracle.end_update(
                    ticket,
                    &old.to_le_bytes()[..bytes],
                    &new[..bytes],
                );
                checked.map_err(|mismatch| self.refuse(call, &mismatch))?;
                Ok(old as i64)
            }
        }
    }

    fn fill(&mut self, a: i64, len: i64, first: i64) -> Result<()> {
        let call = "d.fill";
        let (addr, len) = words(call, a, len)?;
        let program = kernel(call, kernels::fill())?;
        let ticket =
            self.world
                .oracle
                .begin_write(self.id(), addr, len, Data::pattern(len, first as u64));
        let done = self.run(
            call,
            &program,
            &[addr, len, first as u64],
            kernels::BULK_THREADS,
        );
        self.world.oracle.end_write(
            ticket,
            if done.is_ok() {
                Outcome::Done
            } else {
                Outcome::Partial
            },
        );
        done.map(|_| ())
    }

    fn check(&mut self, a: i64, len: i64, first: i64) -> Result<()> {
        let call = "d.check";
        let (addr, len) = words(call, a, len)?;
        let program = kernel(call, kernels::check())?;
        let ticket = self.world.oracle.begin_read(self.id(), addr, len);
        let result = self.run(
            call,
            &program,
            &[addr, len, first as u64],
            kernels::BULK_THREADS,
        );
        match result {
            Ok(u64::MAX) => {
                let Data::Bytes(bytes) = Data::pattern(len, first as u64) else {
                    return Ok(());
                };
                self.world
                    .oracle
                    .end_read(ticket, &bytes)
                    .map_err(|mismatch| self.refuse(call, &mismatch))
            }
            Ok(wrong) => {
                self.world.oracle.abandon(ticket);
                let want = (first as u64).wrapping_add((wrong.wrapping_sub(addr)) / 8);
                Err(throw(
                    call,
                    FAILED,
                    format!("word at {wrong:#x} differs, expected {want}"),
                ))
            }
            Err(error) => {
                self.world.oracle.abandon(ticket);
                Err(error)
            }
        }
    }

    fn copy(&mut self, dst: i64, src: i64, len: i64) -> Result<()> {
        let call = "d.copy";
        let len = length(call, len)?;
        let read = self.world.oracle.begin_read(self.id(), src as u64, len);
        let write = self
            .world
            .oracle
            .begin_write(self.id(), dst as u64, len, Data::Unknown);
        match self.context.copy(Va(dst as u64), Va(src as u64), len) {
            Ok(()) => {
                self.world.oracle.end_copy(read, write);
                Ok(())
            }
            Err(e) => {
                self.world.oracle.abandon(read);
                self.world.oracle.end_write(write, Outcome::Partial);
                Err(error::driver(call, &e))
            }
        }
    }
}

/// A kernel, or why there is none.
pub(super) fn kernel(
    call: &str,
    program: std::result::Result<Program, KernelError>,
) -> Result<Program> {
    program.map_err(|e| invalid(call, e.to_string()))
}

/// Registers the calls of an opened device.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Dev>("Device");
    calls!(engine, Dev, "d":
        "load"(a: i64) => |d: &mut Dev, a| d.load(a, 8);
        "load"(a: i64, bytes: i64) => Dev::load;
        "store"(a: i64, v: i64) => |d: &mut Dev, a, v| d.store(a, v, 8);
        "store"(a: i64, v: i64, bytes: i64) => Dev::store;
        "fetch_add"(a: i64, v: i64) => |d: &mut Dev, a, v| d.fetch_add(a, v, 8);
        "fetch_add"(a: i64, v: i64, bytes: i64) => Dev::fetch_add;
        "fill"(a: i64, len: i64, first: i64) => Dev::fill;
        "check"(a: i64, len: i64, first: i64) => Dev::check;
        "copy"(dst: i64, src: i64, len: i64) => Dev::copy;
    );
    super::launch::register(engine);
    super::placement::register(engine);
    super::control::register(engine);
}
