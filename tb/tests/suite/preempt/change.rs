//! One change of a context's tables under running jobs, at one cycle, and what must hold.

use std::ops::Range;

use hmmu_regs::CtrlOp;

use super::board::{Board, Command, HOST_LATENCY, LINK_LATENCY, VRAM, VRAM_LATENCY};
use super::space::{Mapping, PAGE, Size, pointer};
use super::world::{CTX, Place, THREADS, Work, World, memory, range};

/// A change.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// The place moves to other memory, with leaves of the same size; from VRAM to system memory or back.
    Move,
    /// Leaves of a smaller size, elsewhere, take the place of a larger one.
    Split,
    /// One leaf of 2 MiB, elsewhere, takes the place of a table.
    Join,
    /// The table of this level on the way to the place moves.
    Table(u32),
}

/// What is changed.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub change: Change,
    pub place: Place,
    /// Of the first context (tables in VRAM) or of the second (in system memory).
    pub context: usize,
}

/// No run takes longer.
const PATIENCE: u64 = 50_000;

/// Cycles from a read's departure to its answer.
pub const ROUND_TRIP: u64 = 2 * LINK_LATENCY + HOST_LATENCY;
/// Most threads that change one word at once.
const RIVALS: u64 = 2;
/// Cycles of a compare-and-swap in VRAM; they go one after the other, and an access may stand behind one.
const SWAP: u64 = VRAM_LATENCY + 4;
/// Most of them under way: one of each thread, and one of each walk.
const SWAPS: u64 = 2 * THREADS + 16;
/// Cycles of the L2's sweep over any range.
const SWEEP: u64 = 131;
/// Arbitration, pipeline stages, and packets that stand before one of these on the link.
pub const SLACK: u64 = 120;

/// Cycles until what has been translated and is under way has retired: an atomic on a word of system memory, which
/// reads and then swaps until none of its rivals was faster, or the swaps that wait for each other in VRAM.
pub const RETIRE: u64 = max((1 + RIVALS) * ROUND_TRIP, SWAPS * SWAP);

/// Most cycles from the doorbell's arrival to the acknowledgement's departure (docs/testing.md), after `writes` posted
/// writes to VRAM that the doorbell must not pass. The command's entry comes over the link: a round trip.
pub fn bound(writes: u64) -> u64 {
    writes * SWAP + ROUND_TRIP + max(RETIRE, SWEEP) + SLACK
}

const fn max(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}

/// What a run has shown.
struct Outcome {
    /// Cycles from the launch to the end of both jobs.
    cycles: u64,
    /// Longest acknowledgement, and its bound.
    latency: u64,
    bound: u64,
    /// Stores that were caught between their walk and their access.
    caught: u64,
}

/// A change under way.
struct Under {
    case: Case,
    old: Mapping,
    /// Watches of what goes: its memory, or a table.
    watches: Range<usize>,
    /// A table that goes with the second invalidation.
    table: Option<u64>,
    /// What is invalidated.
    va: u64,
    len: u64,
    /// Posted writes to VRAM that revoke.
    writes: u64,
    /// D of each old leaf when the acknowledgement left.
    harvest: Option<Vec<bool>>,
    /// New memory that somebody must store to: a store to the old one was caught.
    owed: Vec<Range<u64>>,
    step: Step,
}

/// What it waits for.
#[derive(Clone, Copy)]
enum Step {
    Begin,
    Invalidated(Command),
    Again(Command),
    Replayed(Command),
    Done,
}

impl Under {
    fn new(world: &mut World, case: Case) -> Self {
        let c = case.context;
        let old = world.maps[c][&case.place];
        let (mut va, mut len) = (old.va, old.len);
        let mut gone = memory(old);
        let mut table = None;
        match case.change {
            Change::Move | Change::Split => {}
            Change::Join => {
                (va, len) = (old.va, Size::Large.bytes());
                table = Some(world.spaces[c].table(old.va, 0));
            }
            Change::Table(level) => {
                len = PAGE << (9 * (level + 1));
                va = old.va & !(len - 1);
                let at = world.spaces[c].table(old.va, level);
                gone = at..at + PAGE;
            }
        }
        let first = world.board.monitor.watch(gone);
        let mut watches = first..first + 1;
        if let Some(table) = table {
            watches.end = world.board.monitor.watch(table..table + PAGE) + 1;
        }
        Self {
            case,
            old,
            watches,
            table,
            va,
            len,
            writes: 0,
            harvest: None,
            owed: Vec::new(),
            step: Step::Begin,
        }
    }

    fn started(&self) -> bool {
        !matches!(self.step, Step::Begin)
    }

    /// Tables of this context are being changed.
    fn busy(&self) -> Option<usize> {
        let open = matches!(self.step, Step::Invalidated(_) | Step::Again(_));
        open.then_some(self.case.context)
    }

    fn invalidate(&self, board: &mut Board, closes: Range<usize>) -> Command {
        let entry = range(CTX[self.case.context], self.va, self.len);
        let command = board.command(entry, CtrlOp::Invalidate);
        board.monitor.closes(command.number, closes);
        command
    }

    /// The revoke: one byte each, which the walker's compare-and-swap cannot overwrite.
    fn begin(&mut self, world: &mut World) {
        let space = &world.spaces[self.case.context];
        let entries = match self.case.change {
            Change::Table(level) => vec![space.entry(self.old.va, level + 1)],
            _ => space
                .leaves(self.old)
                .into_iter()
                .map(|(at, _)| at)
                .collect(),
        };
        self.writes = entries.iter().filter(|&at| at & VRAM != 0).count() as u64;
        for at in entries {
            world
                .board
                .put(at + 7, &[world.board.word(at).to_le_bytes()[7] | 0x1f]);
        }
        let closes = self.watches.start..self.watches.start + 1;
        self.step = Step::Invalidated(self.invalidate(&mut world.board, closes));
    }

    fn dirty(&self, world: &World) -> Vec<bool> {
        let space = &world.spaces[self.case.context];
        self.old
            .leaves()
            .map(|(va, _)| space.bits(&world.board, va, self.old.size).1)
            .collect()
    }

    /// The host's turn.
    fn turn(&mut self, world: &mut World, label: &str) {
        match self.step {
            Step::Invalidated(command) => {
                let left = world.board.monitor.acknowledged(command.number);
                if self.harvest.is_none() && left.is_some() {
                    self.harvest = Some(self.dirty(world));
                }
                if world.board.ended(command) {
                    self.judge(world, label);
                    self.replace(world);
                }
            }
            Step::Again(command) if world.board.ended(command) => {
                if let Some(table) = self.table {
                    world.board.write(table, &[0xa5; PAGE as usize]);
                }
                self.replay(&mut world.board);
            }
            Step::Replayed(command) if world.board.ended(command) => self.step = Step::Done,
            _ => {}
        }
    }

    fn replay(&mut self, board: &mut Board) {
        let entry = range(CTX[self.case.context], self.va, self.len);
        self.step = Step::Replayed(board.command(entry, CtrlOp::Replay));
    }

    /// D of every store that was made was in the table when the acknowledgement left, and nothing has changed since.
    fn judge(&mut self, world: &World, label: &str) {
        if matches!(self.case.change, Change::Table(_)) {
            return;
        }
        let harvest = self.harvest.as_ref().expect("it left before it came");
        assert_eq!(*harvest, self.dirty(world), "{label}: D changed afterwards");
        for ((va, frame), &dirty) in self.old.leaves().zip(harvest) {
            let bytes = frame..frame + self.old.size.bytes();
            let stored = world.board.monitor.stored(&bytes).is_some();
            assert!(
                dirty || !stored,
                "{label}: {va:#x} was stored to, but D is not in the table"
            );
            if dirty && !stored {
                // Its store comes to where the page is mapped next.
                self.owed.push(va..va + self.old.size.bytes());
            }
        }
    }

    /// Moves the content, and makes the new entries.
    fn replace(&mut self, world: &mut World) {
        let (c, old) = (self.case.context, self.old);
        let World {
            board,
            frames,
            spaces,
            maps,
            ..
        } = world;
        let space = &mut spaces[c];
        let vram = !self.case.place.in_vram(c);
        let new = match self.case.change {
            Change::Table(level) => {
                let from = space.table(old.va, level);
                let to = space.renew(board, frames, old.va, level);
                board.relocate(from, to, PAGE);
                let above = space.entry(old.va, level + 1);
                board.put(above, &pointer(to).to_le_bytes());
                return self.replay(board);
            }
            Change::Move => Mapping {
                frame: frames.take(
                    vram,
                    if old.len > PAGE {
                        old.size
                    } else {
                        Size::Small
                    },
                ),
                ..old
            },
            Change::Split => Mapping {
                frame: frames.take(vram, old.size),
                size: if old.size == Size::Huge {
                    Size::Large
                } else {
                    Size::Small
                },
                ..old
            },
            Change::Join => Mapping {
                frame: frames.take(vram, Size::Large),
                size: Size::Large,
                len: Size::Large.bytes(),
                ..old
            },
        };
        board.relocate(old.frame, new.frame, old.len);
        maps[c].insert(self.case.place, new);
        match self.case.change {
            Change::Split => {
                // A new table first, then the entry that leads there.
                let level = new.size.level();
                let table = space.renew(board, frames, old.va, level);
                for (at, value) in space.leaves(new) {
                    board.write(at, &value.to_le_bytes());
                }
                let above = space.entry(old.va, level + 1);
                board.put(above, &pointer(table).to_le_bytes());
                self.replay(board);
            }
            Change::Join => {
                space.drop_table(old.va, 0);
                for (at, value) in space.leaves(new) {
                    board.put(at, &value.to_le_bytes());
                }
                // A walk may still be in the table.
                let closes = self.watches.start + 1..self.watches.end;
                self.step = Step::Again(self.invalidate(board, closes));
            }
            _ => {
                for (at, value) in space.leaves(new) {
                    board.put(at, &value.to_le_bytes());
                }
                self.replay(board);
            }
        }
    }
}

/// Runs the jobs; at `offset` cycles after the launch the change begins.
fn run(case: Case, offset: Option<u64>) -> Outcome {
    let label = format!("{case:?}, offset {offset:?}");
    let mut world = World::new(Work::Accesses);
    let mut under = Under::new(&mut world, case);
    world.launch();
    let start = world.board.now;
    let mut cycles = 0;
    while cycles == 0 || offset.is_some() && !matches!(under.step, Step::Done) {
        let passed = world.board.now - start;
        assert!(
            passed < PATIENCE,
            "{label}: no end; violations {:?}",
            world.board.monitor.violations()
        );
        world.clock(under.busy());
        if offset == Some(passed + 1) {
            under.begin(&mut world);
        }
        under.turn(&mut world, &label);
        if cycles == 0 && world.done(0) && world.done(1) {
            cycles = passed + 1;
        }
    }
    // What is still under way must not touch what is gone either.
    for _ in 0..4 * ROUND_TRIP {
        world.clock(None);
    }
    world.check(&label);

    for (c, faults) in world.faults.iter().enumerate() {
        for record in faults {
            let changed = c == case.context
                && under.started()
                && (under.va..under.va + under.len).contains(&record.addr());
            assert!(
                changed || record.addr() == Place::Late.va(),
                "{label}: context {c}: a fault at {:#x}",
                record.addr()
            );
        }
    }
    assert!(
        world.faults[1 - case.context].len() == 1,
        "{label}: the other context has noticed: {:x?}",
        world.faults[1 - case.context]
    );
    let moved = world.maps[case.context][&case.place];
    for owed in &under.owed {
        let frame = moved.frame + (owed.start - moved.va);
        let bytes = frame..frame + (owed.end - owed.start);
        assert!(
            world.board.monitor.stored(&bytes).is_some(),
            "{label}: {owed:x?} was dirty, and no store was caught"
        );
    }
    let latency = world.board.monitor.longest(CtrlOp::Invalidate);
    let bound = bound(under.writes);
    assert!(
        latency <= bound,
        "{label}: acknowledged after {latency} cycles, the bound is {bound}"
    );
    Outcome {
        cycles,
        latency,
        bound,
        caught: under.owed.len() as u64,
    }
}

/// The cycles in which something is done: `HMMU_STRIDE` apart, or `stride` of them.
pub fn offsets(last: u64, stride: usize, first: usize) -> impl Iterator<Item = u64> {
    let stride = std::env::var("HMMU_STRIDE").map_or(stride, |text| {
        text.parse().expect("HMMU_STRIDE is a number of cycles")
    });
    (1..=last).skip(first % stride).step_by(stride)
}

/// Makes the change at every so many cycles of the undisturbed run, and some beyond.
pub fn sweep(case: Case) {
    const STRIDE: usize = 101;
    let undisturbed = run(case, None).cycles;
    let salt = case.place as usize * 5 + case.context * 11;
    let (mut changes, mut worst, mut bound, mut caught) = (0, 0, 0, 0);
    for offset in offsets(undisturbed + 20, STRIDE, salt) {
        let outcome = run(case, Some(offset));
        changes += 1;
        worst = worst.max(outcome.latency);
        bound = outcome.bound;
        caught += outcome.caught;
    }
    println!(
        "{case:?}: {changes} changes in {undisturbed} cycles, acknowledged within {worst} (bound {bound}), \
         {caught} stores caught"
    );
    assert!(changes > 10);
}
