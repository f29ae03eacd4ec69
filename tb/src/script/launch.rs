//! Script calls that start programs.

use std::path::Path;

use hmmu_driver::Program;
use rhai::{Array, Engine, Map};

use super::args::int;
use super::device::{Dev, kernel};
use super::error::{Result, invalid, throw};
use super::job::{JobHandle, Task};
use super::step::calls;
use crate::elf;
use crate::kernels::{self, Builtin};

/// Most arguments of a program out of a file.
const MOST_ARGS: usize = 4096;
/// Most threads of a job.
const MOST_THREADS: i64 = 1 << 16;

impl Dev {
    fn launch(&mut self, name: &str, args: &Array, options: &Map) -> Result<JobHandle> {
        let call = "d.launch";
        let mut threads = None;
        for (key, value) in options {
            match key.as_str() {
                "threads" => threads = Some(thread_count(call, int(call, "threads", value)?)?),
                other => return Err(invalid(call, format!("unknown option {other}"))),
            }
        }
        let args: Vec<u64> = args
            .iter()
            .map(|value| int(call, "argument", value).map(|v| v as u64))
            .collect::<Result<_>>()?;
        match kernels::builtin(name) {
            Some(builtin) => self.launch_builtin(call, builtin, &args, threads),
            None if name.contains(['/', '.']) => {
                if args.len() > MOST_ARGS {
                    let count = args.len();
                    return Err(invalid(
                        call,
                        format!("{count} arguments: expected at most {MOST_ARGS}"),
                    ));
                }
                let program = read(call, Path::new(name))?;
                self.start(&Task {
                    program: &program,
                    args: &args,
                    threads: threads.unwrap_or(1),
                    effect: None,
                })
            }
            None => {
                let names: Vec<&str> = kernels::BUILTINS.iter().map(|k| k.name).collect();
                let known = names.join(", ");
                Err(throw(
                    call,
                    "ENOENT",
                    format!("no kernel {name:?}; there are {known}, and ELF files by their path"),
                ))
            }
        }
    }

    fn launch_builtin(
        &self,
        call: &str,
        builtin: &Builtin,
        args: &[u64],
        threads: Option<u32>,
    ) -> Result<JobHandle> {
        let name = builtin.name;
        if args.len() != builtin.args.len() {
            let expected = builtin.args.join(", ");
            return Err(invalid(
                call,
                format!("{name} takes [{expected}], got {} arguments", args.len()),
            ));
        }
        if threads.is_some() {
            let count = builtin.threads;
            return Err(invalid(
                call,
                format!("{name} always runs in {count} threads"),
            ));
        }
        let program = kernel(call, (builtin.program)())?;
        self.start(&Task {
            program: &program,
            args,
            threads: builtin.threads,
            effect: Some((builtin.effect)(args)),
        })
    }

    fn start(&self, task: &Task<'_>) -> Result<JobHandle> {
        JobHandle::start(&self.world, &self.mm, &self.context, task)
    }
}

fn thread_count(call: &str, count: i64) -> Result<u32> {
    u32::try_from(count)
        .ok()
        .filter(|_| (1..=MOST_THREADS).contains(&count))
        .ok_or_else(|| {
            invalid(
                call,
                format!("{count} threads: expected 1..={MOST_THREADS}"),
            )
        })
}

/// A program out of a file.
fn read(call: &str, path: &Path) -> Result<Program> {
    let name = path.display();
    let bytes = std::fs::read(path).map_err(|error| {
        let errno = match error.kind() {
            std::io::ErrorKind::NotFound => "ENOENT",
            std::io::ErrorKind::PermissionDenied => "EACCES",
            _ => "EIO",
        };
        throw(call, errno, format!("cannot read {name}: {error}"))
    })?;
    elf::load(&bytes).map_err(|error| throw(call, "ENOEXEC", format!("{name}: {error}")))
}

/// Registers the calls that start programs.
pub fn register(engine: &mut Engine) {
    calls!(engine, Dev, "d":
        "launch"(name: &str, args: Array) =>
            |d: &mut Dev, name, args: Array| d.launch(name, &args, &Map::new());
        "launch"(name: &str, args: Array, options: Map) =>
            |d: &mut Dev, name, args: Array, options: Map| d.launch(name, &args, &options);
    );
}
