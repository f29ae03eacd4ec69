//! What happened when: host threads and faults over time.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::axis::{Axis, WIDTH, place};
use super::faults::class;
use crate::trace::{Digest, Done, Event, Fault, Track, access_name, tracks};

/// At most so many threads, and so many faults beside each other.
const THREADS: usize = 16;
const LANES: usize = 24;
/// Height of a row, and of the bar in it.
const ROW: f64 = 18.0;
const BAR: f64 = 12.0;
/// What is narrower is drawn as wide as this.
const NARROW: f64 = 1.0;

/// Stretches of host threads: class in the style sheet, and what it is.
const STRETCHES: [(&str, &str); 4] = [
    ("notifier_start", "under a notifier"),
    ("invalidate", "waiting for an invalidation"),
    ("migrate_to_device", "moving pages to the device"),
    ("migrate_to_system", "moving pages home"),
];

/// The section.
pub fn section(events: &[Event], digest: &Digest, axis: &Axis) -> Markup {
    let tracks = tracks(events);
    let threads = &tracks[..tracks.len().min(THREADS)];
    let lanes = lanes(&digest.faults);
    html! {
        section #timeline {
            h2 { "What happened when" }
            @if threads.is_empty() && lanes.is_empty() {
                p { "Nothing was noted." }
            } @else {
                p {
                    "Host threads, with a line for each event: "
                    @for (name, what) in STRETCHES { span class={ "swatch did " (name) } {} (what) ", " }
                    "and below them the faults with their stages, in the colours of the table above."
                }
                (picture(threads, &lanes, axis))
                @if tracks.len() > THREADS { p { (tracks.len() - THREADS) " more threads are not shown." } }
                @if lanes.len() > LANES { p { "Of faults at the same time " (LANES) " are shown." } }
            }
        }
    }
}

fn picture(threads: &[Track], lanes: &[Vec<&Fault>], axis: &Axis) -> Markup {
    let lanes = &lanes[..lanes.len().min(LANES)];
    let top = 6.0;
    let below = top + ROW * threads.len() as f64 + if lanes.is_empty() { 0.0 } else { 8.0 };
    let bottom = below + ROW * lanes.len() as f64;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (place(bottom + 38.0)) } role="img" aria-label="Host threads and faults over time" {
            (axis.ticks(top, bottom))
            @for (row, track) in threads.iter().enumerate() {
                @let y = top + ROW * row as f64;
                text.label x=(axis.left() - 6.0) y=(place(y + 12.0)) text-anchor="end" { (track.thread) }
                (did(track, axis, y + 3.0))
            }
            @for (row, lane) in lanes.iter().enumerate() {
                @let y = below + ROW * row as f64;
                @if row == 0 {
                    text.label x=(axis.left() - 6.0) y=(place(y + 12.0)) text-anchor="end" { "faults" }
                }
                @for fault in lane { (stages(fault, axis, y + 3.0)) }
            }
            text.tick x=(WIDTH / 2.0) y=(place(bottom + 34.0)) text-anchor="middle" { "cycle" }
        }
    }
}

/// Bars of stretches, and above them a line for each place where something else happened.
fn did(track: &Track, axis: &Axis, y: f64) -> Markup {
    let mut moments: BTreeSet<u64> = BTreeSet::new();
    let mut drawn: BTreeSet<(&str, String, String)> = BTreeSet::new();
    for done in &track.done {
        match done {
            Done::Moment(event) => {
                // Two to a unit of the picture are enough.
                moments.insert((2.0 * axis.x(event.cycle)) as u64);
            }
            Done::Stretch { name, from, to } => {
                let (x, width) = stretch(axis, from.cycle, to.cycle);
                drawn.insert((name, place(x), place(width)));
            }
        }
    }
    html! {
        @for (name, x, width) in &drawn {
            rect class={ "did " (name) } x=(x) y=(place(y)) width=(width) height=(BAR) {}
        }
        @for moment in &moments {
            @let x = place(*moment as f64 / 2.0);
            line.moment x1=(x) x2=(x) y1=(place(y)) y2=(place(y + BAR)) {}
        }
    }
}

fn stages(fault: &Fault, axis: &Axis, y: f64) -> Markup {
    let moments = fault.stages.iter().zip(fault.stages.iter().skip(1));
    html! {
        g {
            title { (access_name(fault.access)) " " (format!("{:#x}", fault.addr)) ", ctx " (fault.ctx) ": " (fault.cycles()) " cycles" }
            @for ((_, from), (stage, to)) in moments {
                @if to > from {
                    @let (x, width) = stretch(axis, *from, *to);
                    rect class=(class(*stage)) x=(place(x)) y=(place(y)) width=(place(width)) height=(BAR) {}
                }
            }
        }
    }
}

fn stretch(axis: &Axis, from: u64, to: u64) -> (f64, f64) {
    let x = axis.x(from);
    (x, (axis.x(to) - x).max(NARROW))
}

/// Faults in rows, none over another.
fn lanes(faults: &[Fault]) -> Vec<Vec<&Fault>> {
    let span = |fault: &Fault| match (fault.stages.first(), fault.stages.last()) {
        (Some((_, from)), Some((_, to))) if to > from => Some((*from, *to)),
        _ => None,
    };
    let mut sorted: Vec<(u64, u64, &Fault)> = faults
        .iter()
        .filter_map(|fault| span(fault).map(|(from, to)| (from, to, fault)))
        .collect();
    sorted.sort_by_key(|(from, _, fault)| (*from, fault.id));
    let mut lanes: Vec<(u64, Vec<&Fault>)> = Vec::new();
    for (from, to, fault) in sorted {
        match lanes.iter_mut().find(|(end, _)| *end <= from) {
            Some((end, lane)) => {
                *end = to;
                lane.push(fault);
            }
            None => lanes.push((to, vec![fault])),
        }
    }
    lanes.into_iter().map(|(_, lane)| lane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::faults;

    #[test]
    fn faults_at_the_same_time_have_rows_of_their_own() {
        let miss = |cycle, addr| {
            Event::new(
                cycle,
                "device",
                "tlb_miss",
                &[("ctx", 0), ("addr", addr), ("access", 0)],
            )
        };
        let fault = |cycle, addr| {
            let fields = [("ctx", 0), ("addr", addr), ("access", 0), ("reason", 1)];
            Event::new(cycle, "device", "walk_fault", &fields)
        };
        let events = [
            miss(10, 0x1000),
            miss(12, 0x2000),
            fault(20, 0x1000),
            fault(22, 0x2000),
            miss(30, 0x3000),
            fault(40, 0x3000),
        ];
        let faults = faults(&events);
        let lanes = lanes(&faults);
        let pages: Vec<Vec<u64>> = lanes
            .iter()
            .map(|lane| lane.iter().map(|fault| fault.addr).collect())
            .collect();
        assert_eq!(pages, [vec![0x1000, 0x3000], vec![0x2000]]);
        let page = section(&events, &Digest::of(&events), &Axis::new(40)).into_string();
        assert_eq!(page.matches("<rect class=\"stage walk\"").count(), 3);
    }
}
