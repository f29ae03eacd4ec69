//! The driver on the functional device.

mod common;
mod exclusive;
mod hang;
mod jobs;
mod link_errors;
mod memory;
mod migration;
mod races;
mod traps;
mod two_devices;
