//! Breadth-first search.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use crate::bench::image::Image;
use crate::bench::workload::{Case, Phase, Shape};
use crate::graph::{Graph, UNREACHED};
use crate::kernels::{self, KernelError, layout};

/// Bytes from one node to the next: nodes with a payload.
const NODE_BYTES: u64 = 2048;
/// Edges of each node, on average.
const DEGREE: u64 = 8;

/// A random graph as linked nodes and edges, in no order.
pub fn bfs(image: &mut Image, shape: &Shape) -> Result<Case, KernelError> {
    let vertices: u64 = shape.size.of(128, 2048, 8192);
    let mut rng = Pcg32::seed_from_u64(shape.seed);
    let ends = |rng: &mut Pcg32| rng.random_range(0..vertices) as u32;
    let graph = Graph {
        ids: (0..vertices).collect(),
        edges: (0..DEGREE * vertices)
            .map(|_| (ends(&mut rng), ends(&mut rng)))
            .collect(),
    };
    let root = graph.busiest();
    let node_pages = vertices * NODE_BYTES / 4096;
    let edge_pages = (graph.edges.len() as u64 * layout::EDGE_BYTES).div_ceil(4096);
    let base = image.pages(node_pages + edge_pages);
    let mut nodes: Vec<u64> = (0..vertices).map(|k| base + k * NODE_BYTES).collect();
    nodes.shuffle(&mut rng);
    let mut places: Vec<u64> = (0..graph.edges.len() as u64)
        .map(|k| base + 4096 * node_pages + k * layout::EDGE_BYTES)
        .collect();
    places.shuffle(&mut rng);
    let mut first = vec![0; nodes.len()];
    for (&(from, to), &at) in graph.edges.iter().zip(&places) {
        let first = &mut first[from as usize];
        image.store(at + layout::EDGE_TO, nodes[to as usize]);
        image.store(at + layout::EDGE_NEXT, *first);
        *first = at;
    }
    for (vertex, &node) in nodes.iter().enumerate() {
        let is_root = vertex == root;
        image.store(
            node + layout::NODE_DIST,
            if is_root { 0 } else { UNREACHED },
        );
        image.store(node + layout::NODE_EDGES, first[vertex]);
        image.store(node + layout::NODE_QUEUED, u64::from(is_root));
        image.store(node + layout::NODE_ID, vertex as u64);
    }
    let slots = (vertices + shape.threads).next_power_of_two();
    let queue = image.take(layout::QUEUE_SLOTS + 8 * slots, 4096);
    image.store(queue + layout::QUEUE_TAIL, 1);
    image.store(queue + layout::QUEUE_OPEN, 1);
    image.store(queue + layout::QUEUE_MASK, slots - 1);
    image.store(queue + layout::QUEUE_SLOTS, nodes[root]);
    let data_pages = (image.base() + image.len() - base).div_ceil(4096);
    let expected = nodes
        .iter()
        .zip(graph.distances(root))
        .map(|(node, distance)| (node + layout::NODE_DIST, distance))
        .collect();
    Ok(Case {
        phases: vec![Phase {
            program: kernels::bfs_nodes()?,
            args: vec![queue],
        }],
        data: (base, data_pages),
        expected,
    })
}
