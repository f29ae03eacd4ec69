//! What a command writes beside its standard output.

use std::path::Path;

use serde_json::Value;

use crate::cli::Common;
use crate::machine::{Backend, NO_RTL};
use crate::report::{Document, page};
use crate::schema::Schema;
use crate::trace::Event;
use crate::trail::Trail;
use crate::wave::WaveFile;
use crate::world::Outputs;

/// Checks that what a run shall write can be had from this backend and can be written.
///
/// # Errors
/// One line.
pub fn outputs(common: &Common) -> Result<(Outputs, Option<WaveFile>), String> {
    if cfg!(not(feature = "rtl")) && common.backend == Backend::Rtl {
        return Err(NO_RTL.into());
    }
    if common.waves.wave.is_some() && common.backend == Backend::Model {
        return Err("the functional model has no waves: use --backend rtl".into());
    }
    for file in [&common.json, &common.log, &common.timeline, &common.report]
        .into_iter()
        .flatten()
    {
        writable(file)?;
    }
    let wave = common.waves.file()?;
    let outputs = Outputs {
        log: common.log.clone(),
        timeline: common.timeline.clone(),
        trail: (common.json.is_some() || common.report.is_some()).then(Trail::default),
        wave: wave.as_ref().map(|wave| common.waves.recording(wave)),
        ..Outputs::default()
    };
    Ok((outputs, wave))
}

/// Checks that a file can be written.
///
/// # Errors
/// One line.
pub fn writable(path: &Path) -> Result<(), String> {
    std::fs::File::create(path)
        .map(|_| ())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Writes a file.
///
/// # Errors
/// One line.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Writes JSON, if it was asked for.
///
/// # Errors
/// One line.
pub fn write_json(path: Option<&Path>, figures: impl FnOnce() -> Value) -> Result<(), String> {
    path.map_or(Ok(()), |path| write(path, format!("{:#}\n", figures())))
}

/// Writes figures of a form, if they were asked for.
///
/// # Errors
/// One line.
pub fn write_figures(
    path: Option<&Path>,
    schema: Schema,
    figures: impl FnOnce() -> Value,
) -> Result<(), String> {
    write_json(path, || schema.mark(figures()))
}

/// Writes the figures and the report of one run, if they were asked for. `run` is its key in the figures, with a dot
/// behind it.
///
/// # Errors
/// One line.
pub fn write_run(
    common: &Common,
    schema: Schema,
    figures: Value,
    (title, run, events): (&str, &str, &[Event]),
) -> Result<(), String> {
    let figures = schema.mark(figures);
    write_json(common.json.as_deref(), || figures.clone())?;
    let Some(path) = &common.report else {
        return Ok(());
    };
    let document = Document {
        title,
        figures: &figures,
        run,
        events,
    };
    write(path, page(&document))
}
