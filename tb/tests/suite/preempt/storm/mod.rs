//! Dirty bits, exactly, page by page: threads of two contexts store to random pages of all sizes while the host takes
//! pages away, moves them and harvests D, by the tables alone or by the dirty log.
//!
//! Every store that the ports show must be told of by the next harvest of its page, and a harvest may tell of a page
//! only if there was a store since the last one. One case is allowed (docs/device.md): an invalidation that comes
//! between a store's walk, which has set D, and its access. Each of these is explained by itself: D was set just
//! before the invalidation, and the store came afterwards.

mod job;

use std::collections::BTreeMap;
use std::ops::Range;

use hmmu_regs::{Completion, CtrlEntry, CtrlOp, CtxMode, LaunchEntry, Pte, reg};
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::board::{Board, Command, Fence};
use super::change::RETIRE;
use super::space::{Frames, Mapping, PAGE, Size, Space};
use super::world::{CTX, Place, memory, range};
use job::{SOURCES, TARGETS, THREADS, expected, program};

const PATIENCE: u64 = 400_000;
const CODE: u64 = 0xffff_8000_0000_0000;
const LISTS: u64 = CODE + PAGE;
/// Bit of CtxSet's arg1: D bits are logged.
const LOGGED: u64 = 4;
const LOG_FULL: u64 = 1 << 4;

/// A page that the host plays with.
struct Page {
    map: Mapping,
    /// Where it can be: in one memory, and in the other; and their watches.
    homes: [(u64, usize); 2],
    home: usize,
    /// Stores until then have been told of.
    told: u64,
    /// Since then D has been clear, or was set anew.
    clear: u64,
    /// Invalidations of it: commands.
    invalidations: Vec<usize>,
    /// A store was caught: it comes after this cycle.
    owed: u64,
    /// Is it stored to at all?
    target: bool,
}

impl Page {
    fn memory(&self) -> Range<u64> {
        memory(self.map)
    }

    /// The last store since the cycle `after`, until `last`.
    fn stored(&self, board: &Board, after: u64, last: u64) -> Option<u64> {
        board.monitor.stored_in(&self.memory(), after + 1..last + 1)
    }
}

/// What the host does with a page.
enum Op {
    /// Revoked; the invalidation is under way. To the other memory?
    Revoked(Command, bool),
    /// D was set, was noted, and cleared in this cycle; the invalidation is under way.
    Cleared(Command, u64),
    Replayed(Command),
}

struct Host {
    space: Space,
    pages: Vec<Page>,
    op: Option<(usize, Op)>,
    logged: bool,
    /// Pages of which the log has told, to be harvested.
    records: Vec<usize>,
    /// How many records by page.
    counted: BTreeMap<usize, usize>,
    job: Fence,
    lists: [Vec<u64>; 2],
}

#[derive(Default)]
struct Counts {
    harvests: u64,
    dirty: u64,
    caught: u64,
    records: u64,
    full: u64,
}

/// Sizes and numbers of the pages of a context, and how many of them are only read.
const SHAPE: [(Size, u64, u64); 4] = [
    (Size::Small, 8, 2),
    (Size::Napot, 3, 1),
    (Size::Large, 2, 1),
    (Size::Huge, 2, 1),
];

impl Host {
    fn new(board: &mut Board, frames: &mut Frames, c: usize, logged: bool) -> Self {
        let mut space = Space::new(board, frames, CTX[c], c == 0);
        let base = Place::Source.va();
        let mut pages = Vec::new();
        let mut lists = [Vec::new(), Vec::new()];
        for (size, count, only_read) in SHAPE {
            for k in 0..count {
                let va = base + [0, 0x10_0000, 0x1000_0000, 0x4000_0000][size as usize];
                let va = va + k * size.bytes();
                let homes = [false, true].map(|vram| {
                    let frame = frames.take(vram, size);
                    let watch = board.monitor.watch(frame..frame + size.bytes());
                    (frame, watch)
                });
                let home = (k as usize + c) % 2;
                let target = k >= only_read;
                let map = Mapping {
                    va,
                    len: size.bytes(),
                    size,
                    frame: homes[home].0,
                    code: false,
                };
                space.map(board, frames, map);
                // Several addresses of a larger page.
                for part in 0..if size == Size::Small { 1 } else { 3 } {
                    lists[usize::from(!target)].push(va + part * size.bytes() / 4);
                }
                pages.push(Page {
                    map,
                    homes,
                    home,
                    told: 0,
                    clear: 0,
                    invalidations: Vec::new(),
                    owed: 0,
                    target,
                });
            }
        }
        let fixed = |frames: &mut Frames, va, code| Mapping {
            va,
            len: PAGE,
            size: Size::Small,
            frame: frames.take(code, Size::Small),
            code,
        };
        for (list, count) in lists.iter_mut().zip([TARGETS, SOURCES]) {
            *list = list.iter().copied().cycle().take(count as usize).collect();
        }
        let (text, list) = (fixed(frames, CODE, true), fixed(frames, LISTS, false));
        board.write(text.frame, &program());
        for (k, address) in lists.iter().flatten().enumerate() {
            board.write(list.frame + 8 * k as u64, &address.to_le_bytes());
        }
        space.map(board, frames, text);
        space.map(board, frames, list);
        let mode = CtxMode::Translate as u64 | if logged { LOGGED } else { 0 };
        let entry = CtrlEntry::default()
            .with_ctx(CTX[c])
            .with_arg0(space.root)
            .with_arg1(mode);
        board.wait_for(entry, CtrlOp::CtxSet);
        Self {
            space,
            pages,
            op: None,
            logged,
            records: Vec::new(),
            counted: BTreeMap::new(),
            job: (0, 0),
            lists,
        }
    }

    fn launch(&mut self, board: &mut Board) {
        let entry = LaunchEntry::default()
            .with_ctx(self.space.ctx)
            .with_threads(THREADS)
            .with_entry(CODE)
            .with_arg(LISTS)
            .with_job(self.space.ctx);
        self.job = board.launch(entry);
    }

    fn entries(&self, page: usize) -> Vec<u64> {
        let map = self.pages[page].map;
        self.space.entries(map.va, map.size)
    }

    fn dirty(&self, board: &Board, page: usize) -> bool {
        let map = self.pages[page].map;
        self.space.bits(board, map.va, map.size).1
    }

    fn invalidate(&mut self, board: &mut Board, page: usize) -> Command {
        let map = self.pages[page].map;
        let command = board.command(range(self.space.ctx, map.va, map.len), CtrlOp::Invalidate);
        self.pages[page].invalidations.push(command.number);
        command
    }

    fn page_of(&self, va: u64) -> usize {
        let holds = |page: &Page| (page.map.va..page.map.va + page.map.len).contains(&va);
        self.pages.iter().position(holds).expect("a page")
    }

    /// Begins to do something with a page.
    fn begin(&mut self, board: &mut Board, rng: &mut Pcg64Mcg, label: &str) {
        let page = match self.records.pop() {
            Some(page) => page,
            None => rng.random_range(0..self.pages.len()),
        };
        let entries = self.entries(page);
        if rng.random_bool(0.5) {
            let moves = rng.random_bool(0.5);
            for at in entries {
                let top = board.word(at).to_le_bytes()[7];
                board.put(at + 7, &[top | 0x1f]);
            }
            let command = self.invalidate(board, page);
            if moves {
                let watch = self.pages[page].homes[self.pages[page].home].1;
                board.monitor.closes(command.number, watch..watch + 1);
            }
            self.op = Some((page, Op::Revoked(command, moves)));
            return;
        }
        if !self.dirty(board, page) {
            let it = &self.pages[page];
            let stored = it.stored(board, it.told, board.now);
            assert_eq!(stored, None, "{label}: {:#x} is clean", it.map.va);
            return;
        }
        for at in entries {
            let low = board.word(at).to_le_bytes()[0];
            if Pte([low.into()]).d() == 1 {
                board.put(at, &[low & !0x80]);
            }
        }
        let cleared = board.now;
        let command = self.invalidate(board, page);
        self.op = Some((page, Op::Cleared(command, cleared)));
    }

    /// A harvest has found the page dirty, or clean. From `clear` on, D is clear or set anew.
    fn harvested(
        &mut self,
        board: &Board,
        page: usize,
        dirty: bool,
        (command, clear): (Command, Option<u64>),
        counts: &mut Counts,
        label: &str,
    ) {
        let left = board.monitor.acknowledged(command.number);
        let left = left.expect("it left before it came");
        let sets = self.sets(board, page);
        let it = &mut self.pages[page];
        counts.harvests += 1;
        counts.dirty += u64::from(dirty);
        let va = it.map.va;
        if !dirty {
            let lost = it.stored(board, it.told, left);
            assert_eq!(lost, None, "{label}: a store to {va:#x} is not told of");
        } else {
            let set = sets.iter().filter(|&&at| at > it.clear && at <= left).max();
            let set = *set.unwrap_or_else(|| panic!("{label}: D of {va:#x} is set by nobody"));
            if it.stored(board, it.clear, left).is_none() {
                // An invalidation that came before the store can have been made.
                let caught = it.invalidations.iter().any(|&k| {
                    let ended = board.monitor.acknowledged(k).is_none_or(|at| at >= set);
                    ended && board.monitor.rung(k).is_some_and(|at| at <= set + RETIRE)
                });
                assert!(
                    it.target && caught,
                    "{label}: {va:#x} is called dirty: D set in {set}, no store until {left}"
                );
                counts.caught += 1;
                it.owed = left;
            }
        }
        it.told = left;
        it.clear = clear.unwrap_or(left);
    }

    /// When D of a page was set, in any of its entries.
    fn sets(&self, board: &Board, page: usize) -> Vec<u64> {
        let entries = self.entries(page).into_iter();
        entries
            .flat_map(|at| board.monitor.dirtied(at).to_vec())
            .collect()
    }

    /// The host's turn.
    fn turn(&mut self, board: &mut Board, rng: &mut Pcg64Mcg, counts: &mut Counts, label: &str) {
        let Some((page, op)) = self.op.take() else {
            return if rng.random_bool(0.02) {
                self.begin(board, rng, label);
            };
        };
        self.op = match op {
            Op::Revoked(command, moves) if board.ended(command) => {
                let dirty = self.dirty(board, page);
                self.harvested(board, page, dirty, (command, None), counts, label);
                let it = &mut self.pages[page];
                if moves {
                    let from = it.map.frame;
                    it.home = 1 - it.home;
                    let (to, watch) = it.homes[it.home];
                    it.map.frame = to;
                    board.monitor.reopen(watch..watch + 1, false);
                    board.relocate(from, to, it.map.len);
                }
                let map = it.map;
                for (at, value) in self.space.leaves(map) {
                    board.put(at, &value.to_le_bytes());
                }
                let entry = range(self.space.ctx, map.va, map.len);
                Some((page, Op::Replayed(board.command(entry, CtrlOp::Replay))))
            }
            Op::Cleared(command, clear) if board.ended(command) => {
                self.harvested(board, page, true, (command, Some(clear)), counts, label);
                None
            }
            Op::Replayed(command) if board.ended(command) => None,
            other => Some((page, other)),
        };
    }

    /// All is over: what the tables and the log say is what the ports have shown.
    fn check(&self, board: &Board, label: &str) {
        let end = Completion(std::array::from_fn(|k| {
            board.word(self.job.0 + 8 * k as u64)
        }));
        assert_eq!((end.status(), end.info()), (0, 0), "{label}");
        for (number, page) in self.pages.iter().enumerate() {
            let va = page.map.va;
            let ever = page.homes.iter().filter_map(|&(frame, _)| {
                let memory = frame..frame + page.map.len;
                board.monitor.stored(&memory)
            });
            let ever = ever.max();
            assert_eq!(ever.is_some(), page.target, "{label}: stores to {va:#x}");
            assert!(
                page.owed == 0 || ever > Some(page.owed),
                "{label}: {va:#x} was dirty, and no store was caught"
            );
            if self.dirty(board, number) {
                let stored = page.stored(board, page.clear, board.now);
                assert!(stored.is_some(), "{label}: {va:#x} is dirty");
            } else {
                let stored = page.stored(board, page.told, board.now);
                assert_eq!(stored, None, "{label}: {va:#x} is clean");
            }
            let records = self.counted.get(&number).copied().unwrap_or(0);
            let sets = self.sets(board, number).len();
            assert_eq!(
                records,
                if self.logged { sets } else { 0 },
                "{label}: records of {va:#x}"
            );
        }
        for ((target, offset), value) in expected() {
            let va = self.lists[0][target as usize] + offset;
            let at = self.space.walk(board, va).expect("mapped");
            assert_eq!(board.word(at), value, "{label}: {va:#x}");
        }
    }
}

/// A storm. `logs`: which contexts are logged.
fn storm(seed: u64, logs: [bool; 2], counts: &mut Counts) {
    let label = format!("seed {seed}, logged {logs:?}");
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut board = Board::new();
    let mut frames = Frames::new();
    if logs != [false; 2] {
        board.start_log();
    }
    let mut hosts: Vec<Host> = (0..2)
        .map(|c| Host::new(&mut board, &mut frames, c, logs[c]))
        .collect();
    for host in &mut hosts {
        host.launch(&mut board);
    }
    // Until then nobody reads the log.
    let mut asleep = 0;
    while !hosts
        .iter()
        .all(|host| board.reached(host.job) && host.op.is_none())
    {
        assert!(board.now < PATIENCE, "{label}: no end");
        board.clock();
        // Its page is mapped, or will be by who has revoked it.
        board.take_fault();
        for host in &mut hosts {
            host.turn(&mut board, &mut rng, counts, &label);
        }
        if logs != [false; 2] && asleep <= board.now {
            take_records(&mut board, &mut hosts, counts);
            if rng.random_bool(0.002) {
                asleep = board.now + rng.random_range(0..4000);
            }
        } else if asleep == board.now + 1 {
            let status = board.read_registers(&[reg::STATUS])[0];
            counts.full += u64::from(status & LOG_FULL != 0);
        }
    }
    for _ in 0..400 {
        board.clock();
        take_records(&mut board, &mut hosts, counts);
    }
    assert_eq!(board.monitor.violations(), Vec::<&str>::new(), "{label}");
    for host in &hosts {
        host.check(&board, &label);
    }
}

fn take_records(board: &mut Board, hosts: &mut [Host], counts: &mut Counts) {
    while let Some(record) = board.take_dirty() {
        let host = &mut hosts[usize::from(record.ctx() == CTX[1])];
        let page = host.page_of(record.addr());
        let map = host.pages[page].map;
        assert_eq!((record.ctx(), record.addr()), (host.space.ctx, map.va));
        assert_eq!(PAGE << record.order(), map.size.bytes());
        *host.counted.entry(page).or_default() += 1;
        host.records.push(page);
        counts.records += 1;
    }
}

/// Storms until so many harvests have been made; `HMMU_SOAK` makes a hundredth of its operations.
fn storms(logs: [bool; 2], seed: u64) -> Counts {
    let harvests = std::env::var("HMMU_SOAK").map_or(400, |text| {
        text.parse::<u64>()
            .expect("HMMU_SOAK is a number of operations")
            / 100
    });
    let mut counts = Counts::default();
    let mut seed = seed;
    while counts.harvests < harvests {
        storm(seed, logs, &mut counts);
        seed += 1;
    }
    let Counts {
        harvests,
        dirty,
        caught,
        records,
        full,
    } = counts;
    println!(
        "logged {logs:?}: {harvests} harvests, {dirty} dirty, {caught} stores caught, {records} records, \
         log full {full} times"
    );
    assert!(dirty > harvests / 5 && dirty < harvests);
    counts
}

#[test]
fn storms_of_harvests_tell_of_each_store_and_of_no_other() {
    storms([false; 2], 0);
}

#[test]
fn storms_of_harvests_by_the_log_do_so_too() {
    let counts = storms([true; 2], 1000);
    assert!(counts.records > 100 && counts.full > 0);
}

#[test]
fn storms_of_harvests_do_so_with_one_context_logged() {
    let counts = storms([true, false], 2000);
    assert!(counts.records > 100 && counts.full > 0);
}
