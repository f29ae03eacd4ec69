//! One direction of a PCIe link: packets leave at the link's rate and arrive after its latency.

use std::collections::VecDeque;
use std::str::FromStr;

use super::tlp::Tlp;

/// Fractions of a byte per cycle that the rate is counted in.
const FRACTION: u64 = 1024;
/// Framing, sequence number and LCRC of a packet, in bytes: STP token and LCRC at 8b/130b
/// (specification section 4.2.2.3); older generations have the same sum.
const FRAMING: u64 = 8;
/// The sender holds back when this many cycles of packets wait for the wire.
const BACKLOG: u64 = 32;

/// Generation and width of a link, such as `gen3x8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// PCIe generation, 1..=5.
    pub generation: u32,
    /// Lanes: 1, 2, 4, 8 or 16.
    pub lanes: u32,
}

impl LinkSpec {
    /// Bytes a second each way, line coding taken off.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        // GT/s of one lane, times the coding's share, over eight bits (specification section 4.2).
        let lane = match self.generation {
            1 => 250_000_000,
            2 => 500_000_000,
            3 => 8_000_000_000 / 8 * 128 / 130,
            4 => 16_000_000_000 / 8 * 128 / 130,
            _ => 32_000_000_000 / 8 * 128 / 130,
        };
        lane * u64::from(self.lanes)
    }
}

impl FromStr for LinkSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || {
            format!(
                "link {text:?}: expected genGxL with G of 1..5 and L of 1, 2, 4, 8, 16, such as gen3x8"
            )
        };
        let (generation, lanes) = text
            .strip_prefix("gen")
            .and_then(|rest| rest.split_once('x'))
            .ok_or_else(error)?;
        let generation = generation.parse().map_err(|_| error())?;
        let lanes = lanes.parse().map_err(|_| error())?;
        if !(1..=5).contains(&generation) || ![1, 2, 4, 8, 16].contains(&lanes) {
            return Err(error());
        }
        Ok(Self { generation, lanes })
    }
}

impl std::fmt::Display for LinkSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gen{}x{}", self.generation, self.lanes)
    }
}

/// One direction.
#[derive(Debug)]
pub struct Link {
    /// Bytes per cycle, in units of 1 / FRACTION.
    rate: u64,
    /// Cycles from the last byte sent to its arrival.
    latency: u64,
    /// When the wire is free, in cycles times FRACTION.
    free_at: u64,
    in_flight: VecDeque<(u64, Tlp)>,
    bytes: u64,
}

impl Link {
    /// A link clocked by the device: `clock_hz` cycles a second, `latency` cycles one way.
    #[must_use]
    pub fn new(spec: LinkSpec, clock_hz: u64, latency: u64) -> Self {
        let rate = (u128::from(spec.bytes_per_second()) * u128::from(FRACTION)
            / u128::from(clock_hz.max(1))) as u64;
        Self {
            rate: rate.max(1),
            latency,
            free_at: 0,
            in_flight: VecDeque::new(),
            bytes: 0,
        }
    }

    /// May another packet be given at cycle `now`?
    #[must_use]
    pub fn ready(&self, now: u64) -> bool {
        self.free_at <= (now + BACKLOG) * FRACTION
    }

    /// Sends a packet at cycle `now`.
    pub fn send(&mut self, now: u64, tlp: Tlp) {
        let bytes = tlp.header_bytes() + tlp.payload().len() as u64;
        let start = self.free_at.max(now * FRACTION);
        // FRACTION cancels once: bytes / (rate / FRACTION) cycles, kept in units of 1 / FRACTION.
        self.free_at = start + (bytes + FRAMING) * FRACTION * FRACTION / self.rate;
        self.in_flight
            .push_back((self.free_at.div_ceil(FRACTION) + self.latency, tlp));
        self.bytes += bytes;
    }

    /// The next packet that has arrived by cycle `now`.
    pub fn receive(&mut self, now: u64) -> Option<Tlp> {
        match self.in_flight.front() {
            Some((arrival, _)) if *arrival <= now => self.in_flight.pop_front().map(|(_, tlp)| tlp),
            _ => None,
        }
    }

    /// Is nothing on the wire?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Header and payload bytes sent so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
