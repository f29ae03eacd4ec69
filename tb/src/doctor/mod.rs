//! Is everything there that building and using hmmu takes?

mod device;
mod programs;

use serde_json::{Value, json};

use crate::machine::Backend;

/// Something that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// hmmu cannot be built or used without it.
    pub needed: bool,
    /// What was found, or why it cannot be used.
    pub found: Result<String, String>,
    /// How to get it.
    pub mend: String,
}

impl Check {
    /// Is something needed missing?
    #[must_use]
    pub fn fails(&self) -> bool {
        self.needed && self.found.is_err()
    }

    /// As `--json` writes it.
    #[must_use]
    pub fn json(&self) -> Value {
        let (found, problem) = match &self.found {
            Ok(found) => (Some(found), None),
            Err(problem) => (None, Some(problem)),
        };
        json!({
            "name": self.name,
            "purpose": self.purpose,
            "needed": self.needed,
            "ok": self.found.is_ok(),
            "found": found,
            "problem": problem,
            "mend": problem.is_some().then_some(&self.mend),
        })
    }
}

/// The verilated design if this build has it, else the functional model.
#[must_use]
pub fn backend() -> Backend {
    if cfg!(feature = "rtl") {
        Backend::Rtl
    } else {
        Backend::Model
    }
}

/// Looks for everything.
#[must_use]
pub fn examine() -> Vec<Check> {
    let mut checks = programs::checks();
    checks.extend(device::checks(backend()));
    checks
}
