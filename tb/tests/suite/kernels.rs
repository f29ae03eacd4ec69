//! The built-in kernels on the reference interpreter: right results whatever the threads' interleaving.

use std::collections::BTreeMap;

use hmmu::graph::read_text;
use hmmu::kernels::{self, layout};
use hmmu_driver::Program;
use hmmu_model::rv64::{AmoOp, Bus, Hart, Stall, Step, Width};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

const CODE: u64 = 0x1000;
const ARGS: u64 = 0x8000;
const DATA: u64 = 0x10_0000;

/// Flat memory of 64-bit words.
struct Memory {
    code: Vec<u8>,
    words: BTreeMap<u64, u64>,
}

impl Memory {
    fn word(&self, addr: u64) -> u64 {
        self.words.get(&addr).copied().unwrap_or(0)
    }
}

impl Bus for Memory {
    fn fetch(&mut self, addr: u64) -> Result<u32, Stall> {
        let at = (addr - CODE) as usize;
        let raw = self.code.get(at..at + 4).ok_or(Stall::Error(5))?;
        Ok(u32::from_le_bytes(raw.try_into().expect("four bytes")))
    }

    fn load(&mut self, addr: u64, width: Width) -> Result<u64, Stall> {
        Ok(width.truncate(self.word(addr & !7) >> (8 * (addr & 7))))
    }

    fn store(&mut self, addr: u64, width: Width, value: u64) -> Result<(), Stall> {
        let shift = 8 * (addr & 7);
        let mask = width.truncate(u64::MAX) << shift;
        let word = self.words.entry(addr & !7).or_default();
        *word = (*word & !mask) | ((value << shift) & mask);
        Ok(())
    }

    fn load_reserved(&mut self, addr: u64, width: Width) -> Result<u64, Stall> {
        self.load(addr, width)
    }

    fn compare_and_swap(
        &mut self,
        addr: u64,
        width: Width,
        expected: u64,
        new: u64,
    ) -> Result<u64, Stall> {
        let old = self.load(addr, width)?;
        if old == expected {
            self.store(addr, width, new)?;
        }
        Ok(old)
    }

    fn amo(&mut self, addr: u64, width: Width, op: AmoOp, operand: u64) -> Result<u64, Stall> {
        let old = self.load(addr, width)?;
        self.store(addr, width, op.apply(width, old, operand))?;
        Ok(old)
    }

    fn time(&self) -> u64 {
        0
    }
}

/// Runs all threads, a random one at each step; the smallest result.
fn run(
    program: &Program,
    args: &[u64],
    threads: u64,
    words: &mut BTreeMap<u64, u64>,
    seed: u64,
) -> u64 {
    let mut memory = Memory {
        code: program.code.clone(),
        words: std::mem::take(words),
    };
    memory
        .words
        .extend((ARGS..).step_by(8).zip(args.iter().copied()));
    let mut harts: Vec<Hart> = (0..threads)
        .map(|index| {
            let mut hart = Hart::new(CODE + program.entry);
            (hart.x[10], hart.x[11], hart.x[12]) = (ARGS, index, threads);
            hart
        })
        .collect();
    let mut rng = Pcg32::seed_from_u64(seed);
    let mut result = u64::MAX;
    let mut steps = 0_u64;
    while !harts.is_empty() {
        let turn = rng.random_range(0..harts.len());
        // Long turns too: some threads get far ahead of others.
        for _ in 0..1 << rng.random_range(0..6) {
            match harts[turn].step(&mut memory) {
                Step::Retired => {}
                Step::Ecall => {
                    result = result.min(harts.remove(turn).x[10]);
                    break;
                }
                other => panic!("seed {seed}: {other:?}"),
            }
        }
        steps += 1;
        assert!(steps < 3_000_000, "seed {seed}: it does not end");
    }
    *words = memory.words;
    result
}

#[test]
fn single_accesses_of_every_size() {
    let value = 0x8877_6655_4433_2211_u64;
    for (size, mask) in [(1, 0xff), (2, 0xffff), (4, 0xffff_ffff), (8, u64::MAX)] {
        for at in (0..8).step_by(size as usize) {
            let mut words = BTreeMap::from([(DATA, value)]);
            let load = kernels::load(size).expect("a kernel");
            assert_eq!(
                run(&load, &[DATA + at], 1, &mut words, 1),
                value >> (8 * at) & mask
            );
            let store = kernels::store(size).expect("a kernel");
            let new = 0xf1e2_d3c4_b5a6_9788;
            assert_eq!(run(&store, &[DATA + at, new], 1, &mut words, 1), 0);
            let want = value & !(mask << (8 * at)) | (new & mask) << (8 * at);
            assert_eq!(words[&DATA], want, "{size} bytes at {at}");
        }
    }
    for size in [4, 8] {
        let mut words = BTreeMap::from([(DATA, u64::MAX - 1)]);
        let add = kernels::fetch_add(size).expect("a kernel");
        let mask = if size == 4 { 0xffff_ffff } else { u64::MAX };
        assert_eq!(
            run(&add, &[DATA, 3], 1, &mut words, 1),
            (u64::MAX - 1) & mask
        );
        assert_eq!(words[&DATA] & mask, 1);
        assert_eq!(words[&DATA] & !mask, !mask, "the other half stays");
    }
    for size in [0, 3, 16] {
        assert!(kernels::load(size).is_err() && kernels::store(size).is_err());
    }
    assert!(kernels::fetch_add(2).is_err());
}

#[test]
fn fill_and_check_share_the_words_out() {
    let (fill, check) = (
        kernels::fill().expect("a kernel"),
        kernels::check().expect("a kernel"),
    );
    for threads in [1, 3, 16] {
        for count in [0, 1, 7, 100] {
            let mut words = BTreeMap::new();
            let args = [DATA, count * 8, 1000];
            run(&fill, &args, threads, &mut words, threads);
            for k in 0..count {
                assert_eq!(
                    words[&(DATA + 8 * k)],
                    1000 + k,
                    "{threads} threads, {count} words"
                );
            }
            assert!(
                !words.contains_key(&(DATA + 8 * count)),
                "not a word too far"
            );
            assert_eq!(run(&check, &args, threads, &mut words, threads), u64::MAX);
            if count > 5 {
                words.insert(DATA + 8 * 5, 0);
                words.insert(DATA + 8 * 3, 0);
                assert_eq!(
                    run(&check, &args, threads, &mut words, threads),
                    DATA + 8 * 3,
                    "the first that differs"
                );
            }
        }
    }
}

#[test]
fn loops_end_where_they_should() {
    let chase = kernels::chase().expect("a kernel");
    let mut words: BTreeMap<u64, u64> = (0..10)
        .map(|i| (DATA + 8 * i, DATA + 8 * ((i * 3 + 1) % 10)))
        .collect();
    let mut at = 0;
    for steps in 0..20 {
        assert_eq!(run(&chase, &[DATA, steps], 1, &mut words, 1), DATA + 8 * at);
        at = (at * 3 + 1) % 10;
    }
    let spin = kernels::spin().expect("a kernel");
    assert_eq!(run(&spin, &[1000], 1, &mut words, 1), 0);
    let count = kernels::builtin("count").expect("a kernel");
    let program = (count.program)().expect("a kernel");
    let mut words = BTreeMap::new();
    run(&program, &[DATA, 50, 0], 8, &mut words, 4);
    assert_eq!(words[&DATA], 400);
    let mut words = BTreeMap::new();
    run(&program, &[DATA, 50, 64], 8, &mut words, 4);
    assert!((0..8).all(|i| words[&(DATA + 64 * i)] == 50));
}

fn random_graph(rng: &mut Pcg32) -> String {
    let vertices = rng.random_range(2..40);
    let edges = rng.random_range(1..120);
    let mut lines: Vec<String> = (0..edges)
        .map(|_| {
            format!(
                "{} {}",
                rng.random_range(0..vertices),
                rng.random_range(0..vertices)
            )
        })
        .collect();
    // Long chains make for shorter ways that are found late.
    lines.extend((0..vertices / 2).map(|i| format!("{} {}", i, i + 1)));
    lines.shuffle(rng);
    lines.join("\n")
}

fn queue(words: &mut BTreeMap<u64, u64>, at: u64, vertices: usize, first: u64) -> u64 {
    let slots = (vertices as u64 + 64).next_power_of_two();
    words.insert(at + layout::QUEUE_TAIL, 1);
    words.insert(at + layout::QUEUE_OPEN, 1);
    words.insert(at + layout::QUEUE_MASK, slots - 1);
    words.insert(at + layout::QUEUE_SLOTS, first);
    at + layout::QUEUE_SLOTS + 8 * slots
}

#[test]
fn both_searches_find_every_distance_under_any_interleaving() {
    let (by_nodes, by_arrays) = (
        kernels::bfs_nodes().expect("a kernel"),
        kernels::bfs_arrays().expect("a kernel"),
    );
    for seed in 0..60 {
        let mut rng = Pcg32::seed_from_u64(seed);
        let graph =
            read_text(std::path::Path::new("random"), &random_graph(&mut rng)).expect("a graph");
        let root = graph.busiest();
        let want = graph.distances(root);
        let vertices = graph.vertices();
        let threads = rng.random_range(1..=8);

        let mut words = BTreeMap::new();
        let node = |vertex: usize| DATA + vertex as u64 * layout::NODE_BYTES;
        let mut free = node(vertices);
        for vertex in 0..vertices {
            words.insert(node(vertex) + layout::NODE_DIST, u64::MAX);
        }
        for &(from, to) in &graph.edges {
            let first = node(from as usize) + layout::NODE_EDGES;
            words.insert(free + layout::EDGE_TO, node(to as usize));
            words.insert(
                free + layout::EDGE_NEXT,
                words.get(&first).copied().unwrap_or(0),
            );
            words.insert(first, free);
            free += layout::EDGE_BYTES;
        }
        words.insert(node(root) + layout::NODE_DIST, 0);
        words.insert(node(root) + layout::NODE_QUEUED, 1);
        let at = free.next_multiple_of(64);
        queue(&mut words, at, vertices, node(root));
        run(&by_nodes, &[at], threads, &mut words, seed);
        for (vertex, &want) in want.iter().enumerate() {
            assert_eq!(
                words[&(node(vertex) + layout::NODE_DIST)],
                want,
                "seed {seed}, vertex {vertex}, nodes"
            );
        }

        let mut words = BTreeMap::new();
        let (offsets, columns) = graph.rows();
        let after = queue(&mut words, DATA, vertices, root as u64 + 1);
        let mut place = after;
        let mut put = |values: &[u64]| {
            let start = place;
            words.extend((start..).step_by(8).zip(values.iter().copied()));
            place += 8 * values.len() as u64;
            start
        };
        let mut distances = vec![u64::MAX; vertices];
        let mut marks = vec![0; vertices];
        (distances[root], marks[root]) = (0, 1);
        let (offsets, columns) = (put(&offsets), put(&columns));
        let (distances, marks) = (put(&distances), put(&marks));
        run(
            &by_arrays,
            &[DATA, offsets, columns, distances, marks],
            threads,
            &mut words,
            seed,
        );
        for (vertex, &want) in want.iter().enumerate() {
            assert_eq!(
                words[&(distances + 8 * vertex as u64)],
                want,
                "seed {seed}, vertex {vertex}, arrays"
            );
        }
    }
}
