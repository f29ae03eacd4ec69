//! A run as a trace that ui.perfetto.dev opens (Trace Event Format, JSON).

use serde_json::{Value, json};

use super::event::Event;
use super::explain::access_name;
use super::faults::{Fault, Stage, faults};
use super::flows::flows;
use super::host::{Done, tracks};
use super::traffic::{sent, walks_in_flight};

/// Process numbers of the trace.
const HOST: u64 = 1;
const FAULTS: u64 = 2;
const MMU: u64 = 3;
const LINK: u64 = 4;
const STAGES: u64 = 5;

/// The name of the link's counters.
const LINK_TRACK: &str = "link, bytes a cycle";

/// The trace. Times are in microseconds of a device clock of `clock_hz`; each event's `cycle` argument is the device's
/// own, and `wave_ps` its place in a wave of the same run, if `place` knows it.
#[must_use]
pub fn timeline(events: &[Event], clock_hz: u64, place: &dyn Fn(u64) -> Option<u64>) -> Value {
    let mut trace = Trace {
        clock_hz,
        place,
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

struct Trace<'a> {
    clock_hz: u64,
    place: &'a dyn Fn(u64) -> Option<u64>,
    events: Vec<Value>,
}

impl Trace<'_> {
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

    /// When something was, for whoever looks for it elsewhere.
    fn when(&self, cycle: u64) -> Value {
        match (self.place)(cycle) {
            Some(ps) => json!({ "cycle": cycle, "wave_ps": ps }),
            None => json!({ "cycle": cycle }),
        }
    }

    fn args(&self, event: &Event) -> Value {
        let mut args = self.when(event.cycle);
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
        for (number, track) in tracks(events).iter().enumerate() {
            let tid = number as u64 + 1;
            self.name(HOST, Some(tid), track.thread);
            for done in &track.done {
                match done {
                    Done::Stretch { name, from, to } => self.stretch(tid, name, from, to),
                    Done::Moment(event) => self.moment(HOST, tid, event),
                }
            }
        }
    }

    fn moment(&mut self, process: u64, thread: u64, event: &Event) {
        self.events.push(json!({
            "ph": "i", "s": "t", "name": event.name, "pid": process, "tid": thread,
            "ts": self.micros(event.cycle), "args": self.args(event),
        }));
    }

    fn stretch(&mut self, track: u64, name: &str, from: &Event, to: &Event) {
        let mut args = self.args(from);
        if let (Some(args), Value::Object(more)) = (args.as_object_mut(), self.args(to)) {
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
        let mut about = self.when(*from);
        about["id"] = json!(fault.id);
        about["ctx"] = json!(fault.ctx);
        about["addr"] = json!(format!("{:#x}", fault.addr));
        about["cycles"] = json!(fault.cycles());
        about["walks"] = json!(fault.walks);
        self.nested(number, &title, *from, *to, about);
        let moments = fault.stages.iter().zip(fault.stages.iter().skip(1));
        for ((_, begins), (stage, ends)) in moments {
            let mut args = self.when(*begins);
            args["cycles"] = json!(ends - begins);
            self.nested(number, stage.name(), *begins, *ends, args);
            if *stage == Stage::Walk {
                for (level, read, answer) in &fault.reads {
                    let name = format!("level {level}");
                    self.nested(number, &name, *read, *answer, self.when(*read));
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
                self.moment(MMU, 1, event);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Wherever a cycle is told, its place in the waves is: not each cycle follows the one before it there.
    #[test]
    fn places_in_waves_are_those_of_the_device() {
        let fields = [("ctx", 0), ("addr", 0x1000), ("access", 0)];
        let events = [
            Event::new(5, "main", "mmap", &[]),
            Event::new(10, "device", "tlb_miss", &fields),
            Event::new(12, "device", "walk_read", &fields),
            Event::new(14, "device", "walk_data", &fields),
            Event::new(20, "device", "walk_fault", &fields),
            Event::new(30, "device", "tlb_retry", &fields),
            Event::new(40, "device", "tlb_fill", &[("addr", 0x1000), ("allows", 1)]),
        ];
        let place = |cycle| Some(if cycle < 12 { cycle } else { 1_000_000 + cycle });
        let told = |place: &dyn Fn(u64) -> Option<u64>| -> Vec<(u64, Option<u64>)> {
            let trace = timeline(&events, 1_000_000, place);
            let events = trace["traceEvents"].as_array().cloned().unwrap_or_default();
            let args = events.iter().map(|event| &event["args"]);
            args.filter_map(|args| Some((args["cycle"].as_u64()?, args["wave_ps"].as_u64())))
                .collect()
        };
        let known = told(&place);
        assert!(known.len() >= 8, "{known:?}");
        let placed = known.iter().filter(|(_, ps)| ps.is_some()).count();
        assert!(placed >= 5, "{known:?}");
        for (cycle, ps) in known {
            assert!(ps.is_none() || ps == place(cycle), "{cycle}: {ps:?}");
        }
        assert!(told(&|_| None).iter().all(|(_, ps)| ps.is_none()));
    }
}
