//! `hmmu bench mmu`: every workload in a short version, with its result checked; the figures it leaves.

use std::path::Path;

use serde_json::Value;

use crate::common::{folder, hmmu, said};

/// Runs `hmmu bench mmu` and gives back its tables and its figures.
fn bench(folder: &Path, args: &[&str]) -> (String, Value) {
    let mut all = vec!["bench", "mmu", "--size", "small", "--json", "figures.json"];
    all.extend(args);
    let output = hmmu(folder, &all);
    let said = said(&output);
    assert!(output.status.success(), "{args:?}: {said}");
    let json = std::fs::read_to_string(folder.join("figures.json")).expect("the figures");
    (said, serde_json::from_str(&json).expect("JSON"))
}

fn number(figures: &Value, path: &str) -> f64 {
    figures
        .pointer(path)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no figure {path} in {figures:#}"))
}

const WORKLOADS: [&str; 8] = [
    "chase",
    "bfs",
    "gups",
    "stream",
    "stride",
    "transpose",
    "hash_join",
    "histogram",
];

#[test]
fn the_model_runs_all_of_it() {
    let folder = folder("bench-model");
    let (said, figures) = bench(&folder, &["--backend", "model"]);
    for key in [
        "hit_per_cycle",
        "hit_latency",
        "hit_per_cycle_under_miss",
        "miss_latency",
        "miss_2m_latency",
        "neighbour_latency",
        "miss_stream_cycles",
        "reads_per_walk",
        "max_walks_in_flight",
        "invalidate_worst_cycles",
        "invalidate_bound_cycles",
        "faults_per_page",
        "harvest_cycles_per_page",
        "ideal_ratio",
        "other_context_throughput",
        "cycles_per_second",
    ] {
        assert!(figures.get(key).is_some(), "no {key} in {figures:#}");
    }
    for name in WORKLOADS {
        let share = number(&figures, &format!("/ideal_ratio/{name}"));
        assert!((0.01..=1.5).contains(&share), "{name}: {share}");
        for change in [
            "walkers_1",
            "walk_cache_off",
            "l2_off",
            "pages_64k",
            "pages_1g",
        ] {
            let share = number(&figures, &format!("/ablations/{change}/ideal_ratio/{name}"));
            assert!((0.01..=1.5).contains(&share), "{name}, {change}: {share}");
        }
        assert!(number(&figures, &format!("/workloads/{name}/counters/walks")) >= 0.0);
        assert!(said.contains(name), "{said}");
    }
    assert_eq!(number(&figures, "/faults_per_page"), 1.0);
    assert!(number(&figures, "/faults_storm/invalidations") > 0.0);
    assert!(number(&figures, "/other_context/records") > 0.0);
    assert!(number(&figures, "/invalidations") > 0.0);
    assert_eq!(figures["backend"], "model");
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let folder = folder("bench-seeds");
    let run = |args: &[&str]| {
        let mut all = vec![
            "--backend",
            "model",
            "--workload",
            "hash_join",
            "--workload",
            "bfs",
        ];
        all.extend(args);
        let (_, mut figures) = bench(&folder, &all);
        figures["cycles_per_second"] = Value::Null;
        figures
    };
    let first = run(&["--no-ablations"]);
    assert_eq!(first, run(&["--no-ablations"]));
    assert_ne!(first, run(&["--no-ablations", "--seed", "2"]));
    assert!(first["ideal_ratio"].get("chase").is_none());
    assert_eq!(first["faults_per_page"], Value::Null);
    assert_eq!(first["ablations"], serde_json::json!({}));
}

#[cfg(feature = "rtl")]
#[test]
fn the_verilated_device_has_every_figure() {
    let folder = folder("bench-rtl");
    let (said, figures) = bench(&folder, &["--no-ablations"]);
    assert_eq!(figures["backend"], "rtl");
    for name in WORKLOADS {
        let share = number(&figures, &format!("/ideal_ratio/{name}"));
        assert!((0.5..=1.3).contains(&share), "{name}: {share}: {said}");
        let rate = number(&figures, &format!("/workloads/{name}/l1_hit_rate"));
        assert!((0.0..=1.0).contains(&rate), "{name}: {rate}");
    }
    for key in [
        "hit_per_cycle",
        "hit_latency",
        "hit_per_cycle_under_miss",
        "miss_latency/100",
        "miss_2m_latency/1",
        "neighbour_latency/10",
        "miss_stream_cycles/50",
        "reads_per_walk",
        "max_walks_in_flight",
        "harvest_cycles_per_page/none",
        "harvest_cycles_per_page/all",
        "other_context_throughput",
        "cycles_per_second",
    ] {
        assert!(number(&figures, &format!("/{key}")) > 0.0, "{key}: {said}");
    }
    assert_eq!(number(&figures, "/faults_per_page"), 1.0, "{said}");
    assert!(number(&figures, "/faults_per_page_storm") <= 1.1, "{said}");
    let worst = number(&figures, "/invalidate_worst_cycles");
    assert!(worst > 0.0 && worst <= number(&figures, "/invalidate_bound_cycles"));
}

#[cfg(feature = "rtl")]
#[test]
fn limits_on_the_verilated_device_take_effect() {
    let folder = folder("bench-limits");
    let (said, figures) = bench(&folder, &["--workload", "stride"]);
    let counter =
        |of: &str, name: &str| number(&figures, &format!("{of}/workloads/stride/counters/{name}"));
    let off = "/ablations/l2_off";
    assert_eq!(counter(off, "l2_hits"), 0.0, "{said}");
    assert!(counter(off, "walks") > counter("", "walks"), "{said}");
    let off = "/ablations/walk_cache_off";
    assert!(counter(off, "walks") > 0.0, "{said}");
    assert_eq!(
        counter(off, "walk_reads"),
        4.0 * counter(off, "walks"),
        "{said}"
    );
}

fn fails(args: &[&str], status: i32, pieces: &[&str]) {
    let folder = folder(&format!("bench-bad-{}", args.join("-").replace('/', "_")));
    let mut all = vec!["bench"];
    all.extend(args);
    let output = hmmu(&folder, &all);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    for piece in pieces {
        assert!(said.contains(piece), "{args:?}: no {piece:?} in {said}");
    }
}

#[test]
fn what_cannot_be_done_is_said() {
    fails(&[], 2, &["mmu"]);
    fails(&["gpu"], 2, &["gpu"]);
    fails(&["mmu", "--workload", "sort"], 2, &["sort", "hash_join"]);
    fails(&["mmu", "--size", "huge"], 2, &["huge", "small"]);
    fails(
        &[
            "mmu",
            "--backend",
            "model",
            "--json",
            "no/such/folder/x.json",
        ],
        2,
        &["cannot write", "x.json"],
    );
    fails(
        &[
            "mmu",
            "--backend",
            "model",
            "--size",
            "small",
            "--max-cycles",
            "3000",
        ],
        1,
        &["cycle limit of 3000 cycles", "chase", "seed 1"],
    );
    if cfg!(not(feature = "rtl")) {
        fails(&["mmu"], 2, &["without the RTL backend"]);
    }
}
