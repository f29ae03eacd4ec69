//! The figures beside those of others and the targets: as tables, and as JSON.

use hmmu_regs::Counter;
use serde_json::{Map, Value, json};

use super::block::Block;
use super::measure::Measured;
use super::row::{NO_PEER, Row, Target};
use super::suite::{Plan, Results};
use crate::machine::Backend;
use crate::say;

const SHARE: f64 = 0.98;
const OTHERS: f64 = 0.9;
const SPEED: f64 = 300_000.0;

/// Results, to be shown.
pub struct Report<'a> {
    plan: &'a Plan,
    results: &'a Results,
    rows: Vec<Row>,
}

impl<'a> Report<'a> {
    /// A report of a run.
    #[must_use]
    pub fn new(plan: &'a Plan, results: &'a Results) -> Self {
        let mut rows = results.block.as_ref().map_or(Vec::new(), Block::rows);
        event_rows(results, &mut rows);
        for pair in &results.pairs {
            rows.push(Row {
                key: "ideal_ratio",
                of: pair.workload.name.into(),
                label: format!("share of the ideal MMU, {}", pair.workload.name),
                value: pair.share(),
                digits: 3,
                peers: ["-", "-", "0.98 [1]"],
                target: Target::AtLeast(SHARE),
            });
        }
        if plan.machine.backend == Backend::Rtl
            && let Some(speed) = results.cycles_per_second()
        {
            rows.push(Row {
                key: "cycles_per_second",
                of: String::new(),
                label: "simulated cycles per second".into(),
                value: speed,
                digits: 0,
                peers: ["-", "-", "272000 [2]"],
                target: Target::AtLeast(SPEED),
            });
        }
        Self {
            plan,
            results,
            rows,
        }
    }

    /// Writes the tables to standard output.
    pub fn print(&self) {
        let (plan, caps) = (self.plan, self.results.caps);
        say!(
            "machine      {}: {} compute units of {} warps, {} walkers, L2 TLB with {} sets, {} parked faults",
            plan.machine.backend.name(),
            caps.units,
            caps.warps,
            caps.walkers,
            caps.l2_sets,
            caps.faults
        );
        say!(
            "workloads    size {}, seed {}, pages resident and touched beforehand, a thread for each warp",
            plan.size.name(),
            plan.machine.seed
        );
        if plan.machine.backend == Backend::Model {
            say!(
                "             the functional model has no timing: its cycles say nothing about the device"
            );
        }
        say!("");
        self.print_rows();
        say!("");
        self.print_workloads();
        if !self.results.ablations.is_empty() {
            say!("");
            self.print_ablations();
        }
    }

    fn print_rows(&self) {
        say!("{}", Row::HEAD);
        for row in &self.rows {
            say!("{row}");
        }
        say!("[1] published, Power et al., HPCA'14   [2] Nyuzi, one core   [3] published, UVM");
    }

    fn print_workloads(&self) {
        say!(
            "{:<11} {:>6} {:>10} {:>10} {:>6} {:>7} {:>7} {:>8} {:>6} {:>8}  {}",
            "workload",
            "pages",
            "ideal",
            "cycles",
            "share",
            "L1 %",
            "L2 %",
            "walks",
            "reads",
            "merges",
            "what it does"
        );
        for pair in &self.results.pairs {
            let real = &pair.translated;
            let counts = &real.counts;
            let percent = |part, whole| 100.0 * counts.share(part, whole);
            say!(
                "{:<11} {:>6} {:>10} {:>10} {:>6.3} {:>7.2} {:>7.2} {:>8} {:>6.2} {:>8}  {}",
                pair.workload.name,
                real.pages,
                pair.ideal.cycles,
                real.cycles,
                pair.share(),
                percent(Counter::L1Hits, Counter::L1Lookups),
                percent(Counter::L2Hits, Counter::L2Lookups),
                counts.get(Counter::Walks),
                counts.share(Counter::WalkReads, Counter::Walks),
                counts.get(Counter::WalkMerges),
                pair.workload.about
            );
        }
        say!(
            "pages of 4 KiB; cycles with a warp at work; L1 % and L2 %: hits of lookups; reads: table reads of a walk"
        );
    }

    fn print_ablations(&self) {
        let head = |text: &str| format!("{text:<28}");
        let mut line = head("share of the ideal");
        for pair in &self.results.pairs {
            line.push_str(&format!(" {:>9}", pair.workload.name));
        }
        if self.results.block.is_some() {
            line.push_str(&format!(" {:>8} {:>6}", "stream", "reads"));
        }
        say!("{line}");
        let mut line = head("as built, pages of 4 KiB");
        for pair in &self.results.pairs {
            line.push_str(&format!(" {:>9.3}", pair.share()));
        }
        let stream = |stream: Option<(f64, f64)>| {
            stream.map_or(String::new(), |(cycles, reads)| {
                format!(" {cycles:>8.1} {reads:>6.2}")
            })
        };
        line.push_str(&stream(self.results.block.as_ref().map(Block::full_stream)));
        say!("{line}");
        for changed in &self.results.ablations {
            let mut line = head(changed.ablation.about);
            for (_, share) in &changed.runs {
                line.push_str(&format!(" {share:>9.3}"));
            }
            line.push_str(&stream(changed.stream));
            say!("{line}");
        }
    }

    /// All figures.
    #[must_use]
    pub fn json(&self) -> Value {
        let (plan, results) = (self.plan, self.results);
        let caps = results.caps;
        let by_workload = |value: &dyn Fn(usize) -> Value| -> Map<String, Value> {
            let names = results
                .pairs
                .iter()
                .map(|pair| pair.workload.name.to_string());
            names
                .enumerate()
                .map(|(k, name)| (name, value(k)))
                .collect()
        };
        let mut all = json!({
            "backend": plan.machine.backend.name(),
            "size": plan.size.name(),
            "seed": plan.machine.seed,
            "compute_units": caps.units,
            "warps": caps.warps,
            "walkers": caps.walkers,
            "l2_sets": caps.l2_sets,
            "fault_entries": caps.faults,
            "ideal_ratio": by_workload(&|k| json!(results.pairs[k].share())),
            "workloads": by_workload(&|k| {
                let pair = &results.pairs[k];
                let mut figures = run_json(&pair.translated);
                figures["pages"] = json!(pair.translated.pages);
                figures["ideal_cycles"] = json!(pair.ideal.cycles);
                figures
            }),
            "cycles_per_second": results.cycles_per_second(),
        });
        for key in KEYS {
            if all.get(key).is_none() {
                all[key] = Value::Null;
            }
        }
        if let Some(block) = &results.block {
            for (key, value) in block.json() {
                all[key] = value;
            }
        }
        if let Some(events) = &results.events {
            let [calm, storm] = events.faults;
            let faults = |figures: super::FaultFigures| {
                json!({
                    "records": figures.records,
                    "needed": figures.needed,
                    "invalidations": figures.invalidations,
                    "faults_per_page": figures.per_page(),
                })
            };
            all["faults_per_page"] = json!(calm.per_page());
            all["faults"] = faults(calm);
            all["faults_per_page_storm"] = json!(storm.per_page());
            all["faults_storm"] = faults(storm);
            all["invalidate_worst_cycles"] = json!(events.invalidate.worst);
            all["invalidate_bound_cycles"] = json!(events.invalidate.bound);
            all["invalidations"] = json!(events.invalidate.commands);
            all["invalidate_cycles"] = json!(events.invalidate.cycles);
            all["harvest_cycles_per_page"] = json!({
                "none": events.harvest.none,
                "all": events.harvest.all,
            });
            all["other_context_throughput"] = json!(events.other.throughput());
            all["other_context"] = json!({
                "alone_cycles": events.other.alone,
                "unanswered_cycles": events.other.unanswered,
                "replayed_cycles": events.other.replayed,
                "records": events.other.records,
            });
        }
        let ablations = results.ablations.iter().map(|changed| {
            let runs = by_workload(&|k| run_json(&changed.runs[k].0));
            let figures = json!({
                "ideal_ratio": by_workload(&|k| json!(changed.runs[k].1)),
                "workloads": runs,
                "miss_stream_cycles": changed.stream.map(|(cycles, _)| cycles),
                "reads_per_walk": changed.stream.map(|(_, reads)| reads),
            });
            (changed.ablation.name.to_string(), figures)
        });
        all["ablations"] = Value::Object(ablations.collect());
        let targets = self.rows.iter().map(Row::json);
        all["targets"] = targets.collect();
        all
    }
}

/// Keys that are always there; null without a figure.
const KEYS: [&str; 16] = [
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
];

fn event_rows(results: &Results, rows: &mut Vec<Row>) {
    let Some(events) = &results.events else {
        return;
    };
    let [calm, storm] = events.faults;
    rows.push(Row {
        key: "faults_per_page",
        of: String::new(),
        label: format!("fault records per page and access, {} needed", calm.needed),
        value: calm.per_page(),
        digits: 3,
        peers: ["-", "-", "about 8 [3]"],
        target: Target::AtMost(1.0),
    });
    rows.push(Row {
        key: "faults_per_page_storm",
        of: String::new(),
        label: format!("the same under {} invalidations", storm.invalidations),
        value: storm.per_page(),
        digits: 3,
        peers: NO_PEER,
        target: Target::AtMost(1.1),
    });
    let other = &events.other;
    for (of, label, cycles) in [
        ("unanswered", "nobody answers", other.unanswered),
        ("replayed", "replays only", other.replayed),
    ] {
        rows.push(Row {
            key: "other_context_throughput",
            of: of.into(),
            label: format!("throughput beside a faulting context, {label}"),
            value: other.alone as f64 / cycles.max(1) as f64,
            digits: 3,
            peers: ["-", "-", "0 [3]"],
            target: Target::AtLeast(OTHERS),
        });
    }
    let invalidate = events.invalidate;
    rows.push(Row {
        key: "invalidate_worst_cycles",
        of: String::new(),
        label: format!("longest of {} invalidations, cycles", invalidate.commands),
        value: invalidate.worst as f64,
        digits: 0,
        peers: NO_PEER,
        target: Target::AtMost(invalidate.bound as f64),
    });
    for (of, value) in [("none", events.harvest.none), ("all", events.harvest.all)] {
        rows.push(Row {
            key: "harvest_cycles_per_page",
            of: of.into(),
            label: format!("accessed bit of a page harvested, {of} set, cycles"),
            value,
            digits: 2,
            peers: NO_PEER,
            target: Target::None,
        });
    }
}

fn run_json(run: &Measured) -> Value {
    let counters: Map<String, Value> = run
        .counts
        .all()
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect();
    json!({
        "cycles": run.cycles,
        "l1_hit_rate": run.counts.share(Counter::L1Hits, Counter::L1Lookups),
        "l2_hit_rate": run.counts.share(Counter::L2Hits, Counter::L2Lookups),
        "reads_per_walk": run.counts.share(Counter::WalkReads, Counter::Walks),
        "counters": counters,
    })
}
