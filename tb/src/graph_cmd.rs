//! `hmmu graph`.

use clap::Args;

use crate::cli::Common;

/// Arguments of `hmmu graph`.
#[derive(Args, Debug)]
pub struct GraphArgs {
    #[command(flatten)]
    common: Common,
}

/// Runs; the exit status.
#[must_use]
pub fn run(_args: &GraphArgs) -> u8 {
    2
}
