//! `hmmu compare`, `hmmu list`, `hmmu completions`, `hmmu run --junit`.

use std::path::Path;

use crate::common::{folder, hmmu, said, scenarios};

fn written(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("a file");
}

#[test]
fn figures_are_set_side_by_side() {
    let folder = folder("commands-compare");
    written(
        &folder,
        "a.json",
        r#"{"cycles": 100, "seed": 1, "same": 5, "wall_seconds": 1.0, "name": "x", "rows": [1, 2], "ok": true}"#,
    );
    written(
        &folder,
        "b.json",
        r#"{"cycles": 103, "seed": 2, "same": 5, "wall_seconds": 9.0, "name": "y", "rows": [1, 2], "ok": true}"#,
    );
    let output = hmmu(&folder, &["compare", "a.json", "b.json"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("1.030") && !text.contains("same"), "{text}");
    let within = hmmu(
        &folder,
        &["compare", "a.json", "b.json", "--tolerance", "3"],
    );
    assert!(within.status.success(), "{}", said(&within));
    let beyond = hmmu(
        &folder,
        &["compare", "a.json", "b.json", "--tolerance", "2.9"],
    );
    assert_eq!(beyond.status.code(), Some(1), "{}", said(&beyond));
    assert!(
        said(&beyond).contains("1 figures are further apart"),
        "{}",
        said(&beyond)
    );
    let all = hmmu(&folder, &["compare", "a.json", "b.json", "--all"]);
    assert!(said(&all).contains("rows.1"), "{}", said(&all));

    // A figure that is gone is a difference, too.
    written(&folder, "c.json", r#"{"cycles": 100}"#);
    let gone = hmmu(
        &folder,
        &["compare", "a.json", "c.json", "--tolerance", "50"],
    );
    assert_eq!(gone.status.code(), Some(1), "{}", said(&gone));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let folder = folder("commands-compare-bad");
    written(&folder, "a.json", r#"{"cycles": 100}"#);
    written(&folder, "other.json", r#"{"pages": 1}"#);
    written(&folder, "broken.json", "{");
    for (b, part) in [
        ("none.json", "cannot read none.json"),
        ("broken.json", "broken.json: EOF"),
        ("other.json", "no figure in common"),
    ] {
        let output = hmmu(&folder, &["compare", "a.json", b]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(part), "{}", said(&output));
    }
    // Figures of another command, and of another version of the form.
    let of = |name: &str, version: u32| {
        format!(r#"{{"cycles": 1, "schema": {{"name": "{name}", "version": {version}}}}}"#)
    };
    written(&folder, "run.json", &of("hmmu-run", 1));
    written(&folder, "graph.json", &of("hmmu-graph", 1));
    written(&folder, "later.json", &of("hmmu-run", 2));
    for b in ["graph.json", "later.json"] {
        let output = hmmu(&folder, &["compare", "run.json", b]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(
            said(&output).contains("run.json is of hmmu-run, version 1"),
            "{}",
            said(&output)
        );
    }
    // A file that does not say what it is can be compared with any.
    let output = hmmu(&folder, &["compare", "a.json", "run.json"]);
    assert!(output.status.success(), "{}", said(&output));
    for tolerance in ["-1", "nan", "x"] {
        let flag = format!("--tolerance={tolerance}");
        let output = hmmu(&folder, &["compare", "a.json", "a.json", &flag]);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
}

#[test]
fn what_can_be_run_is_listed() {
    let folder = folder("commands-list");
    let scenarios = scenarios().display().to_string();
    let output = hmmu(&folder, &["list", &scenarios]);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    for part in [
        "fork_cow.rhai",
        "anon_read.rhai",
        "fetch_add",
        "gups",
        "copy channels",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let output = hmmu(&folder, &["list", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("cannot read nowhere"),
        "{}",
        said(&output)
    );
}

#[test]
fn shells_get_their_completions() {
    let folder = folder("commands-completions");
    for shell in ["bash", "zsh", "fish"] {
        let output = hmmu(&folder, &["completions", shell]);
        assert!(output.status.success());
        assert!(said(&output).contains("explore"), "{shell}");
    }
}

#[test]
fn junit_tells_passed_failed_and_unusable() {
    let folder = folder("commands-junit");
    written(&folder, "good.rhai", "assert_eq(1, 1);");
    written(&folder, "fails.rhai", "assert_eq(1, 2);");
    written(&folder, "broken.rhai", "let = <&>;");
    let output = hmmu(
        &folder,
        &[
            "run",
            "good.rhai",
            "fails.rhai",
            "broken.rhai",
            "--backend",
            "model",
            "--junit",
            "out.xml",
        ],
    );
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let xml = std::fs::read_to_string(folder.join("out.xml")).expect("the results");
    assert!(
        xml.contains(r#"tests="3" skipped="0" errors="1" failures="1""#),
        "{xml}"
    );
    for name in ["good.rhai", "fails.rhai", "broken.rhai"] {
        assert!(xml.contains(&format!("name=\"{name}\"")), "{name}: {xml}");
    }
    let output = hmmu(
        &folder,
        &[
            "run",
            "good.rhai",
            "--backend",
            "model",
            "--junit",
            "no/out.xml",
        ],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("cannot write no/out.xml"),
        "{}",
        said(&output)
    );
}
