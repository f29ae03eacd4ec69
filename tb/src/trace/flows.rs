//! The stages of faults as slices of the units that they are at, with a flow from one to the next.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::faults::{Fault, Stage};

/// Most faults at one stage at a time that are drawn beside each other before track numbers of stages would meet.
const LANES: u64 = 1 << 16;

/// A stage of a fault, with the fault's number.
struct Slice {
    from: u64,
    to: u64,
    stage: Stage,
    fault: u64,
    lane: u64,
}

/// Events of the trace for process `pid`: a track for each stage (several where faults overlap), a slice for each stage
/// that took time, and a flow (`s`, `t`, `f`) through those of each fault.
pub fn flows(faults: &[Fault], pid: u64, micros: impl Fn(u64) -> f64) -> Vec<Value> {
    let slices = slices(faults);
    let mut events = Vec::new();
    let mut named: BTreeMap<u64, String> = BTreeMap::new();
    let mut chains: BTreeMap<u64, Vec<&Slice>> = BTreeMap::new();
    for slice in &slices {
        named.entry(slice.track()).or_insert_with(|| slice.title());
        chains.entry(slice.fault).or_default().push(slice);
    }
    for (track, name) in named {
        events.push(json!({
            "ph": "M", "name": "thread_name", "pid": pid, "tid": track, "args": { "name": name },
        }));
        events.push(json!({
            "ph": "M", "name": "thread_sort_index", "pid": pid, "tid": track, "args": { "sort_index": track },
        }));
    }
    for (number, chain) in chains {
        let Some(fault) = faults.get(number as usize) else {
            continue;
        };
        for (at, slice) in chain.iter().enumerate() {
            let (ts, tid) = (micros(slice.from), slice.track());
            events.push(json!({
                "ph": "X", "name": slice.stage.name(), "pid": pid, "tid": tid, "ts": ts,
                "dur": micros(slice.to) - ts,
                "args": { "fault": number, "id": fault.id, "addr": format!("{:#x}", fault.addr), "cycle": slice.from },
            }));
            let phase = match at {
                _ if chain.len() == 1 => continue,
                0 => "s",
                _ if at + 1 == chain.len() => "f",
                _ => "t",
            };
            let mut flow = json!({
                "ph": phase, "cat": "flow", "name": "fault", "id": number, "pid": pid, "tid": tid, "ts": ts,
            });
            if phase == "f" {
                // To the slice that begins here, not the next one.
                flow["bp"] = json!("e");
            }
            events.push(flow);
        }
    }
    events
}

impl Slice {
    fn track(&self) -> u64 {
        self.stage as u64 * LANES + self.lane
    }

    fn title(&self) -> String {
        match self.lane {
            0 => self.stage.name().to_string(),
            lane => format!("{} {}", self.stage.name(), lane + 1),
        }
    }
}

/// In the order of their begins, none over another in the same lane.
fn slices(faults: &[Fault]) -> Vec<Slice> {
    let mut slices = Vec::new();
    for (number, fault) in faults.iter().enumerate() {
        let moments = fault.stages.iter().zip(fault.stages.iter().skip(1));
        let took = moments.filter(|((_, from), (_, to))| to > from);
        slices.extend(took.map(|((_, from), (stage, to))| Slice {
            from: *from,
            to: *to,
            stage: *stage,
            fault: number as u64,
            lane: 0,
        }));
    }
    slices.sort_by_key(|slice| (slice.from, slice.fault, slice.stage));
    let mut ends: BTreeMap<Stage, Vec<u64>> = BTreeMap::new();
    for slice in &mut slices {
        let lanes = ends.entry(slice.stage).or_default();
        let free = lanes.iter().position(|end| *end <= slice.from);
        let lane = free.unwrap_or_else(|| {
            lanes.push(0);
            lanes.len() - 1
        });
        lanes[lane] = slice.to;
        slice.lane = lane as u64;
    }
    slices
}
