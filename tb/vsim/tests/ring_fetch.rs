//! `ring_fetch` against a model of the ring: entries in order, once each, whatever the memory does.

mod queue;

use hmmu_vsim::Block;
use queue::layout::ring_cfg;
use queue::mem_port::{MEM, MemPort};
use queue::memory::Memory;
use queue::{TestRng, chance, rng};

const BASE: u64 = 0x8_4000;

struct Bench {
    block: Block,
    port: MemPort,
    memory: Memory,
    rng: TestRng,
    seed: u64,
    size_log2: u32,
    prod: u32,
    /// Entries taken since the last reset, and their first words.
    taken: Vec<u64>,
    cons: u32,
    errors: u32,
}

impl Bench {
    fn new(seed: u64, size_log2: u32) -> Self {
        let mut block = Block::new("ring_fetch").expect("block");
        block.reset();
        let mut bench = Self {
            block,
            port: MemPort::new(MEM),
            memory: Memory::default(),
            rng: rng(seed),
            seed,
            size_log2,
            prod: 0,
            taken: Vec::new(),
            cons: 0,
            errors: 0,
        };
        ring_cfg::BASE.set(&mut bench.block, "ring_i", BASE);
        ring_cfg::SIZE_LOG2.set(&mut bench.block, "ring_i", u64::from(size_log2));
        bench.block.set("enable_i", 1);
        bench
    }

    fn slot(&self, index: u32) -> u64 {
        BASE + 64 * u64::from(index & ((1 << self.size_log2) - 1))
    }

    /// Writes the next entry: its number in the first word, all other words derived from it.
    fn produce(&mut self, number: u64) {
        let words: Vec<u64> = (0..8)
            .map(|w| number.wrapping_add(w * 0x0101_0101_0101))
            .collect();
        self.memory.write_words(self.slot(self.prod), &words);
        self.prod = self.prod.wrapping_add(1);
        ring_cfg::INDEX.set(&mut self.block, "ring_i", u64::from(self.prod));
    }

    fn room(&self) -> bool {
        self.prod.wrapping_sub(self.cons) < 1 << self.size_log2
    }

    /// One cycle; an entry on offer is taken if `ready`.
    fn step(&mut self, ready: bool) {
        self.block.set("entry_ready_i", u64::from(ready));
        self.port.drive(&mut self.block, &mut self.rng);
        self.block.eval();
        self.port
            .sample(&mut self.block, &mut self.memory, &mut self.rng);
        if ready && self.block.get("entry_valid_o") == 1 {
            let number = self.block.get_bits("entry_o", 0, 64);
            for w in 1..8 {
                let word = self.block.get_bits("entry_o", 64 * w, 64);
                assert_eq!(
                    word,
                    number.wrapping_add(u64::from(w) * 0x0101_0101_0101),
                    "word {w}, seed {}",
                    self.seed
                );
            }
            self.taken.push(number);
        }
        self.block.clock();
        self.errors += u32::try_from(self.block.get("err_o")).expect("one bit");
        self.cons = u32::try_from(self.block.get("cons_o")).expect("32 bits");
    }

    fn reset_ring(&mut self) {
        ring_cfg::RESET.set(&mut self.block, "ring_i", 1);
        self.prod = 0;
        ring_cfg::INDEX.set(&mut self.block, "ring_i", 0);
        self.step(false);
        ring_cfg::RESET.set(&mut self.block, "ring_i", 0);
    }

    fn run(&mut self, cycles: u32, ready: u32) {
        for _ in 0..cycles {
            let take = chance(&mut self.rng, ready);
            self.step(take);
        }
    }
}

#[test]
fn entries_come_in_order_under_random_latency_and_back_pressure() {
    for seed in 0..12 {
        let mut bench = Bench::new(seed, 1 + u32::try_from(seed).expect("small") % 4);
        bench.port.ready = [100, 60, 20][(seed % 3) as usize];
        bench.port.latency = [(1, 1), (1, 30), (90, 120)][(seed / 3 % 3) as usize];
        let pace = [100, 30, 5][(seed % 3) as usize];
        let mut made = 0;
        while bench.taken.len() < 120 {
            if bench.room() && made < 120 && chance(&mut bench.rng, 20) {
                bench.produce(made);
                made += 1;
            }
            let take = chance(&mut bench.rng, pace);
            bench.step(take);
            assert!(
                bench.cons as usize == bench.taken.len(),
                "cons {} seed {seed}",
                bench.cons
            );
            assert!(bench.block.cycle() < 200_000, "stuck, seed {seed}");
        }
        assert_eq!(bench.taken, (0..120).collect::<Vec<_>>(), "seed {seed}");
        bench.run(4, 100);
        assert_eq!(bench.block.get("idle_o"), 1, "seed {seed}");
    }
}

#[test]
fn a_read_error_stops_the_ring_behind_the_entries_before_it() {
    let mut failed = 0;
    for seed in 0..20 {
        let mut bench = Bench::new(seed, 4);
        bench.port.latency = (1, 12);
        let good = u32::try_from(seed).expect("small") % 5;
        for number in 0..u64::from(good) {
            bench.produce(number);
        }
        bench.run(400, 40);
        bench.port.errors = 30;
        bench.produce(99);
        bench.produce(100);
        let before = bench.taken.len();
        bench.run(200, 40);
        if bench.errors == 0 {
            continue; // no read of these two entries failed
        }
        failed += 1;
        assert_eq!(bench.errors, 1, "seed {seed}");
        assert_eq!(bench.block.get("stopped_o"), 1, "seed {seed}");
        let bad = bench.cons;
        assert_eq!(
            bench.taken.len() - before,
            (bad - good) as usize,
            "seed {seed}"
        );
        let slot = bench.slot(bad);
        assert_eq!(bench.block.get("err_addr_o"), slot, "seed {seed}");
        bench.port.errors = 0;
        bench.run(100, 100);
        assert_eq!(
            bench.cons, bad,
            "a stopped ring offers nothing, seed {seed}"
        );
        // The ring starts again at index 0.
        bench.reset_ring();
        bench.taken.clear();
        bench.produce(7);
        bench.run(100, 100);
        assert_eq!(bench.taken, [7], "seed {seed}");
        assert_eq!(
            (bench.cons, bench.block.get("stopped_o")),
            (1, 0),
            "seed {seed}"
        );
    }
    assert!(failed > 10, "too few errors to tell");
}

#[test]
fn stop_drops_what_was_fetched_and_names_the_entry() {
    for moment in 0..60 {
        let mut bench = Bench::new(moment, 3);
        bench.port.latency = (1, 9);
        for number in 0..6 {
            bench.produce(number);
        }
        while bench.taken.len() < 2 {
            bench.step(true);
        }
        bench.run(u32::try_from(moment).expect("small"), 0);
        let slot = bench.slot(bench.cons);
        bench.block.set("stop_i", 1);
        bench.step(false);
        bench.block.set("stop_i", 0);
        assert_eq!(bench.block.get("err_addr_o"), slot, "moment {moment}");
        bench.run(80, 100);
        assert_eq!((bench.cons, bench.taken.len()), (2, 2), "moment {moment}");
        assert_eq!(
            (bench.block.get("stopped_o"), bench.block.get("idle_o")),
            (1, 1),
            "moment {moment}"
        );
    }
}

#[test]
fn a_reset_at_any_moment_starts_at_the_first_entry() {
    for moment in 0..120 {
        let mut bench = Bench::new(moment, 2);
        bench.port.latency = (1, 14);
        bench.port.ready = 70;
        for number in 0..4 {
            bench.produce(number);
        }
        bench.run(u32::try_from(moment).expect("small"), 10);
        let before = bench.taken.len() as u64;
        bench.block.eval();
        let offered = bench.block.get("entry_valid_o") == 1;
        bench.reset_ring();
        assert_eq!(bench.cons, 0, "moment {moment}");
        for number in 50..53 {
            bench.produce(number);
        }
        bench.run(300, 30);
        let mut expected: Vec<u64> = (0..before).collect();
        if offered {
            expected.push(before);
        }
        expected.extend(50..53);
        assert_eq!(bench.taken, expected, "moment {moment}");
        assert_eq!(
            bench.cons, 3,
            "moment {moment}: an entry of before the reset does not count"
        );
    }
}

#[test]
fn a_disabled_ring_fetches_nothing_more() {
    let mut bench = Bench::new(1, 3);
    for number in 0..3 {
        bench.produce(number);
    }
    bench.block.set("enable_i", 0);
    bench.run(50, 100);
    assert_eq!((bench.cons, bench.block.get("idle_o")), (0, 1));
    bench.block.set("enable_i", 1);
    bench.run(100, 100);
    assert_eq!((bench.cons, bench.taken.len()), (3, 3));
}
