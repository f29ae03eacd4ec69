//! How busy link and walkers were over time.

use maud::{Markup, html};

use super::axis::{Axis, WIDTH, place};
use super::figures::Figures;
use crate::trace::{Event, Sent, sent, walks_in_flight};

/// Steps of a curve.
const STEPS: u64 = 200;
/// Height of a curve.
const HEIGHT: f64 = 90.0;

/// The section.
pub fn section(figures: &Figures, events: &[Event], axis: &Axis) -> Markup {
    let sent = sent(events);
    let walks = walks_in_flight(events);
    let rate = figures
        .get("config.link_bytes_per_cycle")
        .and_then(|rate| rate.as_f64());
    html! {
        section #traffic {
            h2 { "Link and walkers" }
            @if let Some(rate) = rate.filter(|_| !sent.is_empty()) {
                p {
                    "Link: " (figures.whole("explained.link.bytes_to_device")) " bytes to the device ("
                    (figures.percent("explained.link.share_to_device")) " of what it carries), "
                    (figures.whole("explained.link.bytes_to_host")) " to the host ("
                    (figures.percent("explained.link.share_to_host")) "), headers included; the busiest stretch of the log "
                    (figures.percent("explained.link.share_most")) "."
                }
                (curve("to device, % of the link", "todevice", &shares(&sent, axis, rate, |s| s.to_device), axis))
                (curve("to host, % of the link", "tohost", &shares(&sent, axis, rate, |s| s.to_host), axis))
            } @else {
                p { "Nothing went over the link." }
            }
            @if walks.is_empty() {
                p { "This log has no walks: the functional model walks in no time." }
            } @else {
                p {
                    "Walks in flight: " (figures.decimal("explained.walks.in_flight_mean", 2, "")) " on average, "
                    (figures.whole("explained.walks.in_flight_most")) " at most."
                }
                (curve("walks in flight", "walks", &means(&walks, axis), axis))
            }
        }
    }
}

/// The share of the link's rate in each step, in percent.
fn shares(sent: &[Sent], axis: &Axis, rate: f64, bytes: impl Fn(&Sent) -> u64) -> Vec<f64> {
    let mut steps = vec![0.0; STEPS as usize];
    for stretch in sent {
        let even = bytes(stretch) as f64 / (stretch.to - stretch.from) as f64;
        over(axis, stretch.from, stretch.to, |step, cycles| {
            steps[step] += even * cycles
        });
    }
    let cycles =
        |k: usize| (axis.part(k as u64 + 1, STEPS) - axis.part(k as u64, STEPS)).max(1) as f64;
    steps
        .iter()
        .enumerate()
        .map(|(k, bytes)| 100.0 * bytes / (cycles(k) * rate))
        .collect()
}

/// The mean in each step of a number that changes.
fn means(changes: &[(u64, u64)], axis: &Axis) -> Vec<f64> {
    let mut steps = vec![0.0; STEPS as usize];
    for (k, (from, number)) in changes.iter().enumerate() {
        let to = changes.get(k + 1).map_or(*from, |(to, _)| *to);
        over(axis, *from, to, |step, cycles| {
            steps[step] += *number as f64 * cycles
        });
    }
    let cycles =
        |k: usize| (axis.part(k as u64 + 1, STEPS) - axis.part(k as u64, STEPS)).max(1) as f64;
    steps
        .iter()
        .enumerate()
        .map(|(k, sum)| sum / cycles(k))
        .collect()
}

/// Tells each step that a stretch of time touches how many of the stretch's cycles are in it.
fn over(axis: &Axis, from: u64, to: u64, mut tell: impl FnMut(usize, f64)) {
    let whole = axis.part(STEPS, STEPS).max(1);
    let first = (u128::from(from) * u128::from(STEPS) / u128::from(whole)) as u64;
    for step in first..STEPS {
        let (begins, ends) = (axis.part(step, STEPS), axis.part(step + 1, STEPS));
        if begins >= to {
            break;
        }
        let cycles = to.min(ends).saturating_sub(from.max(begins));
        tell(step as usize, cycles as f64);
    }
}

fn curve(title: &str, class: &str, steps: &[f64], axis: &Axis) -> Markup {
    let most = steps.iter().fold(0.0_f64, |most, step| most.max(*step));
    let scale = round_up(most);
    let (top, bottom) = (20.0, 20.0 + HEIGHT);
    let y = |value: f64| bottom - HEIGHT * value / scale;
    let mut path = format!("M{} {}", place(axis.x(0)), place(bottom));
    for (k, step) in steps.iter().enumerate() {
        let (from, to) = (axis.part(k as u64, STEPS), axis.part(k as u64 + 1, STEPS));
        let [x, y, to] = [axis.x(from), y(*step), axis.x(to)].map(place);
        path += &format!("L{x} {y}H{to}");
    }
    path += &format!("V{}Z", place(bottom));
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (place(bottom + 24.0)) } role="img" aria-label={ (title) " over time" } {
            (axis.ticks(top, bottom))
            @for value in [scale, scale / 2.0] {
                line.grid x1=(axis.left()) x2=(WIDTH - 14.0) y1=(place(y(value))) y2=(place(y(value))) {}
                text.tick x=(axis.left() - 6.0) y=(place(y(value) + 4.0)) text-anchor="end" { (place(value)) }
            }
            path class={ "area " (class) } d=(path) {}
            text.label x=(axis.left()) y="12" { (title) }
        }
    }
}

/// 1, 2 or 5 times a power of ten, and not less.
fn round_up(most: f64) -> f64 {
    let mut ten = 0.001;
    while ten < 1e12 {
        for factor in [1.0, 2.0, 5.0] {
            if most <= factor * ten {
                return factor * ten;
            }
        }
        ten *= 10.0;
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_spread_over_its_steps() {
        let axis = Axis::new(20_000);
        // Each step has 100 cycles.
        let sent = [Sent {
            from: 150,
            to: 350,
            to_device: 2000,
            to_host: 0,
        }];
        let steps = shares(&sent, &axis, 20.0, |s| s.to_device);
        assert_eq!(steps[..5], [0.0, 25.0, 50.0, 25.0, 0.0]);
        let steps = means(&[(50, 2), (250, 0)], &axis);
        assert_eq!(steps[..4], [1.0, 2.0, 1.0, 0.0]);
        assert_eq!(round_up(37.0), 50.0);
    }
}
