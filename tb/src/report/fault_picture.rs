//! One fault as a picture that stands alone: its stages one below the other, over its time.

use maud::{Markup, PreEscaped, html};

use super::STYLE;
use super::axis::{Axis, WIDTH, place};
use super::faults::class;
use super::figures::grouped;
use crate::trace::{Fault, Stage, access_name};

/// Height of a row, and of the bar in it.
const ROW: f64 = 22.0;
const BAR: f64 = 15.0;
/// What is narrower is drawn as wide as this.
const NARROW: f64 = 1.5;
/// A bar this wide has room for its text.
const INSIDE: f64 = 330.0;
/// Where the rows begin.
const TOP: f64 = 34.0;

/// An SVG of a fault. Its stages are in the order of time, each with its cycles and its share.
#[must_use]
pub fn fault_picture(fault: &Fault) -> String {
    let begun = fault.stages.first().map_or(0, |(_, cycle)| *cycle);
    let whole = fault.cycles().max(1);
    let axis = Axis::new(whole);
    let moments: Vec<(Stage, u64, u64)> = fault
        .stages
        .iter()
        .zip(fault.stages.iter().skip(1))
        .map(|((_, from), (stage, to))| (*stage, from - begun, to - begun))
        .collect();
    let bottom = TOP + ROW * moments.len() as f64;
    let height = place(bottom + 40.0);
    html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(WIDTH) height=(height) viewBox={ "0 0 " (WIDTH) " " (height) }
            role="img" aria-label="A fault with its stages" {
            style { (PreEscaped(STYLE)) }
            rect.paper width=(WIDTH) height=(height) {}
            text.title x="8" y="18" {
                "Fault " (fault.id) ": " (access_name(fault.access)) " of " (format!("{:#x}", fault.addr)) ", context " (fault.ctx)
                ", from cycle " (grouped(begun)) " on: " (grouped(fault.cycles())) " cycles"
            }
            (axis.ticks(TOP - 4.0, bottom))
            @for (row, (stage, from, to)) in moments.iter().enumerate() {
                (bar(*stage, *from, *to, whole, TOP + ROW * row as f64, &axis))
            }
            text.tick x=(WIDTH / 2.0) y=(place(bottom + 34.0)) text-anchor="middle" { "cycles since the miss" }
        }
    }
    .into_string()
}

fn bar(stage: Stage, from: u64, to: u64, whole: u64, y: f64, axis: &Axis) -> Markup {
    let (x, end) = (axis.x(from), axis.x(to));
    let width = (end - x).max(NARROW);
    let share = 100.0 * (to - from) as f64 / whole as f64;
    let told = format!("{} ({share:.1} %), {}", grouped(to - from), at(stage));
    // In the bar if it fits there, else beside it, where there is more room.
    let (text, anchor, shade) = match () {
        () if width > INSIDE => (x + 8.0, "start", "inside"),
        () if end > WIDTH / 2.0 => (x - 6.0, "end", "tick"),
        () => (x + width + 6.0, "start", "tick"),
    };
    html! {
        text.label x=(axis.left() - 8.0) y=(place(y + 12.0)) text-anchor="end" { (stage.name()) }
        rect class=(class(stage)) x=(place(x)) y=(place(y)) width=(place(width)) height=(BAR) data-cycles=(to - from) {}
        text class=(shade) x=(place(text)) y=(place(y + 12.0)) text-anchor=(anchor) { (told) }
    }
}

/// Where the time of a stage is spent.
fn at(stage: Stage) -> &'static str {
    match stage {
        Stage::Miss | Stage::Walk => "device: TLBs and walker",
        Stage::Record => "device: fault unit",
        Stage::Interrupt => "link, to the host",
        Stage::Fetch => "driver: reads the record",
        Stage::Migrate => "driver and copy engine: the pages move",
        Stage::Map => "driver: asks for the page, writes its entry",
        Stage::Replay => "driver: sends the accesses back",
        Stage::Retry => "link and control ring, to the device",
        Stage::Fill => "device: the second walk",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Event, faults};

    #[test]
    fn bars_have_the_cycles_of_their_stages() {
        let fields = [("ctx", 3), ("addr", 0x7000), ("access", 1)];
        let event = |cycle, name: &'static str, more: &[(&'static str, u64)]| {
            Event::new(cycle, "device", name, &[&fields[..], more].concat())
        };
        let all = faults(&[
            event(100, "tlb_miss", &[]),
            event(126, "walk_fault", &[("reason", 1)]),
            event(129, "fault_record", &[("id", 5)]),
            event(1000, "tlb_retry", &[("last", 0x7000)]),
            event(1100, "tlb_fill", &[("size", 0), ("allows", 0xb)]),
        ]);
        let picture = fault_picture(&all[0]);
        let bars: Vec<u64> = picture
            .split("data-cycles=\"")
            .skip(1)
            .filter_map(|part| part.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(bars, [26, 3, 871, 100]);
        assert_eq!(bars.iter().sum::<u64>(), all[0].cycles());
        assert!(
            picture.contains("Fault 5: write of 0x7000, context 3"),
            "{picture}"
        );
        assert!(picture.contains("871 (87.1 %), link"), "{picture}");
    }
}
