//! `hmmu doctor` in environments that lack something.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{folder, said};
use serde_json::Value;

/// A program that only tells a version.
fn program(folder: &Path, name: &str, body: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a program");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("may run");
}

/// All that is needed, in `bin` and `verilator`.
fn all(folder: &Path) {
    program(folder, "bin/cargo", "echo cargo 1.95.0");
    program(folder, "bin/c++", "echo c++ 12.2.0");
    program(folder, "bin/python3", "echo Python 3.11.2");
    program(
        folder,
        "verilator/bin/verilator_bin",
        "echo Verilator 5.048",
    );
    std::fs::create_dir_all(folder.join("verilator/include")).expect("a folder");
    std::fs::write(folder.join("verilator/include/verilated.cpp"), "").expect("a file");
}

fn doctor(folder: &Path, more: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hmmu"))
        .current_dir(folder)
        .args(["doctor", "--json", "doctor.json"])
        .env("PATH", folder.join("bin"))
        .env("VERILATOR_ROOT", folder.join("verilator"))
        .env_remove("CXX")
        .env_remove("NO_COLOR")
        .envs(more.iter().copied())
        .output()
        .expect("hmmu runs")
}

fn report(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("doctor.json")).expect("a report");
    serde_json::from_str(&text).expect("JSON")
}

fn check(report: &Value, name: &str) -> Value {
    let checks = report["checks"].as_array().expect("checks");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {report}")).clone()
}

#[test]
fn what_is_needed_is_there() {
    let folder = folder("doctor-all");
    all(&folder);
    let output = doctor(&folder, &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in [
        "cargo 1.95.0",
        "Verilator 5.048",
        "0 + 42 is right",
        "compute units of",
        "apt-get install gtkwave",
        "all that is needed is there",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        !text.contains('\x1b'),
        "no colour without a terminal: {text}"
    );
    let report = report(&folder);
    assert_eq!(report["ok"], true);
    assert_eq!(check(&report, "GTKWave")["ok"], false);
    assert_eq!(check(&report, "GTKWave")["needed"], false);
    assert_eq!(check(&report, "run")["ok"], true);
    assert_eq!(check(&report, "run")["mend"], Value::Null);
}

#[test]
fn what_is_missing_is_named_with_a_cure() {
    let folder = folder("doctor-missing");
    all(&folder);
    std::fs::remove_file(folder.join("bin/cargo")).expect("removed");
    program(&folder, "bin/python3", "echo Python 3.8.1");
    program(&folder, "bin/c++", "echo broken >&2; exit 3");
    program(&folder, "bin/surfer", "exit 1");
    let output = doctor(&folder, &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    for part in [
        "MISSING  Rust",
        "rustup.rs",
        "Python 3.8.1: 3.11 or later is needed",
        "broken",
        "needed, but missing: Rust",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let report = report(&folder);
    assert_eq!(report["ok"], false);
    // A viewer is looked for, not opened.
    assert_eq!(check(&report, "Surfer")["ok"], true);
    // Only a build with the verilated device takes these.
    for name in ["C++ compiler", "Python", "Verilator"] {
        assert_eq!(
            check(&report, name)["needed"],
            cfg!(feature = "rtl"),
            "{name}"
        );
    }
}

#[test]
fn verilator_is_the_one_of_the_build() {
    let folder = folder("doctor-verilator");
    all(&folder);
    std::fs::remove_file(folder.join("verilator/include/verilated.cpp")).expect("removed");
    let output = doctor(&folder, &[]);
    let expected = if cfg!(feature = "rtl") { 2 } else { 0 };
    assert_eq!(output.status.code(), Some(expected), "{}", said(&output));
    let verilator = check(&report(&folder), "Verilator");
    assert_eq!(verilator["ok"], false);
    let problem = verilator["problem"].as_str().expect("a problem");
    assert!(problem.contains("VERILATOR_ROOT is"), "{problem}");
    assert!(
        verilator["mend"]
            .as_str()
            .is_some_and(|mend| mend.contains("make setup")),
        "{verilator}"
    );
}

#[test]
fn colour_is_for_terminals_and_for_who_asks() {
    let folder = folder("doctor-colour");
    all(&folder);
    let forced = doctor(&folder, &[("CLICOLOR_FORCE", "1")]);
    assert!(said(&forced).contains("\x1b["), "{}", said(&forced));
    let none = doctor(&folder, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]);
    assert!(!said(&none).contains('\x1b'), "{}", said(&none));
}

#[test]
fn a_report_that_cannot_be_written_is_said_first() {
    let folder = folder("doctor-json");
    let output = crate::common::hmmu(&folder, &["doctor", "--json", "no/doctor.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("cannot write no/doctor.json"),
        "{}",
        said(&output)
    );
}
