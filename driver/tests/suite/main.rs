//! The driver on the functional device.

mod accessed;
mod coherent;
mod common;
mod exclusive;
mod field;
mod hang;
mod interplay;
mod jobs;
mod large;
mod link_errors;
mod memory;
mod migration;
mod races;
mod slices;
mod suspend;
mod translation;
mod traps;
mod two_devices;
mod user_faults;
mod written;
