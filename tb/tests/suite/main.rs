//! Tests of the machine, the command `hmmu`, and the device as a whole. In one program: each links the verilated device.

mod common;

mod bad_calls;
mod bad_input;
mod bench;
mod bench_copy;
mod book;
mod browser;
mod commands;
mod completions;
mod conformance;
mod doctor;
mod elf;
mod explore;
mod fuzz;
mod graphs;
mod inject;
mod kernels;
mod link;
mod link_failures;
mod oracle;
mod oracle_files;
#[cfg(feature = "rtl")]
mod preempt;
mod report;
mod root_complex;
mod scenarios;
mod seeds;
#[cfg(feature = "rtl")]
mod sweep;
mod tlp;
mod traces;
#[cfg(feature = "rtl")]
mod waves;
