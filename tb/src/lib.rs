//! The machine around the hmmu device, and the command `hmmu`.
#![forbid(unsafe_code)]

pub mod bench;
pub mod bench_cmd;
pub mod cli;
pub mod cpu_memory;
pub mod elf;
pub mod explain_cmd;
pub mod explore;
pub mod explore_cmd;
pub mod fuzz;
pub mod fuzz_cmd;
pub mod graph;
pub mod graph_cmd;
pub mod kernel;
pub mod kernel_cmd;
pub mod kernels;
pub mod log;
pub mod machine;
pub mod machine_args;
pub mod oracle;
pub mod out;
pub mod outputs;
pub mod placement;
pub mod progress;
pub mod rc;
pub mod run_cmd;
pub mod schedule_args;
pub mod script;
pub mod session;
pub mod summary;
pub mod trace;
pub mod warps;
pub mod wave;
pub mod world;
