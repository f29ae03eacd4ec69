//! A root complex with a host and the streams of a device that a test plays.
#![allow(dead_code)] // each test uses its part

use std::collections::{BTreeMap, VecDeque};

use hmmu::rc::tlp::{Tlp, TlpError};
use hmmu::rc::{
    BusError, Collector, CompleterConfig, Feeder, HostPort, HostRequest, LinkSpec, PortError,
    RcConfig, ReadError, ReadFailure, RootComplex,
};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

pub const BAR0: u64 = 0xf000_0000;
pub const BAR2: u64 = 0x40_0000_0000;
pub const DEVICE: u16 = 0x0100;
pub const MPS: u64 = 256;
pub const RCB: u64 = 64;
pub const MEMORY: usize = 1 << 16;

/// A host with some memory.
pub struct Host {
    pub memory: Vec<u8>,
    pub requests: VecDeque<HostRequest>,
    pub answers: BTreeMap<u64, Result<Vec<u8>, ReadError>>,
    pub raised: Vec<u16>,
    pub port_errors: Vec<PortError>,
}

impl Host {
    pub fn new() -> Self {
        let memory = (0..MEMORY).map(|i| (i * 7 + i / 256) as u8).collect();
        Self {
            memory,
            requests: VecDeque::new(),
            answers: BTreeMap::new(),
            raised: Vec::new(),
            port_errors: Vec::new(),
        }
    }
}

impl HostPort for Host {
    fn next_request(&mut self) -> Option<HostRequest> {
        self.requests.pop_front()
    }

    fn read_done(&mut self, id: u64, result: Result<Vec<u8>, ReadError>) {
        assert!(
            self.answers.insert(id, result).is_none(),
            "read {id} was answered twice"
        );
    }

    fn mem_read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), ReadFailure> {
        let from = self
            .memory
            .get(addr as usize..addr as usize + buf.len())
            .ok_or(BusError(addr))?;
        buf.copy_from_slice(from);
        Ok(())
    }

    fn mem_write(&mut self, addr: u64, data: &[u8]) -> Result<(), BusError> {
        let to = self
            .memory
            .get_mut(addr as usize..addr as usize + data.len())
            .ok_or(BusError(addr))?;
        to.copy_from_slice(data);
        Ok(())
    }

    fn interrupt(&mut self, vector: u16) {
        self.raised.push(vector);
    }

    fn port_error(&mut self, error: PortError) {
        self.port_errors.push(error);
    }
}

/// A root complex and the streams of a device that the test plays.
pub struct Bench {
    pub complex: RootComplex,
    pub host: Host,
    pub feeder: Feeder,
    pub collector: Collector,
    pub out: VecDeque<Tlp>,
    pub rng: Pcg32,
}

impl Bench {
    pub fn new(seed: u64) -> Self {
        Self::with_link(
            seed,
            LinkSpec {
                generation: 3,
                lanes: 8,
            },
        )
    }

    pub fn with_link(seed: u64, link: LinkSpec) -> Self {
        Self::with(&RcConfig {
            link,
            ..Self::config(seed)
        })
    }

    /// What [`Bench::new`] makes.
    pub fn config(seed: u64) -> RcConfig {
        RcConfig {
            link_latency: 10,
            completer: CompleterConfig {
                latency: 20,
                jitter: 30,
                rcb: RCB,
                mps: MPS,
                ..CompleterConfig::default()
            },
            bar0: BAR0,
            bar2: BAR2,
            bdf: DEVICE,
            seed,
            ..RcConfig::default()
        }
    }

    pub fn with(config: &RcConfig) -> Self {
        let seed = config.seed;
        Self {
            complex: RootComplex::new(config),
            host: Host::new(),
            feeder: Feeder::default(),
            collector: Collector::default(),
            out: VecDeque::new(),
            rng: Pcg32::seed_from_u64(seed),
        }
    }

    /// One clock with random back-pressure; the packet that arrived at the device, if one did.
    pub fn clock(&mut self) -> Option<Tlp> {
        self.clock_any()
            .map(|packet| packet.expect("a good packet"))
    }

    /// The same, for packets that may be malformed.
    pub fn clock_any(&mut self) -> Option<Result<Tlp, TlpError>> {
        if !self.feeder.is_busy()
            && let Some(tlp) = self.out.pop_front()
        {
            self.feeder.load(&tlp);
        }
        let offer = self.complex.offer();
        let taken = offer.is_some() && self.rng.random_ratio(3, 4);
        let sent = if self.complex.ready() {
            self.feeder.beat()
        } else {
            None
        };
        if sent.is_some() {
            self.feeder.advance();
        }
        self.complex.clock(taken, sent.as_ref(), &mut self.host);
        let beat = offer.filter(|_| taken)?;
        self.collector.push(&beat).transpose()
    }
}
