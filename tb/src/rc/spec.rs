//! Generation and width of a link, and what of its bytes is payload (specification sections 3.5, 3.6 and 4.2).

use std::str::FromStr;

/// Bytes that go with each TLP. At 8b/10b: STP symbol, sequence number (2), LCRC (4), END symbol. At 128b/130b: STP token
/// (4, sequence number in it) and LCRC (4). Sections 3.6.2, 4.2.1.2 and 4.2.2.3.
pub const FRAMING: u64 = 8;
/// Bytes of a DLLP on the link: six and two of framing (SDP and END symbols, or the SDP token). Section 3.5.1.
pub const DLLP_BYTES: u64 = 8;
/// TLPOverhead of the timers of section 3.6.3.1: header, digest, LCRC, framing, rounded up.
const TIMER_OVERHEAD: u64 = 28;

/// Generation and width of a link, such as `gen3x8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// PCIe generation, 1..=5.
    pub generation: u32,
    /// Lanes: 1, 2, 4, 8 or 16.
    pub lanes: u32,
}

/// Bytes that a TLP of this header (12 or 16 bytes) and payload takes on the link.
#[must_use]
pub const fn tlp_bytes(header: u64, payload: u64) -> u64 {
    header + payload + FRAMING
}

/// Share of the link's bytes that is payload when TLPs of this header (bytes) and payload (bytes) follow each other
/// without a gap: `payload / (payload + header + 8)`. The theoretical limit of one direction while the other is idle:
/// of a write of `MPS` bytes to an address below 4 GiB `payload_share(MPS, 12)`, above it `payload_share(MPS, 16)`, of
/// a read, whose data comes in completions, `payload_share(bytes of one completion, 12)`.
///
/// ```
/// let share = hmmu::rc::payload_share(256, 12);
/// assert!((share - 256.0 / 276.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn payload_share(payload: u64, header: u64) -> f64 {
    payload as f64 / tlp_bytes(header, payload) as f64
}

impl LinkSpec {
    /// Bytes a second of one lane each way, line coding taken off.
    #[must_use]
    pub fn lane_bytes_per_second(self) -> u64 {
        // GT/s of one lane, times the coding's share, over eight bits (specification section 4.2).
        match self.generation {
            1 => 250_000_000,
            2 => 500_000_000,
            3 => 8_000_000_000 / 8 * 128 / 130,
            4 => 16_000_000_000 / 8 * 128 / 130,
            _ => 32_000_000_000 / 8 * 128 / 130,
        }
    }

    /// Bytes a second each way, line coding taken off.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        self.lane_bytes_per_second() * u64::from(self.lanes)
    }

    /// Bytes of payload per cycle of a clock (Hz) that one direction carries at most, the other being idle:
    /// [`payload_share`] of the rate.
    #[must_use]
    pub fn payload_rate(self, clock_hz: u64, payload: u64, header: u64) -> f64 {
        self.bytes_per_second() as f64 / clock_hz as f64 * payload_share(payload, header)
    }

    /// How long a receiver may wait before it acknowledges TLPs, in symbol times (bytes of one lane), for a largest
    /// payload of `mps` bytes: `(mps + 28) * AckFactor / lanes + InternalDelay` (section 3.6.3.1). UpdateFC DLLPs are to
    /// be sent at the same intervals (section 2.6.1.2). The internal delay is that of 8 GT/s for the faster ones too.
    #[must_use]
    pub fn ack_limit(self, mps: u64) -> u64 {
        // In tenths, as in the table.
        let factor = match (mps, self.lanes) {
            (..=256, ..=4) => 14,
            (..=256, 8) => 25,
            (..=256, _) => 30,
            (_, ..=8) => 10,
            _ => 20,
        };
        let delay = match self.generation {
            1 => 19,
            2 => 70,
            _ => 115,
        };
        (mps + TIMER_OVERHEAD) * factor / 10 / u64::from(self.lanes) + delay
    }

    /// Share of a direction's bytes that the DLLPs for the other direction take, when both are full of writes of `mps`
    /// bytes: an Ack and an UpdateFC with each `n`-th TLP, the first that comes after [`LinkSpec::ack_limit`]. Each
    /// direction then carries `payload_share * (1 - dllp_share)` of its rate.
    #[must_use]
    pub fn dllp_share(self, mps: u64) -> f64 {
        self.dllp_share_every(mps, tlp_bytes(12, mps))
    }

    /// The same of a direction that is full while the other one sends a TLP for every `bytes` bytes of it: read
    /// requests for the completions that this one carries.
    #[must_use]
    pub fn dllp_share_every(self, mps: u64, bytes: u64) -> f64 {
        let n = self.ack_limit(mps) * u64::from(self.lanes) / bytes + 1;
        let dllps = 2 * DLLP_BYTES;
        dllps as f64 / (n * bytes + dllps) as f64
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
