//! A graph as linked objects in a process's heap.

use std::sync::Arc;

use hmm_core::{Errno, Mm, Va};

use super::heap::Heap;
use super::{Graph, UNREACHED};
use crate::cpu_memory::{load, store};
use crate::kernels::layout;

/// A graph in a process's memory, ready to be searched from its root.
pub struct NodeGraph {
    /// Addresses of the nodes, by vertex.
    pub nodes: Vec<u64>,
    /// Address of the work queue.
    pub queue: u64,
    /// Bytes of all objects.
    pub bytes: u64,
}

/// Slots of a work queue: one a vertex, and as many as threads may hold tickets for.
pub fn slots(vertices: usize) -> u64 {
    (vertices as u64 + 64).next_power_of_two()
}

/// Bytes of a work queue.
pub fn queue_bytes(vertices: usize) -> u64 {
    layout::QUEUE_SLOTS + 8 * slots(vertices)
}

/// Writes a work queue that holds one entry.
pub fn start_queue(mm: &Arc<Mm>, queue: u64, vertices: usize, first: u64) -> Result<(), Errno> {
    store(mm, Va(queue + layout::QUEUE_HEAD), 0)?;
    store(mm, Va(queue + layout::QUEUE_TAIL), 1)?;
    store(mm, Va(queue + layout::QUEUE_OPEN), 1)?;
    store(mm, Va(queue + layout::QUEUE_MASK), slots(vertices) - 1)?;
    store(mm, Va(queue + layout::QUEUE_SLOTS), first)
}

/// Builds nodes and edges one by one, in the file's order, as a program would that reads it.
pub fn build(mm: &Arc<Mm>, graph: &Graph, root: usize) -> Result<NodeGraph, Errno> {
    let mut heap = Heap::new(mm);
    let mut nodes = vec![0; graph.vertices()];
    for &(from, to) in &graph.edges {
        for vertex in [from as usize, to as usize] {
            if nodes[vertex] == 0 {
                nodes[vertex] = new_node(mm, &mut heap, graph.ids[vertex])?;
            }
        }
        let (from, to) = (nodes[from as usize], nodes[to as usize]);
        let edge = heap.alloc(layout::EDGE_BYTES)?.0;
        store(mm, Va(edge + layout::EDGE_TO), to)?;
        store(
            mm,
            Va(edge + layout::EDGE_NEXT),
            load(mm, Va(from + layout::NODE_EDGES))?,
        )?;
        store(mm, Va(from + layout::NODE_EDGES), edge)?;
    }
    for (node, id) in nodes.iter_mut().zip(&graph.ids) {
        if *node == 0 {
            *node = new_node(mm, &mut heap, *id)?;
        }
    }
    let queue = heap
        .alloc(queue_bytes(graph.vertices()) + 64)?
        .0
        .next_multiple_of(64);
    start_queue(mm, queue, graph.vertices(), nodes[root])?;
    store(mm, Va(nodes[root] + layout::NODE_DIST), 0)?;
    store(mm, Va(nodes[root] + layout::NODE_QUEUED), 1)?;
    Ok(NodeGraph {
        nodes,
        queue,
        bytes: heap.used(),
    })
}

fn new_node(mm: &Arc<Mm>, heap: &mut Heap, id: u64) -> Result<u64, Errno> {
    let node = heap.alloc(layout::NODE_BYTES)?.0;
    store(mm, Va(node + layout::NODE_DIST), UNREACHED)?;
    store(mm, Va(node + layout::NODE_ID), id)?;
    Ok(node)
}
