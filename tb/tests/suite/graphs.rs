//! `hmmu graph`: the bundled graph, and random ones, with room in device memory and without.

use std::fmt::Write;
use std::path::Path;

use crate::common::{backends, folder, hmmu, said};
use hmmu::graph::read_text;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;
use serde_json::Value;

fn random_graph(edges: u32, seed: u64) -> String {
    let mut rng = Pcg32::seed_from_u64(seed);
    let vertices = (edges / 4).max(4);
    let mut text = String::from("# random\n");
    for _ in 0..edges {
        writeln!(
            text,
            "{}\t{}",
            rng.random_range(0..vertices),
            rng.random_range(0..vertices)
        )
        .expect("a line");
    }
    text
}

/// Runs `hmmu graph` and gives back its figures.
fn graph(folder: &Path, args: &[&str]) -> Value {
    let mut all = vec!["graph", "--json", "figures.json"];
    all.extend(args);
    let output = hmmu(folder, &all);
    let said = said(&output);
    assert!(output.status.success(), "{args:?}: {said}");
    assert!(said.contains("verified"), "{args:?}: {said}");
    let json = std::fs::read_to_string(folder.join("figures.json")).expect("the figures");
    serde_json::from_str(&json).expect("JSON")
}

fn figure(figures: &Value, name: &str) -> u64 {
    figures[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no figure {name} in {figures}"))
}

#[test]
fn random_graphs_are_searched() {
    let folder = folder("graphs-random");
    for backend in backends() {
        for edges in [10, 1_000, 20_000] {
            let name = format!("g{edges}.txt");
            std::fs::write(folder.join(&name), random_graph(edges, u64::from(edges)))
                .expect("a graph");
            let run = |args: &[&str]| {
                let mut all = vec![name.as_str(), "--backend", backend.name(), "--no-compare"];
                all.extend(args);
                graph(&folder, &all)
            };
            let large = run(&["--vram", "16M"]);
            assert_eq!(figure(&large, "edges"), u64::from(edges));
            assert!(figure(&large, "device_faults") > 0);
            assert!(figure(&large, "pages_migrated") > 0);
            // Hardly more than tables and programs fit: what does not is used where it is.
            let small = run(&["--vram", "128K"]);
            assert!(figure(&small, "pages_migrated") < 32, "{edges} edges");
            assert_eq!(figure(&small, "reached"), figure(&large, "reached"));
            if edges == 20_000 {
                assert!(figure(&small, "heap_bytes") > figure(&small, "vram_bytes"));
                assert!(
                    figure(&small, "link_bytes_to_device") > figure(&large, "link_bytes_to_device")
                );
            }
        }
    }
}

#[test]
fn the_bundled_graph_is_searched_and_compared() {
    let folder = folder("graphs-bundled");
    for backend in backends() {
        let figures = graph(&folder, &["--backend", backend.name()]);
        assert!(figure(&figures, "vertices") > 100);
        assert!(figure(&figures, "reached") > 10);
        for name in [
            "cycles",
            "fault_rounds",
            "walks",
            "link_bytes_to_device",
            "link_bytes_to_host",
        ] {
            assert!(figure(&figures, name) > 0, "{name}");
        }
        for name in [
            "cycles",
            "link_bytes_to_device",
            "link_bytes_to_host",
            "flattened_bytes",
        ] {
            assert!(figure(&figures["old_way"], name) > 0, "{name}");
        }
        let again = graph(&folder, &["--backend", backend.name()]);
        for (name, value) in figures.as_object().expect("an object") {
            if !name.starts_with("wall") {
                assert_eq!(value, &again[name.as_str()], "{}: {name}", backend.name());
            }
        }
        let remote = graph(
            &folder,
            &["--backend", backend.name(), "--policy", "remote"],
        );
        assert_eq!(figure(&remote, "pages_migrated"), 0);
        assert_eq!(figure(&remote, "reached"), figure(&figures, "reached"));
    }
}

#[test]
fn both_formats_are_read() {
    let list = read_text(Path::new("list"), "# c\n5 9\n\n9 5\n9\t7\r\n").expect("an edge list");
    assert_eq!(list.ids, [5, 7, 9]);
    assert_eq!(list.edges, [(0, 2), (2, 0), (2, 1)]);
    let general = "%%MatrixMarket matrix coordinate real general\n% c\n3 3 2\n1 2 0.5\n3 3 -1e3\n";
    let general = read_text(Path::new("m"), general).expect("a matrix");
    assert_eq!(general.ids, [1, 2, 3]);
    assert_eq!(general.edges, [(0, 1), (2, 2)]);
    let symmetric = "%%MatrixMarket MATRIX coordinate pattern symmetric\n3 3 2\n2 1\n3 3\n";
    let symmetric = read_text(Path::new("m"), symmetric).expect("a matrix");
    assert_eq!(symmetric.edges, [(1, 0), (0, 1), (2, 2)]);
}

#[test]
fn roots_and_distances() {
    let graph = read_text(Path::new("g"), "0 1\n1 2\n2 0\n1 3\n7 7\n").expect("a graph");
    assert_eq!(graph.busiest(), 1);
    assert_eq!(graph.distances(0), [0, 1, 2, 2, u64::MAX]);
    let folder = folder("graphs-root");
    std::fs::write(folder.join("g.txt"), "0 1\n1 2\n2 0\n1 3\n7 7\n").expect("a graph");
    let from_seven = self::graph(&folder, &["g.txt", "--backend", "model", "--root", "7"]);
    assert_eq!(figure(&from_seven, "reached"), 1);
    assert_eq!(figure(&from_seven, "depth"), 0);
}
