//! Where pages lived, as a picture.

use maud::{Markup, html};

use super::axis::{Axis, WIDTH, place};
use super::figures::{Figures, grouped};
use crate::trace::{Digest, Home, Page, Residency};

/// At most so many rows.
const ROWS: usize = 120;
/// Changes that are drawn one by one; of more, samples are.
const CHANGES: usize = 4000;
/// Samples of a row.
const SAMPLES: u64 = 200;
/// Height of the picture of many pages.
const HEIGHT: f64 = 420.0;
/// Addresses are written this far apart at least.
const LABELS: f64 = 13.0;

/// A row: neighbours in the list of touched pages.
struct Row {
    pages: Vec<Page>,
    /// Between the page before and this one there are others, or another process begins.
    gap: bool,
}

/// A rectangle of a row.
struct Block {
    from: u64,
    to: u64,
    home: Home,
    /// How much of the row is there, 0 to 1.
    part: f64,
}

/// The section.
pub fn section(figures: &Figures, residency: &Residency, digest: &Digest, axis: &Axis) -> Markup {
    html! {
        section #residency {
            h2 { "Where pages lived" }
            @if residency.pages.is_empty() {
                p { "No page was touched." }
            } @else {
                (picture(figures, residency, digest, axis))
            }
        }
    }
}

fn picture(figures: &Figures, residency: &Residency, digest: &Digest, axis: &Axis) -> Markup {
    let rows = rows(residency);
    let each = rows.first().map_or(1, |row| row.pages.len());
    let height = (HEIGHT / rows.len() as f64).clamp(3.0, 16.0);
    let (top, gap) = (16.0, if height > 6.0 { 1.0 } else { 0.0 });
    let bottom = top + height * rows.len() as f64;
    let exact = each == 1 && residency.pages.values().map(Vec::len).sum::<usize>() <= CHANGES;
    let labels = labels(&rows, height);
    let devices = devices(residency);
    html! {
        p {
            (figures.whole("explained.residency.pages")) " pages of 4 KiB were touched"
            @if each > 1 { ", " (each) " to a row" }
            ". Each row is a place in the address space, time goes to the right; marks above: faults of the device. "
            span.swatch.system {} "system memory "
            @for device in &devices {
                span class={ "swatch device" (device % 4) } {}
                "device memory" @if devices.len() > 1 { " of device " (device) } " "
            }
            @if has(residency, Home::Swap) { span.swatch.swap {} "swapped out" }
        }
        svg viewBox={ "0 0 " (WIDTH) " " (place(bottom + 38.0)) } role="img" aria-label="Where each page lived over time" {
            (axis.ticks(top, bottom))
            @for fault in &digest.faults {
                @if let Some((_, cycle)) = fault.stages.first() {
                    @let x = place(axis.x(*cycle));
                    line.mark x1=(x) x2=(x) y1="3" y2=(top - 3.0) {}
                }
            }
            @for (number, row) in rows.iter().enumerate() {
                @let y = top + height * number as f64;
                @for block in if exact { stretches(residency, row) } else { samples(residency, row, axis) } {
                    @let x = axis.x(block.from);
                    rect class=(class(block.home)) x=(place(x)) y=(place(y)) height=(place(height - gap))
                        width=(place((axis.x(block.to) - x).max(0.5)))
                        opacity=[(block.part < 0.99).then(|| place(block.part))] {}
                }
                @if row.gap && number > 0 {
                    line.gap x1=(axis.left()) x2=(WIDTH - 14.0) y1=(place(y)) y2=(place(y)) {}
                }
            }
            @for (number, text) in labels {
                text.label x=(axis.left() - 6.0) y=(place(top + height * (number as f64 + 0.5) + 4.0)) text-anchor="end" {
                    (text)
                }
            }
            text.tick x=(WIDTH / 2.0) y=(place(bottom + 34.0)) text-anchor="middle" { "cycle" }
        }
    }
}

fn class(home: Home) -> String {
    match home {
        Home::System => "system".into(),
        Home::Device(device) => format!("device{}", device % 4),
        Home::Swap => "swap".into(),
        Home::None => String::new(),
    }
}

fn has(residency: &Residency, wanted: Home) -> bool {
    let mut changes = residency.pages.values().flatten();
    changes.any(|(_, home)| *home == wanted)
}

fn devices(residency: &Residency) -> Vec<u64> {
    let changes = residency.pages.values().flatten();
    let mut devices: Vec<u64> = changes
        .filter_map(|(_, home)| match home {
            Home::Device(device) => Some(*device),
            _ => None,
        })
        .collect();
    devices.sort_unstable();
    devices.dedup();
    devices
}

fn rows(residency: &Residency) -> Vec<Row> {
    let pages: Vec<Page> = residency.pages.keys().copied().collect();
    let each = pages.len().div_ceil(ROWS).max(1);
    let mut before: Option<Page> = None;
    let row = |pages: &[Page]| {
        let follows =
            before.is_some_and(|b| (b.mm, b.number + 1) == (pages[0].mm, pages[0].number));
        before = pages.last().copied();
        Row {
            pages: pages.to_vec(),
            gap: !follows,
        }
    };
    pages.chunks(each).map(row).collect()
}

/// Addresses beside rows, each behind a gap if there is room.
fn labels(rows: &[Row], height: f64) -> Vec<(usize, String)> {
    let mut labels = Vec::new();
    let mut next = 0.0;
    let several = rows
        .iter()
        .any(|row| row.pages[0].mm != rows[0].pages[0].mm);
    for (number, row) in rows.iter().enumerate() {
        let at = number as f64 * height;
        if (row.gap || number == 0) && at >= next {
            let page = row.pages[0];
            let addr = format!("{:#x}", page.number * hmm_core::PAGE_SIZE);
            let text = if several {
                format!("{}: {addr}", grouped(page.mm))
            } else {
                addr
            };
            labels.push((number, text));
            next = at + LABELS;
        }
    }
    labels
}

/// A page's life as it was.
fn stretches(residency: &Residency, row: &Row) -> Vec<Block> {
    let stretches = residency.stretches(row.pages[0]);
    stretches
        .filter(|(.., home)| *home != Home::None)
        .map(|(from, to, home)| Block {
            from,
            to,
            home,
            part: 1.0,
        })
        .collect()
}

/// Where most of a row's pages are, again and again.
fn samples(residency: &Residency, row: &Row, axis: &Axis) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for k in 0..SAMPLES {
        let (from, to) = (axis.part(k, SAMPLES), axis.part(k + 1, SAMPLES));
        let mut counts: Vec<(usize, Home)> = Vec::new();
        for page in &row.pages {
            let home = residency.at(*page, from + (to - from) / 2);
            match counts.iter_mut().find(|(_, h)| *h == home) {
                Some((count, _)) => *count += 1,
                None => counts.push((1, home)),
            }
        }
        counts.retain(|(_, home)| *home != Home::None);
        let Some((count, home)) = counts.into_iter().max() else {
            continue;
        };
        // In quarters, so that neighbours are drawn as one.
        let part = (4.0 * count as f64 / row.pages.len() as f64).ceil() / 4.0;
        match blocks.last_mut() {
            Some(last) if last.to == from && last.home == home && last.part == part => last.to = to,
            _ => blocks.push(Block {
                from,
                to,
                home,
                part,
            }),
        }
    }
    blocks
}
