//! `hmmu bench copy`: every figure of the contract is there, whoever the device is.

use serde_json::Value;

use crate::common::{folder, hmmu, said};

#[test]
fn the_model_runs_all_of_it() {
    let folder = folder("bench-copy-model");
    let args = [
        "bench",
        "copy",
        "--backend",
        "model",
        "--json",
        "figures.json",
    ];
    let output = hmmu(&folder, &args);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("both ways at once") && said.contains("no timing"),
        "{said}"
    );
    let json = std::fs::read_to_string(folder.join("figures.json")).expect("the figures");
    let figures: Value = serde_json::from_str(&json).expect("JSON");
    let lengths = ["64", "256", "1024", "4096", "65536"];
    let mut paths: Vec<String> = [
        "link_share/mps_256_completions_64/read",
        "both_directions_share/system_to_system",
        "latency_64B_read",
        "latency_64B_write",
        "descriptors_per_cycle",
        "translated_share/read",
        "translated_share/write",
        "migrate_link_share/faults",
        "migrate_link_share/far_faults",
        "migrate_link_share/request",
        "migrate_link_share/home_by_request",
        "round_trip_pages_per_ms/faults",
        "round_trip_pages_per_ms/request",
    ]
    .map(String::from)
    .to_vec();
    for len in lengths {
        for way in ["read", "write"] {
            for kind in ["aligned", "unaligned"] {
                paths.push(format!("{way}_bytes_per_cycle/{len}/{kind}"));
            }
        }
    }
    for mps in [128, 256, 512] {
        paths.extend(["read", "write"].map(|way| format!("link_share/mps_{mps}/{way}")));
    }
    paths.extend(["100", "500", "1000", "2000"].map(|l| format!("latency_tolerance/{l}")));
    for path in paths {
        let value = figures.pointer(&format!("/{path}")).and_then(Value::as_f64);
        assert!(
            value.is_some_and(f64::is_finite),
            "no figure {path} in {figures:#}"
        );
    }
}

#[test]
fn a_part_is_measured_by_itself() {
    let folder = folder("bench-copy-part");
    let args = ["bench", "copy", "--backend", "model", "--part", "start"];
    let output = hmmu(&folder, &args);
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("64 bytes read") && !said.contains("both ways at once"),
        "{said}"
    );
}

#[test]
fn a_run_that_is_too_long_fails() {
    let folder = folder("bench-copy-short");
    let args = [
        "bench",
        "copy",
        "--backend",
        "model",
        "--max-cycles",
        "5000",
    ];
    let output = hmmu(&folder, &args);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cycle limit"), "{said}");
}
