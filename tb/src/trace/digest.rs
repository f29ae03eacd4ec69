//! A run's events in figures.

use std::collections::BTreeMap;

use hmm_core::PAGE_SIZE;

use super::event::Event;
use super::faults::{End, Fault, Stage, faults};

/// How a number of times are spread, in cycles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    sorted: Vec<u64>,
}

impl Spread {
    /// Of these times.
    #[must_use]
    pub fn new(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self { sorted: times }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sorted.iter().sum()
    }

    /// The value that `percent` of 100 do not exceed; 0 of none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> u64 {
        let at = (self.sorted.len() * percent).div_ceil(100).max(1) - 1;
        self.sorted.get(at).copied().unwrap_or(0)
    }
}

/// An invalidation of the driver, from its command to the device's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Invalidation {
    /// Cycles that it took.
    pub cycles: u64,
    /// When it began.
    pub begun: u64,
    /// Which device.
    pub device: u64,
    /// Context.
    pub ctx: u64,
    /// First address.
    pub start: u64,
    /// Address behind the last one.
    pub end: u64,
}

/// How often the TLBs did not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misses {
    /// Of an L1 TLB.
    pub l1: usize,
    /// Of these, answered by the L2 TLB.
    pub l2_hits: usize,
    /// Walks.
    pub walks: usize,
    /// Table entries that they read.
    pub reads: usize,
}

/// Pages that moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// To a device.
    pub to_device: u64,
    /// Home.
    pub to_system: u64,
    /// Pages that went to a device more than once, and how often; most often first.
    pub again: Vec<(u64, u64)>,
}

/// What an event log says.
#[derive(Clone, Debug, Default)]
pub struct Digest {
    /// Number of events.
    pub events: usize,
    /// The cycle of the last one.
    pub last: u64,
    /// Faults, in the order of their ends, open ones last.
    pub faults: Vec<Fault>,
    /// Their latencies.
    pub latency: Spread,
    /// What each stage took, of the faults that passed it, in the order of stages.
    pub stages: Vec<(Stage, Spread)>,
    /// Misses of the TLBs; nothing in a log of the functional model.
    pub misses: Misses,
    /// Invalidations, the shortest first.
    pub invalidations: Vec<Invalidation>,
    /// Pages that moved.
    pub moves: Moves,
}

impl Digest {
    /// Of a log.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let faults = faults(events);
        let mut times: BTreeMap<Stage, Vec<u64>> = BTreeMap::new();
        for (stage, cycles) in faults.iter().flat_map(Fault::parts) {
            times.entry(stage).or_default().push(cycles);
        }
        let stages = times.into_iter();
        Self {
            events: events.len(),
            last: events.iter().map(|event| event.cycle).max().unwrap_or(0),
            latency: Spread::new(faults.iter().map(Fault::cycles).collect()),
            stages: stages.map(|(s, times)| (s, Spread::new(times))).collect(),
            misses: misses(events),
            invalidations: invalidations(events),
            moves: moves(events),
            faults,
        }
    }

    /// Faults that ended in this way.
    #[must_use]
    pub fn ended(&self, end: End) -> usize {
        self.faults.iter().filter(|fault| fault.end == end).count()
    }

    /// The slowest faults first.
    #[must_use]
    pub fn slowest(&self) -> Vec<&Fault> {
        let mut slow: Vec<&Fault> = self.faults.iter().collect();
        slow.sort_by_key(|fault| (std::cmp::Reverse(fault.cycles()), fault.id));
        slow
    }

    /// A stage's share of the time of all faults, in percent.
    #[must_use]
    pub fn share(&self, spent: &Spread) -> f64 {
        match self.latency.total() {
            0 => 0.0,
            whole => 100.0 * spent.total() as f64 / whole as f64,
        }
    }

    /// Where the time of faults went, in a line.
    #[must_use]
    pub fn verdict(&self) -> String {
        let worst = self.stages.iter();
        let Some((stage, spent)) =
            worst.max_by_key(|(stage, spent)| (spent.total(), std::cmp::Reverse(*stage)))
        else {
            return "no fault: every page was there".into();
        };
        let why = match stage {
            Stage::Migrate => {
                "pages that move to the device; larger ranges, or prefetching, would share that"
            }
            Stage::Map => "the memory manager and the writing of table entries",
            Stage::Fetch | Stage::Interrupt | Stage::Replay => "the host's reaction",
            Stage::Record | Stage::Retry => "the link between device and host",
            Stage::Miss | Stage::Walk | Stage::Fill => "the walks",
        };
        let text = format!(
            "{:.0} % of the time of {} goes into {}: {why}",
            self.share(spent),
            counted(self.faults.len()),
            stage.name()
        );
        let Moves {
            to_device,
            to_system,
            again,
        } = &self.moves;
        match again.len() {
            0 => text,
            often => format!(
                "{text}; {often} pages go to and fro ({} moves)",
                to_device + to_system
            ),
        }
    }
}

fn counted(faults: usize) -> String {
    match faults {
        1 => "1 fault".into(),
        many => format!("{many} faults"),
    }
}

fn misses(events: &[Event]) -> Misses {
    let count = |name: &str| events.iter().filter(|event| event.name == name).count();
    Misses {
        l1: count("tlb_miss"),
        l2_hits: count("l2_hit"),
        walks: count("walk"),
        reads: count("walk_read"),
    }
}

fn invalidations(events: &[Event]) -> Vec<Invalidation> {
    let mut open: BTreeMap<(u64, u64, u64, u64), u64> = BTreeMap::new();
    let mut done = Vec::new();
    for event in events {
        let key = (
            event.get("device"),
            event.get("ctx"),
            event.get("start"),
            event.get("end"),
        );
        match event.name.as_ref() {
            "invalidate" => {
                open.insert(key, event.cycle);
            }
            "invalidate_done" => {
                let (device, ctx, start, end) = key;
                done.extend(open.remove(&key).map(|begun| Invalidation {
                    cycles: event.cycle - begun,
                    begun,
                    device,
                    ctx,
                    start,
                    end,
                }));
            }
            _ => {}
        }
    }
    done.sort_unstable();
    done
}

fn moves(events: &[Event]) -> Moves {
    let mut there: BTreeMap<u64, u64> = BTreeMap::new();
    let mut moves = Moves::default();
    for event in events {
        let moved = event.get("moved");
        match event.name.as_ref() {
            "migrate_to_device" => {
                moves.to_device += moved;
                // Of a range some pages may stay; who did is not told, so a page counts if all went.
                if moved > 0 && moved == event.get("asked") {
                    let (mut page, end) = (event.get("start"), event.get("end"));
                    while page < end {
                        *there.entry(page).or_default() += 1;
                        page += PAGE_SIZE;
                    }
                }
            }
            "migrate_to_system" => moves.to_system += moved,
            _ => {}
        }
    }
    moves.again = there.into_iter().filter(|(_, n)| *n > 1).collect();
    moves
        .again
        .sort_by_key(|(page, times)| (std::cmp::Reverse(*times), *page));
    moves
}
