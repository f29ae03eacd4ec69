//! Build-time help for the crates that hold verilated models: finds Verilator, runs it, and compiles
//! the C++ that it writes. Used from build scripts only.
#![forbid(unsafe_code)]

mod locate;
mod model;
mod profile;

pub use locate::{Verilator, locate};
pub use model::{Model, checking, compiled, repo_root};
pub use profile::Profile;
