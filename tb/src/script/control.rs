//! Script calls on the device as a whole: counters, failures, unplug.

use rhai::{Dynamic, Engine, Map};

use super::args::{flag, int, length};
use super::device::Dev;
use super::error::{self, Result, invalid};
use super::step::calls;
use crate::rc::{ReadFailure, ReadFault};

impl Dev {
    fn release(&mut self) -> Result<i64> {
        let moved = self.device().release();
        moved
            .map(|pages| pages as i64)
            .map_err(|e| error::driver("d.release", &e))
    }

    fn rounds(&mut self) -> Result<i64> {
        Ok(self.device().rounds() as i64)
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

/// Registers the calls on the device as a whole.
pub fn register(engine: &mut Engine) {
    calls!(engine, Dev, "d":
        "release"() => Dev::release;
        "rounds"() => Dev::rounds;
        "stats"() => Dev::stats;
        "inject"(what: Map) => Dev::inject;
        "close"() => Dev::close;
    );
}
