//! The search over linked nodes, with its figures.

use std::sync::Arc;

use hmmu_driver::policy::{MapRemote, MigrateOnFault};
use hmmu_driver::{DeviceConfig, Policy};

use super::heap::load;
use super::{Graph, nodes, progress};
use crate::kernels::{self, layout};
use crate::machine::{Machine, MachineConfig};
use crate::rc::LinkBytes;
use crate::warps;
use crate::world::{Outputs, World};

/// What the driver does with a page on a device fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Placement {
    /// Moves it to device memory.
    Migrate,
    /// Maps it where it is, over the link.
    Remote,
}

/// Choices for a search.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// The machine.
    pub machine: MachineConfig,
    /// Files to write.
    pub outputs: Outputs,
    /// The driver's policy.
    pub placement: Placement,
}

impl SearchOptions {
    /// The driver's configuration.
    #[must_use]
    pub fn driver(&self) -> DeviceConfig {
        let policy: Arc<dyn Policy> = match self.placement {
            Placement::Migrate => Arc::new(MigrateOnFault::default()),
            Placement::Remote => Arc::new(MapRemote::default()),
        };
        DeviceConfig {
            policy,
            ..DeviceConfig::default()
        }
    }
}

/// Device threads of a search: as many as hardware warps.
pub const THREADS: u32 = 8;

/// The figures of a search over linked nodes. Times are device cycles.
#[derive(Clone, Debug, Default)]
pub struct SearchFigures {
    /// Vertices that were reached.
    pub reached: u64,
    /// Largest distance.
    pub depth: u64,
    /// Bytes of nodes, edges and queue.
    pub heap_bytes: u64,
    /// From the launch to the end of the job.
    pub cycles: u64,
    /// From reset to the end of the check.
    pub total_cycles: u64,
    /// Over the link while the job ran.
    pub link: LinkBytes,
    /// Counters of the device and the driver at the job's end, less those at its launch.
    pub stats: Vec<(&'static str, u64)>,
    /// Pages that came home for the CPU's check.
    pub pages_home: u64,
    /// Events in the log.
    pub events: u64,
    /// Their hash.
    pub log_hash: u64,
}

impl SearchFigures {
    /// A counter by name; 0 if there is none.
    #[must_use]
    pub fn stat(&self, name: &str) -> u64 {
        self.stats
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, value)| *value)
    }
}

/// Why a run ended without a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchError {
    /// What was asked for cannot be done.
    Unusable(String),
    /// It went wrong.
    Failed(String),
}

/// Builds the graph in a process, searches it on the device and compares every distance with `expected`.
/// Must be called in a run of hmm-core's scheduler.
///
/// # Errors
/// No machine, a job that failed, a wrong distance.
pub fn search_nodes(
    graph: &Graph,
    root: usize,
    expected: &[u64],
    options: &SearchOptions,
) -> Result<SearchFigures, SearchError> {
    let made = World::new(options.machine.clone(), &options.outputs, options.driver());
    let world = made.map_err(SearchError::Unusable)?;
    let result = search(&world, graph, root, expected);
    close(&world, result)
}

/// Ends a world, and turns a run over the cycle limit into a report.
pub fn close<T>(world: &World, result: Result<T, SearchError>) -> Result<T, SearchError> {
    let result = if world.machine.over_limit() {
        Err(SearchError::Failed(over_limit(&world.machine)))
    } else {
        result
    };
    let ended = world.end().map_err(SearchError::Failed);
    let value = result?;
    ended?;
    Ok(value)
}

fn over_limit(machine: &Arc<Machine>) -> String {
    machine.lift_limit();
    format!(
        "cycle limit of {} cycles reached\n{}",
        machine.config().max_cycles,
        warps::report(machine)
    )
}

/// An error with what was tried.
pub fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> SearchError + '_ {
    move |error| SearchError::Failed(format!("{what}: {error}"))
}

fn search(
    world: &World,
    graph: &Graph,
    root: usize,
    expected: &[u64],
) -> Result<SearchFigures, SearchError> {
    let mm = world.process();
    let built = nodes::build(&mm, graph, root).map_err(|e| failed("building the graph")(&e))?;
    let context = world
        .open(0, &mm)
        .map_err(|e| failed("opening the device")(&e))?;
    let program = kernels::bfs_nodes().map_err(|e| failed("the kernel")(&e))?;
    let read_stats = || {
        world
            .device()
            .stats()
            .map_err(|e| failed("reading the counters")(&e))
    };

    let before = read_stats()?;
    let (start, link) = (world.machine.now(), world.machine.link_bytes());
    let job = context
        .launch(&program, &[built.queue], THREADS)
        .map_err(|e| failed("the launch")(&e))?;
    progress::wait(world, &job, "search").map_err(|e| failed("the search")(&e))?;
    let cycles = world.machine.now() - start;
    let link_after = world.machine.link_bytes();
    let stats = difference(&before, read_stats()?);

    let mut reached = 0;
    let mut depth = 0;
    for (vertex, (&node, &want)) in built.nodes.iter().zip(expected).enumerate() {
        let got =
            load(&mm, node + layout::NODE_DIST).map_err(|e| failed("reading a distance")(&e))?;
        if got != want {
            let id = graph.ids[vertex];
            return Err(SearchError::Failed(format!(
                "vertex {id}: the device says distance {got}, a CPU {want}"
            )));
        }
        if got != super::UNREACHED {
            reached += 1;
            depth = depth.max(got);
        }
    }
    let home = difference(&before, read_stats()?);
    let to_system = |stats: &[(&str, u64)]| {
        stats
            .iter()
            .find(|(name, _)| *name == "driver_pages_to_system")
            .map_or(0, |(_, value)| *value)
    };
    world
        .system
        .check_invariants()
        .map_err(SearchError::Failed)?;
    Ok(SearchFigures {
        reached,
        depth,
        heap_bytes: built.bytes,
        cycles,
        total_cycles: world.machine.now(),
        link: LinkBytes {
            to_device: link_after.to_device - link.to_device,
            to_host: link_after.to_host - link.to_host,
        },
        pages_home: to_system(&home) - to_system(&stats),
        stats,
        events: world.machine.log().events(),
        log_hash: world.machine.log().hash(),
    })
}

/// What counters counted between two readings. Those that are states (pages in use) keep their last value.
fn difference(
    before: &[(&'static str, u64)],
    after: Vec<(&'static str, u64)>,
) -> Vec<(&'static str, u64)> {
    after
        .into_iter()
        .map(|(name, value)| {
            let state = name.starts_with("vram_pages") || name == "invalidate_worst";
            let old = before
                .iter()
                .find(|(known, _)| *known == name)
                .map_or(0, |(_, value)| *value);
            (
                name,
                if state {
                    value
                } else {
                    value.saturating_sub(old)
                },
            )
        })
        .collect()
}
