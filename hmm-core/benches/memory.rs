//! What the memory manager itself needs for each page, in bytes, counted by the allocator. Prints one JSON object; with
//! an argument that names a file, writes it there too.

mod scene;

use std::alloc::System as Allocator;

use hmm_core::PAGE_SIZE;
use scene::{SIZES, Scene};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static GLOBAL: &StatsAlloc<Allocator> = &INSTRUMENTED_SYSTEM;

/// Bytes that are kept from what `make` makes.
fn kept<T>(make: impl FnOnce() -> T) -> (T, i64) {
    let region = Region::new(GLOBAL);
    let made = make();
    let change = region.change();
    let bytes = change.bytes_allocated as i64 - change.bytes_deallocated as i64;
    (made, bytes)
}

fn per_page(bytes: i64, pages: u64) -> f64 {
    (bytes as f64 / pages as f64 * 10.0).round() / 10.0
}

fn main() {
    let mut lines = Vec::new();
    for pages in SIZES {
        let mut line = vec![format!("\"pages\": {pages}")];
        let mut note = |name: &str, bytes: i64, count: u64| {
            line.push(format!("\"{name}\": {}", per_page(bytes, count)));
        };
        let (scene, bytes) = kept(|| Scene::new(pages));
        // The scene has twice the pages in system memory, and as many in device memory.
        note("frame", bytes, 3 * pages + 1024);
        let (space, bytes) = kept(|| scene.full(false));
        note("mapped", bytes, pages);
        let (child, bytes) = kept(|| space.mm.fork().expect("memory for page tables"));
        note("forked", bytes, pages);
        child.exit();
        drop(child);
        let ((), bytes) = kept(|| scene.to_device(&space));
        note("moved_to_device", bytes, pages);
        assert_eq!(space.mm.rss().anon, space.len / PAGE_SIZE);
        drop(space);
        let (space, bytes) = kept(|| scene.full(true));
        note("mapped_huge", bytes, pages);
        drop(space);
        lines.push(format!("  {{{}}}", line.join(", ")));
    }
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    print!("{text}");
    // Cargo adds an argument of its own.
    if let Some(file) = std::env::args().skip(1).find(|arg| !arg.starts_with("--"))
        && let Err(error) = std::fs::write(&file, text)
    {
        eprintln!("cannot write {file}: {error}");
        std::process::exit(2);
    }
}
