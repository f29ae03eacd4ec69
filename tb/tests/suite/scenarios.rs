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

/// Scenarios that move much over the link, on links of other sizes.
#[cfg(feature = "rtl")]
#[test]
fn scenarios_pass_on_links_of_every_size() {
    use crate::common::sizes;
    use hmmu::machine::Backend;
    let all = ["migrate_home", "read_write", "suspend", "race", "dirty"];
    let names = if sizes::every() { &all[..] } else { &all[..1] };
    for size in sizes::chosen() {
        for name in names {
            let config = MachineConfig {
                pcie: size.pcie(),
                ..MachineConfig::new(Backend::Rtl, 1)
            };
            let file = scenarios().join(format!("{name}.rhai"));
            let result = run_file(&file, &config, &Outputs::default());
            assert_eq!(result.error, None, "{size}: {name}");
            assert!(result.cycles > 1000, "{size}: {name}");
        }
    }
}
