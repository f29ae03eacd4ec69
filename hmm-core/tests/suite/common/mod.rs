//! What the tests share: system memory, and a device in software.

pub mod device;
pub mod huge;
pub mod mirror;

use std::sync::{Arc, Mutex};

use hmm_core::sync::{self, Schedule};
use hmm_core::{
    DeviceMemory, Errno, HUGE_PAGES, HUGE_SIZE, Mm, MmapOptions, NoTrace, PAGE_SIZE, Pfn, PhysMem,
    Prot, System, SystemConfig, Va,
};

pub const PAGE: u64 = PAGE_SIZE;

/// System memory as one vector.
pub struct Ram(Mutex<Vec<u8>>);

impl Ram {
    pub fn new(pages: u64) -> Arc<Ram> {
        // Not zero: whoever forgets to clear a page is seen.
        Arc::new(Ram(Mutex::new(vec![0xa5; (pages * PAGE) as usize])))
    }
}

fn at(pfn: Pfn, offset: usize) -> usize {
    (pfn.0 * PAGE) as usize + offset
}

impl PhysMem for Ram {
    fn read(&self, pfn: Pfn, offset: usize, buf: &mut [u8]) {
        let start = at(pfn, offset);
        buf.copy_from_slice(&self.0.lock().unwrap()[start..start + buf.len()]);
    }

    fn write(&self, pfn: Pfn, offset: usize, data: &[u8]) {
        let start = at(pfn, offset);
        self.0.lock().unwrap()[start..start + data.len()].copy_from_slice(data);
    }

    fn zero_page(&self, pfn: Pfn) {
        self.write(pfn, 0, &[0; PAGE as usize]);
    }

    fn copy_page(&self, dst: Pfn, src: Pfn) {
        let mut page = [0; PAGE as usize];
        self.read(src, 0, &mut page);
        self.write(dst, 0, &page);
    }
}

/// A system with `pages` pages of memory.
pub fn system(pages: u64) -> Arc<System> {
    System::new(SystemConfig::new(pages), Ram::new(pages), Arc::new(NoTrace))
}

/// No test passes as many scheduling points, unless something goes round for ever.
pub const MOST_POINTS: u64 = 20_000_000;

/// Runs a test without concurrency to find.
pub fn single(f: impl FnOnce() + Send + 'static) {
    if let Err(text) = sync::run_with(Schedule::seeded(1).most_points(MOST_POINTS), f) {
        panic!("{text}");
    }
}

/// Runs a race under many seeds, switching at every second scheduling point on average.
pub fn seeds(n: u64, f: impl Fn() + Send + Sync + 'static) {
    let f = Arc::new(f);
    for seed in 0..n {
        let f = Arc::clone(&f);
        let schedule = Schedule::seeded(seed)
            .switch_one_in(2)
            .most_points(MOST_POINTS);
        if let Err(text) = sync::run_with(schedule, move || f()) {
            panic!("seed {seed}: {text}");
        }
    }
}

pub fn map(mm: &Mm, pages: u64, prot: Prot) -> Va {
    mm.mmap(pages * PAGE, prot, MmapOptions::default()).unwrap()
}

/// Runs a test with private and with coherent device memory.
pub fn kinds(f: impl Fn(DeviceMemory) + Send + Sync + 'static) {
    single(move || {
        f(DeviceMemory::Private);
        f(DeviceMemory::Coherent);
    });
}

/// Whether the area at `va` is mapped by an aligned run of pages, as one entry is seen from outside.
pub fn is_run(mm: &Mm, va: Va) -> bool {
    let first = mm.pte(va).pfn();
    first.is_some_and(|first| {
        first.is_huge_aligned()
            && (0..HUGE_PAGES).all(|n| mm.pte(va + n * PAGE).pfn() == Some(first + n))
    })
}

pub fn map_huge(mm: &Mm, areas: u64) -> Va {
    let options = MmapOptions {
        huge: true,
        ..MmapOptions::default()
    };
    mm.mmap(areas * HUGE_SIZE, Prot::READ_WRITE, options)
        .unwrap()
}

pub fn map_shared(mm: &Mm, pages: u64) -> Va {
    let options = MmapOptions {
        share: true,
        ..MmapOptions::default()
    };
    mm.mmap(pages * PAGE, Prot::READ_WRITE, options).unwrap()
}

/// The words `first`, `first + 1`, ... of `pages` pages.
pub fn pattern(pages: u64, first: u64) -> Vec<u8> {
    (0..pages * PAGE / 8)
        .flat_map(|k| (first + k).to_le_bytes())
        .collect()
}

pub fn fill(mm: &Arc<Mm>, va: Va, pages: u64, first: u64) {
    mm.store(va, &pattern(pages, first)).unwrap();
}

pub fn contents(mm: &Arc<Mm>, va: Va, pages: u64) -> Vec<u8> {
    let mut buf = vec![0; (pages * PAGE) as usize];
    mm.load(va, &mut buf).unwrap();
    buf
}

#[track_caller]
pub fn expect(mm: &Arc<Mm>, va: Va, pages: u64, first: u64) {
    assert!(
        contents(mm, va, pages) == pattern(pages, first),
        "wrong contents at {va}"
    );
}

pub fn load64(mm: &Arc<Mm>, va: Va) -> Result<u64, Errno> {
    let mut buf = [0; 8];
    mm.load(va, &mut buf)?;
    Ok(u64::from_le_bytes(buf))
}

pub fn store64(mm: &Arc<Mm>, va: Va, value: u64) -> Result<(), Errno> {
    mm.store(va, &value.to_le_bytes())
}

#[track_caller]
pub fn check(sys: &System) {
    if let Err(text) = sys.check_invariants() {
        panic!("{text}");
    }
}

#[track_caller]
pub fn check_quiet(sys: &System) {
    if let Err(text) = sys.check_quiescent(0) {
        panic!("{text}");
    }
}
