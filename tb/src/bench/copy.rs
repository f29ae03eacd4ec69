//! What the copy channels move, measured on the whole device over its link.
//!
//! Work begins when a semaphore opens and ends with its Completion; what is told are the device's own stamps. Rates
//! are of the second half of a row of equal copies, so the first one's latency does not count.

use hmmu_regs::{CopyEntry, CopyOp, CtxMode};

use super::host::{BareHost, BenchError, Ticket};
use super::migrate::MigrateFigures;
use super::tables::{PageSize, TRANSLATED, Tables, VRAM, resident};
use crate::machine::MachineConfig;
use crate::rc::{LinkSpec, Split, tlp_bytes};

/// Bytes of the device's data path, a cycle.
pub const WIDTH: f64 = 16.0;
/// The link on which shares are measured.
pub const NARROW: LinkSpec = LinkSpec {
    generation: 3,
    lanes: 4,
};
/// Usual payload, and header of the packets that the theory counts with, bytes.
const PAYLOAD: u64 = 256;
const HEADER: u64 = 12;
/// Bytes of the device's read requests.
const REQUEST: u64 = 512;
const PAGE: u64 = 4096;
/// Lengths of the copies.
pub const LENGTHS: [u64; 5] = [64, 256, 1024, 4096, 65536];
/// Round trips in cycles.
pub const LATENCIES: [u64; 4] = [100, 500, 1000, 2000];
/// Where unaligned copies begin on both sides.
const SHIFT: [u64; 2] = [13, 5];
/// Bytes of the buffers.
const BUFFER: u64 = 1 << 20;
/// Places in device memory: a semaphore, tables, and two buffers.
const GATE: u64 = 0;
const TABLES: u64 = 0x1_0000;
const NEAR: [u64; 2] = [2 << 20, 4 << 20];
const VRAM_BYTES: u64 = 16 << 20;
/// No measurement takes longer.
const PATIENCE: u64 = 5_000_000;

/// Bytes a cycle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Length of each copy in bytes.
    pub len: u64,
    /// Both sides at multiples of 256.
    pub aligned: f64,
    /// The source 13, the destination 5 bytes behind.
    pub unaligned: f64,
}

/// What is measured, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CopyPart {
    /// Rates by length, and both directions at once.
    Rates,
    /// Starting a copy, and many short ones.
    Start,
    /// Translated copies against physical ones.
    Translation,
    /// Reads at long round trips.
    Latency,
    /// Shares of a link that is narrower than the data path.
    Link,
    /// Pages that move, with the driver.
    Migration,
}

/// Both directions at once, share of the width each way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BothWays {
    /// From system memory to system memory.
    pub system: f64,
    /// To device memory and from it at once.
    pub vram: f64,
}

/// Share of what a link can carry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkShare {
    /// Max_Payload_Size, bytes.
    pub mps: u64,
    /// Bytes of a completion: as large as can be, or one read completion boundary.
    pub completion: u64,
    /// What it can carry with packets of these sizes, reading and writing, bytes a cycle.
    pub theory: [f64; 2],
    /// Shares of it.
    pub share: [f64; 2],
}

/// The figures of the parts that were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CopyFigures {
    /// Channels.
    pub channels: u64,
    /// From system memory and to it, by length.
    pub rates: Option<[Vec<Rate>; 2]>,
    /// Both directions at once.
    pub both_ways: Option<BothWays>,
    /// 64 bytes read and written, from Completion to Completion, less the nominal latency of the memory that they come
    /// from.
    pub latency: Option<[f64; 2]>,
    /// Copies of 64 bytes within device memory, each a descriptor, by all channels.
    pub descriptors: Option<f64>,
    /// Virtual on both sides against physical, reading and writing.
    pub translated: Option<[f64; 2]>,
    /// Reads of 4 KiB at round trips of so many cycles, bytes a cycle.
    pub tolerance: Vec<(u64, f64)>,
    /// Shares of a link of Gen3 x4.
    pub link: Vec<LinkShare>,
    /// What migration moves over the same link, and its theory in bytes a cycle.
    pub migration: Option<(MigrateFigures, f64)>,
}

/// Copies of equal length, one behind the other.
#[derive(Clone, Copy)]
struct Rows {
    src: u64,
    dst: u64,
    len: u64,
    virt: bool,
}

impl Rows {
    fn entry(self, rows: u64) -> CopyEntry {
        // The next one begins at a multiple of 256 on the same place.
        let gap = self.len.next_multiple_of(256) - self.len;
        CopyEntry::default()
            .with_op(CopyOp::Copy as u64)
            .with_src(self.src)
            .with_dst(self.dst)
            .with_len(self.len)
            .with_rows(rows)
            .with_src_gap(gap)
            .with_dst_gap(gap)
            .with_src_va(u64::from(self.virt))
            .with_dst_va(u64::from(self.virt))
    }
}

/// Copies of 4 KiB between physical addresses.
fn physical(src: u64, dst: u64) -> Rows {
    Rows {
        src,
        dst,
        len: PAGE,
        virt: false,
    }
}

/// A device with buffers.
struct Bench {
    host: BareHost,
    far: [u64; 2],
    opened: u64,
}

impl Bench {
    fn new(config: &MachineConfig) -> Result<Self, BenchError> {
        let config = MachineConfig {
            vram: VRAM_BYTES,
            ..config.clone()
        };
        let mut host = BareHost::new(&config)?;
        host.add_copy_rings()?;
        let far = [host.alloc(BUFFER)?, host.alloc(BUFFER)?];
        let bytes: Vec<u8> = (0..BUFFER).map(|at| (at * 7 + at / 256) as u8).collect();
        host.system_write(far[0], &bytes)?;
        host.poke(NEAR[0], &bytes);
        Ok(Self {
            host,
            far,
            opened: 0,
        })
    }

    /// The buffers in device memory.
    fn near(&self) -> [u64; 2] {
        NEAR.map(|at| VRAM | at)
    }

    /// Cycles from the opening of the gate to the end of all work, which channels begin together.
    fn cycles(&mut self, work: &[(usize, CopyEntry)]) -> Result<u64, BenchError> {
        self.opened += 1;
        let gate = CopyEntry::default()
            .with_op(CopyOp::Wait as u64)
            .with_src(VRAM | GATE)
            .with_dst(self.opened);
        let mut gates: Vec<(usize, Ticket)> = Vec::new();
        let mut ends = Vec::new();
        for &(channel, entry) in work {
            if gates.iter().all(|(of, _)| *of != channel) {
                gates.push((channel, self.host.copy(channel, gate)?));
            }
            ends.push(self.host.copy(channel, entry)?);
        }
        let ready = self.host.now() + 8000;
        while self.host.now() < ready {
            self.host.run(1000)?;
        }
        self.host.post(GATE, &self.opened.to_le_bytes());
        for &end in &ends {
            self.host.wait(end, PATIENCE)?;
            self.host.completion(end)?;
        }
        let begin = gates.iter().map(|(_, gate)| self.host.stamp(*gate)).min();
        let end = ends.iter().map(|end| self.host.stamp(*end)).max();
        Ok(end.unwrap_or(0) - begin.unwrap_or(0))
    }

    /// Bytes a cycle of copies of one length by a channel.
    fn rate(&mut self, rows: Rows) -> Result<f64, BenchError> {
        let count = ((BUFFER / 8) / rows.len).clamp(2, 256);
        let short = self.cycles(&[(0, rows.entry(count))])?;
        let long = self.cycles(&[(0, rows.entry(2 * count))])?;
        Ok((count * rows.len) as f64 / (long - short) as f64)
    }

    fn rates(&mut self, src: u64, dst: u64) -> Result<Vec<Rate>, BenchError> {
        let mut rates = Vec::new();
        for len in LENGTHS {
            let rows = Rows {
                src,
                dst,
                len,
                virt: false,
            };
            let shifted = Rows {
                src: src + SHIFT[0],
                dst: dst + SHIFT[1],
                ..rows
            };
            rates.push(Rate {
                len,
                aligned: self.rate(rows)?,
                unaligned: self.rate(shifted)?,
            });
        }
        Ok(rates)
    }

    /// A context that maps the buffers one after the other: system memory, then device memory.
    fn map(&mut self) -> Result<(), BenchError> {
        let pages = BUFFER / 4096;
        let places = [self.far[0], self.far[1], VRAM | NEAR[0], VRAM | NEAR[1]];
        let leaf = |at: u64| {
            let page = (at & !VRAM) / 4096;
            let of = (page / pages) as usize;
            resident(places[of.min(3)] + page % pages * 4096)
        };
        let tables = Tables::new(TABLES, 4 * BUFFER, PageSize::Base, leaf);
        self.host.poke(TABLES, &tables.bytes());
        self.host.set_context(0, tables.root(), CtxMode::Translate)
    }
}

/// A round trip of so many cycles, all of it on the link but the memory's part.
fn at_latency(config: &MachineConfig, cycles: u64) -> MachineConfig {
    let total = cycles * 1_000_000_000 / config.clock_hz;
    MachineConfig {
        link_latency_ns: total.saturating_sub(config.memory_latency_ns) / 2,
        ..config.clone()
    }
}

/// A machine whose link is narrower than the data path, with completions as large as can be.
fn narrow(config: &MachineConfig, mps: u64, split: Split) -> MachineConfig {
    let mut machine = MachineConfig {
        link: NARROW,
        ..config.clone()
    };
    machine.pcie.mps = mps;
    machine.pcie.completer.split = split;
    machine
}

/// What the narrow link carries of payload in packets of so many bytes, bytes a cycle.
fn theory(config: &MachineConfig, payload: u64) -> f64 {
    NARROW
        .payload_rate(config.clock_hz, payload, HEADER)
        .min(WIDTH)
}

/// Cycles from a read request's last byte on its way to that of its data: both ways, the memory, and the time that the
/// packets take of the link.
fn round_trip(config: &MachineConfig, bytes: u64) -> u64 {
    let packets = tlp_bytes(HEADER, 0) + tlp_bytes(HEADER, bytes);
    let wire = (packets * config.clock_hz).div_ceil(config.link.bytes_per_second());
    let ways = 2 * config.cycles_of(config.link_latency_ns);
    ways + config.cycles_of(config.memory_latency_ns) + wire
}

impl CopyFigures {
    /// Measures some parts. `progress` is told what comes next.
    ///
    /// # Errors
    /// No device, or a copy that does not end well.
    pub fn measure(
        config: &MachineConfig,
        parts: &[CopyPart],
        progress: &dyn Fn(&str),
    ) -> Result<Self, BenchError> {
        let mut figures = Self::default();
        let mut bench = Bench::new(config)?;
        figures.channels = bench.host.caps().channels;
        for part in parts {
            match part {
                CopyPart::Rates => figures.rates(&mut bench, progress)?,
                CopyPart::Start => figures.start(config, progress)?,
                CopyPart::Translation => figures.translation(&mut bench, progress)?,
                CopyPart::Latency => figures.latency(config, progress)?,
                CopyPart::Link => figures.link(config, progress)?,
                CopyPart::Migration => {
                    progress("migration");
                    let machine = narrow(config, PAYLOAD, Split::Largest);
                    let moved = MigrateFigures::measure(&machine)?;
                    figures.migration = Some((moved, theory(config, PAYLOAD)));
                }
            }
        }
        Ok(figures)
    }

    fn rates(&mut self, bench: &mut Bench, progress: &dyn Fn(&str)) -> Result<(), BenchError> {
        progress("rates by length");
        let (far, near) = (bench.far, bench.near());
        self.rates = Some([bench.rates(far[0], near[1])?, bench.rates(near[0], far[1])?]);
        progress("both directions");
        let system = bench.rate(physical(far[0], far[1]))? / WIDTH;
        let second = usize::from(self.channels > 1);
        let two = |rows| {
            [
                (0, physical(far[0], near[1]).entry(rows)),
                (second, physical(near[0], far[1]).entry(rows)),
            ]
        };
        let (short, long) = (bench.cycles(&two(32))?, bench.cycles(&two(96))?);
        let vram = (64 * PAGE) as f64 / (long - short) as f64 / WIDTH;
        self.both_ways = Some(BothWays { system, vram });
        Ok(())
    }

    fn start(&mut self, config: &MachineConfig, progress: &dyn Fn(&str)) -> Result<(), BenchError> {
        progress("single copies");
        let mut steady = config.clone();
        steady.pcie.completer.jitter = 0;
        let mut bench = Bench::new(&steady)?;
        let (far, near) = (bench.far, bench.near());
        let small = |src, dst| physical(src, dst).entry(1).with_len(64);
        self.latency = Some([
            bench.cycles(&[(0, small(far[0], near[1]))])? as f64 - round_trip(&steady, 64) as f64,
            bench.cycles(&[(0, small(near[0], far[1]))])? as f64 - config.vram_latency as f64,
        ]);
        progress("descriptors");
        let channels = self.channels;
        let many = |count: u64| -> Vec<(usize, CopyEntry)> {
            (0..count)
                .map(|n| ((n % channels) as usize, small(near[0], near[1] + 64 * n)))
                .collect()
        };
        let (few, more) = (bench.cycles(&many(32))?, bench.cycles(&many(96))?);
        self.descriptors = Some(64.0 / (more - few) as f64);
        Ok(())
    }

    fn translation(
        &mut self,
        bench: &mut Bench,
        progress: &dyn Fn(&str),
    ) -> Result<(), BenchError> {
        progress("translation");
        bench.map()?;
        let (far, near) = (bench.far, bench.near());
        let at = |n: u64| TRANSLATED + n * BUFFER;
        let mut translated = [0.0; 2];
        for (share, (src, dst, from, to)) in translated.iter_mut().zip([
            (at(0), at(3), far[0], near[1]),
            (at(2), at(1), near[0], far[1]),
        ]) {
            let virt = Rows {
                virt: true,
                ..physical(src, dst)
            };
            // The first pass fills the L2 TLB, for both.
            bench.rate(virt)?;
            *share = bench.rate(virt)? / bench.rate(physical(from, to))?;
        }
        self.translated = Some(translated);
        Ok(())
    }

    fn latency(
        &mut self,
        config: &MachineConfig,
        progress: &dyn Fn(&str),
    ) -> Result<(), BenchError> {
        for cycles in LATENCIES {
            progress(&format!("round trip of {cycles} cycles"));
            let mut bench = Bench::new(&at_latency(config, cycles))?;
            let rows = physical(bench.far[0], bench.near()[1]);
            self.tolerance.push((cycles, bench.rate(rows)?));
        }
        Ok(())
    }

    fn link(&mut self, config: &MachineConfig, progress: &dyn Fn(&str)) -> Result<(), BenchError> {
        let rcb = config.pcie.completer.rcb;
        for (mps, split) in [
            (128, Split::Largest),
            (256, Split::Largest),
            (512, Split::Largest),
            (256, Split::Smallest),
        ] {
            progress(&format!("{NARROW}, packets of {mps} bytes"));
            let completion = if split == Split::Largest { mps } else { rcb };
            let mut theory = [completion, mps].map(|payload| theory(config, payload));
            // The requests are acknowledged, and get their credits back, between the completions.
            let request = REQUEST / completion * tlp_bytes(HEADER, completion);
            theory[0] *= 1.0 - NARROW.dllp_share_every(mps, request);
            let mut bench = Bench::new(&narrow(config, mps, split))?;
            let (far, near) = (bench.far, bench.near());
            let share = [
                bench.rate(physical(far[0], near[1]))? / theory[0],
                bench.rate(physical(near[0], far[1]))? / theory[1],
            ];
            self.link.push(LinkShare {
                mps,
                completion,
                theory,
                share,
            });
        }
        Ok(())
    }
}
