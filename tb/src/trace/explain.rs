//! What went on in a run, in words.

use std::fmt::Write as _;

use hmmu_regs::Access;

use super::digest::{Digest, Spread};
use super::event::Event;
use super::faults::End;

/// How many of the slowest, or of the most, are told.
const TOP: usize = 5;

/// Tells of a run: its faults by stage, the slowest ones, invalidations, pages that go to and fro, and a verdict.
#[must_use]
pub fn explain(events: &[Event]) -> String {
    let digest = Digest::of(events);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "events       {}, to cycle {}",
        digest.events, digest.last
    );
    tell_faults(&mut text, &digest);
    tell_misses(&mut text, &digest);
    tell_invalidations(&mut text, &digest);
    tell_moves(&mut text, &digest);
    let _ = writeln!(text, "verdict      {}", digest.verdict());
    text
}

/// The middle, and how far the most and the longest go.
fn spread(times: &Spread) -> String {
    format!(
        "median {}, 90 % within {}, longest {} cycles",
        times.percentile(50),
        times.percentile(90),
        times.percentile(100)
    )
}

fn tell_faults(text: &mut String, digest: &Digest) {
    let _ = writeln!(
        text,
        "faults       {}: {} served, {} ended with an error, {} stopped, {} open",
        digest.faults.len(),
        digest.ended(End::Filled),
        digest.ended(End::Cancelled),
        digest.ended(End::Stopped),
        digest.ended(End::Open)
    );
    if digest.faults.is_empty() {
        return;
    }
    let _ = writeln!(text, "  latency    {}", spread(&digest.latency));
    let _ = writeln!(
        text,
        "  {:<10} {:>7} {:>8} {:>8} {:>8}",
        "stage", "share", "median", "90 %", "longest"
    );
    for (stage, times) in &digest.stages {
        let _ = writeln!(
            text,
            "  {:<10} {:>5.1} % {:>8} {:>8} {:>8}",
            stage.name(),
            digest.share(times),
            times.percentile(50),
            times.percentile(90),
            times.percentile(100)
        );
    }
    let _ = writeln!(text, "slowest");
    for fault in digest.slowest().into_iter().take(TOP) {
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

fn tell_misses(text: &mut String, digest: &Digest) {
    let misses = digest.misses;
    if misses.l1 > 0 {
        let _ = writeln!(
            text,
            "misses       {} of the L1 TLBs: {} in the L2, {} to the walker, {} table reads",
            misses.l1, misses.l2_hits, misses.walks, misses.reads
        );
    }
}

fn tell_invalidations(text: &mut String, digest: &Digest) {
    let Some(longest) = digest.invalidations.last() else {
        return;
    };
    let times = Spread::new(digest.invalidations.iter().map(|i| i.cycles).collect());
    let _ = writeln!(text, "invalidations {}: {}", times.count(), spread(&times));
    let _ = writeln!(
        text,
        "  longest    ctx {} {:#x}..{:#x} at {}: {} cycles",
        longest.ctx, longest.start, longest.end, longest.begun, longest.cycles
    );
}

/// Pages that went to the device more than once, and the number of all moves.
fn tell_moves(text: &mut String, digest: &Digest) {
    let moves = &digest.moves;
    let all = moves.to_device + moves.to_system;
    if all > 0 {
        let _ = writeln!(
            text,
            "moves        {all} pages; {} went to the device more than once",
            moves.again.len()
        );
    }
    for (page, times) in moves.again.iter().take(TOP) {
        let _ = writeln!(text, "  page {page:#x}: {times} times to the device");
    }
}
