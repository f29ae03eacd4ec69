//! Interleavings: the same seed gives the same run, other seeds other ones, and all of them are right.

use std::collections::BTreeSet;

use crate::common::{backends, folder, hmmu, said, scenarios};
use hmmu::machine::MachineConfig;
use hmmu::script::run_file;
use hmmu::world::Outputs;

const SEEDS: u64 = 100;

#[test]
fn a_hundred_seeds_of_a_race_pass() {
    for backend in backends() {
        let mut hashes = BTreeSet::new();
        for seed in 0..SEEDS {
            let config = MachineConfig::new(backend, seed);
            let result = run_file(&scenarios().join("race.rhai"), &config, &Outputs::default());
            assert!(
                result.passed(),
                "{}, seed {seed}: {:?}",
                backend.name(),
                result.error
            );
            hashes.insert(result.log_hash);
        }
        assert!(
            hashes.len() as u64 > SEEDS * 9 / 10,
            "{}: {} interleavings",
            backend.name(),
            hashes.len()
        );
    }
}

#[test]
fn one_seed_gives_one_event_log() {
    for backend in backends() {
        let folder = folder(&format!("seeds-{}", backend.name()));
        let script = scenarios().join("race.rhai");
        let script = script.to_str().expect("a path in UTF-8");
        let run = |name: &str, seed: &str| {
            let (log, json) = (format!("{name}.log"), format!("{name}.json"));
            let args = [
                "run",
                script,
                "--backend",
                backend.name(),
                "--seed",
                seed,
                "--log",
                &log,
                "--json",
                &json,
            ];
            let output = hmmu(&folder, &args);
            assert!(output.status.success(), "{}", said(&output));
            let text =
                |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file of the run");
            let figures: Vec<String> = text(&json)
                .lines()
                .filter(|line| !line.contains("wall") && !line.contains("\"command\""))
                .map(str::to_string)
                .collect();
            (text(&log), figures)
        };
        let first = run("a", "11");
        assert!(first.0.lines().count() > 100, "events are in the log");
        assert!(
            first == run("b", "11"),
            "{}: two runs with one seed differ",
            backend.name()
        );
        assert!(
            first.0 != run("c", "12").0,
            "{}: two seeds give the same log",
            backend.name()
        );
    }
}
