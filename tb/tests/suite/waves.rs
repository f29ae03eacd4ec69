//! `--wave`: what was written is read back, with states by name and the driver beside the device.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{folder, hmmu, said};
use wellen::VarRef;
use wellen::simple::{Waveform, read};

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

fn record(folder: &Path, name: &str) {
    std::fs::write(folder.join("g.txt"), "0 1\n1 2\n2 3\n0 3\n").expect("a graph");
    let output = hmmu(folder, &["graph", "g.txt", "--no-compare", "--wave", name]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn an_fst_shows_states_by_name() {
    let folder = folder("waves-fst");
    record(&folder, "out.fst");
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
    let names: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    assert!(
        !names.iter().any(|name| name == "out.vcd.fst"),
        "the intermediate file is gone: {names:?}"
    );
    let changes = |file: &str, signal: &str| {
        let mut waves = read(folder.join(file)).expect("the waves are read back");
        let vars = variables(&waves, |name| name.ends_with(signal));
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
    for signal in ["host_state_q", "host_page_q", "tx_valid_o"] {
        let fst = changes("out.fst", signal);
        assert!(fst.len() > 1, "{signal} changes");
        assert_eq!(fst, changes("out.vcd", signal), "{signal}");
    }
}
