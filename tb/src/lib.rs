//! The machine around the hmmu device, and the command `hmmu`.
#![forbid(unsafe_code)]

pub mod kernels;
pub mod log;
pub mod machine;
pub mod oracle;
pub mod rc;
