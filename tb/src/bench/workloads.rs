//! The workloads: their data, and what must come out.

mod bfs;
mod join;
mod random;
mod regular;

use super::image::Image;
use super::workload::{Case, Shape};
use crate::kernels::KernelError;

pub(super) use regular::triad;

/// A workload by name.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// Puts its data into an image.
    pub build: fn(&mut Image, &Shape) -> Result<Case, KernelError>,
}

/// All of them.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "chase",
        about: "pointer chase, a chain for each thread",
        build: random::chase,
    },
    Workload {
        name: "bfs",
        about: "breadth-first search over linked nodes",
        build: bfs::bfs,
    },
    Workload {
        name: "gups",
        about: "random access: load, exclusive-or, store",
        build: random::gups,
    },
    Workload {
        name: "stream",
        about: "streaming, a = b + s * c",
        build: regular::stream,
    },
    Workload {
        name: "stride",
        about: "a word of each page in turn",
        build: regular::stride,
    },
    Workload {
        name: "transpose",
        about: "matrix transpose, a page per row",
        build: regular::transpose,
    },
    Workload {
        name: "hash_join",
        about: "hash join, chains of wide rows",
        build: join::hash_join,
    },
    Workload {
        name: "histogram",
        about: "histogram with atomics",
        build: random::histogram,
    },
];
