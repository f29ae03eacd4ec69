//! What address translation costs, measured on the block `mmu_bench`: the MMU with three L1 TLBs and a memory that
//! takes a read every cycle and answers after L cycles. No driver, no link, no compute unit.

mod rig;

use hmmu_regs::CtrlOp;
use rig::{Answer, Leaf, READ, Rig, WRITE};

/// Which of the MMU's means are in use (register XLAT_LIMITS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Walks in flight, 0 to 63; 0: all that there are.
    pub walkers: u8,
    /// The walk cache.
    pub walk_cache: bool,
    /// The L2 TLB.
    pub l2: bool,
    /// One walk for requests of several clients for one page.
    pub merging: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            walkers: 0,
            walk_cache: true,
            l2: true,
            merging: true,
        }
    }
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MmuBenchConfig {
    /// Memory latencies in cycles, each at least 1.
    pub latencies: Vec<u64>,
    /// Requests of a stream of misses.
    pub requests: u64,
    /// Limits on the MMU.
    pub limits: Limits,
}

impl Default for MmuBenchConfig {
    fn default() -> Self {
        Self {
            latencies: vec![1, 10, 50, 100],
            requests: 1000,
            limits: Limits::default(),
        }
    }
}

/// Cycles from a lookup to the wake of its slot at one memory latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissLatency {
    /// Memory latency in cycles.
    pub latency: u64,
    /// A 4 KiB page of which nothing is cached: four reads.
    pub cold: u64,
    /// The page beside one that was just walked.
    pub neighbour: u64,
    /// A 64 KiB page of which nothing is cached: four reads.
    pub miss_64k: u64,
    /// A 2 MiB page of which nothing is cached: three reads.
    pub miss_2m: u64,
    /// A 1 GiB page of which nothing is cached: two reads.
    pub miss_1g: u64,
    /// A store to a cold 4 KiB page whose A and D have to be set: four reads and a swap.
    pub store: u64,
    /// A page that the L2 TLB holds.
    pub l2_hit: u64,
}

/// A stream of misses: page 512 + (7 i mod 3000), each new.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MissStream {
    /// Memory latency in cycles.
    pub latency: u64,
    /// Contexts that take turns.
    pub contexts: u64,
    /// Cycles for each translation.
    pub cycles: f64,
    /// Table reads for each translation.
    pub reads: f64,
    /// Most reads in flight at once.
    pub in_flight: u64,
}

/// The figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MmuFigures {
    /// Translations per cycle of one port on hits, over one page and over eight.
    pub hit_per_cycle: [f64; 2],
    /// Cycles from a lookup to its hit.
    pub hit_latency: u64,
    /// Translations per cycle of one port on hits to eight pages while as many walks as possible are in flight.
    pub hit_per_cycle_under_miss: f64,
    /// Walks in flight meanwhile, at least.
    pub walks_under_hits: u64,
    /// Latencies of misses, in the order of the configuration.
    pub miss: Vec<MissLatency>,
    /// Streams of misses from one context, then from eight, in the order of the configuration.
    pub streams: Vec<MissStream>,
    /// Most cycles of an invalidation among busy clients that drain at once, from its acceptance to its end.
    pub invalidate_worst: u64,
    /// The bound of `rtl/mmu.sv` for it.
    pub invalidate_bound: u64,
    /// Fault records for each page and kind of access that had to be served, all clients waiting.
    pub faults_per_page: f64,
    /// Speed of a context's stream of misses, at a latency of 50, while another context faults on eight pages without
    /// end and has them replayed in vain every 400 cycles; against its speed alone.
    pub other_context_throughput: f64,
}

/// Sets of the L2 TLB in the bench.
const L2_SETS: u64 = 256;
/// Miss slots of the clients.
const SLOTS: [usize; 3] = [16, 8, 2];

/// How often the host replays in vain what another context waits for: a fast driver's round trip.
const REPLAY_CYCLES: u64 = 400;

/// Measures the MMU.
///
/// # Errors
/// The block was not built, or a latency is 0.
///
/// # Panics
/// An assertion of the design fails.
pub fn measure(config: &MmuBenchConfig) -> Result<MmuFigures, String> {
    if config.latencies.contains(&0) {
        return Err("a memory latency must be at least 1".to_string());
    }
    let limits = &config.limits;
    let (hit_latency, one) = hits(limits, 1)?;
    let (_, eight) = hits(limits, 8)?;
    let (under_miss, walks) = hits_under_miss(limits)?;
    let slowest = config.latencies.iter().copied().max().unwrap_or(1);
    let mut figures = MmuFigures {
        hit_per_cycle: [one, eight],
        hit_latency,
        hit_per_cycle_under_miss: under_miss,
        walks_under_hits: walks,
        faults_per_page: faults(limits)?,
        other_context_throughput: other_context(config)?,
        ..MmuFigures::default()
    };
    for &latency in &config.latencies {
        figures.miss.push(misses(latency, limits)?);
    }
    for contexts in [1, 8] {
        for &latency in &config.latencies {
            figures.streams.push(stream(config, latency, contexts)?);
        }
    }
    (figures.invalidate_worst, figures.invalidate_bound) = invalidations(limits, slowest)?;
    Ok(figures)
}

/// Latency, and hits per cycle, over so many pages.
fn hits(limits: &Limits, pages: u64) -> Result<(u64, f64), String> {
    let mut rig = Rig::new(10, limits, 1)?;
    for vpn in 0..pages {
        rig.map(1, vpn, Leaf::Page4K, true);
        rig.miss(0, 1, vpn, READ);
    }
    // The answer comes in the cycle after the lookup.
    let latency = u64::from(rig.look(0, 1, 0, READ) == Some(Answer::Hit));
    let lookups = 1000;
    Ok((latency, hit_share(&mut rig, pages, lookups)))
}

/// Looks up in every one of so many cycles; hits per cycle.
fn hit_share(rig: &mut Rig, pages: u64, cycles: u64) -> f64 {
    let mut hits = 0;
    for i in 0..=cycles {
        if i < cycles {
            rig.lookups[0] = Some((1, i % pages, READ));
        }
        hits += u64::from(rig.step().answers[0] == Some(Answer::Hit));
    }
    hits as f64 / cycles as f64
}

/// Hits per cycle while walks are in flight, and how many are at the end.
fn hits_under_miss(limits: &Limits) -> Result<(f64, u64), String> {
    let latency = 100;
    let mut rig = Rig::new(latency, limits, 3)?;
    for vpn in 0..8 {
        rig.map(1, vpn, Leaf::Page4K, true);
        rig.miss(0, 1, vpn, READ);
    }
    let before = rig.reads;
    // Far apart, so that each walk has four reads to make.
    for i in 0..SLOTS[0] as u64 - 4 {
        rig.map(2, (i + 1) << 27, Leaf::Page4K, true);
        rig.lookups[0] = Some((2, (i + 1) << 27, READ));
        if i < SLOTS[1] as u64 {
            rig.map(3, (i + 1) << 27, Leaf::Page4K, true);
            rig.lookups[1] = Some((3, (i + 1) << 27, READ));
        }
        rig.step();
    }
    for _ in 0..10 {
        rig.step();
    }
    let walks = rig.reads - before;
    // They go on for about four times the latency; this ends before the first of them does.
    Ok((hit_share(&mut rig, 8, 3 * latency), walks))
}

fn misses(latency: u64, limits: &Limits) -> Result<MissLatency, String> {
    let cold = |leaf: Leaf, access: u64| -> Result<u64, String> {
        let mut rig = Rig::new(latency, limits, 1)?;
        rig.map(1, 0x1_2345_6789, leaf, access == READ);
        Ok(rig.miss(0, 1, 0x1_2345_6789, access))
    };
    let mut rig = Rig::new(latency, limits, 1)?;
    for vpn in [0x12345, 0x12346] {
        rig.map(1, vpn, Leaf::Page4K, true);
    }
    rig.miss(0, 1, 0x12345, READ);
    Ok(MissLatency {
        latency,
        cold: cold(Leaf::Page4K, READ)?,
        neighbour: rig.miss(0, 1, 0x12346, READ),
        miss_64k: cold(Leaf::Page64K, READ)?,
        miss_2m: cold(Leaf::Page2M, READ)?,
        miss_1g: cold(Leaf::Page1G, READ)?,
        store: cold(Leaf::Page4K, WRITE)?,
        l2_hit: rig.miss(1, 1, 0x12345, READ),
    })
}

/// Asks for pages one after the other, as many at once as there are slots.
struct Stream {
    client: usize,
    asks: Vec<(u64, u64)>,
    next: usize,
    /// Looked up in the last cycle.
    looked: Option<usize>,
    waiting: u64,
    retry: Vec<usize>,
    done: usize,
}

impl Stream {
    fn new(client: usize, asks: Vec<(u64, u64)>) -> Self {
        Self {
            client,
            asks,
            next: 0,
            looked: None,
            waiting: 0,
            retry: Vec::new(),
            done: 0,
        }
    }

    fn present(&mut self, rig: &mut Rig) -> Option<usize> {
        let busy = self.waiting.count_ones() as usize + usize::from(self.looked.is_some());
        if busy >= SLOTS[self.client] {
            return None;
        }
        let i = self.retry.pop().or_else(|| {
            self.next += 1;
            (self.next <= self.asks.len()).then(|| self.next - 1)
        })?;
        let (ctx, vpn) = self.asks[i];
        rig.lookups[self.client] = Some((ctx, vpn, READ));
        Some(i)
    }

    /// Takes a cycle's results; `asked` is what was presented in it.
    fn take(&mut self, cycle: &rig::Cycle, asked: Option<usize>) {
        if let Some(i) = self.looked {
            match cycle.answers[self.client] {
                Some(Answer::Hit) => self.done += 1,
                Some(Answer::Miss(slot)) => self.waiting |= 1 << slot,
                _ => self.retry.push(i),
            }
        }
        let woken = self.waiting & cycle.wakes[self.client];
        self.waiting &= !woken;
        self.done += woken.count_ones() as usize;
        self.looked = asked;
    }
}

fn stream_page(i: u64) -> u64 {
    512 + 7 * i % 3000
}

/// Runs a stream to its end; returns its cycles.
fn run(rig: &mut Rig, stream: &mut Stream, mut beside: impl FnMut(&mut Rig)) -> u64 {
    let start = rig.now();
    while stream.done < stream.asks.len() {
        beside(rig);
        let asked = stream.present(rig);
        let cycle = rig.step();
        stream.take(&cycle, asked);
    }
    rig.now() - start
}

fn stream(config: &MmuBenchConfig, latency: u64, contexts: u64) -> Result<MissStream, String> {
    let mut rig = Rig::new(latency, &config.limits, contexts)?;
    let asks: Vec<(u64, u64)> = (0..config.requests)
        .map(|i| (1 + i % contexts, stream_page(i)))
        .collect();
    for &(ctx, vpn) in &asks {
        rig.map(ctx, vpn, Leaf::Page4K, true);
    }
    let cycles = run(&mut rig, &mut Stream::new(0, asks), |_| {});
    Ok(MissStream {
        latency,
        contexts,
        cycles: cycles as f64 / config.requests as f64,
        reads: rig.reads as f64 / config.requests as f64,
        in_flight: rig.most_in_flight as u64,
    })
}

/// The slowest of some invalidations of one page to all pages, while a stream of misses runs; and its bound.
fn invalidations(limits: &Limits, latency: u64) -> Result<(u64, u64), String> {
    let mut rig = Rig::new(latency, limits, 1)?;
    let asks: Vec<(u64, u64)> = (0..2000).map(|i| (1, stream_page(i))).collect();
    for &(ctx, vpn) in &asks {
        rig.map(ctx, vpn, Leaf::Page4K, true);
    }
    let mut turn = 0;
    run(&mut rig, &mut Stream::new(0, asks), |rig| {
        turn += 1;
        if turn % (2 * latency + 400) == 0 {
            let pages = [0, 1, 16, 511, 4095, 1 << 30][(turn / (2 * latency + 400)) as usize % 6];
            rig.offer(CtrlOp::Invalidate, 1, (512, 512 + pages), (0, 0));
        }
    });
    let worst = rig.invalidations.iter().copied().max().unwrap_or(0);
    Ok((worst, (L2_SETS / 2 + 3).max(latency + 2)))
}

/// Records per page while all clients wait for the same pages, which are then served one by one.
fn faults(limits: &Limits) -> Result<f64, String> {
    let mut rig = Rig::new(20, limits, 1)?;
    let rounds: u64 = 8;
    let each = SLOTS[0] as u64;
    for round in 0..rounds {
        for i in 0..each {
            for (client, &slots) in SLOTS.iter().enumerate() {
                if i < slots as u64 {
                    rig.lookups[client] = Some((1, round * each + i, READ));
                }
            }
            rig.step();
        }
        for _ in 0..2000 {
            rig.step();
        }
        for i in 0..each {
            let vpn = round * each + i;
            rig.map(1, vpn, Leaf::Page4K, true);
            rig.offer(CtrlOp::Replay, 1, (vpn, vpn), (0, 0));
            rig.finish();
        }
        for _ in 0..500 {
            rig.step();
        }
    }
    Ok(rig.records as f64 / (rounds * each) as f64)
}

/// A context's stream of misses alone, and while the eight pages that another one waits for are replayed for ever.
fn other_context(config: &MmuBenchConfig) -> Result<f64, String> {
    let mut cycles = [0, 0];
    for (faulting, cycles) in cycles.iter_mut().enumerate() {
        let mut rig = Rig::new(50, &config.limits, 2)?;
        let asks: Vec<(u64, u64)> = (0..config.requests).map(|i| (1, stream_page(i))).collect();
        for &(ctx, vpn) in &asks {
            rig.map(ctx, vpn, Leaf::Page4K, true);
        }
        let mut turn = 0;
        *cycles = run(&mut rig, &mut Stream::new(0, asks), |rig| {
            if faulting == 1 && turn < SLOTS[1] as u64 {
                rig.lookups[1] = Some((2, turn << 9, READ));
            } else if faulting == 1 && turn % REPLAY_CYCLES == 0 {
                rig.offer(CtrlOp::Replay, 2, (0, 1 << 30), (0, 0));
            }
            turn += 1;
        });
    }
    Ok(cycles[0] as f64 / cycles[1].max(1) as f64)
}
