//! The copy channels' figures beside those of others and the targets.

use serde_json::{Map, Value, json};

use super::copy::{CopyFigures, Rate, WIDTH};
use super::row::{Row, Target};
use crate::machine::{Backend, MachineConfig};
use crate::say;

/// What a peer's engine moves of its width, by length: unaligned by 13 and 5 bytes (64, 256, 1024, 4096).
const PEER_UNALIGNED: [(u64, &str); 4] = [
    (64, "0.667"),
    (256, "0.889"),
    (1024, "0.970"),
    (4096, "0.992"),
];

/// The figures, to be shown.
pub struct CopyReport<'a> {
    machine: &'a MachineConfig,
    figures: &'a CopyFigures,
    rows: Vec<Row>,
}

impl<'a> CopyReport<'a> {
    /// A report of figures.
    #[must_use]
    pub fn new(machine: &'a MachineConfig, figures: &'a CopyFigures) -> Self {
        Self {
            machine,
            figures,
            rows: rows(figures),
        }
    }

    /// Writes the table to standard output.
    pub fn print(&self) {
        let figures = self.figures;
        say!(
            "machine      {}: {} copy channels, data path of {WIDTH:.0} bytes a cycle, link {}",
            self.machine.backend.name(),
            figures.channels,
            self.machine.link
        );
        if self.machine.backend == Backend::Model {
            say!(
                "             the functional model has no timing: its cycles say nothing about the device"
            );
        }
        say!("");
        say!(
            "figure                                                    measured        peer     target  met"
        );
        for row in &self.rows {
            say!("{}", row.beside_one());
        }
        say!("");
        say!("peer: verilog-pcie, its share of its own data path's width");
    }

    /// Every figure, by key.
    #[must_use]
    pub fn json(&self) -> Value {
        let figures = self.figures;
        let rates = |rates: &[Rate]| -> Value {
            let one = |rate: &Rate| {
                let value = json!({ "aligned": rate.aligned, "unaligned": rate.unaligned });
                (rate.len.to_string(), value)
            };
            rates.iter().map(one).collect::<Map<_, _>>().into()
        };
        let tolerance: Map<_, _> = figures
            .tolerance
            .iter()
            .map(|(cycles, rate)| (cycles.to_string(), json!(rate)))
            .collect();
        json!({
            "backend": self.machine.backend.name(),
            "link": self.machine.link.to_string(),
            "channels": figures.channels,
            "read_bytes_per_cycle": rates(&figures.read),
            "write_bytes_per_cycle": rates(&figures.write),
            "link_share": {
                "link": figures.link.to_string(),
                "theory_bytes_per_cycle": figures.theory,
                "read": figures.link_share[0],
                "write": figures.link_share[1],
            },
            "both_directions_share": {
                "system_to_system": figures.both_ways,
                "with_device_memory": figures.both_ways_vram,
            },
            "latency_64B_read": figures.latency[0],
            "latency_64B_write": figures.latency[1],
            "latency_tolerance": tolerance,
            "descriptors_per_cycle": figures.descriptors,
            "translated_share": { "read": figures.translated[0], "write": figures.translated[1] },
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }
}

fn rows(figures: &CopyFigures) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row = |key, label: String, value, digits, peer: &'static str, target| {
        rows.push(Row {
            key,
            of: String::new(),
            label,
            value,
            digits,
            peers: ["-", "-", peer],
            target,
        });
    };
    for (key, what, rates) in [
        ("read_bytes_per_cycle", "read", &figures.read),
        ("write_bytes_per_cycle", "write", &figures.write),
    ] {
        for rate in rates {
            let target = match rate.len {
                256.. => Target::AtLeast(0.99),
                _ => Target::None,
            };
            row(
                key,
                format!("{what}, {} bytes, aligned, share of the width", rate.len),
                rate.aligned / WIDTH,
                3,
                "1.000",
                target,
            );
            let peer = PEER_UNALIGNED.iter().find(|(len, _)| *len == rate.len);
            let theory = (rate.len as f64 / WIDTH) / (rate.len as f64 / WIDTH + 1.0);
            row(
                key,
                format!("{what}, {} bytes, unaligned, share of the width", rate.len),
                rate.unaligned / WIDTH,
                3,
                peer.map_or("-", |(_, share)| share),
                match rate.len {
                    4096.. => Target::AtLeast(0.99 * theory),
                    _ => Target::None,
                },
            );
        }
    }
    for (what, share) in ["read", "write"].into_iter().zip(figures.link_share) {
        row(
            "link_share",
            format!("{what}, {}, share of its theory", figures.link),
            share,
            3,
            "1.000",
            Target::AtLeast(0.99),
        );
    }
    row(
        "both_directions_share",
        "both ways at once, system to system, share of the width".into(),
        figures.both_ways,
        3,
        "0.966",
        Target::AtLeast(0.96),
    );
    row(
        "both_directions_share",
        "the same with device memory (one port), each".into(),
        figures.both_ways_vram[0],
        3,
        "0.966",
        Target::AtLeast(0.96),
    );
    row(
        "latency_64B_read",
        "64 bytes read, cycles beyond the round trip".into(),
        figures.latency[0],
        0,
        "11",
        Target::AtMost(16.0),
    );
    row(
        "latency_64B_write",
        "64 bytes written, cycles".into(),
        figures.latency[1],
        0,
        "13",
        Target::AtMost(16.0),
    );
    for (cycles, rate) in &figures.tolerance {
        row(
            "latency_tolerance",
            format!("reads at a round trip of {cycles} cycles, share of the width"),
            rate / WIDTH,
            3,
            match cycles {
                2000 => "0.511",
                _ => "1.000",
            },
            match cycles {
                ..=1000 => Target::AtLeast(0.99),
                _ => Target::None,
            },
        );
    }
    row(
        "descriptors_per_cycle",
        "copies of 64 bytes in device memory, per cycle".into(),
        figures.descriptors,
        4,
        "-",
        Target::None,
    );
    for (what, share) in ["read", "write"].into_iter().zip(figures.translated) {
        row(
            "translated_share",
            format!("{what}, virtual on both sides, share of physical"),
            share,
            3,
            "-",
            Target::AtLeast(0.98),
        );
    }
    rows
}
