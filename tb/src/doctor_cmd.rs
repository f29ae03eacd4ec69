//! `hmmu doctor`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::{UNUSABLE, unusable};
use crate::doctor::{Check, examine};
use crate::outputs::{writable, write_json};
use crate::{complain, say, style};

/// Arguments of `hmmu doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Writes what was found to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Looks for everything that hmmu takes; the exit status.
#[must_use]
pub fn run(args: &DoctorArgs) -> u8 {
    if let Some(text) = args.json.as_deref().and_then(|path| writable(path).err()) {
        return unusable(&text);
    }
    let checks = examine();
    for check in &checks {
        tell(check);
    }
    let missing: Vec<&str> = checks
        .iter()
        .filter_map(|check| check.fails().then_some(check.name))
        .collect();
    if let Err(text) = write_json(args.json.as_deref(), || report(&checks)) {
        return unusable(&text);
    }
    if !missing.is_empty() {
        complain!("hmmu: needed, but missing: {}", missing.join(", "));
        return UNUSABLE;
    }
    say!("all that is needed is there");
    0
}

fn tell(check: &Check) {
    let (mark, text) = match &check.found {
        Ok(found) => (style::good("ok      "), found),
        Err(problem) if check.needed => (style::bad("MISSING "), problem),
        Err(problem) => (style::dull("optional"), problem),
    };
    say!("{mark} {:<13} {text}", check.name);
    if check.found.is_err() {
        say!("{:22} {}", "", check.purpose);
        say!("{:22} to mend it: {}", "", check.mend);
    }
}

fn report(checks: &[Check]) -> Value {
    json!({
        "hmmu": env!("CARGO_PKG_VERSION"),
        "ok": !checks.iter().any(Check::fails),
        "checks": checks.iter().map(Check::json).collect::<Vec<_>>(),
    })
}
