//! Errors of script calls: maps with `call`, `errno` and `message`, which scripts can catch.

use hmm_core::Errno;
use hmmu_driver::hw::HwError;
use hmmu_driver::{DriverError, JobError};
use rhai::{Dynamic, EvalAltResult, Map, Position};

/// What a script function returns.
pub type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// Errno of a failed assertion, check or expectation.
pub const FAILED: &str = "FAILED";
/// Errno of something that the oracle refuses.
pub const ORACLE: &str = "ORACLE";

/// The error that a script call throws.
pub fn throw(call: &str, errno: &str, message: impl Into<String>) -> Box<EvalAltResult> {
    let mut map = Map::new();
    map.insert("call".into(), call.into());
    map.insert("errno".into(), errno.into());
    map.insert("message".into(), message.into().into());
    Box::new(EvalAltResult::ErrorRuntime(
        Dynamic::from_map(map),
        Position::NONE,
    ))
}

/// An errno of hmm-core.
pub fn errno(call: &str, errno: Errno) -> Box<EvalAltResult> {
    throw(call, errno.name(), errno.to_string())
}

/// An argument that cannot be used.
pub fn invalid(call: &str, message: impl Into<String>) -> Box<EvalAltResult> {
    throw(call, "EINVAL", message)
}

/// An error of the driver.
pub fn driver(call: &str, error: &DriverError) -> Box<EvalAltResult> {
    throw(call, error.errno().name(), error.to_string())
}

/// An error of the hardware.
pub fn hardware(call: &str, error: &HwError) -> Box<EvalAltResult> {
    throw(call, "EIO", error.to_string())
}

/// A job that did not end well.
pub fn job(call: &str, error: &JobError) -> Box<EvalAltResult> {
    throw(call, error.errno.name(), error.to_string())
}

/// The map that an error carries, if it is one of ours (or a script's own).
pub fn map_of(error: &EvalAltResult) -> Option<Map> {
    match error {
        EvalAltResult::ErrorRuntime(value, _) => value.read_lock::<Map>().map(|map| map.clone()),
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => map_of(inner),
        _ => None,
    }
}

/// A text field of an error's map.
pub fn field(error: &EvalAltResult, name: &str) -> Option<String> {
    map_of(error)?.get(name).map(ToString::to_string)
}

/// Where an error happened: the innermost position that is known.
pub fn position(error: &EvalAltResult) -> Position {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, position) => match self::position(inner) {
            Position::NONE => *position,
            inner => inner,
        },
        other => other.position(),
    }
}

/// One line: the call and what went wrong.
pub fn text(error: &EvalAltResult) -> String {
    if let EvalAltResult::ErrorInFunctionCall(_, _, inner, _) = error {
        return text(inner);
    }
    if let Some(map) = map_of(error) {
        let part = |name: &str| map.get(name).map(ToString::to_string).unwrap_or_default();
        let (call, errno, message) = (part("call"), part("errno"), part("message"));
        if !call.is_empty() {
            return if message.starts_with(&errno) || errno == FAILED || errno == ORACLE {
                format!("{call}: {message}")
            } else {
                format!("{call}: {errno}: {message}")
            };
        }
    }
    match error {
        EvalAltResult::ErrorRuntime(value, _) => format!("throw: {value}"),
        other => {
            // The position is reported by itself.
            let text = other.to_string();
            match text.rfind(" (line ") {
                Some(end) => text[..end].to_string(),
                None => text,
            }
        }
    }
}
