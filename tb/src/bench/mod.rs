//! `hmmu bench mmu`: what address translation costs.
//!
//! A bare host ([`BareHost`]) drives the machine's device without hmm-core and the driver: it lays page tables,
//! data and programs out in device memory, sets contexts, launches jobs and reads the counters. Each workload runs
//! translated and in bypass mode, which is the ideal MMU; its share of the ideal is the cycles of the second over
//! those of the first.

#[cfg_attr(not(feature = "rtl"), path = "no_block.rs")]
mod block;
mod copy;
mod copy_report;
mod counts;
mod cpu_time;
mod events;
mod harvest;
mod host;
mod image;
pub mod limits;
mod measure;
mod migrate;
mod report;
mod row;
mod suite;
mod tables;
mod workload;
mod workloads;

pub use block::Block;
pub use copy::{BothWays, CopyFigures, CopyPart, LinkShare, Rate};
pub use copy_report::CopyReport;
pub use counts::Counts;
pub use cpu_time::CpuTime;
pub use events::{Events, FaultFigures, InvalidateFigures, OtherFigures};
pub use harvest::HarvestFigures;
pub use host::{BareHost, BenchError, Caps, Ticket};
pub use image::Image;
pub use measure::{Measured, Mode, Run, measure};
pub use migrate::MigrateFigures;
pub use report::Report;
pub use suite::{ABLATIONS, Ablation, Changed, Pair, Plan, Results};
pub use tables::{PageSize, Tables};
pub use workload::{Case, Phase, Shape, Size};
pub use workloads::{WORKLOADS, Workload};
