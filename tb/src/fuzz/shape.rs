//! What a program runs on.

use rand::Rng;
use rand_pcg::Pcg32;

use hmmu_driver::Atomics;

use crate::machine::{Backend, MachineConfig};

/// The machine of a program, and how many threads it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Devices.
    pub devices: usize,
    /// Threads, each with processes of its own.
    pub lanes: usize,
    /// Bytes of memory of each device.
    pub vram: u64,
    /// Bytes of system memory.
    pub ram: u64,
    /// Device memory is too small for all pages.
    pub tight: bool,
    /// How devices do atomics on system memory.
    pub atomics: Atomics,
    /// Mappings are often of whole huge pages.
    pub huge: bool,
    /// Pages around a device fault that are mapped along.
    pub around: u64,
}

/// Pages that a program's processes may have mapped: fewer than system memory has.
pub(super) const MOST_PAGES: usize = 3000;

impl Shape {
    /// Any shape.
    pub fn random(rng: &mut Pcg32) -> Self {
        let tight = rng.random_ratio(1, 5);
        Self {
            devices: if rng.random_ratio(1, 3) { 2 } else { 1 },
            lanes: if rng.random_ratio(1, 4) { 2 } else { 1 },
            vram: if tight { 512 << 10 } else { 32 << 20 },
            ram: 32 << 20,
            tight,
            atomics: match rng.random_range(0..4) {
                0 => Atomics::Exclusive,
                1 => Atomics::Migrate,
                _ => Atomics::Link,
            },
            huge: rng.random_ratio(1, 4),
            around: if rng.random() { 16 } else { 1 },
        }
    }

    /// A shape of which two devices must tell the same: one thread, and every page faults by itself.
    pub fn comparable(rng: &mut Pcg32) -> Self {
        Self {
            lanes: 1,
            around: 1,
            ..Self::random(rng)
        }
    }

    /// The machine.
    pub fn machine(&self, backend: Backend, seed: u64) -> MachineConfig {
        MachineConfig {
            devices: self.devices,
            vram: self.vram,
            ram: self.ram,
            ..MachineConfig::new(backend, seed)
        }
    }
}
