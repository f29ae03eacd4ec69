//! One direction of a PCIe link: packets wait for their turn and for credits, leave at the link's rate and arrive after
//! its latency.
//!
//! Which packet leaves next follows the ordering rules of the specification (table 2-40, no relaxed ordering): nothing
//! passes a posted request; a posted request and a completion pass non-posted requests that have no credits; otherwise
//! first come, first served. DLLPs go before TLPs. The link corrects its own errors (sequence numbers, LCRC, replay),
//! so a TLP that leaves arrives, in order, unless the link goes down.

use std::collections::VecDeque;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use super::credits::{Amount, CreditLimits, Dllp, FlowClass, Receiver, SenderCredits};
use super::spec::{DLLP_BYTES, FRAMING, LinkSpec};
use super::tlp::Tlp;

/// Fractions of a byte per cycle that the rate is counted in.
const FRACTION: u64 = 1024;
/// The sender holds back when this many cycles of packets wait for the wire.
const BACKLOG: u64 = 32;

/// What a direction is like.
#[derive(Clone, Copy, Debug)]
pub struct LinkConfig {
    /// Generation and width.
    pub spec: LinkSpec,
    /// Device clock, Hz.
    pub clock_hz: u64,
    /// Cycles from a packet's last byte sent to its arrival.
    pub latency: u64,
    /// Up to this many cycles more, drawn for each packet. Packets stay in order.
    pub jitter: u64,
    /// What the receiver advertises.
    pub credits: CreditLimits,
    /// Max_Payload_Size, bytes: says how often DLLPs come.
    pub mps: u64,
    /// Seeds the jitter.
    pub seed: u64,
}

/// A packet that waits.
#[derive(Debug)]
struct Queued {
    /// Its number in the order of coming.
    order: u64,
    bytes: u64,
    tlp: Tlp,
}

/// One direction.
#[derive(Debug)]
pub struct Link {
    /// Bytes per cycle, in units of 1 / FRACTION.
    rate: u64,
    latency: u64,
    jitter: u64,
    rng: Pcg32,
    /// When the wire is free, in cycles times FRACTION.
    free_at: u64,
    /// Packets that wait, by class.
    queues: [VecDeque<Queued>; 3],
    queued_bytes: [u64; 3],
    order: u64,
    credits: SenderCredits,
    receiver: Receiver,
    dllps: VecDeque<Dllp>,
    in_flight: VecDeque<(u64, Tlp)>,
    dllps_in_flight: VecDeque<(u64, Dllp)>,
    last_arrival: u64,
    /// No TLP leaves before this cycle: no credits.
    starved_until: u64,
    /// Nothing leaves before this cycle.
    paused_until: u64,
    bytes: u64,
    wire_bytes: u64,
}

impl Link {
    /// An idle direction.
    #[must_use]
    pub fn new(config: &LinkConfig) -> Self {
        let clock = u128::from(config.clock_hz.max(1));
        let rate = u128::from(config.spec.bytes_per_second()) * u128::from(FRACTION) / clock;
        // Symbol times of one lane in cycles.
        let symbols = u128::from(config.spec.ack_limit(config.mps)) * clock;
        let interval = symbols / u128::from(config.spec.lane_bytes_per_second());
        Self {
            rate: (rate as u64).max(1),
            latency: config.latency,
            jitter: config.jitter,
            rng: Pcg32::seed_from_u64(config.seed),
            free_at: 0,
            queues: Default::default(),
            queued_bytes: [0; 3],
            order: 0,
            credits: SenderCredits::new(&config.credits),
            receiver: Receiver::new(&config.credits, (interval as u64).max(1)),
            dllps: VecDeque::new(),
            in_flight: VecDeque::new(),
            dllps_in_flight: VecDeque::new(),
            last_arrival: 0,
            starved_until: 0,
            paused_until: 0,
            bytes: 0,
            wire_bytes: 0,
        }
    }

    /// May another packet be given at cycle `now`? Non-posted requests without credits do not count: what may pass
    /// them must get to where it can.
    #[must_use]
    pub fn ready(&self, now: u64) -> bool {
        let mut bytes: u64 = self.queued_bytes.iter().sum();
        if bytes != 0 && !self.has_credits(FlowClass::NonPosted) {
            bytes -= self.queued_bytes[FlowClass::NonPosted as usize];
        }
        self.free_at + self.wire_time(bytes) <= (now + BACKLOG) * FRACTION
    }

    /// Gives a packet at cycle `now`.
    pub fn send(&mut self, now: u64, tlp: Tlp) {
        let class = FlowClass::of(&tlp) as usize;
        let bytes = tlp.header_bytes() + tlp.payload().len() as u64 + FRAMING;
        self.queued_bytes[class] += bytes;
        let order = self.order;
        self.order += 1;
        self.queues[class].push_back(Queued { order, bytes, tlp });
        self.pump(now);
    }

    /// Gives what the receiver of the other direction has to tell.
    pub fn send_dllp(&mut self, dllp: Dllp) {
        self.dllps.push_back(dllp);
    }

    /// Lets what may leave in cycle `now` do so. To be called in each cycle.
    pub fn pump(&mut self, now: u64) {
        if now < self.paused_until {
            return;
        }
        while self.free_at < (now + 1) * FRACTION {
            if let Some(dllp) = self.dllps.pop_front() {
                let arrival = self.transmit(now, DLLP_BYTES);
                self.dllps_in_flight.push_back((arrival, dllp));
                continue;
            }
            let Some(class) = self.choose(now) else {
                return;
            };
            let Some(next) = self.queues[class as usize].pop_front() else {
                return;
            };
            self.credits.take(class, Amount::of(&next.tlp));
            self.queued_bytes[class as usize] -= next.bytes;
            let mut arrival = self.transmit(now, next.bytes);
            if self.jitter > 0 {
                arrival += self.rng.random_range(0..=self.jitter);
            }
            self.last_arrival = self.last_arrival.max(arrival);
            self.bytes += next.bytes - FRAMING;
            self.in_flight.push_back((self.last_arrival, next.tlp));
        }
    }

    fn wire_time(&self, bytes: u64) -> u64 {
        // FRACTION cancels once: bytes / (rate / FRACTION) cycles, kept in units of 1 / FRACTION.
        bytes * FRACTION * FRACTION / self.rate
    }

    /// Puts bytes on the wire; the cycle in which they have arrived.
    fn transmit(&mut self, now: u64, bytes: u64) -> u64 {
        self.free_at = self.free_at.max(now * FRACTION) + self.wire_time(bytes);
        self.wire_bytes += bytes;
        self.free_at.div_ceil(FRACTION) + self.latency
    }

    /// Has the first packet of a class its credits, if there is one?
    fn has_credits(&self, class: FlowClass) -> bool {
        self.queues[class as usize]
            .front()
            .is_none_or(|next| self.credits.has(class, Amount::of(&next.tlp)))
    }

    /// The class of the packet that leaves next.
    fn choose(&self, now: u64) -> Option<FlowClass> {
        if self.queued_bytes == [0; 3] || now < self.starved_until {
            return None;
        }
        let order = |class: FlowClass| self.queues[class as usize].front().map(|q| q.order);
        let posted = order(FlowClass::Posted).unwrap_or(u64::MAX);
        FlowClass::ALL
            .into_iter()
            .filter_map(|class| Some((order(class)?, class)))
            .filter(|(order, class)| *order <= posted && self.has_credits(*class))
            .min_by_key(|(order, _)| *order)
            .map(|(_, class)| class)
    }

    /// The next packet that has arrived by cycle `now`. Its place in the receiver's buffer is taken until [`Link::free`].
    pub fn receive(&mut self, now: u64) -> Option<Tlp> {
        match self.in_flight.front() {
            Some((arrival, _)) if *arrival <= now => {
                self.receiver.arrived(now);
                self.in_flight.pop_front().map(|(_, tlp)| tlp)
            }
            _ => None,
        }
    }

    /// A packet has left the receiver's buffer.
    pub fn free(&mut self, now: u64, class: FlowClass, room: Amount) {
        self.receiver.free(now, class, room);
    }

    /// What the receiver has to tell the sender at cycle `now`: it goes over the other direction.
    pub fn due(&mut self, now: u64) -> Vec<Dllp> {
        self.receiver.due(now)
    }

    /// What has arrived by cycle `now` for the sender of the other direction.
    pub fn receive_dllp(&mut self, now: u64) -> Option<Dllp> {
        match self.dllps_in_flight.front() {
            Some((arrival, _)) if *arrival <= now => {
                self.dllps_in_flight.pop_front().map(|(_, dllp)| dllp)
            }
            _ => None,
        }
    }

    /// What the receiver has told has come back.
    pub fn told(&mut self, dllp: Dllp) {
        if let Dllp::UpdateFc(class, room) = dllp {
            self.credits.give(class, room);
        }
    }

    /// The receiver grants no credits until cycle `until`.
    pub fn starve(&mut self, until: u64) {
        self.starved_until = self.starved_until.max(until);
    }

    /// Nothing leaves until cycle `until`; nothing is lost.
    pub fn pause(&mut self, until: u64) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Loses all that waits and all that is under way. Both ends start anew.
    pub fn lose(&mut self, config: &LinkConfig, now: u64) {
        let sums = (self.bytes, self.wire_bytes);
        let seed = self.rng.random();
        *self = Self::new(&LinkConfig { seed, ..*config });
        self.free_at = now * FRACTION;
        (self.bytes, self.wire_bytes) = sums;
    }

    /// Is no TLP waiting or on the wire?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.queued_bytes == [0; 3]
    }

    /// Header and payload bytes sent so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All bytes sent so far: framing and DLLPs too.
    #[must_use]
    pub fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }
}
