//! What went on in a run, in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hmm_core::PAGE_SIZE;
use hmmu_regs::Access;

use super::event::Event;
use super::faults::{End, Fault, Stage, faults};

/// How many of the slowest, or of the most, are told.
const TOP: usize = 5;

/// Tells of a run: its faults by stage, the slowest ones, invalidations, pages that go to and fro, and a verdict.
#[must_use]
pub fn explain(events: &[Event]) -> String {
    let faults = faults(events);
    let mut text = String::new();
    let last = events.last().map_or(0, |event| event.cycle);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "events       {}, to cycle {last}", events.len());
    let stages = tell_faults(&mut text, &faults);
    tell_misses(&mut text, events);
    tell_invalidations(&mut text, events);
    let moved = tell_moves(&mut text, events);
    let _ = writeln!(text, "verdict      {}", verdict(&faults, &stages, moved));
    text
}

/// Times of a stage over all faults.
struct Spent {
    stage: Stage,
    times: Vec<u64>,
}

impl Spent {
    fn total(&self) -> u64 {
        self.times.iter().sum()
    }
}

fn spent(faults: &[Fault]) -> Vec<Spent> {
    let mut times: BTreeMap<Stage, Vec<u64>> = BTreeMap::new();
    for (stage, cycles) in faults.iter().flat_map(Fault::parts) {
        times.entry(stage).or_default().push(cycles);
    }
    let stages = times.into_iter();
    stages
        .map(|(stage, mut times)| {
            times.sort_unstable();
            Spent { stage, times }
        })
        .collect()
}

/// The value that `percent` of 100 do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(at).copied().unwrap_or(0)
}

fn tell_faults(text: &mut String, faults: &[Fault]) -> Vec<Spent> {
    let count = |end| faults.iter().filter(|fault| fault.end == end).count();
    let _ = writeln!(
        text,
        "faults       {}: {} served, {} ended with an error, {} stopped, {} open",
        faults.len(),
        count(End::Filled),
        count(End::Cancelled),
        count(End::Stopped),
        count(End::Open)
    );
    let stages = spent(faults);
    if faults.is_empty() {
        return stages;
    }
    let mut all: Vec<u64> = faults.iter().map(Fault::cycles).collect();
    all.sort_unstable();
    let sum: u64 = all.iter().sum();
    let _ = writeln!(
        text,
        "  latency    median {}, 90 % within {}, longest {} cycles",
        percentile(&all, 50),
        percentile(&all, 90),
        percentile(&all, 100)
    );
    let _ = writeln!(
        text,
        "  {:<10} {:>7} {:>8} {:>8} {:>8}",
        "stage", "share", "median", "90 %", "longest"
    );
    for spent in &stages {
        let _ = writeln!(
            text,
            "  {:<10} {:>5.1} % {:>8} {:>8} {:>8}",
            spent.stage.name(),
            percent(spent.total(), sum),
            percentile(&spent.times, 50),
            percentile(&spent.times, 90),
            percentile(&spent.times, 100)
        );
    }
    let mut slow: Vec<&Fault> = faults.iter().collect();
    slow.sort_by_key(|fault| (std::cmp::Reverse(fault.cycles()), fault.id));
    let _ = writeln!(text, "slowest");
    for fault in slow.into_iter().take(TOP) {
        let parts: Vec<String> = fault
            .parts()
            .map(|(stage, cycles)| format!("{} {cycles}", stage.name()))
            .collect();
        let _ = writeln!(
            text,
            "  fault {} {} {:#x} ctx {} at {}: {} cycles ({})",
            fault.id,
            access_name(fault.access),
            fault.addr,
            fault.ctx,
            fault.stages.first().map_or(0, |(_, cycle)| *cycle),
            fault.cycles(),
            parts.join(", ")
        );
    }
    stages
}

/// The name of an `Access`.
pub fn access_name(access: u64) -> &'static str {
    match Access::from_raw(access) {
        Some(Access::Read) => "read",
        Some(Access::Write) => "write",
        Some(Access::Execute) => "fetch",
        Some(Access::Atomic) => "atomic",
        None => "access",
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}

fn tell_misses(text: &mut String, events: &[Event]) {
    let count = |name: &str| events.iter().filter(|event| event.name == name).count();
    let misses = count("tlb_miss");
    if misses > 0 {
        let _ = writeln!(
            text,
            "misses       {misses} of the L1 TLBs: {} in the L2, {} to the walker, {} table reads",
            count("l2_hit"),
            count("walk"),
            count("walk_read")
        );
    }
}

fn tell_invalidations(text: &mut String, events: &[Event]) {
    let mut open: BTreeMap<(u64, u64, u64, u64), u64> = BTreeMap::new();
    let mut times = Vec::new();
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
                if let Some(begun) = open.remove(&key) {
                    times.push((event.cycle - begun, begun, key));
                }
            }
            _ => {}
        }
    }
    if times.is_empty() {
        return;
    }
    times.sort_unstable();
    let latencies: Vec<u64> = times.iter().map(|(cycles, ..)| *cycles).collect();
    let _ = writeln!(
        text,
        "invalidations {}: median {}, 90 % within {}, longest {} cycles",
        times.len(),
        percentile(&latencies, 50),
        percentile(&latencies, 90),
        percentile(&latencies, 100)
    );
    if let Some((cycles, begun, (_, ctx, start, end))) = times.last() {
        let _ = writeln!(
            text,
            "  longest    ctx {ctx} {start:#x}..{end:#x} at {begun}: {cycles} cycles"
        );
    }
}

/// Pages that went to the device more than once; the number of all moves.
fn tell_moves(text: &mut String, events: &[Event]) -> (u64, u64) {
    let mut there: BTreeMap<u64, u64> = BTreeMap::new();
    let mut moves = 0;
    for event in events {
        let moved = event.get("moved");
        match event.name.as_ref() {
            "migrate_to_device" => {
                moves += moved;
                // Of a range some pages may stay; who did is not told, so a page counts if all went.
                if moved > 0 && moved == event.get("asked") {
                    let (mut page, end) = (event.get("start"), event.get("end"));
                    while page < end {
                        *there.entry(page).or_default() += 1;
                        page += PAGE_SIZE;
                    }
                }
            }
            "migrate_to_system" => moves += moved,
            _ => {}
        }
    }
    let mut often: Vec<(u64, u64)> = there
        .into_iter()
        .filter(|(_, n)| *n > 1)
        .map(|(p, n)| (n, p))
        .collect();
    often.sort_by_key(|(times, page)| (std::cmp::Reverse(*times), *page));
    if moves > 0 {
        let _ = writeln!(
            text,
            "moves        {moves} pages; {} went to the device more than once",
            often.len()
        );
    }
    for (times, page) in often.iter().take(TOP) {
        let _ = writeln!(text, "  page {page:#x}: {times} times to the device");
    }
    (moves, often.len() as u64)
}

fn verdict(faults: &[Fault], stages: &[Spent], (moves, often): (u64, u64)) -> String {
    let sum: u64 = stages.iter().map(Spent::total).sum();
    let Some(worst) = stages
        .iter()
        .max_by_key(|spent| (spent.total(), std::cmp::Reverse(spent.stage)))
    else {
        return "no fault: every page was there".into();
    };
    let why = match worst.stage {
        Stage::Migrate => {
            "pages that move to the device; larger ranges, or prefetching, would share that"
        }
        Stage::Map => "the memory manager and the writing of table entries",
        Stage::Fetch | Stage::Interrupt | Stage::Replay => "the host's reaction",
        Stage::Record | Stage::Retry => "the link between device and host",
        Stage::Miss | Stage::Walk | Stage::Fill => "the walks",
    };
    let mut text = format!(
        "{:.0} % of the time of {} faults goes into {}: {why}",
        percent(worst.total(), sum),
        faults.len(),
        worst.stage.name()
    );
    if often > 0 {
        let _ = write!(text, "; {often} pages go to and fro ({moves} moves)");
    }
    text
}
