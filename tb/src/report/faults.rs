//! Faults by stage, and the slowest ones.

use maud::{Markup, html};

use super::axis::{WIDTH, place};
use super::figures::{Figures, grouped};
use crate::trace::{Digest, Fault, Stage, access_name};

/// So many of the slowest are drawn.
const SLOWEST: usize = 8;

/// The class of a stage's colour in the style sheet.
pub fn class(stage: Stage) -> String {
    format!("stage {}", stage.name())
}

/// The section.
pub fn section(figures: &Figures, digest: &Digest) -> Markup {
    html! {
        section #faults {
            h2 { "Faults" }
            @if digest.faults.is_empty() {
                p { "The device met no fault: every page was there." }
            } @else {
                p {
                    (figures.whole("explained.faults.served")) " served, "
                    (figures.whole("explained.faults.cancelled")) " ended with an error, "
                    (figures.whole("explained.faults.stopped")) " stopped with their context, "
                    (figures.whole("explained.faults.open")) " open at the end. From the miss to the translation, in cycles:"
                }
                (table(figures, digest))
                h3 { "The slowest" }
                (slowest(digest))
            }
            @if figures.get("explained.invalidations.count").is_some_and(|count| count != 0) {
                p {
                    "Invalidations: " (figures.whole("explained.invalidations.count")) ", median "
                    (figures.whole("explained.invalidations.median")) ", 99 % within "
                    (figures.whole("explained.invalidations.p99")) ", longest "
                    (figures.whole("explained.invalidations.longest")) " cycles."
                }
            }
        }
    }
}

fn table(figures: &Figures, digest: &Digest) -> Markup {
    let columns = ["count", "median", "p90", "p99", "longest"];
    html! {
        table.stages {
            thead {
                tr {
                    th { "stage" } th { "share of all time" } th.n { "faults" } th.n { "median" } th.n { "90 %" }
                    th.n { "99 %" } th.n { "longest" }
                }
            }
            tbody {
                @for (stage, times) in &digest.stages {
                    @let under = format!("explained.faults.stages.{}", stage.name());
                    tr {
                        td { (swatch(*stage)) (stage.name()) }
                        td.share {
                            span class={ "bar " (class(*stage)) } style={ "width:" (place(0.6 * digest.share(times))) "%" } {}
                            (figures.decimal(&format!("{under}.share_percent"), 1, " %"))
                        }
                        @for column in columns { td.n { (figures.whole(&format!("{under}.{column}"))) } }
                    }
                }
                tr.sum {
                    td { "all" } td {}
                    @for column in columns {
                        td.n { (figures.whole(&format!("explained.faults.latency.{column}"))) }
                    }
                }
            }
        }
    }
}

fn swatch(stage: Stage) -> Markup {
    html! { span class={ "swatch " (class(stage)) } {} }
}

/// A bar for each of the slowest faults, made of its stages.
fn slowest(digest: &Digest) -> Markup {
    let slow = digest.slowest();
    let slow = &slow[..slow.len().min(SLOWEST)];
    let longest = slow.first().map_or(1, |fault| fault.cycles().max(1));
    let (left, width) = (230.0, WIDTH - 230.0 - 100.0);
    let height = 24.0 * slow.len() as f64 + 6.0;
    let name = |fault: &Fault| {
        format!(
            "{} {:#x}, ctx {}",
            access_name(fault.access),
            fault.addr,
            fault.ctx
        )
    };
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="The slowest faults with their stages" {
            @for (row, fault) in slow.iter().enumerate() {
                @let y = 24.0 * row as f64 + 4.0;
                text.label x=(left - 8.0) y=(y + 13.0) text-anchor="end" { (name(fault)) }
                @for (stage, from, cycles) in stretches(fault) {
                    @let x = left + width * from as f64 / longest as f64;
                    rect class=(class(stage)) x=(place(x)) y=(y) height="18"
                        width=(place(width * cycles as f64 / longest as f64)) {
                        title { (stage.name()) ": " (cycles) " cycles" }
                    }
                }
                text.tick x=(place(left + width * fault.cycles() as f64 / longest as f64 + 6.0)) y=(y + 13.0) {
                    (grouped(fault.cycles()))
                }
            }
        }
    }
}

/// Stages with where they begin in the fault, and what they took.
fn stretches(fault: &Fault) -> Vec<(Stage, u64, u64)> {
    let mut at = 0;
    fault
        .parts()
        .map(|(stage, cycles)| {
            let from = at;
            at += cycles;
            (stage, from, cycles)
        })
        .collect()
}
