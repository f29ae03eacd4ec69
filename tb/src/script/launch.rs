//! Script calls that start programs.

use rhai::{Array, Engine};

use super::args::int;
use super::device::{Dev, kernel};
use super::error::{Result, invalid, missing, throw};
use super::job::JobHandle;
use super::step::calls;
use crate::kernels;

impl Dev {
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
}

/// Registers the calls that start programs.
pub fn register(engine: &mut Engine) {
    calls!(engine, Dev, "d":
        "launch"(name: &str, args: Array) => |d: &mut Dev, name, args: Array| d.launch(name, &args);
    );
}
