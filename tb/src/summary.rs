//! Lines and values that the reports of several commands share.

use serde_json::{Map, Value, json};

use crate::machine::MachineConfig;
use crate::placement::Placement;
use crate::rc::LinkBytes;
use crate::say;
use crate::session::Stats;

/// What the work ran on.
pub fn machine_line(machine: &MachineConfig, placement: Placement) {
    say!(
        "machine      {}, link {}, {} KiB of device memory, policy {}, seed {}",
        machine.backend.name(),
        machine.link,
        machine.vram >> 10,
        placement.name(),
        machine.seed
    );
}

/// What went over the link.
pub fn link_line(link: LinkBytes) {
    say!(
        "link         {} bytes to the device, {} bytes to the host",
        link.to_device,
        link.to_host
    );
}

/// How translation went.
pub fn translation_line(stats: &Stats) {
    say!(
        "translation  L1 hits {:.2} % (data), {:.2} % (fetch), L2 hits {:.2} %, {} walks",
        100.0 * stats.share("l1_hits", "l1_lookups"),
        100.0 * stats.share("l1_fetch_hits", "l1_fetch_lookups"),
        100.0 * stats.share("l2_hits", "l2_lookups"),
        stats.get("walks")
    );
}

/// Counters by their names.
#[must_use]
pub fn stats_json(stats: &Stats) -> Value {
    let counters = stats.0.iter();
    let counters: Map<String, Value> = counters
        .map(|(name, value)| ((*name).to_string(), json!(value)))
        .collect();
    Value::Object(counters)
}
