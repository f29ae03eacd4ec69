//! `--report FILE.html`: a run on one page that needs nothing else: no script, no network.
//!
//! Every figure on it is a `<data>` element whose `data-key` names the key of `--json` that it comes from.

mod axis;
mod fault_picture;
mod faults;
mod figures;
mod residency;
mod tables;
mod timeline;
mod traffic;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::schema;
use crate::trace::{Digest, Event, Residency};
use axis::Axis;
pub use fault_picture::fault_picture;
use figures::{Figure, Figures};

const STYLE: &str = include_str!("style.css");

/// What a page tells of.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// Its title.
    pub title: &'a str,
    /// Everything that `--json` writes.
    pub figures: &'a Value,
    /// The key of the run in it, with a dot behind it; empty if it is all of it.
    pub run: &'a str,
    /// The events of the run.
    pub events: &'a [Event],
}

/// The page.
#[must_use]
pub fn page(document: &Document) -> String {
    let figures = Figures::new(document.figures, document.run);
    let digest = Digest::of(document.events);
    let residency = Residency::of(document.events);
    let axis = Axis::new(digest.last.max(1));
    let failed = figures.text("error");
    let whole = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "hmmu: " (document.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kind { "hmmu " (env!("CARGO_PKG_VERSION")) ", " @if let Some((name, version)) = schema::told(document.figures) { (name) " " (version) } }
                    h1 {
                        (document.title)
                        @if failed.is_some() { " " span.bad { "failed" } } @else { " " span.good { "passed" } }
                    }
                    @if let Some(error) = &failed { pre.error { (error) } }
                    (summary(&figures))
                }
                main {
                    (faults::section(&figures, &digest))
                    (timeline::section(document.events, &digest, &axis))
                    (residency::section(&figures, &residency, &digest, &axis))
                    (traffic::section(&figures, document.events, &axis))
                    (tables::rates(&figures))
                    (tables::comparison(&figures))
                    (tables::configuration(&figures))
                    (tables::counters(&figures))
                }
                footer {
                    p {
                        "Figures are those of " code { "--json" } "; their keys are in docs/results.md. Times are cycles of the device clock. "
                        "Stages and events are explained in docs/traces.md."
                    }
                }
            }
        }
    };
    whole.into_string()
}

/// The figures that everybody wants first.
fn summary(figures: &Figures) -> Markup {
    let tile = |figure: Figure, what: &str| {
        html! {
            @if figure.is_there() { div.tile { span.big { (figure) } span.what { (what) } } }
        }
    };
    html! {
        div.tiles {
            (tile(figures.whole("cycles"), "cycles"))
            (tile(figures.whole("explained.faults.latency.count"), "faults of the device"))
            (tile(figures.whole("explained.faults.latency.median"), "cycles, median of a fault"))
            (tile(figures.whole("explained.moves.to_device"), "pages moved to the device"))
            (tile(figures.whole("explained.moves.to_system"), "pages moved home"))
            (tile(figures.percent("explained.residency.device_share"), "of all page time in device memory"))
        }
        @if let Some(verdict) = figures.text("explained.verdict") { p.verdict { (verdict) "." } }
    }
}
