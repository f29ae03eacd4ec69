//! `hmmu graph`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use hmm_core::sync;
use serde_json::{Value, json};

use crate::cli::{Common, FAILED, unusable};
use crate::graph::{
    FlatFigures, Graph, SearchFigures, SearchOptions, read_file, read_text, search_flat,
    search_nodes,
};
use crate::machine_args::MachineArgs;
use crate::outputs::{outputs, write_run};
use crate::rc::LinkBytes;
use crate::schema::{Schema, command};
use crate::session::RunError;
use crate::summary::{link_line, machine_line, stats_json, translation_line};
use crate::trail::{Told, Trail};
use crate::wave::WaveFile;
use crate::world::Outputs;
use crate::{complain, say};

/// The graph that is searched when none is named: the dependencies of this workspace.
const BUNDLED: &str = include_str!("../graphs/workspace.txt");
const BUNDLED_NAME: &str = "tb/graphs/workspace.txt";

/// Arguments of `hmmu graph`.
#[derive(Args, Debug)]
pub struct GraphArgs {
    /// A SNAP edge list or a Matrix Market coordinate file; without one, this workspace's own dependencies.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Vertex to start from, by its number in the file; without it, the one with most edges.
    #[arg(long, value_name = "N")]
    root: Option<u64>,
    #[command(flatten)]
    machine: MachineArgs,
    /// Device threads, at most 64; without it, one for each hardware warp.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// Leaves the comparison with copied arrays out.
    #[arg(long)]
    no_compare: bool,
    #[command(flatten)]
    common: Common,
}

/// Everything that a run is made of.
struct Plan {
    name: String,
    graph: Graph,
    root: usize,
    options: SearchOptions,
    wave: Option<WaveFile>,
}

/// Searches the graph; the exit status.
#[must_use]
pub fn run(args: &GraphArgs) -> u8 {
    let mut plan = match plan(args) {
        Ok(plan) => plan,
        Err(text) => return unusable(&text),
    };
    let mut outputs = plan.options.outputs.clone();
    let waves = &args.common.waves;
    waves.aim(plan.wave.as_ref(), &mut outputs, |first| {
        // How it ends, the second run tells.
        let _ = search(&plan, first, plan.graph.distances(plan.root));
    });
    plan.options.outputs = outputs;
    let start = Instant::now();
    let result = work(&plan, !args.no_compare);
    let wall = start.elapsed().as_secs_f64();
    // The wave is worth most when the run failed.
    let recording = plan.options.outputs.wave.as_ref();
    let waved = plan
        .wave
        .as_ref()
        .map_or(Ok(()), |wave| wave.finish(recording));
    let (figures, flat) = match result {
        Ok(done) => done,
        Err(RunError::Unusable(text)) => return unusable(&text),
        Err(RunError::Failed(text)) => {
            complain!("hmmu: {}: {text} (seed {})", plan.name, args.common.seed);
            return FAILED;
        }
    };
    let report = Report {
        plan: &plan,
        args,
        figures: &figures,
        flat: flat.as_ref(),
        wall,
    };
    report.print();
    if let Err(text) = waved {
        return unusable(&text);
    }
    let told = plan.options.outputs.trail.as_ref().map(Trail::take);
    let told = told.map(Told::from).unwrap_or_default();
    let figures = report.json(&told);
    let run = (plan.name.as_str(), "", &told.events[..]);
    if let Err(text) = write_run(&args.common, Schema::GRAPH, figures, run) {
        return unusable(&text);
    }
    0
}

fn plan(args: &GraphArgs) -> Result<Plan, String> {
    let common = &args.common;
    let (name, graph) = match &args.file {
        Some(file) => (file.display().to_string(), read_file(file)),
        None => (
            BUNDLED_NAME.to_string(),
            read_text(Path::new(BUNDLED_NAME), BUNDLED),
        ),
    };
    let graph = graph.map_err(|error| error.to_string())?;
    let root = match args.root {
        Some(id) => graph.index(id).ok_or_else(|| {
            format!(
                "root {id}: no such vertex in {name} (it has {}..={})",
                graph.ids[0],
                graph.ids[graph.vertices() - 1]
            )
        })?,
        None => graph.busiest(),
    };
    // Nodes, edges, queue and their arrays, with as much again to spare.
    let need = 4 * (64 * graph.vertices() as u64 + 32 * graph.edges.len() as u64);
    let machine = args.machine.machine(common, need)?;
    let (outputs, wave) = outputs(common)?;
    let options = SearchOptions {
        machine,
        outputs,
        placement: args.machine.policy,
        threads: args.threads,
    };
    Ok(Plan {
        name,
        graph,
        root,
        options,
        wave,
    })
}

/// The search over linked nodes.
fn search(plan: &Plan, outputs: &Outputs, expected: Vec<u64>) -> Result<SearchFigures, RunError> {
    let (graph, root) = (plan.graph.clone(), plan.root);
    let options = SearchOptions {
        outputs: outputs.clone(),
        ..plan.options.clone()
    };
    let run = move || search_nodes(&graph, root, &expected, &options);
    sync::run(plan.options.machine.seed, run).unwrap_or_else(|text| Err(RunError::Failed(text)))
}

fn work(plan: &Plan, compare: bool) -> Result<(SearchFigures, Option<FlatFigures>), RunError> {
    let expected = plan.graph.distances(plan.root);
    let (seed, root) = (plan.options.machine.seed, plan.root);
    let figures = search(plan, &plan.options.outputs, expected.clone())?;
    if !compare {
        return Ok((figures, None));
    }
    let (graph, mut options) = (plan.graph.clone(), plan.options.clone());
    options.outputs = Outputs::default();
    let flat = sync::run(seed, move || search_flat(&graph, root, &expected, &options))
        .unwrap_or_else(|text| Err(RunError::Failed(text)))?;
    Ok((figures, flat))
}

struct Report<'a> {
    plan: &'a Plan,
    args: &'a GraphArgs,
    figures: &'a SearchFigures,
    flat: Option<&'a FlatFigures>,
    wall: f64,
}

impl Report<'_> {
    fn microseconds(&self, cycles: u64) -> f64 {
        cycles as f64 * 1e6 / self.plan.options.machine.clock_hz as f64
    }

    fn rate(&self, hits: &str, lookups: &str) -> f64 {
        self.figures.stats.share(hits, lookups)
    }

    fn print(&self) {
        let (plan, figures) = (self.plan, self.figures);
        let machine = &plan.options.machine;
        say!(
            "graph        {}: {} vertices, {} edges",
            plan.name,
            plan.graph.vertices(),
            plan.graph.edges.len()
        );
        say!(
            "search       from vertex {} by {} threads: {} reached, depth {}, {} bytes of linked nodes and edges",
            plan.graph.ids[plan.root],
            figures.threads,
            figures.reached,
            figures.depth,
            figures.heap_bytes
        );
        machine_line(machine, plan.options.placement);
        say!(
            "cycles       {} ({:.1} us at {} MHz)",
            figures.cycles,
            self.microseconds(figures.cycles),
            machine.clock_hz / 1_000_000
        );
        say!(
            "faults       {} by the device, served in {} rounds",
            figures.stats.get("faults"),
            figures.stats.get("driver_rounds")
        );
        say!(
            "pages        {} migrated to the device, {} home meanwhile, {} home for the check",
            figures.stats.get("driver_pages_to_device"),
            figures.stats.get("driver_pages_to_system"),
            figures.pages_home
        );
        link_line(figures.link);
        translation_line(&figures.stats);
        if self.args.no_compare {
            say!("old way      not run");
        } else if let Some(flat) = self.flat {
            let cycles = flat.cycles();
            say!(
                "old way      {} bytes flattened by the CPU (its time is not counted), {cycles} cycles: {} copying in, \
                 {} running, {} copying back",
                flat.flattened_bytes,
                flat.copy_in_cycles,
                flat.run_cycles,
                flat.copy_out_cycles
            );
            say!(
                "             {} bytes to the device, {} bytes to the host; following pointers took {:.2} times the \
                 cycles and {:.2} times the bytes",
                flat.link.to_device,
                flat.link.to_host,
                ratio(figures.cycles, cycles),
                ratio(both(figures.link), both(flat.link))
            );
        } else {
            say!("old way      does not fit the device's memory");
        }
        say!(
            "simulated    {} cycles in {:.2} s of wall time, {:.0} cycles per second",
            self.simulated(),
            self.wall,
            self.simulated() as f64 / self.wall
        );
        say!(
            "verified     all {} distances equal the CPU's",
            plan.graph.vertices()
        );
    }

    /// Cycles of everything that was simulated.
    fn simulated(&self) -> u64 {
        let flat = self.flat.map_or(0, FlatFigures::cycles);
        self.figures.total_cycles + flat
    }

    fn json(&self, told: &Told) -> Value {
        let (plan, figures) = (self.plan, self.figures);
        let machine = &plan.options.machine;
        let flat = self.flat.map(|flat| {
            json!({
                "flattened_bytes": flat.flattened_bytes,
                "cycles": flat.cycles(),
                "cycles_ratio": ratio(figures.cycles, flat.cycles()),
                "link_bytes_ratio": ratio(both(figures.link), both(flat.link)),
                "copy_in_cycles": flat.copy_in_cycles,
                "run_cycles": flat.run_cycles,
                "copy_out_cycles": flat.copy_out_cycles,
                "link_bytes_to_device": flat.link.to_device,
                "link_bytes_to_host": flat.link.to_host,
            })
        });
        json!({
            "graph": plan.name,
            "vertices": plan.graph.vertices(),
            "edges": plan.graph.edges.len(),
            "root": plan.graph.ids[plan.root],
            "reached": figures.reached,
            "depth": figures.depth,
            "threads": figures.threads,
            "heap_bytes": figures.heap_bytes,
            "backend": machine.backend.name(),
            "link": machine.link.to_string(),
            "vram_bytes": machine.vram,
            "policy": plan.options.placement.name(),
            "seed": machine.seed,
            "cycles": figures.cycles,
            "total_cycles": figures.total_cycles,
            "simulated_cycles": self.simulated(),
            "clock_hz": machine.clock_hz,
            "simulated_us": self.microseconds(figures.cycles),
            "device_faults": figures.stats.get("faults"),
            "fault_rounds": figures.stats.get("driver_rounds"),
            "pages_migrated": figures.stats.get("driver_pages_to_device"),
            "pages_home_meanwhile": figures.stats.get("driver_pages_to_system"),
            "pages_home": figures.pages_home,
            "link_bytes_to_device": figures.link.to_device,
            "link_bytes_to_host": figures.link.to_host,
            "l1_hit_rate": self.rate("l1_hits", "l1_lookups"),
            "l1_fetch_hit_rate": self.rate("l1_fetch_hits", "l1_fetch_lookups"),
            "l2_hit_rate": self.rate("l2_hits", "l2_lookups"),
            "walks": figures.stats.get("walks"),
            "events": figures.events,
            "log_hash": format!("{:016x}", figures.log_hash),
            "stats": stats_json(&figures.stats),
            "old_way": flat,
            "config": told.config,
            "explained": told.explained,
            "command": command(machine.seed),
            "verified": true,
            "wall_seconds": self.wall,
            "wall_cycles_per_second": self.simulated() as f64 / self.wall,
        })
    }
}

fn both(link: LinkBytes) -> u64 {
    link.to_device + link.to_host
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}
