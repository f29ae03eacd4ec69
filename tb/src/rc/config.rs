//! What a root complex and its link are like.

use super::completer::CompleterConfig;
use super::credits::CreditLimits;
use super::link::LinkConfig;
use super::spec::LinkSpec;

/// What the root complex and its link are like.
#[derive(Clone, Copy, Debug)]
pub struct RcConfig {
    /// The link.
    pub link: LinkSpec,
    /// Device clock, Hz.
    pub clock_hz: u64,
    /// One-way latency, cycles.
    pub link_latency: u64,
    /// Up to this many cycles more for each packet.
    pub link_jitter: u64,
    /// The completer.
    pub completer: CompleterConfig,
    /// Max_Read_Request_Size, bytes: longer reads of the device are malformed.
    pub mrrs: u64,
    /// What the device's end of the link advertises.
    pub device_credits: CreditLimits,
    /// What the root port advertises.
    pub host_credits: CreditLimits,
    /// Bus address of BAR0.
    pub bar0: u64,
    /// Bus address of BAR2.
    pub bar2: u64,
    /// Bus, device and function of the device.
    pub bdf: u16,
    /// Seeds latencies and completion splitting.
    pub seed: u64,
}

impl Default for RcConfig {
    /// Gen3 x8 at 250 MHz without latency and with all credits; the windows below and above 4 GiB as firmware places them.
    fn default() -> Self {
        Self {
            link: LinkSpec {
                generation: 3,
                lanes: 8,
            },
            clock_hz: 250_000_000,
            link_latency: 0,
            link_jitter: 0,
            completer: CompleterConfig::default(),
            mrrs: 4096,
            device_credits: CreditLimits::LARGEST,
            host_credits: CreditLimits::LARGEST,
            bar0: 0xf000_0000,
            bar2: 0x40_0000_0000,
            bdf: 0x0100,
            seed: 0,
        }
    }
}

impl RcConfig {
    fn direction(&self, credits: CreditLimits, seed: u64) -> LinkConfig {
        LinkConfig {
            spec: self.link,
            clock_hz: self.clock_hz,
            latency: self.link_latency,
            jitter: self.link_jitter,
            credits,
            mps: self.completer.mps,
            seed: self.seed ^ seed,
        }
    }

    /// The direction to the device.
    #[must_use]
    pub fn down(&self) -> LinkConfig {
        self.direction(self.device_credits, 0x646f_776e)
    }

    /// The direction to the host.
    #[must_use]
    pub fn up(&self) -> LinkConfig {
        self.direction(self.host_credits, 0x7570)
    }
}
