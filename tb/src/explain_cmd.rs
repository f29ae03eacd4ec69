//! `hmmu explain`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::unusable;
use crate::say;
use crate::trace::{explain, read};

/// Arguments of `hmmu explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// An event log, as `--log` of the other commands writes it.
    #[arg(value_name = "LOG")]
    log: PathBuf,
}

/// Explains a log; the exit status.
#[must_use]
pub fn run(args: &ExplainArgs) -> u8 {
    match read(&args.log) {
        Ok(events) if events.is_empty() => unusable(&format!("{}: no events", args.log.display())),
        Ok(events) => {
            say!("{}", explain(&events).trim_end());
            0
        }
        Err(text) => unusable(&text),
    }
}
