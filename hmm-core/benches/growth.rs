//! What operations cost per page, and how that grows with the address space.

mod scene;

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use hmm_core::{HmmPfn, MmapOptions, PAGE_SIZE, Prot, Va};

use scene::{SIZES, Scene, Space, subscribe};

/// Measures `op`, which does something `times` times, on what `prepare` makes anew each time.
fn measure<T>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    size: u64,
    times: u64,
    mut prepare: impl FnMut() -> T,
    mut op: impl FnMut(&mut T),
) {
    group.throughput(Throughput::Elements(times));
    group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                let mut subject = prepare();
                let start = Instant::now();
                op(&mut subject);
                spent += start.elapsed();
            }
            spent
        });
    });
}

fn group<'a>(c: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group
        .sample_size(10)
        .sampling_mode(criterion::SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(1));
    group
}

type Prepare = fn(&Scene) -> Space;
type Act = fn(&Scene, &mut Space);

/// Operations on all pages of one mapping.
const PER_PAGE: &[(&str, Prepare, Act)] = &[
    (
        "cpu_store_cold",
        |s| s.empty(false),
        |_, space| space.store_all(),
    ),
    (
        "cpu_load_cold",
        |s| s.empty(false),
        |_, space| space.load_all(),
    ),
    (
        "cpu_store_warm",
        |s| s.full(false),
        |_, space| space.store_all(),
    ),
    (
        "cpu_store_cold_huge",
        |s| s.empty(true),
        |_, space| space.store_all(),
    ),
    (
        "range_fault_cold",
        |s| s.empty(false),
        |_, space| space.range_fault(HmmPfn::REQ_FAULT | HmmPfn::REQ_WRITE),
    ),
    (
        "range_fault_warm",
        |s| s.full(false),
        |_, space| space.range_fault(HmmPfn::REQ_FAULT | HmmPfn::REQ_WRITE),
    ),
    (
        "snapshot",
        |s| s.full(false),
        |_, space| space.range_fault(0),
    ),
    (
        "snapshot_huge",
        |s| s.full(true),
        |_, space| space.range_fault(0),
    ),
    (
        "migrate_to_device",
        |s| s.full(false),
        |s, space| s.to_device(space),
    ),
    (
        "migrate_to_system",
        |s| s.on_device(),
        |s, space| s.to_system(space),
    ),
    ("fork", |s| s.full(false), |_, space| fork(space)),
    ("fork_huge", |s| s.full(true), |_, space| fork(space)),
    ("mprotect", |s| s.full(false), |_, space| protect(space)),
    ("munmap", |s| s.full(false), |_, space| unmap(space)),
    ("munmap_huge", |s| s.full(true), |_, space| unmap(space)),
    ("munmap_device", |s| s.on_device(), |_, space| unmap(space)),
    ("swap_out", |s| s.full(false), |_, space| swap_out(space)),
    (
        "swap_in",
        |s| {
            let space = s.full(false);
            swap_out(&space);
            space
        },
        |_, space| space.load_all(),
    ),
];

fn fork(space: &Space) {
    // The child's end is measured too, as munmap is: it is a small part.
    space.mm.fork().expect("memory for page tables").exit();
}

fn protect(space: &Space) {
    space
        .mm
        .mprotect(space.at, space.len, Prot::READ)
        .expect("all is mapped");
}

fn unmap(space: &Space) {
    space.mm.munmap(space.at, space.len).expect("a range");
}

fn swap_out(space: &Space) {
    let gone = space
        .mm
        .swap_out(space.at, space.len)
        .expect("all is mapped");
    assert_eq!(gone, space.len / PAGE_SIZE);
}

fn pages(c: &mut Criterion) {
    for size in SIZES {
        let scene = Scene::new(size);
        for (name, prepare, act) in PER_PAGE {
            let mut group = group(c, name);
            measure(
                &mut group,
                size,
                size,
                || prepare(&scene),
                |space| act(&scene, space),
            );
            group.finish();
        }
    }
}

/// An address space of many mappings of one page that do not join.
fn mappings(c: &mut Criterion) {
    for size in [1 << 10, 32 << 10] {
        let scene = Scene::new(size);
        let map = |space: &mut Space| {
            for n in 0..size {
                let prot = if n % 2 == 0 {
                    Prot::READ
                } else {
                    Prot::READ_WRITE
                };
                space
                    .mm
                    .mmap(PAGE_SIZE, prot, MmapOptions::default())
                    .expect("there is room");
            }
        };
        let mut many = group(c, "mmap_many");
        measure(&mut many, size, size, || scene.empty(false), map);
        many.finish();
        let mut many = group(c, "munmap_many");
        let prepare = || {
            let mut space = scene.empty(false);
            map(&mut space);
            space
        };
        measure(&mut many, size, size, prepare, |space| {
            let first = space.at + space.len;
            for n in 0..size {
                space
                    .mm
                    .munmap(first + n * PAGE_SIZE, PAGE_SIZE)
                    .expect("a range");
            }
        });
        many.finish();
    }
}

/// Invalidations of single pages with many subscribers, of which each follows one page.
fn subscribers(c: &mut Criterion) {
    for size in [1 << 10, 32 << 10] {
        let scene = Scene::new(size);
        let prepare = || {
            let space = scene.full(false);
            let subs: Vec<_> = (0..size)
                .map(|n| subscribe(&space.mm, space.at + n * PAGE_SIZE, PAGE_SIZE))
                .collect();
            (space, subs)
        };
        let mut group = group(c, "invalidate_one_of_many");
        measure(&mut group, size, 256, prepare, |(space, _)| {
            for n in 0..256 {
                let at: Va = space.at + n * PAGE_SIZE;
                space
                    .mm
                    .mprotect(at, PAGE_SIZE, Prot::READ)
                    .expect("it is mapped");
            }
        });
        group.finish();
    }
}

criterion_group!(benches, pages, mappings, subscribers);
criterion_main!(benches);
