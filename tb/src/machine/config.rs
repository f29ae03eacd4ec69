//! What a machine is made of.

use crate::rc::{CompleterConfig, CreditLimits, LinkSpec};

/// How the device is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// The verilated design.
    Rtl,
    /// The functional model: fast, without timing.
    Model,
}

impl Backend {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rtl => "rtl",
            Self::Model => "model",
        }
    }
}

/// How the link's two ends are set up: the verilated device's. The functional model has no TLPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PcieConfig {
    /// Max_Payload_Size, bytes.
    pub mps: u64,
    /// Max_Read_Request_Size, bytes.
    pub mrrs: u64,
    /// Up to so many nanoseconds more than the link's latency, drawn for each packet.
    pub link_jitter_ns: u64,
    /// Read completion boundary, splitting and order; latency and MPS are taken from elsewhere.
    pub completer: CompleterConfig,
    /// What the device's end advertises.
    pub device_credits: CreditLimits,
    /// What the root port advertises.
    pub host_credits: CreditLimits,
}

impl Default for PcieConfig {
    /// 256 and 512 bytes, no jitter, all credits; up to 8 cycles of a completion's latency are drawn.
    fn default() -> Self {
        Self {
            mps: 256,
            mrrs: 512,
            link_jitter_ns: 0,
            completer: CompleterConfig {
                jitter: 8,
                ..CompleterConfig::default()
            },
            device_credits: CreditLimits::LARGEST,
            host_credits: CreditLimits::LARGEST,
        }
    }
}

/// Choices for a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineConfig {
    /// How the device is simulated.
    pub backend: Backend,
    /// Devices, each behind a link of its own.
    pub devices: usize,
    /// Device memory is CPU-addressable (coherent instead of private).
    pub coherent: bool,
    /// Cycles for which a job runs when others want its place; 0: to its end (the driver's choice, not the hardware's).
    pub slice: u64,
    /// Bytes of memory of each device.
    pub vram: u64,
    /// Bytes of system memory that processes can use.
    pub ram: u64,
    /// The link.
    pub link: LinkSpec,
    /// One-way latency of the link, nanoseconds.
    pub link_latency_ns: u64,
    /// The rest of the link.
    pub pcie: PcieConfig,
    /// Latency of system memory behind the link, nanoseconds.
    pub memory_latency_ns: u64,
    /// Cycles from an accepted read of device memory to its data.
    pub vram_latency: u64,
    /// Device clock, Hz.
    pub clock_hz: u64,
    /// Seeds interleavings, pauses and latencies.
    pub seed: u64,
    /// A read of the device by the CPU is given up after this many cycles.
    pub read_timeout: u64,
    /// The run ends with an error after this many cycles.
    pub max_cycles: u64,
}

/// Default of [`MachineConfig::max_cycles`]: minutes of the verilated device.
pub const MAX_CYCLES: u64 = 200_000_000;
/// Default of [`MachineConfig::read_timeout`].
pub const READ_TIMEOUT: u64 = 200_000;
/// Most devices of a machine.
pub const MAX_DEVICES: usize = 4;
/// Smallest and largest device memory, bytes.
pub const VRAM_RANGE: (u64, u64) = (64 << 10, 1 << 30);
/// Smallest and largest system memory, bytes: below the interrupt window.
pub const RAM_RANGE: (u64, u64) = (1 << 20, 2 << 30);

impl MachineConfig {
    /// The defaults of the scenario scripts.
    #[must_use]
    pub fn new(backend: Backend, seed: u64) -> Self {
        Self {
            backend,
            devices: 1,
            coherent: false,
            slice: 100_000,
            vram: 16 << 20,
            ram: 64 << 20,
            link: LinkSpec {
                generation: 3,
                lanes: 8,
            },
            link_latency_ns: 150,
            pcie: PcieConfig::default(),
            memory_latency_ns: 100,
            vram_latency: 20,
            clock_hz: 250_000_000,
            seed,
            read_timeout: READ_TIMEOUT,
            max_cycles: MAX_CYCLES,
        }
    }

    /// The same with device memory that is CPU-addressable, or not.
    #[must_use]
    pub fn coherent(self, coherent: bool) -> Self {
        Self { coherent, ..self }
    }

    /// How the root complex completes reads.
    #[must_use]
    pub fn completer(&self) -> CompleterConfig {
        CompleterConfig {
            latency: self.cycles_of(self.memory_latency_ns),
            mps: self.pcie.mps,
            ..self.pcie.completer
        }
    }

    /// Nanoseconds in device cycles, rounded up.
    #[must_use]
    pub fn cycles_of(&self, ns: u64) -> u64 {
        (u128::from(ns) * u128::from(self.clock_hz)).div_ceil(1_000_000_000) as u64
    }

    /// The seed of a device's latencies. The first one's is the machine's.
    #[must_use]
    pub fn device_seed(&self, device: usize) -> u64 {
        self.seed ^ (device as u64) << 32
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn check(&self) -> Result<(), String> {
        let sized = |name: &str, value: u64, (low, high): (u64, u64)| {
            if value < low || value > high || !value.is_multiple_of(4096) {
                return Err(format!(
                    "{name} of {value} bytes: expected {low}..={high}, a multiple of 4096"
                ));
            }
            Ok(())
        };
        if !(1..=MAX_DEVICES).contains(&self.devices) {
            return Err(format!(
                "{} devices: expected 1..={MAX_DEVICES}",
                self.devices
            ));
        }
        sized("vram", self.vram, VRAM_RANGE)?;
        sized("ram", self.ram, RAM_RANGE)?;
        for (name, ns) in [
            ("link_latency", self.link_latency_ns),
            ("link_jitter", self.pcie.link_jitter_ns),
        ] {
            if ns > 1_000_000 {
                return Err(format!("{name} of {ns} ns: expected at most 1000000"));
            }
        }
        for (name, bytes, least, most) in [
            ("mps", self.pcie.mps, 128, 4096),
            ("mrrs", self.pcie.mrrs, 128, 4096),
            ("rcb", self.pcie.completer.rcb, 64, 128),
        ] {
            if !(least..=most).contains(&bytes) || !bytes.is_power_of_two() {
                return Err(format!(
                    "{name} of {bytes} bytes: expected a power of two of {least}..={most}"
                ));
            }
        }
        self.pcie.device_credits.check(self.pcie.mps)?;
        self.pcie.host_credits.check(self.pcie.mps)
    }
}
