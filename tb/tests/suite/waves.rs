//! `--wave`: what was written is read back, with states by name and the driver beside the device.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{folder, hmmu, said};
use wellen::simple::{Waveform, read};
use wellen::viewers::read_header_from_file;
use wellen::{LoadOptions, VarRef};

/// The values that a variable takes, by the names of its enum.
fn named_values(waves: &mut Waveform, var: VarRef) -> BTreeSet<String> {
    let (signal, names) = {
        let hierarchy = waves.hierarchy();
        let var = &hierarchy[var];
        let names: Vec<(String, String)> = var
            .enum_type(hierarchy)
            .map(|(_, names)| {
                names
                    .into_iter()
                    .map(|(bits, name)| (bits.to_string(), name.to_string()))
                    .collect()
            })
            .unwrap_or_default();
        (var.signal_ref(), names)
    };
    waves.load_signals(&[signal]);
    let signal = waves.get_signal(signal).expect("the signal is there");
    let mut seen = BTreeSet::new();
    for time in signal.time_indices() {
        let Some(offset) = signal.get_offset(*time) else {
            continue;
        };
        let bits = signal
            .get_value_at(&offset, 0)
            .to_bit_string()
            .unwrap_or_default();
        // The file may write an enum's values without leading zeros.
        let plain = |bits: &str| bits.trim_start_matches('0').to_string();
        seen.extend(
            names
                .iter()
                .filter(|(value, _)| plain(value) == plain(&bits))
                .map(|(_, name)| name.clone()),
        );
    }
    seen
}

/// The variables whose full name satisfies a condition.
fn variables(waves: &Waveform, wanted: impl Fn(&str) -> bool) -> Vec<VarRef> {
    let hierarchy = waves.hierarchy();
    hierarchy
        .all_vars()
        .filter(|var| wanted(&hierarchy[*var].full_name(hierarchy)))
        .collect()
}

/// The names of all signals and scopes of a file, of which only the header is read; elements of arrays in a VCD file
/// may have their index apart.
fn all_names(wave: &Path) -> BTreeSet<String> {
    let header = read_header_from_file(wave, &LoadOptions::default());
    let hierarchy = &header.expect("the header is read back").hierarchy;
    let vars = hierarchy.all_vars().flat_map(|var| {
        let var = &hierarchy[var];
        let name = var.full_name(hierarchy);
        let index = var.index();
        let ranged = index.map(|i| format!("{name}[{}:{}]", i.msb(), i.lsb()));
        [Some(name), ranged].into_iter().flatten()
    });
    // The reader makes a scope of an element's array.
    let vars = vars.flat_map(|name| [name.replace(".[", "["), name]);
    let scopes = hierarchy.all_scopes();
    let scopes = scopes.map(|scope| hierarchy[scope].full_name(hierarchy));
    vars.chain(scopes).collect()
}

/// Every signal that the files beside a wave name is in it; their groups, and the times of their markers.
fn check_save_files(wave: &Path) -> (Vec<String>, Vec<u64>) {
    let names = all_names(wave);
    let text = |ending: &str| {
        std::fs::read_to_string(wave.with_extension(ending)).expect("a file beside the wave")
    };
    let (gtkw, sucl) = (text("gtkw"), text("sucl"));
    let mut titles = Vec::new();
    let mut signals = 0;
    for line in gtkw.lines() {
        match line.chars().next() {
            Some('-') => titles.push(line[1..].to_string()),
            Some('[' | '@' | '*') | None => {}
            Some(_) => {
                assert!(names.contains(line), "{}: no {line}", wave.display());
                signals += 1;
            }
        }
    }
    titles.dedup();
    assert!(signals > 20 || titles.len() < 5, "{gtkw}");
    for line in sucl.lines() {
        let (command, what) = line.split_once(' ').unwrap_or((line, ""));
        if ["variable_add", "scope_add"].contains(&command) {
            assert!(names.contains(what), "{}: no {what}", wave.display());
        }
    }
    let zoom = gtkw.lines().find(|line| line.starts_with("*-"));
    let zoom = zoom.expect("the markers").split(' ').skip(2);
    let moments: Vec<u64> = zoom.filter_map(|time| time.parse().ok()).collect();
    for moment in &moments {
        assert!(sucl.contains(&format!("marker_set_at {moment} ")), "{sucl}");
    }
    (titles, moments)
}

fn record(folder: &Path, name: &str) {
    std::fs::write(folder.join("g.txt"), "0 1\n1 2\n2 3\n0 3\n").expect("a graph");
    let output = hmmu(folder, &["graph", "g.txt", "--no-compare", "--wave", name]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn an_fst_shows_states_by_name() {
    let folder = folder("waves-fst");
    record(&folder, "out.fst");
    let (titles, marks) = check_save_files(&folder.join("out.fst"));
    for title in [
        "driver",
        "host_threads",
        "pages",
        "event_log",
        "link",
        "registers",
        "queues",
        "mmu",
        "faults",
        "copy_channel_0",
        "vram",
        "unit_0_warps",
    ] {
        assert!(titles.iter().any(|t| t == title), "{title}: {titles:?}");
    }
    assert!(marks.is_empty(), "{marks:?}");
    let mut waves = read(folder.join("out.fst")).expect("the waves are read back");
    let walkers = variables(&waves, |name| {
        name.contains("walker") && name.contains("state_q")
    });
    assert!(!walkers.is_empty(), "no state of the walker");
    let mut seen = BTreeSet::new();
    for var in walkers {
        seen.extend(named_values(&mut waves, var));
    }
    assert!(seen.len() >= 3, "states of the walker: {seen:?}");

    let homes = variables(&waves, |name| name.contains("host_home_q"));
    let mut seen = BTreeSet::new();
    for var in homes {
        seen.extend(named_values(&mut waves, var));
    }
    for home in ["HomeNone", "HomeSystem", "HomeDevice0"] {
        assert!(seen.contains(home), "{home}: pages live in {seen:?}");
    }
    let host = variables(&waves, |name| name.ends_with("host_state_q"));
    let mut seen = BTreeSet::new();
    for var in host {
        seen.extend(named_values(&mut waves, var));
    }
    assert!(
        seen.contains("HostLaunch") && seen.contains("HostFaultFetch"),
        "states of the driver: {seen:?}"
    );
}

#[test]
fn a_vcd_holds_the_same_changes() {
    let folder = folder("waves-vcd");
    record(&folder, "out.fst");
    record(&folder, "out.vcd");
    check_save_files(&folder.join("out.vcd"));
    let names: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    assert!(
        !names.iter().any(|name| name == "out.vcd.fst"),
        "the intermediate file is gone: {names:?}"
    );
    let changes = |waves: &mut Waveform, signal: &str| {
        let vars = variables(waves, |name| name.ends_with(signal));
        let signal = waves.hierarchy()[*vars.first().expect("the signal is there")].signal_ref();
        waves.load_signals(&[signal]);
        let times = waves.time_table().to_vec();
        let signal = waves.get_signal(signal).expect("the signal is there");
        let values: Vec<(u64, String)> = signal
            .time_indices()
            .iter()
            .filter_map(|time| {
                let offset = signal.get_offset(*time)?;
                Some((
                    times[*time as usize],
                    signal.get_value_at(&offset, 0).to_bit_string()?,
                ))
            })
            .collect();
        values
    };
    let waves = |file: &str| read(folder.join(file)).expect("the waves are read back");
    let (mut fst, mut vcd) = (waves("out.fst"), waves("out.vcd"));
    for signal in ["host_state_q", "host_page_q", "tx_valid_o"] {
        let in_fst = changes(&mut fst, signal);
        assert!(in_fst.len() > 1, "{signal} changes");
        assert_eq!(in_fst, changes(&mut vcd, signal), "{signal}");
    }
}

/// Faults, and fails at its last line.
const FAILS: &str = r#"
let p = process();
let a = p.mmap(4 * PAGE, "rw");
let d = p.open(0);
p.fill(a, 4 * PAGE, 1);
print(`at ${a + 2 * PAGE}`);
assert_eq(d.load(a + 2 * PAGE), 1 + 2 * PAGE / 8);
assert_eq(d.load(a), 7);
"#;

/// The first and the last cycle of a wave.
fn span(wave: &Path) -> (u64, u64) {
    let waves = read(wave).expect("the waves are read back");
    let times = waves.time_table();
    let cycle = |time: Option<&u64>| time.expect("a time") / 4000 - 8;
    (cycle(times.first()), cycle(times.last()))
}

/// The cycle of the first event with this name in a log.
fn first(folder: &Path, name: &str) -> u64 {
    let events = hmmu::trace::read(&folder.join("s.log")).expect("a log");
    let event = events.iter().find(|event| event.name == name);
    event.unwrap_or_else(|| panic!("no {name}")).cycle
}

#[test]
fn a_window_is_recorded_and_a_failure_is_run_again() {
    let folder = folder("waves-window");
    std::fs::write(folder.join("s.rhai"), FAILS).expect("a script");
    let wave = folder.join("w.fst");
    let run = |more: &[&str]| {
        let output = hmmu(&folder, &[&["run", "s.rhai"][..], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        said(&output)
    };

    // Without any option: the failure goes to a folder, and a line says so.
    let text = run(&["--log", "s.log"]);
    assert!(text.contains("hmmu-failures/s-seed1.fst"), "{text}");
    assert_eq!(text.matches("at 1").count(), 1, "printed once: {text}");
    let shown = folder.join("hmmu-failures/s-seed1.fst");
    let (_, marks) = check_save_files(&shown);
    let cycle: u64 = text
        .split("failed at cycle ")
        .nth(1)
        .and_then(|rest| rest.split(':').next()?.parse().ok())
        .expect("the cycle");
    assert_eq!(marks, [(8 + cycle) * 4000 + 2000]);
    assert_eq!(span(&shown).0, cycle.saturating_sub(2000));

    // Some cycles, few levels; the failure is not among them.
    let text = run(&["--wave", "w.fst", "--wave-from", "100", "--wave-to", "199"]);
    assert_eq!(span(&wave), (100, 199));
    assert!(text.contains("w.failure.fst"), "{text}");
    assert!(folder.join("w.failure.gtkw").is_file());
    let all = all_names(&wave).len();
    let window = ["--wave", "w.fst", "--wave-from", "100", "--wave-to", "199"];
    let text = run(&[&window[..], &["--wave-depth", "1", "--no-rerun"]].concat());
    assert!(!text.contains("running it again"), "{text}");
    let names = all_names(&wave);
    assert!(names.contains("hmmu.hmmu_sim_top.host_page_q"), "{names:?}");
    assert!(!names.contains("hmmu.hmmu_sim_top.u_hmmu.req_valid"));
    assert!(names.len() < all / 4, "{} of {all}", names.len());

    // The cycles around an event.
    let address = format!("va:{:#x}", {
        let at = text.split("at ").nth(1).expect("printed");
        let digits: String = at.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().expect("an address")
    });
    for (trigger, cycle) in [
        ("first-fault", first(&folder, "walk_fault")),
        ("event:launch", first(&folder, "launch")),
        (address.as_str(), first(&folder, "tlb_miss")),
        ("failed-check", cycle),
    ] {
        let around = ["--wave-before", "50", "--wave-after", "20", "--no-rerun"];
        run(&[&["--wave", "w.fst", "--wave-on", trigger], &around[..]].concat());
        let (from, to) = span(&wave);
        // Fetching the program misses before its first load does.
        let late = if trigger == address { 5000 } else { 0 };
        assert!(
            (cycle - 50..=cycle - 50 + late).contains(&from),
            "{trigger}: {from}, {cycle}"
        );
        assert!(to <= from + 70, "{trigger}: {to}");
        let (_, marks) = check_save_files(&wave);
        assert_eq!(marks, [(8 + from + 50) * 4000 + 2000], "{trigger}");
    }

    // What does not happen leaves no file.
    let text = run(&["--wave", "w.fst", "--wave-on", "fault:99", "--no-rerun"]);
    assert!(text.contains("no waves: fault:99 did not happen"), "{text}");
    assert!(!wave.exists());
}
