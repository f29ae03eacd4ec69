//! The copy channels' figures beside those of others and the targets.

use serde_json::{Map, Value, json};

use super::copy::{BothWays, CopyFigures, LinkShare, NARROW, Rate, WIDTH};
use super::migrate::MigrateFigures;
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
            rows: rows(machine, figures),
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
        say!(
            "peer: verilog-pcie, its share of its own data path's width; of migration: published drivers"
        );
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
        let link: Map<_, _> = figures
            .link
            .iter()
            .map(|share| {
                let value = json!({
                    "theory_bytes_per_cycle": { "read": share.theory[0], "write": share.theory[1] },
                    "read": share.share[0],
                    "write": share.share[1],
                });
                (key_of(share), value)
            })
            .collect();
        let pair = |pair: [f64; 2]| json!({ "read": pair[0], "write": pair[1] });
        let mut value = json!({
            "backend": self.machine.backend.name(),
            "link": self.machine.link.to_string(),
            "narrow_link": NARROW.to_string(),
            "channels": figures.channels,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        let mut set = |key: &str, figure: Option<Value>| {
            if let Some(figure) = figure {
                value[key] = figure;
            }
        };
        let [read, write] = figures.rates.as_ref().map_or([None, None], |both| {
            both.each_ref().map(|of| Some(rates(of)))
        });
        set("read_bytes_per_cycle", read);
        set("write_bytes_per_cycle", write);
        let both = figures.both_ways.map(
            |both| json!({ "system_to_system": both.system, "with_device_memory": both.vram }),
        );
        set("both_directions_share", both);
        set("latency_64B_read", figures.latency.map(|of| json!(of[0])));
        set("latency_64B_write", figures.latency.map(|of| json!(of[1])));
        let measured = |of: Map<String, Value>| (!of.is_empty()).then(|| of.into());
        set("latency_tolerance", measured(tolerance));
        set(
            "descriptors_per_cycle",
            figures.descriptors.map(|of| json!(of)),
        );
        set("translated_share", figures.translated.map(pair));
        set("link_share", measured(link));
        if let Some((moved, theory)) = &figures.migration {
            let share = json!({
                "theory_bytes_per_cycle": theory,
                "faults": moved.by_faults / theory,
                "far_faults": moved.by_far_faults / theory,
                "request": moved.by_request / theory,
                "home_by_request": moved.home_by_request / theory,
            });
            set("migrate_link_share", Some(share));
            let trips = json!({
                "faults": per_ms(self.machine, moved.round_trip),
                "request": per_ms(self.machine, moved.round_trip_by_request),
            });
            set("round_trip_pages_per_ms", Some(trips));
        }
        value
    }
}

/// What a million cycles bring, in a millisecond.
fn per_ms(machine: &MachineConfig, per_million: f64) -> f64 {
    per_million * machine.clock_hz as f64 / 1e9
}

/// The link's set-up, as a key.
fn key_of(share: &LinkShare) -> String {
    if share.completion == share.mps {
        format!("mps_{}", share.mps)
    } else {
        format!("mps_{}_completions_{}", share.mps, share.completion)
    }
}

/// The rows of a report.
struct Rows(Vec<Row>);

impl Rows {
    fn add(
        &mut self,
        key: &'static str,
        label: String,
        value: f64,
        digits: usize,
        peer: &'static str,
        target: Target,
    ) {
        self.0.push(Row {
            key,
            of: String::new(),
            label,
            value,
            digits,
            peers: ["-", "-", peer],
            target,
        });
    }

    fn rates(&mut self, key: &'static str, what: &str, rates: &[Rate]) {
        for rate in rates {
            let len = rate.len;
            let target = match len {
                256.. => Target::AtLeast(0.99),
                _ => Target::None,
            };
            let label = format!("{what}, {len} bytes, aligned, share of the width");
            self.add(key, label, rate.aligned / WIDTH, 3, "1.000", target);
            let peer = PEER_UNALIGNED.iter().find(|(of, _)| *of == len);
            let theory = (len as f64 / WIDTH) / (len as f64 / WIDTH + 1.0);
            let label = format!("{what}, {len} bytes, unaligned, share of the width");
            let target = match len {
                4096.. => Target::AtLeast(0.99 * theory),
                _ => Target::None,
            };
            let peer = peer.map_or("-", |(_, share)| share);
            self.add(key, label, rate.unaligned / WIDTH, 3, peer, target);
        }
    }

    fn both_ways(&mut self, both: BothWays) {
        let target = Target::AtLeast(0.96);
        for (label, share) in [
            (
                "both ways at once, system to system, share of width",
                both.system,
            ),
            ("the same, to and from device memory, each", both.vram),
        ] {
            self.add(
                "both_directions_share",
                label.into(),
                share,
                3,
                "0.966",
                target,
            );
        }
    }

    fn start(&mut self, latency: [f64; 2]) {
        for (key, label, cycles, peer) in [
            (
                "latency_64B_read",
                "64 bytes read, cycles beyond the round trip",
                latency[0],
                "11",
            ),
            (
                "latency_64B_write",
                "64 bytes written, cycles beyond the source's",
                latency[1],
                "13",
            ),
        ] {
            self.add(key, label.into(), cycles, 0, peer, Target::AtMost(16.0));
        }
    }

    fn tolerance(&mut self, tolerance: &[(u64, f64)]) {
        for (cycles, rate) in tolerance {
            let (peer, target) = match cycles {
                ..=1000 => ("1.000", Target::AtLeast(0.99)),
                _ => ("0.511", Target::None),
            };
            let label = format!("reads at a round trip of {cycles} cycles, share of the width");
            self.add("latency_tolerance", label, rate / WIDTH, 3, peer, target);
        }
    }

    fn link(&mut self, share: &LinkShare) {
        let (mps, completion) = (share.mps, share.completion);
        let target = Target::AtLeast(0.99);
        let label = format!("read, {NARROW}, completions of {completion}, share of theory");
        self.add("link_share", label, share.share[0], 3, "1.000", target);
        if completion == mps {
            let label = format!("write, {NARROW}, packets of {mps}, share of theory");
            self.add("link_share", label, share.share[1], 3, "1.000", target);
        }
    }

    fn migration(&mut self, moved: &MigrateFigures, theory: f64, per_ms: impl Fn(f64) -> f64) {
        let key = "migrate_link_share";
        for (label, rate, peer, target) in [
            (
                "to the device by faults, no prefetch",
                moved.by_faults,
                "0.07",
                0.5,
            ),
            (
                "the same, pages far apart",
                moved.by_far_faults,
                "0.07",
                0.5,
            ),
            (
                "16 MiB to the device by request",
                moved.by_request,
                "-",
                0.9,
            ),
            ("16 MiB home by request", moved.home_by_request, "-", 0.9),
        ] {
            let label = format!("{label}, share of {NARROW}");
            self.add(key, label, rate / theory, 3, peer, Target::AtLeast(target));
        }
        let key = "round_trip_pages_per_ms";
        for (label, trips) in [
            (
                "pages a ms there and home, by faults of both sides",
                moved.round_trip,
            ),
            (
                "pages a ms there and home, by request",
                moved.round_trip_by_request,
            ),
        ] {
            self.add(key, label.into(), per_ms(trips), 0, "-", Target::None);
        }
    }
}

fn rows(machine: &MachineConfig, figures: &CopyFigures) -> Vec<Row> {
    let mut rows = Rows(Vec::new());
    if let Some([read, write]) = &figures.rates {
        rows.rates("read_bytes_per_cycle", "read", read);
        rows.rates("write_bytes_per_cycle", "write", write);
    }
    for share in &figures.link {
        rows.link(share);
    }
    if let Some(both) = figures.both_ways {
        rows.both_ways(both);
    }
    if let Some(latency) = figures.latency {
        rows.start(latency);
    }
    rows.tolerance(&figures.tolerance);
    if let Some(rate) = figures.descriptors {
        let label = "copies of 64 bytes in device memory, per cycle".into();
        rows.add("descriptors_per_cycle", label, rate, 4, "-", Target::None);
    }
    if let Some(shares) = figures.translated {
        for (what, share) in ["read", "write"].into_iter().zip(shares) {
            let label = format!("{what}, virtual on both sides, share of physical");
            rows.add(
                "translated_share",
                label,
                share,
                3,
                "-",
                Target::AtLeast(0.98),
            );
        }
    }
    if let Some((moved, theory)) = &figures.migration {
        rows.migration(moved, *theory, |trips| per_ms(machine, trips));
    }
    rows.0
}
