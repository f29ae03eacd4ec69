//! `--report` and `--json`: the page's figures are the file's, and the file's keys are those of docs/results.md.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{backends, folder, hmmu, said};
use serde_json::Value;

/// Faults, moves there and back, an invalidation.
const SCRIPT: &str = r#"
let p = process();
let a = p.mmap(16 * PAGE, "rw");
let d = p.open(0);
p.fill(a, 16 * PAGE, 1);
d.store(a + 9 * PAGE, 7);
assert_eq(d.migrate_to_device(a, 4 * PAGE), 4);
assert_eq(d.load(a), 1);
p.load(a, 8);
"#;

/// Runs hmmu with both files; the figures and the page.
fn run(folder: &Path, args: &[&str], passes: bool) -> (Value, String) {
    std::fs::write(folder.join("s.rhai"), SCRIPT).expect("a script");
    std::fs::write(
        folder.join("bad.rhai"),
        format!("{SCRIPT}\nassert_eq(1, 2);"),
    )
    .expect("a script");
    let mut all = args.to_vec();
    all.extend(["--json", "run.json", "--report", "run.html"]);
    let output = hmmu(folder, &all);
    assert_eq!(output.status.success(), passes, "{}", said(&output));
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
    let figures = serde_json::from_str(&text("run.json")).expect("JSON");
    (figures, text("run.html"))
}

/// Key, value and shown text of each figure of a page.
fn data(page: &str) -> Vec<(String, String, String)> {
    let plain = |text: &str| {
        let text = text.replace("&lt;", "<").replace("&gt;", ">");
        text.replace("&quot;", "\"").replace("&amp;", "&")
    };
    let mut parts = page.split("<data value=\"");
    parts.next();
    parts
        .map(|part| {
            let (value, rest) = part.split_once("\" data-key=\"").expect("a key");
            let (key, rest) = rest.split_once("\">").expect("the element's end");
            let (shown, _) = rest.split_once("</data>").expect("its end");
            (plain(key), plain(value), plain(shown))
        })
        .collect()
}

fn at<'a>(all: &'a Value, key: &str) -> &'a Value {
    key.split('.').fold(all, |value, part| match value {
        Value::Array(values) => &values[part.parse::<usize>().expect("a number")],
        other => &other[part],
    })
}

/// Every tag of the page has its end, in order.
fn check_tags(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in page.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("a tag's end");
        let name = tag.split([' ', '\n']).next().expect("a name");
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !["!DOCTYPE", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

fn check_page(figures: &Value, page: &str) {
    let data = data(page);
    assert!(data.len() > 60, "{} figures", data.len());
    for (key, value, shown) in &data {
        let want = at(figures, key);
        match want {
            Value::String(text) => assert_eq!((value, shown), (text, text), "{key}"),
            // The file's text is exact, what is parsed out of it may be off by the last bit.
            other if other.is_f64() => {
                let (shown, want) = (value.parse::<f64>().ok(), other.as_f64());
                let off = shown.zip(want).map(|(a, b)| (a - b).abs());
                assert!(
                    off.is_some_and(|off| off < 1e-12),
                    "{key}: {value}, {other}"
                );
            }
            other => assert_eq!(*value, other.to_string(), "{key}"),
        }
        if want.is_u64() && !shown.contains('%') {
            let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
            assert_eq!(digits, *value, "{key} is shown as {shown}");
        }
    }
    check_tags(page);
    for part in [
        "faults",
        "timeline",
        "residency",
        "traffic",
        "rates",
        "configuration",
        "counters",
    ] {
        assert!(page.contains(&format!("<section id=\"{part}\"")), "{part}");
    }
    // Nothing from elsewhere, and nothing that runs.
    for foreign in ["<script", "http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf\""));
}

#[test]
fn the_page_shows_the_figures_of_the_file() {
    for backend in backends() {
        let folder = folder(&format!("report-{}", backend.name()));
        let backend = ["--backend", backend.name()];
        let (figures, page) = run(&folder, &[&["run", "s.rhai"][..], &backend].concat(), true);
        check_page(&figures, &page);
        assert!(page.contains("class=\"device0\""), "pages in device memory");
        let explained = &figures["scenarios"][0]["explained"];
        assert!(explained["faults"]["served"].as_u64() > Some(0));
        assert!(explained["residency"]["device_share"].as_f64() > Some(0.0));
        assert_eq!(explained["residency"]["pages"], 16);
        let command = figures["command"].as_str().expect("a command");
        assert!(command.ends_with(" --seed 1"), "{command}");

        let (figures, page) = run(&folder, &[&["graph"][..], &backend].concat(), true);
        check_page(&figures, &page);
        assert!(page.contains("<section id=\"comparison\""));
    }
}

#[test]
fn a_failed_run_has_its_page() {
    let folder = folder("report-failed");
    let (figures, page) = run(&folder, &["run", "bad.rhai", "--backend", "model"], false);
    check_page(&figures, &page);
    assert!(page.contains("<span class=\"bad\">failed</span>"));
    assert!(page.contains("bad.rhai:"));
}

#[test]
fn a_page_is_of_one_run() {
    let folder = folder("report-two");
    std::fs::write(folder.join("s.rhai"), SCRIPT).expect("a script");
    let twice = [
        "run",
        "s.rhai",
        "s.rhai",
        "--backend",
        "model",
        "--report",
        "r.html",
    ];
    let output = hmmu(&folder, &twice);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("--report take one run"),
        "{}",
        said(&output)
    );
}

/// The keys of a value as docs/results.md writes them; what counts things by name is told with a star.
fn keys(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    const NAMED: [&str; 3] = ["stats", "explained.faults.stages", "other_devices[]"];
    match value {
        Value::Object(fields) => {
            let named = NAMED
                .iter()
                .any(|name| path == *name || path.ends_with(&format!(".{name}")));
            for (name, value) in fields {
                let name = if named { "*" } else { name };
                let below = if path.is_empty() {
                    name.to_string()
                } else {
                    format!("{path}.{name}")
                };
                keys(value, &below, into);
            }
        }
        Value::Array(values) => {
            for value in values {
                keys(value, &format!("{path}[]"), into);
            }
        }
        _ => {
            into.insert(path.to_string());
        }
    }
}

/// The keys in the tables under a heading of docs/results.md.
fn documented(heading: &str) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/results.md");
    let text = std::fs::read_to_string(file).expect("docs/results.md");
    let mut sections = text.split("\n## ");
    let section = sections
        .find(|section| section.starts_with(heading))
        .expect("the section");
    let lines = section.lines().filter_map(|line| line.strip_prefix("| `"));
    lines
        .map(|line| line.split('`').next().expect("a key").to_string())
        .collect()
}

#[test]
fn documented_keys_are_written_keys() {
    let folder = folder("report-keys");
    let common = documented("Keys of every run");
    for (args, heading, under) in [
        (vec!["run", "s.rhai"], "`hmmu run`", "scenarios[]."),
        (vec!["graph"], "`hmmu graph`", ""),
    ] {
        let (figures, _) = run(
            &folder,
            &[&args[..], &["--backend", "model"]].concat(),
            true,
        );
        let mut written = BTreeSet::new();
        keys(&figures, "", &mut written);
        let mut told = documented(heading);
        told.extend(common.iter().map(|key| format!("{under}{key}")));
        told.extend(documented("Keys of every file"));
        let missing: Vec<_> = written.difference(&told).collect();
        let gone: Vec<_> = told.difference(&written).collect();
        assert!(
            missing.is_empty() && gone.is_empty(),
            "{heading}: not told {missing:?}, not written {gone:?}"
        );
    }
}
