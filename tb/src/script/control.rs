//! Script calls on the device as a whole: counters, failures, unplug.

use rhai::{Dynamic, Engine, Map};

use super::args::{flag, int, length};
use super::device::Dev;
use super::error::{self, Result, invalid};
use super::step::calls;
use crate::machine::Tlps;
use crate::rc::{Direction, Injection, LinkError, Position, ReadFailure, ReadFault, TlpKind};

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
                "tlp" => {
                    let plan = value.clone().try_cast::<Map>().ok_or_else(|| {
                        invalid(call, format!("tlp: expected a map, got {value}"))
                    })?;
                    let injection = injection(call, &plan)?;
                    let machine = &self.world.machine;
                    let relative = |link: &mut dyn Tlps| {
                        let at = injection.at;
                        let first = link.counts().get(at.direction, at.kind);
                        let at = Position {
                            n: first + at.n,
                            ..at
                        };
                        link.inject(&[Injection { at, ..injection }]);
                    };
                    machine.tlps(self.number, relative).ok_or_else(|| {
                        invalid(
                            call,
                            "tlp: the functional model has no TLPs: use --backend rtl",
                        )
                    })?;
                }
                other => return Err(invalid(call, format!("unknown failure {other}"))),
            }
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        self.device()
            .reset()
            .map_err(|e| error::driver("d.reset", &e))
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

/// One of the values that an option may have.
fn choice<T: Copy>(call: &str, key: &str, value: &Dynamic, all: &[(&str, T)]) -> Result<T> {
    let text = value.clone().into_string().unwrap_or_default();
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        invalid(
            call,
            format!("{key}: expected one of {names:?}, got {value}"),
        )
    })
}

/// An error at a TLP to come: `n` counts from now.
fn injection(call: &str, plan: &Map) -> Result<Injection> {
    let (mut direction, mut kind, mut n, mut error) = (None, None, 0, None);
    let cycles = plan.get("cycles").map_or(Ok(10_000), |value| {
        length(call, int(call, "cycles", value)?)
    })?;
    for (key, value) in plan {
        match key.as_str() {
            "to" => {
                let all = [("device", Direction::ToDevice), ("host", Direction::ToHost)];
                direction = Some(choice(call, key, value, &all)?);
            }
            "kind" => {
                let all = [
                    ("read", TlpKind::Read),
                    ("write", TlpKind::Write),
                    ("interrupt", TlpKind::Interrupt),
                    ("atomic", TlpKind::Atomic),
                    ("completion", TlpKind::Completion),
                ];
                kind = Some(choice(call, key, value, &all)?);
            }
            "n" => n = length(call, int(call, "n", value)?)?,
            "cycles" => {}
            "error" => {
                let all = [
                    ("drop", LinkError::Drop),
                    ("ur", LinkError::Unsupported),
                    ("ca", LinkError::Abort),
                    ("poison", LinkError::Poison),
                    ("length", LinkError::WrongLength),
                    ("tag", LinkError::WrongTag),
                    ("starve", LinkError::Starve(cycles)),
                    ("retrain", LinkError::Retrain(cycles)),
                    ("down", LinkError::Down(cycles)),
                    ("remove", LinkError::Remove),
                ];
                error = Some(choice(call, key, value, &all)?);
            }
            other => return Err(invalid(call, format!("tlp: unknown option {other}"))),
        }
    }
    let (Some(direction), Some(error)) = (direction, error) else {
        return Err(invalid(call, "tlp: expected at least `to` and `error`"));
    };
    if kind.is_some_and(|kind| !error.applies(kind)) {
        let text = |key| plan.get(key).cloned().unwrap_or_default();
        let (error, kind) = (text("error"), text("kind"));
        return Err(invalid(
            call,
            format!("tlp: error {error} cannot happen to kind {kind}"),
        ));
    }
    let at = Position { direction, kind, n };
    Ok(Injection { at, error })
}

/// Registers the calls on the device as a whole.
pub fn register(engine: &mut Engine) {
    calls!(engine, Dev, "d":
        "release"() => Dev::release;
        "rounds"() => Dev::rounds;
        "stats"() => Dev::stats;
        "inject"(what: Map) => Dev::inject;
        "reset"() => Dev::reset;
        "close"() => Dev::close;
    );
}
