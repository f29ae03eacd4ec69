//! The MMU's block bench beside the figures of others: what translations cost in cycles, with a memory that takes a
//! read every cycle and answers after L cycles.

use hmmu_vsim::mmu_bench::{Limits, MissLatency, MissStream, MmuBenchConfig, MmuFigures, measure};
use serde_json::{Map, Value, json};

use super::limits;
use super::row::{NO_PEER, Row, Target};

/// The latency at which streams are compared.
const FAR: u64 = 100;
/// Latencies of others' misses: L, RISC-V IOMMU, CVA6; pages of 4 KiB and of 2 MiB.
const PEERS: [(u64, [&str; 2], [&str; 2]); 4] = [
    (1, ["10", "15"], ["8", "11"]),
    (10, ["37", "39"], ["26", "27"]),
    (50, ["157", "159"], ["106", "107"]),
    (100, ["307", "309"], ["206", "207"]),
];

/// The block's figures, as built and with parts of it switched off.
#[derive(Clone, Debug)]
pub struct Block {
    full: MmuFigures,
    uncached: MmuFigures,
}

fn figures(word: u64) -> Result<MmuFigures, String> {
    measure(&MmuBenchConfig {
        limits: Limits {
            walkers: (word & limits::WALKERS) as u8,
            walk_cache: word & limits::WALK_CACHE_OFF == 0,
            l2: word & limits::L2_OFF == 0,
            merging: word & limits::MERGING_OFF == 0,
        },
        ..MmuBenchConfig::default()
    })
}

fn far(figures: &MmuFigures) -> MissStream {
    let far = |stream: &&MissStream| stream.latency == FAR && stream.contexts == 1;
    figures
        .streams
        .iter()
        .find(far)
        .copied()
        .unwrap_or_default()
}

impl Block {
    /// Measures.
    ///
    /// # Errors
    /// The block cannot be measured.
    pub fn measure() -> Result<Self, String> {
        Ok(Self {
            full: figures(0)?,
            uncached: figures(limits::WALK_CACHE_OFF)?,
        })
    }

    /// Cycles and reads of each translation of a stream of misses of one context at L = 100, under limits.
    ///
    /// # Errors
    /// The block cannot be measured.
    pub fn stream(word: u64) -> Result<(f64, f64), String> {
        let stream = far(&figures(word)?);
        Ok((stream.cycles, stream.reads))
    }

    /// The same as built.
    pub(super) fn full_stream(&self) -> (f64, f64) {
        let stream = far(&self.full);
        (stream.cycles, stream.reads)
    }

    /// Rows of the table.
    pub(super) fn rows(&self) -> Vec<Row> {
        let full = &self.full;
        let mut rows = Vec::new();
        let mut row = |key, label: String, value, digits, peers, target| {
            rows.push(Row {
                key,
                of: String::new(),
                label,
                value,
                digits,
                peers,
                target,
            });
        };
        for (pages, rate) in [(1, full.hit_per_cycle[0]), (8, full.hit_per_cycle[1])] {
            row(
                "hit_per_cycle",
                format!("hits per cycle and port, {pages} page(s)"),
                rate,
                3,
                ["0.333", "1.000", "1 a lane"],
                Target::AtLeast(1.0),
            );
        }
        row(
            "hit_per_cycle_under_miss",
            format!("the same with {} walks under way", full.walks_under_hits),
            full.hit_per_cycle_under_miss,
            3,
            NO_PEER,
            Target::AtLeast(0.98),
        );
        row(
            "hit_latency",
            "hit, cycles".into(),
            full.hit_latency as f64,
            0,
            ["3", "1", "-"],
            Target::AtMost(2.0),
        );
        for miss in &full.miss {
            let memory = miss.latency;
            let peers = PEERS.iter().find(|(latency, ..)| *latency == memory);
            let ([a, b], [c, d]) = peers.map_or((["-"; 2], ["-"; 2]), |p| (p.1, p.2));
            let walk = |levels: u64| Target::AtMost((levels * (memory + 2) + 4) as f64);
            row(
                "miss_latency",
                format!("cold page of 4 KiB, L = {memory}, cycles"),
                miss.cold as f64,
                0,
                [a, b, "-"],
                walk(4),
            );
            row(
                "miss_2m_latency",
                format!("cold page of 2 MiB, L = {memory}, cycles"),
                miss.miss_2m as f64,
                0,
                [c, d, "-"],
                walk(3),
            );
            row(
                "neighbour_latency",
                format!("neighbour of a page just walked, L = {memory}, cycles"),
                miss.neighbour as f64,
                0,
                NO_PEER,
                walk(1),
            );
        }
        let (with, without) = (far(full), far(&self.uncached));
        for (label, stream, limit) in [
            ("with the walk cache", with, 15.0),
            ("without it", without, 38.4),
        ] {
            row(
                "miss_stream_cycles",
                format!("miss of a stream, L = {FAR}, {label}, cycles"),
                stream.cycles,
                1,
                ["307", "308", "-"],
                Target::AtMost(limit),
            );
        }
        row(
            "reads_per_walk",
            "table reads for each of them, with the walk cache".into(),
            with.reads,
            2,
            ["3", "3", "-"],
            Target::None,
        );
        row(
            "max_walks_in_flight",
            "walks in flight".into(),
            with.in_flight as f64,
            0,
            ["1", "1", "2"],
            Target::AtLeast(8.0),
        );
        row(
            "block_invalidate_worst_cycles",
            format!("longest invalidation among misses, L = {FAR}, cycles"),
            full.invalidate_worst as f64,
            0,
            NO_PEER,
            Target::AtMost(full.invalidate_bound as f64),
        );
        row(
            "block_faults_per_page",
            "fault records per page, all clients waiting".into(),
            full.faults_per_page,
            3,
            NO_PEER,
            Target::AtMost(1.0),
        );
        row(
            "block_other_context_throughput",
            "misses of a context beside one that faults without end".into(),
            full.other_context_throughput,
            3,
            NO_PEER,
            Target::AtLeast(0.9),
        );
        rows
    }

    /// Figures by key.
    pub(super) fn json(&self) -> Map<String, Value> {
        let full = &self.full;
        let misses = |value: fn(&MissLatency) -> u64| -> Value {
            let by_latency = full.miss.iter();
            by_latency
                .map(|miss| (miss.latency.to_string(), json!(value(miss))))
                .collect::<Map<_, _>>()
                .into()
        };
        let streams = |figures: &MmuFigures, contexts: u64| -> Value {
            let of = figures.streams.iter();
            of.filter(|stream| stream.contexts == contexts)
                .map(|stream| (stream.latency.to_string(), json!(stream.cycles)))
                .collect::<Map<_, _>>()
                .into()
        };
        let [one, eight] = full.hit_per_cycle;
        let all = json!({
            "hit_per_cycle": one.min(eight),
            "hit_latency": full.hit_latency,
            "hit_per_cycle_under_miss": full.hit_per_cycle_under_miss,
            "walks_under_hits": full.walks_under_hits,
            "miss_latency": misses(|miss| miss.cold),
            "miss_64k_latency": misses(|miss| miss.miss_64k),
            "miss_2m_latency": misses(|miss| miss.miss_2m),
            "miss_1g_latency": misses(|miss| miss.miss_1g),
            "miss_dirty_latency": misses(|miss| miss.store),
            "neighbour_latency": misses(|miss| miss.neighbour),
            "l2_hit_latency": misses(|miss| miss.l2_hit),
            "miss_stream_cycles": streams(full, 1),
            "miss_stream_8_contexts_cycles": streams(full, 8),
            "miss_stream_uncached_cycles": streams(&self.uncached, 1),
            "reads_per_walk": far(full).reads,
            "reads_per_walk_uncached": far(&self.uncached).reads,
            "max_walks_in_flight": far(full).in_flight,
            "block_invalidate_worst_cycles": full.invalidate_worst,
            "block_invalidate_bound_cycles": full.invalidate_bound,
            "block_faults_per_page": full.faults_per_page,
            "block_other_context_throughput": full.other_context_throughput,
        });
        match all {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}
