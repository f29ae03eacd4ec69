//! All scenarios, on every device of this build.

use crate::common::{backends, scenarios};
use hmmu::machine::MachineConfig;
use hmmu::script::run_file;
use hmmu::world::Outputs;

#[test]
fn every_scenario_passes() {
    let mut files: Vec<_> = std::fs::read_dir(scenarios())
        .expect("the scenarios are there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "rhai"))
        .collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    let mut failed = Vec::new();
    for backend in backends() {
        for file in &files {
            let result = run_file(file, &MachineConfig::new(backend, 1), &Outputs::default());
            failed.extend(
                result
                    .error
                    .map(|error| format!("{}: {error}", backend.name())),
            );
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
