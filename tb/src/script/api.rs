//! Script calls that belong to no process: the machine, time, assertions.

use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalContext, FnPtr, Map, NativeCallContext};

use super::args::{flag, int, length};
use super::error::{self, FAILED, Result, invalid, throw};
use super::process::Process;
use super::session::Session;
use super::{device, file, job, process, step, threads};
use crate::{complain, say};

/// An engine that reads scripts.
#[must_use]
pub fn compiler() -> Engine {
    let mut engine = Engine::new();
    engine.set_max_expr_depths(128, 64);
    engine.set_max_call_levels(64);
    engine
}

/// An engine with all calls of scenarios.
#[must_use]
pub fn engine(session: &Arc<Session>) -> Engine {
    let mut engine = compiler();
    if session.outputs().quiet {
        engine.on_print(|_| {});
        engine.on_debug(|_, _, _| {});
    } else {
        engine.on_print(|text| say!("{text}"));
        engine.on_debug(|text, _, position| complain!("{position:?}: {text}"));
    }
    constants(&mut engine, session);
    assertions(&mut engine);
    machine(&mut engine, session);
    process::register(&mut engine);
    device::register(&mut engine);
    job::register(&mut engine);
    file::register(&mut engine, session);
    threads::register(&mut engine, session);
    engine
}

/// Constants that functions see too.
#[allow(deprecated)] // The variable resolver is the documented way; only its stability is not promised.
fn constants(engine: &mut Engine, session: &Arc<Session>) {
    let coherent = session.coherent();
    engine.on_var(move |name, _, _: EvalContext| {
        let value: i64 = match name {
            "PAGE" => 4096,
            "HUGE" => 2 << 20,
            "KIB" => 1 << 10,
            "MIB" => 1 << 20,
            "COHERENT" => return Ok(Some(coherent.into())),
            _ => return Ok(None),
        };
        Ok(Some(value.into()))
    });
}

fn equal(context: &NativeCallContext, a: &Dynamic, b: &Dynamic) -> Result<bool> {
    if a.type_id() != b.type_id() {
        return Ok(false);
    }
    context.call_fn::<bool>("==", (a.clone(), b.clone()))
}

fn assertions(engine: &mut Engine) {
    engine.register_fn("assert", |condition: bool| -> Result<()> {
        if condition {
            Ok(())
        } else {
            Err(throw("assert", FAILED, "the condition is false"))
        }
    });
    engine.register_fn("assert", |condition: bool, text: &str| -> Result<()> {
        if condition {
            Ok(())
        } else {
            Err(throw(
                "assert",
                FAILED,
                format!("the condition is false: {text}"),
            ))
        }
    });
    engine.register_fn(
        "assert_eq",
        |context: NativeCallContext, a: Dynamic, b: Dynamic| -> Result<()> {
            let (a, b) = (a.flatten(), b.flatten());
            if equal(&context, &a, &b)? {
                return Ok(());
            }
            Err(throw("assert_eq", FAILED, format!("{a:?} is not {b:?}")))
        },
    );
    engine.register_fn(
        "expect_error",
        |context: NativeCallContext, errno: &str, closure: FnPtr| -> Result<()> {
            let call = "expect_error";
            match closure.call_within_context::<Dynamic>(&context, ()) {
                Ok(_) => Err(throw(
                    call,
                    FAILED,
                    format!("expected {errno}, but it succeeded"),
                )),
                Err(e) => {
                    let got = error::field(&e, "errno");
                    if got.as_deref() == Some(errno) {
                        return Ok(());
                    }
                    Err(throw(
                        call,
                        FAILED,
                        format!("expected {errno}, got {}", error::text(&e)),
                    ))
                }
            }
        },
    );
}

fn machine(engine: &mut Engine, session: &Arc<Session>) {
    let of = Arc::clone(session);
    engine.register_fn("machine", move |options: Map| -> Result<()> {
        let call = "machine";
        let changed = of.configure(|config| {
            for (key, value) in &options {
                match key.as_str() {
                    "devices" => {
                        config.devices = length(call, int(call, "devices", value)?)? as usize;
                    }
                    "vram" => config.vram = length(call, int(call, "vram", value)?)?,
                    "slice" => config.slice = length(call, int(call, "slice", value)?)?,
                    "ram" => config.ram = length(call, int(call, "ram", value)?)?,
                    "coherent" => {
                        config.coherent = flag(call, "coherent", value)?;
                    }
                    "link" => {
                        config.link = value
                            .to_string()
                            .parse()
                            .map_err(|e: String| invalid(call, e))?;
                    }
                    "link_latency" => {
                        config.link_latency_ns = length(call, int(call, "link_latency", value)?)?;
                    }
                    "link_jitter" => {
                        config.pcie.link_jitter_ns =
                            length(call, int(call, "link_jitter", value)?)?;
                    }
                    "mps" => config.pcie.mps = length(call, int(call, "mps", value)?)?,
                    "mrrs" => config.pcie.mrrs = length(call, int(call, "mrrs", value)?)?,
                    "rcb" => {
                        config.pcie.completer.rcb = length(call, int(call, "rcb", value)?)?;
                    }
                    other => return Err(invalid(call, format!("unknown option {other}"))),
                }
            }
            config.check().map_err(|e| invalid(call, e))
        })?;
        if changed {
            Ok(())
        } else {
            Err(invalid(call, "machine() must come before everything else"))
        }
    });
    let of = Arc::clone(session);
    engine.register_fn("process", move || -> Result<Process> {
        let world = of.world("process")?;
        let mm = world.process();
        Ok(Process { world, mm })
    });
    let of = Arc::clone(session);
    engine.register_fn("cycles", move || -> Result<i64> {
        Ok(of.world("cycles")?.machine.now() as i64)
    });
    let of = Arc::clone(session);
    engine.register_fn("wait", move |cycles: i64| -> Result<()> {
        let cycles = length("wait", cycles)?;
        of.world("wait")?
            .machine
            .wait(cycles)
            .map_err(|e| error::hardware("wait", &e))
    });
    let of = Arc::clone(session);
    engine.register_fn("ksm_scan", move || -> Result<i64> {
        let call = "ksm_scan";
        let world = of.world(call)?;
        let merged = world.system.ksm_scan();
        step::after(&world, call, Ok(merged as i64))
    });
    let of = Arc::clone(session);
    engine.register_fn("reclaim", move |pages: i64| -> Result<i64> {
        let call = "reclaim";
        let pages = length(call, pages)?;
        let world = of.world(call)?;
        let gone = world.system.reclaim(pages);
        step::after(&world, call, Ok(gone as i64))
    });
    let of = Arc::clone(session);
    engine.register_fn("memory", move || -> Result<Map> {
        let system = Arc::clone(&of.world("memory")?.system);
        let mut map = Map::new();
        for (name, pages) in [
            ("free", system.free_pages()),
            ("swapped", system.swapped_pages()),
            ("poisoned", system.poisoned_pages()),
        ] {
            map.insert(name.into(), (pages as i64).into());
        }
        Ok(map)
    });
}
