//! What an event log says, for machines. docs/results.md has the keys.

use serde_json::{Map, Value, json};

use super::digest::{Digest, Spread};
use super::event::Event;
use super::faults::End;
use super::residency::Residency;
use super::traffic::{sent, walks_in_flight};

/// The figures of a log. `link_rate` is what one direction of a link carries, in bytes a cycle.
#[must_use]
pub fn explained(events: &[Event], link_rate: f64) -> Value {
    let digest = Digest::of(events);
    let stages: Map<String, Value> = digest
        .stages
        .iter()
        .map(|(stage, times)| {
            let mut figures = spread(times);
            figures["share_percent"] = json!(digest.share(times));
            (stage.name().to_string(), figures)
        })
        .collect();
    let invalidations = Spread::new(digest.invalidations.iter().map(|i| i.cycles).collect());
    let residency = Residency::of(events);
    json!({
        "last_cycle": digest.last,
        "faults": {
            "served": digest.ended(End::Filled),
            "cancelled": digest.ended(End::Cancelled),
            "stopped": digest.ended(End::Stopped),
            "open": digest.ended(End::Open),
            "latency": spread(&digest.latency),
            "stages": stages,
        },
        "invalidations": spread(&invalidations),
        "moves": {
            "to_device": digest.moves.to_device,
            "to_system": digest.moves.to_system,
            "pages_again": digest.moves.again.len(),
        },
        "residency": {
            "pages": residency.pages.len(),
            "device_share": residency.device_share(),
        },
        "link": link(events, digest.last, link_rate),
        "walks": walks(events, digest.last),
        "verdict": digest.verdict(),
    })
}

fn spread(times: &Spread) -> Value {
    json!({
        "count": times.count(),
        "cycles": times.total(),
        "median": times.percentile(50),
        "p90": times.percentile(90),
        "p99": times.percentile(99),
        "longest": times.percentile(100),
    })
}

fn link(events: &[Event], last: u64, rate: f64) -> Value {
    let sent = sent(events);
    let bytes = sent.iter().fold((0, 0), |sum, stretch| {
        (sum.0 + stretch.to_device, sum.1 + stretch.to_host)
    });
    let busiest = sent
        .iter()
        .map(|s| s.to_device.max(s.to_host) as f64 / (s.to - s.from) as f64);
    json!({
        "bytes_to_device": bytes.0,
        "bytes_to_host": bytes.1,
        "share_to_device": share(bytes.0, last, rate),
        "share_to_host": share(bytes.1, last, rate),
        "share_most": busiest.fold(0.0, f64::max) / rate,
    })
}

fn share(bytes: u64, cycles: u64, rate: f64) -> f64 {
    match cycles {
        0 => 0.0,
        cycles => bytes as f64 / (cycles as f64 * rate),
    }
}

fn walks(events: &[Event], last: u64) -> Value {
    let walks = walks_in_flight(events);
    let ends = walks.iter().skip(1).map(|(cycle, _)| *cycle).chain([last]);
    let sum: u64 = walks
        .iter()
        .zip(ends)
        .map(|((from, walks), to)| walks * to.saturating_sub(*from))
        .sum();
    json!({
        "in_flight_mean": if last == 0 { 0.0 } else { sum as f64 / last as f64 },
        "in_flight_most": walks.iter().map(|(_, walks)| *walks).max().unwrap_or(0),
    })
}
