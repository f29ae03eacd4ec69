//! The command `hmmu`.
#![forbid(unsafe_code)]

fn main() {}
