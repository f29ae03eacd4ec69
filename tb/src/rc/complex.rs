//! The root complex as a whole: two links, the completer, the host's requests, interrupts.

use rand::SeedableRng;
use rand_pcg::Pcg32;

use super::completer::{Completer, CompleterConfig};
use super::link::{Link, LinkSpec};
use super::requester::{Requester, Windows};
use super::stream::{Beat, Collector, Feeder};
use super::tlp::{Tlp, WriteReq, enabled_span};
use super::{HostPort, ReadFault};

/// Interrupt messages are writes to this megabyte; the data is the vector number.
const MSI_BASE: u64 = 0xfee0_0000;
const MSI_MASK: u64 = !0xf_ffff;
/// Requester ID of the root complex: bus 0, device 0, function 0.
const RC_ID: u16 = 0;

/// What the root complex and its link are like.
#[derive(Clone, Copy, Debug)]
pub struct RcConfig {
    /// The link.
    pub link: LinkSpec,
    /// Device clock, Hz.
    pub clock_hz: u64,
    /// One-way latency, cycles.
    pub link_latency: u64,
    /// The completer.
    pub completer: CompleterConfig,
    /// Bus address of BAR0.
    pub bar0: u64,
    /// Bus address of BAR2.
    pub bar2: u64,
    /// Bus, device and function of the device.
    pub bdf: u16,
    /// Seeds latencies and completion splitting.
    pub seed: u64,
}

/// What came over the link, header and payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkBytes {
    /// Host to device.
    pub to_device: u64,
    /// Device to host.
    pub to_host: u64,
}

impl LinkBytes {
    /// What went over the link since an earlier reading.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            to_device: self.to_device - before.to_device,
            to_host: self.to_host - before.to_host,
        }
    }
}

/// A root complex with one device behind its link. Call [`RootComplex::offer`] before and
/// [`RootComplex::clock`] after each device clock.
#[derive(Debug)]
pub struct RootComplex {
    now: u64,
    down: Link,
    up: Link,
    feeder: Feeder,
    collector: Collector,
    completer: Completer,
    requester: Requester,
    rng: Pcg32,
    hung: bool,
    host_turn: bool,
    malformed: u64,
}

impl RootComplex {
    /// A root complex with an idle link.
    #[must_use]
    pub fn new(config: &RcConfig) -> Self {
        let windows = Windows {
            registers: config.bar0,
            vram: config.bar2,
        };
        Self {
            now: 0,
            down: Link::new(config.link, config.clock_hz, config.link_latency),
            up: Link::new(config.link, config.clock_hz, config.link_latency),
            feeder: Feeder::default(),
            collector: Collector::default(),
            completer: Completer::new(config.completer, RC_ID),
            requester: Requester::new(windows, RC_ID, config.bdf),
            rng: Pcg32::seed_from_u64(config.seed ^ 0x726f_6f74),
            hung: false,
            host_turn: false,
            malformed: 0,
        }
    }

    /// The beat that the device may take in this clock.
    #[must_use]
    pub fn offer(&self) -> Option<Beat> {
        self.feeder.beat()
    }

    /// Can a beat of the device be taken in this clock?
    #[must_use]
    pub fn ready(&self) -> bool {
        self.up.ready(self.now)
    }

    /// One clock has passed: `taken` tells that the device took the beat on offer, `beat` is what it sent.
    pub fn clock(&mut self, taken: bool, beat: Option<&Beat>, host: &mut dyn HostPort) {
        self.now += 1;
        if taken {
            self.feeder.advance();
        }
        if let Some(beat) = beat {
            match self.collector.push(beat) {
                Ok(Some(tlp)) => self.up.send(self.now, tlp),
                Ok(None) => {}
                Err(_) => self.malformed += 1,
            }
        }
        while let Some(tlp) = self.up.receive(self.now) {
            if !self.hung {
                self.take(tlp, host);
            }
        }
        if self.down.ready(self.now) {
            // In turn: neither what the device waits for nor what the host wants may starve the other.
            self.host_turn = !self.host_turn;
            let next = if self.host_turn {
                let request = self.requester.next(host);
                request.or_else(|| self.completer.next(self.now, host, &mut self.rng))
            } else {
                let completion = self.completer.next(self.now, host, &mut self.rng);
                completion.or_else(|| self.requester.next(host))
            };
            if let Some(tlp) = next {
                self.down.send(self.now, tlp);
            }
        }
        if !self.feeder.is_busy()
            && let Some(tlp) = self.down.receive(self.now)
            && !self.hung
        {
            self.feeder.load(&tlp);
        }
    }

    /// Lets one read of the device to come fail.
    pub fn fail_read(&mut self, fault: ReadFault) {
        self.completer.fail_read(fault);
    }

    /// From now on nothing gets through, either way.
    pub fn hang(&mut self) {
        self.hung = true;
    }

    /// Is nothing under way in the root complex or on the link?
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.down.is_idle()
            && self.up.is_idle()
            && !self.feeder.is_busy()
            && self.completer.is_idle()
            && self.requester.is_idle()
    }

    /// Bytes over the link so far.
    #[must_use]
    pub fn bytes(&self) -> LinkBytes {
        LinkBytes {
            to_device: self.down.bytes(),
            to_host: self.up.bytes(),
        }
    }

    /// Packets of the device that were malformed or that nobody waited for.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    fn take(&mut self, tlp: Tlp, host: &mut dyn HostPort) {
        match tlp {
            Tlp::Write(req) if req.addr & MSI_MASK == MSI_BASE => {
                let mut raw = [0; 4];
                raw.copy_from_slice(&req.data[..4]);
                host.interrupt((u32::from_le_bytes(raw) & 0xffff) as u16);
            }
            Tlp::Write(req) => {
                // Posted: a write that nobody takes is lost, as on a real bus, but counted.
                if write(&req, host).is_err() {
                    self.malformed += 1;
                }
            }
            Tlp::Read(req) => self.completer.read(self.now, &req, &mut self.rng),
            Tlp::Atomic(req) => self.completer.atomic(self.now, &req, host, &mut self.rng),
            Tlp::Completion(cpl) => {
                if !self.requester.completion(&cpl, host) {
                    self.malformed += 1;
                }
            }
        }
    }
}

fn write(req: &WriteReq, host: &mut dyn HostPort) -> Result<(), super::BusError> {
    let dwords = req.data.len() / 4;
    if dwords <= 2 {
        // One or two DWs may have holes between their enabled bytes.
        for (i, byte) in req.data.iter().enumerate() {
            let be = if i < 4 { req.first_be } else { req.last_be };
            if be >> (i % 4) & 1 == 1 {
                host.mem_write(req.addr + i as u64, std::slice::from_ref(byte))?;
            }
        }
        return Ok(());
    }
    let (start, len) = enabled_span(req.addr, dwords as u16, req.first_be, req.last_be);
    let skip = (start - req.addr) as usize;
    host.mem_write(start, &req.data[skip..skip + len])
}
