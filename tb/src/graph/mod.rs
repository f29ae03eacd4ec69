//! Graphs: reading them, laying them out in a process's memory, searching them on the device.

mod flat;
mod heap;
mod nodes;
mod reader;
mod search;

pub use flat::{FlatFigures, search_flat};
pub use reader::{Graph, GraphError, read_file, read_text};
pub use search::{SearchFigures, SearchOptions, search_nodes};

/// Distance of a vertex that cannot be reached.
pub const UNREACHED: u64 = u64::MAX;

impl Graph {
    /// Distances from `root` (an index) by breadth-first search on a CPU.
    #[must_use]
    pub fn distances(&self, root: usize) -> Vec<u64> {
        let (offsets, columns) = self.rows();
        let mut distances = vec![UNREACHED; self.vertices()];
        let mut queue = std::collections::VecDeque::from([root]);
        distances[root] = 0;
        while let Some(vertex) = queue.pop_front() {
            let next = distances[vertex] + 1;
            for &to in &columns[offsets[vertex] as usize..offsets[vertex + 1] as usize] {
                let to = to as usize;
                if distances[to] == UNREACHED {
                    distances[to] = next;
                    queue.push_back(to);
                }
            }
        }
        distances
    }

    /// The graph as rows: where each vertex's edges start (one more at the end), and where they lead.
    #[must_use]
    pub fn rows(&self) -> (Vec<u64>, Vec<u64>) {
        let mut offsets = vec![0_u64; self.vertices() + 1];
        for &(from, _) in &self.edges {
            offsets[from as usize + 1] += 1;
        }
        for i in 1..offsets.len() {
            offsets[i] += offsets[i - 1];
        }
        let mut next = offsets.clone();
        let mut columns = vec![0; self.edges.len()];
        for &(from, to) in &self.edges {
            let place = &mut next[from as usize];
            columns[*place as usize] = u64::from(to);
            *place += 1;
        }
        (offsets, columns)
    }

    /// The vertex with most edges, the first of several: a search from there sees most.
    #[must_use]
    pub fn busiest(&self) -> usize {
        let (offsets, _) = self.rows();
        let mut best = (0, 0);
        for vertex in 0..self.vertices() {
            let degree = offsets[vertex + 1] - offsets[vertex];
            if degree > best.1 {
                best = (vertex, degree);
            }
        }
        best.0
    }
}
