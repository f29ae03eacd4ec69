//! `--log`, `--timeline` and `hmmu explain`: faults with all their stages, at the cycles of the waves.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{backends, folder, hmmu, said};
use hmmu::machine::Backend;
use hmmu::trace::{Event, Fault, Stage, faults, read};
use serde_json::Value;

/// Pages at some distance, read and written, so that each faults by itself; one goes to and fro.
const SCRIPT: &str = r#"
let p = process();
let a = p.mmap(64 * PAGE, "rw");
let d = p.open(0);
p.fill(a, 64 * PAGE, 1);
for page in [0, 20, 40] {
    assert_eq(d.load(a + page * PAGE), 1 + page * PAGE / 8);
}
d.store(a + 60 * PAGE, 7);
for turn in 0..2 {
    assert_eq(d.migrate_to_device(a, PAGE), 1);
    p.load(a, 8);
}
"#;

fn run(folder: &Path, backend: Backend, more: &[&str]) -> (Vec<Event>, Value) {
    std::fs::write(folder.join("s.rhai"), SCRIPT).expect("a script");
    let mut args = vec!["run", "s.rhai", "--backend", backend.name()];
    args.extend(["--log", "s.log", "--timeline", "s.json"]);
    args.extend(more);
    let output = hmmu(folder, &args);
    assert!(output.status.success(), "{}", said(&output));
    let text = std::fs::read_to_string(folder.join("s.json")).expect("a timeline");
    (
        read(&folder.join("s.log")).expect("a log"),
        serde_json::from_str(&text).expect("JSON"),
    )
}

fn served(events: &[Event]) -> Vec<Fault> {
    let all = faults(events);
    assert!(all.len() >= 4, "{all:?}");
    all
}

#[test]
fn stages_of_each_fault_are_in_order_and_add_up() {
    for backend in backends() {
        let folder = folder(&format!("traces-stages-{}", backend.name()));
        let (events, _) = run(&folder, backend, &[]);
        for fault in served(&events) {
            assert!(fault.stages.is_sorted(), "{fault:?}");
            let sum: u64 = fault.parts().map(|(_, cycles)| cycles).sum();
            assert_eq!(sum, fault.cycles());
            let needed: &[Stage] = match backend {
                Backend::Model => &[Stage::Fetch, Stage::Map, Stage::Replay],
                Backend::Rtl => &[
                    Stage::Miss,
                    Stage::Walk,
                    Stage::Record,
                    Stage::Fetch,
                    Stage::Map,
                    Stage::Replay,
                    Stage::Retry,
                    Stage::Fill,
                ],
            };
            for stage in needed {
                assert!(
                    fault.at(*stage).is_some(),
                    "{backend:?} {stage:?}: {fault:?}"
                );
            }
        }
    }
}

#[test]
fn the_timeline_holds_each_fault_with_its_stages() {
    for backend in backends() {
        let folder = folder(&format!("traces-timeline-{}", backend.name()));
        let (events, timeline) = run(&folder, backend, &[]);
        let mut told: BTreeMap<u64, Vec<(String, f64, f64)>> = BTreeMap::new();
        let mut open: BTreeMap<u64, Vec<(String, f64)>> = BTreeMap::new();
        for event in timeline["traceEvents"].as_array().expect("events") {
            if event["cat"] != "fault" {
                continue;
            }
            let (Some(id), Some(ts)) = (event["id"].as_u64(), event["ts"].as_f64()) else {
                continue;
            };
            let name = event["name"].as_str().expect("a name").to_string();
            match event["ph"].as_str() {
                Some("b") => open.entry(id).or_default().push((name, ts)),
                Some("e") => {
                    let open = open.get_mut(&id).expect("something began");
                    let at = open
                        .iter()
                        .rposition(|(n, _)| *n == name)
                        .expect("it began");
                    let (name, from) = open.remove(at);
                    told.entry(id).or_default().push((name, from, ts));
                }
                _ => {}
            }
        }
        assert!(open.values().all(Vec::is_empty), "{open:?}");
        for (number, fault) in served(&events).iter().enumerate() {
            let slices = &told[&(number as u64)];
            let micros = |cycles: u64| cycles as f64 / 250.0;
            let whole = slices
                .iter()
                .find(|(name, ..)| name.contains("0x"))
                .expect("the fault");
            assert!(
                (whole.2 - whole.1 - micros(fault.cycles())).abs() < 1e-6,
                "{whole:?}"
            );
            for (stage, cycles) in fault.parts() {
                let slice = slices.iter().find(|(name, ..)| name == stage.name());
                let (_, from, to) = slice.unwrap_or_else(|| panic!("no {stage:?}: {slices:?}"));
                assert!((to - from - micros(cycles)).abs() < 1e-6, "{stage:?}");
                assert!(
                    *from >= whole.1 - 1e-6 && *to <= whole.2 + 1e-6,
                    "{stage:?}"
                );
            }
        }
    }
}

/// A flow leads through the slices of all stages of a fault that took time, in order.
#[test]
fn flows_join_the_stages_of_each_fault() {
    for backend in backends() {
        let folder = folder(&format!("traces-flows-{}", backend.name()));
        let (events, timeline) = run(&folder, backend, &[]);
        let trace = timeline["traceEvents"].as_array().expect("events");
        let place = |event: &Value| {
            let number = |key: &str| event[key].as_u64().expect("a number");
            (number("pid"), number("tid"), event["ts"].to_string())
        };
        let mut chains: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for event in trace.iter().filter(|event| event["cat"] == "flow") {
            // It is bound to the slice of its fault that begins there.
            let fault = event["id"].as_u64().expect("a fault");
            let slice = trace.iter().find(|other| {
                other["ph"] == "X"
                    && other["args"]["fault"] == fault
                    && place(other) == place(event)
            });
            let stage = slice.expect("a slice")["name"].as_str().expect("a stage");
            let phase = event["ph"].as_str().expect("a phase");
            chains
                .entry(fault)
                .or_default()
                .push(format!("{phase} {stage}"));
        }
        for (number, fault) in served(&events).iter().enumerate() {
            let stages: Vec<&str> = fault
                .parts()
                .filter(|(_, cycles)| *cycles > 0)
                .map(|(stage, _)| stage.name())
                .collect();
            let last = stages.len().saturating_sub(1);
            let phase = |at| match at {
                0 => "s",
                at if at == last => "f",
                _ => "t",
            };
            let want: Vec<String> = stages
                .iter()
                .enumerate()
                .filter(|_| last > 0)
                .map(|(at, stage)| format!("{} {stage}", phase(at)))
                .collect();
            let told = chains.remove(&(number as u64)).unwrap_or_default();
            assert_eq!(told, want, "{fault:?}");
        }
        assert!(chains.is_empty(), "{chains:?}");
        // The link's counter is there, and goes back to nothing at its end.
        let counters = trace.iter().filter(|event| event["ph"] == "C");
        let link: Vec<&Value> = counters
            .filter(|event| {
                event["name"]
                    .as_str()
                    .is_some_and(|n| n.starts_with("link"))
            })
            .collect();
        assert!(
            link.iter()
                .any(|event| event["args"]["to device"].as_f64() > Some(0.0))
        );
        assert_eq!(link.last().expect("a counter")["args"]["to device"], 0.0);
    }
}

#[test]
fn a_log_is_explained() {
    let folder = folder("traces-explain");
    run(&folder, Backend::Model, &[]);
    let output = hmmu(&folder, &["explain", "s.log"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    for part in [
        "faults ",
        "slowest",
        "invalidations ",
        "verdict ",
        ": 2 times to the device",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // A fault is drawn: the slowest, or the one that was asked for.
    let faults = served(&read(&folder.join("s.log")).expect("a log"));
    let slowest = faults.iter().map(Fault::cycles).max().expect("faults");
    let drawn = |more: &[&str]| -> u64 {
        let args = [&["explain", "s.log", "--svg", "s.svg"][..], more].concat();
        let output = hmmu(&folder, &args);
        assert!(output.status.success(), "{}", said(&output));
        let picture = std::fs::read_to_string(folder.join("s.svg")).expect("a picture");
        assert!(picture.starts_with("<svg xmlns="), "{picture}");
        let bars = picture.split("data-cycles=\"").skip(1);
        bars.map(|bar| bar.split('"').next().expect("a number"))
            .map(|cycles| cycles.parse::<u64>().expect("a number"))
            .sum()
    };
    assert_eq!(drawn(&[]), slowest);
    let last = faults.last().expect("a fault");
    assert_eq!(drawn(&["--fault", &last.id.to_string()]), last.cycles());
    let output = hmmu(
        &folder,
        &["explain", "s.log", "--svg", "s.svg", "--fault", "999"],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("s.log: no fault 999 to draw"),
        "{}",
        said(&output)
    );
    // What is no log is refused with its line.
    std::fs::write(folder.join("bad.log"), "1 main mmap mm=0x1\nnonsense\n").expect("a file");
    let output = hmmu(&folder, &["explain", "bad.log"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("bad.log:2"), "{}", said(&output));
}

/// Waves hold the lines of the log: all of them, in either form, or those of their cycles.
#[cfg(feature = "rtl")]
#[test]
fn waves_are_explained_as_their_log_is() {
    let folder = folder("traces-wave-log");
    let explained = |file: &str| {
        let output = hmmu(&folder, &["explain", file]);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    for wave in ["s.fst", "s.vcd"] {
        run(&folder, Backend::Rtl, &["--wave", wave]);
        assert_eq!(explained(wave), explained("s.log"), "{wave}");
    }
    let (events, _) = run(
        &folder,
        Backend::Rtl,
        &["--wave", "s.fst", "--wave-from", "5000"],
    );
    let late: Vec<String> = events
        .iter()
        .filter(|event| event.cycle >= 5000)
        .map(|event| format!("{event}\n"))
        .collect();
    assert!(
        late.len() > 20 && late.len() < events.len(),
        "{}",
        late.len()
    );
    std::fs::write(folder.join("late.log"), late.concat()).expect("a file");
    assert_eq!(explained("s.fst"), explained("late.log"));
    for (file, text, why) in [
        ("no.fst", "not waves", "cannot read no.fst"),
        ("no.vcd", "$enddefinitions $end\n#0\n", "no signal host_log"),
    ] {
        std::fs::write(folder.join(file), text).expect("a file");
        let output = hmmu(&folder, &["explain", file]);
        assert_eq!(output.status.code(), Some(2), "{file}");
        assert!(said(&output).contains(why), "{}", said(&output));
    }
}

/// The log's cycles are those of the waves: at the edge of each cycle with a `walk_fault` the fault unit is told one,
/// and at no other; behind each record its interrupt.
#[cfg(feature = "rtl")]
#[test]
fn the_waves_show_the_same_cycles() {
    let folder = folder("traces-waves");
    let (events, timeline) = run(&folder, Backend::Rtl, &["--wave", "s.fst"]);
    let mut waves = wellen::simple::read(folder.join("s.fst")).expect("the waves are read back");
    let mut high = |ending: &str| -> Vec<u64> {
        let hierarchy = waves.hierarchy();
        let var = hierarchy
            .all_vars()
            .find(|var| hierarchy[*var].full_name(hierarchy).ends_with(ending))
            .unwrap_or_else(|| panic!("no signal {ending}"));
        let signal = hierarchy[var].signal_ref();
        waves.load_signals(&[signal]);
        let times = waves.time_table().to_vec();
        let signal = waves.get_signal(signal).expect("the signal is there");
        let mut changes: Vec<(u64, bool)> = Vec::new();
        for time in signal.time_indices() {
            let offset = signal.get_offset(*time).expect("a value");
            let bits = signal.get_value_at(&offset, 0).to_bit_string();
            changes.push((times[*time as usize], bits.as_deref() == Some("1")));
        }
        // The cycles at whose rising edge it is high.
        let last = times.last().copied().unwrap_or(0) / 4000;
        (0..last.saturating_sub(8))
            .filter(|cycle| {
                let edge = (8 + cycle) * 4000 + 2000;
                let before = changes.iter().rev().find(|(time, _)| *time < edge);
                before.is_some_and(|(_, high)| *high)
            })
            .collect()
    };
    let cycles = |name: &str| -> Vec<u64> {
        let named = events.iter().filter(|event| event.name == name);
        named.map(|event| event.cycle).collect()
    };
    assert_eq!(high("u_fault_unit.rpt_valid_i"), cycles("walk_fault"));
    let records: Vec<u64> = cycles("fault_record")
        .iter()
        .map(|cycle| cycle + 1)
        .collect();
    assert!(records.len() >= 3, "{records:?}");
    assert_eq!(high("u_fault_unit.irq_o"), records);
    // And the timeline says where in the wave that is.
    let told = timeline["traceEvents"]
        .as_array()
        .expect("events")
        .iter()
        .find(|event| event["name"] == "walk" && event["ph"] == "b");
    let args = &told.expect("a walk")["args"];
    let cycle = args["cycle"].as_u64().expect("a cycle");
    assert_eq!(args["wave_ps"].as_u64(), Some((8 + cycle) * 4000 + 2000));
}
