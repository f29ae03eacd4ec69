//! `hmmu explore`: finds a seeded race, shrinks it, replays it; and every race scenario under some schedules.

use std::path::{Path, PathBuf};

use crate::common::{folder, hmmu, said, scenarios};
use hmmu::explore::{Outcome, Plan, Strategies, first_failure};
use hmmu::machine::{Backend, MachineConfig};
use hmmu::run_cmd::each_variant;
use hmmu::schedule_args::{DEPTH, length};
use hmmu::script::{Script, run_script};
use hmmu::world::Outputs;
use serde_json::Value;

/// Two threads add to one word without a lock.
const LOST_UPDATE: &str = r#"machine(#{ram: MIB, vram: MIB});
let p = process();
let a = p.mmap(PAGE, "rw");
p.store(a, 0);
fn add(p, a) { for k in 0..2 { let v = p.load(a); p.store(a, v + 1); } }
let one = start(|| add(p, a));
let two = start(|| add(p, a));
one.join();
two.join();
assert_eq(p.load(a), 4);
print("never shown");
"#;

/// A folder with one script, `s.rhai`.
fn with_script(name: &str, text: &str) -> PathBuf {
    let folder = folder(name);
    std::fs::write(folder.join("s.rhai"), text).expect("the script is written");
    folder
}

/// The arguments that `hmmu` prints for a replay, the n-th such line.
fn command(said: &str, n: usize) -> Vec<String> {
    let mut lines = said.lines().filter_map(|line| line.strip_prefix("  hmmu "));
    let line = lines.nth(n);
    let line = line.unwrap_or_else(|| panic!("no command {n} in {said}"));
    line.split(' ').map(str::to_string).collect()
}

fn run(folder: &Path, args: &[&str], status: i32) -> String {
    let output = hmmu(folder, args);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
    said
}

#[test]
fn a_lost_update_is_found_shrunk_and_replayed() {
    let folder = with_script("explore-lost", LOST_UPDATE);
    let explore = |jobs: &str, out: &str| {
        let args = [
            "explore", "s.rhai", "--seeds", "500", "--jobs", jobs, "--out", out, "--json", "j.json",
        ];
        run(&folder, &args, 1)
    };
    let text = explore("1", "a.json");
    assert_eq!(text, explore("1", "b.json"), "a second run says the same");
    assert_eq!(text, explore("2", "c.json"), "two jobs say the same");
    for piece in [
        "s.rhai: FAILED in schedule ",
        "s.rhai:10: assert_eq: ",
        "\"thread 1 of line 6\"",
        "gives way to",
    ] {
        assert!(text.contains(piece), "no {piece:?} in {text}");
    }
    assert!(!text.contains("never shown"), "{text}");

    // By the seed, by the shrunk list, and by the file.
    for n in [0, 1] {
        let args = command(&text, n);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let replayed = run(&folder, &args, 1);
        assert!(replayed.contains(" is not 4"), "{replayed}");
    }
    let json = |name: &str| -> Value {
        let text = std::fs::read_to_string(folder.join(name)).expect("a file of explore");
        serde_json::from_str(&text).expect("JSON")
    };
    let shrunk = json("a.json");
    let preemptions = shrunk["preemptions"].as_u64().expect("a number");
    assert!(preemptions <= 3, "{shrunk:#}");
    let seed = shrunk["seed"].to_string();
    let by_file = ["run", "s.rhai", "--backend", "model", "--seed", &seed];
    let replayed = run(
        &folder,
        &[&by_file[..], &["--schedule", "a.json"]].concat(),
        1,
    );
    assert!(replayed.contains(" is not 4"), "{replayed}");
    let usual = run(
        &folder,
        &[&by_file[..], &["--schedule", "none"]].concat(),
        0,
    );
    assert!(usual.contains("1 passed"), "{usual}");

    let report = &json("j.json")["scripts"][0];
    assert_eq!(report["failure"]["seed"], shrunk["seed"]);
    assert_eq!(report["failure"]["shrunk"]["schedule"], shrunk["schedule"]);
    assert!(report["schedules_per_second"].as_f64().expect("a rate") > 0.0);
}

#[test]
fn what_does_not_fail_says_so_and_what_does_not_end_fails() {
    let folder = with_script("explore-clean", "let p = process();\np.exit();\n");
    let text = run(
        &folder,
        &["explore", "s.rhai", "--seeds", "20", "--jobs", "2"],
        0,
    );
    assert!(
        text.contains("s.rhai: 20 schedules, none failed ("),
        "{text}"
    );
    let endless = "let p = process();\nlet a = p.mmap(PAGE, \"rw\");\nloop { p.load(a); }\n";
    let folder = with_script("explore-endless", endless);
    let args = [
        "explore",
        "s.rhai",
        "--seeds",
        "4",
        "--max-points",
        "20000",
        "--length",
        "100",
    ];
    let text = run(&folder, &args, 1);
    for piece in [
        "no end after 20000 scheduling points",
        "it fails without any preemption",
        "--schedule none --max-points 20000",
    ] {
        assert!(text.contains(piece), "no {piece:?} in {text}");
    }
}

#[test]
fn input_that_cannot_be_used() {
    let folder = with_script("explore-bad", "let x = ;\n");
    let bad = |args: &[&str], piece: &str| {
        let text = run(&folder, args, 2);
        assert!(text.contains(piece), "{args:?}: no {piece:?} in {text}");
        assert!(!text.contains("panicked"), "{text}");
    };
    bad(&["explore"], "SCRIPT");
    bad(&["explore", "none.rhai"], "no script none.rhai");
    bad(&["explore", "s.rhai"], "s.rhai:1");
    std::fs::write(folder.join("s.rhai"), "let x = 1;\n").expect("a script");
    bad(&["explore", "s.rhai", "--seeds", "0"], "--seeds");
    bad(&["explore", "s.rhai", "--jobs", "0"], "--jobs");
    bad(&["explore", "s.rhai", "--strategy", "luck"], "luck");
    bad(
        &["explore", "s.rhai", "--first", "18446744073709551615"],
        "beyond the last seed",
    );
    bad(
        &["explore", "s.rhai", "--out", "no/such/x.json"],
        "cannot write",
    );
    #[cfg(not(feature = "rtl"))]
    bad(
        &["explore", "s.rhai", "--backend", "rtl"],
        "without the RTL",
    );
    let run = |schedule: &str, piece: &str| {
        let args = [
            "run",
            "s.rhai",
            "--backend",
            "model",
            "--schedule",
            schedule,
        ];
        bad(&args, piece);
    };
    run("3p5", "\"3p5\" is no scheduling decision");
    run("s.rhai", "s.rhai: no schedule");
    std::fs::write(folder.join("x.json"), "{\"schedule\": 5}\n").expect("a file");
    run("x.json", "expected an object with a text \"schedule\"");
    let both = ["run", "s.rhai", "--schedule", "none", "--strategy", "pct"];
    bad(&both, "cannot be used with");
}

#[test]
fn pct_replays_by_its_seed() {
    let folder = folder("explore-pct");
    let script = scenarios().join("races/fault_munmap.rhai");
    let script = script.to_str().expect("a path in UTF-8");
    let log = |name: &str, length: &[&str]| {
        let args = ["run", script, "--backend", "model", "--seed", "6"];
        let pct = ["--strategy", "pct", "--depth", "4", "--log", name];
        hmmu(&folder, &[&args[..], &pct, length].concat());
        std::fs::read_to_string(folder.join(name)).expect("a log")
    };
    let first = log("a.log", &[]);
    assert!(first.lines().count() > 20, "{first}");
    assert_eq!(first, log("b.log", &[]));
    // One length more or less may put the changes where they make no difference.
    let others = ["7", "20", "50", "120"].map(|length| log("c.log", &["--length", length]));
    assert!(others.iter().any(|other| *other != first), "{first}");
}

/// Every script under a few schedules; `hmmu explore` runs them under thousands.
#[test]
fn the_race_scenarios_pass_under_some_schedules() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(scenarios().join("races"))
        .expect("the races are there")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 20, "{files:?}");
    let outputs = Outputs {
        quiet: true,
        ..Outputs::default()
    };
    let mut failed = Vec::new();
    for (file, variant) in each_variant(files, None).expect("variants") {
        let script = Script::load(&file).expect("a script").as_variant(variant);
        let usual = length(&script, &MachineConfig::new(Backend::Model, 0), &outputs);
        let plan = Plan {
            strategies: Strategies::Both,
            depth: DEPTH,
            length: usual,
            most_points: 2_000_000,
        };
        let run = |seed| {
            let machine = MachineConfig::new(Backend::Model, seed);
            let (result, recording) = run_script(&script, &machine, &outputs, &plan.schedule(seed));
            Outcome {
                error: result.error,
                unusable: result.unusable,
                recording,
            }
        };
        let batch = first_failure(1..7, 2, run, || {});
        failed.extend(batch.failure.and_then(|failure| failure.outcome.error));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
