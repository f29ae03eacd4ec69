//! The search over linked nodes, with its figures.

use std::sync::Arc;

use hmm_core::{Mm, Va};
use hmmu_driver::DeviceConfig;

use super::{Graph, UNREACHED, nodes};
use crate::cpu_memory::load;
use crate::kernels::{self, layout};
use crate::machine::MachineConfig;
use crate::placement::Placement;
use crate::progress;
use crate::rc::LinkBytes;
use crate::session::{RunError, Stats, close, failed, measured};
use crate::world::{Outputs, World};

/// Choices for a search.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// The machine.
    pub machine: MachineConfig,
    /// Files to write.
    pub outputs: Outputs,
    /// The driver's policy.
    pub placement: Placement,
    /// Device threads of a search; `None`: as many as hardware warps.
    pub threads: Option<u32>,
}

impl SearchOptions {
    /// The driver's configuration.
    #[must_use]
    pub fn driver(&self) -> DeviceConfig {
        DeviceConfig {
            policy: self.placement.policy(),
            ..DeviceConfig::default()
        }
    }

    /// Device threads of a search on this machine.
    #[must_use]
    pub fn threads(&self, world: &World) -> u32 {
        self.threads.unwrap_or_else(|| world.device().warps())
    }
}

/// The figures of a search over linked nodes. Times are device cycles.
#[derive(Clone, Debug, Default)]
pub struct SearchFigures {
    /// Vertices that were reached.
    pub reached: u64,
    /// Largest distance.
    pub depth: u64,
    /// Device threads.
    pub threads: u32,
    /// Bytes of nodes, edges and queue.
    pub heap_bytes: u64,
    /// From the launch to the end of the job.
    pub cycles: u64,
    /// From reset to the end of the check.
    pub total_cycles: u64,
    /// Over the link while the job ran.
    pub link: LinkBytes,
    /// Counters of the device and the driver at the job's end, less those at its launch.
    pub stats: Stats,
    /// Pages that came home for the CPU's check.
    pub pages_home: u64,
    /// Events in the log.
    pub events: u64,
    /// Their hash.
    pub log_hash: u64,
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
) -> Result<SearchFigures, RunError> {
    let made = World::new(options.machine.clone(), &options.outputs, options.driver());
    let world = made.map_err(RunError::Unusable)?;
    let result = search(&world, graph, root, expected, options.threads(&world));
    close(&world, result)
}

fn search(
    world: &World,
    graph: &Graph,
    root: usize,
    expected: &[u64],
    threads: u32,
) -> Result<SearchFigures, RunError> {
    let mm = world.process();
    let built = nodes::build(&mm, graph, root).map_err(|e| failed("building the graph")(&e))?;
    let context = world
        .open(0, &mm)
        .map_err(|e| failed("opening the device")(&e))?;
    let program = kernels::bfs_nodes().map_err(|e| failed("the kernel")(&e))?;

    let ((), job) = measured(world, || {
        let job = context
            .launch(&program, &[built.queue], threads)
            .map_err(|e| failed("the launch")(&e))?;
        progress::wait(world, &job, "search").map_err(|e| failed("the search")(&e))?;
        Ok(())
    })?;
    let ((reached, depth), check) =
        measured(world, || compare(&mm, graph, &built.nodes, expected))?;
    world.system.check_invariants().map_err(RunError::Failed)?;
    Ok(SearchFigures {
        reached,
        depth,
        threads,
        heap_bytes: built.bytes,
        cycles: job.cycles,
        total_cycles: world.machine.now(),
        link: job.link,
        pages_home: check.stats.get("driver_pages_to_system"),
        stats: job.stats,
        events: world.machine.log().events(),
        log_hash: world.machine.log().hash(),
    })
}

/// Compares every distance, as the process's CPU reads it: how many vertices were reached, and the largest distance.
fn compare(
    mm: &Arc<Mm>,
    graph: &Graph,
    nodes: &[u64],
    expected: &[u64],
) -> Result<(u64, u64), RunError> {
    let mut reached = 0;
    let mut depth = 0;
    for (vertex, (&node, &want)) in nodes.iter().zip(expected).enumerate() {
        let got =
            load(mm, Va(node + layout::NODE_DIST)).map_err(|e| failed("reading a distance")(&e))?;
        if got != want {
            let id = graph.ids[vertex];
            return Err(RunError::Failed(format!(
                "vertex {id}: the device says distance {got}, a CPU {want}"
            )));
        }
        if got != UNREACHED {
            reached += 1;
            depth = depth.max(got);
        }
    }
    Ok((reached, depth))
}
