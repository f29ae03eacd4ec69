//! `hmmu compare`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::cli::{FAILED, unusable};
use crate::{complain, say, schema};

/// Arguments of `hmmu compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Figures of one run, as `--json` writes them.
    #[arg(value_name = "A.json")]
    a: PathBuf,
    /// Figures of the other run.
    #[arg(value_name = "B.json")]
    b: PathBuf,
    /// Shows figures that are the same too.
    #[arg(long)]
    all: bool,
    /// Fails if a figure of B is more than this share of A's away from it, or is there in one file only. The seed,
    /// texts and what the wall clock measures do not count.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    tolerance: Option<f64>,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number".to_string())?;
    if number.is_finite() && number >= 0.0 {
        Ok(number)
    } else {
        Err("expected a number from 0 on".into())
    }
}

/// What tells nothing of the device: what the simulating computer decides over, and what was asked for.
const UNJUDGED: [&str; 3] = ["wall_seconds", "cycles_per_second", "seed"];

/// A figure that is not the same in both.
#[derive(Debug, PartialEq)]
enum Row<'a> {
    /// Numbers, and B as a multiple of A.
    Numbers(f64, f64, f64),
    /// Other values.
    Values(&'a Value, &'a Value),
    /// Only in A.
    Gone(&'a Value),
    /// Only in B.
    New(&'a Value),
}

impl Row<'_> {
    /// Is it further apart than this share?
    fn beyond(&self, percent: f64) -> bool {
        match self {
            Self::Numbers(a, b, _) => (b - a).abs() > a.abs() * percent / 100.0,
            Self::Values(a, b) => a != b,
            Self::Gone(_) | Self::New(_) => true,
        }
    }

    /// Texts (names, hashes of logs) are shown only.
    fn is_text(&self) -> bool {
        matches!(self, Self::Values(Value::String(_), Value::String(_)))
    }
}

/// Compares two files of figures; the exit status.
#[must_use]
pub fn run(args: &CompareArgs) -> u8 {
    let (a, b) = match (load(&args.a), load(&args.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(text), _) | (_, Err(text)) => return unusable(&text),
    };
    if let (Some(of_a), Some(of_b)) = (schema::told(&a), schema::told(&b))
        && of_a != of_b
    {
        return unusable(&format!(
            "{} is of {}, version {}, {} of {}, version {}: figures of the same name may not mean the same",
            args.a.display(),
            of_a.0,
            of_a.1,
            args.b.display(),
            of_b.0,
            of_b.1
        ));
    }
    let (a, b) = (leaves(&a), leaves(&b));
    if a.keys().all(|key| !b.contains_key(key)) {
        return unusable(&format!(
            "{} and {} have no figure in common",
            args.a.display(),
            args.b.display()
        ));
    }
    let mut beyond = 0;
    let mut shown = 0;
    for (path, row) in rows(&a, &b) {
        let judged = !UNJUDGED.iter().any(|name| path.ends_with(name));
        let bad =
            judged && !row.is_text() && args.tolerance.is_some_and(|percent| row.beyond(percent));
        beyond += u32::from(bad);
        if args.all || row.beyond(0.0) {
            shown += 1;
            show(&path, &row, bad);
        }
    }
    if shown == 0 {
        say!("no difference in {} figures", a.len());
    }
    if beyond > 0 {
        complain!(
            "hmmu: {beyond} figures are further apart than {} %",
            args.tolerance.unwrap_or(0.0)
        );
        return FAILED;
    }
    0
}

fn load(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Every value that holds no others, by its path.
fn leaves(value: &Value) -> BTreeMap<String, &Value> {
    fn add<'a>(path: String, value: &'a Value, into: &mut BTreeMap<String, &'a Value>) {
        let below = |name: &str| {
            if path.is_empty() {
                name.to_string()
            } else {
                format!("{path}.{name}")
            }
        };
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    add(below(name), value, into);
                }
            }
            Value::Array(values) => {
                for (at, value) in values.iter().enumerate() {
                    add(below(&at.to_string()), value, into);
                }
            }
            _ => {
                into.insert(path, value);
            }
        }
    }
    let mut into = BTreeMap::new();
    add(String::new(), value, &mut into);
    into
}

fn rows<'a>(
    a: &BTreeMap<String, &'a Value>,
    b: &BTreeMap<String, &'a Value>,
) -> Vec<(String, Row<'a>)> {
    let mut paths: Vec<&String> = a.keys().chain(b.keys()).collect();
    paths.sort();
    paths.dedup();
    let row = |path: &String| match (a.get(path), b.get(path)) {
        (Some(a), Some(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(x), Some(y)) => Some(Row::Numbers(x, y, y / x)),
            _ => Some(Row::Values(a, b)),
        },
        (Some(a), None) => Some(Row::Gone(a)),
        (None, Some(b)) => Some(Row::New(b)),
        (None, None) => None,
    };
    paths
        .into_iter()
        .filter_map(|path| Some((path.clone(), row(path)?)))
        .collect()
}

fn show(path: &str, row: &Row, bad: bool) {
    let mark = if bad { "  <" } else { "" };
    match row {
        Row::Numbers(a, b, ratio) if ratio.is_finite() => {
            say!("{path:<48} {a:>14} {b:>14} {ratio:>8.3}{mark}");
        }
        Row::Numbers(a, b, _) => say!("{path:<48} {a:>14} {b:>14} {:>8}{mark}", "-"),
        Row::Values(a, b) => say!("{path:<48} {a:>14} {b:>14}{mark}"),
        Row::Gone(a) => say!("{path:<48} {a:>14} {:>14}{mark}", "-"),
        Row::New(b) => say!("{path:<48} {:>14} {b:>14}{mark}", "-"),
    }
}
