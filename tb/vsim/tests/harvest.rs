//! The harvest of A and D bits alone: against its reference, beside walkers that set bits, a host that takes entries
//! away, and a memory that fails.

#[path = "common/soak.rs"]
mod soak;
#[path = "common/xlat.rs"]
mod xlat;

use hmmu_regs::{JobStatus, Pte};
use hmmu_vsim::Block;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use xlat::{put, take};

const RESULT: u64 = 0x0123_4567_8940;
const VRAM: u64 = 1 << 55;
/// Reads and swaps that may be outstanding.
const READS: u64 = 8;
const SWAPS: u64 = 2;

/// How the memory behaves and who else is at it.
#[derive(Clone, Copy)]
struct World {
    latency: (u64, u64),
    ready: f64,
    /// Chance of a walker's swap in a cycle.
    walker: f64,
    /// Chance of an entry being revoked in a cycle.
    revoke: f64,
    /// Chance that an answer is an error.
    error: f64,
}

impl World {
    fn alone(latency: u64) -> Self {
        Self {
            latency: (latency, latency),
            ready: 1.0,
            walker: 0.0,
            revoke: 0.0,
            error: 0.0,
        }
    }
}

struct Pending {
    tag: u64,
    swap: Option<(u64, u64)>,
    addr: u64,
    act_at: u64,
    answer_at: u64,
    answer: Option<(u64, u64)>,
    err: bool,
}

/// What came of one harvest.
struct Outcome {
    accessed: Vec<bool>,
    dirty: Vec<bool>,
    status: u64,
    cycles: u64,
    /// Swaps that the block lost.
    lost: u64,
}

struct Bench {
    b: Block,
    rng: Pcg64Mcg,
    world: World,
    base: u64,
    /// The table as it was, and as it is.
    first: Vec<u64>,
    table: Vec<u64>,
    /// Bits that were ever set.
    ever: Vec<u64>,
    /// How often the block has cleared A.
    cleared: Vec<u64>,
    revoked: Vec<bool>,
    now: u64,
}

fn is_leaf(entry: u64) -> bool {
    let pte = Pte([entry]);
    pte.v() == 1
        && pte.r() | pte.x() == 1
        && pte.w() <= pte.r()
        && pte.revoked() == 0
        && pte.pbmt() == 0
}

fn a(entry: u64) -> bool {
    Pte([entry]).a() == 1
}

fn d(entry: u64) -> bool {
    Pte([entry]).d() == 1
}

fn random_entry(rng: &mut Pcg64Mcg, young: f64) -> u64 {
    let mut pte = Pte([rng.random()])
        .with_v(1)
        .with_r(1)
        .with_revoked(0)
        .with_pbmt(0)
        .with_a(u64::from(rng.random_bool(young)));
    // Some are something else than a leaf.
    match rng.random_range(0..20) {
        0 => pte = Pte([0]),
        1 => pte = pte.with_v(0),
        2 => pte = pte.with_r(0).with_x(0).with_w(0),
        3 => pte = pte.with_r(0).with_x(1).with_w(1),
        4 => pte = pte.with_revoked(1 << rng.random_range(0..7)),
        5 => pte = pte.with_pbmt(rng.random_range(1..4)),
        _ => {}
    }
    pte.0[0]
}

impl Bench {
    fn new(seed: u64, world: World) -> Self {
        let mut b = Block::new("harvest").expect("the block is built");
        b.reset();
        Self {
            b,
            rng: Pcg64Mcg::seed_from_u64(seed),
            world,
            base: 0,
            first: Vec::new(),
            table: Vec::new(),
            ever: Vec::new(),
            cleared: Vec::new(),
            revoked: Vec::new(),
            now: 0,
        }
    }

    fn fill(&mut self, table: Vec<u64>) {
        self.base = self.rng.random_range(1 << 20..1 << 40) & !63;
        if self.rng.random() {
            self.base |= VRAM;
        }
        self.ever = table.clone();
        self.cleared = vec![0; table.len()];
        self.revoked = vec![false; table.len()];
        self.first = table.clone();
        self.table = table;
    }

    fn entry(&self, addr: u64) -> usize {
        let offset = addr.checked_sub(self.base).expect("before the table");
        let i = (offset / 8) as usize;
        assert!(i < self.table.len(), "beyond the table: entry {i}");
        i
    }

    /// A walker, or the host, does something to an entry.
    fn others(&mut self) {
        if self.rng.random_bool(self.world.walker) {
            let i = self.rng.random_range(0..self.table.len());
            if is_leaf(self.table[i]) {
                let store = self.rng.random();
                let entry = Pte([self.table[i]]).with_a(1);
                self.table[i] = if store { entry.with_d(1) } else { entry }.0[0];
                self.ever[i] |= self.table[i];
            }
        }
        if self.rng.random_bool(self.world.revoke) {
            let i = self.rng.random_range(0..self.table.len());
            self.table[i] |= 0x1f << 56;
            self.revoked[i] = true;
        }
    }

    /// Takes effect in memory. Answers the words.
    fn act(&mut self, op: &Pending) -> (u64, u64, bool) {
        match op.swap {
            None => {
                let i = self.entry(op.addr);
                (self.table[i], self.table[i + 1], false)
            }
            Some((old, new)) => {
                let i = self.entry(op.addr);
                let found = self.table[i];
                assert_eq!(old & !new, Pte([0]).with_a(1).0[0], "only A goes");
                assert_eq!(new & !old, 0, "nothing is set");
                assert!(is_leaf(old), "a swap of what is no leaf");
                let hit = found == old;
                if hit {
                    self.table[i] = new;
                    self.cleared[i] += 1;
                }
                (found, 0, !hit)
            }
        }
    }

    /// One command.
    fn harvest(&mut self, clear: bool) -> Outcome {
        let count = self.table.len() as u64;
        let mut pending: Vec<Pending> = Vec::new();
        let mut result = [0u8; 144];
        let mut written = 0;
        let mut lost = 0;
        let mut shown = None;
        let start = self.now;
        self.b.set("table_i", self.base);
        self.b.set("count_i", count);
        self.b.set("clear_i", u64::from(clear));
        self.b.set("result_i", RESULT);
        self.b.set("req_valid_i", 1);
        loop {
            self.others();
            // Operations take effect at some moment between acceptance and answer.
            for op in &mut pending {
                if op.answer.is_none() && op.act_at <= self.now {
                    let (low, high, missed) = self.act(op);
                    lost += u64::from(missed);
                    op.answer = Some((low, high));
                }
            }
            let due: Vec<usize> = (0..pending.len())
                .filter(|&k| pending[k].answer_at <= self.now)
                .collect();
            self.b.set("mem_rsp_valid_i", u64::from(!due.is_empty()));
            if !due.is_empty() {
                let op = pending.remove(due[self.rng.random_range(0..due.len())]);
                let (low, high) = op.answer.expect("it has taken effect");
                let fields = [
                    (8, op.tag),
                    (1, u64::from(op.err)),
                    (64, if op.swap.is_some() { !low } else { high }),
                    (64, if op.err { !low } else { low }),
                ];
                put(&mut self.b, "mem_rsp_i", &fields);
            }
            let ready = self.rng.random_bool(self.world.ready);
            self.b.set("mem_req_ready_i", u64::from(ready));
            self.b.eval();
            if self.b.get("mem_req_valid_o") == 1 {
                let req: [u64; 7] = take(&mut self.b, "mem_req_o", [2, 1, 56, 16, 64, 64, 8]);
                assert!(shown.is_none_or(|s| s == req), "a request has changed");
                shown = (!ready).then_some(req);
                if ready {
                    let [op, cas32, addr, strb, high, low, tag] = req;
                    assert_eq!(cas32, 0);
                    if op == 1 {
                        assert_eq!(strb, 0xffff);
                        let at = addr.checked_sub(RESULT).expect("before the result") as usize;
                        // A and D of each block, then the end.
                        let places = [0, 64, 16, 80, 32, 96, 48, 112, 128];
                        assert_eq!(at, places[written]);
                        result[at..at + 8].copy_from_slice(&low.to_le_bytes());
                        result[at + 8..at + 16].copy_from_slice(&high.to_le_bytes());
                        written += 1;
                    } else {
                        self.accept(op == 2, addr, (low, high), tag, &mut pending);
                    }
                }
            } else {
                assert!(shown.is_none(), "a request was withdrawn");
            }
            let done = self.b.get("req_ready_o") == 1;
            self.b.clock();
            self.now += 1;
            if done {
                break;
            }
            assert!(self.now < start + 200_000, "no end");
        }
        self.b.set("req_valid_i", 0);
        self.b.clock();
        assert!(pending.is_empty(), "an answer is still to come");
        assert_eq!(written, 9);
        let bits = |from: usize| -> Vec<bool> {
            (0..512)
                .map(|i| result[from + i / 8] >> (i % 8) & 1 == 1)
                .collect()
        };
        assert!(result[129..].iter().all(|byte| *byte == 0));
        Outcome {
            accessed: bits(0),
            dirty: bits(64),
            status: u64::from(result[128]),
            cycles: self.now - start,
            lost,
        }
    }

    fn accept(
        &mut self,
        swap: bool,
        addr: u64,
        (low, high): (u64, u64),
        tag: u64,
        pending: &mut Vec<Pending>,
    ) {
        assert_eq!(tag >> 7, 1, "tags below belong to the ring");
        assert!(pending.iter().all(|p| p.tag != tag), "tag {tag} twice");
        let alike = pending.iter().filter(|p| p.swap.is_some() == swap).count() as u64;
        assert!(alike < if swap { SWAPS } else { READS });
        assert_eq!(addr % if swap { 8 } else { 16 }, 0);
        let (least, most) = self.world.latency;
        let answer_at = self.now + self.rng.random_range(least..=most);
        pending.push(Pending {
            tag,
            swap: swap.then_some((low, high)),
            addr,
            act_at: self.rng.random_range(self.now + 1..=answer_at),
            answer_at,
            answer: None,
            err: self.rng.random_bool(self.world.error),
        });
    }

    /// What holds whatever happened meanwhile.
    fn check(&self, out: &Outcome, clear: bool) {
        for i in 0..self.table.len() {
            let (was, is, ever) = (self.first[i], self.table[i], self.ever[i]);
            let fixed = !Pte([0]).with_a(1).with_d(1).with_revoked(0x7f).0[0];
            assert_eq!(is & fixed, was & fixed, "entry {i}: only A may change");
            assert_eq!(d(is), d(ever), "entry {i}: a D bit was lost");
            assert!(
                self.cleared[i] <= u64::from(clear),
                "entry {i}: cleared twice"
            );
            if a(ever) {
                assert!(out.accessed[i] || a(is), "entry {i}: an A bit was lost");
            }
            if self.cleared[i] > 0 {
                assert!(out.accessed[i], "entry {i}: cleared and not told");
            }
            assert!(!out.accessed[i] || (a(ever) && is_leaf(was)), "entry {i}");
            assert!(!out.dirty[i] || (d(ever) && is_leaf(was)), "entry {i}");
            if out.status == JobStatus::Ok as u64 && is_leaf(was) && !self.revoked[i] {
                assert!(out.accessed[i] || !a(was), "entry {i}: not told");
                assert!(out.dirty[i] || !d(was), "entry {i}: not told of D");
                let must = u64::from(clear && a(was));
                assert!(self.cleared[i] >= must, "entry {i}: not cleared");
            }
        }
        let n = self.table.len();
        assert!(
            !out.accessed[n..]
                .iter()
                .chain(&out.dirty[n..])
                .any(|bit| *bit)
        );
    }
}

fn random_table(rng: &mut Pcg64Mcg) -> Vec<u64> {
    let count = 8 * match rng.random_range(0..4) {
        0 => 64,
        1 => 1,
        _ => rng.random_range(1..=64),
    };
    let young = [0.0, 0.1, 0.5, 1.0][rng.random_range(0..4)];
    (0..count).map(|_| random_entry(rng, young)).collect()
}

#[test]
fn alone_it_tells_exactly_what_the_entries_hold() {
    for seed in 0..60 {
        let world = World {
            latency: [(1, 1), (1, 40), (20, 20)][(seed % 3) as usize],
            ready: [1.0, 0.4][(seed / 3 % 2) as usize],
            ..World::alone(1)
        };
        let mut bench = Bench::new(seed, world);
        for clear in [false, true, true] {
            let table = random_table(&mut bench.rng);
            bench.fill(table);
            let out = bench.harvest(clear);
            bench.check(&out, clear);
            assert_eq!(out.lost, 0);
            for (i, &was) in bench.first.iter().enumerate() {
                let leaf = is_leaf(was);
                assert_eq!(out.accessed[i], leaf && a(was), "seed {seed}, entry {i}");
                assert_eq!(out.dirty[i], leaf && d(was), "seed {seed}, entry {i}");
                let must = if leaf && clear {
                    Pte([was]).with_a(0).0[0]
                } else {
                    was
                };
                assert_eq!(bench.table[i], must, "seed {seed}, entry {i}");
            }
        }
    }
}

#[test]
fn beside_walkers_and_the_host_no_bit_is_lost() {
    let [entries, lost] = soak::run(soak::operations(40_000), |seed| {
        let world = World {
            latency: [(1, 3), (1, 60), (30, 30)][(seed % 3) as usize],
            ready: [1.0, 0.5][(seed / 3 % 2) as usize],
            walker: [0.05, 0.5, 1.0][(seed / 6 % 3) as usize],
            revoke: [0.0, 0.02][(seed / 18 % 2) as usize],
            error: 0.0,
        };
        let mut bench = Bench::new(1000 + seed, world);
        let table = random_table(&mut bench.rng);
        bench.fill(table);
        let out = bench.harvest(true);
        assert_eq!(out.status, JobStatus::Ok as u64);
        bench.check(&out, true);
        [bench.table.len() as u64, out.lost]
    });
    assert!(
        lost > entries / 1000,
        "{lost} swaps lost with {entries} entries"
    );
}

#[test]
fn after_an_error_it_ends_and_what_was_cleared_is_told() {
    let mut failed = 0;
    for seed in 0..80 {
        let world = World {
            latency: (1, 30),
            ready: 0.7,
            walker: 0.2,
            error: [0.002, 0.02, 0.3][(seed % 3) as usize],
            ..World::alone(1)
        };
        let mut bench = Bench::new(2000 + seed, world);
        let table = random_table(&mut bench.rng);
        bench.fill(table);
        let out = bench.harvest(true);
        bench.check(&out, true);
        failed += u64::from(out.status == JobStatus::MemoryError as u64);
        // The next command knows nothing of it.
        bench.world = World::alone(3);
        let table = random_table(&mut bench.rng);
        bench.fill(table);
        let out = bench.harvest(true);
        bench.check(&out, true);
        assert_eq!(out.status, JobStatus::Ok as u64);
    }
    assert!((20..80).contains(&failed), "{failed} failed");
}

/// The bound that the block promises.
fn bound(n: u64, s: u64, latency: u64) -> u64 {
    let reads = n / 2 * (latency + 1).max(READS) / READS;
    20 + n.div_ceil(128) * (latency + 4) + reads + s * (latency + 3) / SWAPS
}

#[test]
fn its_time_is_bounded() {
    for latency in [1, 10, 20, 100, 400] {
        for count in [8, 64, 128, 136, 512] {
            for young in [0, 1, 8, count] {
                let mut bench = Bench::new(7, World::alone(latency));
                let leaf = Pte([0]).with_v(1).with_r(1).with_u(1);
                let entry = |i: u64| leaf.with_ppn(i).with_a(u64::from(i < young)).0[0];
                bench.fill((0..count).map(entry).collect());
                let out = bench.harvest(true);
                bench.check(&out, true);
                let most = bound(count, young, latency);
                assert!(
                    out.cycles <= most,
                    "L {latency}, {young} of {count}: {} > {most}",
                    out.cycles
                );
            }
        }
    }
}
