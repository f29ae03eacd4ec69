//! The same search done the old way: the CPU flattens the graph into arrays, copies them to memory of the
//! device's own, runs, and copies the distances back.

use hmm_core::{Errno, MmapOptions, Prot, Va};

use super::nodes::{queue_bytes, start_queue};
use super::search::SearchOptions;
use super::{Graph, UNREACHED};
use crate::cpu_memory::{load_words, store_words};
use crate::kernels;
use crate::progress;
use crate::rc::LinkBytes;
use crate::session::{RunError, close, failed};
use crate::world::World;

/// The figures of the old way. Times are device cycles; the CPU's own work (flattening) takes none here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlatFigures {
    /// Bytes that the CPU writes as arrays.
    pub flattened_bytes: u64,
    /// Copying in.
    pub copy_in_cycles: u64,
    /// The search.
    pub run_cycles: u64,
    /// Copying back.
    pub copy_out_cycles: u64,
    /// Over the link in all three.
    pub link: LinkBytes,
}

impl FlatFigures {
    /// Copying in, searching and copying back.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        self.copy_in_cycles + self.run_cycles + self.copy_out_cycles
    }
}

/// Where the arrays are, in bytes from their start.
struct Arrays {
    queue: u64,
    offsets: u64,
    columns: u64,
    distances: u64,
    marks: u64,
    bytes: u64,
}

impl Arrays {
    fn new(graph: &Graph) -> Self {
        let vertices = graph.vertices() as u64;
        let queue = 0;
        let offsets = queue + queue_bytes(graph.vertices());
        let columns = offsets + 8 * (vertices + 1);
        let distances = columns + 8 * graph.edges.len() as u64;
        let marks = distances + 8 * vertices;
        let bytes = (marks + 8 * vertices).next_multiple_of(4096);
        Self {
            queue,
            offsets,
            columns,
            distances,
            marks,
            bytes,
        }
    }
}

/// Searches the old way. `None` if the arrays do not fit device memory. Must be called in a run of hmm-core's
/// scheduler.
///
/// # Errors
/// No machine, a job that failed, a wrong distance.
pub fn search_flat(
    graph: &Graph,
    root: usize,
    expected: &[u64],
    options: &SearchOptions,
) -> Result<Option<FlatFigures>, RunError> {
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
) -> Result<Option<FlatFigures>, RunError> {
    let mm = world.process();
    let arrays = Arrays::new(graph);
    let map = |e: Errno| failed("mapping the arrays")(&e);
    let host = mm
        .mmap(arrays.bytes, Prot::READ_WRITE, MmapOptions::default())
        .map_err(map)?
        .0;
    let device = mm
        .mmap(arrays.bytes, Prot::READ_WRITE, MmapOptions::default())
        .map_err(map)?
        .0;
    flatten(&mm, graph, root, host, &arrays).map_err(|e| failed("flattening the graph")(&e))?;
    let context = world
        .open(0, &mm)
        .map_err(|e| failed("opening the device")(&e))?;
    match context.migrate_to_device(Va(device), arrays.bytes) {
        Ok(_) => {}
        Err(error) if error.errno() == Errno::ENOENT => return Ok(None),
        Err(error) => return Err(failed("taking device memory")(&error)),
    }
    let program = kernels::bfs_arrays().map_err(|e| failed("the kernel")(&e))?;

    let (start, link) = (world.machine.now(), world.machine.link_bytes());
    let copied = context.copy(Va(device), Va(host), arrays.bytes);
    copied.map_err(|e| failed("copying in")(&e))?;
    let copied_in = world.machine.now();
    let parts = [
        arrays.queue,
        arrays.offsets,
        arrays.columns,
        arrays.distances,
        arrays.marks,
    ];
    let args = parts.map(|part| device + part);
    let job = context
        .launch(&program, &args, threads)
        .map_err(|e| failed("the launch")(&e))?;
    progress::wait(world, &job, "old way").map_err(|e| failed("the search over arrays")(&e))?;
    let ran = world.machine.now();
    let (from, to) = (device + arrays.distances, host + arrays.distances);
    let copied = context.copy(Va(to), Va(from), 8 * graph.vertices() as u64);
    copied.map_err(|e| failed("copying back")(&e))?;
    let end = world.machine.now();
    let link_used = world.machine.link_bytes().since(link);

    let got = load_words(&mm, Va(to), graph.vertices())
        .map_err(|e| failed("reading the distances")(&e))?;
    if let Some(vertex) = got.iter().zip(expected).position(|(got, want)| got != want) {
        let (id, got, want) = (graph.ids[vertex], got[vertex], expected[vertex]);
        return Err(RunError::Failed(format!(
            "old way, vertex {id}: distance {got}, a CPU says {want}"
        )));
    }
    Ok(Some(FlatFigures {
        flattened_bytes: arrays.bytes,
        copy_in_cycles: copied_in - start,
        run_cycles: ran - copied_in,
        copy_out_cycles: end - ran,
        link: link_used,
    }))
}

fn flatten(
    mm: &std::sync::Arc<hmm_core::Mm>,
    graph: &Graph,
    root: usize,
    at: u64,
    arrays: &Arrays,
) -> Result<(), Errno> {
    let (offsets, columns) = graph.rows();
    let mut distances = vec![UNREACHED; graph.vertices()];
    distances[root] = 0;
    let mut marks = vec![0; graph.vertices()];
    marks[root] = 1;
    start_queue(mm, at + arrays.queue, graph.vertices(), root as u64 + 1)?;
    store_words(mm, Va(at + arrays.offsets), &offsets)?;
    store_words(mm, Va(at + arrays.columns), &columns)?;
    store_words(mm, Va(at + arrays.distances), &distances)?;
    store_words(mm, Va(at + arrays.marks), &marks)
}
