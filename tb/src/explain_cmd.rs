//! `hmmu explain`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::unusable;
use crate::outputs::write;
use crate::report::fault_picture;
use crate::trace::{Digest, Event, explain, is_wave, read, read_wave};
use crate::{complain, say};

/// Arguments of `hmmu explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// An event log, as `--log` of the other commands writes it, or waves (.fst, .vcd), which hold its lines.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Draws the slowest fault with its stages into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Draws this one instead: the number of its record
    #[arg(long, value_name = "NUMBER", requires = "svg")]
    fault: Option<u64>,
}

/// Explains a log; the exit status.
#[must_use]
pub fn run(args: &ExplainArgs) -> u8 {
    match events(&args.file) {
        Ok(events) if events.is_empty() => unusable(&format!("{}: no events", args.file.display())),
        Ok(events) => {
            say!("{}", explain(&events).trim_end());
            match draw(args, &events) {
                Ok(()) => 0,
                Err(text) => unusable(&text),
            }
        }
        Err(text) => unusable(&text),
    }
}

fn events(file: &Path) -> Result<Vec<Event>, String> {
    if !is_wave(file) {
        return read(file);
    }
    let (events, lost) = read_wave(file)?;
    if lost > 0 {
        complain!(
            "hmmu: {}: {lost} events are missing in these waves",
            file.display()
        );
    }
    Ok(events)
}

/// Draws a fault, if that was asked for.
fn draw(args: &ExplainArgs, events: &[Event]) -> Result<(), String> {
    let Some(path) = &args.svg else {
        return Ok(());
    };
    let digest = Digest::of(events);
    let slowest = digest.slowest();
    let found = match args.fault {
        Some(id) => slowest.iter().find(|fault| fault.id == id),
        None => slowest.first(),
    };
    let Some(fault) = found else {
        let wanted = args.fault.map_or(String::new(), |id| format!(" {id}"));
        return Err(format!("{}: no fault{wanted} to draw", args.file.display()));
    };
    write(path, fault_picture(fault))
}
