//! A run as a trace that ui.perfetto.dev opens (Trace Event Format, JSON).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::event::Event;
use super::explain::access_name;
use super::faults::{Fault, Stage, faults};
use super::flows::flows;
use super::traffic::{sent, walks_in_flight};

/// Process numbers of the trace.
const HOST: u64 = 1;
const FAULTS: u64 = 2;
const MMU: u64 = 3;
const LINK: u64 = 4;
const STAGES: u64 = 5;

/// The name of the link's counters.
const LINK_TRACK: &str = "link, bytes a cycle";

/// Cycles of reset before cycle 0 in a wave, and picoseconds of a cycle there.
const RESET_CYCLES: u64 = 8;
const WAVE_PS: u64 = 4000;

/// The trace. Times are in microseconds of a device clock of `clock_hz`; each event's `cycle` argument is the device's
/// own, and `wave_ps` its place in a wave of the same run.
#[must_use]
pub fn timeline(events: &[Event], clock_hz: u64) -> Value {
    let mut trace = Trace {
        clock_hz,
        events: Vec::new(),
    };
    for (process, name) in [
        (HOST, "host"),
        (FAULTS, "faults"),
        (MMU, "translation"),
        (LINK, "link"),
        (STAGES, "faults by stage"),
    ] {
        trace.name(process, None, name);
    }
    trace.host(events);
    let faults = faults(events);
    for (number, fault) in faults.iter().enumerate() {
        trace.fault(number as u64, fault);
    }
    let by_stage = flows(&faults, STAGES, |cycle| trace.micros(cycle));
    trace.events.extend(by_stage);
    trace.device(events);
    json!({ "traceEvents": trace.events, "displayTimeUnit": "ns" })
}

struct Trace {
    clock_hz: u64,
    events: Vec<Value>,
}

/// What begins and what ends a stretch of a host thread.
const STRETCHES: [(&str, &str); 4] = [
    ("notifier_start", "notifier_end"),
    ("invalidate", "invalidate_done"),
    ("migrate_setup", "migrate_to_device"),
    ("migrate_setup", "migrate_to_system"),
];

impl Trace {
    fn micros(&self, cycle: u64) -> f64 {
        cycle as f64 * 1e6 / self.clock_hz as f64
    }

    fn name(&mut self, process: u64, thread: Option<u64>, name: &str) {
        let what = if thread.is_some() {
            "thread_name"
        } else {
            "process_name"
        };
        self.events.push(json!({
            "ph": "M", "name": what, "pid": process, "tid": thread.unwrap_or(0), "args": { "name": name },
        }));
    }

    fn args(event: &Event) -> Value {
        let mut args = json!({ "cycle": event.cycle, "wave_ps": wave_ps(event.cycle) });
        for (name, value) in event.fields() {
            args[name] = if ["addr", "start", "end", "last", "pfn", "from", "to"].contains(&name) {
                json!(format!("{value:#x}"))
            } else {
                json!(value)
            };
        }
        args
    }

    /// A track for each host thread: stretches, and all else as moments.
    fn host(&mut self, events: &[Event]) {
        let mut tracks: BTreeMap<&str, u64> = BTreeMap::new();
        let mut open: BTreeMap<(&str, &str), Vec<&Event>> = BTreeMap::new();
        for event in events.iter().filter(|event| event.thread != "device") {
            let next = tracks.len() as u64 + 1;
            let track = *tracks.entry(&event.thread).or_insert(next);
            if track == next {
                self.name(HOST, Some(track), &event.thread);
            }
            let name = event.name.as_ref();
            if let Some((begins, _)) = STRETCHES.iter().find(|(_, ends)| *ends == name)
                && let Some(begun) = open
                    .get_mut(&(event.thread.as_str(), *begins))
                    .and_then(Vec::pop)
            {
                let title = if *begins == "migrate_setup" {
                    name
                } else {
                    begins
                };
                self.stretch(track, title, begun, event);
            } else if STRETCHES.iter().any(|(begins, _)| *begins == name) {
                open.entry((&event.thread, name)).or_default().push(event);
            } else {
                self.events.push(json!({
                    "ph": "i", "s": "t", "name": name, "pid": HOST, "tid": track,
                    "ts": self.micros(event.cycle), "args": Self::args(event),
                }));
            }
        }
    }

    fn stretch(&mut self, track: u64, name: &str, from: &Event, to: &Event) {
        let mut args = Self::args(from);
        if let (Some(args), Value::Object(more)) = (args.as_object_mut(), Self::args(to)) {
            for (name, value) in more {
                args.entry(name).or_insert(value);
            }
        }
        self.events.push(json!({
            "ph": "X", "name": name, "pid": HOST, "tid": track, "ts": self.micros(from.cycle),
            "dur": self.micros(to.cycle - from.cycle), "args": args,
        }));
    }

    /// A fault is a nested track of its own: the whole of it, its stages, its first walk's reads.
    fn fault(&mut self, number: u64, fault: &Fault) {
        let (Some((_, from)), Some((_, to))) = (fault.stages.first(), fault.stages.last()) else {
            return;
        };
        let title = format!("{} {:#x}", access_name(fault.access), fault.addr);
        let about = json!({
            "id": fault.id, "ctx": fault.ctx, "addr": format!("{:#x}", fault.addr), "cycle": from,
            "cycles": fault.cycles(), "wave_ps": wave_ps(*from), "walks": fault.walks,
        });
        self.nested(number, &title, *from, *to, about);
        let moments = fault.stages.iter().zip(fault.stages.iter().skip(1));
        for ((_, begins), (stage, ends)) in moments {
            let args =
                json!({ "cycle": begins, "cycles": ends - begins, "wave_ps": wave_ps(*begins) });
            self.nested(number, stage.name(), *begins, *ends, args);
            if *stage == Stage::Walk {
                for (level, read, answer) in &fault.reads {
                    let name = format!("level {level}");
                    self.nested(number, &name, *read, *answer, json!({ "cycle": read }));
                }
            }
        }
    }

    fn nested(&mut self, number: u64, name: &str, from: u64, to: u64, args: Value) {
        let mut half = |phase: &str, cycle: u64, args: Value| {
            self.events.push(json!({
                "ph": phase, "cat": "fault", "id": number, "name": name, "pid": FAULTS, "tid": 0,
                "ts": cycle as f64 * 1e6 / self.clock_hz as f64, "args": args,
            }));
        };
        half("b", from, args);
        half("e", to, json!({}));
    }

    /// What all TLBs see, as moments; walks in flight and bytes over the link as counters.
    fn device(&mut self, events: &[Event]) {
        self.name(MMU, Some(1), "events on the bus");
        for event in events.iter().filter(|event| event.thread == "device") {
            if let "tlb_invalidate" | "tlb_retry" | "tlb_cancel" | "tlb_stop" | "interrupt" =
                event.name.as_ref()
            {
                self.events.push(json!({
                    "ph": "i", "s": "t", "name": event.name, "pid": MMU, "tid": 1,
                    "ts": self.micros(event.cycle), "args": Self::args(event),
                }));
            }
        }
        for (cycle, walks) in walks_in_flight(events) {
            self.counter(MMU, "walks in flight", cycle, json!({ "walks": walks }));
        }
        let mut end = 0;
        for stretch in sent(events) {
            let quiet = json!({ "to device": 0.0, "to host": 0.0 });
            if stretch.from > end {
                self.counter(LINK, LINK_TRACK, end, quiet);
            }
            let cycles = (stretch.to - stretch.from) as f64;
            let rates = json!({
                "to device": stretch.to_device as f64 / cycles, "to host": stretch.to_host as f64 / cycles,
            });
            self.counter(LINK, LINK_TRACK, stretch.from, rates);
            end = stretch.to;
        }
        if end > 0 {
            let quiet = json!({ "to device": 0.0, "to host": 0.0 });
            self.counter(LINK, LINK_TRACK, end, quiet);
        }
    }

    fn counter(&mut self, process: u64, name: &str, cycle: u64, values: Value) {
        self.events.push(json!({
            "ph": "C", "name": name, "pid": process, "ts": self.micros(cycle), "args": values,
        }));
    }
}

/// Where the rising edge of a cycle is in a wave, picoseconds.
fn wave_ps(cycle: u64) -> u64 {
    (RESET_CYCLES + cycle) * WAVE_PS + WAVE_PS / 2
}
