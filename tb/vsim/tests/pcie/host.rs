//! The root complex's side of the device's own requests: system memory, and completions that are split,
//! reordered, delayed and broken at random.

use std::collections::{BTreeMap, VecDeque};

use rand::Rng;

use super::bench::Config;
use super::stream::{Beat, beats};
use super::tlp::{CA, CAS, Tlp, UR};
use super::{Bytes, TestRng, chance};

/// What becomes of a read or AtomicOp of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Good,
    Ur,
    Ca,
    /// One of its completions is poisoned.
    Poison,
    /// No completion comes.
    Silent,
    /// No completion comes in time, but one long after.
    Late,
    /// A completion with a wrong byte count, then nothing.
    BadCount,
    /// A completion with a wrong lower address, then nothing.
    BadLower,
    /// A completion with more data than was asked for, then nothing.
    TooLong,
    /// A completion whose last beat is missing.
    CutShort,
}

/// All the ways to fail.
pub const FAILURES: [Fate; 9] = [
    Fate::Ur,
    Fate::Ca,
    Fate::Poison,
    Fate::Silent,
    Fate::Late,
    Fate::BadCount,
    Fate::BadLower,
    Fate::TooLong,
    Fate::CutShort,
];

/// Codes of `err_code_o` (enum `ErrorCode`).
pub const TIMEOUT: u64 = 1;
pub const CPL_UR: u64 = 2;
pub const CPL_CA: u64 = 3;
pub const POISONED: u64 = 4;
pub const MALFORMED: u64 = 5;

struct Job {
    tag: u32,
    cas: bool,
    /// Next byte to complete.
    at: u64,
    data: Vec<u8>,
    ready_at: u64,
    fate: Fate,
}

/// System memory behind the link.
pub struct Host {
    pub mem: Bytes,
    /// Chance of a failure of a request.
    pub fail_percent: u32,
    /// Failures come in every form: reserved statuses, with data, in the middle of a read.
    pub odd: bool,
    /// The only failure to make.
    pub only: Option<Fate>,
    /// Cycles until a completion, at most.
    pub latency: u64,
    /// Posted writes that have arrived.
    pub writes: u64,
    /// TLPs that the device must count as dropped.
    pub drops: u64,
    /// Error reports that the device must give, by code.
    pub errors: BTreeMap<u64, u64>,
    jobs: VecDeque<Job>,
    late: Vec<(u64, Tlp)>,
    /// Most requests in flight so far.
    pub most: usize,
    in_flight: BTreeMap<u32, u64>,
}

impl Host {
    pub fn new() -> Self {
        Self {
            mem: Bytes::default(),
            fail_percent: 0,
            odd: false,
            only: None,
            latency: 60,
            writes: 0,
            drops: 0,
            errors: BTreeMap::new(),
            jobs: VecDeque::new(),
            late: Vec::new(),
            most: 0,
            in_flight: BTreeMap::new(),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.late.is_empty()
    }

    /// Tags of requests that wait for a completion, all of which will be good: the address of the next byte, the bytes
    /// to come, and whether it is an AtomicOp.
    pub fn pending(&self) -> impl Iterator<Item = (u32, u64, usize, bool)> {
        let good = self.jobs.iter().filter(|job| job.fate == Fate::Good);
        good.map(|job| (job.tag, job.at, job.data.len(), job.cas))
    }

    /// A tag that no request holds, if there is one.
    pub fn free_tag(&self) -> Option<u32> {
        (0..64).find(|t| !self.in_flight.contains_key(t))
    }

    /// A request arrives. For a read: the bytes that it must give the device, and its fate.
    pub fn accept(
        &mut self,
        cfg: &Config,
        tlp: &Tlp,
        now: u64,
        rng: &mut TestRng,
    ) -> (Vec<u8>, Fate) {
        tlp.check_request(cfg, &format!("{}: {:032x}", cfg.who, tlp.header));
        if tlp.is_write() {
            self.writes += 1;
            for (addr, byte) in tlp.written() {
                self.mem.set(addr, byte);
            }
            return (Vec::new(), Fate::Good);
        }
        let (at, data) = if tlp.kind() == CAS {
            let size = tlp.data.len() / 2;
            let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |v, &b| v << 8 | u64::from(b));
            let old = self.mem.cas(
                tlp.addr(),
                size,
                word(&tlp.data[..size]),
                word(&tlp.data[size..]),
            );
            (0, old.to_le_bytes()[..size].to_vec())
        } else {
            let (addr, len) = tlp.span();
            (addr, self.mem.read(addr, len))
        };
        let tag = tlp.tag();
        assert!(tag < cfg.tags, "{}: tag {tag}", cfg.who);
        // A tag that timed out rests; the device may use it again afterwards.
        let free_at = self.in_flight.insert(tag, u64::MAX);
        assert!(
            free_at.is_none_or(|at| at <= now),
            "{}: tag {tag} is in use",
            cfg.who
        );
        self.most = self.most.max(
            self.in_flight
                .values()
                .filter(|&&at| at == u64::MAX)
                .count(),
        );
        let mut fate = Fate::Good;
        if chance(rng, self.fail_percent) {
            fate = FAILURES[rng.random_range(0..FAILURES.len())];
            fate = self.only.unwrap_or(fate);
            // To be cut short a completion needs two beats.
            if fate == Fate::CutShort && (tlp.dws() <= 4 || tlp.kind() == CAS) {
                fate = Fate::TooLong;
            }
        }
        let code = match fate {
            Fate::Good => None,
            Fate::Ur => Some(CPL_UR),
            Fate::Ca => Some(CPL_CA),
            Fate::Poison => Some(POISONED),
            _ => Some(TIMEOUT),
        };
        if let Some(code) = code {
            *self.errors.entry(code).or_default() += 1;
        }
        let rest = cfg.timeout * 5 / 4 + 300;
        match fate {
            Fate::BadCount | Fate::BadLower | Fate::TooLong | Fate::CutShort | Fate::Late => {
                self.drops += 1
            }
            _ => {}
        }
        if code == Some(TIMEOUT) {
            // Twice the timeout after it went out, which was a little earlier.
            self.in_flight
                .insert(tag, now + (2 * cfg.timeout).saturating_sub(150));
        }
        match fate {
            Fate::Silent => {}
            Fate::Late => {
                let lower = if tlp.kind() == CAS { 0 } else { at };
                let (_, _, _, dws) = super::tlp::enables(lower, data.len());
                let payload = vec![0x77; dws * 4];
                let tlp = Tlp::completion(cfg.rc_id, cfg.bdf, tag, 0, data.len(), lower, payload);
                self.late.push((now + rest, tlp));
            }
            _ => {
                let ready_at = now + rng.random_range(1..=self.latency);
                self.jobs.push_back(Job {
                    tag,
                    cas: tlp.kind() == CAS,
                    at,
                    data: data.clone(),
                    ready_at,
                    fate,
                });
            }
        }
        (data, fate)
    }

    /// A completion to send now, or none.
    pub fn complete(&mut self, cfg: &Config, now: u64, rng: &mut TestRng) -> Option<Vec<Beat>> {
        if let Some(i) = self.late.iter().position(|(at, _)| *at <= now) {
            return Some(beats(&self.late.remove(i).1));
        }
        let due: Vec<usize> = (0..self.jobs.len())
            .filter(|&i| self.jobs[i].ready_at <= now)
            .collect();
        if due.is_empty() {
            return None;
        }
        let i = due[rng.random_range(0..due.len())];
        let job = &mut self.jobs[i];
        let (tag, fate) = (job.tag, job.fate);
        let refused = fate == Fate::Ur || fate == Fate::Ca;
        if refused && !(self.odd && !job.cas && job.data.len() > 128 && chance(rng, 50)) {
            // Statuses that are reserved count as Unsupported Request.
            let status = match fate {
                Fate::Ca => CA,
                _ if self.odd => [UR, 2, 3, 5, 6, 7][rng.random_range(0..6)],
                _ => UR,
            };
            let data = if self.odd && chance(rng, 20) {
                vec![0x22; 4 * rng.random_range(1..33)]
            } else {
                Vec::new()
            };
            let (left, at) = (job.data.len(), job.at);
            let tlp = Tlp::completion(cfg.rc_id, cfg.bdf, tag, status, left, at, data);
            self.jobs.remove(i);
            self.in_flight.remove(&tag);
            return Some(beats(&tlp));
        }
        // Up to which byte: the end, or a multiple of the RCB on the way, within MPS.
        let rcb = if cfg.rcb { 128 } else { 64 };
        let end = job.at + job.data.len() as u64;
        let limit = (job.at & !3) + (128 << cfg.mps);
        let mut stops: Vec<u64> = ((job.at / rcb + 1)..)
            .map(|n| n * rcb)
            .take_while(|&s| s < end && s <= limit)
            .collect();
        if end <= limit {
            stops.push(end);
        }
        if refused {
            // Good so far.
            stops.retain(|&stop| stop < end);
        } else if fate != Fate::Good && fate != Fate::Poison {
            stops = vec![*stops.last()?];
        }
        let stop = if job.cas {
            end
        } else {
            stops[rng.random_range(0..stops.len())]
        };
        let (_, _, start, dws) = super::tlp::enables(job.at, (stop - job.at) as usize);
        // Of a single beat nothing would be left.
        let fate = match fate {
            Fate::CutShort if dws <= 4 => Fate::TooLong,
            other => other,
        };
        let mut payload = vec![0x55; dws * 4];
        let offset = (job.at - start) as usize;
        let bytes = (stop - job.at) as usize;
        payload[offset..offset + bytes].copy_from_slice(&job.data[..bytes]);
        let mut count = job.data.len();
        let mut lower = job.at;
        match fate {
            Fate::BadCount => count += 1,
            Fate::BadLower => lower ^= 4,
            Fate::TooLong => payload.extend([0x44; 4]),
            _ => {}
        }
        let mut tlp = Tlp::completion(cfg.rc_id, cfg.bdf, tag, 0, count, lower, payload);
        // Poison falls on the last completion at the latest.
        if fate == Fate::Poison && (stop == end || chance(rng, 50)) {
            tlp = tlp.poke(0, 14, 1, 1);
            job.fate = if stop == end {
                Fate::Poison
            } else {
                Fate::Good
            };
        }
        let broken = !refused && !matches!(fate, Fate::Good | Fate::Poison);
        if stop == end || broken {
            self.jobs.remove(i);
            if !broken {
                self.in_flight.remove(&tag);
            }
        } else {
            job.at = stop;
            job.data.drain(..bytes);
            job.ready_at = now + rng.random_range(1..=self.latency);
        }
        let mut out = beats(&tlp);
        if fate == Fate::CutShort {
            out.pop();
            // With half a beat missing it would be whole again on a wide stream.
            let half = cfg.wide && out.len() % 2 == 1;
            if let Some(last) = out.last_mut() {
                last.eop = chance(rng, 50) && !half;
            }
        }
        Some(out)
    }
}
