//! Script calls on the device, as a process sees it.

use std::sync::Arc;

use hmm_core::Va;
use hmmu_driver::{Context, Device, DriverError, Program};
use rhai::{Array, Dynamic, Engine, Map};

use super::error::{self, FAILED, ORACLE, Result, invalid, missing, throw};
use super::job::JobHandle;
use super::process::{flag, int, length, size, words};
use crate::kernels::{self, KernelError};
use crate::oracle::{Data, Mismatch, Outcome};
use crate::rc::{ReadFailure, ReadFault};
use crate::world::World;

/// The device opened for a process, as scripts hold it.
#[derive(Clone)]
pub struct Dev {
    world: Arc<World>,
    mm: Arc<hmm_core::Mm>,
    context: Arc<Context>,
    number: usize,
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

    fn device(&self) -> &Device {
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

    fn launch(&mut self, name: &str, args: &Array) -> Result<JobHandle> {
        let call = "d.launch";
        let Some(builtin) = kernels::builtin(name) else {
            let names: Vec<&str> = kernels::BUILTINS.iter().map(|kernel| kernel.name).collect();
            return if name.contains('/') || name.contains('.') {
                Err(missing(call, &format!("ELF file {name:?}")))
            } else {
                Err(throw(
                    call,
                    "ENOENT",
                    format!("no kernel {name:?}; there are {}", names.join(", ")),
                ))
            };
        };
        if args.len() != builtin.args.len() {
            let expected = builtin.args.join(", ");
            return Err(invalid(
                call,
                format!("{name} takes [{expected}], got {} arguments", args.len()),
            ));
        }
        let args: Vec<u64> = args
            .iter()
            .map(|value| int(call, "argument", value).map(|v| v as u64))
            .collect::<Result<_>>()?;
        let program = kernel(call, (builtin.program)())?;
        JobHandle::start(
            &self.world,
            &self.mm,
            &self.context,
            builtin,
            &program,
            &args,
        )
    }

    /// Maps zeroed pages that the driver provides.
    fn mmap(&mut self, len: i64) -> Result<i64> {
        let call = "d.mmap";
        let len = length(call, len)?;
        let start = self
            .mm
            .mmap_mixed(len, hmm_core::Prot::READ_WRITE)
            .map_err(|e| error::errno(call, e))?;
        self.world.oracle.map(self.id(), start.0, len, false);
        Ok(start.0 as i64)
    }

    fn migrate_to_device(&mut self, a: i64, len: i64) -> Result<i64> {
        let call = "d.migrate_to_device";
        let moved = self
            .context
            .migrate_to_device(Va(a as u64), length(call, len)?);
        moved
            .map(|pages| pages as i64)
            .map_err(|e| error::driver(call, &e))
    }

    fn migrate_to_system(&mut self, a: i64, len: i64) -> Result<i64> {
        let call = "d.migrate_to_system";
        let moved = self
            .context
            .migrate_to_system(Va(a as u64), length(call, len)?);
        moved
            .map(|pages| pages as i64)
            .map_err(|e| error::driver(call, &e))
    }

    fn snapshot(&mut self, a: i64, len: i64) -> Result<Array> {
        let call = "d.snapshot";
        let states = self.context.snapshot(Va(a as u64), length(call, len)?);
        let states = states.map_err(|e| error::driver(call, &e))?;
        Ok(states
            .iter()
            .map(|state| Dynamic::from(state.to_string()))
            .collect())
    }

    fn dirty(&mut self, a: i64, len: i64) -> Result<Array> {
        let call = "d.dirty";
        let dirty = self.context.dirty(Va(a as u64), length(call, len)?);
        let dirty = dirty.map_err(|e| error::driver(call, &e))?;
        Ok(dirty.into_iter().map(Dynamic::from).collect())
    }

    fn release(&mut self) -> Result<i64> {
        let moved = self.device().release();
        moved
            .map(|pages| pages as i64)
            .map_err(|e| error::driver("d.release", &e))
    }

    fn rounds(&mut self) -> i64 {
        self.device().rounds() as i64
    }

    fn stats(&mut self) -> Result<Map> {
        let stats = self
            .context
            .stats()
            .map_err(|e| error::driver("d.stats", &e))?;
        Ok(stats
            .into_iter()
            .map(|(name, value)| (name.into(), (value as i64).into()))
            .collect())
    }

    fn inject(&mut self, what: Map) -> Result<()> {
        let call = "d.inject";
        for (key, value) in &what {
            match key.as_str() {
                "alloc" => {
                    let pages = length(call, int(call, "alloc", value)?)?;
                    self.device().inject_alloc_failures(pages);
                }
                "hang" => {
                    if flag(call, "hang", value)? {
                        self.world.machine.hang(self.number);
                    }
                }
                "link" => {
                    let failure = link_failure(call, value)?;
                    let fault = ReadFault::next(failure);
                    self.world.machine.fail_read(self.number, fault);
                }
                other => return Err(invalid(call, format!("unknown failure {other}"))),
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.context
            .close()
            .map_err(|e| error::driver("d.close", &e))
    }
}

/// How the next read over the link fails.
fn link_failure(call: &str, value: &Dynamic) -> Result<ReadFailure> {
    match value.clone().into_string().as_deref() {
        Ok("timeout") => Ok(ReadFailure::Lost),
        Ok("ur") => Ok(ReadFailure::Unsupported),
        Ok("poison") => Ok(ReadFailure::Poisoned),
        _ => Err(invalid(
            call,
            format!("link: expected \"timeout\", \"ur\" or \"poison\", got {value}"),
        )),
    }
}

fn kernel(call: &str, program: std::result::Result<Program, KernelError>) -> Result<Program> {
    program.map_err(|e| invalid(call, e.to_string()))
}

/// Registers the calls of an opened device.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Dev>("Device");
    engine.register_fn("load", |d: &mut Dev, a: i64| d.load(a, 8));
    engine.register_fn("load", Dev::load);
    engine.register_fn("store", |d: &mut Dev, a: i64, v: i64| d.store(a, v, 8));
    engine.register_fn("store", Dev::store);
    engine.register_fn("fetch_add", |d: &mut Dev, a: i64, v: i64| {
        d.fetch_add(a, v, 8)
    });
    engine.register_fn("fetch_add", Dev::fetch_add);
    engine.register_fn("fill", Dev::fill);
    engine.register_fn("check", Dev::check);
    engine.register_fn("copy", Dev::copy);
    engine.register_fn("launch", |d: &mut Dev, name: &str, args: Array| {
        d.launch(name, &args)
    });
    engine.register_fn("mmap", Dev::mmap);
    engine.register_fn("migrate_to_device", Dev::migrate_to_device);
    engine.register_fn("migrate_to_system", Dev::migrate_to_system);
    engine.register_fn("snapshot", Dev::snapshot);
    engine.register_fn("dirty", Dev::dirty);
    engine.register_fn("release", Dev::release);
    engine.register_fn("rounds", Dev::rounds);
    engine.register_fn("stats", Dev::stats);
    engine.register_fn("inject", Dev::inject);
    engine.register_fn("close", Dev::close);
    engine.register_fn("exclusive", |_: &mut Dev, _: i64, _: i64| -> Result<i64> {
        Err(missing("d.exclusive", "device-exclusive access"))
    });
    engine.register_fn("is_exclusive", |_: &mut Dev, _: i64| -> Result<bool> {
        Err(missing("d.is_exclusive", "device-exclusive access"))
    });
}
