//! Jobs that are suspended at every cycle and go on: nothing shows that they were.

use std::ops::Range;

use hmmu_regs::{CtrlEntry, CtrlOp, CtxMode, LaunchEntry, reg};

use super::board::{Board, Command};
use super::change::{RETIRE, ROUND_TRIP, SLACK, offsets};
use super::space::{Frames, Mapping, PAGE, Size, Space};
use super::world::{CTX, Place, THREADS, Work, World, memory, range};

const PATIENCE: u64 = 60_000;
/// Cycles of a division. Those of a unit go one after the other, and all warps may have one under way.
const DIVISION: u64 = 67;

/// Most cycles from the doorbell's arrival to the acknowledgement's departure (docs/testing.md). The command's entry
/// comes over the link. Then what is on its way to memory comes to its end, and so do divisions.
const BOUND: u64 = ROUND_TRIP
    + if RETIRE > DIVISIONS {
        RETIRE
    } else {
        DIVISIONS
    }
    + SLACK;
const DIVISIONS: u64 = 2 * THREADS * DIVISION;

/// Is the job in a slot, and is it suspended? Time passes.
fn state(board: &mut Board, job: u64) -> Option<bool> {
    board
        .read_registers(&[0, 8, 16, 24].map(|slot| reg::JOB_STATE + slot))
        .into_iter()
        .find(|state| state >> 32 & 1 == 1 && state & 0xffff_ffff == job)
        .map(|state| state >> 33 & 1 == 1)
}

fn name(job: u64) -> CtrlEntry {
    CtrlEntry::default().with_arg0(job)
}

/// One job that is held for a while.
struct Hold {
    c: usize,
    /// Of its memory: neither data nor program is touched while it is held.
    watches: Range<usize>,
    step: Step,
}

enum Step {
    Begin,
    /// The command is under way.
    Asked(Command),
    /// Until this cycle.
    Held(u64),
    Done,
}

impl Hold {
    fn new(world: &mut World, c: usize) -> Self {
        let numbers: Vec<usize> = world.maps[c]
            .values()
            .map(|mapping| world.board.monitor.watch(memory(*mapping)))
            .collect();
        Self {
            c,
            watches: numbers[0]..numbers[0] + numbers.len(),
            step: Step::Begin,
        }
    }

    fn ask(&mut self, world: &mut World) {
        let command = world.board.command(name(CTX[self.c]), CtrlOp::Suspend);
        let watches = self.watches.clone();
        world.board.monitor.closes(command.number, watches);
        self.step = Step::Asked(command);
    }

    fn turn(&mut self, world: &mut World, pause: u64) {
        let watches = self.watches.clone();
        match self.step {
            Step::Asked(command) if world.board.ended(command) => {
                if state(&mut world.board, CTX[self.c]) == Some(true) {
                    self.step = Step::Held(world.board.now + pause);
                    return;
                }
                // Not yet in a slot, or ended: it was not found.
                world.board.monitor.reopen(watches, true);
                self.step = Step::Done;
                if !world.done(self.c) {
                    self.ask(world);
                }
            }
            Step::Held(until) if world.board.now >= until => {
                assert!(!world.done(self.c));
                world.board.monitor.reopen(watches, false);
                world.board.command(name(CTX[self.c]), CtrlOp::Resume);
                self.step = Step::Done;
            }
            _ => {}
        }
    }
}

/// Runs the jobs, and holds those of these contexts for a while at `offset`. Cycles of the jobs, and longest suspend.
fn run(contexts: &[usize], offset: Option<u64>) -> (u64, u64) {
    let label = format!("jobs of {contexts:?} suspended at {offset:?}");
    let mut world = World::new(Work::Everything);
    let mut holds: Vec<Hold> = contexts.iter().map(|&c| Hold::new(&mut world, c)).collect();
    world.launch();
    let start = world.board.now;
    while !(world.done(0) && world.done(1)) {
        let passed = world.board.now - start;
        assert!(passed < PATIENCE, "{label}: no end");
        world.clock(None);
        for hold in &mut holds {
            if offset.is_some_and(|offset| offset <= passed + 1) && matches!(hold.step, Step::Begin)
            {
                hold.ask(&mut world);
            }
            // Held for some while.
            hold.turn(&mut world, offset.unwrap_or(0) * 7 % 211);
        }
    }
    let cycles = world.board.now - start;
    while world.board.monitor.pending() > 0 {
        world.clock(None);
    }
    world.check(&label);
    let latency = world.board.monitor.longest(CtrlOp::Suspend);
    assert!(
        latency <= BOUND,
        "{label}: suspended after {latency} cycles, the bound is {BOUND}"
    );
    for faults in &world.faults {
        assert_eq!(faults.len(), 1, "{label}: {faults:x?}");
    }
    (cycles, latency)
}

fn sweep(contexts: &[usize]) {
    const STRIDE: usize = 97;
    let undisturbed = run(contexts, None).0;
    let mut worst = 0;
    let mut count = 0;
    for offset in offsets(
        undisturbed + 20,
        STRIDE,
        13 * contexts.len() + 31 * contexts[0],
    ) {
        worst = worst.max(run(contexts, Some(offset)).1);
        count += 1;
    }
    println!(
        "jobs of {contexts:?}: suspended at {count} of {undisturbed} cycles, within {worst} (bound {BOUND})"
    );
    assert!(count > 10);
}

#[test]
fn a_job_is_suspended_at_every_cycle() {
    sweep(&[0]);
}

#[test]
fn a_job_with_tables_in_system_memory_is_suspended_at_every_cycle() {
    sweep(&[1]);
}

#[test]
fn both_jobs_are_suspended_at_every_cycle() {
    sweep(&[0, 1]);
}

/// Each thread stores its index + 1 to a page of its own. None of them is there, and nobody reads the fault ring of
/// two records until the job has been suspended and resumed.
fn on_faults(offset: u64, vram_tables: bool) -> u64 {
    use hmmu_model::rv64::enc::{ECALL, add, addi, bytes, sd, slli};
    let label = format!("on faults, suspended at {offset}");
    let mut board = Board::new();
    board.resize_faults(1);
    let threads = board.warps() + 3;
    let mut frames = Frames::new();
    let mut space = Space::new(&mut board, &mut frames, CTX[0], vram_tables);
    let page = |frames: &mut Frames, va, code| Mapping {
        va,
        len: PAGE,
        size: Size::Small,
        frame: frames.take(code, Size::Small),
        code,
    };
    let (code, data) = (Place::Code.va(), Place::Source.va());
    let program = page(&mut frames, code, true);
    let text = [
        slli(5, 11, 12),
        add(5, 5, 10),
        addi(6, 11, 1),
        sd(6, 5, 0),
        ECALL,
    ];
    board.write(program.frame, &bytes(&text));
    space.map(&mut board, &mut frames, program);
    space.prepare(&mut board, &mut frames, data, 0);
    let root = CtrlEntry::default()
        .with_ctx(CTX[0])
        .with_arg0(space.root)
        .with_arg1(CtxMode::Translate as u64);
    board.wait_for(root, CtrlOp::CtxSet);
    let launch = LaunchEntry::default()
        .with_ctx(CTX[0])
        .with_threads(threads)
        .with_entry(code)
        .with_arg(data)
        .with_job(7);
    let job = board.launch(launch);
    for _ in 0..offset {
        board.clock();
    }
    board.wait_for(name(7), CtrlOp::Suspend);
    let latency = board.monitor.longest(CtrlOp::Suspend);
    assert!(
        latency <= BOUND,
        "{label}: {latency} cycles, the bound is {BOUND}"
    );
    let held = state(&mut board, 7);
    assert!(offset < 400 || held == Some(true), "{label}: {held:?}");
    board.wait_for(name(7), CtrlOp::Resume);
    let mut pages = Vec::new();
    let start = board.now;
    while !board.reached(job) {
        assert!(board.now - start < PATIENCE, "{label}: no end");
        board.clock();
        while let Some(record) = board.take_fault() {
            let new = page(&mut frames, record.addr(), false);
            for (at, value) in space.leaves(new) {
                board.put(at, &value.to_le_bytes());
            }
            pages.push(new);
            board.command(range(CTX[0], new.va, PAGE), CtrlOp::Replay);
        }
    }
    assert_eq!(pages.len() as u64, threads, "{label}: one record each");
    for page in pages {
        let index = (page.va - data) / PAGE;
        assert_eq!(board.word(page.frame), index + 1, "{label}");
        assert!(space.bits(&board, page.va, Size::Small).1, "{label}");
    }
    latency
}

#[test]
fn warps_on_faults_are_suspended_at_every_cycle_with_a_full_ring() {
    let mut worst = 0;
    let mut count = 0;
    for offset in offsets(1500, 101, 3) {
        worst = worst.max(on_faults(offset, offset % 2 == 0));
        count += 1;
    }
    println!("on faults: {count} offsets, suspended within {worst} (bound {BOUND})");
}
